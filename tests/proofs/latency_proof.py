"""What a chain takes whose platform swallows everything, beside one whose platform is well: call by call, by turns."""

import gc
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from faultproxy import BLACK_HOLE, PASS, Fate, FaultProxy
from langchain_core.messages import HumanMessage
from langchain_core.runnables import Runnable
from langchain_models import WholeModel
from socket_platform import SocketPlatform

from synap_integrations import Synap
from synap_integrations.langchain import SynapCallbackHandler

PAUSE_S = 0.01
"""Between two calls: a chain that is called without a pause competes with delivery for the processor."""


@dataclass(frozen=True)
class Figures:
    """Medians in milliseconds. ``beyond_ms``: what the difference exceeds 5 % of a healthy call, or 0.2 ms, by."""

    calls: int
    healthy_ms: float
    black_hole_ms: float
    beyond_ms: float
    delivered_in_the_hole: int


def measure(folder: Path, *, calls: int) -> Figures:
    """Each call of one kind is followed by one of the other."""
    with ExitStack() as stack:
        platform = stack.enter_context(SocketPlatform())
        sides = [_side(stack, platform, folder / name, fate) for name, fate in (("well", PASS), ("hole", BLACK_HOLE))]
        took: tuple[list[float], list[float]] = ([], [])
        gc.disable()
        for number in range(calls):
            for side in (0, 1) if number % 2 else (1, 0):
                took[side].append(_seconds(sides[side][0], number))
        gc.enable()
        well_ms, hole_ms = (statistics.median(times) * 1_000 for times in took)
        beyond_ms = max(0.0, hole_ms - well_ms - max(0.05 * well_ms, 0.2))
        delivered = sides[1][1].status().delivered
    return Figures(calls, round(well_ms, 3), round(hole_ms, 3), round(beyond_ms, 3), delivered)


def _side(stack: ExitStack, platform: SocketPlatform, storage: Path, fate: Fate) -> tuple[Runnable, Synap]:
    ports = []
    for port in (platform.rest_port, platform.grpc_port):
        proxy = stack.enter_context(FaultProxy(port))
        proxy.usual = fate
        ports.append(proxy.port)
    address = platform.address | {"base_url": f"http://127.0.0.1:{ports[0]}", "grpc_port": ports[1]}
    synap = stack.enter_context(Synap(**address, storage_path=storage, shutdown_timeout_s=0.2, request_timeout_s=5.0))
    handler = SynapCallbackHandler(synap, user_id="ana")
    return WholeModel().with_config(callbacks=[handler]), synap


def _seconds(chain: Runnable, number: int) -> float:
    time.sleep(PAUSE_S)
    began = time.perf_counter()
    chain.invoke([HumanMessage(f"hello {number}")], {"metadata": {"conversation_id": f"c-{number % 20}"}})
    return time.perf_counter() - began
