"""What keeping one turn costs the caller, and how fast an outbox takes turns while they are delivered."""

from __future__ import annotations

import asyncio
import base64
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measuring import Effort, Figure, Report, Spread

from synap_integrations.model import Envelope, Inbound, Scope, UserMessage
from synap_integrations.outbox import DeliveryWorker, EphemeralOutbox, SqliteOutbox, rows
from synap_integrations.outbox.sealing import Sealing
from synap_integrations.ports import Handover
from synap_integrations.settings import Secret

APPEND_US = 40.0
A_SECOND = 1_000.0
TURNS, BURST = 5_000, 20_000
SEND_S = 0.0003
TEXT = "I moved to Lisbon last week, and I need a flat near the river with room for a cello. " * 2


class BusyTransport:
    """A platform whose every call costs this process 0.3 ms of computing."""

    async def open(self, on_inbound: Callable[[Inbound], None]) -> None:
        """Nothing to open."""

    async def send(self, envelope: Envelope) -> Handover:
        """Compute, then let the loop turn."""
        del envelope
        until = time.perf_counter() + SEND_S
        while time.perf_counter() < until:
            pass
        await asyncio.sleep(0)
        return Handover.DELIVERED

    async def close(self, timeout_s: float) -> None:
        """Nothing to close."""


def measure(effort: Effort) -> Report:
    with tempfile.TemporaryDirectory(prefix="synap-bench-") as folder:
        root = Path(folder)
        turns = effort.of(TURNS, least=200)
        disk = _appends(SqliteOutbox(root / "process"), turns)
        power = _appends(SqliteOutbox(root / "power", durability="power"), turns // 5)
        sealed = _appends(SqliteOutbox(root / "sealed", sealing=Sealing([_key()])), turns)
        memory = _appends(EphemeralOutbox(), turns)
        accepted, delivered = _burst(root / "burst", effort.of(BURST, least=500))
    return Report(
        [
            Figure("append to the outbox, encoding included", disk.median, "µs", APPEND_US, spread=disk),
            Figure("the same, surviving a power cut", power.median, "µs", spread=power),
            Figure("the same, sealed with a key", sealed.median, "µs", spread=sealed),
            Figure("the same, in memory", memory.median, "µs", spread=memory),
            _codec(turns),
            Figure("envelopes accepted while delivering", accepted, "/s", A_SECOND, at_least=True),
            Figure("envelopes delivered, 0.3 ms of computing each", delivered, "/s"),
        ]
    )


def _envelope(number: int) -> Envelope:
    return Envelope.seal(Scope(f"conversation-{number % 50}", "ana", customer_id="acme"), UserMessage(TEXT))


def _key() -> Secret:
    return Secret(base64.b64encode(bytes(32)).decode())


def _appends(outbox: SqliteOutbox, count: int) -> Spread:
    taken = []
    for number in range(count):
        envelope = _envelope(number)
        began = time.perf_counter()
        outbox.append(envelope)
        taken.append(1e6 * (time.perf_counter() - began))
    outbox.acknowledge([envelope.event_id for envelope in outbox.claim(count)])
    outbox.close()
    return Spread.of(taken)


def _codec(count: int) -> Figure:
    envelope = _envelope(0)
    began = time.perf_counter()
    for _ in range(count):
        rows.decode(rows.encode(envelope))
    return Figure("an envelope to a row and back", 1e6 * (time.perf_counter() - began) / count, "µs")


def _burst(folder: Path, count: int) -> tuple[float, float]:
    """How many are accepted, and how many delivered, in a second."""
    outbox = SqliteOutbox(folder)
    worker = DeliveryWorker(outbox, BusyTransport)
    began = time.perf_counter()
    for number in range(count):
        outbox.append(_envelope(number))
        worker.wake()
    accepted_s = time.perf_counter() - began
    if not worker.flush(300):
        message = f"not everything was delivered: {outbox.counts()}"
        raise RuntimeError(message)
    delivered_s = time.perf_counter() - began
    worker.close(5)
    return count / accepted_s, count / delivered_s


if __name__ == "__main__":
    for figure in measure(Effort()).figures:
        print(f"{figure.name:<50}{figure.value:10.1f} {figure.unit}")
