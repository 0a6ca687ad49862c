"""What people do with outboxes by hand: give dead letters another chance, or drop what waits.

Only files whose process has ended can be opened; the others are named.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from .files import OutboxFile, is_fallback, outbox_files
from .inspect_files import StoredRow, outbox_folders, stored_rows
from .row_table import RowTable
from .schema import READABLE
from .sealing import Sealing

_SEEN_MS: Final = 24 * 3_600_000


@dataclass(slots=True)
class Changes:
    """How many rows were changed, and which files could not be opened."""

    rows: int = 0
    in_use: list[Path] = field(default_factory=list)
    """Files of living processes that hold rows which were meant."""
    unreadable: list[Path] = field(default_factory=list)


def all_stored_rows(root: Path, sealing: Sealing | None = None) -> tuple[list[StoredRow], list[Path]]:
    """The rows of all outbox files, oldest file first, and the files that cannot be read."""
    rows: list[StoredRow] = []
    unreadable: list[Path] = []
    for folder in outbox_folders(root):
        fallback = is_fallback(folder, root)
        for path in reversed(list(outbox_files(folder))):
            try:
                rows += [replace(row, fallback=fallback) for row in stored_rows(path, sealing)]
            except (OSError, sqlite3.Error):
                unreadable.append(path)
    return rows, unreadable


def retry(rows: Iterable[StoredRow]) -> Changes:
    """Let these dead letters wait for delivery again."""
    return _done_to(rows, lambda table, found: table.revive([one.entry.seq for one in found]))


def drop(rows: Iterable[StoredRow]) -> Changes:
    """Delete these rows for good."""

    def drop_in(table: RowTable, found: Sequence[StoredRow]) -> int:
        until_ms = time.time_ns() // 1_000_000 + _SEEN_MS
        table.remove([(one.entry.row.event_id, one.entry.seq) for one in found], until_ms)
        return len(found)

    return _done_to(rows, drop_in)


def _done_to(rows: Iterable[StoredRow], change: Callable[[RowTable, Sequence[StoredRow]], int]) -> Changes:
    by_file: dict[Path, list[StoredRow]] = {}
    for row in rows:
        by_file.setdefault(row.path, []).append(row)
    changes = Changes()
    for path, found in by_file.items():
        try:
            file = OutboxFile.orphan(path)
            if file is None:
                changes.in_use.append(path)
                continue
            try:
                changes.rows += _changed(path, found, change)
            finally:
                file.leave()
        except (OSError, sqlite3.Error):
            changes.unreadable.append(path)
    return changes


def _changed(path: Path, found: Collection[StoredRow], change: Callable[[RowTable, Sequence[StoredRow]], int]) -> int:
    with closing(RowTable(path)) as table:
        if table.version not in READABLE:
            message = "not an outbox of this version"
            raise sqlite3.NotSupportedError(message)
        changed = change(table, list(found))
        table.checkpoint(truncate=True)
        return changed
