"""How rows of another file become rows of this one: written as incoming, admitted in one step, or turned away."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Final

from .entries import DEAD, HELD, WAITING, Entry
from .row_table import MEMORY

if TYPE_CHECKING:
    from .row_store import RowStore
    from .sealing import Sealing


class AdoptionTarget:
    """Where the rows of an orphan go. Only for `adoption`: an adopted file is taken in, and then admitted as a whole.

    Thread-safe: each step holds the outbox's ``lock``. Which ``row_store`` is asked each
    time, as a closed outbox begins anew.
    """

    def __init__(self, row_store: Callable[[], RowStore], lock: RLock, sealing: Sealing) -> None:
        self._row_store = row_store
        self._lock = lock
        self.sealing: Final = sealing
        """How rows are opened, and sealed again."""

    @property
    def folders(self) -> list[Path]:
        """Where orphans may be."""
        return self._row_store().storage.folders

    @property
    def has_room(self) -> bool:
        """True if an orphan may be taken over: its rows are on this disk already, so the cap is not exact here."""
        row_store = self._row_store()
        in_memory = row_store.storage.table is not None and row_store.storage.table.path == MEMORY
        return not in_memory and row_store.counts.rows <= row_store.max_rows // 2

    def take_in(self, entries: Sequence[Entry]) -> int | None:
        """Write rows of an orphan, which nobody sees before `admit`; how many are new, None if there is no room.

        Memory is no place for them: on their disk they survive us.
        """
        with self._lock:
            row_store = self._row_store()
            table = row_store.storage.table or row_store.storage.open()
            if table.path == MEMORY:
                return None
            return row_store.insert([entry.arriving() for entry in entries]) if entries else 0

    def admit(self, expected: int, confirmed: Mapping[int, int]) -> bool:
        """Let so many incoming rows wait from now on, on disk; False if some are missing, or the disk fails.

        ``confirmed`` are the turns that the platform is known to have of their conversations.
        """
        with self._lock:
            row_store = self._row_store()
            if not _admitted(row_store, expected, confirmed):
                return False
            file = row_store.storage.file
        try:
            if file is not None and expected:
                file.sync()  # the orphan's file is, too, and will be deleted
        except OSError as error:
            with self._lock:
                if row_store.storage.file is file:
                    row_store.move_out(sqlite3.OperationalError(str(error)))
            return False
        return True

    def turn_away(self) -> None:
        """Delete what was taken in and not admitted: its file still has it. On a full disk that may have to wait until
        the next time.
        """
        with self._lock:
            row_store = self._row_store()
            if row_store.storage.table is not None:
                try:
                    row_store.storage.table.turn_away()
                except sqlite3.Error as error:
                    row_store.failed(error)


def _admitted(row_store: RowStore, expected: int, confirmed: Mapping[int, int]) -> bool:
    """What was taken in waits from now on, all of it; False if it is not complete, or cannot be written."""
    row_store.begin_counting()
    found = None
    try:
        found = None if row_store.storage.table is None else row_store.storage.table.admit(expected, confirmed)
    except sqlite3.Error as error:
        row_store.failed(error)
    if found is not None:
        waiting = found.get(WAITING, (0, 0))
        row_store.counts.adopted += expected
        row_store.counts.rows += waiting[0]
        row_store.counts.octets += waiting[1]
        row_store.dead_letters.count(*found.get(DEAD, (0, 0)))
        row_store.dead_letters.count_held(found.get(HELD, (0, 0))[0])
        row_store.cursor.restart()
        row_store.dirty = True
    row_store.end_counting()
    return found is not None
