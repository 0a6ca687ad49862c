"""What a handler adds to a turn whose answer streams in 200 tokens."""

from __future__ import annotations

from applications import QUESTION, streaming_chain
from contenders import NO_OP, OURS, TARGETED, contenders, narrowed
from measuring import Effort, Figure, Report, Spread, clock, interleaved, peers

TARGET_NO_OPS = 1.5


def measure(effort: Effort) -> Report:
    turn = streaming_chain()
    with contenders() as handlers:
        stream = {
            name: clock(lambda h=h: list(turn.stream(QUESTION, {"callbacks": h}))) for name, h in handlers.items()
        }
        taken = interleaved(narrowed(stream, TARGETED), rounds=effort.of(300))
        plain = peers(taken, "streamed")
        ours = next(peer for peer in plain if peer.contender == OURS)
        name = "a turn streamed in 200 tokens"
        figure = Figure(name, ours.ratio, "x no-op", TARGET_NO_OPS, note=ours.note)
        whole = Spread.of(taken[OURS]).median / Spread.of(taken[NO_OP]).median
        figures = [figure, Figure("the same, all of the turn and not what is added", whole, "x no-op")]
        return Report(figures, peers(interleaved(stream, rounds=effort.of(100)), "streamed"))
