"""What a dead process left behind: found, checked, delivered; damaged files are put aside, never deleted."""

import os
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from history import assert_accounted
from transports import texts
from zygote import FileReceiver, received

from synap_integrations.model import Envelope, Scope, UserMessage
from synap_integrations.outbox import DeliveryWorker, SqliteOutbox, adoption
from synap_integrations.outbox.files import OutboxFile, alone_in
from synap_integrations.outbox.pace import Rhythm
from synap_integrations.outbox.takeover import AdoptionTarget


def turn(text: str, conversation: str = "c-1") -> Envelope:
    """A user's turn."""
    return Envelope.seal(Scope(conversation, "ana"), UserMessage(text))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where all processes keep their files."""
    return tmp_path / "outbox"


@pytest.fixture
def outbox_in(folder):
    """Open outboxes in the folder; all are closed afterwards."""
    opened: list[SqliteOutbox] = []

    def make(*envelopes: Envelope, **limits: int) -> SqliteOutbox:
        outbox = SqliteOutbox(folder, capture_wait_s=30, **limits)
        opened.append(outbox)
        for envelope in envelopes:
            outbox.append(envelope)
        return outbox

    yield make
    for outbox in opened:
        outbox.close()


def orphan(outbox_in, *envelopes: Envelope) -> Path:
    """The file of a process that ended; returns its path."""
    outbox = outbox_in(*envelopes)
    path = Path(outbox.where)
    outbox.close()
    return path


def adopt_all(outbox: SqliteOutbox) -> int:
    """As the delivery thread does at its start; how many files are gone."""
    before = set(names(outbox.folders[0], "*.db"))
    for _ in range(100):
        if not outbox.adopt():
            break
    return len(before.difference(names(outbox.folders[0], "*.db")))


def names(folder: Path, pattern: str) -> list[str]:
    """Files of that kind."""
    return sorted(path.name for path in folder.glob(pattern))


def test_older_turns_go_before_our_own(outbox_in, folder) -> None:
    """The oldest process first, in its own order; its files are gone."""
    for n in range(3):
        orphan(outbox_in, turn(f"old {n} a"), turn(f"old {n} b"))
    own = outbox_in(turn("own 1"))
    assert texts(own.claim(1)) == ["own 1"]
    own.append(turn("own 2"))
    assert adopt_all(own) == 3
    assert texts(own.claim(10)) == ["old 0 a", "old 0 b", "old 1 a", "old 1 b", "old 2 a", "old 2 b", "own 2"]
    assert names(folder, "*.db") == [Path(own.where).name]
    assert_accounted(own.counts(), captured=2, adopted=6, waiting=8)


def test_a_file_whose_owner_lives_is_left_alone(outbox_in) -> None:
    """Two processes in one folder do not touch each other's turns."""
    neighbour = outbox_in(turn("mine"))
    own = outbox_in(turn("own"))
    assert own.has_orphans()
    assert not own.adopt()
    assert texts(neighbour.claim(10)) == ["mine"]
    assert texts(own.claim(10)) == ["own"]


def test_dead_letters_are_adopted_as_dead_letters(outbox_in) -> None:
    """They are kept, and not sent again."""
    first = outbox_in(bad := turn("bad"), turn("good"))
    first.bury(bad.event_id, "refused")
    first.close()
    own = outbox_in()
    assert own.adopt()
    assert texts(own.claim(10)) == ["good"]
    assert_accounted(own.counts(), adopted=2, waiting=1, dead_letters=1)


def test_a_turn_that_is_in_two_files_is_one_turn(outbox_in, folder) -> None:
    """An adopter that died half way has left copies; they are recognised by their ids."""
    path = orphan(outbox_in, *(turn(str(n)) for n in range(5)))
    for suffix in (".db", ".lock"):
        shutil.copy(path.with_suffix(suffix), folder / f"ob-copy-1-ff{suffix}")
    own = outbox_in()
    adopt_all(own)
    assert texts(own.claim(10)) == [str(n) for n in range(5)]
    assert_accounted(own.counts(), adopted=5, waiting=5)


