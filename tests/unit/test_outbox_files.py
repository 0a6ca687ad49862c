"""The outbox on disk: names, modes, full and failing disks, and where it goes when a place does not work."""

import os
import sqlite3
import stat
import tempfile
import threading
from pathlib import Path

import pytest
from clocks import ManualClock
from history import assert_accounted

from synap_integrations.model import Envelope, Scope, UserMessage
from synap_integrations.outbox import SqliteOutbox
from synap_integrations.outbox.row_table import RowTable


def turn(text: str = "hello", conversation: str = "c-1") -> Envelope:
    """A user's turn."""
    return Envelope.seal(Scope(conversation, "ana"), UserMessage(text))


def files(folder: Path, pattern: str = "*") -> list[Path]:
    """What is in a folder."""
    return sorted(folder.glob(pattern)) if folder.exists() else []


def connection(outbox: SqliteOutbox) -> sqlite3.Connection:
    """The open file, to play tricks on."""
    table = outbox._row_store.storage.table
    assert table is not None
    return table.connection


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where the outbox is to be; not there yet."""
    return tmp_path / "deep" / "down" / "local-nokey"


@pytest.fixture
def outbox(folder, monkeypatch):
    """An outbox in that folder."""
    outbox = SqliteOutbox(folder, capture_wait_s=30)
    yield outbox
    outbox.close()


@pytest.fixture(autouse=True)
def own_fallbacks(tmp_path, monkeypatch):
    """State and temporary folders of the test's own."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))


def test_construction_touches_nothing(outbox, folder) -> None:
    """No folder, no file, no lock before the first turn; looking at the figures changes nothing."""
    assert_accounted(outbox.counts(), captured=0)
    assert not outbox.claim(10)
    assert not folder.exists()
    assert str(folder) in outbox.where


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_nobody_else_can_read_it(outbox, folder, umask) -> None:
    """Folders are 0700 and files 0600, whatever the umask."""
    before = os.umask(umask)
    try:
        outbox.append(turn())
        outbox.maintain()
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)} == {0o700}
    assert len(files(folder)) == 4  # file, log, lock, reserve
    assert {stat.S_IMODE(path.stat().st_mode) for path in files(folder)} == {0o600}


def test_an_empty_outbox_leaves_nothing_behind(outbox, folder) -> None:
    """After a clean end with everything delivered there is no file."""
    outbox.append(envelope := turn())
    outbox.claim(1)
    outbox.acknowledge([envelope.event_id])
    outbox.close()
    assert files(folder) == []
    assert_accounted(outbox.counts(), captured=1, delivered=1)


def test_delivered_text_is_not_left_on_the_disk(outbox, folder) -> None:
    """Deleted turns are overwritten, in file and log."""
    outbox.append(envelope := turn("the canary sings"))
    assert any(b"canary" in path.read_bytes() for path in files(folder))
    outbox.claim(1)
    outbox.acknowledge([envelope.event_id])
    outbox.maintain()
    assert not any(b"canary" in path.read_bytes() for path in files(folder))


def test_ids_never_name_files(outbox, folder) -> None:
    """A conversation called like a path is a conversation."""
    outbox.append(turn(conversation="../../../etc/passwd"))
    assert all(path.name.startswith("ob-") for path in files(folder))
    assert outbox.claim(1)[0].scope.conversation_id == "../../../etc/passwd"


@pytest.mark.parametrize("pages", [40, 43, 50, 61])
def test_a_full_disk_refuses_and_recovers(outbox, pages) -> None:
    """What was accepted is safe, what does not fit is counted, and there is room again after deliveries."""
    outbox.append(turn())
    connection(outbox).execute(f"PRAGMA max_page_count = {pages}")
    for n in range(100):
        outbox.append(turn("x" * 3_000 + str(n)))
    full = outbox.counts()
    assert_accounted(full, captured=101)
    assert 10 < full.waiting < 90
    claimed = outbox.claim(10)
    outbox.acknowledge([envelope.event_id for envelope in claimed])
    outbox.append(turn("fits again"))
    assert_accounted(outbox.counts(), waiting=full.waiting - 10 + 1, refused=full.refused)


def test_a_damaged_row_is_a_dead_letter(outbox) -> None:
    """A flipped bit is found by the checksum; the neighbours are delivered."""
    envelopes = [turn(str(n)) for n in range(3)]
    for envelope in envelopes:
        outbox.append(envelope)
    connection(outbox).execute('UPDATE turn SET body = CAST(\'{"content":"evil"}\' AS BLOB) WHERE seq = 2')
    assert outbox.claim(10) == [envelopes[0], envelopes[2]]
    assert_accounted(outbox.counts(), waiting=2, dead_letters=1)


