"""The rows of this process and what became of them: the outbox without its threads."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from .counts import Tally
from .entries import AT_REST, BEFORE_ALL, DEAD, HELD, WAITING, Entry
from .erasure import Erased, Ids, concerns
from .ledger import MEMORY, is_full
from .rows import Row, UnreadableRowError
from .sealing import Sealing
from .storage import Storage
from .turnstile import Turnstile

_log = logging.getLogger(__name__)

_TAKE_BYTES: Final = 1_000_000
_DELETE: Final = 256
_DELETE_ON_FULL_DISK: Final = 16
_SEEN_MS: Final = 24 * 3_600_000


class Shelf:
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
        self.tally = Tally()
        self.turnstile = Turnstile()
        self.last_seq = 0
        self.dirty = False
        """Something was written since the file was last brought to disk."""
        self._max_rows, self._max_bytes, self._max_dead_bytes = max_rows, max_bytes, max_dead_bytes
        self._clock, self._wall = clock, wall
        self._strict_order = strict_order
        self._blocked: frozenset[int] = frozenset()
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
        place = self.storage.place
        return self._memory if place is None else place.path.stem.rpartition("-")[2]

    # --- in --------------------------------------------------------------------------------------------------

    def keep(self, batch: list[Row]) -> None:
        """Keep what fits, refuse the rest."""
        interrupted, self._counting = self._counting, True
        if interrupted:
            self._recount()
        tally = self.tally
        octets = sum([row.size for row in batch])
        if tally.rows + len(batch) > self._max_rows or tally.octets + octets > self._max_bytes:
            batch, octets = self._refuse_beyond_cap(batch)
            if not batch:
                self._counting = False
                return
        first = self.last_seq + 1
        kept = self._insert([Entry.of(row, first + offset) for offset, row in enumerate(batch)])
        if kept is None:
            self._refuse(len(batch), "the disk is full")
            self._counting = False
            return
        self.last_seq += len(batch)
        tally.captured += kept
        tally.repeats += 0 if interrupted else len(batch) - kept
        if kept == len(batch):
            tally.rows += kept
            tally.octets += octets
        else:
            self._measure()
        self._counting = False

    def _recount(self) -> None:
        """An interrupt fell between the file and the figures: the file is right."""
        self._measure()
        if self.storage.ledger is not None:
            self.last_seq = max(self.last_seq, self.storage.ledger.last_known())
        tally = self.tally
        settled = tally.delivered + tally.refused + tally.dead_letters + tally.forgotten
        tally.captured = settled + tally.rows - tally.adopted

    def take_in(self, entries: Sequence[Entry]) -> int | None:
        """Write rows of an orphan, which nobody sees before `admit`; how many are new, None if there is no room.

        Memory is no place for them: on their disk they survive us.
        """
        ledger = self.storage.ledger or self.storage.open()
        if ledger.path == MEMORY:
            return None
        return self._insert([entry.arriving() for entry in entries]) if entries else 0

    def admit(self, expected: int, confirmed: Mapping[int, int]) -> bool:
        """What was taken in waits from now on, all of it; False if it is not complete, or cannot be written."""
        interrupted, self._counting = self._counting, True
        if interrupted:
            self._recount()
        found = None
        try:
            found = None if self.storage.ledger is None else self.storage.ledger.admit(expected, confirmed)
        except sqlite3.Error as error:
            self._failed(error)
        if found is not None:
            waiting, dead = found.get(WAITING, (0, 0)), found.get(DEAD, (0, 0))
            self.tally.adopted += expected
            self.tally.rows += waiting[0]
            self.tally.octets += waiting[1]
            self._count_dead(*dead)
            self._count_held(found.get(HELD, (0, 0))[0])
            self.turnstile.restart()
            self.dirty = True
        self._counting = False
        return found is not None

    def turn_away(self) -> None:
        """Delete what was taken in and not admitted. On a full disk that may have to wait until the next time."""
        if self.storage.ledger is not None:
            try:
                self.storage.ledger.turn_away()
            except sqlite3.Error as error:
                self._failed(error)

    def _insert(self, entries: Sequence[Entry]) -> int | None:
        """How many were new; None if there is no room. Moves on to a place that works."""
        storage = self.storage
        while True:
            ledger = storage.ledger or storage.open()
            try:
                kept = ledger.insert(entries)
            except sqlite3.IntegrityError:  # its place in the order is taken: the next adoption has other places
                return None
            except sqlite3.Error as error:
                if is_full(error) or ledger.path == MEMORY:
                    return None
                self.move_out(error)
            else:
                if storage.place is not None:
                    storage.place.set_mark(max(self.last_seq, entries[-1].seq))
                storage.failures = 0
                storage.wrote(sum([entry.row.size for entry in entries]))
                self.dirty = True
                return kept

    def _refuse_beyond_cap(self, batch: Iterable[Row]) -> tuple[list[Row], int]:
        """The rows that still fit, and their bytes."""
        fitting: list[Row] = []
        rows, octets, refused = self.tally.rows, self.tally.octets, 0
        for row in batch:
            if rows >= self._max_rows or octets + row.size > self._max_bytes:
                refused += 1
            else:
                fitting.append(row)
                rows, octets = rows + 1, octets + row.size
        if refused:
            self._refuse(refused, "the outbox has reached its cap")
        return fitting, octets - self.tally.octets

    def _refuse(self, count: int, why: str) -> None:
        self.tally.captured += count
        self.tally.refused += count
        if not self.full:
            self.full = True
            _log.warning("synap: %s: new turns are not kept until there is room", why)

    # --- out -------------------------------------------------------------------------------------------------

    def take(self, limit: int, skip: frozenset[str]) -> list[Entry]:
        """The next rows, from now on under way; it is on record that they may leave the machine."""
        turnstile = self.turnstile
        turnstile.prepare(skip, self._clock())
        if (ledger := self.storage.ledger) is None or turnstile.after >= self.last_seq:
            return []
        held = self._blocked.union(turnstile.held)
        try:
            entries, complete = ledger.take(
                turnstile.after, limit, _TAKE_BYTES, held=held, kinds=skip, taken=turnstile.taken.values()
            )
        except sqlite3.Error as error:
            self._failed(error)
            return []
        try:
            if entries:
                ledger.mark_written([entry.seq for entry in entries], self.now_ms())
        except sqlite3.Error as error:
            if not is_full(error):
                self.move_out(error)
                return []
            # On a full disk there is no room for the note, and only delivery can make some.
        turnstile.took(entries, end=self.last_seq if complete else None)
        return entries

    def settle(self, event_ids: Collection[str] = ()) -> None:
        """Delete what was delivered. On a full disk in small steps, from the reserve, or else at the next call."""
        self._undeleted.update(event_ids)
        at_once, made_room = _DELETE, False
        while self._undeleted and (ledger := self.storage.ledger) is not None:
            chosen = list(self._undeleted)[:at_once]
            try:
                confirmed = {event_id: self.confirmed[event_id] for event_id in chosen if event_id in self.confirmed}
                count, octets = ledger.delete(chosen, self.now_ms() + _SEEN_MS, confirmed)
            except sqlite3.Error as error:
                if is_full(error) and (made_room or not self.storage.make_room()):
                    return
                self._failed(error)
                at_once, made_room = _DELETE_ON_FULL_DISK, True
                continue
            self._undeleted.difference_update(chosen)
            for event_id in confirmed:
                self.confirmed.pop(event_id, None)
            made_room = False
            self.turnstile.settled(chosen)
            self.tally.delivered += count
            self.tally.rows -= count
            self.tally.octets -= octets
            self.full = False
            self.dirty = True

    def put_back(self, event_ids: Collection[str], wait_s: float, reason: str) -> None:
        """They wait again, for at least ``wait_s`` seconds, and their conversations with them."""
        self.turnstile.put_back(event_ids)
        if wait_s > 0 and (ledger := self.storage.ledger) is not None:
            try:
                self.turnstile.hold(ledger.conversations_of(event_ids), self._clock() + wait_s)
                ledger.postpone(event_ids, self.now_ms() + int(wait_s * 1000), reason)
            except sqlite3.Error as error:
                self._failed(error)

    def bury(self, event_id: str, reason: str, seq: int | None = None, *, state: int = DEAD) -> None:
        """Make it a dead letter, or hold it; an unknown one is ignored."""
        if (ledger := self.storage.ledger) is None:
            return
        try:
            seq = ledger.seq_of(event_id) if seq is None else seq
            octets = 0 if seq is None else ledger.bury(seq, reason, state)
        except sqlite3.Error as error:
            self._failed(error)
            return
        self.turnstile.settled([event_id])
        if octets:
            self.tally.rows -= 1
            self.tally.octets -= octets
            if state == HELD:
                self._count_held(1)
            else:
                self._count_dead(1, octets)

    def _count_held(self, count: int) -> None:
        self.tally.dead_letters += count
        self.tally.held += count
        self._find_blocked()

    def _find_blocked(self) -> None:
        """In strict order, what follows a dead letter in its conversation waits until that is dealt with."""
        if self._strict_order and (ledger := self.storage.ledger) is not None:
            with suppress(sqlite3.Error):
                before, self._blocked = self._blocked, ledger.blocked()
                if before - self._blocked:
                    self.turnstile.restart()

    def _count_dead(self, count: int, octets: int) -> None:
        tally = self.tally
        tally.dead_letters += count
        tally.dead_octets += octets
        if (excess := tally.dead_octets - self._max_dead_bytes) > 0 and (ledger := self.storage.ledger) is not None:
            with suppress(sqlite3.Error):
                evicted, freed = ledger.evict(excess)
                tally.evicted += evicted
                tally.dead_octets -= freed
        self._find_blocked()

    def erase(self, ids: Ids, sealing: Sealing) -> tuple[list[str], Erased]:
        """Delete everything of these ids, waiting or dead, from file and log; returns the event ids too."""
        if (ledger := self.storage.ledger) is None:
            return [], Erased()
        taken = self.turnstile.taken
        try:
            rows = ledger.named(ids) + [
                (entry.row.event_id, entry.seq, entry.state, entry.row.size)
                for entry in ledger.sealed()
                if _concerns(ids, entry, sealing)
            ]
            waiting = [row for row in rows if row[2] == WAITING]
            under_way = sum(event_id in taken for event_id, *_ in waiting)
            for start in range(0, len(rows), _DELETE):
                ledger.remove([row[:2] for row in rows[start : start + _DELETE]], self.now_ms() + _SEEN_MS)
            if rows:
                ledger.checkpoint(truncate=True)
        except sqlite3.Error as error:
            self._failed(error)
            return [], Erased()
        event_ids = [row[0] for row in rows]
        self.turnstile.settled(event_ids)
        self._undeleted.difference_update(event_ids)
        tally, dead = self.tally, [row for row in rows if row[2] in AT_REST]
        tally.rows -= len(waiting)
        tally.octets -= sum(row[3] for row in waiting)
        tally.dead_letters -= len(dead)
        tally.held -= sum(row[2] == HELD for row in dead)
        tally.dead_octets -= sum(row[3] for row in dead if row[2] == DEAD)
        self._find_blocked()
        tally.forgotten += len(waiting) + len(dead)
        return event_ids, Erased(waiting=len(waiting), dead_letters=len(dead), under_way=under_way)

    # --- the place -------------------------------------------------------------------------------------------

    @property
    def empty(self) -> bool:
        """True if the file holds nothing that anybody could still want."""
        return not self.tally.rows and self.tally.dead_letters == self.tally.evicted

    @property
    def roomy(self) -> bool:
        """True while what waits takes less than a quarter of the cap."""
        return self.tally.rows < self._max_rows // 4 and self.tally.octets < self._max_bytes // 4

    @property
    def has_room(self) -> bool:
        """True if an orphan may be taken over: its rows are on this disk already, so the cap is not exact here."""
        in_memory = self.storage.ledger is not None and self.storage.ledger.path == MEMORY
        return not in_memory and self.tally.rows <= self._max_rows // 2

    def first_waiting(self) -> int | None:
        """The first place in the order that waits."""
        try:
            return None if self.storage.ledger is None else self.storage.ledger.first_waiting()
        except sqlite3.Error as error:
            self._failed(error)
            return BEFORE_ALL if self.tally.rows else None

    def shorten_log(self) -> None:
        """Move a log into the file that nobody has looked after."""
        try:
            self.storage.shorten_log()
        except sqlite3.Error as error:
            self._failed(error)

    def move_out(self, error: Exception) -> None:
        """Leave a file that failed. What cannot be read from it any more stays there, and counts as dead."""
        _log.warning("synap: the file of waiting turns failed: %s", error)
        self.storage.failures += 1
        self.move(quarantine=True)

    def move(self, *, quarantine: bool) -> None:
        """Take the rows to the next place that works."""
        before = self.tally.rows
        self.storage.move(quarantine=quarantine)
        self._measure()
        self.tally.dead_letters += before - self.tally.rows

    def _failed(self, error: sqlite3.Error) -> None:
        if not is_full(error):
            self.move_out(error)

    def _measure(self) -> None:
        if self.storage.ledger is not None:
            self.tally.rows, self.tally.octets = self.storage.ledger.size()

    def now_ms(self) -> int:
        """Wall time, for notes in the file: no decision rests on it."""
        return int(self._wall() * 1000)


def _concerns(ids: Ids, entry: Entry, sealing: Sealing) -> bool:
    try:
        return concerns(ids, sealing.opened(entry.row))
    except UnreadableRowError:
        return False
