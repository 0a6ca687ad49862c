"""Which rows may go next: each once, a conversation in its own order, none before its time.

A reader walks through the rows once (``after`` is where it stands). What it passed over, because its conversation was
delayed or its kind was not wanted, is found by walking from the start again when that changes. Only the process that
owns the file reads it, so all of this is in memory; after a restart every row may go at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .entries import BEFORE_ALL, Entry


class ClaimCursor:
    """Not thread-safe: the owner holds a lock. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self.after = BEFORE_ALL
        self.under_way: dict[str, int] = {}
        """Rows that are under way: event id to place in the order."""
        self.delayed: dict[int, float] = {}
        """Conversations that wait, and until when."""
        self.skipped: frozenset[str] = frozenset()

    def prepare(self, skip: frozenset[str], now: float) -> None:
        """Before rows are read: let go what has waited long enough."""
        due = [conversation for conversation, until in self.delayed.items() if until <= now]
        for conversation in due:
            del self.delayed[conversation]
        if due or self.skipped - skip:
            self.restart()
        self.skipped = skip

    def claimed(self, entries: Sequence[Entry], *, end: int | None) -> None:
        """These are under way. ``end`` is the last place in the order, if there were no more rows before it."""
        self.under_way.update((entry.row.event_id, entry.seq) for entry in entries)
        if end is not None:
            self.after = end
        elif entries:
            self.after = entries[-1].seq

    def settled(self, event_ids: Iterable[str]) -> None:
        """These are not under way any more, and gone."""
        for event_id in event_ids:
            self.under_way.pop(event_id, None)

    def put_back(self, event_ids: Iterable[str]) -> None:
        """These are not under way any more, and wait again."""
        self.settled(event_ids)
        self.restart()

    def delay(self, conversations: Iterable[int], until: float) -> None:
        """Let these conversations wait; a longer wait stands."""
        for conversation in conversations:
            self.delayed[conversation] = max(until, self.delayed.get(conversation, until))

    def restart(self) -> None:
        """Read from the start again."""
        self.after = BEFORE_ALL
