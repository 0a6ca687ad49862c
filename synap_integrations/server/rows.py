"""Rows of the store as records, and back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .records import Owner, Place, PushedBundle, Turn, moment

WHOSE: Final = "(SELECT id FROM owner WHERE customer_id = ? AND user_id = ?)"
"""The owner's number, inside the statement that reads what is theirs."""

TURN: Final = """
    SELECT owner.customer_id, owner.user_id, conversation.conversation_id, conversation.own_name, turn.position,
           turn.message_id, turn.event_id, turn.session_id, turn.role, turn.speaker, turn.content, turn.metadata,
           turn.said_at, turn.recorded_at, turn.conversation
    FROM turn
    JOIN conversation ON conversation.id = turn.conversation
    JOIN owner ON owner.id = turn.owner
"""
BUNDLE: Final = """
    SELECT bundle_id, kind, pattern, decision_id, owner.customer_id, owner.user_id, conversation_id, queries, items,
           pushed_at, used_at, used_items
    FROM bundle JOIN owner ON owner.id = bundle.owner
"""


def turn_of(row: Sequence[Any]) -> Turn:
    """The turn in a row of `TURN`."""
    return Turn(
        owner=Owner(row[0], row[1]),
        conversation_id=row[2],
        own_name=row[3],
        position=row[4],
        message_id=row[5],
        event_id=row[6],
        session_id=row[7],
        role=row[8],
        speaker=row[9],
        content=row[10],
        metadata=json.loads(row[11]),
        said_at=moment(row[12]),
        recorded_at=moment(row[13]),
    )


def place_of(row: Sequence[Any]) -> Place:
    """Where the turn in a row of `TURN` stands."""
    return Place(row[14], row[4])


def bundle_of(row: Sequence[Any]) -> PushedBundle:
    """The bundle in a row of `BUNDLE`."""
    return PushedBundle(
        bundle_id=row[0],
        kind=row[1],
        pattern=row[2],
        decision_id=row[3],
        owner=Owner(row[4], row[5]),
        conversation_id=row[6],
        queries=tuple(json.loads(row[7])),
        item_ids=tuple(json.loads(row[8])),
        pushed_at=moment(row[9]),
        used_at=None if row[10] is None else moment(row[10]),
        used_item_ids=tuple(json.loads(row[11])),
    )


def owner_number(db: sqlite3.Connection, owner: Owner) -> int:
    """The owner's number; made, if they are new. Inside a transaction."""
    found = db.execute("SELECT id FROM owner WHERE customer_id = ? AND user_id = ?", owner).fetchone()
    number: int | None = found[0] if found else None
    if number is None:
        number = db.execute("INSERT INTO owner (customer_id, user_id) VALUES (?, ?)", owner).lastrowid
    assert number is not None
    return number


def json_text(value: Mapping[str, object] | Sequence[object]) -> str:
    """JSON as it is stored; letters stay letters."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
