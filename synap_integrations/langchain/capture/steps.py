"""What happens between question and answer: what a model thinks and asks for, and what tools give back. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, cast

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from synap_integrations.langchain import graph, messages
from synap_integrations.langchain.capture.tools import ToolRequest
from synap_integrations.plain import Plain, plain

_SEARCHES: Final = ("query", "q", "question", "search", "search_query", "search_queries", "queries")


# --- what the model thinks and asks for ------------------------------------------------------------------------------


def reasoning_of(message: BaseMessage) -> str:
    """What a reasoning model lets us see of its reasoning, ``""`` if nothing."""
    content = message.content
    parts: list[str] = []
    if not isinstance(content, str):
        parts = [part for block in content if isinstance(block, Mapping) for part in _reasoning(block)]
    if not parts:
        if not message.additional_kwargs:
            return ""
        extra = message.additional_kwargs.get("reasoning_content")
        if isinstance(extra, str):
            parts = [extra]
        elif isinstance(extra := message.additional_kwargs.get("reasoning"), Mapping):
            parts = list(_reasoning({"type": "reasoning", **extra}))
    return "\n".join([part for part in parts if part.strip()])


def _reasoning(block: Mapping[str, object]) -> Iterator[str]:
    kind = block.get("type")
    if kind == "thinking":
        yield str(block.get("thinking") or "")
    elif kind == "reasoning":
        yield str(block.get("reasoning") or block.get("text") or "")
        for part in cast("Sequence[object]", block.get("summary") or ()):
            yield str(part.get("text") or "") if isinstance(part, Mapping) else str(part)
    elif kind == "reasoning_content":
        inner = block.get("reasoning_content")
        yield str(inner.get("text") or "") if isinstance(inner, Mapping) else str(inner or "")


def calls_of(message: object) -> list[ToolRequest]:
    """The calls that the application has to run; a call without id gets ``""``."""
    found = messages.field_of(message, "tool_calls")
    if not isinstance(found, list):
        return []
    calls: list[ToolRequest] = []
    for call in found:
        if not isinstance(call, Mapping):
            continue
        if isinstance(function := call.get("function"), Mapping):
            args, name = _parsed(function.get("arguments")), function.get("name")
        else:
            args, name = call.get("args"), call.get("name")
        calls.append(ToolRequest(str(call.get("id") or ""), str(name or ""), args if isinstance(args, Mapping) else {}))
    return calls


class Executed(NamedTuple):
    """A tool that the provider ran by itself, call and result."""

    call: ToolRequest
    result: Plain
    is_error: bool = False


def executed_in(message: BaseMessage) -> list[Executed]:
    """Tools that the provider ran, as reported in content blocks.

    Source: Anthropic ``server_tool_use`` and ``*_tool_result``, OpenAI ``*_call``, langchain_core 1.7.2
    messages/content.py ``server_tool_call`` and ``server_tool_result``
    """
    if isinstance(message.content, str):
        return []
    requests: dict[str, ToolRequest] = {}
    done: list[Executed] = []
    for block in messages.blocks_of(message):
        if not isinstance(block, Mapping):
            continue
        kind, block_id = str(block.get("type")), str(block.get("id") or "")
        if kind in ("server_tool_use", "server_tool_call"):
            args = block.get("input") or block.get("args") or _parsed(block.get("partial_json"))
            requests[block_id] = ToolRequest(
                block_id, str(block.get("name") or ""), args if isinstance(args, Mapping) else {}
            )
        elif kind.endswith("_tool_result"):
            answered = requests.pop(str(block.get("tool_use_id") or block.get("tool_call_id") or ""), None)
            if answered is not None:
                result = plain(block.get("content", block.get("output")))
                done.append(Executed(answered, result, _failed(block, result)))
        elif kind.endswith("_call") and kind not in ("tool_call", "function_call", "custom_tool_call"):
            result = plain(
                next(
                    (block[name] for name in ("output", "outputs", "results", "result", "status") if block.get(name)),
                    None,
                )
            )
            action = block.get("action")
            args = action if isinstance(action, Mapping) else {}
            done.append(
                Executed(
                    ToolRequest(block_id, kind.removesuffix("_call"), args), result, block.get("status") == "failed"
                )
            )
    return done


def _failed(block: Mapping[str, object], result: Plain) -> bool:
    return (
        bool(block.get("is_error"))
        or block.get("status") == "error"
        or (isinstance(result, dict) and str(result.get("type")).endswith("_error"))
    )


def _parsed(text: object) -> object:
    if not isinstance(text, str) or not text:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return {"arguments": text}


def searches_in(args: Mapping[str, object]) -> tuple[str, ...]:
    """What a call searches for, as far as the names of its arguments tell."""
    found: list[str] = []
    for name in _SEARCHES:
        value = args.get(name)
        found.extend(
            item for item in (value if isinstance(value, list) else (value,)) if isinstance(item, str) and item
        )
    return tuple(found)


# --- what a tool gives back ------------------------------------------------------------------------------------------


class ToolOutput(NamedTuple):
    """A tool's result; ``call_id`` is the call it names, if it names one."""

    value: Plain
    is_error: bool = False
    call_id: str | None = None


