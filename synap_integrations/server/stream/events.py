"""What stream events say, read from their messages. Pure functions; empty is absent on the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Final

from synap_integrations.model import Scope
from synap_integrations.server.push.anticipation import Cause, Pattern
from synap_integrations.server.records import Happening
from synap_integrations.wire.proto import ContextAssembledEvent, ContextUsedEvent, ConversationEvent, SessionControl

ASKED_BY: Final[Mapping[str, Pattern]] = {
    "context_request": "context_request",
    "tool_call": "tool_call",
    "tool_result": "tool_result",
}
_MAX_HINTS: Final = 3
_HINT_CHARS: Final = 200


def scope_of(event: ConversationEvent | SessionControl | ContextUsedEvent | ContextAssembledEvent) -> Scope:
    """Whose event it is."""
    return Scope(event.conversation_id or None, event.user_id or None, customer_id=event.customer_id or None)


def body_of(event: ConversationEvent) -> dict[str, object]:
    """The fields of an event that are set, as they came."""
    found: dict[str, object] = {
        "role": event.role,
        "content": event.content,
        "tool_name": event.tool_name,
        "tool_args_json": event.tool_args_json,
        "tool_result_json": event.tool_result_json,
        "tool_call_id": event.tool_call_id,
        "search_queries": list(event.search_queries),
        "context_types": list(event.context_types),
        "metadata": dict(event.metadata),
        "sent_at_ms": event.sent_at_ms,
    }
    return {name: value for name, value in found.items() if value}


def cause_of(event: ConversationEvent, happening: Happening) -> Cause:
    """What an event, kept as this happening, asks for by its queries or by what else it says."""
    queries = tuple(event.search_queries)
    if event.event_type == "tool_call":
        queries = queries or _hints(event.tool_args_json)
    elif event.event_type == "tool_result" and 0 < len(event.tool_result_json) <= _HINT_CHARS:
        queries = queries or (event.tool_result_json,)
    return Cause(
        pattern=ASKED_BY[event.event_type],
        owner=happening.owner,
        decision_id=happening.event_id or "",
        conversation_id=event.conversation_id,
        queries=queries,
        context_types=tuple(event.context_types),
    )


def _hints(tool_args_json: str) -> tuple[str, ...]:
    """Short text arguments of a tool call: what it is about, as far as anybody can tell."""
    try:
        arguments = json.loads(tool_args_json or "{}")
    except (ValueError, RecursionError):
        return ()
    values = arguments.values() if isinstance(arguments, dict) else ()
    short = (value for value in values if isinstance(value, str) and 0 < len(value) <= _HINT_CHARS)
    return tuple(islice(short, _MAX_HINTS))
