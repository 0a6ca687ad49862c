"""Orphans: files whose process ended before everything in them was delivered.

Whoever adopts takes all of them, alone in the folder, each as a whole: its rows are written as incoming, become part
of the order in one step, and are on the disk before the file is deleted. Wherever a process is killed, nobody can send
a part of a file that somebody else can send, too. See decision 25.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from .entries import BEFORE_ALL, Entry
from .erasure import Tombstone, expire_tombstones, tombstones
from .files import OutboxFile, alone_in, outbox_files, sweep
from .row_table import RowTable
from .rows import UnreadableRowError
from .schema import READABLE, SCHEMA_VERSION
from .sealing import Sealing
from .takeover import AdoptionTarget

_log = logging.getLogger(__name__)

_CHUNK: Final = 256
_FILES: Final = 255
"""Adopted files whose places in the order cannot meet."""
_LATEST_US: Final = 2**53
"""The year 2255: later times stand there, in the order of their file."""
_UNREADABLE: Final = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What SQLite raises over a damaged file; its message may quote the damage, which is no text then."""


class Adoption:
    """Takes over one orphan after another. Used on one thread at a time."""

    def __init__(self) -> None:
        self._files = 0
        self._left_alone: Final[set[Path]] = set()
        self.crowded = False
        """A file was left where it is, for want of room."""
        self.locked: Final[dict[Path, int]] = {}
        """Files that were left where they are, for want of a key, and how many rows are in each."""

    def orphans(self, folders: list[Path]) -> Iterator[Path]:
        """Files that may be orphans, oldest first."""
        for folder in folders:
            for path in reversed(list(outbox_files(folder))):
                if path not in self._left_alone:
                    yield path

    def adopt(self, target: AdoptionTarget) -> bool:
        """Take over all orphans; False if there is none, no room for any, or another process is just doing it.

        One after the other by different processes, they could be delivered by different processes at the same time.
        """
        self.crowded = adopted = False
        for folder in target.folders:
            with alone_in(folder) as alone:
                if alone:
                    adopted = self._adopt_in(folder, target) or adopted
            sweep(folder)
            expire_tombstones(folder, time.time_ns() // 1_000)
        return adopted

    def _adopt_in(self, folder: Path, target: AdoptionTarget) -> bool:
        adopted = False
        for path in self.orphans([folder]):
            try:
                file = OutboxFile.orphan(path)
            except OSError:
                self._left_alone.add(path)
                continue
            if file is None:
                continue
            if not target.has_room:
                self.crowded = True
                file.leave()
                break
            adopted = self._adopt(file, target) or adopted
            if self.crowded:
                break
        return adopted

    def _adopt(self, file: OutboxFile, target: AdoptionTarget) -> bool:
        """True if rows were taken over, or the file was put aside."""
        try:
            table = RowTable(file.path, salvage=True)
        except _UNREADABLE as error:
            if _is_busy(error):  # somebody looks at it; next time
                file.leave()
                return False
            return _put_aside(file, "it is no database")
        try:
            version = table.version
            if version is not None and version > SCHEMA_VERSION:
                _log.warning("synap: %s was written by a newer version and is left alone", file.path)
                self._left_alone.add(file.path)
                table.close()
                file.leave()
                return False
            if version not in READABLE:
                table.close()
                return _put_aside(file, "it is not an outbox")
        except _UNREADABLE:
            table.close()
            return _put_aside(file, "it cannot be read")
        return self._move_in(table, file, target)

    def _move_in(self, table: RowTable, file: OutboxFile, target: AdoptionTarget) -> bool:
        salvage = Salvage(table, target.sealing)
        intact = salvage.intact()
        if salvage.locked:
            table.close()
            self._leave_locked(file, len(intact), salvage.locked)
            return False
        moved = self._move(salvage, intact, target, tombstones(file.path.parent))
        missing = salvage.missing(file.mark())
        table.close()
        if not moved:
            target.turn_away()
            self.crowded = True
            file.leave()
            return False
        if salvage.sound and not missing:
            file.discard()
            return bool(intact)
        rescued = len(set(intact) - salvage.damaged)
        return _put_aside(file, f"{rescued} turns rescued, {len(salvage.damaged)} damaged, {missing} missing")

    def _move(self, salvage: Salvage, seqs: list[int], target: AdoptionTarget, left_out: list[Tombstone]) -> bool:
        """Take the rows over, all of them or none."""
        target.turn_away()  # what an earlier attempt has left
        self._files = self._files % _FILES + 1
        left = (entry for entry in salvage.entries(seqs) if not any(stone.covers(entry.row) for stone in left_out))
        placed = _in_time(left, self._files)
        expected, confirmed = 0, dict[int, int]()
        while chunk := list(islice(placed, _CHUNK)):
            kept = [entry.kept(target.sealing.sealed(entry.row), place) for place, entry in chunk]
            for (_, entry), new in zip(chunk, kept, strict=True):
                if (turns := salvage.confirmed.get(entry.seq)) is not None:
                    confirmed[new.row.conversation] = turns
            if (added := target.take_in(kept)) is None:
                return False
            expected += added
        return not expected or target.admit(expected, confirmed)

    def _leave_locked(self, file: OutboxFile, rows: int, keys: Iterable[str]) -> None:
        """A file whose key nobody gave us: it stays as it is, and is counted."""
        if not self.locked:
            _log.warning(
                "synap: turns wait on disk that are sealed with the key %s, which was not given; they are kept:"
                " name that key in SYNAP_OUTBOX_KEY, after the present one and a comma, and start again",
                ", ".join(sorted(keys)),
            )
        self.locked[file.path] = rows
        self._left_alone.add(file.path)
        file.leave()


def _in_time(entries: Iterable[Entry], file: int) -> Iterator[tuple[int, Entry]]:
    """Each row with the place of its time, and behind the row before it, whatever the clock did.

    So rows of one conversation that lie in several files are in order, whichever file is adopted first, and before our
    own, whose places begin at 1. A ``file`` (from 1) has each 256th place to itself.
    """
    place = BEFORE_ALL
    for entry in entries:
        time_us = min(max(entry.row.captured_at, 0), _LATEST_US)
        place = max(BEFORE_ALL + time_us * (_FILES + 1) + file, place + _FILES + 1)
        yield place, entry


class Salvage:
    """What can be read from a file that may be damaged."""

    def __init__(self, table: RowTable, sealing: Sealing) -> None:
        self._ledger = table
        self._sealing = sealing
        self.damaged: set[int] = set()
        self.locked: set[str] = set()
        """Keys that are needed, and were not given."""
        self.confirmed: dict[int, int] = {}
        """By the place of a row: how many turns the platform had confirmed of its conversation."""
        self._turns: dict[int, int] = {}
        try:
            self.sound = table.sound()
            self._turns = table.confirmed()
        except _UNREADABLE:
            self.sound = False

    def intact(self) -> list[int]:
        """The places of all intact rows. A page that cannot be read is approached from both sides."""
        found = set(self._scan(backwards=False))
        if not self.sound:
            found.update(self._scan(backwards=True))
        return sorted(found)

    def _scan(self, *, backwards: bool) -> Iterator[int]:
        try:
            for entry in self._ledger.entries(backwards=backwards):
                if entry.is_incoming:
                    continue
                if entry.intact:
                    self.locked |= self._sealing.missing(entry.row)
                    yield entry.seq
                else:
                    self.damaged.add(entry.seq)
                    self.sound = False
        except _UNREADABLE:
            self.sound = False

    def entries(self, seqs: list[int]) -> Iterator[Entry]:
        """The rows at these places, one at a time, opened."""
        for seq in seqs:
            try:
                entry = self._ledger.entry(seq)
                if entry is not None and (turns := self._turns.get(entry.row.conversation)) is not None:
                    self.confirmed[seq] = turns
                opened = None if entry is None else entry.kept(self._sealing.opened(entry.row), seq)
            except (*_UNREADABLE, UnreadableRowError):
                opened = None
            if opened is None:
                self.sound = False
                self.damaged.add(seq)
            else:
                yield opened

    def missing(self, mark: int | None) -> int:
        """How many rows were committed, and are not there any more."""
        if mark is None:
            return 0
        try:
            return max(0, mark - max(0, self._ledger.last_known()))
        except (*_UNREADABLE, TypeError, ValueError):  # a number that is none any more
            self.sound = False
            return 0


def _is_busy(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _put_aside(file: OutboxFile, why: str) -> bool:
    _log.warning("synap: a file of waiting turns was put aside as %s: %s", file.quarantine(), why)
    return True
