"""Orphans: files whose process ended before everything in them was delivered."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from .erasure import Tombstone, lift, tombstones
from .ledger import READABLE, SCHEMA_VERSION, Entry, Ledger
from .places import Place, outbox_files, sweep

_log = logging.getLogger(__name__)

_CHUNK: Final = 256
_UNREADABLE: Final = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What SQLite raises over a damaged file; its message may quote the damage, which is no text then."""


class Home(Protocol):
    """Where the rows of an orphan go."""

    @property
    def folders(self) -> list[Path]:
        """Where orphans may be."""
        ...

    @property
    def has_room(self) -> bool:
        """True if there is room for another file's rows."""
        ...

    def make_way(self, rows: int) -> int:
        """The first of ``rows`` places in the order, before everything that is there."""
        ...

    def take_in(self, entries: list[Entry]) -> bool:
        """Keep them; False if the disk has no room."""
        ...


class Adoption:
    """Takes over one orphan after another. Used on one thread at a time."""

    def __init__(self) -> None:
        self._left_alone: Final[set[Path]] = set()
        self.crowded = False
        """A file was left where it is, for want of room."""

    def orphans(self, folders: list[Path]) -> Iterator[Path]:
        """Files that may be orphans, newest first: the oldest is adopted last, so it is first in the order."""
        for folder in folders:
            for path in outbox_files(folder):
                if path not in self._left_alone:
                    yield path

    def adopt_one(self, home: Home) -> bool:
        """Take over the next orphan; False if there is none, or no room for it."""
        self.crowded = False
        for path in self.orphans(home.folders):
            try:
                place = Place.orphan(path)
            except OSError:
                self._left_alone.add(path)
                continue
            if place is not None and not home.has_room:
                self.crowded = True
                place.leave()
                return False
            if place is not None and self._adopt(place, home):
                return True
        for folder in home.folders:
            sweep(folder)
            lift(folder, time.time_ns() // 1_000)
        return False

    def _adopt(self, place: Place, home: Home) -> bool:
        """True if rows were taken over, or the file was put aside."""
        try:
            ledger = Ledger(place.path, salvage=True)
        except _UNREADABLE as error:
            if _is_busy(error):  # somebody looks at it; next time
                place.leave()
                return False
            return _put_aside(place, "it is no database")
        try:
            version = ledger.version
            if version is not None and version > SCHEMA_VERSION:
                _log.warning("synap: %s was written by a newer version and is left alone", place.path)
                self._left_alone.add(place.path)
                ledger.close()
                place.leave()
                return False
            if version not in READABLE:
                ledger.close()
                return _put_aside(place, "it is not an outbox")
        except _UNREADABLE:
            ledger.close()
            return _put_aside(place, "it cannot be read")
        return self._move_in(ledger, place, home)

    def _move_in(self, ledger: Ledger, place: Place, home: Home) -> bool:
        salvage = Salvage(ledger)
        intact = salvage.intact()
        moved = _move(salvage, intact, home, tombstones(place.path.parent))
        missing = salvage.missing(place.mark())
        ledger.close()
        if not moved:  # what was moved is recognised by its id when the rest follows
            self.crowded = True
            place.leave()
            return False
        if salvage.sound and not missing:
            place.discard()
            return bool(intact)
        return _put_aside(place, f"{len(intact)} turns rescued, {len(salvage.damaged)} damaged, {missing} missing")


def _move(salvage: Salvage, seqs: list[int], home: Home, left_out: list[Tombstone]) -> bool:
    """Take the rows over, the last ones first: if we die half way, our file holds the end of the orphan's, so that the
    next adopter, who puts the older file before the newer, has them in order again.
    """
    first = home.make_way(len(seqs))
    for start in reversed(range(0, len(seqs), _CHUNK)):
        chunk = enumerate(salvage.entries(seqs[start : start + _CHUNK]), first + start)
        rows = [entry.at(seq) for seq, entry in chunk if not any(stone.covers(entry.row) for stone in left_out)]
        if not home.take_in(rows):
            return False
    return True


class Salvage:
    """What can be read from a file that may be damaged."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.damaged: set[int] = set()
        try:
            self.sound = ledger.sound()
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
                if entry.intact:
                    yield entry.seq
                else:
                    self.damaged.add(entry.seq)
                    self.sound = False
        except _UNREADABLE:
            self.sound = False

    def entries(self, seqs: list[int]) -> Iterator[Entry]:
        """The rows at these places, one at a time."""
        for seq in seqs:
            try:
                entry = self._ledger.entry(seq)
            except _UNREADABLE:
                entry = None
            if entry is None:
                self.sound = False
            else:
                yield entry

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


def _put_aside(place: Place, why: str) -> bool:
    _log.warning("synap: a file of waiting turns was put aside as %s: %s", place.quarantine(), why)
    return True
