"""What goes wrong all the time is said once a minute, with its count."""

import logging

import pytest
from clocks import ManualClock

from synap_integrations.rate_limited_log import RateLimitedLog

NAME = "synap_integrations.test_rate_limited_log"


@pytest.fixture
def clock() -> ManualClock:
    """Minutes in no time."""
    return ManualClock()


@pytest.fixture
def log(clock, caplog) -> RateLimitedLog:
    """A log whose lines the test reads."""
    caplog.set_level(logging.WARNING, logger=NAME)
    return RateLimitedLog(logging.getLogger(NAME), clock=clock)


def test_a_flood_is_two_lines_in_two_minutes(log, clock, caplog) -> None:
    """The first line comes at once; the next says how many of its kind were left out, then counting begins anew."""
    for _ in range(100_000):
        log.warn_of("malformed", "synap: skipped a message: %s", "junk")
    assert caplog.messages == ["synap: skipped a message: junk"]
    clock.advance(60)
    log.warn_of("malformed", "synap: skipped a message: %s", "other junk")
    assert caplog.messages[1:] == ["synap: skipped a message: other junk (and 99999 more since the last such line)"]
    clock.advance(60)
    log.warn_of("malformed", "synap: skipped a message: %s", "junk")
    assert caplog.messages[2:] == ["synap: skipped a message: junk"]


def test_a_line_just_before_the_minute_is_over_is_counted(log, clock, caplog) -> None:
    """The minute begins with the line that was logged, not with the last that was not."""
    log.warn_of("full", "synap: full")
    clock.advance(59.9)
    log.warn_of("full", "synap: full")
    assert len(caplog.messages) == 1
    clock.advance(0.1)
    log.warn_of("full", "synap: full")
    assert caplog.messages[1:] == ["synap: full (and 1 more since the last such line)"]


def test_causes_do_not_hide_one_another(log, caplog) -> None:
    """Another cause has a line of its own in the same minute."""
    for cause in ("refused", "held", "refused", "held"):
        log.warn_of(cause, "synap: an event was %s", cause)
    assert caplog.messages == ["synap: an event was refused", "synap: an event was held"]


def test_a_line_names_the_place_that_logged_it(log, caplog) -> None:
    """Not this module: a reader of the log looks for the code that noticed."""
    log.warn_of("full", "synap: full")
    assert [record.filename for record in caplog.records] == ["test_rate_limited_log.py"]


def test_an_argument_with_a_percent_sign_is_text(log, clock, caplog) -> None:
    """What a platform says is no format, with and without a count."""
    for _ in range(2):
        log.warn_of("said", "synap: it said %s", "100 %d")
    clock.advance(60)
    log.warn_of("said", "synap: it said %s", "%s")
    assert caplog.messages == ["synap: it said 100 %d", "synap: it said %s (and 1 more since the last such line)"]