def test_a_deleted_folder_is_made_again(outbox, folder) -> None:
    """Nothing is lost when somebody removes the outbox under a running process."""
    outbox.append(first := turn("before"))
    for path in files(folder):
        path.unlink()
    folder.rmdir()
    outbox.maintain()
    outbox.append(second := turn("after"))
    assert len(files(folder, "ob-*.db")) == 1
    assert outbox.claim(10) == [first, second]
    assert_accounted(outbox.counts(), captured=2, waiting=2)


def test_a_failing_file_is_put_aside_and_the_turns_move(outbox, folder) -> None:
    """After an I/O error the file is not believed any more; what can be read of it goes to a new one."""
    outbox.append(first := turn("before"))
    old = Path(outbox.where)
    connection(outbox).execute("DROP TABLE seen")  # any error but a full disk
    outbox.append(second := turn("after"))
    assert outbox.where != str(old)
    assert files(folder, "*.corrupt") == [old.with_suffix(".corrupt")]
    assert outbox.claim(10) == [first, second]
    assert_accounted(outbox.counts(), captured=2, waiting=2)


@pytest.mark.parametrize("blocked", [1, 2, 3], ids=["folder", "folder and state", "every folder"])
def test_a_place_that_does_not_work_is_replaced_by_the_next(tmp_path, caplog, blocked) -> None:
    """The folder, then the user's state folder, then a private one among the temporary files, then memory."""
    for name in ["wanted", "state", "tmp"][:blocked]:
        path = tmp_path / name
        if path.exists():
            path.rmdir()
        path.write_text("a file where a folder should be")
    outbox = SqliteOutbox(tmp_path / "wanted" / "local-nokey")
    outbox.append(envelope := turn())
    where = ["wanted", "state", "tmp", "memory"][blocked]
    assert where in outbox.where.replace(str(tmp_path), "", 1) or where in outbox.where
    assert len(caplog.records) == 1
    assert outbox.claim(1) == [envelope]
    assert_accounted(outbox.counts(), captured=1, waiting=1)
    outbox.close()


def test_memory_is_left_when_the_disk_works_again(tmp_path) -> None:
    """Turns that were kept in memory move to the file as soon as there can be one."""
    clock = ManualClock()
    for name in ["wanted", "state", "tmp"]:
        path = tmp_path / name
        if path.exists():
            path.rmdir()
        path.write_text("a file where a folder should be")
    outbox = SqliteOutbox(tmp_path / "wanted" / "local-nokey", clock=clock)
    outbox.append(envelope := turn())
    (tmp_path / "wanted").unlink()
    outbox.maintain()
    assert outbox.where.startswith("memory")
    clock.advance(31)
    outbox.maintain()
    assert str(tmp_path / "wanted") in outbox.where
    assert outbox.claim(1) == [envelope]
    assert_accounted(outbox.counts(), captured=1, waiting=1)
    outbox.close()


def test_memory_is_kept_while_the_disk_cannot_take_all_of_it(tmp_path, monkeypatch) -> None:
    """A move that does not succeed loses nothing."""
    clock = ManualClock()
    for name in ["wanted", "state", "tmp"]:
        path = tmp_path / name
        if path.exists():
            path.rmdir()
        path.write_text("a file where a folder should be")
    outbox = SqliteOutbox(tmp_path / "wanted" / "local-nokey", clock=clock)
    envelopes = [turn("x" * 3_000 + str(n)) for n in range(50)]
    for envelope in envelopes:
        outbox.append(envelope)
    (tmp_path / "wanted").unlink()
    create = RowTable.create

    def create_small(table: RowTable) -> None:
        create(table)
        table.connection.execute("PRAGMA max_page_count = 40")

    monkeypatch.setattr(RowTable, "create", create_small)
    clock.advance(31)
    outbox.maintain()
    assert outbox.where.startswith("memory")
    assert files(tmp_path / "wanted" / "local-nokey") == []
    monkeypatch.setattr(RowTable, "create", create)
    clock.advance(31)
    outbox.maintain()
    assert not outbox.where.startswith("memory")
    assert outbox.claim(100) == envelopes
    assert_accounted(outbox.counts(), captured=50, waiting=50)
    outbox.close()


def test_a_row_whose_letters_are_damaged_costs_the_file_and_no_neighbour(outbox, folder) -> None:
    """Text that is no text any more is found while it is read; everything intact moves to a new file."""
    envelopes = [turn(str(n)) for n in range(5)]
    for envelope in envelopes:
        outbox.append(envelope)
    connection(outbox).execute("UPDATE turn SET scope = CAST(x'ff22' AS TEXT) WHERE seq = 3")
    assert outbox.claim(10) == []
    assert outbox.claim(10) == [envelope for n, envelope in enumerate(envelopes) if n != 2]
    assert len(files(folder, "*.corrupt")) == 1
    assert_accounted(outbox.counts(), captured=5, waiting=4, dead_letters=1)


