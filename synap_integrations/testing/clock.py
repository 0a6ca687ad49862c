"""Time for a Synap in a test: goes on by itself, and jumps when the test says so."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Final

from synap_integrations.errors import InvalidInputError

_TICK: Final = timedelta(microseconds=1)


class VirtualClock:
    """The real time, and as much more as the test let pass. No two readings are equal. Thread-safe."""

    def __init__(self) -> None:
        self._ahead = timedelta()
        self._last = datetime.min.replace(tzinfo=UTC)
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        """What time it is, in UTC."""
        with self._lock:
            self._last = max(datetime.now(UTC) + self._ahead, self._last + _TICK)
            return self._last

    def advance(self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0, days: float = 0.0) -> None:
        """Let time pass. Raises: InvalidInputError, if it would go back."""
        amount = timedelta(seconds=seconds, minutes=minutes, hours=hours, days=days)
        if amount < timedelta():
            message = f"time does not go back: advance by 0 or more, not by {amount.total_seconds():g} s"
            raise InvalidInputError(message)
        with self._lock:
            self._ahead += amount
