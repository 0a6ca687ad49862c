"""What a handler adds to a turn whose answer streams in 200 tokens, and what one token takes in the handler itself."""

from __future__ import annotations

import uuid
from time import perf_counter

from applications import QUESTION, streaming_chain
from contenders import NO_OP, OURS, TARGETED, contenders, narrowed
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from measuring import Effort, Figure, Report, Spread, clock, interleaved, peers

TARGET_NO_OPS = 1.5
TOKENS = 2_000


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
        tokens = {name: lambda h=handlers[name][0]: _a_token(h) for name in (NO_OP, OURS)}
        taken = interleaved(tokens, rounds=effort.of(50), rest_s=0)
        for name, seconds in taken.items():
            spread = Spread.of(seconds).times(1e6)
            figures.append(Figure(f"a token in the handler, {name}", spread.median, "µs", spread=spread))
        return Report(figures, peers(interleaved(stream, rounds=effort.of(100)), "streamed"))


def _a_token(handler: BaseCallbackHandler) -> float:
    """Seconds that the hook for a token takes, within a model's run."""
    run_id = uuid.uuid4()
    handler.on_llm_start({}, ["When is my flight?"], run_id=run_id)
    began = perf_counter()
    for _ in range(TOKENS):
        handler.on_llm_new_token("a", chunk=None, run_id=run_id, parent_run_id=None, tags=None)
    took = perf_counter() - began
    handler.on_llm_end(LLMResult(generations=[[ChatGeneration(message=AIMessage("a" * TOKENS))]]), run_id=run_id)
    return took / TOKENS
