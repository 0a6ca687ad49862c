"""Processes killed with -9 at random moments: what was lost, what came twice, how often something was sent again."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import zygote
from programs import EQUIPMENT, drain, python


@dataclass(frozen=True)
class Figures:
    """``doubled`` is what a platform that removes repeats would hold twice; ``repeats`` are sends beyond the first."""

    kills: int
    told: int
    lost: int
    doubled: int
    inversions: int
    repeats: int


def measure(folder: Path, *, kills: int, seed: int = 7) -> Figures:
    """Kill so many, one after the other, then deliver what is left."""
    done = python(str(EQUIPMENT / "zygote.py"), str(folder), str(kills), str(seed), timeout=900)
    if done.returncode or done.stderr:
        raise RuntimeError(done.stderr)
    told = set(done.stdout.split())
    drain(folder)
    sent = Counter(event_id for event_id, _, _ in zygote.received(folder))
    ids_of, numbers, seen = defaultdict(set), defaultdict(list), set()
    for event_id, conversation, text in zygote.received(folder):
        ids_of[text].add(event_id)
        if event_id not in seen:
            numbers[conversation].append(int(re.findall(r"\d+$", text)[0]))
        seen.add(event_id)
    return Figures(
        kills=kills,
        told=len(told),
        lost=len(told - ids_of.keys()),
        doubled=sum(len(ids) - 1 for ids in ids_of.values()),
        inversions=sum(found != sorted(found) for found in numbers.values()),
        repeats=sum(sent.values()) - len(sent),
    )
