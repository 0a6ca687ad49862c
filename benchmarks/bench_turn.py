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
        plain = peers(interleaved(narrowed(sync, TARGETED), rounds=effort.of(700), warm_up=50), "chain, sync")
        ours = next(peer for peer in plain if peer.contender == OURS)
        name = "a turn on the caller's thread"
        report.figures.append(Figure(name, ours.ratio, "x no-op", TARGET_NO_OPS, note=ours.beside(plain)))
        report.peers.extend(peers(interleaved(sync, rounds=effort.of(200)), "chain, sync"))

        async_ = {
            name: async_clock(runner, lambda h=h: turn.ainvoke(QUESTION, {"callbacks": h}))
            for name, h in handlers.items()
        }
        report.peers.extend(peers(interleaved(async_, rounds=effort.of(200)), "chain, async"))
    return report
