"""How far a model has read each conversation, as rows, and what it noted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from synap_integrations.server.database import Database
from synap_integrations.server.records import Owner, microseconds
from synap_integrations.server.rows import owner_number
from synap_integrations.server.statements.store import add_statement

from .passages import Reading

CLAIM: Final = timedelta(minutes=5)
"""How long a passage that a process is reading is left to it."""
_UNREAD: Final = """
    SELECT id, customer_id, user_id, conversation_id, coalesce(position, 0), turns - coalesce(position, 0), updated_at
    FROM owned_conversation LEFT JOIN reading ON reading.conversation = owned_conversation.id
    WHERE turns > coalesce(position, 0) AND coalesce(claimed_until, 0) <= ?
    ORDER BY updated_at
"""


@dataclass(frozen=True, slots=True)
class Unread:
    """A conversation with turns that no model has read: those after ``position``."""

    conversation: int
    owner: Owner
    conversation_id: str
    position: int
    turns: int
    updated_at: int


class ReadingStore:
    """Progress of reading in one `Database`. Thread-safe, among processes too."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unread(self, *, now: datetime) -> list[Unread]:
        """Conversations with unread turns that nobody is reading, the quietest first."""
        with self._database.read() as db:
            found = db.execute(_UNREAD, (microseconds(now),)).fetchall()
        return [Unread(row[0], Owner(row[1], row[2]), *row[3:]) for row in found]

    def claim(self, unread: Unread, *, now: datetime) -> bool:
        """Leave this passage to us for a while. False if somebody else has it, or has read it."""
        with self._database.write() as db:
            claimed = db.execute(
                "INSERT INTO reading (conversation, position, claimed_until) VALUES (?1, ?2, ?3) "
                "ON CONFLICT DO UPDATE SET claimed_until = ?3 WHERE position = ?2 AND claimed_until <= ?4",
                (unread.conversation, unread.position, microseconds(now + CLAIM), microseconds(now)),
            )
            return claimed.rowcount == 1

    def finish(
        self, unread: Unread, reading: Reading | None, *, up_to: int, now: datetime, new_id: Callable[[], str]
    ) -> None:
        """Keep what was noted, and that it is read up to this position; all or nothing. None is nothing noted."""
        with self._database.write() as db:
            if reading is not None:
                number = owner_number(db, unread.owner)
                for statement, turns in reading.noted:
                    rows = [
                        row[0]
                        for turn in turns
                        for row in db.execute(
                            "SELECT id FROM turn WHERE owner = ? AND message_id = ?", (number, turn.message_id)
                        )
                    ]
                    # A turn that was forgotten meanwhile takes what was read out of it along.
                    if len(rows) == len(turns):
                        add_statement(db, statement, new_id(), owner=number, turns=rows)
                for statement_id in reading.superseded:
                    db.execute(
                        "UPDATE statement SET superseded_at = ? WHERE statement_id = ? AND owner = ? "
                        "AND superseded_at IS NULL",
                        (microseconds(now), statement_id, number),
                    )
            db.execute(
                "UPDATE reading SET position = ?, claimed_until = 0 WHERE conversation = ? AND position = ?",
                (up_to, unread.conversation, unread.position),
            )

    def release(self, unread: Unread) -> None:
        """Let anybody read this passage, at once."""
        with self._database.write() as db:
            db.execute("UPDATE reading SET claimed_until = 0 WHERE conversation = ?", (unread.conversation,))
