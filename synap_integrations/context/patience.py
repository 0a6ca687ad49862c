"""Whether a platform is worth waiting for, learned from when its answers come."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

_MOST_IN_VAIN: Final = 3
_FIRST_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 300.0
_MAX_ASKED: Final = 10_000


class Patience:
    """After three waits in vain in a row nobody waits, until a pause that doubles from 5 s to 5 minutes is over, or an
    answer has come as soon as a recall would have waited for it. Answers that come later end no pause: else a platform
    that is always late would slow down every turn.

    Times are monotonic seconds. Not thread-safe: whoever shares it holds a lock.
    """

    def __init__(self) -> None:
        self._asked_at: OrderedDict[str, float] = OrderedDict()
        self._enough_s = 0.0
        self._in_vain = 0
        self._paused_until_s = -math.inf

    def asked(self, event_id: str, now_s: float) -> None:
        """The platform is told this now, and may answer it."""
        self._asked_at[event_id] = now_s
        if len(self._asked_at) > _MAX_ASKED:
            self._asked_at.popitem(last=False)

    def answered(self, event_id: str, now_s: float) -> None:
        """The answer is here."""
        asked_s = self._asked_at.pop(event_id, -math.inf)
        if now_s - asked_s <= self._enough_s:
            self._in_vain, self._paused_until_s = 0, -math.inf

    def allows(self, timeout_s: float, now_s: float) -> bool:
        """Whether a recall that has so much time should wait."""
        self._enough_s = timeout_s
        return now_s >= self._paused_until_s

    def waited_in_vain(self, now_s: float) -> bool:
        """A wait has ended without an answer; True if a pause begins."""
        self._in_vain += 1
        beyond = self._in_vain - _MOST_IN_VAIN
        if beyond >= 0:
            self._paused_until_s = now_s + min(_FIRST_PAUSE_S * 2.0 ** min(beyond, 16), _LONGEST_PAUSE_S)
        return beyond >= 0
