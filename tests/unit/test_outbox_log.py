"""The write-ahead log stays short: in a burst, without a delivery thread, and when nothing happens."""

import asyncio
import threading
import time
from pathlib import Path

import pytest
from faulty_disk import OK, FaultyDisk
from history import assert_accounted

from synap_integrations.model import Envelope, Scope, UserMessage
from synap_integrations.outbox import DeliveryWorker, SqliteOutbox
from synap_integrations.outbox.inspect_files import stored_rows
from synap_integrations.ports import Handover

MB = 1_000_000


class Silent:
    """A platform that accepts connections and never answers."""

    async def open(self, on_inbound) -> None:
        """Nothing to open."""

    async def send(self, envelope: Envelope) -> Handover:
        """Never."""
        await asyncio.sleep(3_600)
        return Handover.DELIVERED

    async def close(self, timeout_s: float) -> None:
        """Nothing to close."""


def turn(number: int) -> Envelope:
    """A user's turn of a usual length."""
    return Envelope.seal(Scope(f"c-{number % 50}", "ana"), UserMessage(f"{number} " + "x" * 170))


def log_bytes(folder: Path) -> int:
    """Length of the log now."""
    return sum(path.stat().st_size for path in folder.glob("*-wal"))


@pytest.mark.parametrize(("delivers", "at_most"), [(True, 33 * MB), (False, 34 * MB)], ids=["delivers", "nobody"])
def test_a_burst_does_not_fill_the_disk_with_its_log(tmp_path, delivers, at_most) -> None:
    """12,000 turns make 70 MB of log; it never gets there, whether or not somebody looks after the outbox."""
    outbox = SqliteOutbox(tmp_path, capture_wait_s=30)
    worker = DeliveryWorker(outbox, Silent)
    longest = 0
    for number in range(12_000):
        outbox.append(turn(number))
        if delivers:
            worker.wake()
        if number % 50 == 0:
            longest = max(longest, log_bytes(tmp_path))
    assert 1 * MB < longest < at_most
    assert_accounted(outbox.counts(), captured=12_000, waiting=12_000)
    worker.close(0.1)
    assert sum(len(stored_rows(path)) for path in tmp_path.glob("ob-*.db")) == 12_000


def test_while_nothing_happens_there_is_no_log(tmp_path) -> None:
    """Although turns wait, and nobody delivers them: they are in the file."""
    outbox = SqliteOutbox(tmp_path, capture_wait_s=30)
    for number in range(100):
        outbox.append(turn(number))
    assert outbox.maintain()
    assert log_bytes(tmp_path) > 0
    assert outbox.maintain()
    assert log_bytes(tmp_path) == 0
    assert not outbox.maintain()
    assert len(outbox.claim(200)) == 100
    outbox.close()


def test_a_log_that_was_long_is_given_back_when_it_begins_anew(tmp_path) -> None:
    """Also while turns come in without a pause."""
    outbox = SqliteOutbox(tmp_path, capture_wait_s=30)
    while log_bytes(tmp_path) < 12 * MB:
        outbox.append(turn(1))
    outbox.maintain()
    outbox.append(turn(2))
    assert log_bytes(tmp_path) == 8 * MB
    outbox.close()


def test_a_capture_waits_for_no_checkpoint_longer_than_it_may(tmp_path) -> None:
    """While the disk is stuck in the checkpoint of the delivery thread, turns stay in memory, counted."""
    with FaultyDisk(tmp_path) as disk:
        outbox = SqliteOutbox(tmp_path, capture_wait_s=0.025)
        for number in range(200):
            outbox.append(turn(number))
        assert log_bytes(tmp_path) > 500_000
        began, go_on = threading.Event(), threading.Event()

        def stall(path: str, nth: int) -> int:
            if path.endswith(".db"):
                began.set()
                go_on.wait(10)
            return OK

        disk.on_sync = stall
        upkeep = threading.Thread(target=outbox.maintain)
        upkeep.start()
        assert began.wait(10)
        waited = []
        for number in range(5):
            at = time.monotonic()
            outbox.append(turn(number))
            waited.append(time.monotonic() - at)
        assert len(outbox._queue) == 5
        go_on.set()
        upkeep.join()
        assert sorted(waited)[2] < 0.1
        outbox.maintain()
        assert_accounted(outbox.counts(), captured=205, waiting=205, pending_commit=0)
        outbox.close()
