"""Messages in all the shapes LangChain takes: objects, role dictionaries, pairs, prompt values, plain text.

Pure, and lazy: histories are long, so they are read from the end and nothing of them is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, cast

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompt_values import PromptValue

from synap_integrations.context.render import without_context
from synap_integrations.plain import attachment

Role = Literal["user", "assistant", "system", "tool", "other"]

_ROLES: Final[Mapping[object, Role]] = {
    "human": "user",
    "HumanMessageChunk": "user",
    "user": "user",
    "ai": "assistant",
    "AIMessageChunk": "assistant",
    "assistant": "assistant",
    "system": "system",
    "SystemMessageChunk": "system",
    "developer": "system",
    "tool": "tool",
    "ToolMessageChunk": "tool",
    "function": "tool",
    "FunctionMessageChunk": "tool",
}
_ROLE_OF: Final[Mapping[type, Role]] = {
    HumanMessage: "user",
    AIMessage: "assistant",
    AIMessageChunk: "assistant",
    SystemMessage: "system",
    ToolMessage: "tool",
}
"""The classes that nearly all messages have."""
_TEXT_BLOCKS: Final = frozenset({"text", "input_text", "output_text", "text_delta", "text-plain"})
_ATTACHMENT_WORDS: Final = ("image", "audio", "video", "file", "document", "media", "pdf")
_NO_BLOCKS: Final[Sequence[object]] = ()


class Spoken(NamedTuple):
    """One message of the user as the application sent it.

    ``followed_by`` is the assistant's text that follows it in the same input: the start of an answer put into the
    model's mouth, or an answer we know.
    """

    text: str
    attachments: tuple[str, ...] = ()
    id: str | None = None
    followed_by: str | None = None


def as_messages(value: object) -> Sequence[object] | None:
    """The messages a value consists of, in whatever shape; None if it is anything else."""
    # Plain containers first: asking for an abstract class is the slow part of most runs.
    if isinstance(value, list | tuple):
        if _is_message(value):
            return (value,)
        return value if value and _is_message(value[-1]) and _is_message(value[0]) else None
    if isinstance(value, dict):
        return (value,) if _is_message(value) else None
    if value is None or isinstance(value, str):
        return None
    if isinstance(value, PromptValue):
        return value.to_messages()
    return (value,) if _is_message(value) else None


def messages_field(value: object) -> Sequence[object] | None:
    """What stands under ``"messages"``: there, a bare text is a message of the user too."""
    if isinstance(value, str):
        return (("user", value),)
    if isinstance(value, list) and value and isinstance(value[-1], str):
        return [("user", item) if isinstance(item, str) else item for item in value]
    if isinstance(value, list | tuple) and not value:
        return ()
    return as_messages(value)


def _is_message(value: object) -> bool:
    if type(value) in _ROLE_OF:
        return True
    if isinstance(value, list | tuple):
        return len(value) == 2 and isinstance(value[0], str) and value[0] in _ROLES and isinstance(value[1], str | list)
    if isinstance(value, Mapping):
        return "content" in value and (value.get("role") or value.get("type")) in _ROLES
    return isinstance(value, BaseMessage)


def role_of(message: object) -> Role:
    """Who speaks."""
    if (role := _ROLE_OF.get(type(message))) is not None:
        return role
    if isinstance(message, BaseMessage):
        name: object = message.role if isinstance(message, ChatMessage) else message.type
    elif isinstance(message, Mapping):
        name = message.get("role") or message.get("type")
    else:
        name = cast("Sequence[object]", message)[0]
    return _ROLES.get(name, "other")


def content_of(message: object) -> object:
    """Text, or a list of content blocks."""
    if type(message) in _ROLE_OF or isinstance(message, BaseMessage):
        return cast("BaseMessage", message).content
    return message.get("content") if isinstance(message, Mapping) else cast("Sequence[object]", message)[1]


def field_of(message: object, name: str) -> object:
    """Another field of a message, None if it has none of this name."""
    if type(message) in _ROLE_OF or isinstance(message, BaseMessage):
        return getattr(message, name, None)
    return message.get(name) if isinstance(message, Mapping) else None


def blocks_of(message: object) -> Sequence[object]:
    """The content blocks, none for plain text."""
    content = content_of(message)
    return content if isinstance(content, list) else _NO_BLOCKS


def text_of_content(content: object) -> str:
    """The words of a content: a text, or the text blocks of a list."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(
        [
            block
            if isinstance(block, str)
            else str(block.get("text") or "")
            if isinstance(block, Mapping) and block.get("type") in _TEXT_BLOCKS
            else ""
            for block in content
        ]
    )


def text_of(message: object) -> str:
    """The words of a message, without blocks of ours."""
    return cleaned(text_of_content(content_of(message)))


