"""The outbox on disk: what `SqliteOutbox.append` returned from, a killed process does not lose.

``append`` runs on the application's thread, because handing a row to another thread costs more than writing it. Threads
that write at once share a commit: each puts its row into a queue, and whoever gets the lock writes what is queued.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from synap_integrations.model import Envelope, Scope

from . import forks, rows
from .adoption import Adoption
from .counts import Counts
from .entries import HELD, Entry
from .erasure import Erased, Tombstone, ids_of, write_tombstone
from .files import outbox_files
from .possible_duplicates import confirmed_of, with_earlier
from .row_store import RowStore
from .row_table import is_full
from .rows import Row, UnreadableRowError
from .sealing import Sealing
from .storage import Storage
from .takeover import AdoptionTarget

_GROUP: Final = 256
_SLOW_COMMIT_S: Final = 1.0
_SLOW_FOR_S: Final = 5.0
_FORK_WAIT_S: Final = 5.0


class SqliteOutbox:
    """Waiting envelopes in one SQLite file of this process. Thread-safe, fork-safe; construction does no I/O.

    ``folder`` holds the files of all processes; None keeps everything in memory. ``capture_wait_s`` is the longest that
    `append` waits for another thread's commit. ``durability`` ``"process"`` survives the death of the process,
    ``"power"`` also that of the machine. Beyond ``max_rows`` or ``max_bytes`` new envelopes are refused and counted;
    beyond ``max_dead_bytes`` the oldest dead letters make room. With ``strict_order`` what follows a dead letter, or a
    turn that is held, waits with its conversation. ``sealing`` says with which key rows are encrypted, if
    with any. ``clock`` and ``wall`` give monotonic and wall time.
    """

    def __init__(  # noqa: PLR0913 - settings by name
        self,
        folder: Path | None,
        *,
        capture_wait_s: float = 0.025,
        durability: str = "process",
        max_rows: int = 200_000,
        max_bytes: int = 256_000_000,
        max_dead_bytes: int = 32_000_000,
        strict_order: bool = False,
        sealing: Sealing | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.sealing = sealing or Sealing()
        self._wait_s = capture_wait_s
        self._clock = clock
        self.strict_order = strict_order
        self._max_rows = max_rows

        def afresh() -> RowStore:
            return RowStore(
                Storage(folder, durability=durability, clock=clock),
                max_rows=max_rows,
                max_bytes=max_bytes,
                max_dead_bytes=max_dead_bytes,
                strict_order=strict_order,
                clock=clock,
                wall=wall,
            )

        self._new_row_store = afresh
        self._start_empty()
        forks.watch(self)

    def _start_empty(self) -> None:
        self._row_store = self._new_row_store()
        self._closed = False
        self._queue: deque[Row] = deque()
        self.appended = 0
        """Changes with each `append`: somebody who reads it twice knows whether the application is capturing."""
        self.overdue = False
        """So much was written that `maintain` should not wait for its time."""
        self._slow_until = 0.0
        self._commit_began: float | None = None
        self._turned_away = 0
        self._counting_away = threading.RLock()
        self._lock = threading.RLock()
        self._owned: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined] # noqa: SLF001 - an RLock tells it nowhere else
        self._adoption = Adoption()
        self._adopting = threading.RLock()

    # --- capture ---------------------------------------------------------------------------------------------

    def append(self, envelope: Envelope) -> None:
        """Keep the envelope: when this returns, a killed process does not lose it.

        Exceptions to that are counted: refused (no room), or pending (the disk, or another thread's commit, takes
        longer than ``capture_wait_s``; whoever holds the lock commits it). Never raises for a fault of the disk.
        """
        if len(self._queue) >= self._max_rows:  # the disk hangs, and that for long
            with self._counting_away:
                self._turned_away += 1
            return
        self._queue.append(self.sealing.sealed(rows.encode(envelope)))
        self.appended += 1
        if self._owned():
            return  # a signal handler or a finalizer inside our own commit, which will find the row
        if self._slow_until and self._clock() < self._slow_until:
            return  # the delivery thread commits it
        if (began := self._commit_began) is not None and self._clock() - began > _SLOW_COMMIT_S:
            return  # whoever is in that commit finds the row
        try:
            if self._lock.acquire(timeout=self._wait_s):
                self._commit_queue()
        finally:
            # Asking who owns the lock is right wherever an interrupt fell; remembering it in a variable is not.
            if self._owned():
                self._lock.release()

    def _commit_queue(self) -> None:
        """Write what is queued. A row leaves the queue when it is in the file, whatever interrupts this."""
        queue = self._queue
        if queue and self._closed:
            self._row_store, self._closed = self._new_row_store(), False
        while queue:
            batch = [queue[place] for place in range(min(len(queue), _GROUP))]
            self._commit_began = began = self._clock()
            try:
                self._row_store.keep(batch)
            finally:
                self._commit_began = None
            for _ in batch:
                queue.popleft()
            ended = self._clock()
            self._slow_until = ended + _SLOW_FOR_S if ended - began > _SLOW_COMMIT_S else 0.0
            if self._row_store.storage.overdue:
                self.overdue = True
                self._row_store.shorten_log()

    # --- delivery --------------------------------------------------------------------------------------------

    def claim(self, limit: int, *, skip: Collection[str] = ()) -> list[Envelope]:
        """The next waiting envelopes in order of capture; a claimed one is not claimed again until released.

        At most ``limit``, and about 1 MB. Envelopes of a conversation that was released with a wait, and events whose
        class is named in ``skip``, stay where they are. It is on record before this returns that the claimed ones may
        leave the machine.
        """
        with self._lock:
            self._commit_queue()
            entries = self._row_store.take(limit, frozenset(skip))
            origin, confirmed = self._row_store.origin, confirmed_of(self._row_store.storage.table, entries)
        claimed: list[tuple[Entry, Envelope]] = []
        for entry in entries:
            try:
                envelope = rows.decode(self.sealing.opened(entry.checked()))
                claimed.append((entry, replace(envelope, place=(origin, entry.seq))))
            except UnreadableRowError as error:
                with self._lock:
                    self._row_store.bury(entry.row.event_id, str(error), entry.seq)
        return with_earlier(claimed, confirmed)

    def acknowledge(self, event_ids: Collection[str]) -> None:
        """Delivered: forget them. Unknown ids are ignored."""
        with self._lock:
            self._row_store.settle(event_ids)

    def confirm(self, event_id: str, turns: int) -> None:
        """The platform has it, and its conversation now has so many turns there; `acknowledge` follows."""
        with self._lock:
            self._row_store.confirmed[event_id] = turns

    def release(self, event_ids: Collection[str], *, retry_after_s: float, reason: str = "") -> None:
        """Not delivered: they may be claimed again after ``retry_after_s`` seconds.

        A wait keeps the whole conversation back, so that it stays in order, and counts as an attempt.
        """
        with self._lock:
            self._row_store.put_back(event_ids, retry_after_s, reason)

    def bury(self, event_id: str, reason: str) -> None:
        """Refused for good: keep it as a dead letter."""
        with self._lock:
            self._row_store.bury(event_id, self.sealing.discreet(reason))

    def hold(self, event_id: str, reason: str) -> None:
        """Nobody knows whether it arrived: keep it for somebody to decide."""
        with self._lock:
            self._row_store.bury(event_id, self.sealing.discreet(reason), state=HELD)

    def put_all_back(self) -> None:
        """Nothing is under way: whoever claimed it is gone."""
        with self._lock:
            self._row_store.cursor.put_back(list(self._row_store.cursor.under_way))

    def next_due_s(self) -> float | None:
        """Seconds until a conversation that was released with a wait may be claimed again; None if there is none."""
        with self._lock:
            delayed = self._row_store.cursor.delayed
            return max(0.0, min(delayed.values()) - self._clock()) if delayed else None

    def expedite(self) -> None:
        """End all waits: somebody is waiting for delivery."""
        with self._lock:
            delayed = self._row_store.cursor.delayed
            delayed.update(dict.fromkeys(delayed, self._clock()))

    def mark(self) -> int:
        """A place in the order after everything that was appended so far."""
        with self._lock:
            self._commit_queue()
            return self._row_store.last_seq

    def passed(self, mark: int) -> bool:
        """True if nothing that was appended before the mark, or adopted, waits any more."""
        with self._lock:
            self._commit_queue()
            first = self._row_store.first_waiting()
            return first is None or first > mark

    @property
    def roomy(self) -> bool:
        """True while what waits is far from filling it."""
        return self._row_store.roomy

    # --- what earlier processes left -------------------------------------------------------------------------

    def adopt(self) -> bool:
        """Take over what processes that ended had not delivered; False if there is nothing that can be taken over now.

        Its envelopes go before our own. On the delivery thread, every now and then.
        """
        with self._adopting:
            return self._adoption.adopt(AdoptionTarget(lambda: self._row_store, self._lock, self.sealing))

    def has_orphans(self) -> bool:
        """True if there may be something to adopt; a look at the folders only."""
        file = self._row_store.storage.file
        own = None if file is None else file.path
        return any(path != own for path in self._adoption.orphans(self.folders))

    @property
    def crowded(self) -> bool:
        """True if a file could not be adopted yet, for want of room."""
        return self._adoption.crowded

    @property
    def folders(self) -> list[Path]:
        """Where files of this outbox may be."""
        return self._row_store.storage.folders

    # --- forgetting ------------------------------------------------------------------------------------------

    def forget(self, scope: Scope) -> tuple[list[str], Erased]:
        """Delete what waits, and the dead letters, of the ids that the scope names; returns the event ids too.

        Files of dead processes are included; those of living ones cannot be opened, and get a tombstone. Not for the
        thread that delivers. Raises: OSError, if a tombstone cannot be written.
        """
        while self.adopt():
            pass
        ids = ids_of(scope)
        with self._lock:
            self._commit_queue()
            event_ids, erased = self._row_store.erase(ids, self.sealing)
        if self._row_store.storage.folder is None:
            return event_ids, erased
        in_use = aside = locked = 0
        file = self._row_store.storage.file
        for folder in self.folders:
            files = [path for path in outbox_files(folder) if file is None or path != file.path]
            if files:
                write_tombstone(folder, Tombstone.of(ids, (self._row_store.now_ms() + 1) * 1_000))
            locked += len(self._adoption.locked.keys() & set(files))
            in_use += len(files)
            aside += len(list(folder.glob("*.corrupt")))
        return event_ids, replace(erased, files_in_use=in_use - locked, files_locked=locked, files_put_aside=aside)

    # --- upkeep and the end ----------------------------------------------------------------------------------

    def maintain(self) -> bool:
        """Bring what was written to disk, tidy up, retry what failed; True if there was anything to do.

        On the delivery thread, about once a second while something happens.
        """
        with self._lock:
            row_store = self._row_store
            self._commit_queue()
            row_store.settle()
            if row_store.storage.misplaced:
                row_store.move(quarantine=False)
            file, dirty = row_store.storage.file, row_store.dirty or row_store.full
            row_store.dirty = self.overdue = False
        if file is None or not (dirty or file.log_bytes()):
            return dirty
        try:
            file.sync()  # without the lock: capture goes on
            with self._lock:
                row_store.storage.upkeep(row_store.now_ms(), idle=not dirty or not row_store.counts.rows)
        except (sqlite3.Error, OSError) as error:
            with self._lock:
                if not is_full(error) and row_store.storage.file is file:
                    row_store.move_out(error)
        return True

    def counts(self) -> Counts:
        """What became of what was captured."""
        locked = self._lock.acquire(timeout=1.0)
        try:
            found = self._row_store.counts.snapshot(len(self._queue), sum(self._adoption.locked.values()))
            away = self._turned_away
            return replace(found, captured=found.captured + away, refused=found.refused + away) if away else found
        finally:
            if locked:
                self._lock.release()

    @property
    def where(self) -> str:
        """The file, for people."""
        return self._row_store.storage.where

    @property
    def kept_on(self) -> str:
        """The kind of file system that the file is on, for people, and what that means for what waits."""
        return self._row_store.storage.kept_on

    def close(self) -> None:
        """Let go of the file; what waits stays in it for the next start.

        The figures stay as they are; a later ``append`` begins anew, with another file and figures from zero.
        """
        with self._lock:
            self._commit_queue()
            self._row_store.settle()
            self._row_store.storage.close(empty=self._row_store.empty)
            self._closed = True

    def before_fork(self) -> None:
        """Wait until nobody is inside SQLite: its own locks would stay locked in the child."""
        self._adopting.acquire(timeout=_FORK_WAIT_S)
        self._lock.acquire(timeout=_FORK_WAIT_S)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        for lock in (self._lock, self._adopting):
            with suppress(RuntimeError):  # it could not be had in time, or this outbox is younger than the fork
                lock.release()

    def after_fork_in_child(self) -> None:
        """Start empty: rows and file are the parent's."""
        self._row_store.storage.forget()
        self._start_empty()
