"""Zep: threads (v3), or sessions (v2 and the community edition), with their messages.

Source: help.getzep.com, "Threads": ``thread.get`` answers with ``messages`` of ``uuid``, ``role``, ``name``,
``content``, ``created_at``; sessions say ``role_type`` and ``session_id``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from synap_integrations.model import Scope
from synap_integrations.transcripts.messages import Past

from .turns import a_list, an_object, objects_of, past, said_in, text_at, time_at

_NAMES = ("threads", "sessions")
_MARKS = frozenset({"uuid", "uuid_", "role_type"})
_THREAD = ("thread_id", "session_id")


def recognizes(document: object) -> bool:
    """True if these are Zep's threads; others have threads with messages too, but other messages."""
    found = objects_of(document, *_NAMES)
    messages = [an_object(message) for thread in found for message in a_list(thread.get("messages"))]
    threads = all(text_at(thread, *_THREAD) for thread in found)
    return threads and bool(messages) and all(_MARKS & message.keys() for message in messages)


def read(document: object) -> Iterator[Past]:
    """What users and assistants said, thread by thread."""
    for thread in objects_of(document, *_NAMES):
        thread_id = text_at(thread, *_THREAD)
        scope = Scope(thread_id, text_at(thread, "user_id"))
        for number, message in enumerate(a_list(thread.get("messages"))):
            given = an_object(message)
            said = said_in({"role": _role(given), "content": given.get("content")})
            if said is not None:
                key = text_at(given, "uuid", "uuid_") or f"{thread_id}:{number}"
                at = time_at(given, "created_at")
                yield past(f"zep:{key}", scope, said.event(), at)


def _role(message: Mapping[str, Any]) -> str:
    """Older messages have the speaker's name as their role, and who that is as the type of it."""
    return text_at(message, "role_type", "role") or ""
