"""What an earlier process may have sent, told to whoever sends it now."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from synap_integrations.model import Earlier, Envelope

from .entries import Entry
from .row_table import RowTable


def with_earlier(claimed: Iterable[tuple[Entry, Envelope]], confirmed: Mapping[int, int]) -> list[Envelope]:
    """The envelopes in their order; those that were written before they were taken over know it, and what follows.

    ``confirmed`` are the turns that the platform had of each conversation, as far as that is known.
    """
    behind: dict[int, list[Envelope]] = defaultdict(list)
    found: list[Envelope] = []
    for entry, envelope in reversed(list(claimed)):
        if (entry.first_write_at or 0) >= 0:
            found.append(envelope)
            continue
        then = behind[entry.row.conversation]
        since = datetime.fromtimestamp(-(entry.first_write_at or 0) / 1_000, UTC)
        found.append(replace(envelope, earlier=Earlier(since, tuple(then), confirmed.get(entry.row.conversation))))
        then.insert(0, envelope)
    return found[::-1]


def confirmed_of(table: RowTable | None, entries: Iterable[Entry]) -> dict[int, int]:
    """What the platform is known to have of conversations, if there is a row that an earlier process may have sent."""
    if table is not None and any((entry.first_write_at or 0) < 0 for entry in entries):
        with suppress(sqlite3.Error):  # then its words tell, or it is sent again
            return table.confirmed()
    return {}
