"""What an error means for the envelope, its conversation and everything else: one table says all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, assert_never

from synap_integrations.errors import (
    AuthenticationError,
    InsufficientCreditsError,
    InvalidInputError,
    ListeningNotActiveError,
    OutcomeUnknownError,
    RateLimitError,
    ServiceUnavailableError,
    SynapError,
    SynapTransientError,
)

from .calls import TransportFaultError

_MIN_WAIT_S: Final = 1.0
_MAX_WAIT_S: Final = 900.0
_PROBE_EVERY_S: Final = 300.0
"""How often a key that was refused, an empty account, or an address where nothing may go is tried again."""
_FAULTS: Final = 5
"""Attempts after which an envelope that makes the transport itself fail is a dead letter."""


class Do(Enum):
    """What to do after a send that failed."""

    RETRY = "retry"
    """Keep its conversation back for a while; the others go on."""
    PAUSE = "pause"
    """The platform asked everybody to wait."""
    SUSPEND = "suspend"
    """Nothing can be delivered until somebody acts; look now and then."""
    AWAIT_STREAM = "await stream"
    """It travels on the stream only, and there is none."""
    HOLD = "hold"
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


class Rule(NamedTuple):
    """``do`` is what an error of this kind means, if ``when`` says so of the error and of how many attempts failed."""

    kind: type[SynapError]
    do: Do
    when: Callable[[SynapError, int], bool] = lambda _error, _attempts: True


def _has_failed_often(_: SynapError, attempts: int) -> bool:
    return attempts >= _FAULTS


def _names_a_wait(error: SynapError, _: int) -> bool:
    return _asked_s(error) is not None


def _is_about_the_address(error: SynapError, _: int) -> bool:
    """Nothing was sent: it is where to send to that is wrong, not what."""
    return error.details.get("argument") in {"base_url", "grpc_host"}


def _may_succeed_later(error: SynapError, _: int) -> bool:
    return error.retryable


_TABLE: Final = (
    Rule(ListeningNotActiveError, Do.AWAIT_STREAM),
    Rule(RateLimitError, Do.PAUSE),
    Rule(ServiceUnavailableError, Do.PAUSE, _names_a_wait),  # a platform that says how long to wait means everybody
    Rule(TransportFaultError, Do.BURY, _has_failed_often),  # it makes the transport itself fail, not the platform
    Rule(SynapTransientError, Do.RETRY),
    Rule(AuthenticationError, Do.SUSPEND),
    Rule(InsufficientCreditsError, Do.SUSPEND),
    Rule(OutcomeUnknownError, Do.HOLD),
    Rule(InvalidInputError, Do.SUSPEND, _is_about_the_address),
    Rule(SynapError, Do.RETRY, _may_succeed_later),
    Rule(SynapError, Do.BURY),
)
"""The first line that fits decides."""

AWAIT_STREAM: Final = Verdict(Do.AWAIT_STREAM, "no stream")
POISON: Final = Verdict(Do.BURY, "poison", detail="each stream that carried it alone ended, and empty ones did not")
"""The one verdict that no error brings: see `poison`."""


def judge(error: SynapError, attempts: int = 1) -> Verdict:
    """What to do about this error; ``attempts`` have failed by now, this one included."""
    do = next(do for kind, do, when in _TABLE if isinstance(error, kind) and when(error, attempts))
    why = AWAIT_STREAM.why if do is Do.AWAIT_STREAM else error.code
    return Verdict(do, why, _wait_s(do, error), ascii(error.message)[1:-1][:200])


def _wait_s(do: Do, error: SynapError) -> float:
    match do:
        case Do.AWAIT_STREAM:
            return (error.another_way_in if isinstance(error, ListeningNotActiveError) else None) or 0.0
        case Do.PAUSE:
            asked = _asked_s(error)
            # NaN fails the comparison and becomes the minimum.
            return min(asked, _MAX_WAIT_S) if asked is not None and asked > _MIN_WAIT_S else _MIN_WAIT_S
        case Do.SUSPEND:
            return _PROBE_EVERY_S
        case Do.RETRY | Do.HOLD | Do.BURY:
            return 0.0
        case _:
            assert_never(do)


def _asked_s(error: SynapError) -> float | None:
    """How long the platform asked us to wait, if it did."""
    return error.retry_after if isinstance(error, RateLimitError | ServiceUnavailableError) else None
