"""Processes killed at each of the places where one can be in the life of a turn."""

from dataclasses import asdict, dataclass
from pathlib import Path

from arrivals import Arrivals, added, settled
from killpoints import POINTS
from programs import EQUIPMENT, python


@dataclass(frozen=True)
class Figures(Arrivals):
    """``reached``: processes that died where they should; ``missed``: those that never came there."""

    reached: int
    missed: int


def measure(folder: Path, *, rounds: int) -> Figures:
    """Each round kills at every place, one after the other in one folder, so that each finds what the last one left."""
    found = []
    for number in range(rounds):
        own = folder / str(number)
        own.mkdir()
        done = python(str(EQUIPMENT / "killpoints.py"), str(own), str(number), "K6", *POINTS)
        if done.returncode or done.stderr:
            raise RuntimeError(done.stderr)
        lines = [line.partition(" ") for line in done.stdout.splitlines()]
        kinds = [kind for kind, _, _ in lines]
        arrived = settled(own, {turn for kind, _, turn in lines if kind == "told"})
        found.append(Figures(**asdict(arrived), reached=kinds.count("reached"), missed=kinds.count("missed")))
    return added(found)
