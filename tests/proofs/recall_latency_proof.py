"""What a chain takes that is shown context, when its platform swallows everything: which calls wait, and how long."""

import gc
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from faultproxy import BLACK_HOLE, FaultProxy
from langchain_core.messages import HumanMessage
from langchain_core.runnables import Runnable
from langchain_models import WholeModel
from latency_proof import PAUSE_S
from socket_platform import SocketPlatform

from synap_integrations import Synap
from synap_integrations.langchain import SynapCallbackHandler, with_synap_memory

IN_VAIN = 3
"""Waits before nobody waits any more…"""
PAUSES_S = tuple(accumulate([5, 10, 20, 40, 80, 160, *[300] * 10]))
"""…and when after that one call may try again."""
TIMEOUT_S = 0.3
MORE_MS = 0.5
"""Looking for what is held costs something; so much is not counted."""


@dataclass(frozen=True)
class Figures:
    """Medians in milliseconds. ``waits``: calls that waited for context, ``uncalled_for`` those beyond the first three
    and one after each pause; ``longest_wait_ms`` by the receipts. ``beyond_ms``: what the median with context exceeds
    the median without by, less 5 % or 0.5 ms. The worse one of two platforms: one that swallows everything from the
    start, and one that begins to after it has been connected to.
    """

    calls: int
    waits: int
    uncalled_for: int
    longest_wait_ms: float
    without_ms: float
    with_ms: float
    beyond_ms: float


def measure(folder: Path, *, calls: int) -> Figures:
    """Each call with context is followed by one without, before the same platform."""
    found = [_before(folder / name, calls, late=late) for name, late in (("start", False), ("later", True))]
    worst = max(found, key=lambda figures: figures.beyond_ms)
    return Figures(
        sum(figures.calls for figures in found),
        max(figures.waits for figures in found),
        max(figures.uncalled_for for figures in found),
        max(figures.longest_wait_ms for figures in found),
        worst.without_ms,
        worst.with_ms,
        worst.beyond_ms,
    )


def _before(storage: Path, calls: int, *, late: bool) -> Figures:
    with ExitStack() as stack:
        platform = stack.enter_context(SocketPlatform())
        proxies = [stack.enter_context(FaultProxy(port)) for port in (platform.rest_port, platform.grpc_port)]
        shut = _shutter(proxies)
        if not late:
            shut()
        sides = [_side(stack, platform, proxies, storage / context, context) for context in ("off", "inject")]
        for chain, synap, _ in sides:
            _seconds(chain, -1)
            assert not late or synap._listening.wait(30)
        if late:
            shut()
        began, took = time.monotonic(), ([], [])
        gc.disable()
        for number in range(calls):
            for side in (0, 1) if number % 2 else (1, 0):
                took[side].append(_seconds(sides[side][0], number))
        gc.enable()
        allowed = IN_VAIN + sum(pause_s <= time.monotonic() - began for pause_s in PAUSES_S)
        waited = sides[1][2]
        off_ms, on_ms = (statistics.median(times) * 1_000 for times in took)
        return Figures(
            calls,
            len(waited),
            max(0, len(waited) - allowed),
            round(max(waited, default=0.0) * 1_000, 1),
            round(off_ms, 3),
            round(on_ms, 3),
            round(max(0.0, on_ms - off_ms - max(0.05 * off_ms, MORE_MS)), 3),
        )


def _shutter(proxies: list[FaultProxy]) -> Callable[[], None]:
    def shut() -> None:
        for proxy in proxies:
            proxy.usual = BLACK_HOLE
            proxy.freeze()

    return shut


def _side(
    stack: ExitStack, platform: SocketPlatform, proxies: list[FaultProxy], storage: Path, context: str
) -> tuple[Runnable, Synap, list[float]]:
    """A chain, its Synap, and the waits of its recalls, in seconds."""
    rest, stream = (proxy.port for proxy in proxies)
    address = platform.address | {"base_url": f"http://127.0.0.1:{rest}", "grpc_port": stream}
    terms = {"storage_path": storage, "context": context, "recall_timeout_s": TIMEOUT_S}
    synap = stack.enter_context(Synap(**address, **terms, shutdown_timeout_s=0.2, request_timeout_s=5.0))
    waited, recall = [], synap.recall

    def noted(*args: object, **named: object) -> object:
        found = recall(*args, **named)
        if found.receipt and found.receipt.waited_s:
            waited.append(found.receipt.waited_s)
        return found

    synap.recall = noted
    handler = SynapCallbackHandler(synap, user_id="ana")
    return with_synap_memory(WholeModel(), synap).with_config(callbacks=[handler]), synap, waited


def _seconds(chain: Runnable, number: int) -> float:
    time.sleep(PAUSE_S)
    began = time.perf_counter()
    chain.invoke([HumanMessage(f"is this {number}?")], {"metadata": {"conversation_id": f"c-{number % 20}"}})
    return time.perf_counter() - began
