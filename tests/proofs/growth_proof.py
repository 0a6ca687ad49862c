"""A process that captures and delivers without end: how much it grows."""

import resource
from dataclasses import dataclass
from pathlib import Path

from synap_integrations.model import Envelope, Inbound, Scope, UserMessage
from synap_integrations.outbox import DeliveryWorker, SqliteOutbox
from synap_integrations.ports import Handover


@dataclass(frozen=True)
class Figures:
    """``grown_kb``: resident memory after all turns, beyond what it was after the first tenth. Files in bytes."""

    turns: int
    grown_kb: int
    largest_file: int


class _Sink:
    async def open(self, on_inbound: Inbound) -> None: ...

    async def send(self, envelope: Envelope) -> Handover:
        return Handover.DELIVERED

    async def close(self, timeout_s: float) -> None: ...


def measure(folder: Path, *, turns: int) -> Figures:
    """Two turns to a conversation; ten flushes on the way, so that what is delivered is deleted."""
    outbox = SqliteOutbox(folder, capture_wait_s=30)
    worker = DeliveryWorker(outbox, _Sink)
    at_first = largest = 0
    for tenth in range(10):
        for number in range(turns // 10):
            outbox.append(Envelope.seal(Scope(f"c-{tenth}-{number // 2}", "ana"), UserMessage(f"turn {number}")))
            worker.wake()
        if not worker.flush(600):
            raise RuntimeError(str(outbox.counts()))
        largest = max([largest, *(path.stat().st_size for path in folder.iterdir())])
        if tenth == 0:
            at_first = resident_kb()
    grown = resident_kb() - at_first
    worker.close(10)
    return Figures(turns, grown, largest)


def resident_kb() -> int:
    """What this process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() // 1024
