"""What became of what was captured: counters that always add up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """The fate of every envelope of one outbox, since this process opened it.

    ``captured + adopted == delivered + waiting + refused + dead_letters + forgotten``, at every moment.
    """

    captured: int = 0
    """Envelopes handed to ``append``, without those that were there already."""
    adopted: int = 0
    """Taken over from processes that ended before they had delivered."""
    delivered: int = 0
    """Acknowledged by the platform."""
    waiting: int = 0
    """Not delivered yet: on disk, under way, or in ``pending_commit``."""
    refused: int = 0
    """Not kept, because the outbox or the disk was full."""
    dead_letters: int = 0
    """Refused by the platform for good, or damaged on disk; ``evicted`` of them are no longer kept."""
    evicted: int = 0
    """Dead letters that made room for newer ones."""
    held: int = 0
    """Of the dead letters: nobody knows whether they arrived, and they are not to be sent twice."""
    forgotten: int = 0
    """Deleted on request, before they were delivered."""
    repeats: int = 0
    """Appended again under the id of an envelope that waits or was delivered; counted nowhere else."""
    pending_commit: int = 0
    """Of those waiting: still in memory, because the disk is slow."""
    locked: int = 0
    """In files of earlier processes whose key was not given; counted nowhere else."""

    @property
    def add_up(self) -> bool:
        """True unless something was lost or counted twice."""
        came = self.captured + self.adopted
        return came == self.delivered + self.waiting + self.refused + self.dead_letters + self.forgotten


@dataclass(slots=True)
class RunningCounts:
    """The same as running totals. Its owner holds a lock."""

    captured: int = 0
    adopted: int = 0
    delivered: int = 0
    refused: int = 0
    dead_letters: int = 0
    evicted: int = 0
    held: int = 0
    forgotten: int = 0
    repeats: int = 0
    rows: int = 0
    """Rows that wait."""
    octets: int = 0
    """Bytes of the rows that wait."""
    dead_octets: int = 0
    """Bytes of the dead letters that are kept."""

    def snapshot(self, pending: int, locked: int = 0) -> Counts:
        """A snapshot; ``pending`` envelopes were captured, but are not in any file yet; ``locked`` are out of reach."""
        return Counts(
            captured=self.captured + pending,
            adopted=self.adopted,
            delivered=self.delivered,
            waiting=self.rows + pending,
            refused=self.refused,
            dead_letters=self.dead_letters,
            evicted=self.evicted,
            held=self.held,
            forgotten=self.forgotten,
            repeats=self.repeats,
            pending_commit=pending,
            locked=locked,
        )
