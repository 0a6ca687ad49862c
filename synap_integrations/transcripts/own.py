"""What `synap export` has written: nothing is lost on the way from one machine to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from synap_integrations.model import AssistantMessage, Event, Scope, Thinking, ToolCall, ToolResult, UserMessage

from .messages import Document, Past, Read, Skipped, arguments, text_in, when


def is_line(value: object) -> bool:
    """True for a line of an export."""
    return isinstance(value, Mapping) and "kind" in value and "stored_at" in value and "conversation_id" in value


def read(documents: Sequence[Document], *, name: str) -> Iterator[Read]:  # noqa: ARG001 - a reader's signature
    """The events; what was pushed and shown is not imported: it is made anew."""
    for document in documents:
        line = document.value
        if not isinstance(line, Mapping) or not is_line(line):
            yield Skipped("what is no line of an export")
            continue
        scope = Scope(_id(line, "conversation_id"), _id(line, "user_id"), customer_id=_id(line, "customer_id"))
        for event, said in _events(line):
            if isinstance(event, Skipped):
                yield event
                continue
            at = when({"occurred_at": _occurred_at(said)}) or when(said) or when({"occurred_at": line["stored_at"]})
            yield Past(scope=scope, event=event, occurred_at=at, event_id=_id(said, "event_id"))


def _events(line: Mapping[str, object]) -> Iterator[tuple[Event | Skipped, Mapping[str, object]]]:
    """Each event with the fields that tell of it."""
    match line["kind"]:
        case "turn":
            content = text_in(line, "content")
            roles: dict[object, Event] = {"user": UserMessage(content), "assistant": AssistantMessage(content)}
            role = line.get("role")
            yield roles.get(role, Skipped(f"{role} turns")), line
        case "tool":
            call, result = line.get("call"), line.get("result")
            if isinstance(call, Mapping):
                args = arguments(call.get("tool_args_json"))
                yield ToolCall(text_in(call, "tool_name"), args, text_in(call, "tool_call_id")), call
            if isinstance(result, Mapping):
                name, said = text_in(result, "tool_name"), _value(result.get("tool_result_json"))
                yield ToolResult(name, said, text_in(result, "tool_call_id")), result
        case "thinking":
            yield Thinking(text_in(line, "content")), line
        case kind:
            yield Skipped(f"{kind} entries"), line


def _value(raw: object) -> object:
    return arguments(raw).get("value", arguments(raw)) if isinstance(raw, str) else raw


def _occurred_at(said: Mapping[str, object]) -> object:
    metadata = said.get("metadata")
    return metadata.get("synap_occurred_at") if isinstance(metadata, Mapping) else None


def _id(line: Mapping[str, object], name: str) -> str | None:
    return text_in(line, name) or None
