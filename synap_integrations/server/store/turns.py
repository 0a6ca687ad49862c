"""Turns and conversations, as rows. Every read of somebody's memory names its owner in the same statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from synap_integrations.server.database import Database
from synap_integrations.server.records import Hit, NewTurn, Owner, Place, Recorded, Turn, microseconds, moment
from synap_integrations.server.retrieval.common_words import CommonWords, share
from synap_integrations.server.retrieval.ranking import CANDIDATES, counting, expression, holding, indexed
from synap_integrations.server.rows import json_text, owner_number, place_of, turn_of
from synap_integrations.server.statements.store import notice

from .forgetting import is_forgotten, unindex

# The speaker's name counts a fifth of a word of the turn; whose it is decides, but does not count.
_SEARCH: Final = """
    SELECT turn.conversation, turn.position, turn.said_at, -best.rank, conversation.turns
    FROM (
        SELECT rowid, rank FROM turn_words
        WHERE turn_words MATCH ? AND rank MATCH 'bm25(0.0, 0.0, 0.2, 1.0)' ORDER BY rank LIMIT ?
    ) AS best
    JOIN turn ON turn.id = best.rowid JOIN conversation ON conversation.id = turn.conversation
    WHERE turn.owner = (SELECT id FROM owner WHERE customer_id = ? AND user_id = ?)
    ORDER BY best.rank, turn.id
"""
# The same where most turns are the owner's: whose one is, is looked at in the order of the ranking, until there are
# enough. As a word of the query it would be looked up for all of them.
_SEARCH_MOST: Final = """
    SELECT turn.conversation, turn.position, turn.said_at, -turn_words.rank, conversation.turns
    FROM turn_words CROSS JOIN turn ON turn.id = turn_words.rowid
    CROSS JOIN conversation ON conversation.id = turn.conversation
    WHERE turn_words MATCH ?1 AND rank MATCH 'bm25(0.0, 0.0, 0.2, 1.0)'
    AND turn.owner = (SELECT id FROM owner WHERE customer_id = ?3 AND user_id = ?4)
    ORDER BY turn_words.rank LIMIT ?2
"""
_WHOSE: Final = """
    SELECT owner.id, conversation.id FROM owner
    LEFT JOIN conversation ON conversation.owner = owner.id AND conversation.conversation_id = ?1
    WHERE customer_id = ?2 AND user_id = ?3
"""
_AT: Final = """
    SELECT turn.* FROM json_each(?) AS place CROSS JOIN owned_turn AS turn
    WHERE turn.conversation = json_extract(place.value, '$[0]') AND turn.position = json_extract(place.value, '$[1]')
    AND turn.customer_id = ? AND turn.user_id = ?
"""
_UP: Final = """
    SELECT * FROM owned_turn WHERE customer_id = ? AND user_id = ? AND conversation_id = ? AND position >= ?
    ORDER BY position LIMIT ?
