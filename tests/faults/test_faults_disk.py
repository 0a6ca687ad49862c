"""Disks that are full, slow, broken or taken away: the chain goes on, and what was accepted is safe."""

import os
import resource
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest
from clocks import ManualClock
from faulty_disk import FULL, OK, SYNC_FAILED, WRITE_FAILED, FaultyDisk
from history import assert_accounted
from programs import python

from synap_integrations import Synap
from synap_integrations.model import Envelope, Scope, UserMessage
from synap_integrations.outbox import SqliteOutbox
from synap_integrations.outbox.counts import Counts
from synap_integrations.outbox.files import candidates
from synap_integrations.runtime.reports import Forgotten, Reached, Status


def turn(text: str = "hello", conversation: str = "c-1") -> Envelope:
    """A user's turn."""
    return Envelope.seal(Scope(conversation, "ana"), UserMessage(text))


def outbox_with(count: int, folder: Path) -> SqliteOutbox:
    """An outbox in which so many turns wait."""
    outbox = SqliteOutbox(folder, capture_wait_s=30)
    for number in range(count):
        outbox.append(turn(str(number)))
    return outbox


@pytest.fixture
def folder(tmp_path) -> Path:
    """The outbox's folder."""
    return tmp_path / "outbox"


@pytest.fixture(autouse=True)
def no_other_place(tmp_path, monkeypatch) -> None:
    """The places to fall back to are the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def kept_by_the_next(folder: Path) -> set[str]:
    """What the next process finds."""
    outbox = SqliteOutbox(folder, capture_wait_s=30)
    while outbox.adopt():
        pass
    found = {envelope.event_id for _ in range(5) for envelope in outbox.claim(100)}
    outbox.close()
    return found


@pytest.mark.parametrize("error", [FULL, WRITE_FAILED], ids=["full", "io-error"])
def test_a_write_that_fails_anywhere_costs_at_most_its_own_turn(tmp_path, error) -> None:
    """The n-th write fails, for each n: what was told before and after is there; the figures say what was refused."""
    for nth in range(1, 60, 2):
        folder = tmp_path / str(nth)
        count = 0

        def fail(path: str, _: int, nth: int = nth) -> int:
            nonlocal count
            count += 1
            return error if count == nth else OK

        with FaultyDisk(tmp_path) as disk:
            disk.on_write = fail
            outbox = SqliteOutbox(folder, capture_wait_s=30)
            told = []
            for number in range(12):
                outbox.append(envelope := turn(str(number)))
                told.append(envelope.event_id)
            counts = outbox.counts()
            assert_accounted(counts, captured=12)
            assert counts.refused <= 1
            waiting = {envelope.event_id for envelope in outbox.claim(100)}
            assert len(waiting) == counts.waiting == 12 - counts.refused
            assert waiting <= set(told)
            outbox.close()
        assert kept_by_the_next(folder) | kept_by_the_next(candidates(folder)[1]) == waiting


def test_acknowledged_turns_are_deleted_on_a_disk_without_room(folder) -> None:
    """Deleting needs room too: the reserve is given back, and what arrived is not sent again by this process."""
    with FaultyDisk(folder) as disk:
        outbox = SqliteOutbox(folder, capture_wait_s=30)
        for number in range(40):
            outbox.append(turn(f"{number} " + "x" * 500))
        outbox.maintain()
        reserve = next(folder.glob("*.reserve"))
        claimed = [envelope.event_id for envelope in outbox.claim(20)]
        disk.on_write = lambda path, nth: FULL if reserve.exists() else OK
        outbox.acknowledge(claimed)
        assert not reserve.exists()
        assert_accounted(outbox.counts(), captured=40, delivered=20, waiting=20)
        assert not {envelope.event_id for envelope in outbox.claim(40)} & set(claimed)
        outbox.close()


@pytest.mark.parametrize("nth", [1, 3, 6])
def test_forgetting_on_a_disk_without_room_uses_the_reserve(folder, nth) -> None:
    """Wherever the room ends, everything of the user goes, and the figures are exact."""
    with FaultyDisk(folder) as disk:
        outbox = outbox_with(600, folder)
        outbox.maintain()
        reserve, began = next(folder.glob("*.reserve")), len(disk.log)
        disk.on_write = lambda path, _: FULL if reserve.exists() and len(disk.log) - began > nth else OK
        ids, erased = outbox.forget(Scope(user_id="ana"))
        assert not reserve.exists()
        assert (len(set(ids)), erased.waiting, erased.not_deleted) == (600, 600, 0)
        assert_accounted(outbox.counts(), captured=600, forgotten=600)
        assert outbox.claim(10) == []
        outbox.close()


def test_what_a_full_disk_does_not_let_go_of_is_in_the_receipt(folder) -> None:
    """Nobody is told that it was forgotten: it still counts, and a later attempt takes it along."""
    with FaultyDisk(folder) as disk:
        outbox = outbox_with(600, folder)
        disk.on_write = lambda path, nth: FULL
        ids, erased = outbox.forget(Scope(user_id="ana"))
        assert (ids, erased.waiting, erased.not_deleted) == ([], 0, 600)
        assert not Forgotten(erased, 0, Reached("platform", "forgotten")).complete
        assert_accounted(outbox.counts(), captured=600, waiting=600)
        disk.on_write = lambda path, nth: OK
        assert outbox.forget(Scope(user_id="ana"))[1].waiting == 600
        assert_accounted(outbox.counts(), captured=600, forgotten=600)
        outbox.close()


def test_while_nothing_can_be_deleted_nothing_is_sent_again(folder) -> None:
    """No reserve helps: ids that arrived are remembered, and deleted when there is room."""
    with FaultyDisk(folder) as disk:
        outbox = outbox_with(10, folder)
        claimed = [envelope.event_id for envelope in outbox.claim(10)]
        disk.on_write = lambda path, nth: FULL
        outbox.acknowledge(claimed)
        assert outbox.counts().delivered == 0
        assert outbox.claim(10) == []
        disk.on_write = lambda path, nth: OK
        outbox.maintain()
        assert_accounted(outbox.counts(), captured=10, delivered=10, waiting=0)
        outbox.close()


def test_a_sync_that_fails_is_not_believed_the_second_time(folder, caplog) -> None:
    """It returned EIO once: the file is put aside, and what it held goes to a new one."""
    with FaultyDisk(folder) as disk:
        outbox = SqliteOutbox(folder, capture_wait_s=30, durability="power")
        outbox.append(first := turn("first"))
        old = Path(outbox.where)
        disk.on_sync = lambda path, nth: SYNC_FAILED if path.startswith(str(old)) else OK
        outbox.append(second := turn("second"))
        assert outbox.where != str(old)
        assert old.with_suffix(".corrupt").exists()
        assert [envelope.event_id for envelope in outbox.claim(10)] == [first.event_id, second.event_id]
        assert_accounted(outbox.counts(), captured=2, waiting=2)
        assert "was put aside" in caplog.text
        outbox.close()


def test_what_is_in_memory_because_the_disk_is_slow_is_in_the_status(tmp_path) -> None:
    """`status().pending_commit` counts it while the disk is stuck under delivery; nothing of it is lost."""
    synap = Synap(api_key="synap_test_key", base_url="http://127.0.0.1:9", storage_path=tmp_path, capture_wait_s=0.025)
    application, go_on = threading.get_ident(), threading.Event()

    def stall(path: str, nth: int) -> int:
        if threading.get_ident() != application:
            go_on.wait(30)
        return OK

    with FaultyDisk(tmp_path) as disk:
        disk.on_write = stall
        said, deadline = 0, time.monotonic() + 25
        while not (status := synap.status()).pending_commit:
            assert time.monotonic() < deadline
            synap.record(UserMessage(str(said)), scope=Scope("c-1", "ana"))
            said += 1
        assert 0 < status.pending_commit <= status.waiting == status.captured == said
        go_on.set()
        deadline = time.monotonic() + 30
        while synap.status().pending_commit:
            synap.flush(0.1)
            assert time.monotonic() < deadline
        assert_accounted(synap._outbox.counts(), captured=said, waiting=said, pending_commit=0)
        synap.close(0.1)


def test_the_status_leaves_no_figure_of_the_outbox_out() -> None:
    """Whatever the outbox counts can be seen without looking into it."""
    assert {row.name for row in fields(Counts)} <= {row.name for row in fields(Status)}


def test_a_slow_disk_does_not_hold_the_chain(folder) -> None:
    """Each write takes 0.3 s: one capture pays, the next ones wait in memory, counted, until it is over."""
    with FaultyDisk(folder) as disk:
        outbox = SqliteOutbox(folder, capture_wait_s=0.025)
        outbox.append(turn("before"))

        def slow(path: str, nth: int) -> int:
            time.sleep(0.3)
            return OK

        disk.on_write = slow
        outbox.append(turn("pays"))
        began = time.monotonic()
        for number in range(20):
            outbox.append(turn(str(number)))
        assert time.monotonic() - began < 2
        assert outbox.counts().pending_commit == 20
        disk.on_write = lambda path, nth: OK
        outbox.maintain()
        assert_accounted(outbox.counts(), captured=22, waiting=22, pending_commit=0)
        outbox.close()


def test_a_disk_that_hangs_costs_no_more_memory_than_the_cap(folder) -> None:
    """One commit does not return: nobody waits for it again and again, and what is beyond the cap is counted."""
    with FaultyDisk(folder) as disk:
        outbox = SqliteOutbox(folder, capture_wait_s=0.5, max_rows=50)
        outbox.append(turn("before"))
        stuck, go_on = threading.Event(), threading.Event()

        def hang(path: str, nth: int) -> int:
            stuck.set()
            assert go_on.wait(60)
            return OK

        disk.on_write = hang
        hanging = threading.Thread(target=outbox.append, args=(turn("hangs"),))
        hanging.start()
        assert stuck.wait(20)
        time.sleep(1.1)  # as long as a commit may take before it is a slow one
        began = time.monotonic()
        for number in range(80):
            outbox.append(turn(str(number)))
        assert time.monotonic() - began < 20  # 40 s, if each waited for its half second
        counts = outbox.counts()
        assert_accounted(counts, captured=82, refused=31)
        disk.on_write = lambda path, nth: OK
        go_on.set()
        hanging.join(20)
        outbox.maintain()
        counts = outbox.counts()
        assert_accounted(counts, captured=82, pending_commit=0)
        assert counts.waiting == 50
        outbox.close()


def test_the_files_need_no_shared_memory(folder) -> None:
    """As on a network file system: there is no -shm file, whatever is done."""
    outbox = SqliteOutbox(folder, capture_wait_s=30)
    for number in range(20):
        outbox.append(turn(str(number)))
    outbox.acknowledge([envelope.event_id for envelope in outbox.claim(5)])
    outbox.maintain()
    assert not list(folder.glob("*-shm"))
    outbox.close()


def test_nobody_else_can_open_a_file_in_use(folder) -> None:
    """One connection per file, for as long as it is open: what SQLite got wrong between two of them cannot happen."""
    outbox = SqliteOutbox(folder, capture_wait_s=30)
    outbox.append(turn())
    code = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM turn')"
    done = python("-c", code, outbox.where)
    assert done.returncode == 1
    assert "database is locked" in done.stderr
    with (
        closing(sqlite3.connect(outbox.where, timeout=0)) as second,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        second.execute("SELECT * FROM turn")
    outbox.close()


def test_times_of_files_mean_nothing(folder) -> None:
    """Files from 1970 and from 2100 are adopted alike, in the order of their names."""
    for text, moment in (("first", 4_102_444_800), ("second", 0)):
        earlier = SqliteOutbox(folder, capture_wait_s=30)
        earlier.append(turn(text))
        earlier.close()
        for path in folder.iterdir():
            os.utime(path, (moment, moment))
    outbox = SqliteOutbox(folder, capture_wait_s=30)
    while outbox.adopt():
        pass
    assert [envelope.event.content for envelope in outbox.claim(10)] == ["first", "second"]
    outbox.close()


def test_a_lock_file_that_was_left_behind_locks_nothing(folder) -> None:
    """The lock is the system's and dies with its process: a file with our own pid in its name is an orphan."""
    earlier = SqliteOutbox(folder, capture_wait_s=30)
    earlier.append(envelope := turn())
    assert f"-{os.getpid()}-" in earlier.where
    earlier.close()
    assert list(folder.glob("*.lock"))
    assert kept_by_the_next(folder) == {envelope.event_id}


