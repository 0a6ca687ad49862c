"""The embedded Synap's file: private, shared by processes, intact after kill -9, replaced by memory if need be."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from synap_integrations.guard import incidents
from synap_integrations.server.embedded import open_embedded
from synap_integrations.settings import Settings

ROOT = Path(__file__).parents[2]
WRITER = """
import json, sys
from synap_integrations.server.embedded import open_embedded
from synap_integrations.settings import Settings

name, count = sys.argv[1], int(sys.argv[2])
platform = open_embedded(Settings.read())
for number in range(count):
    body = {"conversation_id": name, "user_id": "ana", "role": "user", "content": f"turn {number} of {name}"}
    for repeat in range(2):  # every turn is sent twice, as after a lost answer
        status, _, answer = platform.answer(
            "POST", "/v1/conversations/messages", query="", headers={"Idempotency-Key": f"{name}-{number}"},
            body=json.dumps(body).encode(),
        )
        assert status == 200, answer
    print(number, flush=True)
"""


def write(name: str, count: int) -> subprocess.Popen:
    """A process that records turns of one conversation and prints each that was accepted."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, name, str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def file_of(storage: Path) -> Path:
    """Where the turns are."""
    return storage / "integrations" / "v1" / "local.db"


def contents(storage: Path, conversation: str) -> list[str]:
    """What the file holds of a conversation, seen by a fresh opening."""
    platform = open_embedded(Settings.read())
    try:
        assert platform.name == str(file_of(storage).resolve())
        return [turn.content for turn in platform.engine.transcript(conversation)]
    finally:
        platform.close()


def sound(storage: Path) -> bool:
    """True if SQLite finds nothing wrong with the file, and the index agrees with the turns."""
    with closing(sqlite3.connect(file_of(storage))) as db:
        (verdict,) = db.execute("PRAGMA integrity_check").fetchone()
        indexed = db.execute("SELECT count(*) FROM turn_words").fetchone()
        stored = db.execute("SELECT count(*) FROM turn").fetchone()
        counted = db.execute("SELECT coalesce(sum(turns), 0) FROM conversation").fetchone()
    db.close()
    return verdict == "ok" and indexed == stored == counted


def test_several_processes_share_one_file(own_storage) -> None:
    """Four processes that start at once on no file at all record side by side; each turn is there once, in order."""
    writers = [write(f"writer-{number}", 50) for number in range(4)]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
    for number in range(4):
        assert contents(own_storage, f"writer-{number}") == [f"turn {n} of writer-{number}" for n in range(50)]
    assert sound(own_storage)


def test_a_killed_writer_loses_nothing_that_was_accepted(own_storage) -> None:
    """After kill -9 in the middle of writing, the file opens intact and holds every accepted turn."""
    for round_ in range(3):
        writer = write(f"round-{round_}", 100_000)
        accepted = [int(writer.stdout.readline()) for _ in range(20 + 31 * round_)]
        writer.send_signal(signal.SIGKILL)
        accepted += [int(line) for line in writer.stdout.read().split() if line.isdigit()]
        writer.wait(10)
        writer.stdout.close()
        writer.stderr.close()
        kept = contents(own_storage, f"round-{round_}")
        assert kept[: len(accepted)] == [f"turn {number} of round-{round_}" for number in accepted]
        assert len(kept) <= len(accepted) + 1
        assert sound(own_storage)


def test_a_turn_is_there_after_a_restart_and_its_id_is_still_known(own_storage) -> None:
    """The memory of what was taken outlives the process: a replay days later is no second turn."""
    for _ in range(2):
        writer = write("again", 3)
        _, errors = writer.communicate(timeout=30)
        assert writer.returncode == 0, errors
    assert len(contents(own_storage, "again")) == 3


def test_only_its_user_can_read_it(own_storage) -> None:
    """Files are 0600 and folders 0700, whatever the umask says."""
    before = os.umask(0)
    try:
        platform = open_embedded(Settings.read())
        platform.answer("GET", "/v1/conversations/c/messages", query="", headers={}, body=b"")
        for path in file_of(own_storage).parent.iterdir():
            assert path.stat().st_mode & 0o777 == 0o600, path
        for folder in (own_storage, own_storage / "integrations", own_storage / "integrations" / "v1"):
            assert folder.stat().st_mode & 0o777 == 0o700, folder
        platform.close()
    finally:
        os.umask(before)


