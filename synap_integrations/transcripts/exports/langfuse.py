"""Langfuse: traces, as the page or the API exports them, JSON or JSON lines.

Source: langfuse.com, "Export" and API reference, ``GET /api/public/traces``: ``id``, ``timestamp``, ``sessionId``,
``userId``, ``input``, ``output``; the batch export to storage writes ``session_id`` and ``user_id``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from synap_integrations.model import Scope
from synap_integrations.transcripts.messages import Past

from .turns import objects_of, past, question_and_answer, text_at, time_at

_NAMES = ("data", "traces")


def recognizes(document: object) -> bool:
    """True if these are Langfuse's traces."""
    found = objects_of(document, *_NAMES)
    return bool(found) and all("id" in trace and "timestamp" in trace and "input" in trace for trace in found)


def read(document: object) -> Iterator[Past]:
    """Question and answer of each trace, oldest first; a trace without a session is a conversation of its own."""
    found = [(time_at(trace, "timestamp"), trace) for trace in objects_of(document, *_NAMES)]
    for at, trace in sorted(found, key=lambda pair: _seconds(pair[0])):
        key = text_at(trace, "id")
        scope = Scope(
            text_at(trace, "sessionId", "session_id") or f"langfuse:{key}", text_at(trace, "userId", "user_id")
        )
        for said in question_and_answer(trace.get("input"), trace.get("output")):
            yield past(f"langfuse:{key}:{said.role}", scope, said.event(), at)


def _seconds(at: datetime | None) -> float:
    return at.timestamp() if at else 0.0
