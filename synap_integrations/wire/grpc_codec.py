"""The stream's messages ⇄ our words. Pure: no I/O, no clock of its own.

Source: maximem-synap 0.6.9, transport/grpc_client.py, and its descriptors (protos/synap_stream.proto).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

from synap_integrations.model import (
    Ack,
    Assembly,
    ContextUsed,
    ConversationState,
    Scope,
    Signal,
)
from synap_integrations.plain import text

from .bundles import BundleDict, bundle_to_dict
from .proto import (
    ContextUsedEvent,
    ConversationEvent,
    DecodeError,
    HeartbeatPing,
    SessionControl,
    StreamEvent,
    StreamResponse,
)
from .report import Report, json_text, string_map

LISTEN: Final = "/synap.v1.SynapService/Listen"
"""The method on the wire; the package name of our messages does not travel."""
MAX_RECEIVED_BYTES: Final = 4 * 1024 * 1024
MAX_SENT_BYTES: Final = MAX_RECEIVED_BYTES - 4096
"""A larger message ends the connection at a platform with stock limits, again and again."""

_STREAM_ONLY: Final = frozenset({"tool_call", "tool_result", "agent_thinking"})
"""Events that no other way can take: what is too large of them is shortened."""
_SHORTENED_CHARS: Final = MAX_SENT_BYTES // 8

PONG: Final = Signal("pong")
UNKNOWN: Final = Signal("unknown", "a message newer than this package")

Decoded = Ack | ConversationState | Signal | BundleDict
"""What the platform said; a bundle comes as the documented dict, for `bundles.bundle_from_dict` to read."""


def conversation_event(  # noqa: PLR0913 - everything that is not the report itself, by name
    report: Report,
    *,
    event_id: str,
    scope: Scope,
    sent_at: datetime,
    now: datetime,
    metadata: Mapping[str, object] | None = None,
) -> StreamEvent:
    """One event of a conversation, under the id by which it is acknowledged.

    Arguments, results and thoughts beyond `MAX_SENT_BYTES` are shortened, with their length and hash.
    """
    event = StreamEvent(
        conversation_event=ConversationEvent(
            event_type=report.event_type,
            event_id=event_id,
            conversation_id=_id(scope.conversation_id),
            user_id=_id(scope.user_id),
            customer_id=_id(scope.customer_id),
            session_id=_id(scope.session_id),
            role=text(report.role),
            content=text(report.content),
            tool_name=text(report.tool_name or ""),
            tool_args_json="" if report.tool_args is None else json_text(report.tool_args),
            tool_result_json=_result(report.tool_result),
            tool_call_id=_id(report.tool_call_id),
            search_queries=[text(query) for query in report.search_queries],
            context_types=[text(kind) for kind in report.context_types],
            metadata=string_map({**report.metadata, **(metadata or {})}),
            timestamp_ms=_ms(now),
            sent_at_ms=_ms(sent_at),
        )
    )
    if report.event_type in _STREAM_ONLY and event.ByteSize() > MAX_SENT_BYTES:
        said = event.conversation_event
        said.content = text(said.content, limit=_SHORTENED_CHARS)
        said.tool_result_json = text(said.tool_result_json, limit=_SHORTENED_CHARS)
        if len(said.tool_args_json) > _SHORTENED_CHARS:
            said.tool_args_json = json_text({"shortened": text(said.tool_args_json, limit=_SHORTENED_CHARS)})
    return event


def context_used(used: ContextUsed, *, scope: Scope, now: datetime) -> StreamEvent:
    """These pushed items were shown to a model. Never acknowledged."""
    return StreamEvent(
        context_used=ContextUsedEvent(
            bundle_id=used.bundle_ids[0] if used.bundle_ids else "",
            source_bundle_ids=used.bundle_ids,
            served_item_ids=used.item_ids,
            conversation_id=_id(scope.conversation_id),
            user_id=_id(scope.user_id),
            customer_id=_id(scope.customer_id),
            scope="conversation" if scope.conversation_id else "user",
            query_count=1,
            timestamp_ms=_ms(now),
        )
    )


def receipt(used: ContextUsed, assembly: Assembly, *, scope: Scope, now: datetime) -> StreamEvent:
    """How what is reported at this very moment came about, as the platform's own SDK says it after each fetch, but
    without the query; what that has no field for is metadata under names of ours. Never acknowledged: it has no id.
    """
    told: dict[str, object | None] = {
        "source": {"pushed": "anticipation", "fetched": "cloud"}.get(assembly.source, assembly.source),
        "items_count": len(used.item_ids),
        "scope": "conversation" if scope.conversation_id else "user",
        "synap_used_at_ms": _ms(now),
        "synap_source": assembly.source,
        "synap_why": assembly.why,
        "synap_tokens": assembly.tokens,
        "synap_token_budget": assembly.token_budget,
        "synap_waited_ms": assembly.waited_ms,
        "synap_dropped": json_text(dict(assembly.dropped)),
    }
    report = Report(
        event_type="context_fetch",
        role="system",
        metadata=string_map({name: value for name, value in told.items() if value is not None}),
    )
    return conversation_event(report, event_id="", scope=scope, sent_at=now, now=now)


def session_control(action: Literal["start", "end"], *, scope: Scope) -> StreamEvent:
    """The beginning or the end of a session; an end names session and conversation only."""
    ends = action == "end"
    return StreamEvent(
        session_control=SessionControl(
            action=action,
            session_id=_id(scope.session_id),
            conversation_id=_id(scope.conversation_id),
            user_id="" if ends else _id(scope.user_id),
            customer_id="" if ends else _id(scope.customer_id),
        )
    )


def heartbeat(*, now: datetime) -> StreamEvent:
    """Are you there? The platform answers with a pong."""
    return StreamEvent(heartbeat_ping=HeartbeatPing(timestamp_ms=_ms(now)))


def decode(data: bytes) -> Decoded:
    """What the platform said.

    Raises: ValueError, if these bytes are no message; the stream they came on is still good.
    """
    try:
        message = StreamResponse.FromString(data)
    except DecodeError as error:
        fault = f"{len(data)} bytes that are no StreamResponse"
        raise ValueError(fault) from error
    match message.WhichOneof("payload"):
        case "event_ack":
            return Ack(tuple(message.event_ack.event_ids))
        case "context_bundle":
            return bundle_to_dict(message.context_bundle)
        case "conversation_state":
            state = message.conversation_state
            return ConversationState(state.conversation_id, state.message_count)
        case "signal":
            signal = message.signal
            return Signal(signal.signal_type, signal.reason, metadata=dict(signal.metadata))
        case "heartbeat_pong":
            return PONG
        case _:
            return UNKNOWN


def _result(value: object) -> str:
    """A text result travels bare, anything else as JSON.

    Source: maximem-synap 0.6.9, sdk.py, ``record_tool_result``.
    """
    if value is None:
        return ""
    return text(value) if isinstance(value, str) else json_text(value)


def _id(value: str | None) -> str:
    return text(value) if value else ""


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
