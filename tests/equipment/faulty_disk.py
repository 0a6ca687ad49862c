"""A layer between SQLite and the disk, in this process: it writes down what SQLite does to its files, and lets it fail.

    with FaultyDisk(folder) as disk:
        disk.on_write = lambda path, nth: FULL if nth == 7 else OK     # fail the 7th write
        disk.on_sync = lambda path, nth: SYNC_FAILED                   # fsync returns EIO
        disk.log                                                       # every write, truncation, sync and deletion

It takes the place of the file operations of SQLite's default VFS, through ctypes, while it is in use, so the SQLite at
work is the real one, the files are real, and neither root nor another program is needed. Files outside the folder are
passed through.
"""

import _sqlite3
import ctypes as c
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

OK: Final = 0
FULL: Final = 13  # SQLITE_FULL
WRITE_FAILED: Final = 778  # SQLITE_IOERR_WRITE
SYNC_FAILED: Final = 1034  # SQLITE_IOERR_FSYNC

# A name is a pointer: SQLite keeps it for as long as the file is open, which a text made of it would not outlive.
_Open = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_void_p, c.c_int, c.c_void_p)
_Delete = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p, c.c_int)
_Write = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_int, c.c_int64)
_Truncate = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_int64)
_Sync = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_int)


class _Vfs(c.Structure):
    _fields_ = (
        *((name, c.c_int) for name in ("version", "file_bytes", "most_path")),
        *((name, c.c_void_p) for name in ("next", "name", "data")),
        *((name, c.c_void_p) for name in ("open", "delete")),
    )


class _Methods(c.Structure):
    # Source: sqlite3.h, sqlite3_io_methods, version 3
    _fields_ = (
        ("version", c.c_int),
        *((name, c.c_void_p) for name in ("close", "read", "write", "truncate", "sync")),
        *((f"other_{number}", c.c_void_p) for number in range(13)),
    )


@dataclass(frozen=True, slots=True)
class Op:
    """One thing that happened to a file. ``kind`` is write, truncate, sync, delete, or a mark of the test's own."""

    kind: str
    path: str = ""
    offset: int = 0
    data: bytes = b""
    note: object = None


class FaultyDisk:
    """See the module. One at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self.log: list[Op] = []
        self.writes: Counter[str] = Counter()
        self.syncs: Counter[str] = Counter()
        self.on_write: Callable[[str, int], int] = lambda path, nth: OK
        self.on_sync: Callable[[str, int], int] = lambda path, nth: OK
        library = c.CDLL(_sqlite3.__file__)
        library.sqlite3_vfs_find.restype = c.POINTER(_Vfs)
        self._vfs = library.sqlite3_vfs_find(None).contents
        self._names: dict[int, str] = {}
        self._tables: dict[int, _Methods] = {}
        self._kept: list[object] = []

    def mark(self, kind: str, note: object = None) -> None:
        """Write down that something else happened now."""
        self.log.append(Op(kind, note=note))

    def __enter__(self) -> Self:
        _KEPT.append(self)  # what is opened meanwhile keeps our methods for good
        self._open, self._delete = _Open(self._vfs.open), _Delete(self._vfs.delete)
        self._before = (self._vfs.open, self._vfs.delete)
        self._kept += [opened := _Open(self._opened), deleted := _Delete(self._deleted)]
        self._vfs.open, self._vfs.delete = (c.cast(ours, c.c_void_p).value for ours in (opened, deleted))
        return self

    def __exit__(self, *_: object) -> None:
        self._vfs.open, self._vfs.delete = self._before
        self.on_write = self.on_sync = lambda path, nth: OK

    def _opened(self, vfs: int, name: int | None, file: int, flags: int, out: int) -> int:
        outcome = self._open(vfs, name, file, flags, out)
        path = c.string_at(name).decode() if name else ""
        if outcome == OK and path.startswith(self._folder):
            self._names[file] = path
            slot = c.cast(file, c.POINTER(c.c_void_p))
            slot[0] = c.addressof(self._table(slot[0]))
        return outcome

    def _table(self, original: int) -> _Methods:
        if original not in self._tables:
            real = c.cast(original, c.POINTER(_Methods)).contents
            ours = _Methods.from_buffer_copy(real)
            write, truncate, sync = _Write(real.write), _Truncate(real.truncate), _Sync(real.sync)
            hooks = (
                _Write(lambda file, data, size, offset: self._wrote(write, file, data, size, offset)),
                _Truncate(lambda file, size: self._truncated(truncate, file, size)),
                _Sync(lambda file, flags: self._synced(sync, file, flags)),
            )
            ours.write, ours.truncate, ours.sync = (c.cast(hook, c.c_void_p).value for hook in hooks)
            self._kept += hooks
            self._tables[original] = ours
        return self._tables[original]

    def _wrote(self, real, file: int, data: int, size: int, offset: int) -> int:
        path = self._names[file]
        self.writes[path] += 1
        if (fault := self.on_write(path, self.writes[path])) != OK:
            return fault
        self.log.append(Op("write", path, offset, c.string_at(data, size)))
        return real(file, data, size, offset)

    def _truncated(self, real, file: int, size: int) -> int:
        self.log.append(Op("truncate", self._names[file], size))
        return real(file, size)

    def _synced(self, real, file: int, flags: int) -> int:
        path = self._names[file]
        self.syncs[path] += 1
        if (fault := self.on_sync(path, self.syncs[path])) != OK:
            return fault
        self.log.append(Op("sync", path))
        return real(file, flags)

    def _deleted(self, vfs: int, name: bytes, durably: int) -> int:
        path = name.decode()
        if path.startswith(self._folder):
            self.log.append(Op("delete", path))
        return self._delete(vfs, name, durably)


_KEPT: Final[list[FaultyDisk]] = []
