"""Which kinds of events the stream carries, and which of them nothing else can carry. Learned from what happened."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from synap_integrations.model import Envelope

from .link import Link


class Riders:
    """Used on the delivery thread only."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._ridden: frozenset[str] = frozenset()
        self._stranded: frozenset[str] = frozenset()
        self.wait = False
        """True if conversations wait in the store for the next stream."""

    @property
    def grounded(self) -> AbstractSet[str]:
        """Kinds that wait now: while a stream may be on its way, all that it has carried; else what needs it."""
        if self._link.up:
            return frozenset()
        return self._ridden | self._stranded if self._link.undecided else self._stranded

    def rode(self, envelope: Envelope) -> None:
        """The stream has taken it."""
        self._ridden |= {type(envelope.event).__name__}

    def stranded(self, envelope: Envelope) -> None:
        """There is no stream, and no other way for it."""
        self._stranded |= {type(envelope.event).__name__}
