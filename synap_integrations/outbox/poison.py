"""Finding the event that ends each stream it is written on, without wronging one that a bad network has cut off.

No I/O; times are seconds of a monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .lanes import Written

WINDOW: Final = 64
"""Most unacknowledged events on a stream; those being written may exceed it by three."""
UNDECIDED_S: Final = 60.0
"""How long a conversation waits whose event ends streams, on a platform that acknowledges nothing else either."""
_AT_ONCE_S: Final = 2.0
"""A stream that ends so soon after an event was written on it may have been ended by that event."""
_STRIKES: Final = 3
_UNHEARD: Final = 3
"""Events that may be found to be poison one after the other while the platform acknowledges nothing at all."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found about an event. Not ``is_poison``: it ends streams, but so may everything."""

    event_id: str
    is_poison: bool


class PoisonDetector:
    """Narrows the window until one event is alone on a stream; then gives it, and the network, three chances each.

    Every stream that ends at once halves the window, every acknowledgement widens it by one. An event that was alone on
    a stream which ended at once is a suspect. The next stream carries nothing for as long: if that one ends as well,
    it is the network, and the suspect is cleared. Three times alone, with three empty streams that lived, and it is
    poison; but no more than three events in a row, as long as nothing is acknowledged: then it is the platform.
    """

    def __init__(self) -> None:
        self._window = WINDOW
        self.suspect: str | None = None
        """It goes first on the next stream that carries anything."""
        self._strikes = 0
        self._accused = False
        self._quiet_until: float | None = None
        self._unheard = 0

    @property
    def window(self) -> int:
        """How many events may be on the stream now."""
        return 0 if self._quiet_until is not None else self._window

    @property
    def alone(self) -> bool:
        """True while events go one by one."""
        return self._window == 1

    @property
    def over_at(self) -> float | None:
        """When the stream that carries nothing will have lived long enough; None if there is none."""
        return self._quiet_until

    def stream_began(self, now: float) -> None:
        """A new stream. After a suspect's own stream it stays empty for a while."""
        self._quiet_until = now + _AT_ONCE_S if self._accused else None

    def stream_ended(self, oldest: Written | None, unacknowledged: int, now: float) -> None:
        """A stream is lost, with so many events on it; ``oldest`` was written on it first."""
        if self._quiet_until is not None:
            self._clear()
        elif oldest is not None and now - oldest.at <= _AT_ONCE_S:
            event_id = oldest.envelope.event_id
            if not self.alone or unacknowledged > 1:
                self._window = max(1, self._window // 2)
                return
            if event_id != self.suspect:
                self._clear()
            self.suspect, self._accused = event_id, True

    def judged(self, now: float) -> Judgement | None:
        """What the empty stream shows once it has lived long enough; None if nothing is decided by it."""
        if self._quiet_until is None or now < self._quiet_until or self.suspect is None:
            return None
        self._quiet_until, self._accused = None, False
        self._strikes += 1
        if self._strikes < _STRIKES:
            return None
        self._unheard += 1
        judgement = Judgement(self.suspect, is_poison=self._unheard <= _UNHEARD)
        self._clear()
        return judgement

    def acknowledged(self) -> None:
        """The platform has taken an event."""
        self._window = min(WINDOW, self._window + 1)
        self._unheard = 0

    def forget(self, event_id: str) -> None:
        """It has arrived, or is gone: nothing can be said against it any more."""
        if event_id == self.suspect:
            self._clear()

    def _clear(self) -> None:
        self.suspect, self._strikes, self._accused, self._quiet_until = None, 0, False, None
