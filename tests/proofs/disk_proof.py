"""A disk that is full for a while, from any write on, and then has room again."""

from dataclasses import dataclass
from pathlib import Path

from clocks import ManualClock
from delivery_world import turn
from faulty_disk import FULL, OK, FaultyDisk

from synap_integrations.outbox import SqliteOutbox


@dataclass(frozen=True)
class Figures:
    """``refused`` turns were counted as such. ``lost``: accepted, and not with the next process.

    ``undeleted``: arrived on a disk without room, and not deleted there. ``not_resumed``: refused although there was
    room again.
    """

    disks: int
    captured: int
    refused: int
    lost: int
    undeleted: int
    not_resumed: int
    unaccounted: int


def measure(folder: Path, *, disks: int) -> Figures:
    """Each is full from another of its writes on, while turns are captured and others are deleted."""
    found = [_one(folder / str(number), first=number + 1, lasting=3 + number % 40) for number in range(disks)]
    return Figures(disks, *(sum(figures) for figures in zip(*found, strict=True)))


def _one(folder: Path, *, first: int, lasting: int) -> tuple[int, int, int, int, int, int]:
    clock, writes, captured = ManualClock(), 0, []

    def full(_path: str, _nth: int) -> int:
        nonlocal writes
        writes += 1
        return FULL if first <= writes < first + lasting else OK

    with FaultyDisk(folder.parent) as disk:
        outbox = SqliteOutbox(folder, capture_wait_s=30, clock=clock)

        def say(count: int) -> None:
            for _ in range(count):
                outbox.append(envelope := turn("x" * 300))
                captured.append(envelope.event_id)

        disk.on_write = full
        say(12)
        disk.on_write = lambda path, nth: OK
        clock.advance(60)
        outbox.maintain()
        refused = outbox.counts().refused
        say(8)
        not_resumed = outbox.counts().refused - refused
        undeleted = _undeleted(outbox, disk, folder)
        clock.advance(60)
        outbox.maintain()
        counts = outbox.counts()
        unaccounted = int(not counts.add_up) + int(counts.captured != len(captured))
        outbox.close()
    kept = _kept(folder)
    return len(captured), counts.refused, counts.waiting - len(kept), undeleted, not_resumed, unaccounted


def _undeleted(outbox: SqliteOutbox, disk: FaultyDisk, folder: Path) -> int:
    """Some arrive while nothing can be written unless room is made."""
    outbox.maintain()
    claimed = [envelope.event_id for envelope in outbox.claim(4)]
    reserves = [path for path in folder.glob("*.reserve") if path.stat().st_size]
    disk.on_write = lambda path, nth: FULL if any(path.exists() for path in reserves) else OK
    before = outbox.counts().delivered
    outbox.acknowledge(claimed)
    missing = len(claimed) - (outbox.counts().delivered - before)
    disk.on_write = lambda path, nth: OK
    return missing


def _kept(folder: Path) -> set[str]:
    outbox = SqliteOutbox(folder, capture_wait_s=30)
    for _ in range(10):
        if not outbox.adopt():
            break
    found = {envelope.event_id for envelope in outbox.claim(1_000)}
    outbox.close()
    return found