def output_of(output: object, call_id: str | None) -> ToolOutput:
    """What the model gets to see of a tool's output."""
    if isinstance(output, BaseMessage):
        return output_in(output)
    if isinstance(output, list | tuple):
        parts = [part for item in output if (part := _inside(item, call_id)) is not None]
        if parts:
            return parts[0]
    elif (inside := _inside(output, call_id)) is not None:
        return inside
    elif graph.is_command(output):
        return ToolOutput(plain(graph.update_of(output)))
    return ToolOutput(_of_blocks(output) if isinstance(output, list) else plain(output))


def _of_blocks(content: list[object]) -> Plain:
    """Blocks without words: what is attached by type, size and hash, the rest as it is."""
    brief = messages.without_bytes(content)
    return plain(content) if brief is None else brief


def _inside(output: object, call_id: str | None) -> ToolOutput | None:
    """The tool message in a ``Command``: the one for this call, else the first."""
    if isinstance(output, ToolMessage):
        return output_in(output)
    if not graph.is_command(output):
        return None
    update = graph.update_of(output)
    found = messages.messages_field(update.get("messages")) if isinstance(update, Mapping) else None
    results = [message for message in found or () if isinstance(message, ToolMessage)]
    named = [message for message in results if message.tool_call_id == call_id]
    return output_in((named or results)[0]) if results else None


def output_in(message: object) -> ToolOutput:
    """The result that a tool message carries."""
    content = messages.content_of(message)
    text = messages.text_of_content(content)
    value = text if text or not isinstance(content, list) else _of_blocks(content)
    call_id = messages.field_of(message, "tool_call_id")
    return ToolOutput(
        value, messages.field_of(message, "status") == "error", call_id if isinstance(call_id, str) else None
    )


def log_before_action(action: object) -> str:
    """What a text agent thought before it acted, ``""`` for an agent whose message says it already.

    Source: langchain_core 1.7.2, agents.py, AgentAction.log and AgentActionMessageLog.message_log
    """
    if getattr(action, "message_log", None):
        return ""
    log = getattr(action, "log", None)
    thought = log.split("\nAction:", 1)[0] if isinstance(log, str) else ""
    return thought.removeprefix("Thought:").strip() if not thought.startswith("Action:") else ""


def message_in(response: object) -> BaseMessage | None:
    """The message of a model's result; the text of a completion model as one; None if there is none."""
    generations = getattr(response, "generations", None)
    if not generations or not generations[0]:
        return None
    generation = generations[0][0]
    message = getattr(generation, "message", None)
    return message if isinstance(message, BaseMessage) else AIMessage(str(getattr(generation, "text", "") or ""))
