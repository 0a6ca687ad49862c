"""Forgetting, completely: turns, their words, what was said besides, what was pushed, and all that is known from them.

What is deleted is overwritten on disk and leaves the log of changes too. Event ids stay as digests, because a client
that lost an acknowledgement sends its events again, and they must not bring back what was forgotten.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

from synap_integrations.server.database import LOCK_WAIT_S, Database
from synap_integrations.server.records import Owner, microseconds
from synap_integrations.server.retrieval.ranking import indexed
from synap_integrations.server.rows import IDS_ONLY, json_text

KEPT_IN_LOG: Final = "write-ahead log"
"""Where text may be for a while, if another process is reading the file."""
_LOG_WAIT_MS: Final = 1000
_COPY_CHARS: Final = 12
"""Shortest text that is looked for in other rows; "yes" is in all of them."""
_OWNERS: Final = "SELECT id, customer_id, user_id FROM owner WHERE customer_id = ?1 AND (?2 IS NULL OR user_id = ?2)"
_COUNTS: Final = {
    "turns": "SELECT count(*) FROM owned_turn AS turn JOIN owner USING (customer_id, user_id) "
    "WHERE owner.id = ?1 AND (?2 IS NULL OR turn.conversation_id = ?2)",
    "statements": "SELECT count(DISTINCT statement) FROM statement_source JOIN owned_turn AS turn "
    "ON turn.id = statement_source.turn JOIN owner USING (customer_id, user_id) "
    "WHERE owner.id = ?1 AND (?2 IS NULL OR turn.conversation_id = ?2)",
    "conversations": "SELECT count(*) FROM conversation WHERE owner = ?1 AND (?2 IS NULL OR conversation_id = ?2)",
    "events": "SELECT count(*) FROM event WHERE owner = ?1 AND (?2 IS NULL OR conversation_id = ?2)",
    "sessions": "SELECT count(*) FROM session WHERE owner = ?1 AND (?2 IS NULL OR conversation_id = ?2)",
    "bundles": "SELECT count(*) FROM bundle WHERE owner = ?1 AND (?2 IS NULL OR conversation_id = ?2)",
    "documents": "SELECT count(*) FROM intake WHERE owner = ?1 AND (?2 IS NULL OR conversation_id = ?2)",
}
_DELETES: Final = (
    "DELETE FROM event WHERE owner = ?1 AND (?2 IS NULL OR conversation_id = ?2)",
    "DELETE FROM session WHERE owner = ?1 AND (?2 IS NULL OR conversation_id = ?2)",
    "DELETE FROM bundle WHERE owner = ?1 AND (?2 IS NULL OR conversation_id = ?2)",
    "DELETE FROM intake WHERE owner = ?1 AND (?2 IS NULL OR conversation_id = ?2)",
    "DELETE FROM conversation WHERE owner = ?1 AND (?2 IS NULL OR conversation_id = ?2)",
    "DELETE FROM owner WHERE id = ?1 AND ?2 IS NULL",
)
_EVENTS: Final = "SELECT event_id FROM event WHERE owner = ?1 AND (?2 IS NULL OR conversation_id = ?2)"
_TURNS: Final = """
    SELECT id, owner, conversation, content, speaker, event_id, message_id FROM turn
    WHERE owner = ?1 AND (?2 IS NULL OR conversation = (
        SELECT id FROM conversation WHERE owner = ?1 AND conversation_id = ?2))
"""
_TURN: Final = """
    SELECT id, owner, conversation, content, speaker, event_id, message_id FROM turn
    WHERE message_id = ? AND owner = (SELECT id FROM owner WHERE customer_id = ? AND user_id = ?)
"""
_STATEMENT: Final = """
    DELETE FROM statement
    WHERE statement_id = ? AND owner = (SELECT id FROM owner WHERE customer_id = ? AND user_id = ?)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What to forget. Of a user, a conversation if it is named; without a user, all users of a customer."""

    customer_id: str
    user_id: str | None = None
    conversation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many rows of each kind went, and where their text may still be."""

    counts: dict[str, int] = field(default_factory=dict[str, int])
    still_present_in: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """True if there was anything to forget."""
        return any(self.counts.values())


