"""What we take in memory: after 10,000 turns, over the bare framework, and how much more after 30,000."""

from __future__ import annotations

import gc
import json
import sys

from applications import QUESTION, chain
from contenders import embedded_synap
from measuring import Effort, Figure, Report, python, resident_mb

from synap_integrations.langchain import SynapCallbackHandler

TARGET_MB, TARGET_GROWTH_MB = 40.0, 5.0
TURNS, LATER = 10_000, 30_000
CONVERSATIONS = 50


def measure(effort: Effort) -> Report:
    turns = [str(effort.of(TURNS)), str(effort.of(LATER))]
    bare = json.loads(python(__file__, "bare", turns[0]))
    ours = json.loads(python(__file__, "ours", *turns))
    over = Figure("resident after 10,000 turns, over the bare framework", ours[0] - bare[0], "MB", TARGET_MB)
    growth = Figure("more from there to 30,000 turns", ours[1] - ours[0], "MB", TARGET_GROWTH_MB)
    return Report([over, growth])


def _resident_after(marks: list[int], callbacks: object = None) -> list[float]:
    """Run turns as fast as they go; the resident memory when each number of turns is reached."""
    turn, found = chain(), []
    for number in range(1, max(marks) + 1):
        metadata = {"user_id": f"user-{number % 7}", "thread_id": f"thread-{number % CONVERSATIONS}"}
        turn.invoke(QUESTION, {"callbacks": callbacks, "metadata": metadata})
        if number in marks:
            gc.collect()
            found.append(resident_mb())
    return found


if __name__ == "__main__":
    who, marks = sys.argv[1], [int(mark) for mark in sys.argv[2:]]
    if who == "bare":
        print(json.dumps(_resident_after(marks)))
    else:
        with embedded_synap() as synap:
            print(json.dumps(_resident_after(marks, [SynapCallbackHandler(synap)])))
