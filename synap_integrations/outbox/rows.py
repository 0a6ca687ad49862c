"""An Envelope as a row, and back. Pure functions.

A row holds UTF-8 JSON made by our own encoder, so that anything an application captured can be kept: text that no
encoding carries, bytes and objects take the form that `plain` gives them. Nothing stored is ever executed.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from json.encoder import encode_basestring
from typing import Final, NamedTuple, assert_never

from synap_integrations.model import (
    Assembly,
    AssistantMessage,
    ContextRequest,
    ContextUsed,
    Envelope,
    Event,
    Scope,
    Thinking,
    ToolCall,
    ToolResult,
    UserMessage,
)
from synap_integrations.plain import Plain, plain, text

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ROW_OVERHEAD: Final = 200
"""Bytes of a row besides its text: numbers, ids, its share of the index."""

_dumps: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


class UnreadableRowError(ValueError):
    """A row that is not what was written, or that a newer version wrote."""


class Row(NamedTuple):
    """One envelope at rest. ``captured_at`` is in microseconds since 1970, UTC.

    ``conversation`` is a 64-bit hash that keeps a conversation in order without reading the scope. Two conversations
    with the same hash would share a place in the queue, nothing else. ``sealed_by`` names the key without which neither
    scope nor body can be read; None is clear text.
    """

    event_id: str
    conversation: int
    scope: str
    kind: str
    framework: str | None
    captured_at: int
    body: bytes
    sealed_by: str | None = None

    @property
    def size(self) -> int:
        """Bytes that the row takes on disk, roughly."""
        return len(self.body) + len(self.scope) + _ROW_OVERHEAD

    def checksum(self, seq: int) -> int:
        """CRC-32 over the row and its place in the order: a flipped bit in any of them is found."""
        head = f"{seq}\n{self.event_id}\n{self.conversation}\n{self.scope}\n{self.kind}\n{self.framework}\n"
        head += str(self.captured_at) if self.sealed_by is None else f"{self.captured_at}\n{self.sealed_by}"
        return zlib.crc32(self.body, zlib.crc32(head.encode("utf-8", "surrogatepass")))


def encode(envelope: Envelope) -> Row:
    """The row of an envelope. Never raises for what an application captured."""
    scope, conversation = _address(envelope.scope)
    framework = envelope.framework
    return Row(
        text(envelope.event_id),
        conversation,
        scope,
        type(envelope.event).__name__,
        text(framework) if framework is not None else None,
        (envelope.occurred_at - _EPOCH) // _MICROSECOND,
        _body(envelope.event).encode(),
    )


def decode(row: Row) -> Envelope:
    """The envelope of a row.

    Raises: UnreadableRowError, if the row holds something else.
    """
    try:
        return Envelope(
            row.event_id,
            Scope(*(ids := json.loads(row.scope))[:2], customer_id=ids[2], session_id=ids[3]),
            event=_EVENTS[row.kind](json.loads(row.body)),
            occurred_at=_EPOCH + row.captured_at * _MICROSECOND,
            framework=row.framework,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        message = f"a {row.kind} row cannot be read: {type(error).__name__}"
        raise UnreadableRowError(message) from None


@lru_cache(maxsize=1024)
def _address(scope: Scope) -> tuple[str, int]:
    """The scope as JSON, and the hash that its conversation is ordered by."""
    ids = [scope.conversation_id, scope.user_id, scope.customer_id, scope.session_id]
    ids = [None if value is None else text(value) for value in ids]
    name = _dumps([ids[2], ids[0]]).encode()
    return _dumps(ids), int.from_bytes(blake2b(name, digest_size=8).digest(), signed=True)


def _body(event: Event) -> str:
    # The two most frequent shapes are written by hand: the general encoder costs three times as much.
    match event:
        case UserMessage(content, attachments=(), edited=False) | AssistantMessage(content, incomplete=False):
            return f'{{"content":{encode_basestring(_text(content))}}}'
        case _:
            return _dumps(_fields(event))


def _fields(event: Event) -> dict[str, Plain]:
    match event:
        case UserMessage(content):
            fields = {"content": content, "attachments": list(event.attachments), "edited": event.edited}
        case AssistantMessage(content):
            fields = {"content": content, "incomplete": event.incomplete}
        case ToolCall():
            fields = {
                "tool_name": event.tool_name,
                "tool_args": event.tool_args,
                "tool_call_id": event.tool_call_id,
                "search_queries": list(event.search_queries),
                "context_types": list(event.context_types),
            }
        case ToolResult():
            fields = {
                "tool_name": event.tool_name,
                "tool_result": event.tool_result,
                "tool_call_id": event.tool_call_id,
                "is_error": event.is_error,
            }
        case Thinking(content):
            fields = {"content": content, "step_index": event.step_index, "thought_type": event.thought_type}
        case ContextRequest(queries):
            fields = {"search_queries": list(queries), "context_types": list(event.context_types)}
        case ContextUsed(bundle_ids, item_ids):
            assembly = asdict(event.assembly) if event.assembly else None
            fields = {"bundle_ids": list(bundle_ids), "item_ids": list(item_ids), "assembly": assembly}
        case _:
            assert_never(event)
    return {name: plain(value) for name, value in fields.items()}


def _text(value: object) -> str:
    """Text as it can be kept; what is not text, although it should be, as JSON."""
    if isinstance(value, str):
        return text(str.__str__(value))  # frameworks hand out classes of text of their own
    kept = plain(value)
    return kept if isinstance(kept, str) else _dumps(kept)


def _user_message(fields: dict[str, Plain]) -> Event:
    attachments, edited = _texts(fields.get("attachments")), bool(fields.get("edited"))
    return UserMessage(_read(fields["content"]), attachments=attachments, edited=edited)


def _assistant_message(fields: dict[str, Plain]) -> Event:
    return AssistantMessage(_read(fields["content"]), incomplete=bool(fields.get("incomplete")))


def _tool_call(fields: dict[str, Plain]) -> Event:
    args = fields["tool_args"]
    return ToolCall(
        _read(fields["tool_name"]),
        args if isinstance(args, dict) else {"value": args},
        _read(fields["tool_call_id"]),
        search_queries=_texts(fields["search_queries"]),
        context_types=_texts(fields["context_types"]),
    )


def _tool_result(fields: dict[str, Plain]) -> Event:
    name, call = _read(fields["tool_name"]), _read(fields["tool_call_id"])
    return ToolResult(name, fields["tool_result"], call, is_error=bool(fields["is_error"]))


def _thinking(fields: dict[str, Plain]) -> Event:
    step, kind = fields["step_index"], fields["thought_type"]
    return Thinking(
        _read(fields["content"]),
        step_index=_number(step),
        thought_type=None if kind is None else _read(kind),
    )


def _number(value: Plain) -> int | None:
    """A number as it was; one that JSON readers do not agree on was kept as text."""
    if isinstance(value, str) and value.removeprefix("-").isdecimal():
        return int(value)
    return value if isinstance(value, int) else None


def _context_request(fields: dict[str, Plain]) -> Event:
    return ContextRequest(_texts(fields["search_queries"]), context_types=_texts(fields["context_types"]))


def _context_used(fields: dict[str, Plain]) -> Event:
    bundle_ids, item_ids = _texts(fields["bundle_ids"]), _texts(fields["item_ids"])
    return ContextUsed(bundle_ids, item_ids, assembly=_assembly(fields.get("assembly")))


def _assembly(told: Plain) -> Assembly | None:
    """None if there is none, as in rows of older versions."""
    if not isinstance(told, dict):
        return None
    dropped = told.get("dropped")
    counts = {reason: _number(count) or 0 for reason, count in dropped.items()} if isinstance(dropped, dict) else {}
    return Assembly(
        source=_read(told.get("source") or ""),
        why=_read(told.get("why") or ""),
        tokens=_number(told.get("tokens")),
        token_budget=_number(told.get("token_budget")),
        waited_ms=_number(told.get("waited_ms")),
        dropped=counts,
    )


def _read(value: Plain) -> str:
    return value if isinstance(value, str) else _dumps(value)


def _texts(values: Plain) -> tuple[str, ...]:
    return tuple(_read(value) for value in values) if isinstance(values, list) else ()


_EVENTS: Final[dict[str, Callable[[dict[str, Plain]], Event]]] = {
    "UserMessage": _user_message,
    "AssistantMessage": _assistant_message,
    "ToolCall": _tool_call,
    "ToolResult": _tool_result,
    "Thinking": _thinking,
    "ContextRequest": _context_request,
    "ContextUsed": _context_used,
}
