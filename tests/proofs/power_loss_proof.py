"""How many possible states of the disk after a power failure lose a turn that was promised to be there."""

import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from power_loss import recorded, recovered, scratch, states


@dataclass(frozen=True)
class Figures:
    """``broken`` states could not be opened by the next process; ``altered`` held something nobody had said."""

    states: int = 0
    lost: int = 0
    altered: int = 0
    broken: int = 0


def measure(folder: Path, *, durability: str, turns: int = 40, each: int = 4, syncs_count: bool = True) -> Figures:
    """Record a run of an outbox, rebuild each state, open it as the next process would."""
    run = recorded(folder / "run", durability=durability, turns=turns)
    place = scratch(folder)
    count = lost = altered = broken = 0
    try:
        for state in states(run, each=each, syncs_count=syncs_count):
            count += 1
            try:
                found = recovered(state, place)
            except sqlite3.DatabaseError:
                broken += bool(state.promised)
                continue
            lost += bool(state.promised - found.keys())
            altered += any(run.envelopes.get(event_id) != envelope for event_id, envelope in found.items())
    finally:
        shutil.rmtree(place)
    return Figures(count, lost, altered, broken)
