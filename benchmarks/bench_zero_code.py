"""What `synap run` costs: the start of a program that uses no framework, and a turn of one that does."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from applications import QUESTION, chain
from contenders import IDENTITY, embedded_synap
from measuring import Clock, Effort, Figure, Report, Spread, clock, interleaved

import synap_integrations
from synap_integrations.auto import launch
from synap_integrations.auto.run_options import Terms
from synap_integrations.langchain import SynapCallbackHandler

START_MS = 30.0
TURN_RATIO = 1.05
SYNAP = Path(sys.executable).with_name("synap")


def measure(effort: Effort) -> Report:
    return Report([*_starts(effort), _turn(effort)])


def _starts(effort: Effort) -> list[Figure]:
    """An empty program: bare, under the launcher, and with what the launcher puts before it alone."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "empty.py"
        program.write_text("pass\n")
        env = {"PATH": "/usr/bin:/bin"}
        clocks = {
            "bare": clock(lambda: _run([sys.executable, str(program)], env)),
            "launched": clock(lambda: _run([str(SYNAP), "run", str(program)], env)),
            "inside": clock(lambda: _run([sys.executable, str(program)], launch.prepared(env, Terms()))),
        }
        taken = interleaved(clocks, rounds=effort.of(40), warm_up=3, rest_s=0)
    bare = taken["bare"]
    more = {
        name: Spread.of([with_us - without for with_us, without in zip(taken[name], bare, strict=True)]).times(1e3)
        for name in ("launched", "inside")
    }
    note = f"bare {Spread.of(bare).median * 1e3:.1f} ms"
    names = {"launched": "synap run, added to a program's start", "inside": "of it, inside the program"}
    return [
        Figure(names[name], spread.median, "ms", START_MS, spread=spread, note=note) for name, spread in more.items()
    ]


def _run(command: list[str], env: dict[str, str]) -> None:
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)


def _turn(effort: Effort) -> Figure:
    """The same turn with a handler in its config, and with none but `enable()`."""
    turn = chain()
    metadata = {"metadata": {"thread_id": IDENTITY["conversation_id"], "user_id": IDENTITY["user_id"]}}
    with embedded_synap() as synap:
        handler = SynapCallbackHandler(synap)
        variants: dict[str, Clock] = {
            "explicit": clock(lambda: turn.invoke(QUESTION, {**metadata, "callbacks": [handler]})),
            "zero code": _enabled(lambda: turn.invoke(QUESTION, {**metadata}), synap),
        }
        taken = interleaved(variants, rounds=effort.of(600), warm_up=30, rest_s=0)
    ratios = [zero / explicit for zero, explicit in zip(taken["zero code"], taken["explicit"], strict=True)]
    note = f"{Spread.of(taken['explicit']).median * 1e6:,.0f} µs with the handler"
    spread = Spread.of(ratios)
    return Figure(
        "a turn without code, over one with the handler", spread.median, "x", TURN_RATIO, spread=spread, note=note
    )


def _enabled(turn: Callable[[], object], synap: synap_integrations.Synap) -> Clock:
    """Attached before the clock starts, detached after it has stopped."""

    def timed() -> float:
        with synap_integrations.enable(synap):
            began = time.perf_counter()
            turn()
            return time.perf_counter() - began

    return timed