def test_an_orphan_waits_until_there_is_room(outbox_in, folder) -> None:
    """A crowded outbox delivers its own turns first; then the orphan is taken over as a whole."""
    orphan(outbox_in, *(turn(str(n)) for n in range(12)))
    own = outbox_in(*(turn(f"own {n}", "c-2") for n in range(15)), max_rows=20)
    assert not own.adopt()
    assert len(names(folder, "*.db")) == 2
    assert_accounted(own.counts(), captured=15, waiting=15)
    own.acknowledge([envelope.event_id for envelope in own.claim(10)])
    assert own.adopt()
    assert texts(own.claim(12)) == [str(n) for n in range(12)]
    assert_accounted(own.counts(), captured=15, adopted=12, delivered=10, waiting=17)


def test_what_cannot_be_taken_over_whole_is_left_where_it_is(outbox_in, monkeypatch) -> None:
    """The disk has no room for the second half: none of the turns is ours, and the next one has them in order."""
    orphan(outbox_in, *(turn(str(n)) for n in range(600)))
    crowded = outbox_in(turn("own", "c-2"))
    chunks, take_in = iter([True, False]), AdoptionTarget.take_in
    with monkeypatch.context() as patch:
        patch.setattr(AdoptionTarget, "take_in", lambda own, entries: take_in(own, entries) if next(chunks) else None)
        assert not crowded.adopt()
    assert crowded.crowded
    assert texts(crowded.claim(1_000)) == ["own"]
    assert_accounted(crowded.counts(), captured=1, adopted=0, waiting=1)
    crowded.close()
    own = outbox_in()
    assert adopt_all(own) == 2
    assert texts(own.claim(1_000)) == [*(str(n) for n in range(600)), "own"]
    assert_accounted(own.counts(), adopted=601, waiting=601)


def said(text: str, at_s: float, conversation: str = "c-1") -> Envelope:
    """A turn of that second."""
    return replace(turn(text, conversation), occurred_at=datetime.fromtimestamp(1_700_000_000 + at_s, UTC))


def test_a_conversation_in_several_files_is_in_the_order_it_was_said(outbox_in) -> None:
    """It was captured by one process after the other, adopted in between, and the files are of any age."""
    first = orphan(outbox_in, said("one", 1), said("two", 2))
    second = outbox_in(said("five", 5))
    third = orphan(outbox_in, said("three", 3), said("four", 4))
    for path in (first, third):  # so that only the second one finds them
        path.with_suffix(".lock").rename(path.with_suffix(".hidden"))
        path.rename(path.with_suffix(".away"))
    first.with_suffix(".away").rename(first)
    second.adopt()
    assert not first.exists()
    second.close()
    third.with_suffix(".away").rename(third)
    own = outbox_in(said("six", 6))
    own.adopt()
    assert texts(own.claim(10)) == ["one", "two", "three", "four", "five", "six"]


def test_a_clock_that_was_wrong_does_not_turn_a_file_around(outbox_in) -> None:
    """Within a file the order is that of capture, whatever time each turn has; also at its second adoption."""
    wrong = [said(str(n), at) for n, at in enumerate((0, -86_400, 10**9, 5, 5, 10**11, -(10**9)))]
    orphan(outbox_in, *wrong)
    for _ in range(2):
        heir = outbox_in()
        heir.adopt()
        assert texts(heir.claim(10)) == [str(n) for n in range(len(wrong))]
        heir.close()


def test_turns_of_the_same_moment_in_many_files_do_not_take_each_others_place(outbox_in, monkeypatch) -> None:
    """Each microsecond has so many places; the turn that finds none waits in its file until one is free."""
    monkeypatch.setattr(adoption, "_FILES", 4)
    for n in range(6):
        orphan(outbox_in, said(f"{n}", 1, f"c-{n}"))
    own = outbox_in()
    assert adopt_all(own) == 4
    assert own.crowded
    own.acknowledge([envelope.event_id for envelope in own.claim(3)])
    assert adopt_all(own) == 2
    assert not own.crowded
    assert sorted(texts(own.claim(10))) == ["3", "4", "5"]
    assert_accounted(own.counts(), adopted=6, delivered=3, waiting=3)


def test_while_one_adopts_nobody_else_does(outbox_in, folder) -> None:
    """What several processes left goes to one, or two would deliver parts of a conversation at the same time."""
    orphan(outbox_in, turn("left"))
    own = outbox_in()
    with alone_in(folder) as alone:
        assert alone
        assert not own.adopt()
        assert texts(own.claim(10)) == []
    assert own.adopt()
    assert texts(own.claim(10)) == ["left"]


