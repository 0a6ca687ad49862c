"""What a handler adds to a turn of ``prompt | model | parser`` on the caller's thread, sync and async."""

from __future__ import annotations

import asyncio

from applications import QUESTION, chain
from contenders import OURS, TARGETED, contenders, narrowed
from measuring import Effort, Figure, Report, async_clock, clock, interleaved, peers

TARGET_NO_OPS = 4.5


def measure(effort: Effort) -> Report:
    report = Report()
    turn = chain()
    with contenders() as handlers, asyncio.Runner() as runner:
        sync = {name: clock(lambda h=h: turn.invoke(QUESTION, {"callbacks": h})) for name, h in handlers.items()}
        targeted = narrowed(sync, TARGETED)
        taken = interleaved(targeted, rounds=effort.of(1500), warm_up=50, rest_s=0)
        report.figures.append(_figure("a turn on the caller's thread", taken, TARGET_NO_OPS))
        taken = interleaved(targeted, rounds=effort.of(400))
        report.figures.append(_figure("the same with 5 ms between turns, caches cold", taken))
        report.peers.extend(peers(interleaved(sync, rounds=effort.of(200)), "chain, sync"))

        async_ = {
            name: async_clock(runner, lambda h=h: turn.ainvoke(QUESTION, {"callbacks": h}))
            for name, h in handlers.items()
        }
        report.peers.extend(peers(interleaved(async_, rounds=effort.of(200)), "chain, async"))
    return report


def _figure(name: str, taken: dict[str, list[float]], target: float | None = None) -> Figure:
    found = peers(taken, "chain, sync")
    ours = next(peer for peer in found if peer.contender == OURS)
    return Figure(name, ours.ratio, "x no-op", target, note=ours.note)
