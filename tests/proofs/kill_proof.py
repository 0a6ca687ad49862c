"""Processes killed with -9 at random moments: what was lost, what came twice, how often something was sent again.

One conversation goes on in all of them, one after the other.
"""

from pathlib import Path

from arrivals import Arrivals, added, settled
from programs import EQUIPMENT, python

IN_A_FOLDER = 50
"""Then what is left is delivered: behind a long backlog nobody lives long enough to come to sending."""


def measure(folder: Path, *, kills: int, seed: int = 7) -> Arrivals:
    """Kill so many, one after the other, every fifth while it delivers and adopts; then deliver what is left."""
    return added(
        [_some(folder / str(at), min(IN_A_FOLDER, kills - at), seed + at) for at in range(0, kills, IN_A_FOLDER)]
    )


def _some(folder: Path, kills: int, seed: int) -> Arrivals:
    folder.mkdir()
    done = python(str(EQUIPMENT / "zygote.py"), str(folder), str(kills), str(seed), timeout=900)
    if done.returncode or done.stderr:
        raise RuntimeError(done.stderr)
    return settled(folder, set(done.stdout.split()))
