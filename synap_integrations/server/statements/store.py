"""What users said about themselves, as rows: facts, preferences and events, each with the turns it rests on."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Collection, Sequence
from typing import Any, Final

from synap_integrations.guard import contained
from synap_integrations.server.database import Database
from synap_integrations.server.records import (
    Extraction,
    Kind,
    NewStatement,
    Owner,
    Place,
    Source,
    Span,
    Statement,
    Turn,
    microseconds,
    moment,
)
from synap_integrations.server.retrieval.ranking import expression, spaced

from .patterns import MOST, replaces, stated

CANDIDATES: Final = 50
_NOTICE: Final = contained("patterns")
_KNOWN: Final = """
    SELECT * FROM owned_statement
    WHERE customer_id = ?1 AND user_id = ?2 AND superseded_at IS NULL AND kind IN (SELECT value FROM json_each(?3))
    AND (?4 IS NULL OR conversation_id = ?4)
    ORDER BY id DESC LIMIT ?5
"""
_SEARCH: Final = """
    SELECT known.*, -best.rank FROM (
        SELECT rowid, rank FROM statement_words WHERE statement_words MATCH ?1
        AND rank MATCH 'bm25(0.0, 1.0)' ORDER BY rank LIMIT ?2
    ) AS best JOIN owned_statement AS known ON known.id = best.rowid
    WHERE customer_id = ?3 AND user_id = ?4 AND superseded_at IS NULL AND (?5 IS NULL OR extraction = ?5)
    ORDER BY best.rank, known.id
"""


class StatementStore:
    """Statements of one `Database`. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(
        self, owner: Owner, *, kinds: Collection[Kind], conversation_id: str | None = None, limit: int = 500
    ) -> list[Statement]:
        """The owner's statements of these kinds that still hold, newest first; from one conversation, if named."""
        with self._database.read() as db:
            found = db.execute(_KNOWN, (*owner, json.dumps(sorted(kinds)), conversation_id, limit)).fetchall()
        return [_statement(row) for row in found]

    def called(self, statement_id: str) -> Statement | None:
        """The statement with this id, whoever it is about: nobody but them was told the id."""
        with self._database.read() as db:
            found = db.execute("SELECT * FROM owned_statement WHERE statement_id = ?", (statement_id,)).fetchone()
        return _statement(found) if found else None

    def search(
        self, owner: Owner, words: Sequence[str], *, extraction: Extraction | None = None, limit: int = CANDIDATES
    ) -> list[tuple[Statement, float]]:
        """The owner's statements that hold any of these words, best first, with their BM25 scores; however found."""
        if not words:
            return []
        with self._database.read() as db:
            found = db.execute("SELECT id FROM owner WHERE customer_id = ? AND user_id = ?", owner).fetchone()
            if found is None:
                return []
            match = expression(words, owner=found[0], columns="body")
            rows = db.execute(_SEARCH, (match, limit, *owner, extraction)).fetchall()
        return [(_statement(row), row[-1]) for row in rows]


def add_statement(
    db: sqlite3.Connection, statement: NewStatement, statement_id: str, *, owner: int, turns: Sequence[int]
) -> None:
    """Store a statement that rests on these rows of ``turn``. Inside a transaction."""
    start, end = (microseconds(at) for at in statement.when) if statement.when else (None, None)
    added = db.execute(
        "INSERT INTO statement (owner, turn, statement_id, kind, slot, value, content, extraction, confidence, "
        "starts_at, ends_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            owner,
            turns[0],
            statement_id,
            statement.kind,
            statement.slot,
            statement.value,
            statement.content,
            statement.extraction,
            statement.confidence,
            start,
            end,
        ),
    )
    number = added.lastrowid
    db.executemany(
        "INSERT OR IGNORE INTO statement_source (turn, statement) VALUES (?, ?)", [(turn, number) for turn in turns]
    )
    db.execute(
        "INSERT INTO statement_words (rowid, owner, body) VALUES (?, ?, ?)",
        (number, str(owner), spaced(statement.content)),
    )


def notice(db: sqlite3.Connection, turn: Turn, *, owner: int, row: int) -> None:
    """Keep what a user's turn says about them, as far as `patterns` sees it. Inside the transaction of the turn."""
    found: list[NewStatement] = []
    if turn.role == "user":
        with _NOTICE:
            found = stated(turn.content, said_at=turn.said_at)
    for number, statement in enumerate(found):
        # Told from the turn's id, so that the same turns give the same ids; clients want a UUID.
        statement_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{turn.message_id}:{number}"))
        add_statement(db, statement, statement_id, owner=owner, turns=[row])
    for kind in {statement.kind for statement in found}:
        _prune(db, owner, kind)


def _prune(db: sqlite3.Connection, owner: int, kind: Kind) -> None:
    """Of what patterns found: the newest of what can be true of one thing only, and the newest few of all."""
    rows = db.execute(
        "SELECT statement.id, slot, value FROM statement JOIN turn ON turn.id = statement.turn "
        "WHERE statement.owner = ? AND kind = ? AND extraction = 'pattern' ORDER BY said_at DESC, statement.id DESC",
        (owner, kind),
    ).fetchall()
    kept: set[tuple[str, str]] = set()
    for number, slot, value in rows:
        told = slot, "" if replaces(slot) else value.casefold()
        if told in kept or len(kept) == MOST[kind]:
            db.execute("DELETE FROM statement WHERE id = ?", (number,))
        else:
            kept.add(told)


def _statement(row: Sequence[Any]) -> Statement:
    """The statement in a row of ``owned_statement``."""
    kind: Kind = row[3]
    extraction: Extraction = row[7]
    return Statement(
        owner=Owner(row[0], row[1]),
        statement_id=row[2],
        kind=kind,
        slot=row[4],
        value=row[5],
        content=row[6],
        extraction=extraction,
        confidence=row[8],
        when=None if row[9] is None else Span(moment(row[9]), moment(row[10])),
        superseded_at=None if row[11] is None else moment(row[11]),
        conversation_id=row[12],
        said_at=moment(row[13]),
        recorded_at=moment(row[14]),
        sources=tuple(sorted(Source(Place(*source[:2]), source[2]) for source in json.loads(row[15]))),
    )
