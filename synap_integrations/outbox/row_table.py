"""One SQLite file of waiting envelopes, with the SQL in `schema`. Not thread-safe: the owner holds a lock.

The file has one owner, so it is locked as a whole (no shared memory file), and its write-ahead log is brought
to disk by the delivery thread, not by the caller of ``append``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from . import confirmed_counts, schema
from .entries import DEAD, Entry
from .rows import Row
from .transaction import Transaction

MEMORY: Final = Path(":memory:")
_PAGE_BYTES: Final = 2048
LOG_PAGE_BYTES: Final = _PAGE_BYTES + 24
LOG_BYTES: Final = 8_000_000
"""How long the log is meant to be at most; what it was longer is given back to the disk when it begins anew."""

_SYNCHRONOUS: Final = {"process": "NORMAL", "power": "FULL"}


class RowTable:
    """The rows of one file. Every method raises `sqlite3.Error` if the file fails.

    With ``salvage`` the file may be damaged, or not ours: it is read, and nothing about it is changed.
    """

    def __init__(self, path: Path, *, durability: str = "process", salvage: bool = False) -> None:
        self.path = path
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0, cached_statements=64)
        with ExitStack() as failing:
            failing.callback(self._db.close)
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE").close()
            if not salvage:
                self._configure(durability)
            older = self._number("PRAGMA user_version") == 1
            self._db.executescript(schema.VIEWS.replace(*schema.NOT_SEALED) if older else schema.VIEWS)
            failing.pop_all()

    def _configure(self, durability: str) -> None:
        for pragma in (
            f"page_size = {_PAGE_BYTES}",  # a row is small; each commit writes whole pages
            "journal_mode = WAL",
            f"synchronous = {_SYNCHRONOUS[durability]}",
            "wal_autocheckpoint = 0",
            f"journal_size_limit = {LOG_BYTES}",
            "secure_delete = ON",
        ):
            self._db.execute(f"PRAGMA {pragma}").close()

    def create(self) -> None:
        """Make the tables of a new file."""
        self._db.executescript(schema.SCHEMA)

    @property
    def version(self) -> int | None:
        """The schema's version; None for a file that is not ours."""
        ours = self._number("PRAGMA application_id") == schema.APPLICATION_ID
        return self._number("PRAGMA user_version") if ours else None

    # --- writing ---------------------------------------------------------------------------------------------

    def insert(self, entries: Sequence[Entry]) -> int:
        """Keep all of them, or none if it fails; returns how many were not there already."""
        if len(entries) == 1:
            return self._db.execute(schema.INSERT, _inserted(entries[0])).rowcount
        with Transaction(self._db):
            return self._db.executemany(schema.INSERT, map(_inserted, entries)).rowcount

    def admit(self, expected: int, confirmed: Mapping[int, int]) -> dict[int, tuple[int, int]] | None:
        """All incoming rows become part of the order at once; returns rows and bytes by state.

        None, and nothing changes, if there are not as many as expected: then some of them have been lost.
        """
        with Transaction(self._db):
            found = {state: (rows, int(octets)) for state, rows, octets in self._db.execute(schema.ARRIVED)}
            if sum(rows for rows, _ in found.values()) != expected:
                return None
            self._db.execute("UPDATE turn SET state = state - 4 WHERE state >= 4")
            confirmed_counts.keep(self._db, confirmed)
        return found

    def turn_away(self) -> None:
        """Delete incoming rows: whoever they come from still has them."""
        self._db.execute("DELETE FROM turn WHERE state >= 4")

    def take(  # noqa: PLR0913 - a query and its parameters
        self,
        after: int,
        limit: int,
        octets: int,
        *,
        waiting: Iterable[int],
        kinds: Iterable[str],
        under_way: Iterable[int],
    ) -> tuple[list[Entry], bool]:
        """The next waiting entries, about that many bytes of them, and whether there are no more.

        Left out: conversations that have to wait, ``waiting``, kinds in ``kinds``, rows in ``under_way``.
        """
        lists = (_json(waiting), _json(kinds), _json(under_way))
        entries: list[Entry] = []
        cursor = self._db.execute(schema.TAKE, (after, *lists, limit))
        try:
            for columns in cursor:
                entry = _entry(columns)
                entries.append(entry)
                octets -= entry.row.size
                if octets <= 0:
                    return entries, False
        finally:
            cursor.close()
        return entries, len(entries) < limit

    def mark_written(self, seqs: Iterable[int], at_ms: int) -> None:
        """From this moment they may have left the machine."""
        self._db.execute(schema.MARK_WRITTEN, (at_ms, _json(seqs)))

    def delete(self, event_ids: Collection[str], seen_until_ms: int, confirmed: Mapping[str, int]) -> tuple[int, int]:
        """Forget delivered rows, remember ids and what was ``confirmed``; returns how many rows and bytes went."""
        with Transaction(self._db):
            rows, octets, last, found = self._db.execute(schema.FIND, (_json(event_ids),)).fetchone()
            if rows:
                confirmed_counts.keep(self._db, confirmed_counts.of_rows(self._db, confirmed))
                self._db.execute(schema.DELETE, (found,))  # first: on a full disk it makes the room for what follows
                self._db.execute(schema.REMEMBER, (seen_until_ms, found))
                self._db.execute(schema.SETTLED_TO, (last,))
        return rows, int(octets)

    def remove(self, rows: Iterable[tuple[str, int]], seen_until_ms: int) -> None:
        """Delete rows (event id, place) whatever became of them; copies of them in other files stay out as well."""
        found = list(rows)
        with Transaction(self._db):
            self._db.execute(schema.DELETE, (_json(event_id for event_id, _ in found),))
            self._db.execute(schema.REMEMBER, (seen_until_ms, _json(event_id for event_id, _ in found)))
            self._db.execute(schema.SETTLED_TO, (max(seq for _, seq in found),))

    def named(self, ids: Sequence[str | None]) -> list[tuple[str, int, int, int]]:
        """Event id, place, state and bytes of every row of these ids (conversation, user, customer, session)."""
        return self._db.execute(schema.NAMED, tuple(ids)).fetchall()

    def sealed(self) -> Iterator[Entry]:
        """The rows whose ids only a key shows."""
        return map(_entry, self._db.execute("SELECT * FROM entry WHERE sealed_by IS NOT NULL"))

    def postpone(self, event_ids: Collection[str], not_before_ms: int, reason: str) -> None:
        """Note that they were tried in vain: for people who look into the file."""
        self._db.execute(schema.POSTPONE, (not_before_ms, reason, _json(event_ids)))

    def bury(self, seq: int, reason: str, state: int = DEAD) -> int:
        """Make a waiting row a dead letter, or one that is held; returns its bytes, 0 if there is no such row."""
        query = "UPDATE turn SET state = ?, reason = ? WHERE seq = ? AND state = 0"
        changed = self._db.execute(query, (state, reason, seq))
        return self._number("SELECT size FROM measure WHERE seq = ?", seq) if changed.rowcount else 0

    def revive(self, seqs: Iterable[int]) -> int:
        """Let dead letters, and what is held, wait again as if never tried; returns how many there were."""
        return self._db.execute(schema.REVIVE, (_json(seqs),)).rowcount

    def evict(self, octets: int) -> tuple[int, int]:
        """Delete the oldest dead letters until that many bytes are gone; returns how many rows and bytes went."""
        rows = freed = 0
        while freed < octets:
            oldest = self._db.execute("SELECT seq, size FROM measure WHERE state = 2 ORDER BY seq LIMIT 1").fetchone()
            if oldest is None:
                break
            self._db.execute("DELETE FROM turn WHERE seq = ?", oldest[:1])
            rows, freed = rows + 1, freed + oldest[1]
        return rows, freed

    def forget_seen(self, now_ms: int, keep: int) -> None:
        """Let go of delivered ids that are more than ``keep``, and of old ones, some at a time."""
        self._db.execute(schema.FORGET_TOO_MANY, (keep,))
        confirmed_counts.trim(self._db)
        self._db.execute(schema.FORGET_OLD, (now_ms,))

    # --- reading ---------------------------------------------------------------------------------------------

    def confirmed(self) -> dict[int, int]:
        """How many turns the platform had confirmed of each conversation of which that is known."""
        return confirmed_counts.known(self._db)

    def conversations_of(self, event_ids: Collection[str]) -> list[int]:
        """The conversations that these rows belong to."""
        return [conversation for (conversation,) in self._db.execute(schema.CONVERSATIONS, (_json(event_ids),))]

    def blocked(self) -> frozenset[int]:
        """Conversations that have a dead letter, or a turn that is held."""
        found = self._db.execute("SELECT DISTINCT conv FROM turn WHERE state IN (1, 2)")
        return frozenset(conversation for (conversation,) in found)

    def seq_of(self, event_id: str) -> int | None:
        """Where a row stands."""
        found = self._db.execute("SELECT seq FROM turn WHERE event_id = ?", (event_id,)).fetchone()
        return None if found is None else found[0]

    def first_waiting(self) -> int | None:
        """The first place in the order that waits."""
        found = self._db.execute("SELECT seq FROM turn WHERE state = 0 ORDER BY seq LIMIT 1").fetchone()
        return None if found is None else found[0]

    def size(self) -> tuple[int, int]:
        """Rows and bytes that wait."""
        rows, octets = self._db.execute("SELECT count(*), total(size) FROM measure WHERE state = 0").fetchone()
        return rows, int(octets)

    def last_known(self) -> int:
        """The highest place of a row of this process that is there, or was delivered."""
        return self._number("SELECT max(value, (SELECT coalesce(max(seq), 0) FROM turn)) FROM meta")

    def entries(self, *, backwards: bool = False) -> Iterator[Entry]:
        """Every row, damaged or not."""
        self._db.text_factory = _damaged_text
        query = "SELECT * FROM entry ORDER BY seq DESC" if backwards else "SELECT * FROM entry ORDER BY seq"
        for columns in self._db.execute(query):
            yield _entry(columns)

    def entry(self, seq: int) -> Entry | None:
        """The row at a place in the order. None for a row that was read before, if the tree above it is damaged."""
        columns = self._db.execute("SELECT * FROM entry WHERE seq = ?", (seq,)).fetchone()
        return None if columns is None else _entry(columns)

    def sound(self) -> bool:
        """True if SQLite finds nothing wrong with the file."""
        return bool(self._db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")

    def _number(self, query: str, *values: object) -> int:
        return int(self._db.execute(query, values).fetchone()[0])

    # --- the file --------------------------------------------------------------------------------------------

    def checkpoint(self, *, truncate: bool = False) -> None:
        """Move the log into the file."""
        self._db.execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if truncate else 'PASSIVE'})").fetchall()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """For a forked child, which must keep it alive and never use it."""
        return self._db


def is_full(error: Exception) -> bool:
    """True if the disk has no room; anything else means that the file cannot be relied on."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _entry(columns: Sequence[object]) -> Entry:
    return Entry(Row(*columns[:8]), *columns[8:])  # type: ignore[arg-type] # the checksum says whether the types are right


def _inserted(entry: Entry) -> tuple[object, ...]:
    return (*entry.row, *entry[1:], entry.row.event_id)


def _json(values: Iterable[object]) -> str:
    return json.dumps(list(values))


def _damaged_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
