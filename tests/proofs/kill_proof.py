"""Processes killed with -9 at random moments: what was lost, what came twice, how often something was sent again."""

from pathlib import Path

from arrivals import Arrivals, settled
from programs import EQUIPMENT, python


def measure(folder: Path, *, kills: int, seed: int = 7) -> Arrivals:
    """Kill so many, one after the other, every fifth while it delivers and adopts; then deliver what is left."""
    done = python(str(EQUIPMENT / "zygote.py"), str(folder), str(kills), str(seed), timeout=900)
    if done.returncode or done.stderr:
        raise RuntimeError(done.stderr)
    return settled(folder, set(done.stdout.split()))
