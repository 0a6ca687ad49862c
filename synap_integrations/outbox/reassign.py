"""Giving what waits under one key to another: somebody's decision, never our own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .files import OutboxFile, outbox_files


@dataclass(frozen=True, slots=True)
class Reassigned:
    """Files that moved to the other folder, and files that stay because a living process uses them."""

    moved: int
    in_use: int


def reassign(source: Path, target: Path) -> Reassigned:
    """Move the outbox files of ended processes from one folder to another, where the next process delivers them.

    Order, log and high-water mark go with them. Raises: OSError, if a file cannot be moved; it then is where it was.
    """
    moved = in_use = 0
    for path in outbox_files(source):
        if (file := OutboxFile.orphan(path)) is None:
            in_use += 1
            continue
        file.move_to(target)
        moved += 1
    return Reassigned(moved, in_use)
