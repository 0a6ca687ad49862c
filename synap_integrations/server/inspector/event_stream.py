"""The event stream, as far as it is stored: what clients sent and what was pushed to them, a row for each.

Turns, other events and bundles have numbers of their own, so a place in the stream is a `Cursor` of all three.
Acknowledgements, heartbeats and states of conversations pass by and are not kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any, Final, Literal

from synap_integrations.server.database import Database
from synap_integrations.server.records import Owner, moment
from synap_integrations.wire.report import EVENT_TYPES

from .following import Cursor

Source = Literal["turn", "event", "bundle"]
Direction = Literal["in", "out"]
TO_SERVER: Final = (*EVENT_TYPES, "context_used", "context_assembled")
_TURNS: Final = TO_SERVER[:2]
TO_CLIENT: Final = ("context_bundle",)
_SOURCES: Final[tuple[Source, ...]] = ("turn", "event", "bundle")
_DIRECTIONS: Final[Mapping[Source, Direction]] = {"turn": "in", "event": "in", "bundle": "out"}
_FOREVER: Final = 10**15 - 1
_DAY_US: Final = 86_400_000_000
_HELD: Final = """
    (:text = '' OR instr(lower(owner.user_id), lower(:text)) OR instr(lower(owner.customer_id), lower(:text))
     OR instr(lower({row}.conversation_id), lower(:text)) OR instr(lower(coalesce(chat.own_name, '')), lower(:text)))
"""
# CROSS JOIN keeps the order of the loops: from the newest row backwards, and no further than needed.
_STATEMENTS: Final[Mapping[Source, str]] = {
    "turn": f"""
        SELECT turn.id, turn.recorded_at, turn.role || '_message', owner.id, owner.customer_id, owner.user_id,
               chat.id, chat.conversation_id, chat.own_name, turn.event_id, substr(turn.content, 1, 300), '',
               CASE WHEN turn.metadata LIKE '%"synap_occurred_at"%' THEN turn.said_at END
        FROM turn CROSS JOIN conversation AS chat ON chat.id = turn.conversation
        CROSS JOIN owner ON owner.id = turn.owner
        WHERE turn.id > :after AND turn.id < :before AND (:kind = '' OR turn.role || '_message' = :kind)
        AND {_HELD.format(row="chat")}
        ORDER BY turn.id
    """,  # noqa: S608 - constants
    "event": f"""
        SELECT event.id, event.occurred_at, event.kind, owner.id, owner.customer_id, owner.user_id,
               chat.id, event.conversation_id, chat.own_name, event.event_id,
               substr(coalesce(json_extract(event.body, '$.tool_name'), json_extract(event.body, '$.content'),
                               json_extract(event.body, '$.search_queries[0]'),
                               json_array_length(event.body, '$.item_ids') || ' shown to a model', ''), 1, 300),
               coalesce(json_extract(event.body, '$.tool_call_id'), ''),
               json_extract(event.body, '$.sent_at_ms') * 1000
        FROM event CROSS JOIN owner ON owner.id = event.owner
        LEFT JOIN conversation AS chat
               ON chat.owner = event.owner AND chat.conversation_id = event.conversation_id
        WHERE event.id > :after AND event.id < :before AND (:kind = '' OR event.kind = :kind)
        AND {_HELD.format(row="event")}
        ORDER BY event.id
    """,  # noqa: S608 - constants
    "bundle": f"""
        SELECT bundle.id, bundle.pushed_at, 'context_bundle', owner.id, owner.customer_id, owner.user_id,
               chat.id, bundle.conversation_id, chat.own_name, bundle.bundle_id,
               json_array_length(bundle.items) || ' found for a ' || replace(bundle.pattern, '_', ' '),
               bundle.decision_id,
               coalesce((SELECT recorded_at FROM turn WHERE turn.owner = owner.id AND event_id = bundle.decision_id),
                        (SELECT occurred_at FROM event WHERE event.owner = owner.id AND event_id = bundle.decision_id))
        FROM bundle CROSS JOIN owner ON owner.id = bundle.owner
        LEFT JOIN conversation AS chat
               ON chat.owner = bundle.owner AND chat.conversation_id = bundle.conversation_id
        WHERE bundle.id > :after AND bundle.id < :before
        AND {_HELD.format(row="bundle")}
        ORDER BY bundle.id
    """,  # noqa: S608 - constants
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows are wanted; "" is all. ``text`` is part of the id or the name of a user, customer or conversation."""

    direction: str = ""
    kind: str = ""
    text: str = ""

    @property
    def sources(self) -> list[Source]:
        """Where such rows are."""
        return [
            source
            for source in _SOURCES
            if self.direction in ("", _DIRECTIONS[source]) and (not self.kind or source == _source_of(self.kind))
        ]


