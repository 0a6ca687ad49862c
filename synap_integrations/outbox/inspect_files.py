"""What lies in the outboxes of this machine, read from copies, so that no process at work notices."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from .entries import AT_REST, HELD, Entry
from .files import is_fallback, outbox_files, places
from .row_table import RowTable
from .rows import UnreadableRowError
from .sealing import LockedRowError, Sealing

_ATTEMPTS: Final = 5


@dataclass(slots=True)
class OutboxFolder:
    """What waits for one platform. ``oldest`` is when the first of it was captured, as an ISO time."""

    folder: str
    fallback: bool = False
    """Not below the storage path, which could not be written."""
    files: int = 0
    in_use: int = 0
    waiting: int = 0
    dead_letters: int = 0
    locked: int = 0
    """Of the waiting and the dead: sealed with a key that was not given."""
    oldest: str | None = None
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row of one outbox file."""

    path: Path
    entry: Entry
    locked: bool = False
    """Sealed with a key that was not given: nobody can tell what it says, and whose it is."""
    fallback: bool = False
    """Not kept below the storage path, which could not be written."""

    @property
    def dead(self) -> bool:
        """True for a dead letter, False for what waits."""
        return self.entry.state in AT_REST

    @property
    def in_doubt(self) -> bool:
        """True for a dead letter that may have arrived."""
        return self.entry.state == HELD

    @property
    def conversation_id(self) -> str | None:
        """None also where the row is damaged, as for the other ids."""
        return self._ids[0]

    @property
    def user_id(self) -> str | None:
        """Whose it is."""
        return self._ids[1]

    @property
    def customer_id(self) -> str | None:
        """The tenant."""
        return self._ids[2]

    @property
    def _ids(self) -> list[str | None]:
        try:
            ids: list[str | None] = json.loads(self.entry.row.scope)
        except (ValueError, TypeError):
            return [None] * 4
        return ids if isinstance(ids, list) and len(ids) == 4 else [None] * 4

    @property
    def captured_at(self) -> datetime:
        """When it happened."""
        return datetime.fromtimestamp(self.entry.row.captured_at / 1e6, UTC)

    @property
    def body(self) -> dict[str, object]:
        """The event's fields; empty where the row is damaged."""
        try:
            fields = json.loads(self.entry.row.body)
        except (ValueError, TypeError):
            return {}
        return fields if isinstance(fields, dict) else {}

    @property
    def text(self) -> str:
        """What was said or done, as far as one line can tell."""
        if self.locked:
            return f"(sealed with the key {self.entry.row.sealed_by}, which SYNAP_OUTBOX_KEY does not name)"
        body = self.body
        if "content" in body:
            return str(body["content"])
        return " ".join(str(body[name]) for name in ("tool_name", "tool_args", "tool_result") if name in body)


def outboxes(root: Path, sealing: Sealing | None = None) -> list[OutboxFolder]:
    """What waits on this machine, by folder."""
    return [
        _outbox(folder, sealing or Sealing(), fallback=is_fallback(folder, root)) for folder in outbox_folders(root)
    ]


def outbox_folders(root: Path) -> Iterator[Path]:
    """Every folder that holds outbox files: below the storage path, and where they go when that cannot be written."""
    for place in places(root):
        with suppress(OSError):
            yield from sorted({path.parent for path in place.glob("*/ob-*.db")})


def damaged_files(root: Path) -> Iterator[Path]:
    """Files in the same places that were damaged, and put aside for somebody to look at."""
    for place in places(root):
        with suppress(OSError):
            yield from sorted(place.glob("*/*.corrupt"))


def stored_rows(path: Path, sealing: Sealing | None = None) -> list[StoredRow]:
    """The rows of one file, in order. Raises: OSError or sqlite3.Error, if it cannot be read.

    Not those that are just being taken over: the file that they come from has them.
    """
    with _copied(path) as copy, closing(RowTable(copy)) as table:
        return [_opened(path, entry, sealing or Sealing()) for entry in table.entries() if not entry.is_incoming]


def _opened(path: Path, entry: Entry, sealing: Sealing) -> StoredRow:
    try:
        return StoredRow(path, entry.kept(sealing.opened(entry.checked()), entry.seq))
    except LockedRowError:
        return StoredRow(path, entry, locked=True)
    except UnreadableRowError:
        return StoredRow(path, entry)


def is_in_use(path: Path) -> bool:
    """True if a process holds the file's lock."""
    try:
        lock = os.open(path.with_suffix(".lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def user_of(path: Path) -> int | None:
    """The process that made the file, as its name says."""
    parts = path.stem.split("-")
    return int(parts[2]) if len(parts) == 4 and parts[2].isdigit() else None


def _outbox(folder: Path, sealing: Sealing, *, fallback: bool) -> OutboxFolder:
    found = OutboxFolder(str(folder), fallback=fallback)
    oldest: list[int] = []
    for path in outbox_files(folder):
        found.files += 1
        found.in_use += is_in_use(path)
        try:
            for one in stored_rows(path, sealing):
                found.locked += one.locked
                if one.dead:
                    found.dead_letters += 1
                else:
                    found.waiting += 1
                    oldest.append(one.entry.row.captured_at)
        except (OSError, sqlite3.Error):
            found.unreadable.append(path.name)
    if oldest:
        found.oldest = datetime.fromtimestamp(min(oldest) / 1e6, UTC).isoformat(timespec="seconds")
    return found


@contextmanager
def _copied(path: Path) -> Iterator[Path]:
    """A copy of the outbox file and its log, because the file itself admits its owner only.

    The log only grows while the file beside it stays the same, so the two belong together if that did not change.
    Raises: OSError, if they cannot be read, or do not hold still.
    """
    with tempfile.TemporaryDirectory(prefix="synap-status-") as folder:
        copy = Path(folder) / "copy.db"
        for _ in range(_ATTEMPTS):
            before = path.stat().st_mtime_ns
            shutil.copyfile(path, copy)
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{path}-wal", f"{copy}-wal")
            if path.stat().st_mtime_ns == before:
                yield copy
                return
        message = f"{path} is being written all the time"
        raise OSError(message)
