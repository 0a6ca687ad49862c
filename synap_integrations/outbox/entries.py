"""A row of the outbox, its place in the order, and what has happened to it so far. No I/O."""

from __future__ import annotations

from typing import Final, NamedTuple

from .rows import Row, UnreadableRowError

BEFORE_ALL: Final = -(2**62)
"""A sequence number below every row's."""

WAITING: Final = 0
HELD: Final = 1
"""Nobody knows whether it arrived; somebody has to decide."""
DEAD: Final = 2
AT_REST: Final = frozenset({HELD, DEAD})
"""States of rows that are not sent unless somebody says so."""
INCOMING: Final = 4
"""Added to the state of a row that is being taken over: its file still has it, so nobody claims or counts it here."""


class Entry(NamedTuple):
    """A row, its place in the order, and what has happened to it so far. Times are milliseconds since 1970; that of the
    first write is negative if an earlier process did it.
    """

    row: Row
    seq: int
    crc: int
    state: int = WAITING
    first_write_at: int | None = None
    attempts: int = 0
    not_before: int | None = None
    reason: str | None = None

    @classmethod
    def of(cls, row: Row, seq: int) -> Entry:
        """A row that has just been captured."""
        return cls(row, seq, row.checksum(seq))

    def kept(self, row: Row, seq: int) -> Entry:
        """The same, kept as this row at another place in the order."""
        return self._replace(row=row, seq=seq, crc=row.checksum(seq))

    def arriving(self) -> Entry:
        """The same row on its way into another file, without what damage did to notes that no checksum covers."""
        state = self.state if self.state in AT_REST else WAITING
        attempts = self.attempts if isinstance(self.attempts, int) else 0
        written = -abs(self.first_write_at) if isinstance(self.first_write_at, int) else None
        return self._replace(state=INCOMING + state, attempts=attempts, first_write_at=written)

    @property
    def is_incoming(self) -> bool:
        """True for a row that was being taken over when its new owner died: it is where it came from, too."""
        return self.state in {INCOMING + WAITING, INCOMING + HELD, INCOMING + DEAD}

    def checked(self) -> Row:
        """The row, if it is what was written. Raises: UnreadableRowError."""
        if self.intact:
            return self.row
        message = "damaged on disk"
        raise UnreadableRowError(message)

    @property
    def intact(self) -> bool:
        """True if the row is what was written."""
        return isinstance(self.row.body, bytes) and self.row.checksum(self.seq) == self.crc