@dataclass(frozen=True, slots=True)
class Passed:
    """One stream event. ``kind`` is its type on the wire; ``related`` is the tool call or the cause it belongs to.

    ``took_ms`` is None where it is not known: of what a client sent, from its clock to the commit here; of what was
    pushed, from the commit of what caused it.
    """

    source: Source
    number: int
    at: datetime
    kind: str
    person: int
    owner: Owner
    chat: int | None
    name: str
    event_id: str
    about: str
    related: str
    took_ms: float | None

    @property
    def direction(self) -> Direction:
        """``in`` is from a client to here."""
        return _DIRECTIONS[self.source]

    @property
    def key(self) -> str:
        """What the row is called on its page."""
        return f"{self.source}-{self.number}"


class EventStream:
    """Reads the stream events of one `Database`. Thread-safe. Raises sqlite3.Error."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, wanted: Wanted, *, before: Cursor | None, limit: int) -> list[Passed]:
        """The newest rows, newest first; with ``before``, those that are older than that."""
        ends = before or Cursor(_FOREVER, _FOREVER, _FOREVER)
        with self._database.read() as db:
            parts = [
                self._rows(db, source, wanted, before=ends[_SOURCES.index(source)], limit=limit, backwards=True)
                for source in reversed(wanted.sources)
            ]
        # A merge takes from the front of each part, so that a cursor can say how far it came, whatever the clock did.
        return list(islice(merge(*parts, key=lambda row: row.at, reverse=True), limit))

    def since(self, wanted: Wanted, cursor: Cursor, *, limit: int) -> tuple[Cursor, list[Passed]]:
        """How far it is now, and what was stored since, oldest first; of each kind at most ``limit``."""
        reached, found = list(self.end()), list[list[Passed]]()
        with self._database.read() as db:
            for source in wanted.sources:
                at = _SOURCES.index(source)
                rows = self._rows(db, source, wanted, after=cursor[at], limit=limit)
                if rows:
                    last = rows[-1].number
                    reached[at] = last if len(rows) == limit else max(last, reached[at])
                found.append(rows)
        return Cursor(*map(max, cursor, reached)), list(merge(*found, key=lambda row: row.at))

    def end(self) -> Cursor:
        """Where the stream ends now."""
        with self._database.read() as db:
            return Cursor(*(db.execute(f"SELECT max(id) FROM {table}").fetchone()[0] or 0 for table in _SOURCES))  # noqa: S608 - constants

    def _rows(  # noqa: PLR0913 - all of them are named
        self,
        db: sqlite3.Connection,
        source: Source,
        wanted: Wanted,
        *,
        after: int = 0,
        before: int = _FOREVER,
        limit: int,
        backwards: bool = False,
    ) -> list[Passed]:
        statement = f"{_STATEMENTS[source]} {'DESC' if backwards else ''} LIMIT :limit"
        asked = {"after": after, "before": before, "kind": wanted.kind, "text": wanted.text, "limit": limit}
        return [_passed(source, row) for row in db.execute(statement, asked)]


def behind(rows: Iterable[Passed], before: Cursor | None) -> Cursor:
    """Where to go on behind these rows, which came from before this place."""
    ends = list(before or Cursor(_FOREVER, _FOREVER, _FOREVER))
    for row in rows:
        at = _SOURCES.index(row.source)
        ends[at] = min(ends[at], row.number)
    return Cursor(*ends)


def _source_of(kind: str) -> Source:
    if kind in TO_CLIENT:
        return "bundle"
    return "turn" if kind in _TURNS else "event"


def _passed(source: Source, row: Sequence[Any]) -> Passed:
    began, took = row[12], None
    if isinstance(began, int | float) and 0 <= row[1] - began < _DAY_US:
        took = (row[1] - began) / 1000
    return Passed(
        source=source,
        number=row[0],
        at=moment(row[1]),
        kind=row[2],
        person=row[3],
        owner=Owner(row[4], row[5]),
        chat=row[6],
        name=row[8] or row[7],
        event_id=row[9],
        about=str(row[10]),
        related=str(row[11]),
        took_ms=took,
    )
