"""Who waits before trying again, and how long."""

from collections import Counter

from synap_integrations.client import Backoff


def test_the_wait_is_anything_up_to_a_limit_that_doubles():
    """Never longer than the limit, and spread over all of it."""
    backoff = Backoff(first_s=1.0, longest_s=8.0)
    for failures, limit in ((0, 1.0), (1, 2.0), (3, 8.0), (10_000, 8.0)):
        waits = [backoff.wait_s(failures) for _ in range(2_000)]
        assert 0 <= min(waits) < 0.05 * limit
        assert 0.95 * limit < max(waits) <= limit


def test_what_the_platform_asked_for_is_a_minimum():
    """Nobody comes back before, and not all at the same moment after."""
    waits = [Backoff().wait_s(3, at_least_s=7.0) for _ in range(200)]
    assert min(waits) >= 7.0
    assert len(set(waits)) > 100


def test_a_thousand_clients_do_not_come_back_together():
    """After an outage the busiest second has at most three times the mean."""
    backoff = Backoff(first_s=1.0, longest_s=32.0)
    seconds = Counter(int(backoff.wait_s(5)) for _ in range(1_000))
    assert max(seconds.values()) <= 3 * 1_000 / 32
