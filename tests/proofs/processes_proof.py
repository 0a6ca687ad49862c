"""Processes side by side in one folder, killed at random moments and replaced, adopting what the dead have left."""

import os
import random
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import zygote
from arrivals import Arrivals, settled

import synap_integrations.outbox.delivery  # noqa: F401 - so that no child has to

LONGEST_LIFE_S = 120


@dataclass(frozen=True)
class Figures(Arrivals):
    """``kills``: processes that were killed; there were always as many as asked for."""

    kills: int


def measure(folder: Path, *, processes: int, kills: int, seed: int = 9) -> Figures:
    """Kill one at random, start the next; at the end kill all, and deliver what is left."""
    rng, alive, told = random.Random(seed), [], set()
    for child in range(processes + kills):
        if len(alive) == processes:
            time.sleep(rng.uniform(0.01, 0.1))
            told |= _killed(*alive.pop(rng.randrange(processes)))
        alive.append(_started(folder, child))
    for pid, reading in alive:
        told |= _killed(pid, reading)
    return Figures(**asdict(settled(folder, told)), kills=kills)


def _started(folder: Path, child: int) -> tuple[int, int]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(LONGEST_LIFE_S)  # whatever becomes of its parent
        os.close(reading)
        zygote.capture(folder, child, writing)
    os.close(writing)
    return pid, reading


def _killed(pid: int, reading: int) -> set[str]:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return set(zygote.told(reading))
