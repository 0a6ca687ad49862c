"""How many turns a platform has confirmed of a conversation, kept beside the rows: what is behind them may be ours.

Without it, nobody could tell after the death of a process which turns at the end of a conversation it had sent.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Final

_MOST: Final = 10_000
"""Conversations; beyond it all are forgotten, and a turn in doubt is looked for by its words alone."""


def of_rows(db: sqlite3.Connection, confirmed: Mapping[str, int]) -> dict[int, int]:
    """The counts that came with these events, by conversation."""
    if not confirmed:
        return {}
    query = "SELECT event_id, conv FROM turn WHERE event_id IN (SELECT value FROM json_each(?))"
    found: dict[int, int] = {}
    for event_id, conversation in db.execute(query, (json.dumps(list(confirmed)),)):
        found[conversation] = max(confirmed[event_id], found.get(conversation, 0))
    return found


def keep(db: sqlite3.Connection, confirmed: Mapping[int, int]) -> None:
    """The higher count stands: of a turn that stood lower, it would only be thought that it has not arrived."""
    statement = "INSERT INTO confirmed VALUES (?, ?) ON CONFLICT DO UPDATE SET turns = max(turns, excluded.turns)"
    db.executemany(statement, confirmed.items())


def known(db: sqlite3.Connection) -> dict[int, int]:
    """The counts of all conversations; empty for a file of before they were kept."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'confirmed'").fetchone():
        return {}
    found = db.execute("SELECT conv, turns FROM confirmed")
    return {conv: turns for conv, turns in found if isinstance(conv, int) and isinstance(turns, int)}


def trim(db: sqlite3.Connection) -> None:
    """Keep it small."""
    db.execute("DELETE FROM confirmed WHERE (SELECT count(*) FROM confirmed) > ?", (_MOST,))
