"""A message as most formats have it, and the events that it stands for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, NamedTuple

from synap_integrations import scoping
from synap_integrations.model import AssistantMessage, Event, Scope, Thinking, ToolCall, ToolResult, UserMessage

_TIMES: Final = ("occurred_at", "said_at", "timestamp", "created_at", "create_time", "time", "date")
_MILLISECONDS: Final = 1e11
"""A number of seconds since 1970 above this would be after the year 5000."""


class Document(NamedTuple):
    """One JSON value of a file, and the line on which it begins."""

    line: int
    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Something that happened. ``scope`` is what the file says; ``event_id`` None: the file has no ids of ours."""

    scope: Scope
    event: Event
    occurred_at: datetime | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that is no event of a conversation, and what it is."""

    what: str


Read = Past | Skipped


class Call(NamedTuple):
    """A tool that the assistant asked for."""

    call_id: str
    name: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message, whatever its format. ``role``: user, assistant, tool, or anything else, which is skipped."""

    role: str
    content: object = None
    calls: tuple[Call, ...] = ()
    tool_call_id: str = ""
    tool_name: str = ""
    is_error: bool = False
    said: Mapping[str, object] = field(default_factory=dict[str, object])
    """Everything the file says beside it: names and times are looked for here."""


def read_messages(
    documents: Sequence[Document], parse: Callable[[object], Message | None], *, name: str
) -> Iterator[Read]:
    """The events of all messages, in order.

    A document is a conversation (a list of messages, or an object with ``messages``) or one message. Those that say
    nothing else of their conversation are called after the file; of several, after their line, too.
    """
    whole = [document for document in documents if _messages(document.value) is not None]
    names: dict[str, str] = {}
    for document in documents:
        messages = _messages(document.value)
        container = document.value if isinstance(document.value, Mapping) and messages is not None else {}
        numbered = f"{name}:{document.line}" if messages is not None and len(whole) > 1 else name
        outer = scoping.merged(_scope(container), Scope(numbered))
        for raw in [document.value] if messages is None else messages:
            message = parse(raw)
            if message is None:
                yield Skipped("what is no message")
                continue
            scope = scoping.merged(_scope(message.said), outer)
            at = when(message.said) or when(container)
            for event in events_of(message, names):
                yield event if isinstance(event, Skipped) else Past(scope=scope, event=event, occurred_at=at)


def events_of(message: Message, names: dict[str, str]) -> Iterator[Event | Skipped]:
    """What happened. ``names`` remembers which tool a call was for, because results do not always say."""
    text, thoughts, others = _parts(message.content)
    match message.role:
        case "user":
            yield UserMessage(text, attachments=others)
        case "assistant":
            yield from (Thinking(thought) for thought in thoughts)
            if message.calls and text:
                yield Thinking(text)
            for call in message.calls:
                names[call.call_id] = call.name
                yield ToolCall(call.name, call.arguments, call.call_id)
            if not message.calls:
                yield AssistantMessage(text)
        case "tool":
            tool = message.tool_name or names.get(message.tool_call_id, "tool")
            yield ToolResult(tool, text, message.tool_call_id, is_error=message.is_error)
        case other:
            yield Skipped(f"{other or 'nameless'} messages")


def when(said: Mapping[str, object]) -> datetime | None:
    """When it was said, if anything there can be read as a time."""
    for name in _TIMES:
        value = said.get(name)
        try:
            if isinstance(value, str) and value:
                moment = datetime.fromisoformat(value)
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return datetime.fromtimestamp(value / 1000 if value > _MILLISECONDS else value, UTC)
        except (ValueError, OverflowError, OSError):
            continue
    return None


def arguments(value: object) -> Mapping[str, object]:
    """A tool's arguments, from an object or from its JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value or "{}")
        except ValueError:
            return {"value": value}
    return value if isinstance(value, Mapping) else {"value": value}


def text_in(value: Mapping[str, object], *names: str) -> str:
    """The first of these fields that is a text; "" if none is."""
    return next((found for name in names if isinstance(found := value.get(name), str)), "")


def completed(past: Past, asked: Scope) -> Past:
    """The same, with what the caller says about whose it is before what the file says."""
    return replace(past, scope=scoping.merged(asked, past.scope))


def _messages(value: object) -> Sequence[object] | None:
    if isinstance(value, list):
        return value
    found = value.get("messages") if isinstance(value, Mapping) else None
    return found if isinstance(found, list) else None


def _scope(said: Mapping[str, object]) -> Scope:
    metadata = said.get("metadata")
    return scoping.merged(
        scoping.from_mapping(said), scoping.from_mapping(metadata) if isinstance(metadata, Mapping) else scoping.NOWHERE
    )


def _parts(content: object) -> tuple[str, list[str], tuple[str, ...]]:
    """The text of a content, the reasoning in it, and the types of everything else."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else "" if content is None else json.dumps(content), [], ()
    texts: list[str] = []
    thoughts: list[str] = []
    others: list[str] = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping):
            kind = text_in(part, "type") or "part"
            if kind in {"text", "input_text", "output_text"}:
                texts.append(text_in(part, "text"))
            elif kind in {"thinking", "reasoning"}:
                thoughts.append(text_in(part, kind, "text"))
            else:
                others.append(kind)
    return "\n".join(texts), thoughts, tuple(others)
