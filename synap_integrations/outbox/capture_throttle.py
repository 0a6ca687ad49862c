"""Throttles delivery while the application captures at a high rate.

Threads of one interpreter that compute at once keep each other waiting, and delivery can wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from synap_integrations.ports import OutboxStore

_CROWD: Final = 400.0
"""Captured envelopes per second from which on delivery gives way to the application."""
_LONGEST_S: Final = 0.03
"""How long delivery waits at most for the application to finish what it is at."""
_BRIEFLY_S: Final = 0.001
_HURRY_S: Final = 1.5
"""How long a hurry lasts; whoever waits says so about once a second."""


class CaptureThrottle:
    """Whether the application captures as fast as it can. ``now`` is a monotonic clock in seconds."""

    def __init__(self, store: OutboxStore, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._appended, self._counted_at = store.appended, now()
        self._hurried_until = -math.inf
        self._seen, self._waits_since = store.appended, -math.inf
        self.due = False
        """True if delivery should give way, as far as the last look tells."""

    def hurry(self) -> None:
        """Somebody waits for delivery: no throttling for now."""
        self._hurried_until = self._now() + _HURRY_S
        self.due = False

    def begin(self) -> None:
        """Something was captured after a pause: from here on it is seen whether more follows."""
        self._seen, self._waits_since = self._store.appended, self._now()

    def is_quiet(self) -> bool:
        """True if nothing was captured since the last look, or nothing that is worth a longer wait."""
        now, appended = self._now(), self._store.appended
        quiet = appended == self._seen or now - self._waits_since >= _LONGEST_S or now <= self._hurried_until
        self._seen = appended
        if quiet:
            self._waits_since = now
        return quiet

    def look(self) -> bool:
        """Look again. Not due if somebody waits, nor if so much has piled up that the outbox would fill."""
        now, appended = self._now(), self._store.appended
        a_second = (appended - self._appended) / max(now - self._counted_at, _BRIEFLY_S)
        self._appended, self._counted_at = appended, now
        self.due = a_second > _CROWD and now > self._hurried_until and self._store.roomy
        return self.due