def said_by(message: object) -> str:
    """What a message of the assistant says: its words, those with which it refuses, else what it consists of.

    Source: langchain-openai 1.1, chat_models/base.py, ``additional_kwargs["refusal"]`` and blocks of type ``refusal``
    """
    text = text_of(message)
    if text.strip():
        return text
    refusals = [block.get("refusal") for block in blocks_of(message) if isinstance(block, Mapping)]
    words = [said for said in (*refusals, _extras(message).get("refusal")) if isinstance(said, str) and said.strip()]
    return cleaned(words[0]) if words else " ".join([f"[{kind}]" for kind in attachments_of(message)])


def without_bytes(content: Sequence[object]) -> str | None:
    """Blocks of which at least one is an attachment: what each is and how big, never the bytes; None if none is one."""
    if not any(_is_attachment(block) for block in content):
        return None
    return " ".join([_in_brief(block) for block in content if isinstance(block, Mapping)])


def _is_attachment(block: object) -> bool:
    kind = block.get("type") if isinstance(block, Mapping) else None
    return isinstance(kind, str) and kind not in _TEXT_BLOCKS and any(word in kind for word in _ATTACHMENT_WORDS)


def _in_brief(block: Mapping[str, object]) -> str:
    """``[image/png, 150 bytes, sha256 …]``; the type alone where the data is elsewhere."""
    source = next((inner for name in ("source", "image_url", "file") if isinstance(inner := block.get(name), dict)), {})
    fields = {**block, **source}
    kind = str(next((fields[name] for name in ("mime_type", "media_type") if fields.get(name)), block.get("type")))
    data = next(
        (fields[name] for name in ("base64", "data", "file_data", "url", "image_url") if fields.get(name)), None
    )
    if isinstance(data, str) and data.startswith("data:"):
        kind, _, data = data.removeprefix("data:").partition(";base64,")
    elif isinstance(data, str) and "://" in data:
        return f"[{kind}, {data}]"
    raw = data.encode() if isinstance(data, str) else data if isinstance(data, bytes) else b""
    return attachment(kind, raw, base64=isinstance(data, str))


def cleaned(text: str) -> str:
    """The text without context that we put there."""
    kept = without_context(text)
    return text if kept is text else kept.strip()


def attachments_of(message: object) -> tuple[str, ...]:
    """Types of what is attached to a message; never the bytes."""
    if not (blocks := blocks_of(message)):
        return ()
    return tuple(
        [
            kind
            for block in blocks
            if isinstance(block, Mapping)
            and isinstance(kind := block.get("type"), str)
            and kind not in _TEXT_BLOCKS
            and any(word in kind for word in _ATTACHMENT_WORDS)
        ]
    )


def has_calls(message: object) -> bool:
    """True if the message asks for tools that the application has to run."""
    return bool(field_of(message, "tool_calls")) or "function_call" in _extras(message)


def is_ours_or_the_frameworks(message: object) -> bool:
    """True for a message that middleware wrote in the user's name, such as the summary of a history."""
    return bool(_extras(message).get("lc_source"))


def _extras(message: object) -> Mapping[str, object]:
    extras = field_of(message, "additional_kwargs")
    return extras if isinstance(extras, dict) else {}


def last_words(messages: Sequence[object]) -> list[Spoken]:
    """What the user says at the end of a history: the last uninterrupted block of human messages, oldest first.

    System messages in between do not interrupt it. Nothing, if a tool's result or a request for tools comes last.
    """
    block: list[Spoken] = []
    followed_by: str | None = None
    for message in reversed(messages):
        role = role_of(message)
        if role == "user":
            if not is_ours_or_the_frameworks(message) and (spoken := _spoken(message, followed_by)):
                block.append(spoken)
        elif role == "tool" or (role == "assistant" and (block or followed_by is not None or has_calls(message))):
            break
        elif role == "assistant":
            followed_by = text_of(message)
    block.reverse()
    return block


def since_last_words(messages: Sequence[object]) -> Sequence[object]:
    """What follows the last human message."""
    for back, message in enumerate(reversed(messages)):
        if role_of(message) == "user" and not is_ours_or_the_frameworks(message):
            return messages[len(messages) - back :]
    return messages


def spoken_text(text: str) -> list[Spoken]:
    """A bare text as a message of the user; nothing if it is empty."""
    kept = cleaned(text)
    return [Spoken(kept)] if kept.strip() else []


def _spoken(message: object, followed_by: str | None) -> Spoken | None:
    text = text_of(message)
    attachments = attachments_of(message)
    if not text.strip():
        if not attachments:
            return None
        text = " ".join([f"[{kind}]" for kind in attachments])
    message_id = field_of(message, "id")
    return Spoken(text, attachments, id=message_id if isinstance(message_id, str) else None, followed_by=followed_by)