def record(platform, content: str) -> None:
    """Record a turn of one conversation."""
    body = {"conversation_id": "chat", "user_id": "ana", "role": "user", "content": content}
    status, _, answer = platform.answer(
        "POST", "/v1/conversations/messages", query="", headers={}, body=json.dumps(body).encode()
    )
    assert status == 200, answer


def test_everybody_in_a_process_shares_one_opening(own_storage) -> None:
    """What one records another hears, and the file stays open until the last has let go."""
    first, second = open_embedded(Settings.read()), open_embedded(Settings.read())
    heard: list[bytes] = []
    stream = second.listen(heard.append, metadata={})
    record(first, "our puppy was adopted in Porto")
    for number in range(12):
        record(first, f"filler {number}")
    record(first, "where was the puppy adopted?")
    assert first.drain()
    assert heard
    stream.half_close()
    first.close()
    first.close()
    record(second, "still open")
    assert len(second.engine.transcript("chat")) == 15
    second.close()


def test_memory_is_nobody_elses(own_storage) -> None:
    """Each opening of ``:memory:`` is a Synap of its own and leaves no file."""
    settings = Settings.read(storage_path=Path(":memory:"))
    first, second = open_embedded(settings), open_embedded(settings)
    record(first, "hello")
    assert second.engine.stats()["turns"] == 0
    assert not own_storage.exists()
    first.close()
    second.close()


def spoil_with_garbage(path: Path) -> None:
    """Another program's file."""
    path.write_bytes(b"not a database, but long enough to be taken for one" * 100)


def spoil_with_the_future(path: Path) -> None:
    """A file of a newer version."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA user_version=999")


def spoil_with_a_link(path: Path) -> None:
    """A link that somebody else put there."""
    path.symlink_to(path.with_name("elsewhere"))


def spoil_with_a_folder(path: Path) -> None:
    """No file at all."""
    path.mkdir()


@pytest.mark.parametrize(
    "spoil",
    [spoil_with_garbage, spoil_with_the_future, spoil_with_a_link, spoil_with_a_folder],
    ids=lambda f: f.__name__,
)
def test_a_file_that_cannot_be_used_is_left_alone(own_storage, caplog, spoil) -> None:
    """The embedded Synap remembers in memory instead, says so once, and changes nothing of what is there."""
    path = file_of(own_storage)
    path.parent.mkdir(parents=True)
    spoil(path)
    before = path.read_bytes() if path.is_file() and not path.is_symlink() else None
    platform = open_embedded(Settings.read())
    record(platform, "hello")
    assert platform.name.startswith("memory")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "SYNAP_STORAGE_PATH" in caplog.text
    platform.close()
    assert before is None or path.read_bytes() == before


def test_a_forked_child_opens_its_own_connection(own_storage) -> None:
    """A child that was forked while a stream was open records into the same file; the parent does not notice."""
    parent = open_embedded(Settings.read())
    stream = parent.listen(lambda _: None, metadata={})
    record(parent, "before the fork")
    assert parent.drain()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            record(parent, "by the old handle")
            own = open_embedded(Settings.read())
            record(own, "by an own one")
            own.close()
            parent.close()
            status = 0
        finally:
            os._exit(status)
    deadline = time.monotonic() + 20
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        record(parent, "meanwhile")
    assert done == (child, 0)
    record(parent, "after the fork")
    stream.half_close()
    said = [turn.content for turn in parent.engine.transcript("chat") if turn.content != "meanwhile"]
    assert said == ["before the fork", "by the old handle", "by an own one", "after the fork"]
    parent.close()
    assert sound(own_storage)


def test_a_fault_inside_is_an_answer_and_not_an_exception(own_storage) -> None:
    """``answer`` never raises: a fault of ours is counted and becomes a 500."""
    platform = open_embedded(Settings.read())
    status, headers, body = platform.answer("GET", None, query="", headers={}, body=b"")
    assert (status, headers["content-type"]) == (500, "application/json")
    assert "detail" in json.loads(body)
    assert incidents.counts()
    incidents.clear()
    platform.close()
