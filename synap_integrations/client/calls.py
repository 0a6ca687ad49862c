"""The REST calls as data: each knows its path, its body and the shape of its answer, and does no I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

import pydantic

from synap_integrations.errors import ServiceUnavailableError
from synap_integrations.wire import memory_schema as memory
from synap_integrations.wire import rest_schema as wire

A = TypeVar("A", bound=pydantic.BaseModel)

IDEMPOTENCY_KEY: Final = "idempotency-key"


@dataclass(frozen=True, slots=True)
class Call(Generic[A]):
    """One REST call.

    ``repeatable``: sending it twice does no harm. ``confirms``: a success says what was asked for even if its body
    cannot be read, as after a write.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    answer: type[A]
    body: Mapping[str, object] | None = None
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    repeatable: bool = True
    confirms: bool = False

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def content(self) -> bytes:
        """The body as it is sent."""
        return b"" if self.body is None else json.dumps(self.body, ensure_ascii=False).encode()

    def read(self, body: bytes, *, content_type: str = "") -> A:
        """The answer of a success.

        Raises: ServiceUnavailableError, if whatever answered is no Synap: a login page, a proxy's notice.
        """
        try:
            return self.answer.model_validate(json.loads(body) if body else {})
        except (ValueError, RecursionError):
            if self.confirms and "html" not in content_type:
                return self.answer.model_validate({})
        message = f"{self.path} was answered by something that is no Synap: check base_url and the proxy"
        raise ServiceUnavailableError(message, details={"content_type": content_type})


def whoami() -> Call[wire.Whoami]:
    """Whose key is this?"""
    return Call("GET", wire.WHOAMI, wire.Whoami)


def record_message(body: wire.RecordMessage, *, event_id: str | None) -> Call[wire.MessageRecorded]:
    """Store one turn; with an event id a platform that knows it stores it once, however often it is sent."""
    sent = body.model_dump(exclude_unset=True) | {"customer_id": body.customer_id, "metadata": body.metadata}
    headers = {IDEMPOTENCY_KEY: event_id} if event_id else {}
    return Call(
        "POST", wire.MESSAGES, wire.MessageRecorded, body=sent, headers=headers, repeatable=False, confirms=True
    )


def record_messages(entries: Sequence[Mapping[str, object]]) -> Call[wire.BatchRecorded]:
    """Store several turns."""
    return Call("POST", wire.MESSAGES_BATCH, wire.BatchRecorded, body={"messages": list(entries)}, repeatable=False)


def list_turns(conversation_id: str, *, start: int, limit: int) -> Call[wire.TurnsListed]:
    """The turns of a conversation from a position (from 1)."""
    query = {"start": str(start), "limit": str(limit)}
    return Call("GET", wire.messages_path(conversation_id), wire.TurnsListed, query=query)


def context_for_prompt(
    conversation_id: str, style: wire.Style, *, user_id: str | None = None, customer_id: str | None = None
) -> Call[wire.ContextForPrompt]:
    """One conversation, ready for a prompt; of this user only, where the platform can tell."""
    query = {"style": style, "user_id": user_id, "customer_id": customer_id if user_id else None}
    named = {name: value for name, value in query.items() if value}
    return Call("GET", wire.context_for_prompt_path(conversation_id), wire.ContextForPrompt, query=named)


def fetch(scope: wire.FetchScope, wanted: wire.FetchContext) -> Call[wire.ContextFetched]:
    """What is remembered at one level."""
    always: dict[str, Any] = {
        "conversation_id": wanted.conversation_id,
        "search_query": wanted.search_query,
        "max_results": wanted.max_results,
        "types": wanted.types,
        "mode": wanted.mode,
    }
    if scope in {"user", "customer"}:
        always["customer_id"] = wanted.customer_id
    body = wanted.model_dump(exclude_defaults=True) | always
    return Call("POST", wire.fetch_path(scope), wire.ContextFetched, body=body)


def profile(user_id: str, customer_id: str | None) -> Call[memory.UserProfile]:
    """What is known of a user as a person."""
    query = {"customer_id": customer_id} if customer_id is not None else {}
    return Call("GET", f"/v1/users/{quote(user_id, safe='')}/profile", memory.UserProfile, query=query)


def ingest_transcript(body: Mapping[str, object]) -> Call[memory.TranscriptTaken]:
    """Hand over a whole conversation; the same again changes nothing."""
    return Call("POST", memory.INGEST, memory.TranscriptTaken, body=body)


def compact(body: Mapping[str, object]) -> Call[memory.CompactionStatus]:
    """Cut a conversation short."""
    return Call("POST", memory.COMPACT, memory.CompactionStatus, body=body, repeatable=False)


def compacted(conversation_id: str) -> Call[memory.Compacted]:
    """What stands for the first turns of a conversation."""
    path = f"/v1/conversations/{conversation_id}/compacted"
    return Call("GET", path, memory.Compacted, query={"format": "structured"})


def compaction_status(conversation_id: str) -> Call[memory.CompactionStatus]:
    """Whether a conversation has been cut short."""
    return Call("GET", f"/v1/conversations/{conversation_id}/compaction/status", memory.CompactionStatus)


def recap(body: Mapping[str, object]) -> Call[memory.Recap]:
    """Earlier conversations of a user, in short."""
    return Call("POST", wire.fetch_path("user"), memory.Recap, body={**body, "context_mode": "conversation-summary"})
