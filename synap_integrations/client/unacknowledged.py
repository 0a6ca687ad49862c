"""Turns that a stream took and nobody has acknowledged: for ten minutes they are for streams only."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from synap_integrations.errors import ListeningNotActiveError
from synap_integrations.model import Scope

from .confirmed import put

MAX_WRITTEN: Final = 10_000
"""Turns of which we remember that the stream has them."""
STREAM_ONLY_S: Final = 600.0
"""How long a turn that the stream took, and nobody acknowledged, is sent again on a stream only."""


@dataclass(frozen=True, slots=True)
class Written:
    """A turn that a stream took and nobody has acknowledged; its conversation had ``behind`` turns then."""

    scope: Scope
    at: float
    behind: int | None

    @property
    def left_s(self) -> float:
        """How much longer it is for streams only."""
        return self.at + STREAM_ONLY_S - _now()

    def in_doubt(self) -> ListeningNotActiveError:
        """Why nothing of its conversation may go another way now."""
        message = "no stream is open, and the last one may have delivered a turn of this conversation"
        return ListeningNotActiveError(message, another_way_in=max(self.left_s, 0.001))


class Unacknowledged:
    """Bounded; used on one event loop."""

    def __init__(self) -> None:
        self._written: OrderedDict[str, Written] = OrderedDict()

    def get(self, event_id: str) -> Written | None:
        """The turn, if a stream took it."""
        return self._written.get(event_id)

    def first_of(self, scope: Scope) -> Written | None:
        """The turn of this conversation that a stream took first."""
        return next((turn for turn in self._written.values() if turn.scope == scope), None)

    def write(self, event_id: str, scope: Scope, *, behind: int | None) -> None:
        """A stream is about to take the turn."""
        put(self._written, event_id, Written(scope, _now(), behind), MAX_WRITTEN)

    def settled(self, event_id: str) -> None:
        """It was acknowledged, refused, or found elsewhere."""
        self._written.pop(event_id, None)


def _now() -> float:
    return asyncio.get_running_loop().time()
