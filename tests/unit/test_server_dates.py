"""The days that a sentence names."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synap_integrations.server.statements.dates import named_times

WEDNESDAY = datetime(2026, 3, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("said", "first", "days"),
    [
        ("on 2026-05-07", date(2026, 5, 7), 1),
        ("on 7 May", date(2026, 5, 7), 1),
        ("on the 7th of May 2031", date(2031, 5, 7), 1),
        ("on May 7th, 2019", date(2019, 5, 7), 1),
        ("Dec. 30", date(2025, 12, 30), 1),
        ("sept 1 or so", None, 0),
        ("Sep 1", date(2026, 9, 1), 1),
        ("29 February", None, 0),
        ("29 February 2028", date(2028, 2, 29), 1),
        ("yesterday", date(2026, 3, 3), 1),
        ("Tomorrow", date(2026, 3, 5), 1),
        ("this Friday", date(2026, 3, 6), 1),
        ("last Friday", date(2026, 2, 27), 1),
        ("last Monday", None, 0),
        ("next Friday", None, 0),
        ("next Monday", date(2026, 3, 9), 1),
        ("last week", date(2026, 2, 23), 7),
        ("this weekend", date(2026, 3, 7), 2),
        ("last weekend", date(2026, 2, 28), 2),
        ("next weekend", None, 0),
        ("next month", date(2026, 4, 1), 30),
        ("last year", date(2025, 1, 1), 365),
        ("3 days ago", date(2026, 3, 1), 1),
        ("two weeks ago", date(2026, 2, 16), 7),
        ("in a month", date(2026, 4, 1), 30),
        ("in 10 years", date(2036, 1, 1), 366),
        ("now", None, 0),
        ("on Sunday", None, 0),
        ("may I ask", None, 0),
        ("3/4", None, 0),
        ("2026-13-01", None, 0),
        ("version 2026-05-07-rc", None, 0),
        ("7 Mayors", None, 0),
        ("in 5 minutes", None, 0),
    ],
)
def test_a_day_is_read_against_the_time_it_was_said(said, first, days) -> None:
    """What is clear is resolved, what two people may understand differently is not read at all."""
    found = [
        (named.span.start.date(), named.span.end - named.span.start) for named in named_times(said, said_at=WEDNESDAY)
    ]
    assert found == ([] if first is None else [(first, days * DAY)])


def test_a_text_may_name_several() -> None:
    """In their order, and no words twice."""
    found = named_times("From 7 May 2026 to 2026-05-09, not yesterday", said_at=WEDNESDAY)
    assert [named.words for named in found] == ["7 May 2026", "2026-05-09", "yesterday"]


WORDS = tuple("29 31 February May last next this Friday week year ago in 999 days months 9999".split())  # noqa: SIM905


@given(st.datetimes(timezones=st.just(UTC)), st.lists(st.sampled_from(WORDS)))
def test_any_words_at_any_time_can_be_read(said_at, words) -> None:
    """Nothing raises; what is found begins before it ends."""
    for named in named_times(" ".join(words), said_at=said_at):
        assert named.span.start < named.span.end
