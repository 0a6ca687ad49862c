"""What a handler adds to the turn of an agent that calls three tools, about 30 callback events, sync."""

from __future__ import annotations

from applications import QUESTION, agent
from contenders import OURS, TARGETED, contenders, narrowed
from measuring import Effort, Figure, Report, added, clock, interleaved, peers

TARGET_LANGFUSES = 0.3


def measure(effort: Effort) -> Report:
    asked = {"messages": [("user", QUESTION["question"])]}
    turn = agent()
    with contenders() as handlers:
        runs = {name: clock(lambda h=h: turn.invoke(asked, {"callbacks": h})) for name, h in handlers.items()}
        taken = interleaved(narrowed(runs, (*TARGETED, "Langfuse")), rounds=effort.of(300))
        ours = added(taken, OURS)
        figures = []
        if "Langfuse" in taken:
            langfuse = added(taken, "Langfuse")
            note = f"{ours.median:,.0f} µs; Langfuse {langfuse.median:,.0f} µs"
            name = "an agent's turn with three tools"
            figures.append(Figure(name, ours.median / langfuse.median, "x Langfuse", TARGET_LANGFUSES, note=note))
        return Report(figures, peers(interleaved(runs, rounds=effort.of(100)), "agent"))
