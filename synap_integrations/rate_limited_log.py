"""Log lines that come at most once a minute for each cause, and say how many they stand for."""

from __future__ import annotations

import logging
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class RateLimitedLog:
    """Warnings about what can go wrong a hundred thousand times a second.

    It has no lock, which a fork could leave held: two threads at once cost a line too many at most.
    """

    def __init__(
        self, log: logging.Logger, *, every_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._every_s = every_s
        self._clock = clock
        self._said_at: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def warn_of(self, cause: str, message: str, *args: object) -> None:
        """Log the line, unless one of the same cause was logged less than ``every_s`` ago; then count it, and the
        next line says how many there were. ``cause`` is one of a few fixed words: each is kept.
        """
        now = self._clock()
        said_at = self._said_at.get(cause)
        if said_at is not None and now - said_at < self._every_s:
            self._unsaid[cause] = self._unsaid.get(cause, 0) + 1
            return
        self._said_at[cause] = now
        unsaid = self._unsaid.pop(cause, 0)
        if unsaid:
            message, args = f"{message} (and %d more since the last such line)", (*args, unsaid)
        self._log.warning(message, *args, stacklevel=2)
