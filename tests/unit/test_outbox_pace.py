"""When to try again: the table of verdicts, backoff, breaker and pauses, without a clock or a network."""

import math
import random
from collections import Counter

import pytest

from synap_integrations.errors import (
    AuthenticationError,
    ConflictError,
    ContextNotFoundError,
    InsufficientCreditsError,
    InvalidInputError,
    ListeningNotActiveError,
    NetworkError,
    NetworkTimeoutError,
    OutcomeUnknownError,
    RateLimitError,
    ServiceUnavailableError,
    SynapError,
    SynapTransientError,
)
from synap_integrations.outbox.calls import TransportFaultError
from synap_integrations.outbox.pace import IN_PARALLEL, Pace, backoff_s
from synap_integrations.outbox.verdicts import Do, Verdict, judge

RETRY = Verdict(Do.RETRY, "network")


class MayWorkLaterError(SynapError):
    """An error of no known kind that says itself that the call can succeed later."""

    retryable = True


@pytest.mark.parametrize(
    ("error", "do"),
    [
        (NetworkError("x"), Do.RETRY),
        (NetworkTimeoutError("x"), Do.RETRY),
        (SynapTransientError("x"), Do.RETRY),
        (ServiceUnavailableError("x"), Do.RETRY),
        (ServiceUnavailableError("x", retry_after=3), Do.PAUSE),
        (RateLimitError("x"), Do.PAUSE),
        (AuthenticationError("x"), Do.SUSPEND),
        (InsufficientCreditsError("x"), Do.SUSPEND),
        (ListeningNotActiveError("x"), Do.AWAIT_STREAM),
        (InvalidInputError("x"), Do.BURY),
        (InvalidInputError("base_url is not", details={"argument": "base_url"}), Do.SUSPEND),
        (ContextNotFoundError("x"), Do.BURY),
        (ConflictError("x"), Do.BURY),
        (OutcomeUnknownError("x"), Do.HOLD),
        (MayWorkLaterError("x"), Do.RETRY),
        (SynapError("x"), Do.BURY),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.name,
)
def test_each_error_has_its_verdict(error, do) -> None:
    """What is tried again, what stops everything, what is buried."""
    assert judge(error).do is do


def test_what_breaks_the_transport_is_tried_five_times() -> None:
    """Four attempts that end in a fault of the transport's are followed by another one, the fifth by none."""
    fault = TransportFaultError("the transport failed")
    assert [judge(fault, attempts).do for attempts in range(1, 7)] == 4 * [Do.RETRY] + 2 * [Do.BURY]
    assert judge(NetworkError("x"), 1_000).do is Do.RETRY


@pytest.mark.parametrize(
    ("asked", "waits"),
    [(0.2, 1), (-5, 1), (7.5, 7.5), (900, 900), (1e9, 900), (math.inf, 900), (math.nan, 1), (None, 1)],
)
def test_the_wait_a_platform_asks_for_is_kept_within_reason(asked, waits) -> None:
    """At least a second, at most a quarter of an hour, whatever it says."""
    assert judge(RateLimitError("slow down", retry_after=asked)).wait_s == waits


def test_what_the_platform_says_is_kept_short_and_harmless() -> None:
    """A reason in a file or a log has one line of printable characters."""
    detail = judge(InvalidInputError("bad\nline\x1b[31m" + "x" * 1000)).detail
    assert detail.isprintable()
    assert len(detail) <= 200


def test_backoff_is_any_time_up_to_a_growing_limit() -> None:
    """Full jitter: 0.5 s, 1 s, 2 s, … and never more than a minute."""
    rng = random.Random(7)
    for attempt, limit in [(1, 0.5), (2, 1), (3, 2), (7, 32), (8, 60), (10_000, 60)]:
        waits = [backoff_s(attempt, rng) for _ in range(500)]
        assert 0 <= min(waits) < 0.1 * limit
        assert 0.9 * limit < max(waits) <= limit


def test_a_thousand_clients_do_not_come_back_at_once() -> None:
    """After an outage the busiest second has at most three times the mean."""
    arrivals = Counter(int(backoff_s(9, random.Random(client))) for client in range(1_000))
    assert max(arrivals.values()) <= 3 * 1_000 / 60


def test_five_failures_in_a_row_leave_one_probe_at_a_time() -> None:
    """A platform that is down is asked by one, now and then."""
    pace = Pace(random.Random(1))
    for _ in range(4):
        pace.failed(RETRY, 100.0)
    assert pace.allowance(100.0) == IN_PARALLEL
    pace.failed(RETRY, 100.0)
    assert pace.allowance(100.0) == 0
    assert pace.allowance(100.0 + (pace.wait_s(100.0) or 0)) == 1
    assert pace.why == "network"
    assert pace.succeeded()
    assert pace.allowance(100.0) == IN_PARALLEL
    assert not pace.succeeded()


def test_a_success_in_between_starts_the_count_anew() -> None:
    """Single failures of single conversations do not stop the others."""
    pace = Pace(random.Random(1))
    for _ in range(50):
        pace.failed(RETRY, 0.0)
        pace.succeeded()
    assert pace.allowance(0.0) == IN_PARALLEL


def test_a_refused_key_is_probed_every_five_minutes() -> None:
    """Nothing is sent in between."""
    pace = Pace(random.Random(1))
    pace.failed(judge(AuthenticationError("no")), 0.0)
    assert pace.suspended
    assert [pace.allowance(now) for now in (0.0, 299.0, 331.0)] == [0, 0, 1]
    assert 200.0 <= (pace.wait_s(100.0) or 0) <= 230.0


@pytest.mark.parametrize("error", [AuthenticationError("no"), InsufficientCreditsError("empty")], ids=["401", "402"])
def test_somebody_in_a_hurry_may_try_a_refused_account_soon_and_ever_more_rarely(error) -> None:
    """Who has mended it need not wait for five minutes; who flushes on and on asks every half minute at last."""
    pace, now, waits = Pace(random.Random(1)), 0.0, []
    for _ in range(8):
        pace.failed(judge(error), now)
        pace.expedite()
        waits.append(pace.wait_s(now))
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    pace.expedite()
    assert pace.allowance(now) == 1


def test_a_hurry_ends_our_own_pause_and_not_the_platforms() -> None:
    """A flush tries at once after network trouble, and waits as long as a rate limit asks."""
    ours, theirs = Pace(random.Random(1)), Pace(random.Random(1))
    for _ in range(9):
        ours.failed(RETRY, 0.0)
    theirs.failed(judge(RateLimitError("slow down", retry_after=30)), 0.0)
    for pace in (ours, theirs):
        pace.expedite()
    assert (ours.allowance(0.0), theirs.allowance(0.0)) == (1, 0)
