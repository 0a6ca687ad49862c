"""Everything that happens, as it comes in: for the person at the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from synap_integrations.server.records import Owner

from .reading import Reading
from .timeline import Entry, Pushed, Said, at, entries, shown
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
        self._wanted = wanted
        self._cursor = Cursor()

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
        reading, cursor = self._reading, self._cursor
        turns = reading.all_turns_after(cursor.turn, limit=_BATCH)
        events = reading.all_events_after(cursor.event, limit=_BATCH)
        pushes = reading.all_pushes_after(cursor.bundle, limit=_BATCH)
        self._cursor = Cursor(
            max([cursor.turn, *(turn.number for turn in turns)]),
            max([cursor.event, *(event.number for _, _, event in events)]),
            max([cursor.bundle, *(push.number for push in pushes)]),
        )
        said = [
            News(turn.owner, turn.conversation_id, turn.own_name or turn.conversation_id, Said(turn))
            for turn in (numbered.turn for numbered in turns)
        ]
        happened = [
            News(owner, event.conversation_id, name, entry)
            for owner, name, event in events
            for entry in _entries(event)
        ]
        pushed = [
            News(push.bundle.owner, push.bundle.conversation_id, self._name(push), Pushed(push)) for push in pushes
        ]
        return said + happened + pushed

    def _name(self, push: Push) -> str:
        chat = None if push.chat is None else self._reading.chat(push.chat)
        return push.bundle.conversation_id if chat is None else chat.name


def _entries(event: Occurrence) -> list[Entry]:
    if event.kind == "context_used":
        return [shown(event, [])]
    return entries([event], [], [])


def _stored_at(news: News) -> float:
    return at(news.entry).timestamp()