def test_nothing_is_taken_over_into_memory(outbox_in, folder, monkeypatch) -> None:
    """A process that can write nowhere leaves files where they are: on their disk they survive it."""
    path = orphan(outbox_in, turn("left"))

    def nowhere(_: Path) -> None:
        raise OSError("no place")

    monkeypatch.setattr(OutboxFile, "new", nowhere)
    own = outbox_in(turn("own", "c-2"))
    assert own.where.startswith("memory")
    assert not own.adopt()
    assert path.exists()
    assert texts(own.claim(10)) == ["own"]


@pytest.mark.parametrize(
    "content", [b"", b"not a database" * 500, b"SQLite format 3\0" + os.urandom(5_000)], ids=["empty", "text", "noise"]
)
def test_garbage_is_put_aside(outbox_in, folder, content) -> None:
    """It is renamed, once, and delivery goes on."""
    folder.mkdir(mode=0o700)
    (folder / "ob-x-1-aa.db").write_bytes(content)
    own = outbox_in(turn("own"))
    adopt_all(own)
    assert names(folder, "*.corrupt") == ["ob-x-1-aa.corrupt"]
    assert (folder / "ob-x-1-aa.corrupt").read_bytes() == content
    assert texts(own.claim(10)) == ["own"]


@pytest.mark.parametrize("beside", ["-journal", "-wal"])
def test_what_lies_beside_garbage_is_put_aside_with_it(outbox_in, folder, beside) -> None:
    """A process that is killed while it makes its file leaves a journal too; nothing stays that nobody takes over."""
    folder.mkdir(mode=0o700)
    for suffix in ("", beside):
        (folder / f"ob-x-1-aa.db{suffix}").write_bytes(b"")
    own = outbox_in(turn("own"))
    adopt_all(own)
    assert names(folder, "ob-x-*") == ["ob-x-1-aa.corrupt", f"ob-x-1-aa.corrupt{beside}"]


def test_the_database_of_another_program_is_put_aside_unchanged(outbox_in, folder) -> None:
    """What is not ours is not deleted, whatever it is called."""
    folder.mkdir(mode=0o700)
    path = folder / "ob-x-1-aa.db"
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE turn(x)")
    before = path.read_bytes()
    adopt_all(outbox_in(turn("own")))
    assert (folder / "ob-x-1-aa.corrupt").read_bytes() == before


def test_a_file_of_a_newer_version_is_left_alone(outbox_in, folder) -> None:
    """A downgrade keeps what the newer version captured."""
    path = orphan(outbox_in, turn("from the future"))
    with closing(sqlite3.connect(path)) as newer, newer:
        newer.execute("PRAGMA user_version = 99")
    own = outbox_in(turn("own"))
    assert adopt_all(own) == 0
    assert path.exists()
    assert not own.adopt()


def test_a_flipped_bit_costs_one_turn_and_the_file_is_kept(outbox_in, folder) -> None:
    """Intact rows are rescued; the damaged one stays in the file, which is put aside."""
    path = orphan(outbox_in, *(turn(f"turn number {n}") for n in range(9)))
    raw = path.read_bytes()
    assert raw.count(b"turn number 4") == 1
    path.write_bytes(raw.replace(b"turn number 4", b"turn numbeR 4"))
    own = outbox_in()
    adopt_all(own)
    assert texts(own.claim(20)) == [f"turn number {n}" for n in range(9) if n != 4]
    assert len(names(folder, "*.corrupt")) == 1