class Forgetting:
    """Forgets what a `Database` holds. Thread-safe. Raises sqlite3.Error, and has forgotten nothing then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def preview(self, target: Target) -> Forgotten:
        """What `forget` would delete. Deletes nothing."""
        with self._database.read() as db:
            return Forgotten(_counted(db, target))

    def forget(self, target: Target) -> Forgotten:
        """Forget everything of this target."""
        with self._database.write() as db:
            counts = _counted(db, target)
            _forget(db, target)
            _sweep(db)
        return Forgotten(counts, self._scrubbed())

    def forget_turns(self, owner: Owner, message_ids: Iterable[str]) -> Forgotten:
        """Forget turns of an owner, what is known from them, and copies of their text in other rows of that owner."""
        with self._database.write() as db:
            counts = {"turns": 0, "events": 0, "bundles": 0, "statements": 0}
            for message_id in message_ids:
                turn = db.execute(_TURN, (message_id, *owner)).fetchone()
                if turn is not None:
                    before = _statements(db)
                    for kind, number in _forget_copies(db, turn).items():
                        counts[kind] += number
                    _forget_turns(db, owner, [turn])
                    counts["turns"] += 1
                    counts["statements"] += before - _statements(db)
            _sweep(db)
        return Forgotten(counts, self._scrubbed())

    def forget_statements(self, owner: Owner, statement_ids: Iterable[str]) -> Forgotten:
        """Forget what is known from an owner's turns, and keep the turns."""
        with self._database.write() as db:
            before = _statements(db)
            db.executemany(_STATEMENT, [(statement_id, *owner) for statement_id in statement_ids])
            gone = before - _statements(db)
            _forget_quotes(db, _owners(db, Target(**owner._asdict())))
            _sweep(db)
        return Forgotten({"statements": gone}, self._scrubbed())

    def note(self, deletion_id: str, report: dict[str, object], *, now: datetime) -> dict[str, object]:
        """Keep what a deletion did: counts, and nothing of what was deleted. The report, with its id."""
        report = {"deletion_id": deletion_id, **report}
        with self._database.write() as db:
            db.execute("INSERT INTO deletion VALUES (?, ?, ?)", (deletion_id, json_text(report), microseconds(now)))
        return report

    def noted(self, deletion_id: str) -> dict[str, object] | None:
        """The report of a deletion, None if there was none."""
        with self._database.read() as db:
            found = db.execute("SELECT report FROM deletion WHERE deletion_id = ?", (deletion_id,)).fetchone()
        report: dict[str, object] | None = json.loads(found[0]) if found else None
        return report

    def _scrubbed(self) -> tuple[str, ...]:
        """Rewrite the file without its free pages and empty the log of changes, as soon as nobody reads from it."""
        if self._database.path is None:
            return ()
        with self._database.read() as db:
            db.execute("VACUUM")
            db.execute(f"PRAGMA busy_timeout={_LOG_WAIT_MS}")
            busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            db.execute(f"PRAGMA busy_timeout={int(LOCK_WAIT_S * 1000)}")
        return (KEPT_IN_LOG,) if busy else ()


def unindex(db: sqlite3.Connection, row: int, said: tuple[str, str | None], *, owner: int, conversation: int) -> None:
    """Take a turn's words out of the index: it keeps no text and has to be told content and speaker."""
    name, body = indexed(*said)
    db.execute(
        "INSERT INTO turn_words (turn_words, rowid, owner, conversation, speaker, body) "
        "VALUES ('delete', ?, ?, ?, ?, ?)",
        (row, str(owner), str(conversation), name, body),
    )


def is_forgotten(db: sqlite3.Connection, owner: Owner, event_id: str) -> bool:
    """True if this event was taken once and forgotten since."""
    return db.execute("SELECT 1 FROM forgotten WHERE event = ?", (_digest(owner, event_id),)).fetchone() is not None


def _digest(owner: Owner, event_id: str) -> bytes:
    return blake2b(json_text([*owner, event_id]).encode(), digest_size=16).digest()


def _owners(db: sqlite3.Connection, target: Target) -> dict[int, Owner]:
    found = db.execute(_OWNERS, (target.customer_id, target.user_id)).fetchall()
    return {row[0]: Owner(row[1], row[2]) for row in found}


def _counted(db: sqlite3.Connection, target: Target) -> dict[str, int]:
    owners = _owners(db, target)
    return {
        kind: sum(db.execute(query, (number, target.conversation_id)).fetchone()[0] for number in owners)
        for kind, query in _COUNTS.items()
    }


def _forget(db: sqlite3.Connection, target: Target) -> None:
    for number, owner in _owners(db, target).items():
        whose = (number, target.conversation_id)
        for (event_id,) in db.execute(_EVENTS, whose).fetchall():
            _remember_not(db, owner, event_id)
        _forget_turns(db, owner, db.execute(_TURNS, whose).fetchall())
        for delete in _DELETES:
            db.execute(delete, whose)


def _forget_turns(db: sqlite3.Connection, owner: Owner, turns: Sequence[Sequence[Any]]) -> None:
    for number, owner_number, conversation, content, speaker, event_id, message_id in turns:
        unindex(db, number, (content, speaker), owner=owner_number, conversation=conversation)
        if event_id != message_id:
            _remember_not(db, owner, event_id)
        db.execute("DELETE FROM turn WHERE id = ?", (number,))
    _forget_quotes(db, {turn[1] for turn in turns})


def _forget_quotes(db: sqlite3.Connection, owners: Iterable[int]) -> None:
    """Leave ids alone in bundles: they quote turns of any conversation, and the neighbours of turns."""
    db.executemany(f"{IDS_ONLY} WHERE owner = ? AND items LIKE '[{{%'", [(number,) for number in owners])


def _forget_copies(db: sqlite3.Connection, turn: Sequence[Any]) -> dict[str, int]:
    """Bundles that this turn caused, and rows of its owner that quote it."""
    owner, content, event_id = turn[1], turn[3], turn[5]
    quoted = json_text([content])[2:-2] if len(content) >= _COPY_CHARS else None
    bundles = db.execute(
        "DELETE FROM bundle WHERE owner = ?1 AND (decision_id = ?2 OR (?3 IS NOT NULL AND instr(queries, ?3)))",
        (owner, event_id, quoted),
    )
    events = db.execute(
        "DELETE FROM event WHERE owner = ? AND ? IS NOT NULL AND instr(body, ?)", (owner, quoted, quoted)
    )
    return {"bundles": bundles.rowcount, "events": events.rowcount}


def _remember_not(db: sqlite3.Connection, owner: Owner, event_id: str) -> None:
    db.execute("INSERT OR IGNORE INTO forgotten (event) VALUES (?)", (_digest(owner, event_id),))


def _statements(db: sqlite3.Connection) -> int:
    (count,) = db.execute("SELECT count(*) FROM statement").fetchone()
    return int(count)


def _sweep(db: sqlite3.Connection) -> None:
    """Deleted words stay in an index until it is merged."""
    db.execute("INSERT INTO turn_words (turn_words) VALUES ('optimize')")
    db.execute("INSERT INTO statement_words (statement_words) VALUES ('optimize')")
