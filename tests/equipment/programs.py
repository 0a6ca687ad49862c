"""Pythons of their own, and what is checked after they have ended."""

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import zygote
from history import assert_accounted

EQUIPMENT = Path(zygote.__file__).parent
ROOT = EQUIPMENT.parents[1]


def environment(**more: str) -> dict[str, str]:
    """The package and the equipment on the path; the protection that this run does without, if any."""
    passed = {name: os.environ[name] for name in ("PATH", "SABOTAGE") if name in os.environ}
    return passed | {"PYTHONPATH": f"{ROOT}{os.pathsep}{EQUIPMENT}"} | more


def python(*arguments: str, timeout: float = 120, **more: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end. ``more`` are variables of its environment."""
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=environment(**more), check=False
    )


def drain(folder: Path) -> None:
    """The next start: deliver what is left of all processes."""
    outbox, worker = zygote.desk(folder)
    assert worker.flush(60)
    assert worker.close(10)
    assert_accounted(outbox.counts())
    assert list((folder / "outbox").glob("ob-*")) == []


def assert_each_turn_once(folder: Path, told: set[str]) -> None:
    """Nothing lost; no turn under two ids; each conversation in order at a receiver that removes repeats."""
    ids_of, numbers = defaultdict(set), defaultdict(list)
    seen: set[str] = set()
    for event_id, conversation, text in zygote.received(folder):
        ids_of[text].add(event_id)
        if event_id not in seen:
            numbers[conversation].append(int(text.rpartition("-")[2]))
        seen.add(event_id)
    assert told <= ids_of.keys()
    assert {text: ids for text, ids in ids_of.items() if len(ids) > 1} == {}
    assert {name: found for name, found in numbers.items() if found != sorted(found)} == {}
