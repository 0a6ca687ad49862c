"""How we measure: interleaved rounds in one process, medians and quartiles, differences taken within a round.

Whatever else the machine does falls on all variants of a round alike and cancels in their differences. Every round
has its own order, so that no variant always pays for the same neighbour. Between two turns the process rests for
``rest_s``, as an application does while its model thinks: background threads do their work then, and not during the
turn of a neighbour. Without a rest, caches stay warm and the delivery of one turn falls on whichever turn comes next.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

Clock = Callable[[], float]
"""Does one turn and returns how long it took, in seconds."""

HERE = Path(__file__).parent
REST_S = 0.005


@dataclass(frozen=True)
class Effort:
    """How much to measure: 1.0 is the whole, 0.1 a tenth of the rounds."""

    scale: float = 1.0

    def of(self, count: int, *, least: int = 3) -> int:
        """So many rounds, turns or repeats of the ``count`` that the whole measurement takes."""
        return max(least, round(count * self.scale))


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of at least two values."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def times(self, factor: float) -> Spread:
        """The same in another unit."""
        return Spread(self.median * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Figure:
    """One measured number beside its target. ``target`` is None where the number is shown for comparison only."""

    name: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False
    spread: Spread | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass(frozen=True)
class Peer:
    """What one contender adds to a turn, in µs, and how often the no-op's addition that is."""

    contender: str
    turn: str
    added_us: Spread
    ratio: float

    @property
    def note(self) -> str:
        """The times behind the ratio, in words."""
        return f"{self.added_us.median:,.0f} µs; no-op {self.added_us.median / self.ratio:,.0f} µs"


@dataclass(frozen=True)
class Report:
    """What one benchmark found."""

    figures: list[Figure] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)


def clock(turn: Callable[[], object]) -> Clock:
    """Time a plain function."""

    def timed() -> float:
        began = time.perf_counter()
        turn()
        return time.perf_counter() - began

    return timed


def async_clock(runner: asyncio.Runner, turn: Callable[[], Awaitable[object]]) -> Clock:
    """Time a coroutine function from inside the runner's loop, so that starting the loop is not counted."""

    async def timed() -> float:
        began = time.perf_counter()
        await turn()
        return time.perf_counter() - began

    return lambda: runner.run(timed())


def interleaved(
    clocks: Mapping[str, Clock], *, rounds: int, warm_up: int = 20, rest_s: float = REST_S
) -> dict[str, list[float]]:
    """Seconds of every variant in every round: A B C, C A B, B A C, …; the n-th values belong to one round."""
    order, shuffle = list(clocks), random.Random(7).shuffle
    taken: dict[str, list[float]] = {name: [] for name in order}
    for turn in range(-min(warm_up, rounds), rounds):
        shuffle(order)
        for name in order:
            seconds = clocks[name]()
            if turn >= 0:
                taken[name].append(seconds)
            time.sleep(rest_s)
    return taken


def added(taken: Mapping[str, Sequence[float]], name: str, to: str = "bare") -> Spread:
    """What the variant takes over the other one of the same round, in µs."""
    return Spread.of([1e6 * (more - less) for more, less in zip(taken[name], taken[to], strict=True)])


def peers(taken: Mapping[str, Sequence[float]], turn: str, *, bare: str = "bare", noop: str = "no-op") -> list[Peer]:
    """The table of contenders: added time and its ratio to the no-op's."""
    floor = added(taken, noop, bare).median
    spreads = {name: added(taken, name, bare) for name in taken if name != bare}
    return [Peer(name, turn, spread, spread.median / floor) for name, spread in spreads.items()]


def resident_mb() -> float:
    """Memory of this process that is in RAM now, in MB; the peak where the system tells no more."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def python(*arguments: str, timeout_s: float = 300) -> str:
    """Run this interpreter in a process of its own; what it printed. Raises CalledProcessError with its complaint."""
    command = [sys.executable, *arguments]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=timeout_s, cwd=HERE)
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr)
        raise
    return done.stdout
