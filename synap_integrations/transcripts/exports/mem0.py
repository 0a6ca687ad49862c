"""mem0: ``get_all()``, or an export, as JSON.

Source: docs.mem0.ai, "Get all memories" and "Export memories": ``results`` with ``memory``, ``user_id``, ``agent_id``,
``app_id``, ``run_id``, ``created_at``.
"""

from __future__ import annotations

from collections.abc import Iterator

from synap_integrations.model import AssistantMessage, Scope
from synap_integrations.transcripts.messages import Past

from .turns import objects_of, past, text_at, time_at

_NAMES = ("results", "memories")


def recognizes(document: object) -> bool:
    """True if these are mem0's memories."""
    found = objects_of(document, *_NAMES)
    return bool(found) and all("memory" in entry and "id" in entry for entry in found)


def read(document: object) -> Iterator[Past]:
    """Each memory, in one conversation for each run; without a run, for each user.

    A memory is a sentence of mem0's about somebody. Nobody said it, so it is not told as the user's.
    """
    # They are exported newest first.
    found = [(time_at(entry, "created_at", "updated_at"), entry) for entry in objects_of(document, *_NAMES)]
    for at, entry in sorted(found, key=lambda pair: pair[0].timestamp() if pair[0] else 0.0):
        memory, key = text_at(entry, "memory"), text_at(entry, "id")
        if memory and key:
            scope = Scope(
                f"mem0:{text_at(entry, 'run_id') or 'memories'}", text_at(entry, "user_id", "agent_id", "app_id")
            )
            yield past(f"mem0:{key}", scope, AssistantMessage(memory), at)
