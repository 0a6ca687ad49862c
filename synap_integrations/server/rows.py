"""Rows of the store as records, and back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .records import Item, Owner, Place, PushedBundle, Span, Turn, microseconds, moment

IDS_ONLY: Final = """
    UPDATE bundle SET items = (
        SELECT json_group_array(CASE type WHEN 'object' THEN json_extract(value, '$.id') ELSE value END)
        FROM json_each(bundle.items)
    )
"""
"""Forgets what bundles said and keeps which items they held; for which bundles, the caller adds."""


def turn_of(row: Sequence[Any]) -> Turn:
    """The turn in a row of ``owned_turn``."""
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
        metadata={} if row[11] == "{}" else json.loads(row[11]),
        said_at=moment(row[12]),
        recorded_at=moment(row[13]),
    )


def place_of(row: Sequence[Any]) -> Place:
    """Where the turn in a row of ``owned_turn`` stands."""
    return Place(row[14], row[4])


def bundle_of(row: Sequence[Any]) -> PushedBundle:
    """The bundle in a row of ``owned_bundle``."""
    return PushedBundle(
        owner=Owner(row[0], row[1]),
        bundle_id=row[2],
        kind=row[3],
        pattern=row[4],
        decision_id=row[5],
        conversation_id=row[6],
        queries=tuple(json.loads(row[7])),
        item_ids=tuple(item_ids_of(row[8])),
        pushed_at=moment(row[9]),
        used_at=None if row[10] is None else moment(row[10]),
        used_item_ids=tuple(json.loads(row[11])),
        items=items_of(row[8]),
    )


def items_json(items: Sequence[Item]) -> str:
    """Items as a bundle keeps them."""
    return json_text(
        [
            {
                "id": item.item_id,
                "content": item.content,
                "relevance": item.relevance,
                "said_at": microseconds(item.said_at),
                "recorded_at": microseconds(item.recorded_at),
                "kind": item.kind,
                "when": [microseconds(at) for at in item.when] if item.when else None,
            }
            for item in items
        ]
    )


def items_of(stored: str) -> tuple[Item, ...]:
    """The items that a bundle keeps in full."""
    return tuple(
        Item(
            item_id=held["id"],
            content=held["content"],
            relevance=held["relevance"],
            said_at=moment(held["said_at"]),
            recorded_at=moment(held["recorded_at"]),
            kind=held.get("kind", "episodes"),
            when=Span(*map(moment, held["when"])) if held.get("when") else None,
        )
        for held in json.loads(stored)
        if isinstance(held, dict)
    )


def item_ids_of(stored: str) -> list[str]:
    """The ids of the items that a bundle held, in full or not."""
    return [held["id"] if isinstance(held, dict) else held for held in json.loads(stored)]


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
