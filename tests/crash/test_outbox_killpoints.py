"""Killed at each of the places where a process can be in the life of a turn."""

from collections import Counter
from pathlib import Path

import pytest
import zygote
from programs import EQUIPMENT, assert_each_turn_once, drain, python

POINTS = tuple(f"K{name}" for name in (*range(1, 15), "14b", 15, 17, 18))
"""K16, inside a migration, is in test_outbox_migration.py: it needs a file of an older version."""


def killed(folder: Path, seed: int, *points: str) -> tuple[set[str], Counter[str]]:
    """Kill a process at each of the points, one after the other in one folder: turns told of, and points reached."""
    done = python(str(EQUIPMENT / "killpoints.py"), str(folder), str(seed), *points)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    told = {rest for kind, _, rest in lines if kind == "told"}
    return told, Counter(f"{kind} {rest}" for kind, _, rest in lines if kind != "told")


@pytest.mark.parametrize("seed", range(5), ids=lambda seed: f"round-{seed}")
def test_a_turn_that_was_told_survives_every_kill_point(tmp_path, seed) -> None:
    """Eighteen places, five times: every turn whose capture had returned arrives, in order, under one id."""
    told, points = killed(tmp_path, seed, "K6", *POINTS)
    assert points == {"reached K6": 2} | {f"reached {point}": 1 for point in POINTS if point != "K6"}
    assert len(told) > 150
    drain(tmp_path)
    assert_each_turn_once(tmp_path, told)


def test_a_turn_is_sent_again_only_where_it_must_be(tmp_path) -> None:
    """Killed before it was sent or after it was deleted, nothing is sent twice."""
    told, _ = killed(tmp_path, 1, "K2", "K3", "K4", "K12", "K17")
    drain(tmp_path)
    sent = Counter(event_id for event_id, _, _ in zygote.received(tmp_path))
    assert len(sent) >= len(told)
    assert max(sent.values()) == 1


def test_half_a_turn_is_never_a_turn(tmp_path) -> None:
    """Killed while half of it was on its way: the platform gets the whole later."""
    told, _ = killed(tmp_path, 2, "K8", "K8", "K8")
    halves = (tmp_path / "received").read_text(encoding="utf-8").splitlines()
    assert sum(bool(line) and not line.endswith(zygote.END) for line in halves) == 3
    drain(tmp_path)
    assert_each_turn_once(tmp_path, told)
    assert not list((tmp_path / "outbox").iterdir())
