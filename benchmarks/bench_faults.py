"""What a broken platform adds to a turn on the caller's thread: nothing that anybody would notice.

One Synap for each platform, side by side in one process, their turns interleaved.
"""

from __future__ import annotations

import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

from applications import QUESTION, chain
from contenders import IDENTITY
from loopback import addresses, platform
from measuring import Effort, Figure, Report, Spread, added, clock, interleaved

from synap_integrations import Synap
from synap_integrations.langchain import SynapCallbackHandler

HEALTHY = "healthy"
MANNERS = {"refusing": "refuses", "slow": "answers after 500 ms", "mute": "never answers"}
TARGET_US, TARGET_SHARE = 200.0, 0.05


def measure(effort: Effort) -> Report:
    turn = chain()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        clocks = {}
        for manner in (HEALTHY, *MANNERS):
            settings = refusing() if manner == "refusing" else stack.enter_context(platform(manner))
            synap = Synap(storage_path=folder / manner, shutdown_timeout_s=0.2, **settings)
            stack.enter_context(synap)
            callbacks = [SynapCallbackHandler(synap, **IDENTITY)]
            clocks[manner] = clock(lambda callbacks=callbacks: turn.invoke(QUESTION, {"callbacks": callbacks}))
        taken = interleaved(clocks, rounds=effort.of(400))
    healthy_us = 1e6 * Spread.of(taken[HEALTHY]).median
    target = max(TARGET_US, TARGET_SHARE * healthy_us)
    return Report(
        [_figure(words, added(taken, manner, HEALTHY), target, healthy_us) for manner, words in MANNERS.items()]
    )


def _figure(words: str, over: Spread, target: float, healthy_us: float) -> Figure:
    note = f"a turn takes {healthy_us:,.0f} µs while it is healthy"
    return Figure(f"a turn while the platform {words}", over.median, "µs more", target, spread=over, note=note)


def refusing() -> dict[str, object]:
    """Two ports where nobody listens."""
    with socket.socket() as rest, socket.socket() as stream:
        rest.bind(("127.0.0.1", 0))
        stream.bind(("127.0.0.1", 0))
        return addresses(rest.getsockname()[1], stream.getsockname()[1])