def test_a_lost_tail_is_noticed(outbox_in, folder, caplog) -> None:
    """Fewer turns than were committed: the high-water mark says how many are missing."""
    outbox = outbox_in(*(turn(f"turn {n}") for n in range(40)))
    path = Path(outbox.where)
    log = Path(f"{path}-wal")
    whole = log.read_bytes()
    copy = folder / "ob-copy-1-aa.db"
    shutil.copy(path, copy)
    Path(f"{copy}-wal").write_bytes(whole[: len(whole) * 4 // 5])
    shutil.copy(path.with_suffix(".lock"), copy.with_suffix(".lock"))
    own = outbox_in()
    assert own.adopt()
    rescued = texts(own.claim(50))
    assert rescued == [f"turn {n}" for n in range(len(rescued))]
    assert 10 < len(rescued) < 40
    assert f"{40 - len(rescued)} missing" in caplog.text
    assert names(folder, "*.corrupt") == ["ob-copy-1-aa.corrupt"]


def test_turns_that_were_delivered_are_not_missed(outbox_in, folder) -> None:
    """A file whose last turns were delivered has lost nothing."""
    first = outbox_in(*(turn(str(n)) for n in range(5)))
    first.acknowledge([envelope.event_id for envelope in first.claim(5)[2:]])
    first.close()
    own = outbox_in()
    assert own.adopt()
    assert texts(own.claim(10)) == ["0", "1"]
    assert names(folder, "*.corrupt") == []


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_only_plain_files_of_ours_are_opened(outbox_in, folder, tmp_path, kind) -> None:
    """A symbolic link or a folder with the name of an outbox file is not followed."""
    folder.mkdir(mode=0o700)
    trap = folder / "ob-x-1-aa.db"
    if kind == "link":
        (tmp_path / "elsewhere").write_bytes(b"precious")
        trap.symlink_to(tmp_path / "elsewhere")
    else:
        trap.mkdir()
    own = outbox_in(turn("own"))
    assert adopt_all(own) == 0
    assert trap.exists()


def test_a_file_cut_at_any_length_never_breaks_us(outbox_in, folder) -> None:
    """Whatever part of the file is left: no exception, no invented turn, and rows that are whole are rescued."""
    envelopes = [turn(f"turn {n} " + "x" * 700) for n in range(12)]
    path = orphan(outbox_in, *envelopes)
    raw = path.read_bytes()
    expected = {envelope.event_id: envelope for envelope in envelopes}
    path.unlink()
    for length in range(0, len(raw), 1_111):
        (folder / "ob-cut-1-aa.db").write_bytes(raw[:length])
        own = outbox_in()
        adopt_all(own)
        found = own.claim(100)
        assert all(expected[envelope.event_id] == envelope for envelope in found)
        own.acknowledge([envelope.event_id for envelope in found])
        own.close()
        assert_accounted(own.counts())


def test_random_bit_flips_never_break_us_and_never_change_a_turn(outbox_in, folder) -> None:
    """Altered rows are caught by their checksum, whatever SQLite thinks of the file."""
    rng = random.Random(11)
    envelopes = [turn(f"turn {n} " + "x" * 100) for n in range(40)]
    path = orphan(outbox_in, *envelopes)
    raw = path.read_bytes()
    expected = {envelope.event_id: envelope for envelope in envelopes}
    path.unlink()
    for _ in range(60):
        bent = bytearray(raw)
        for _ in range(rng.randint(1, 4)):
            bent[rng.randrange(len(bent))] ^= 1 << rng.randrange(8)
        (folder / "ob-bent-1-aa.db").write_bytes(bent)
        own = outbox_in()
        adopt_all(own)
        found = own.claim(100)
        assert all(expected.get(envelope.event_id) == envelope for envelope in found)
        own.acknowledge([envelope.event_id for envelope in found])
        own.close()
        (folder / "ob-bent-1-aa.corrupt").unlink(missing_ok=True)


def test_a_flush_waits_for_a_file_that_has_no_room_yet(outbox_in, folder, tmp_path) -> None:
    """What earlier processes left counts as not delivered until it is: a flush right after the start says so."""
    earlier = outbox_in()
    for number in range(3):
        earlier.append(turn(f"earlier {number}"))
    earlier.close()
    outbox = SqliteOutbox(folder, capture_wait_s=30, max_rows=6)
    for number in range(4):
        outbox.append(turn(f"own {number}"))
    platform = FileReceiver(tmp_path / "received")
    worker = DeliveryWorker(outbox, lambda: platform, rhythm=Rhythm(crowded_s=0.2))
    assert worker.flush(20)
    assert len(received(tmp_path)) == 7
    assert_accounted(outbox.counts(), captured=4, adopted=3, delivered=7, waiting=0)
    assert worker.close(5)


def test_a_file_that_is_just_being_made_is_left_alone(outbox_in, folder) -> None:
    """Its owner has locked it and written nothing yet: to anybody else it would look like no outbox at all."""
    place = OutboxFile.new(folder)
    assert adopt_all(outbox_in(turn("ours"))) == 0
    assert place.is_there
    assert not list(folder.glob("*.corrupt"))
    place.discard()
