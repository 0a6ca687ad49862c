"""Synaps that are opened, used over real sockets, and closed: what of them is still there."""

import gc
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from socket_platform import SocketPlatform

from synap_integrations import Scope, Synap
from synap_integrations.model import ToolCall, UserMessage

SCOPE = Scope("2f0f8d3c-4f0e-4e0a-9a63-1b6a39d6b6a1", "ana")
LETS_GO_WITHIN_S = 5.0


@dataclass(frozen=True)
class Figures:
    """``files`` are open descriptors, sockets among them; both beyond those of the first round."""

    rounds: int
    undelivered: int
    threads: int
    files: int


def measure(folder: Path, *, rounds: int) -> Figures:
    """The first round is the libraries' own warm-up: what they load once stays."""
    undelivered, before = 0, (0, 0)
    with SocketPlatform() as platform:
        for number in range(rounds + 1):
            with Synap(**platform.address, storage_path=folder / "synap") as synap:
                synap.record(UserMessage(f"turn {number}"), scope=SCOPE)
                synap.record(ToolCall("search", {}, f"call-{number}"), scope=SCOPE)
                undelivered += not synap.flush(20)
            if not number:
                before = _open_now()
        until = time.monotonic() + LETS_GO_WITHIN_S
        while (left := _beyond(before)) != (0, 0) and time.monotonic() < until:
            time.sleep(0.05)
    return Figures(rounds, undelivered, *left)


def _open_now() -> tuple[int, int]:
    gc.collect()
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


def _beyond(before: tuple[int, int]) -> tuple[int, int]:
    threads, files = _open_now()
    return max(0, threads - before[0]), max(0, files - before[1])
