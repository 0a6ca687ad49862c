"""On whose behalf a retriever, a tool or a message asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synap_integrations import runtime, scoping
from synap_integrations.llamaindex import listener

if TYPE_CHECKING:
    from synap_integrations.model import Scope


def scope_here(stated: Scope) -> Scope:
    """Whose memory it is here: what was stated, then whose turn this code is part of, then what surrounds it; what
    is said inside a turn for somebody else goes before the turn. Nothing that a model passes is part of it.
    """
    turn = listener.current_turn()
    if turn is not None and turn.destination is not None:
        return scoping.within(stated, scoping.merged(stated, listener.surroundings()), turn.destination.scope)
    return scoping.merged(stated, listener.surroundings(), runtime.environment_scope())