def test_without_file_descriptors_turns_are_kept_in_memory(folder) -> None:
    """Not one file can be opened: capture goes on, and the turns move to the disk when that works again."""
    clock = ManualClock()
    outbox = SqliteOutbox(folder, capture_wait_s=30, clock=clock)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        outbox.append(envelope := turn())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert_accounted(outbox.counts(), captured=1, waiting=1)
    assert outbox.where.startswith("memory")
    clock.advance(60)
    outbox.maintain()
    assert outbox.where.startswith(str(folder))
    outbox.close()
    assert kept_by_the_next(folder) == {envelope.event_id}


def test_at_its_cap_the_outbox_refuses_new_turns_and_keeps_the_accepted(folder) -> None:
    """By rows and by bytes; with every delivery there is room again."""
    for limits in ({"max_rows": 10}, {"max_bytes": 10 * 700}):
        outbox = SqliteOutbox(folder, capture_wait_s=30, **limits)
        for number in range(30):
            outbox.append(turn(f"{number:03} " + "x" * 440))
        counts = outbox.counts()
        assert_accounted(counts, captured=30)
        assert 8 <= counts.waiting <= 11
        claimed = outbox.claim(100)
        assert [envelope.event.content[:3] for envelope in claimed] == [f"{n:03}" for n in range(counts.waiting)]
        outbox.acknowledge([envelope.event_id for envelope in claimed])
        outbox.append(turn("again"))
        assert_accounted(outbox.counts(), waiting=1)
        outbox.acknowledge([envelope.event_id for envelope in outbox.claim(1)])
        outbox.close()
