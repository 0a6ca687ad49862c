"""The rows of this process and what became of them: the outbox without its threads."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

from .claim_cursor import ClaimCursor
from .counts import RunningCounts
from .dead_letters import DeadLetters
from .entries import AT_REST, BEFORE_ALL, DEAD, WAITING, Entry
from .erasure import Erased, Ids, concerns
from .row_table import MEMORY, RowTable, is_full
from .rows import Row, UnreadableRowError
from .sealing import Sealing
from .storage import Storage

_log = logging.getLogger(__name__)

_TAKE_BYTES: Final = 1_000_000
_DELETE: Final = 256
_DELETE_ON_FULL_DISK: Final = 16
_ERASE_ATTEMPTS: Final = 4
_SEEN_MS: Final = 24 * 3_600_000


class RowStore:
    """Keeps rows within caps, hands each out once, and counts. Not thread-safe: the owner holds a lock.

    No fault of the disk comes out of here: a file that fails is left for the next place that works.
    """

    def __init__(  # noqa: PLR0913 - settings by name
        self,
        storage: Storage,
        *,
        max_rows: int,
        max_bytes: int,
        max_dead_bytes: int,
        strict_order: bool,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.storage = storage
        self.counts = RunningCounts()
        self.cursor = ClaimCursor()
        self.dead_letters = DeadLetters(
            storage, self.counts, self.cursor, max_bytes=max_dead_bytes, strict_order=strict_order
        )
        self.last_seq = 0
        self.dirty = False
        """Something was written since the file was last brought to disk."""
        self.max_rows, self._max_bytes = max_rows, max_bytes
        self._clock, self._wall = clock, wall
        self._undeleted: set[str] = set()
        self.confirmed: dict[str, int] = {}
        """How many turns the conversations of delivered rows had with them, at the platform."""
        self._counting = False
        """True while figures and file may differ."""
        self.full = False
        """Something was refused since the last delivery."""
        self._memory = os.urandom(9).hex()

    @property
    def origin(self) -> str:
        """A name of the file that says nothing about anybody; each file has its own."""
        file = self.storage.file
        return self._memory if file is None else file.path.stem.rpartition("-")[2]

    # --- in --------------------------------------------------------------------------------------------------

    def keep(self, batch: list[Row]) -> None:
        """Keep what fits, refuse the rest."""
        interrupted = self.begin_counting()
        counts = self.counts
        octets = sum([row.size for row in batch])
        if counts.rows + len(batch) > self.max_rows or counts.octets + octets > self._max_bytes:
            batch, octets = self._refuse_beyond_cap(batch)
            if not batch:
                self.end_counting()
                return
        first = self.last_seq + 1
        kept = self.insert([Entry.of(row, first + offset) for offset, row in enumerate(batch)])
        if kept is None:
            self._refuse(len(batch), "the disk is full")
            self.end_counting()
            return
        self.last_seq += len(batch)
        counts.captured += kept
        counts.repeats += 0 if interrupted else len(batch) - kept
        if kept == len(batch):
            counts.rows += kept
            counts.octets += octets
        else:
            self._measure()
        self.end_counting()

    def begin_counting(self) -> bool:
        """From here to `end_counting` file and figures may differ. True if an interrupt fell there the last time."""
        interrupted, self._counting = self._counting, True
        if interrupted:
            self._recount()
        return interrupted

    def end_counting(self) -> None:
        """The figures say again what is in the file."""
        self._counting = False

    def _recount(self) -> None:
        """An interrupt fell between the file and the figures: the file is right."""
        self._measure()
        if self.storage.table is not None:
            self.last_seq = max(self.last_seq, self.storage.table.last_known())
        counts = self.counts
        settled = counts.delivered + counts.refused + counts.dead_letters + counts.forgotten
        counts.captured = settled + counts.rows - counts.adopted

    def insert(self, entries: Sequence[Entry]) -> int | None:
        """Write them; how many were new, None if there is no room. Moves on to a place that works."""
        storage = self.storage
        while True:
            table = storage.table or storage.open()
            try:
                kept = table.insert(entries)
            except sqlite3.IntegrityError:  # its place in the order is taken: the next adoption has other places
                return None
            except sqlite3.Error as error:
                if is_full(error) or table.path == MEMORY:
                    return None
                self.move_out(error)
            else:
                if storage.file is not None:
                    storage.file.set_mark(max(self.last_seq, entries[-1].seq))
                storage.failures = 0
                storage.wrote(sum([entry.row.size for entry in entries]))
                self.dirty = True
                return kept

    def _refuse_beyond_cap(self, batch: Iterable[Row]) -> tuple[list[Row], int]:
        """The rows that still fit, and their bytes."""
        fitting: list[Row] = []
        rows, octets, refused = self.counts.rows, self.counts.octets, 0
        for row in batch:
            if rows >= self.max_rows or octets + row.size > self._max_bytes:
                refused += 1
            else:
                fitting.append(row)
                rows, octets = rows + 1, octets + row.size
        if refused:
            self._refuse(refused, "the outbox has reached its cap")
        return fitting, octets - self.counts.octets

    def _refuse(self, count: int, why: str) -> None:
        self.counts.captured += count
        self.counts.refused += count
        if not self.full:
            self.full = True
            _log.warning("synap: %s: new turns are not kept until there is room", why)

    # --- out -------------------------------------------------------------------------------------------------

    def take(self, limit: int, skip: frozenset[str]) -> list[Entry]:
        """The next rows, from now on under way; it is on record that they may leave the machine."""
        cursor = self.cursor
        cursor.prepare(skip, self._clock())
        if (table := self.storage.table) is None or cursor.after >= self.last_seq:
            return []
        waiting = self.dead_letters.blocked.union(cursor.delayed)
        try:
            entries, complete = table.take(
                cursor.after, limit, _TAKE_BYTES, waiting=waiting, kinds=skip, under_way=cursor.under_way.values()
            )
        except sqlite3.Error as error:
            self.failed(error)
            return []
        try:
            if entries:
                table.mark_written([entry.seq for entry in entries], self.now_ms())
        except sqlite3.Error as error:
            if not is_full(error):
                self.move_out(error)
                return []
            # On a full disk there is no room for the note, and only delivery can make some.
        cursor.claimed(entries, end=self.last_seq if complete else None)
        return entries

    def settle(self, event_ids: Collection[str] = ()) -> None:
        """Delete what was delivered. On a full disk in small steps, from the reserve, or else at the next call."""
        self._undeleted.update(event_ids)
        at_once, made_room = _DELETE, False
        while self._undeleted and (table := self.storage.table) is not None:
            chosen = list(self._undeleted)[:at_once]
            try:
                confirmed = {event_id: self.confirmed[event_id] for event_id in chosen if event_id in self.confirmed}
                count, octets = table.delete(chosen, self.now_ms() + _SEEN_MS, confirmed)
            except sqlite3.Error as error:
                if is_full(error) and (made_room or not self.storage.make_room()):
                    return
                self.failed(error)
                at_once, made_room = _DELETE_ON_FULL_DISK, True
                continue
            self._undeleted.difference_update(chosen)
            for event_id in confirmed:
                self.confirmed.pop(event_id, None)
            made_room = False
            self.cursor.settled(chosen)
            self.counts.delivered += count
            self.counts.rows -= count
            self.counts.octets -= octets
            self.full = False
            self.dirty = True

    def put_back(self, event_ids: Collection[str], wait_s: float, reason: str) -> None:
        """They wait again, for at least ``wait_s`` seconds, and their conversations with them."""
        self.cursor.put_back(event_ids)
        if wait_s > 0 and (table := self.storage.table) is not None:
            try:
                self.cursor.delay(table.conversations_of(event_ids), self._clock() + wait_s)
                table.postpone(event_ids, self.now_ms() + int(wait_s * 1000), reason)
            except sqlite3.Error as error:
                self.failed(error)

    def bury(self, event_id: str, reason: str, seq: int | None = None, *, state: int = DEAD) -> None:
        """Make it a dead letter, or hold it; an unknown one is ignored."""
        try:
            self.dead_letters.bury(event_id, reason, seq, state)
        except sqlite3.Error as error:
            self.failed(error)

    def erase(self, ids: Ids, sealing: Sealing) -> tuple[list[str], Erased]:
        """Delete everything of these ids, waiting or dead, from file and log; returns the event ids too.

        What a failing disk does not let go of is in the receipt.
        """
        event_ids: list[str] = []
        erased, at_once = Erased(), _DELETE
        for _ in range(_ERASE_ATTEMPTS):
            if (table := self.storage.table) is None:
                return event_ids, erased
            try:
                rows = self._named(table, ids, sealing)
                erased = replace(erased, not_deleted=len(rows))
                for start in range(0, len(rows), at_once):
                    chunk = rows[start : start + at_once]
                    table.remove([row[:2] for row in chunk], self.now_ms() + _SEEN_MS)
                    event_ids += [row[0] for row in chunk]
                    erased = self._without(chunk, erased)
                if event_ids:
                    table.checkpoint(truncate=True)
            except sqlite3.Error as error:
                self.failed(error)
                at_once = _DELETE_ON_FULL_DISK
                if is_full(error) and not self.storage.make_room():
                    break
            else:
                break
        return event_ids, erased

    def _named(self, table: RowTable, ids: Ids, sealing: Sealing) -> list[tuple[str, int, int, int]]:
        """Event id, place in the order, state and bytes of each row of these ids."""
        return table.named(ids) + [
            (entry.row.event_id, entry.seq, entry.state, entry.row.size)
            for entry in table.sealed()
            if _concerns(ids, entry, sealing)
        ]

    def _without(self, rows: Sequence[tuple[str, int, int, int]], erased: Erased) -> Erased:
        """These are gone from the file: put that into the figures; the receipt with them."""
        event_ids = [row[0] for row in rows]
        waiting, dead = [row for row in rows if row[2] == WAITING], [row[2:] for row in rows if row[2] in AT_REST]
        under_way = sum(row[0] in self.cursor.under_way for row in waiting)
        self.cursor.settled(event_ids)
        self._undeleted.difference_update(event_ids)
        self.counts.rows -= len(waiting)
        self.counts.octets -= sum(row[3] for row in waiting)
        self.dead_letters.erased(dead)
        self.counts.forgotten += len(waiting) + len(dead)
        return replace(
            erased,
            waiting=erased.waiting + len(waiting),
            dead_letters=erased.dead_letters + len(dead),
            under_way=erased.under_way + under_way,
            not_deleted=erased.not_deleted - len(rows),
        )

    # --- the place -------------------------------------------------------------------------------------------

    @property
    def empty(self) -> bool:
        """True if the file holds nothing that anybody could still want."""
        return not self.counts.rows and self.counts.dead_letters == self.counts.evicted

    @property
    def roomy(self) -> bool:
        """True while what waits takes less than a quarter of the cap."""
        return self.counts.rows < self.max_rows // 4 and self.counts.octets < self._max_bytes // 4

    def first_waiting(self) -> int | None:
        """The first place in the order that waits."""
        try:
            return None if self.storage.table is None else self.storage.table.first_waiting()
        except sqlite3.Error as error:
            self.failed(error)
            return BEFORE_ALL if self.counts.rows else None

    def shorten_log(self) -> None:
        """Move a log into the file that nobody has looked after."""
        try:
            self.storage.shorten_log()
        except sqlite3.Error as error:
            self.failed(error)

    def move_out(self, error: Exception) -> None:
        """Leave a file that failed. What cannot be read from it any more stays there, and counts as dead."""
        _log.warning("synap: the file of waiting turns failed: %s", error)
        self.storage.failures += 1
        self.move(quarantine=True)

    def move(self, *, quarantine: bool) -> None:
        """Take the rows to the next place that works."""
        before = self.counts.rows
        self.storage.move(quarantine=quarantine)
        self._measure()
        self.counts.dead_letters += before - self.counts.rows

    def failed(self, error: sqlite3.Error) -> None:
        """Leave the file, unless it is only the disk that is full."""
        if not is_full(error):
            self.move_out(error)

    def _measure(self) -> None:
        if self.storage.table is not None:
            self.counts.rows, self.counts.octets = self.storage.table.size()

    def now_ms(self) -> int:
        """Wall time, for notes in the file: no decision rests on it."""
        return int(self._wall() * 1000)


def _concerns(ids: Ids, entry: Entry, sealing: Sealing) -> bool:
    try:
        return concerns(ids, sealing.opened(entry.row))
    except UnreadableRowError:
        return False