def test_a_temporary_folder_prepared_by_somebody_else_is_not_used(tmp_path) -> None:
    """A symbolic link under our name among the temporary files leads nowhere."""
    for name in ["wanted", "state"]:
        (tmp_path / name).write_text("a file where a folder should be")
    trap = tmp_path / "trap"
    trap.mkdir()
    (tmp_path / "tmp" / f"synap-{os.geteuid()}").symlink_to(trap)
    outbox = SqliteOutbox(tmp_path / "wanted" / "local-nokey")
    outbox.append(turn())
    assert outbox.where.startswith("memory")
    assert files(trap, "**/ob-*") == []
    outbox.close()


def test_what_could_not_be_kept_in_its_place_stays_with_its_storage_path(tmp_path) -> None:
    """Two applications of one user whose folders cannot be written: neither delivers what the other has left."""
    for name in ["state", "ana", "ben"]:
        (tmp_path / name).write_text("a file where a folder should be")
    one = SqliteOutbox(tmp_path / "ana" / "local-nokey")
    one.append(envelope := turn())
    assert (tmp_path / "tmp") in Path(one.where).parents
    one.close()
    other, again = (SqliteOutbox(tmp_path / name / "local-nokey") for name in ["ben", "ana"])
    assert not other.adopt()
    assert again.adopt()
    assert again.claim(10) == [envelope]
    other.close()
    again.close()


def test_too_many_dead_letters_make_room_for_newer_ones(folder) -> None:
    """They have a cap of their own; the oldest go first, and are counted."""
    outbox = SqliteOutbox(folder, max_dead_bytes=20_000)
    for n in range(30):
        outbox.append(envelope := turn("x" * 1_000 + str(n)))
        outbox.bury(envelope.event_id, "refused")
    assert_accounted(outbox.counts(), captured=30, dead_letters=30, waiting=0)
    assert outbox.counts().evicted >= 12
    assert len(list(connection(outbox).execute("SELECT 1 FROM turn"))) <= 18
    outbox.close()


def test_a_finalizer_or_signal_inside_our_own_commit_does_not_deadlock(outbox) -> None:
    """Captured while the same thread is writing: kept, in order, without waiting for itself."""
    nested = turn("nested")
    calls = []

    def interrupt() -> int:
        if not calls:
            calls.append(True)
            outbox.append(nested)
        return 0

    outbox.append(first := turn("first"))
    connection(outbox).set_progress_handler(interrupt, 1)
    outbox.append(outer := turn("outer"))
    connection(outbox).set_progress_handler(None, 0)
    assert outbox.claim(10) == [first, outer, nested]
    assert_accounted(outbox.counts(), captured=3)


def test_a_capture_waits_no_longer_than_it_may(folder) -> None:
    """While another thread is stuck in a commit, a turn stays in memory, is counted, and is written afterwards."""
    outbox = SqliteOutbox(folder, capture_wait_s=0.01)
    outbox.append(turn("first"))
    stuck, go_on = threading.Event(), threading.Event()

    def stall() -> int:
        stuck.set()
        go_on.wait(10)
        return 0

    connection(outbox).set_progress_handler(stall, 1)
    writer = threading.Thread(target=outbox.append, args=(turn("slow"),))
    writer.start()
    stuck.wait(10)
    outbox.append(turn("in memory"))
    assert len(outbox._queue) == 2  # what is being written stays in it until it is in the file
    go_on.set()
    writer.join()
    connection(outbox).set_progress_handler(None, 0)
    assert [envelope.event.content for envelope in outbox.claim(10)] == ["first", "slow", "in memory"]
    assert_accounted(outbox.counts(), captured=3, waiting=3, pending_commit=0)
    outbox.close()


def test_two_hundred_threads_lose_nothing(outbox) -> None:
    """Each thread's turns are there, in its order; writers share commits."""

    def write(worker: int) -> None:
        for n in range(20):
            outbox.append(turn(str(n), conversation=f"c-{worker}"))

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_accounted(outbox.counts(), captured=4_000, waiting=4_000)
    found: dict[str, list[str]] = {}
    while claimed := outbox.claim(500):
        for envelope in claimed:
            found.setdefault(envelope.scope.conversation_id, []).append(envelope.event.content)
    assert found == {f"c-{worker}": [str(n) for n in range(20)] for worker in range(200)}
