"""What an error means for the envelope, its conversation and everything else: a table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from synap_integrations.errors import (
    AuthenticationError,
    InsufficientCreditsError,
    ListeningNotActiveError,
    OutcomeUnknownError,
    RateLimitError,
    ServiceUnavailableError,
    SynapError,
    SynapTransientError,
)

_MIN_WAIT_S: Final = 1.0
_MAX_WAIT_S: Final = 900.0
_PROBE_EVERY_S: Final = 300.0
"""How often a key that was refused, or an empty account, is tried again."""


class Do(Enum):
    """What to do after a send that failed."""

    RETRY = "retry"
    """Keep its conversation back for a while; the others go on."""
    PAUSE = "pause"
    """The platform asked everybody to wait."""
    HOLD = "hold"
    """Nothing can be delivered until somebody acts; look now and then."""
    AWAIT_STREAM = "await stream"
    """It travels on the stream only, and there is none."""
    SET_ASIDE = "set aside"
    """Nobody knows whether it arrived, and it is not to be sent twice: keep it for somebody to decide."""
    BURY = "bury"
    """Trying again changes nothing: make it a dead letter and go on."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``wait_s`` is a minimum; 0 leaves it to the backoff. ``why`` is a word for `DeliveryWorker.state` and the log."""

    do: Do
    why: str
    wait_s: float = 0.0
    detail: str = ""
    """What the platform said, for people who look at a dead letter."""


_TABLE: Final[tuple[tuple[type[SynapError], Do], ...]] = (
    (ListeningNotActiveError, Do.AWAIT_STREAM),
    (RateLimitError, Do.PAUSE),
    (SynapTransientError, Do.RETRY),
    (AuthenticationError, Do.HOLD),
    (InsufficientCreditsError, Do.HOLD),
    (OutcomeUnknownError, Do.SET_ASIDE),
    (SynapError, Do.BURY),
)
"""The first line that fits decides."""

_NO_STREAM: Final = "no stream"
AWAIT_STREAM: Final = Verdict(Do.AWAIT_STREAM, _NO_STREAM)
POISON: Final = Verdict(Do.BURY, "poison", detail="each stream that carried it alone ended, and empty ones did not")


def judge(error: SynapError) -> Verdict:
    """What to do about this error."""
    do = next(do for kind, do in _TABLE if isinstance(error, kind))
    if do is Do.BURY and error.retryable:
        do = Do.RETRY
    if isinstance(error, ListeningNotActiveError):
        return Verdict(do, _NO_STREAM, error.another_way_in or 0.0)
    if do is Do.HOLD:
        return Verdict(do, error.code, _PROBE_EVERY_S)
    asked = error.retry_after if isinstance(error, RateLimitError | ServiceUnavailableError) else None
    if asked is None and do is not Do.PAUSE:
        return Verdict(do, error.code, detail=ascii(error.message)[1:201])
    # A platform that says how long to wait means everybody. NaN fails the comparison and becomes the minimum.
    wait_s = min(asked, _MAX_WAIT_S) if asked is not None and asked > _MIN_WAIT_S else _MIN_WAIT_S
    return Verdict(Do.PAUSE, error.code, wait_s)