"""
_SAID: Final = "SELECT * FROM owned_turn WHERE message_id = ?"
_DOWN: Final = _UP.replace("position LIMIT", "position DESC LIMIT")


class Store:
    """Turns of one `Database`. Thread-safe. Raises sqlite3.Error where the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._commonness = CommonWords()

    # --- in --------------------------------------------------------------------------------------------------

    def add(self, turns: Sequence[tuple[NewTurn, str, str]], *, now: datetime) -> list[Recorded]:
        """Store turns in one transaction, each with the message id and the session id that it gets if it has none.

        A turn whose owner has its event id already is not stored again; what was stored then is returned.
        """
        with self._database.write() as db:
            return [add_turn(db, *turn, now=microseconds(now)) for turn in turns]

    def rewrite(self, owner: Owner, message_id: str, *, content: str, metadata: Mapping[str, object]) -> None:
        """Replace the text of an owner's turn, and what was known from the old one."""
        with self._database.write() as db:
            found = db.execute(f"{_SAID} AND customer_id = ? AND user_id = ?", (message_id, *owner)).fetchone()
            if found is not None:
                _rewrite(db, found, content, metadata)

    # --- out -------------------------------------------------------------------------------------------------

    def search(
        self, owner: Owner, words: Sequence[str], *, conversation_id: str | None = None, limit: int = CANDIDATES
    ) -> list[Hit]:
        """The owner's turns that hold any of these words, best first; all of them from one conversation, if named."""
        if not words:
            return []
        with self._database.read() as db:
            found = db.execute(_WHOSE, (conversation_id, *owner)).fetchone()
            if found is None or (conversation_id is not None and found[1] is None):
                return []
            number, within = found
            if within is not None:
                match, query = expression(words, owner=number, conversation=within), _SEARCH
            else:
                turns, most = share(db, number)
                rare, common = self._commonness.split(db, words, owner=number, turns=turns)
                match = counting(holding(rare) if most else expression(rare, owner=number), common, owner=number)
                query = _SEARCH_MOST if most else _SEARCH
            hits = db.execute(query, (match, limit, *owner)).fetchall()
        return list(map(Hit._make, hits))

    def at(self, owner: Owner, places: Iterable[Place]) -> dict[Place, Turn]:
        """The owner's turns at these places; a place that does not exist or is not theirs is left out."""
        with self._database.read() as db:
            found = db.execute(_AT, (json_text(list(places)), *owner)).fetchall()
        return {place_of(row): turn_of(row) for row in found}

    def extent(self, owner: Owner, conversation_id: str) -> Place | None:
        """The place of the last turn of the owner's conversation, None if they have no such conversation."""
        with self._database.read() as db:
            found = db.execute(
                "SELECT id, turns FROM owned_conversation "
                "WHERE customer_id = ? AND user_id = ? AND conversation_id = ?",
                (*owner, conversation_id),
            ).fetchone()
        return Place(*found) if found else None

    def turns(
        self, owner: Owner, conversation_id: str, *, start: int = 1, limit: int = 500, newest: bool = False
    ) -> list[Turn]:
        """The owner's turns of one conversation in order: ``limit`` from position ``start``, or the newest ones."""
        order = _DOWN if newest else _UP
        with self._database.read() as db:
            found = db.execute(order, (*owner, conversation_id, start, limit)).fetchall()
        return [turn_of(row) for row in (reversed(found) if newest else found)]

    def newest(self, owner: Owner, *, limit: int) -> list[Turn]:
        """The owner's newest turns, newest first."""
        with self._database.read() as db:
            found = db.execute(
                "SELECT * FROM owned_turn WHERE customer_id = ? AND user_id = ? ORDER BY id DESC LIMIT ?",
                (*owner, limit),
            ).fetchall()
        return [turn_of(row) for row in found]

    def said(self, message_id: str) -> Turn | None:
        """The turn with this id, whoever said it: the id was told to nobody else but the person at the machine."""
        with self._database.read() as db:
            found = db.execute(_SAID, (message_id,)).fetchone()
        return turn_of(found) if found else None

    def latest_conversation(self, owner: Owner, *, besides: str) -> str | None:
        """The owner's conversation with the newest turn, except ``besides``; a document is no conversation."""
        return next(iter(self.latest_conversations(owner, besides=besides, limit=1)), None)

    def latest_conversations(self, owner: Owner, *, besides: str, limit: int) -> list[str]:
        """The owner's conversations except ``besides``, the one with the newest turn first; documents are none."""
        with self._database.read() as db:
            found = db.execute(
                "SELECT conversation_id FROM owned_conversation "
                "WHERE customer_id = ? AND user_id = ? AND conversation_id <> ? "
                "AND NOT EXISTS (SELECT 1 FROM turn WHERE conversation = owned_conversation.id AND role = 'document') "
                "ORDER BY updated_at DESC, id DESC LIMIT ?",
                (*owner, besides, limit),
            ).fetchall()
        return [row[0] for row in found]

    def called(self, name: str) -> list[tuple[Owner, str]]:
        """Owner and id of every conversation that travels under this id or that an application calls so.

        For calls that do not say whose conversation they mean, and for the person at the machine.
        """
        with self._database.read() as db:
            found = db.execute(
                "SELECT customer_id, user_id, conversation_id FROM owned_conversation "
                "WHERE conversation_id = ?1 OR own_name = ?1 ORDER BY id",
                (name,),
            ).fetchall()
        return [(Owner(row[0], row[1]), row[2]) for row in found]


