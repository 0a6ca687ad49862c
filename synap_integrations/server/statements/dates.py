"""The days that a sentence names, resolved against the time it was said. A small grammar of English, pure functions.

Read: ``2026-05-07``, ``7 May 2026``, ``May 7th``, ``yesterday``, ``tomorrow``, ``this Friday``, ``last week``,
``3 days ago``, ``in two weeks``. Not read, because they say too little or are also other words: ``now``, ``soon``,
``May``, ``Sunday``, ``5/7``, ``the 7th``. ``next Friday`` is read only on days on which everybody means the same one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

from synap_integrations.server.records import Span

_MONTHS: Final = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WORDS: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS: Final = {word: number for number, word in enumerate(_WORDS, start=1)} | {"a": 1, "an": 1}
_MONTH: Final = rf"(?P<month>{'|'.join(_MONTHS)}|(?:{'|'.join(name[:3] for name in _MONTHS)})(?:\.(?= ))?)"
_DAY: Final = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR: Final = r"(?:,? (?P<year>(?:19|20)\d\d))?(?!\d)"
_COUNT: Final = rf"(?P<count>\d{{1,3}}|{'|'.join(_NUMBERS)})"
_UNIT: Final = r"(?P<unit>day|week|month|year)"


class Named(NamedTuple):
    """A time that a text names: the words, and the days they mean."""

    words: str
    span: Span


def named_times(text: str, *, said_at: datetime) -> list[Named]:
    """The times that the text names, in order, as days of UTC. None are read in texts that are not of our age."""
    said = said_at.astimezone(UTC).date()
    if not 1900 <= said.year < 3000:
        return []
    found: dict[int, tuple[int, Named]] = {}
    for pattern, resolve in _GRAMMAR:
        for match in pattern.finditer(text):
            if any(start < match.end() and match.start() < end for start, (end, _) in found.items()):
                continue
            days = resolve(match, said)
            if days is not None:
                found[match.start()] = match.end(), Named(match[0], _span(*days))
    return [found[start][1] for start in sorted(found)]


_Days = tuple[date, date] | None
"""The first day, and the first day after the last."""


def _span(first: date, end: date) -> Span:
    return Span(datetime.combine(first, time(), tzinfo=UTC), datetime.combine(end, time(), tzinfo=UTC))


def _one(day: date) -> _Days:
    return day, day + timedelta(days=1)


def _iso(match: re.Match[str], _: date) -> _Days:
    try:
        return _one(date.fromisoformat(match[0]))
    except ValueError:
        return None


def _calendar(match: re.Match[str], said: date) -> _Days:
    """A day of a month; without a year, the one that is nearest."""
    month = next(number for number, name in enumerate(_MONTHS, start=1) if name.startswith(match["month"].lower()[:3]))
    years = [int(match["year"])] if match["year"] else [said.year, said.year + 1, said.year - 1]
    days = list(_existing(years, month, int(match["day"])))
    return _one(min(days, key=lambda day: abs(day - said))) if days else None


def _existing(years: list[int], month: int, day: int) -> Iterator[date]:
    for year in years:
        try:
            yield date(year, month, day)
        except ValueError:
            continue


def _near(match: re.Match[str], said: date) -> _Days:
    return _one(said + timedelta(days={"yesterday": -1, "today": 0, "tomorrow": 1}[match[0].lower()]))


def _weekday(match: re.Match[str], said: date) -> _Days:
    """The day of this week for ``this Friday``; ``last`` and ``next`` where the week before and the nearest agree."""
    day = _monday(said) + timedelta(days=_DAYS.index(match["weekday"].lower()))
    match match["which"].lower():
        case "last":
            return _one(day - timedelta(weeks=1)) if day >= said else None
        case "next":
            return _one(day + timedelta(weeks=1)) if day <= said else None
        case _:
            return _one(day)


def _weekend(match: re.Match[str], said: date) -> _Days:
    """``next weekend`` means this one to some people and is not read at all."""
    saturday = _monday(said) + timedelta(days=5)
    if match["which"].lower() == "last":
        if said >= saturday:
            return None
        saturday -= timedelta(weeks=1)
    return saturday, saturday + timedelta(days=2)


def _period(match: re.Match[str], said: date) -> _Days:
    return _around(match["unit"], {"last": -1, "this": 0, "next": 1}[match["which"].lower()], said)


def _distance(match: re.Match[str], said: date) -> _Days:
    """``3 days ago``, ``in two weeks``."""
    count = match["count"].lower()
    amount = _NUMBERS[count] if count in _NUMBERS else int(count)
    return _around(match["unit"], -amount if match[0].lower().endswith("ago") else amount, said)


def _around(unit: str, step: int, said: date) -> _Days:
    """The day, week, month or year that is so many of them from the day on which it was said."""
    match unit.lower():
        case "day":
            return _one(said + timedelta(days=step))
        case "week":
            monday = _monday(said) + timedelta(weeks=step)
            return monday, monday + timedelta(weeks=1)
        case "month":
            return _month(said, step), _month(said, step + 1)
        case _:
            return date(said.year + step, 1, 1), date(said.year + step + 1, 1, 1)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _month(day: date, step: int) -> date:
    """The first day of the month that is ``step`` months from this one."""
    months = day.year * 12 + day.month - 1 + step
    return date(months // 12, months % 12 + 1, 1)


def _rule(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w/-])(?:{pattern})(?![\w/-])", re.IGNORECASE)


_GRAMMAR: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str], date], _Days]], ...]] = (
    (_rule(r"(?:19|20)\d\d-\d\d-\d\d"), _iso),
    (_rule(rf"{_DAY} (?:of )?{_MONTH}{_YEAR}"), _calendar),
    (_rule(rf"{_MONTH} {_DAY}{_YEAR}"), _calendar),
    (_rule(r"yesterday|today|tomorrow"), _near),
    (_rule(rf"(?P<which>last|next|this) (?P<weekday>{'|'.join(_DAYS)})"), _weekday),
    (_rule(r"(?P<which>last|this) weekend"), _weekend),
    (_rule(r"(?P<which>last|next|this) (?P<unit>week|month|year)"), _period),
    (_rule(rf"{_COUNT} {_UNIT}s? ago"), _distance),
    (_rule(rf"in {_COUNT} {_UNIT}s?"), _distance),
)
"""In the order in which they are tried: what an earlier rule has read, no later one reads."""
