"""What a receiver in a file got, held against what processes were told is kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import zygote

LONGEST_S = 300.0
"""For what is left: a hundred thousand turns take two minutes."""


@dataclass(frozen=True)
class Arrivals:
    """``doubled``: turns that a platform which removes repeats would hold twice. ``repeats``: sends beyond the first.

    ``unaccounted``: outboxes whose counters do not add up, and files that nobody took over.
    """

    told: int
    lost: int
    doubled: int
    inversions: int
    repeats: int
    unaccounted: int


def settled(folder: Path, told: set[str]) -> Arrivals:
    """Deliver what is left, as the next start does; then judge. Turns end in their number in the conversation."""
    outbox, worker = zygote.desk(folder)
    worker.flush(LONGEST_S)
    worker.close(10)
    # What a process left that was killed while it made its file is put aside; a turn in it would be lost, and seen so.
    left = sum(".corrupt" not in path.name for path in (folder / "outbox").glob("ob-*"))
    return judged(folder, told, unaccounted=left + (not outbox.counts().add_up))


def added(found: Sequence[Arrivals]) -> Arrivals:
    """The sum of each figure; of the same kind as what was found."""
    kind = type(found[0])
    return kind(**{field.name: sum(getattr(one, field.name) for one in found) for field in fields(kind)})


def judged(folder: Path, told: set[str], *, unaccounted: int = 0) -> Arrivals:
    """What the file says."""
    ids_of, numbers = defaultdict(set), defaultdict(list)
    sent: Counter[str] = Counter()
    for event_id, conversation, text in zygote.received(folder):
        ids_of[text].add(event_id)
        if not sent[event_id]:
            numbers[conversation].append(int(text.rpartition("-")[2]))
        sent[event_id] += 1
    return Arrivals(
        told=len(told),
        lost=len(told - ids_of.keys()),
        doubled=sum(len(ids) - 1 for ids in ids_of.values()),
        inversions=sum(found != sorted(found) for found in numbers.values()),
        repeats=sum(sent.values()) - len(sent),
        unaccounted=unaccounted,
    )