def add_turn(db: sqlite3.Connection, turn: NewTurn, message_id: str, session_id: str, *, now: int) -> Recorded:
    """Store a turn, unless its owner has its event id, or had it and forgot it. Inside a transaction."""
    owner = owner_number(db, turn.owner)
    event_id = turn.event_id or message_id
    known = db.execute(
        "SELECT * FROM owned_turn WHERE customer_id = ? AND user_id = ? AND event_id = ?", (*turn.owner, event_id)
    ).fetchone()
    if known is not None:
        (count,) = db.execute("SELECT turns FROM conversation WHERE id = ?", (place_of(known).conversation,)).fetchone()
        return Recorded(turn_of(known), count, fresh=False)
    if turn.event_id is not None and is_forgotten(db, turn.owner, turn.event_id):
        return Recorded(_turn(turn, 0, message_id, turn.session_id or session_id, now), 0, fresh=False)
    place, session_id = _next_place(db, owner, turn, session_id, now)
    stored = _turn(turn, place.position, message_id, session_id, now)
    _insert(db, owner, place, stored)
    return Recorded(stored, place.position, fresh=True)


def _turn(turn: NewTurn, position: int, message_id: str, session_id: str, now: int) -> Turn:
    return Turn(
        owner=turn.owner,
        conversation_id=turn.conversation_id,
        own_name=turn.own_name,
        position=position,
        message_id=message_id,
        event_id=turn.event_id or message_id,
        session_id=session_id,
        role=turn.role,
        speaker=turn.speaker,
        content=turn.content,
        metadata=turn.metadata,
        said_at=turn.said_at or moment(now),
        recorded_at=moment(now),
    )


def _insert(db: sqlite3.Connection, owner: int, place: Place, turn: Turn) -> None:
    added = db.execute(
        "INSERT INTO turn (owner, conversation, position, message_id, event_id, role, speaker, content, session_id, "
        "metadata, said_at, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            owner,
            place.conversation,
            place.position,
            turn.message_id,
            turn.event_id,
            turn.role,
            turn.speaker,
            turn.content,
            turn.session_id,
            json_text(turn.metadata),
            microseconds(turn.said_at),
            microseconds(turn.recorded_at),
        ),
    )
    assert added.lastrowid is not None
    _index(db, turn, owner=owner, conversation=place.conversation, row=added.lastrowid)


def _index(db: sqlite3.Connection, turn: Turn, *, owner: int, conversation: int, row: int) -> None:
    speaker, body = indexed(turn.content, turn.speaker)
    db.execute(
        "INSERT INTO turn_words (rowid, owner, conversation, speaker, body) VALUES (?, ?, ?, ?, ?)",
        (row, str(owner), str(conversation), speaker, body),
    )
    notice(db, turn, owner=owner, row=row)


def _rewrite(db: sqlite3.Connection, held: Sequence[Any], content: str, metadata: Mapping[str, object]) -> None:
    """Put this text into the turn of a row of ``owned_turn``."""
    turn, conversation, row = turn_of(held), place_of(held).conversation, held[15]
    (owner,) = db.execute("SELECT owner FROM turn WHERE id = ?", (row,)).fetchone()
    unindex(db, row, (turn.content, turn.speaker), owner=owner, conversation=conversation)
    for derived in ("DELETE FROM vector WHERE turn = ?", "DELETE FROM statement WHERE turn = ?"):
        db.execute(derived, (row,))
    db.execute("UPDATE turn SET content = ?, metadata = ? WHERE id = ?", (content, json_text(metadata), row))
    _index(db, replace(turn, content=content), owner=owner, conversation=conversation, row=row)


def _next_place(db: sqlite3.Connection, owner: int, turn: NewTurn, session_id: str, now: int) -> tuple[Place, str]:
    """The conversation's next position, and the turn's session: its own, else that of the turn before it."""
    found = db.execute(
        "SELECT id, turns, session_id FROM conversation WHERE owner = ? AND conversation_id = ?",
        (owner, turn.conversation_id),
    ).fetchone()
    if found is None:
        session_id = turn.session_id or session_id
        added = db.execute(
            "INSERT INTO conversation (owner, conversation_id, own_name, session_id, turns, updated_at) "
            "VALUES (?, ?, ?, ?, 1, ?)",
            (owner, turn.conversation_id, turn.own_name, session_id, now),
        )
        assert added.lastrowid is not None
        return Place(added.lastrowid, 1), session_id
    number, turns, newest = found
    db.execute(
        "UPDATE conversation SET turns = turns + 1, session_id = ?, updated_at = ? WHERE id = ?",
        (turn.session_id or newest, now, number),
    )
    return Place(number, turns + 1), turn.session_id or newest
