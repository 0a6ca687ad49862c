"""What people do with outboxes by hand: give dead letters another chance, or drop what waits.

Only files whose process has ended can be opened; the others are named.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .files import OutboxFile, outbox_files
from .looking import Held, held, outbox_folders
from .row_table import RowTable
from .schema import READABLE
from .sealing import Sealing

_SEEN_MS: Final = 24 * 3_600_000


@dataclass(slots=True)
class Tended:
    """How many rows were changed, and which files could not be opened."""

    rows: int = 0
    in_use: list[Path] = field(default_factory=list)
    """Files of living processes that hold rows which were meant."""
    unreadable: list[Path] = field(default_factory=list)


def everything_held(root: Path, sealing: Sealing | None = None) -> tuple[list[Held], list[Path]]:
    """The rows of all outbox files, oldest file first, and the files that cannot be read."""
    rows: list[Held] = []
    unreadable: list[Path] = []
    for folder in outbox_folders(root):
        for path in reversed(list(outbox_files(folder))):
            try:
                rows += held(path, sealing)
            except (OSError, sqlite3.Error):
                unreadable.append(path)
    return rows, unreadable


def retry(rows: Iterable[Held]) -> Tended:
    """Let these dead letters wait for delivery again."""
    return _tended(rows, lambda table, found: table.revive([one.entry.seq for one in found]))


def drop(rows: Iterable[Held]) -> Tended:
    """Delete these rows for good."""

    def drop_in(table: RowTable, found: Sequence[Held]) -> int:
        until_ms = time.time_ns() // 1_000_000 + _SEEN_MS
        table.remove([(one.entry.row.event_id, one.entry.seq) for one in found], until_ms)
        return len(found)

    return _tended(rows, drop_in)


def _tended(rows: Iterable[Held], change: Callable[[RowTable, Sequence[Held]], int]) -> Tended:
    by_file: dict[Path, list[Held]] = {}
    for row in rows:
        by_file.setdefault(row.path, []).append(row)
    outcome = Tended()
    for path, found in by_file.items():
        try:
            file = OutboxFile.orphan(path)
            if file is None:
                outcome.in_use.append(path)
                continue
            try:
                outcome.rows += _changed(path, found, change)
            finally:
                file.leave()
        except (OSError, sqlite3.Error):
            outcome.unreadable.append(path)
    return outcome


def _changed(path: Path, found: Collection[Held], change: Callable[[RowTable, Sequence[Held]], int]) -> int:
    with closing(RowTable(path)) as table:
        if table.version not in READABLE:
            message = "not an outbox of this version"
            raise sqlite3.NotSupportedError(message)
        changed = change(table, list(found))
        table.checkpoint(truncate=True)
        return changed
