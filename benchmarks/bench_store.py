"""LangGraph's store on the embedded Synap: what a batch of 100 operations takes, beside LangGraph's own in memory.

Wall time on a quiet machine; the median of the process's own processor time stands beside it, for busy ones.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from langgraph.store.base import BaseStore, GetOp, Op, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore
from measuring import Effort, Figure, Report, Spread

from synap_integrations import Synap
from synap_integrations.langchain import SynapStore

TARGET_MS = 20.0
ROUNDS = 40
USERS = 5


def measure(effort: Effort) -> Report:
    rounds = effort.of(ROUNDS)
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        ours = SynapStore(Synap(base_url="local", storage_path=Path(folder)))
        batches: dict[str, tuple[BaseStore, Callable[[int], list[Op]], float | None]] = {
            "50 puts and 50 gets": (ours, mixed, TARGET_MS),
            "100 puts": (ours, puts, TARGET_MS),
            "100 gets": (ours, gets, TARGET_MS),
            "a search by words": (ours, search, None),
            "50 puts and 50 gets, LangGraph's own in memory": (InMemoryStore(), mixed, None),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in batches}
        for number in range(rounds + 1):
            for name, (store, batch, _) in batches.items():
                taken[name].append(timed(store, batch(number)))
        for name, (_, _, target) in batches.items():
            wall = Spread.of([wall_s * 1e3 for wall_s, _ in taken[name][1:]])
            used = Spread.of([used_s * 1e3 for _, used_s in taken[name][1:]])
            figures.append(Figure(f"{name}: p50", wall.median, "ms", target, spread=wall))
            figures.append(Figure(f"{name}: processor time", used.median, "ms", spread=used))
        ours.close()
    return Report(figures)


def timed(store: BaseStore, ops: list[Op]) -> tuple[float, float]:
    """Wall and processor time of one batch, in seconds."""
    wall_s, used_s = time.perf_counter(), time.process_time()
    store.batch(ops)
    return time.perf_counter() - wall_s, time.process_time() - used_s


def mixed(number: int) -> list[Op]:
    """What was put in the round before is got."""
    ops: list[Op] = []
    for at in range(50):
        ops.append(PutOp(space(at), f"{number}-{at}", {"text": f"note {at} of round {number}"}))
        ops.append(GetOp(space(at), f"{number - 1}-{at}"))
    return ops


def puts(number: int) -> list[Op]:
    return [PutOp(space(at), f"put-{at}", {"text": f"note {at} of round {number}"}) for at in range(100)]


def gets(number: int) -> list[Op]:  # noqa: ARG001 - as the others
    return [GetOp(space(at), f"put-{at}") for at in range(100)]


def search(number: int) -> list[Op]:
    return [SearchOp(space(0)[:2], query=f"note 5 of round {number}")]


def space(at: int) -> tuple[str, ...]:
    return ("users", f"user-{at % USERS}", "notes")
