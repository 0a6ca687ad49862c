"""Messages as OpenAI's chat API has them: ``{"messages": [{"role", "content"}, …]}`` or one message on each line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .messages import Call, Message, arguments, text_in

ROLES: Final = frozenset({"user", "assistant", "tool", "function", "system", "developer"})


def is_message(value: object) -> bool:
    """True for an object with a known role."""
    return isinstance(value, Mapping) and value.get("role") in ROLES


def parse(value: object) -> Message | None:
    """The message; None if it is none."""
    if not isinstance(value, Mapping) or not is_message(value):
        return None
    role = text_in(value, "role")
    name = text_in(value, "name")
    return Message(
        role="tool" if role == "function" else role,
        content=value.get("content"),
        calls=tuple(_calls(value)),
        tool_call_id=text_in(value, "tool_call_id") or (f"function:{name}" if role == "function" else ""),
        tool_name=name if role in {"tool", "function"} else "",
        said=value,
    )


def _calls(value: Mapping[str, object]) -> list[Call]:
    found: list[Call] = []
    held = value.get("tool_calls")
    for call in held if isinstance(held, list) else []:
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            found.append(Call(text_in(call, "id"), text_in(function, "name"), arguments(function.get("arguments"))))
    legacy = value.get("function_call")
    if isinstance(legacy, Mapping):
        name = text_in(legacy, "name")
        found.append(Call(f"function:{name}", name, arguments(legacy.get("arguments"))))
    return found
