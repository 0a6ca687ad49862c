"""Rows that are not sent unless somebody says so: refused for good, damaged, or of an outcome that nobody knows."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from .claim_cursor import ClaimCursor
from .counts import RunningCounts
from .entries import DEAD, HELD
from .storage import Storage


class DeadLetters:
    """Keeps dead letters within a cap, and counts them. Not thread-safe: the owner holds a lock.

    Beyond ``max_bytes`` the oldest make room. In ``strict_order`` what follows one in its conversation waits.
    """

    def __init__(
        self, storage: Storage, counts: RunningCounts, cursor: ClaimCursor, *, max_bytes: int, strict_order: bool
    ) -> None:
        self._storage = storage
        self._counts = counts
        self._cursor = cursor
        self._max_bytes = max_bytes
        self.strict_order = strict_order
        self.blocked: frozenset[int] = frozenset()
        """Conversations that wait behind one."""

    def bury(self, event_id: str, reason: str, seq: int | None, state: int) -> None:
        """Make it a dead letter, or hold it; an unknown one is ignored. Raises: sqlite3.Error."""
        if (table := self._storage.table) is None:
            return
        seq = table.seq_of(event_id) if seq is None else seq
        octets = 0 if seq is None else table.bury(seq, reason, state)
        self._cursor.settled([event_id])
        if octets:
            self._counts.rows -= 1
            self._counts.octets -= octets
            if state == HELD:
                self.count_held(1)
            else:
                self.count(1, octets)

    def count(self, rows: int, octets: int) -> None:
        """So many more were refused for good; the oldest go if they are too many."""
        counts = self._counts
        counts.dead_letters += rows
        counts.dead_octets += octets
        if (excess := counts.dead_octets - self._max_bytes) > 0 and (table := self._storage.table) is not None:
            with suppress(sqlite3.Error):
                evicted, freed = table.evict(excess)
                counts.evicted += evicted
                counts.dead_octets -= freed
        self.find_blocked()

    def count_held(self, rows: int) -> None:
        """So many more are held: nobody knows whether they arrived."""
        self._counts.dead_letters += rows
        self._counts.held += rows
        self.find_blocked()

    def erased(self, sizes: list[tuple[int, int]]) -> None:
        """These are gone: state and bytes of each."""
        counts = self._counts
        counts.dead_letters -= len(sizes)
        counts.held -= sum(state == HELD for state, _ in sizes)
        counts.dead_octets -= sum(octets for state, octets in sizes if state == DEAD)
        self.find_blocked()

    def find_blocked(self) -> None:
        """In strict order, what follows a dead letter in its conversation waits until that is dealt with."""
        if self.strict_order and (table := self._storage.table) is not None:
            with suppress(sqlite3.Error):
                before, self.blocked = self.blocked, table.blocked()
                if before - self.blocked:
                    self._cursor.restart()
