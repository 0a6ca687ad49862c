"""What happened, in the documented words of ``instance.send_message``.

`describe` turns our events into these words; the stream's codec and the route to any client with the documented surface
both start from here, so that an event reads the same whichever way it travels.

Source: maximem-synap 0.6.9, sdk.py, ``InstanceInterface.send_message``, ``record_tool_call`` and its neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, assert_never

from synap_integrations.model import (
    AssistantMessage,
    ContextRequest,
    Envelope,
    Thinking,
    ToolCall,
    ToolResult,
    UserMessage,
)
from synap_integrations.plain import plain, text

EVENT_TYPES: Final = (
    "user_message",
    "assistant_message",
    "tool_call",
    "tool_result",
    "agent_thinking",
    "context_request",
    "context_fetch",
    "session_start",
    "session_end",
)
ROLES: Final = ("user", "assistant")
CONTEXT_TYPES: Final = ("facts", "preferences", "episodes", "emotions", "temporal_events")

MAX_METADATA_KEYS: Final = 64
MAX_METADATA_CHARS: Final = 1024

Reportable = UserMessage | AssistantMessage | ToolCall | ToolResult | Thinking | ContextRequest
"""Every event that is a ``ConversationEvent`` on the stream; `ContextUsed` has a message of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One event as ``send_message`` takes it; None is "not given"."""

    event_type: str
    role: str = "user"
    content: str = ""
    tool_name: str | None = None
    tool_args: Mapping[str, object] | None = None
    tool_result: object = None
    tool_call_id: str | None = None
    search_queries: tuple[str, ...] = ()
    context_types: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


def describe(event: Reportable) -> Report:
    """The event in the platform's words; what has no word of its own becomes metadata under our field's name."""
    match event:
        case UserMessage():
            marks = _marks(attachments=", ".join(event.attachments), edited=event.edited)
            return Report(event_type="user_message", content=event.content, metadata=marks)
        case AssistantMessage():
            marks = _marks(incomplete=event.incomplete)
            return Report(event_type="assistant_message", role="assistant", content=event.content, metadata=marks)
        case ToolCall():
            return Report(
                event_type="tool_call",
                role="assistant",
                tool_name=event.tool_name,
                tool_args=event.tool_args,
                tool_call_id=event.tool_call_id,
                search_queries=event.search_queries,
                context_types=event.context_types,
            )
        case ToolResult():
            return Report(
                event_type="tool_result",
                role="tool",
                tool_name=event.tool_name,
                tool_result=event.tool_result,
                tool_call_id=event.tool_call_id,
                metadata=_marks(is_error=event.is_error),
            )
        case Thinking():
            marks = _marks(step_index=event.step_index, thought_type=event.thought_type)
            return Report(event_type="agent_thinking", role="", content=event.content, metadata=marks)
        case ContextRequest():
            return Report(
                event_type="context_request", search_queries=event.search_queries, context_types=event.context_types
            )
        case _:
            assert_never(event)


def provenance(envelope: Envelope) -> dict[str, str]:
    """What travels as metadata with every event: its id, so that repeats can be found, its time and its origin.

    ``synap_seq`` grows with the order of capture among the events of one ``synap_origin``, an outbox file.
    """
    found = {"synap_event_id": envelope.event_id, "synap_occurred_at": envelope.occurred_at.isoformat()}
    if envelope.framework:
        found["synap_framework"] = envelope.framework
    if envelope.place:
        found["synap_origin"], found["synap_seq"] = envelope.place[0], str(envelope.place[1])
    return found


def json_text(value: object) -> str:
    """Any value as JSON text. Never raises."""
    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))


def string_map(metadata: Mapping[str, object] | None) -> dict[str, str]:
    """Metadata as the stream carries it: at most 64 entries of text, at most 1,024 characters each.

    What is no text becomes JSON; an entry too many is counted under ``synap_metadata_dropped``.
    """
    if not metadata:
        return {}
    kept: dict[str, str] = {}
    for key, value in metadata.items():
        if value is None:
            continue
        if len(kept) >= MAX_METADATA_KEYS:
            kept["synap_metadata_dropped"] = str(len(metadata) - MAX_METADATA_KEYS)
            break
        words = value if isinstance(value, str) else json_text(value)
        kept[text(str(key), limit=MAX_METADATA_CHARS)] = text(words, limit=MAX_METADATA_CHARS)
    return kept


def _marks(**found: str | int | None) -> dict[str, str]:
    """What is set, as metadata: ``True`` is "true", and what says nothing is left out."""
    return {
        name: "true" if value is True else str(value)
        for name, value in found.items()
        if value is not None and value is not False and value != ""
    }
