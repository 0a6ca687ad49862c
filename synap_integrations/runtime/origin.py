"""Where an event comes from: an island says it to a `Synap`; other memories are asked for no more than `Memory`."""

from __future__ import annotations

from synap_integrations.guard import is_quiet
from synap_integrations.model import Event, Scope
from synap_integrations.ports import Memory

from .synap import Synap


def record_from(framework: str, memory: Memory, event: Event, scope: Scope) -> None:
    """Hand the event over as one of this framework's, an island's name; nothing while that is paused."""
    if is_quiet():
        return
    if isinstance(memory, Synap):
        memory.record(event, scope=scope, framework=framework)
    else:
        memory.record(event, scope=scope)
