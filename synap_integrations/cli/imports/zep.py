"""Zep: threads (v3), or sessions (v2 and the community edition), with their messages.

Source: help.getzep.com, "Threads": ``thread.get`` answers with ``messages`` of ``uuid``, ``role``, ``name``,
``content``, ``created_at``; sessions say ``role_type`` and ``session_id``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from synap_integrations.model import Scope

from .turns import ImportedTurn, a_list, an_object, objects_of, said_in, text_at, time_at

_NAMES = ("threads", "sessions")
_THREAD = ("thread_id", "session_id")


def recognizes(document: object) -> bool:
    """True if these are Zep's threads."""
    found = objects_of(document, *_NAMES)
    return bool(found) and all(
        text_at(thread, *_THREAD) and isinstance(thread.get("messages"), list) for thread in found
    )


def read(document: object) -> Iterator[ImportedTurn]:
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
                yield ImportedTurn(key=f"zep:{key}", scope=scope, event=said.event(), said_at=at)


def _role(message: Mapping[str, Any]) -> str:
    """Older messages have the speaker's name as their role, and who that is as the type of it."""
    return text_at(message, "role_type", "role") or ""
