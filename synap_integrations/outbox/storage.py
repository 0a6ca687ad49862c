"""The file in use, and the way to the next one when it fails: another file, another folder, at last memory."""

from __future__ import annotations

import ctypes
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Final

from .files import OutboxFile, candidates
from .filesystems import PROCESS_MEMORY, FileSystem, filesystem_of
from .row_table import LOG_BYTES, LOG_PAGE_BYTES, MEMORY, RowTable

_log = logging.getLogger(__name__)

_LOG_LIMIT_BYTES: Final = 500_000
"""Smaller than the reserve: on a full disk, what is only in the log must find room in the file."""
_LONG_LOG_BYTES: Final = 32_000_000
"""With so long a log the writer does not wait for upkeep any more. See decision 27."""
_LOOK_BYTES: Final = 1_000_000
_PAGES_OF_A_COMMIT: Final = 3 * LOG_PAGE_BYTES
"""What a commit adds to the log at least: a leaf of the table, of its index, and what leads there."""
_DISK_AGAIN_S: Final = 30.0
_SEEN_ROWS: Final = 200_000
_CHUNK: Final = 256
_warned_of: Final[set[Path]] = set()
"""Folders on a network of which this process has said so."""


class Storage:
    """Where the rows of one process are. Not thread-safe: the owner holds a lock."""

    def __init__(self, folder: Path | None, *, durability: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.table: RowTable | None = None
        self.file: OutboxFile | None = None
        self.failures = 0
        """Files that failed since the last one that worked."""
        self.log_bytes = 0
        """Length of the log when it was last looked at."""
        self._unseen = 0
        self._durability = durability
        self._clock = clock
        self._disk_again_at = 0.0
        self._why = ""
        self._warned = False
        self._filesystem: FileSystem | None = None

    @cached_property
    def folders(self) -> list[Path]:
        """Folders to try, in order; looked up when first needed, since that may touch the disk."""
        return [] if self.folder is None else candidates(self.folder)

    @property
    def where(self) -> str:
        """For people: the file, or why there is none."""
        if self.file is not None:
            return str(self.file.path)
        if self.table is None and self.folder is not None:
            return f"{self.folder} (nothing kept yet)"
        return f"memory{self._why}"

    @property
    def kept_on(self) -> str:
        """For people: what kind of file system the file is on, or will be, and what that means for what waits."""
        if self.folder is None or (self.table is not None and self.file is None):
            return PROCESS_MEMORY
        return str(self._filesystem or filesystem_of(self.folder))

    def open(self) -> RowTable:
        """The table; a new one in the first place that works, if there is none. Never fails: memory is last."""
        if self.table is not None:
            return self.table
        # A second file in the same folder is tried before the next folder: the fault may have been the file's.
        for folder in self.folders[self.failures // 2 :]:
            try:
                self.table, self.file = self._new(folder)
            except (OSError, sqlite3.Error) as error:
                self._why = f" ({folder}: {error})"
                continue
            if folder != self.folders[0]:
                _log.warning("synap: turns are kept in %s%s", self.file.path, self._why)
            self._look_at_filesystem(folder)
            return self.table
        self.table, self.file = RowTable(MEMORY), None
        self.table.create()
        self._disk_again_at = self._clock() + _DISK_AGAIN_S
        if self.folders and not self._warned:
            self._warned = True
            _log.warning("synap: turns are kept in memory only, and lost if this process dies%s", self._why)
        return self.table

    def _look_at_filesystem(self, folder: Path) -> None:
        self._filesystem = found = filesystem_of(folder)
        if found.kind == "network" and folder not in _warned_of:
            _warned_of.add(folder)
            _log.warning("synap: turns are kept in %s, on %s: %s", folder, found, found.fix)

    def _new(self, folder: Path) -> tuple[RowTable, OutboxFile]:
        file = OutboxFile.new(folder)
        with ExitStack() as failing:
            failing.callback(file.discard)
            table = RowTable(file.path, durability=self._durability)
            failing.callback(table.close)
            table.create()
            failing.pop_all()
        return table, file

    def move(self, *, quarantine: bool) -> None:
        """Take the rows to the next place that works. The old file is put aside if it failed; if it did not, it is
        deleted, or stays in use if the new place cannot take all of it.
        """
        old, old_file = self.table, self.file
        self.table = self.file = None
        new = self.open()
        if old is not None:
            complete = new.path != old.path and _copy(old, new)
            if not complete and not quarantine:
                self.close(empty=True)
                self.table, self.file, self._disk_again_at = old, old_file, self._clock() + _DISK_AGAIN_S
                return
            with suppress(sqlite3.Error):
                old.close()
        if old_file is not None:
            if quarantine:
                _log.warning("synap: a file of waiting turns failed and was put aside: %s", old_file.quarantine())
            else:
                old_file.discard()

    @property
    def misplaced(self) -> bool:
        """True if the file was deleted under us, or memory serves although the disk may work again."""
        if self._clock() < self._disk_again_at:
            return False
        if self.file is not None:
            return not self.file.is_there
        return self.table is not None and bool(self.folders)

    def make_room(self) -> bool:
        """On a full disk: give the reserve back and empty the log, which is usually larger than what it says."""
        if self.table is None or self.file is None:
            return False
        given_back = self.file.use_reserve()
        try:
            self.table.checkpoint(truncate=True)
        except sqlite3.Error:
            return given_back
        return True

    def wrote(self, octets: int) -> None:
        """A commit of about so many bytes was made; every now and then, this looks at the log."""
        self._unseen += octets + _PAGES_OF_A_COMMIT
        if self._unseen > _LOOK_BYTES and self.file is not None:
            self._unseen, self.log_bytes = 0, self.file.log_bytes()

    @property
    def overdue(self) -> bool:
        """True if the log has become longer than it is meant to be: upkeep should come soon."""
        return self.log_bytes > LOG_BYTES

    def shorten_log(self) -> None:
        """Move a log into the file that nobody has looked after. Raises: sqlite3.Error."""
        if self.log_bytes > _LONG_LOG_BYTES and self.table is not None:
            self.log_bytes = 0
            self.table.checkpoint()

    def upkeep(self, now_ms: int, *, idle: bool) -> None:
        """Keep log, file and list of delivered ids small; while nothing happens, no log. Raises: sqlite3.Error."""
        if self.table is None or self.file is None:
            return
        self.table.forget_seen(now_ms, _SEEN_ROWS)
        log_bytes = self.file.log_bytes()
        if log_bytes and idle:
            self.table.checkpoint(truncate=True)
        elif log_bytes > _LOG_LIMIT_BYTES:
            self.table.checkpoint()
        self.log_bytes = self._unseen = 0
        with suppress(OSError):  # no room for a reserve now
            self.file.reserve()

    def close(self, *, empty: bool) -> None:
        """Let go: an empty file is deleted, any other is left to whoever adopts it."""
        if self.table is not None:
            with suppress(sqlite3.Error):
                self.table.close()
        if self.file is not None:
            if empty:
                self.file.discard()
            else:
                self.file.leave()
        self.table = self.file = None

    def forget(self) -> None:
        """In a forked child: the parent goes on using the file.

        The connection must never be closed here, not even by the end of the interpreter: SQLite believes that it has
        the file to itself, and would move and delete the parent's log.
        """
        if self.table is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.table.connection))
        if self.file is not None:
            self.file.forget()
        self.table = self.file = None


def _copy(old: RowTable, new: RowTable) -> bool:
    """Copy the intact rows; False if some could not be read or written."""
    complete = True
    try:
        rows = old.entries()
        while chunk := list(islice(rows, _CHUNK)):
            intact = [entry for entry in chunk if entry.intact]
            complete = complete and len(intact) == len(chunk)
            new.insert(intact)
    except sqlite3.Error:
        return False
    return complete
