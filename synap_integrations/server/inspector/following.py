"""Everything that happens, as it comes in: for the person at the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import merge
from typing import Final, NamedTuple

from synap_integrations.server.records import Owner

from .queries import Reading
from .timeline import Entry, Other, Pushed, Said, at, entries, is_receipt, shown
from .views import Occurrence, Push

_BATCH: Final = 500
_REACH: Final = 100
"""Rows that are looked at for each entry that is wanted."""


class Cursor(NamedTuple):
    """The numbers of the newest turn, event and bundle that the reader has."""

    turn: int = 0
    event: int = 0
    bundle: int = 0

    @classmethod
    def read(cls, text: str) -> Cursor | None:
        """A cursor from an event's id; None if it is none."""
        parts = text.split(".")
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 16 for part in parts):
            return None
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return ".".join(map(str, self))


@dataclass(frozen=True, slots=True)
class News:
    """An entry, whose it is, and what the application calls its conversation."""

    owner: Owner
    conversation_id: str
    name: str
    entry: Entry


Wanted = Callable[[News], bool]


class Following:
    """What is new in a database, each time it is asked. Raises sqlite3.Error."""

    def __init__(self, reading: Reading, wanted: Wanted) -> None:
        self._reading = reading
        self._wanted: Wanted = lambda news: _stands_alone(news.entry) and wanted(news)
        self._cursor = Cursor()

    def everything(self) -> Iterator[News]:
        """All there is, in the order in which it was stored; what comes in meanwhile may be among it."""
        kinds = (self._each(fetch) for fetch in (self._turns, self._events, self._pushes))
        return filter(self._wanted, merge(*kinds, key=_stored_at))

    def _each(self, fetch: Callable[[int], list[tuple[int, News]]]) -> Iterator[News]:
        after = 0
        while part := fetch(after):
            yield from (news for _, news in part)
            after = part[-1][0]

    def last(self, number: int) -> list[News]:
        """The last entries, at most that many; `news` goes on behind them."""
        newest = Cursor(self._reading.newest_turn(), *self._reading.newest())
        reach = number * _REACH
        self._cursor = Cursor(*(max(0, end - reach) for end in newest))
        found: list[News] = []
        while more := self._next():
            found += more
        self._cursor = Cursor(*map(max, zip(self._cursor, newest, strict=True)))
        return sorted(filter(self._wanted, found), key=_stored_at)[-number:] if number else []

    def news(self) -> list[News]:
        """What came in since, in the order in which it was stored; empty if nothing did."""
        return sorted(filter(self._wanted, self._next()), key=_stored_at)

    def _next(self) -> list[News]:
        fetches = (self._turns, self._events, self._pushes)
        found = [fetch(after) for fetch, after in zip(fetches, self._cursor, strict=True)]
        self._cursor = Cursor(
            *(part[-1][0] if part else after for after, part in zip(self._cursor, found, strict=True))
        )
        return [news for part in found for _, news in part]

    def _turns(self, after: int) -> list[tuple[int, News]]:
        return [
            (numbered.number, News(turn.owner, turn.conversation_id, turn.own_name or turn.conversation_id, Said(turn)))
            for numbered in self._reading.all_turns_after(after, limit=_BATCH)
            for turn in [numbered.turn]
        ]

    def _events(self, after: int) -> list[tuple[int, News]]:
        return [
            (event.number, News(owner, event.conversation_id, name, _entry(event)))
            for owner, name, event in self._reading.all_events_after(after, limit=_BATCH)
        ]

    def _pushes(self, after: int) -> list[tuple[int, News]]:
        return [
            (push.number, News(push.bundle.owner, push.bundle.conversation_id, self._name(push), Pushed(push)))
            for push in self._reading.all_pushes_after(after, limit=_BATCH)
        ]

    def _name(self, push: Push) -> str:
        chat = None if push.chat is None else self._reading.chat(push.chat)
        return push.bundle.conversation_id if chat is None else chat.name


def _entry(event: Occurrence) -> Entry:
    if event.kind == "context_used":
        return shown(event, [])
    return next(iter(entries([event], [], [])), Other(event))


def _stands_alone(entry: Entry) -> bool:
    """False for what is shown as part of another entry."""
    return not (isinstance(entry, Other) and is_receipt(entry.event))


def _stored_at(news: News) -> float:
    return at(news.entry).timestamp()
