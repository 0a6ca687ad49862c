"""The file of another process, to look at and never to change."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from synap_integrations.errors import InvalidInputError
from synap_integrations.server.database import CONNECTION, LOCK_WAIT_S, VERSION, Database


class ReadOnlyDatabase(Database):
    """An existing database; writing raises sqlite3.OperationalError, whoever tries. Others may write meanwhile."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = path

    def open(self) -> None:
        """Raises: InvalidInputError, if there is no such file, or it is not one that this version can read."""
        if not self._file.exists():
            message = f"{self._file} is not there: nothing was recorded here yet, or it is elsewhere; pass --db FILE"
            raise InvalidInputError(message)
        try:
            with self.read() as db:
                (version,) = db.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            message = f"{self._file} cannot be read ({error}): pass the file of an embedded Synap with --db"
            raise InvalidInputError(message) from None
        if version != VERSION:
            message = f"{self._file} is of version {version}, not {VERSION}: open it once with --write to bring it up"
            raise InvalidInputError(message)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Refuse. Raises: sqlite3.OperationalError."""
        message = "the file is open for reading only"
        raise sqlite3.OperationalError(message)
        yield  # a context manager has to

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection to read from; it sees every transaction that was committed before."""
        with self._reading:
            if self._reader is None:
                self._reader = self._connection()
            yield self._reader

    def _connection(self) -> sqlite3.Connection:
        if self._closed:
            message = "the store is closed"
            raise sqlite3.ProgrammingError(message)
        address = f"file:{quote(str(self._file))}?mode=ro"
        return sqlite3.connect(
            address,
            uri=True,
            timeout=LOCK_WAIT_S,
            isolation_level=None,
            check_same_thread=False,
            factory=CONNECTION,
        )
