"""One SQLite file, or memory: connections, locks, forks, the schema.

Several processes may use the file at once: WAL, short transactions, and a wait of seconds for a lock. Within a process
one connection writes and one reads, so that a search does not hold up a write. In memory both are the same connection.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from synap_integrations import after_fork

SCHEMA: Final = ("schema.sql", "derived.sql", "intake.sql", "lookups.sql")
"""What makes the tables, in this order. A file's version is how many of them it has had; new ones go to the end."""
VERSION: Final = len(SCHEMA)
LOCK_WAIT_S: Final = 10.0
"""Longest wait for another process's transaction."""
_NEWER: Final = "the file was written by a newer version of this package"


class _Numbered(sqlite3.Connection):
    """Python 3.12.0 to 3.12.3 take numbered parameters for named ones, and warn if they are not given by name.

    Source: CPython issue 117995
    """

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:  # noqa: ANN401 - as sqlite3 has it
        if "?1" in sql:
            parameters = {str(number): value for number, value in enumerate(parameters, 1)}
        return super().execute(sql, parameters)


CONNECTION: Final = _Numbered if (3, 12) <= sys.version_info < (3, 12, 4) else sqlite3.Connection


class Database:
    """A SQLite database. Thread-safe; after a fork the child opens connections of its own.

    ``path`` None is memory: gone when closed, and empty in a forked child. ``synchronous`` is SQLite's: with NORMAL a
    killed process loses nothing and a power cut the last moments, with FULL neither does.
    """

    def __init__(self, path: Path | None, *, synchronous: str = "NORMAL") -> None:
        self.path = path
        self._synchronous = synchronous
        self._inherited: list[object] = []
        self._closed = False
        self._start()
        after_fork.watch(self)

    def _start(self) -> None:
        self._writing, self._reading = threading.RLock(), threading.RLock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open it now rather than at first use, and make the tables.

        Raises: OSError or sqlite3.Error, if there is no such file and none can be made, or it holds something else.
        """
        with self._writing:
            self._connected()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed at the end, rolled back by an exception."""
        with self._writing:
            connection = self._connected()
            with transaction(connection):
                yield connection

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection to read from; it sees every transaction that was committed before."""
        if self.path is None:
            with self._writing:
                yield self._connected()
            return
        with self._reading:
            if self._reader is None:
                self.open()
                self._reader = self._connection()
            yield self._reader

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        with self._reading, self._writing:
            self._closed = True
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._reader = self._writer = None

    def _connected(self) -> sqlite3.Connection:
        if self._writer is None:
            if self.path is not None:
                make_private(self.path)
            connection = self._connection()
            with ExitStack() as undo:
                undo.callback(connection.close)
                _prepare(connection)
                undo.pop_all()
            self._writer = connection
        return self._writer

    def _connection(self) -> sqlite3.Connection:
        if self._closed:
            message = "the store is closed"
            raise sqlite3.ProgrammingError(message)
        connection = sqlite3.connect(
            self.path or ":memory:",
            timeout=LOCK_WAIT_S,
            isolation_level=None,
            check_same_thread=False,
            factory=CONNECTION,
        )
        with ExitStack() as failing:
            failing.callback(connection.close)
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
            # What is forgotten is overwritten and not merely unlinked.
            connection.execute("PRAGMA secure_delete=ON")
            failing.pop_all()
        return connection

    def after_fork_in_child(self) -> None:
        """In a forked child: keep the parent's connections alive and untouched, and begin with none."""
        self._inherited.append((self._writer, self._reader))
        self._start()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit at the end, roll back on an exception; other writers wait from the beginning."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")


def make_private(path: Path) -> None:
    """See that the file exists and only its user can read it: mode 0600, in a folder that is 0700 if we made it.

    SQLite gives the same mode to the files it puts beside it. Raises: OSError.
    """
    for folder in reversed([parent for parent in path.parents if not parent.exists()]):
        folder.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def _prepare(connection: sqlite3.Connection) -> None:
    """Switch to WAL and make the tables, whoever else is doing the same."""
    if _version(connection) > VERSION:
        raise sqlite3.NotSupportedError(_NEWER)
    _use_wal(connection)
    with transaction(connection):
        if (had := _version(connection)) < VERSION:
            for script in SCHEMA[had:]:
                for statement in _statements(script):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version={VERSION}")


def _version(connection: sqlite3.Connection) -> int:
    """The schema in the file; 0 if there is none yet."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    return int(found)


def _use_wal(connection: sqlite3.Connection) -> None:
    # SQLite does not wait for other processes while it changes the journal mode.
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in files(__package__).joinpath(script).read_text(encoding="utf-8").splitlines(keepends=True):
        statement += line.partition("--")[0]
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
