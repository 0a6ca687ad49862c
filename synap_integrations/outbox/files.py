"""Where outbox files are, what they are called, who may read them and who owns them.

An outbox file belongs to one process, which holds an OS lock on the ``.lock`` file beside it. The lock dies with the
process, so a file whose lock is free is an orphan, whatever the clocks, pids and times of files say. The lock file also
carries the high-water mark: the last place in the order that was committed, so that a lost tail is noticed.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final, Self

from synap_integrations.settings import state_home

_MARK: Final = struct.Struct("<qq")
_OPEN: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_RESERVE_BYTES: Final = 1_000_000
_BESIDE: Final = ("-journal", "-wal", "-shm")
"""What SQLite keeps beside a file. A journal is there only until the file is one with a log."""
PRIVATE: Final = 0o700
OURS_ALONE: Final = 0o600


def candidates(folder: Path) -> list[Path]:
    """Folders to try, in order: the one asked for, the user's state folder, a private one among the temporary files.

    The other two are of this storage path alone: what one application could not keep in its place is not delivered to
    where another one of the same user remembers.
    """
    storage = blake2b(os.fsencode(folder.parent.absolute()), digest_size=4).hexdigest()
    found = [folder]
    with suppress(RuntimeError):  # there is no home
        found.append(state_home() / "synap" / "outbox" / storage / folder.name)
    found.append(_temporary() / storage / folder.name)
    return found


def places(root: Path) -> list[Path]:
    """Where the outbox folders of this storage path may be: below it, and where they go when it cannot be written."""
    return list(dict.fromkeys(folder.parent for folder in candidates(root / "any")))


def is_fallback(folder: Path, root: Path) -> bool:
    """True for an outbox folder that is not below its storage path, because that could not be written."""
    return folder.parent != root


def _temporary() -> Path:
    return Path(tempfile.gettempdir()) / f"synap-{os.geteuid()}"


def make_private(folder: Path) -> None:
    """Make the folder and what is missing above it, for this user alone.

    Raises: OSError, if that is not possible, or if somebody else made the folder.
    """
    missing = [folder]
    while not (parent := missing[-1].parent).exists() and parent != missing[-1]:
        missing.append(parent)
    for path in reversed(missing):
        with suppress(FileExistsError):
            path.mkdir(PRIVATE)
            path.chmod(PRIVATE)  # whatever the umask says
    temporary = _temporary()
    if temporary in folder.parents:
        for path in reversed(folder.parents):
            if path == temporary or temporary in path.parents:
                _claim_folder(path)
    _claim_folder(folder)


def _claim_folder(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        message = f"{folder} is not a folder of this user"
        raise PermissionError(message)
    if stat.S_IMODE(found.st_mode) != PRIVATE:
        folder.chmod(PRIVATE)


def outbox_files(folder: Path) -> Iterator[Path]:
    """The outbox files in a folder, newest first; the name says when a file was made."""
    with suppress(OSError):
        yield from sorted(folder.glob("ob-*.db"), key=lambda path: path.stem.rpartition("-")[2], reverse=True)


@contextmanager
def alone_in(folder: Path) -> Iterator[bool]:
    """True for one process at a time, of those who ask for the same folder.

    The folder itself is locked, so that nothing is left behind; where that cannot be done, everybody is alone.
    """
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield True
        return
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:  # a network file system that locks no folders
            pass
        yield True
    finally:
        with suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_UN)  # for a child that was forked meanwhile and has inherited it, too
        os.close(held)


def sweep(folder: Path) -> None:
    """Delete what is left beside files that are gone: their process died while it created or deleted them."""
    with suppress(OSError):
        for path in folder.glob("ob-*.lock"):
            file = path.with_suffix(".db")
            if not file.exists() and (lock := _locked(path)) is not None:
                if not file.exists():
                    OutboxFile(file, lock).discard()
                else:
                    os.close(lock)


class OutboxFile:
    """One outbox file and its lock, held by this process."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        self._inode = _inode(path)

    @classmethod
    def new(cls, folder: Path) -> Self:
        """A new, empty, locked file. Raises: OSError."""
        make_private(folder)
        while True:
            path = folder / f"ob-{_boot()}-{os.getpid()}-{time.time_ns() // 1_000_000:012x}{os.urandom(3).hex()}.db"
            if (lock := _locked(path.with_suffix(".lock"))) is None:
                continue  # an adopter was faster: it takes an unlocked file for an orphan
            try:
                os.close(opened(path, os.O_EXCL))
            except OSError:
                os.close(lock)
                path.with_suffix(".lock").unlink(missing_ok=True)
                raise
            return cls(path, lock)

    @classmethod
    def orphan(cls, path: Path) -> Self | None:
        """The file, if its owner is dead and nobody else was faster. Raises: OSError, if it is not ours to open."""
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return None
        if (lock := _locked(path.with_suffix(".lock"))) is None:
            return None
        if not path.exists():  # adopted and deleted in the meantime
            os.close(lock)
            return None
        return cls(path, lock)

    @property
    def is_there(self) -> bool:
        """False if somebody deleted the file while we write to it."""
        return self._inode is not None and _inode(self.path) == self._inode

    def set_mark(self, seq: int) -> None:
        """The order is committed up to here. A mark that cannot be written detects less, and harms nothing."""
        try:  # noqa: SIM105 - `suppress` takes as long as the write, and this is done for each event
            os.pwrite(self._lock, _MARK.pack(seq, ~seq), 0)
        except OSError:
            pass

    def mark(self) -> int | None:
        """What `set_mark` said last; None if it cannot be told."""
        raw = os.pread(self._lock, _MARK.size, 0)
        if len(raw) != _MARK.size:
            return None
        seq, check = _MARK.unpack(raw)
        return int(seq) if seq == ~check else None

    def sync(self) -> None:
        """Bring the log to disk. Any thread, without the owner's lock. Raises: OSError."""
        with suppress(FileNotFoundError):
            log = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(log)
            finally:
                os.close(log)

    def log_bytes(self) -> int:
        """Size of the write-ahead log."""
        with suppress(OSError):
            return Path(f"{self.path}-wal").stat().st_size
        return 0

    # --- room for deletions on a full disk -------------------------------------------------------------------

    def reserve(self) -> None:
        """Set some room aside: deleting needs room too. Raises: OSError, while there is none."""
        path = self.path.with_suffix(".reserve")
        if path.exists():
            return
        file = opened(path, os.O_EXCL)
        try:
            os.write(file, bytes(_RESERVE_BYTES))
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(file)

    def use_reserve(self) -> bool:
        """Give the room back to the disk; False if there is none."""
        with suppress(OSError):
            self.path.with_suffix(".reserve").unlink()
            return True
        return False

    # --- letting go ------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Unlock the file; whoever adopts it delivers what is in it."""
        self.use_reserve()
        os.close(self._lock)

    def discard(self) -> None:
        """Delete the file: everything in it was delivered or moved."""
        self.use_reserve()
        for path in (*(Path(f"{self.path}{suffix}") for suffix in ("", *_BESIDE)), self.path.with_suffix(".lock")):
            with suppress(OSError):
                path.unlink()
        os.close(self._lock)

    def move_to(self, folder: Path) -> Path:
        """Take an orphan to another folder, where it is adopted from. Raises: OSError; then it is where it was."""
        self.use_reserve()
        make_private(folder)
        path = folder / self.path.name
        if path.exists() or (lock := _locked(path.with_suffix(".lock"))) is None:
            message = f"{path} is in use"
            raise FileExistsError(message)
        try:
            os.pwrite(lock, os.pread(self._lock, _MARK.size, 0), 0)
            with suppress(FileNotFoundError):
                Path(f"{self.path}-wal").rename(f"{path}-wal")
            self.path.rename(path)  # after its log: without it, the file would be taken for an older one
        finally:
            os.close(lock)
        self.discard()
        return path

    def quarantine(self) -> Path:
        """Put a file that cannot be relied on aside, under a name that nobody adopts; never deletes it."""
        self.use_reserve()
        aside = self.path.with_suffix(".corrupt")
        for suffix in (*_BESIDE, ""):
            with suppress(OSError):
                Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
        with suppress(OSError):
            self.path.with_suffix(".lock").unlink()
        os.close(self._lock)
        return aside

    def forget(self) -> None:
        """In a forked child: the lock stays the parent's, and is not kept alive by us."""
        os.close(self._lock)


def opened(path: Path, flags: int = 0) -> int:
    """A file for this user alone, whatever the umask says; made, if it is not there."""
    file = os.open(path, _OPEN | os.O_CREAT | flags, OURS_ALONE)
    os.fchmod(file, OURS_ALONE)
    return file


def _locked(path: Path) -> int | None:
    """A locked file descriptor, or None if somebody else holds it or has just deleted the file."""
    lock = opened(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_ino == _inode(path):
            return lock
    except BlockingIOError:
        pass
    except OSError:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _boot() -> str:
    """Tells the boots of a machine apart, for people who look at a folder."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    return "0"
