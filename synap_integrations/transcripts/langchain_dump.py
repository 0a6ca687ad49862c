"""Messages as LangChain dumps them: ``messages_to_dict`` (and so ``FileChatMessageHistory``) and ``dumpd``.

Source: langchain_core 1.7.2, messages/base.py, message_to_dict; load/serializable.py, Serializable.to_json
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .messages import Call, Message, arguments, text_in

_ROLES: Final[Mapping[str, str]] = {
    "human": "user",
    "HumanMessage": "user",
    "HumanMessageChunk": "user",
    "ai": "assistant",
    "AIMessage": "assistant",
    "AIMessageChunk": "assistant",
    "tool": "tool",
    "ToolMessage": "tool",
    "function": "tool",
    "FunctionMessage": "tool",
    "system": "system",
    "SystemMessage": "system",
    "remove": "remove",
    "chat": "chat",
    "ChatMessage": "chat",
}


def is_message(value: object) -> bool:
    """True for an object that one of the two ways of dumping has made."""
    return _opened(value) is not None


def parse(value: object) -> Message | None:
    """The message; None if it is none."""
    opened = _opened(value)
    if opened is None:
        return None
    role, fields = opened
    extra = fields.get("additional_kwargs")
    beside = extra if isinstance(extra, Mapping) else {}
    if role == "chat":
        role = text_in(fields, "role").lower()
    return Message(
        role=role,
        content=fields.get("content"),
        calls=tuple(_calls(fields)),
        tool_call_id=text_in(fields, "tool_call_id"),
        tool_name=text_in(fields, "name") if role == "tool" else "",
        is_error=fields.get("status") == "error",
        said={**beside, **fields},
    )


def _opened(value: object) -> tuple[str, Mapping[str, object]] | None:
    """Role and fields."""
    if not isinstance(value, Mapping):
        return None
    data, fields, path = value.get("data"), value.get("kwargs"), value.get("id")
    if isinstance(data, Mapping) and value.get("type") in _ROLES:
        return _ROLES[text_in(value, "type")], data
    if value.get("lc") and isinstance(fields, Mapping) and isinstance(path, list) and path and path[-1] in _ROLES:
        return _ROLES[str(path[-1])], fields
    return None


def _calls(fields: Mapping[str, object]) -> list[Call]:
    held = fields.get("tool_calls")
    return [
        Call(text_in(call, "id"), text_in(call, "name"), arguments(call.get("args")))
        for call in (held if isinstance(held, list) else [])
        if isinstance(call, Mapping)
    ]
