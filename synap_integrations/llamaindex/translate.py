"""LlamaIndex's objects and our model, one into the other: pure functions, no state, no I/O.

Blocks are told apart by ``block_type``, the framework's own discriminator: several of their classes exist only in newer
versions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock

from synap_integrations.context.render import newly_said, without_context
from synap_integrations.model import AssistantMessage, Event, RecentTurn, Thinking, ToolCall, ToolResult, UserMessage
from synap_integrations.plain import attachment, plain, text

if TYPE_CHECKING:
    from llama_index.core.tools.types import ToolOutput

NARRATION: Final = "narration"
REASONING: Final = "reasoning"
_NO_ATTACHMENT: Final = frozenset({"text", "thinking", "tool_call", "cache"})
_DEEP: Final = 4
_ANSWER: Final = "Answer:"
_SCRATCHPAD: Final = ("Thought:", "Action:", "Observation:")


def text_of(message: ChatMessage | str | None) -> str:
    """The words of a message, its text blocks on lines of their own, without our context block."""
    if message is None:
        return ""
    words = message if isinstance(message, str) else message.content
    return text(without_context(words).lstrip("\n")) if words else ""


def user_message(message: ChatMessage | str | None) -> UserMessage | None:
    """What the user said, None if there are neither words nor attachments."""
    words = text_of(message)
    attachments = () if message is None or isinstance(message, str) else attachments_of(message)
    return UserMessage(words, attachments=attachments) if words.strip() or attachments else None


def attachments_of(message: ChatMessage) -> tuple[str, ...]:
    """The kinds of what is in the message beside text: ``image``, ``audio``, ``document``, …"""
    return tuple([kind for block in message.blocks if (kind := str(block.block_type)) not in _NO_ATTACHMENT])


def thinking_of(message: ChatMessage) -> str:
    """The reasoning that a model sent along with its message, ``""`` if none."""
    parts = [str(getattr(block, "content", None) or "") for block in message.blocks if block.block_type == "thinking"]
    words = "\n".join([part for part in parts if part])
    return text(words or str(message.additional_kwargs.get("thinking") or ""))


def last_user_message(messages: Iterable[ChatMessage]) -> ChatMessage | None:
    """The newest message of role user."""
    return next((m for m in reversed(list(messages)) if m.role == MessageRole.USER), None)


def arguments_of(given: object) -> Mapping[str, object]:
    """Tool arguments as a mapping; a JSON string of an object is read, anything else goes under ``input``."""
    read = given
    if isinstance(given, str):
        try:
            read = json.loads(given)
        except (ValueError, RecursionError):
            return {"input": text(given)}
    value = plain(read)
    if isinstance(value, dict):
        return cast("Mapping[str, object]", value)
    return {} if value is None else {"input": value}


def tool_result(name: str, call_id: str, output: ToolOutput) -> ToolResult:
    """What the tool gave back to the model; of what is no text its type, size and hash."""
    said = _described(output.blocks) or _without_bytes(output)
    return ToolResult(name, text(str(newly_said(said))), call_id, is_error=output.is_error)


def _described(blocks: Sequence[object]) -> str | None:
    """Blocks of which at least one is an attachment, each on a line of its own; None if none is one."""
    if not any(_is_attachment(block) for block in blocks):
        return None
    return "\n".join([line for block in blocks if (line := _in_brief(block))])


def _is_attachment(block: object) -> bool:
    inner = _parts_of(block)
    return any(_is_attachment(one) for one in inner) if inner else _kind_of(block) not in _NO_ATTACHMENT


def _in_brief(block: object) -> str:
    """A block as text: ``[image/png, 150 bytes, sha256 …]``, or where it is; the bytes never.

    Source: llama_index.core 0.12.52 to 0.14.25, base/llms/types.py: blocks hold their bytes in base64
    """
    if inner := _parts_of(block):
        return "\n".join([line for one in inner if (line := _in_brief(one))])
    kind = _kind_of(block)
    if kind in _NO_ATTACHMENT:
        return str(getattr(block, "text", None) or "")
    named = getattr(block, f"{kind}_mimetype", None) or getattr(block, "format", None) or kind
    place = str(getattr(block, "path", None) or getattr(block, "url", None) or "")
    data = getattr(block, "data" if kind == "document" else kind, None)
    if place.startswith("data:"):
        named, _, encoded = place.removeprefix("data:").partition(";base64,")
        data, place = encoded.encode(), ""
    given = data if isinstance(data, bytes) else b""
    return f"[{named}, {place}]" if place and not given else attachment(str(named), given, base64=True)


def _kind_of(block: object) -> str:
    return str(getattr(block, "block_type", "text"))


def _parts_of(block: object) -> list[object]:
    """The blocks within a block that is citable, or cites."""
    inner = getattr(block, "content", None) if _kind_of(block) == "citable" else getattr(block, "cited_content", None)
    return inner if isinstance(inner, list) else [] if inner is None else [inner]


def _without_bytes(output: ToolOutput) -> str:
    """The words of a result; bytes among it are described, as their literals in it are of no use to anybody."""
    words, raw = output.content or "", output.raw_output
    if _holds_bytes(raw) and words == str(raw):
        return str(plain(raw))
    return words


def _holds_bytes(value: object, depth: int = 0) -> bool:
    if isinstance(value, bytes | bytearray):
        return True
    if depth > _DEEP or not isinstance(value, Mapping | list | tuple):
        return False
    return any(_holds_bytes(one, depth + 1) for one in (value.values() if isinstance(value, Mapping) else value))


def answer_in(scratchpad: str) -> str:
    """The answer within a ReAct text; the text itself if it is none, ``""`` if it has not come to an answer."""
    if _ANSWER in scratchpad and scratchpad.lstrip().startswith(_SCRATCHPAD):
        return scratchpad.rpartition(_ANSWER)[2].strip()
    return "" if scratchpad.lstrip().startswith(_SCRATCHPAD) else scratchpad


def events_of(message: ChatMessage) -> list[Event]:
    """What a stored message says happened: for messages that somebody puts into a memory by hand."""
    words = text_of(message)
    match message.role:
        case MessageRole.USER:
            said = user_message(message)
            return [said] if said else []
        case MessageRole.TOOL | MessageRole.FUNCTION:
            carried, result = message.additional_kwargs, text(_described(message.blocks) or words)
            return [ToolResult(str(carried.get("name", "tool")), result, str(carried.get("tool_call_id", "")))]
        case MessageRole.ASSISTANT | MessageRole.CHATBOT:
            calls = _calls_of(message)
            if words.strip():
                said_beside = Thinking(words, thought_type=NARRATION) if calls else AssistantMessage(words)
                return [said_beside, *calls]
            return list(calls)
        case _:
            return []


def _calls_of(message: ChatMessage) -> list[ToolCall]:
    """The tool calls in a message: blocks, or what older adapters leave in ``additional_kwargs["tool_calls"]``.

    Source: llama_index.core 0.14.25, base/llms/types.py, ToolCallBlock; llms/llm.py, ToolSelection
    """
    blocks = [block for block in message.blocks if block.block_type == "tool_call"]
    carried = [] if blocks else message.additional_kwargs.get("tool_calls")
    return [_call_in(given) for given in [*blocks, *(carried if isinstance(carried, list) else [])]]


def _call_in(given: object) -> ToolCall:
    """A tool call, whoever made it: LlamaIndex's block or selection, or OpenAI's object or mapping."""
    inner = _part(given, "function")
    if inner is not None:
        name, arguments, call_id = _part(inner, "name"), _part(inner, "arguments"), _part(given, "id")
    else:
        name, arguments = _part(given, "tool_name"), _part(given, "tool_kwargs")
        call_id = _part(given, "tool_call_id") or _part(given, "tool_id")
    return ToolCall(str(name or ""), arguments_of(arguments), str(call_id or ""))


def _part(whole: object, name: str) -> object:
    """What is kept under a name, as an entry or as an attribute; None if it is neither."""
    return whole.get(name) if isinstance(whole, Mapping) else getattr(whole, name, None)


def copied(message: ChatMessage) -> ChatMessage:
    """The message as somebody may change it without changing ours.

    Source: llama_index.core 0.14.25, agent/workflow/base_agent.py, setup_agent: rewrites blocks of what memory returned
    """
    if message.additional_kwargs or any(type(block) is not TextBlock for block in message.blocks):
        return message.model_copy(deep=True)
    return message.model_copy(update={"blocks": [b.model_copy() for b in message.blocks], "additional_kwargs": {}})


def with_block(message: ChatMessage, block: str) -> ChatMessage:
    """A copy of the message that begins with the context block.

    The blank line stands inside the block because some adapters join text blocks without a separator.
    """
    copy = copied(message)
    copy.blocks = [TextBlock(text=f"{block}\n\n"), *copy.blocks]
    return copy


def message_of(turn: RecentTurn) -> ChatMessage:
    """A turn that Synap holds, as a message of the history."""
    role = MessageRole.USER if turn.role == "user" else MessageRole.ASSISTANT
    return ChatMessage(role=role, content=turn.content)
