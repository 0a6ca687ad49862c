"""How fast to go: backoff with full jitter, a breaker, pauses that the platform asked for. Time is an argument."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import Final

from .verdicts import Do, Verdict

_log = logging.getLogger(__name__)

_BASE_S: Final = 0.5
_CAP_S: Final = 60.0
_BREAKS_AFTER: Final = 5
_SPREAD: Final = 1.1
"""A wait that the platform asks for is a minimum: its clients do not come back all at once."""
_HURRIED_CAP_S: Final = 30.0
IN_PARALLEL: Final = 4


def backoff_s(attempt: int, rng: random.Random) -> float:
    """Seconds to wait after the n-th failure (from 1): anything up to 0.5 s, 1 s, 2 s, … 60 s.

    All of the range, so that the clients of a platform that was away do not come back at once.
    """
    return rng.uniform(0.0, min(_CAP_S, _BASE_S * 2 ** min(attempt - 1, 16)))


def hurried_s(attempt: int) -> float:
    """Seconds after the n-th refusal of a key or an account before somebody in a hurry may try again: 1, 2, … 30 s.

    Whoever has mended the account and flushes need not wait; a flush that goes on for long does not hammer on a door.
    """
    return min(_HURRIED_CAP_S, 2.0 ** min(attempt - 1, 16))


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Durations in seconds."""

    settle_s: float = 0.02
    """Longest that a delivered envelope waits to be deleted together with others."""
    claim_s: float = 0.003
    """Time from the first envelope to the look into the outbox, and between two looks: the application, which has just
    captured something, usually has more to do, and two threads that compute at once keep each other waiting."""
    give_way_s: float = 0.03
    """Rest after each send while the application captures as fast as it can."""
    ack_s: float = 30.0
    """Longest wait for an acknowledgement before an event is written again."""
    send_s: float = 60.0
    """Longest that one send may take, whatever the transport thinks."""
    maintain_s: float = 1.0
    adopt_s: float = 30.0
    crowded_s: float = 3.0
    """The same, while a file waits for room."""


class Pace:
    """How many conversations may be under way. Times are seconds of a monotonic clock."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._failures = 0
        self._failed_at = self._resume_at = 0.0
        self._doing = Do.RETRY
        self.why = ""
        """Why less than everything is under way; empty if all is well."""

    def allowance(self, now: float) -> int:
        """How many sends may be under way: none during a pause, one to find out whether it is over, else four."""
        if now < self._resume_at:
            return 0
        return 1 if self.why else IN_PARALLEL

    def wait_s(self, now: float) -> float | None:
        """Seconds until the allowance changes; None if it does not by itself."""
        return self._resume_at - now if now < self._resume_at else None

    @property
    def suspended(self) -> bool:
        """True if nothing goes until somebody acts."""
        return bool(self.why) and self._doing is Do.SUSPEND

    def succeeded(self) -> bool:
        """A send went well; True if that ends a time of trouble."""
        recovered = bool(self.why)
        if recovered:
            _log.info("synap: delivery goes on (it was held by: %s)", self.why)
        self._failures, self.why, self._resume_at = 0, "", 0.0
        return recovered

    def failed(self, verdict: Verdict, now: float) -> None:
        """A send went wrong in a way that may concern all of them."""
        self._failures += 1
        self._failed_at = now
        if verdict.do is Do.RETRY:
            if self._failures >= _BREAKS_AFTER:
                self._pause(verdict, now + backoff_s(self._failures - _BREAKS_AFTER + 2, self._rng))
        else:
            self._pause(verdict, now + verdict.wait_s * self._rng.uniform(1.0, _SPREAD))

    def expedite(self) -> None:
        """Somebody waits for delivery: try now, or soon if an account's owner has to act first. A pause that the
        platform asked for stays.
        """
        if self._doing is Do.RETRY:
            self._resume_at = 0.0
        elif self._doing is Do.SUSPEND:
            self._resume_at = min(self._resume_at, self._failed_at + hurried_s(self._failures))

    def _pause(self, verdict: Verdict, until: float) -> None:
        if self.why != verdict.why:
            _log.warning("synap: delivery is held by: %s; nothing is lost, it goes on by itself", verdict.why)
        self.why, self._doing, self._resume_at = verdict.why, verdict.do, max(until, self._resume_at)
