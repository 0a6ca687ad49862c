"""Which kinds of events the stream carries, and which of them nothing else can carry. Learned from what happened."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from synap_integrations.model import Envelope

from .stream_supervisor import StreamSupervisor


class StreamKinds:
    """Used on the delivery thread only."""

    def __init__(self, stream: StreamSupervisor) -> None:
        self._stream = stream
        self._carried: frozenset[str] = frozenset()
        self._stranded: frozenset[str] = frozenset()
        self.wait = False
        """True if conversations wait in the store for the next stream."""

    @property
    def to_skip(self) -> AbstractSet[str]:
        """Kinds that wait now: while a stream may be on its way, all that it has carried; else what needs it."""
        if self._stream.up:
            return frozenset()
        return self._carried | self._stranded if self._stream.undecided else self._stranded

    def carried(self, envelope: Envelope) -> None:
        """The stream has taken it."""
        self._carried |= {type(envelope.event).__name__}

    def stranded(self, envelope: Envelope) -> None:
        """There is no stream, and no other way for it."""
        self._stranded |= {type(envelope.event).__name__}
