"""Forgetting somebody: every file that can be reached, and no way back from those that cannot."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from history import assert_accounted

from synap_integrations import Scope, Synap
from synap_integrations.errors import InvalidInputError, NetworkError
from synap_integrations.model import ContextBundle, ContextItem, Envelope, UserMessage
from synap_integrations.outbox import EphemeralOutbox, SqliteOutbox
from synap_integrations.outbox.erasure import Tombstone, expire_tombstones, ids_of, tombstones
from synap_integrations.outbox.rows import encode

ANA, BOB = Scope("c-1", "ana", customer_id="acme"), Scope("c-2", "bob", customer_id="acme")


def turn(scope: Scope, text: str = "hello") -> Envelope:
    """A user's turn."""
    return Envelope.seal(scope, UserMessage(text))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where the outbox files of all processes are."""
    return tmp_path / "outbox"


@pytest.fixture
def outbox(folder):
    """The outbox of this process."""
    outbox = SqliteOutbox(folder, capture_wait_s=30)
    yield outbox
    outbox.close()


@pytest.mark.parametrize(
    ("whom", "left"),
    [
        (Scope(user_id="ana"), 2),
        (Scope("c-1"), 2),
        (Scope(customer_id="acme"), 0),
        (Scope("c-1", "bob"), 4),
        (Scope(user_id="an"), 4),
        (Scope(user_id="ana' OR 1=1 --"), 4),
        (Scope("c-2", "bob", customer_id="acme"), 2),
        (Scope("c-2", "bob", customer_id="other"), 4),
    ],
    ids=["user", "conversation", "customer", "nobody", "prefix", "injection", "all-named", "other-customer"],
)
def test_exactly_the_named_ids_are_forgotten(outbox, whom, left) -> None:
    """All ids that the scope names have to match, each as a whole."""
    for scope in (ANA, BOB, ANA, BOB):
        outbox.append(turn(scope))
    ids, erased = outbox.forget(whom)
    assert (len(ids), erased.waiting) == (4 - left, 4 - left)
    assert len(outbox.claim(10)) == left
    assert_accounted(outbox.counts(), captured=4, waiting=left, forgotten=4 - left)


def test_dead_letters_and_turns_under_way_are_forgotten(outbox) -> None:
    """The receipt tells what may have left the machine already."""
    envelopes = [turn(ANA, str(number)) for number in range(3)]
    for envelope in envelopes:
        outbox.append(envelope)
    outbox.claim(2)
    outbox.bury(envelopes[0].event_id, "refused")
    ids, erased = outbox.forget(Scope(user_id="ana"))
    assert sorted(ids) == sorted(envelope.event_id for envelope in envelopes)
    assert (erased.waiting, erased.dead_letters, erased.under_way) == (2, 1, 1)
    outbox.acknowledge(ids)
    assert_accounted(outbox.counts(), captured=3, forgotten=3, delivered=0, dead_letters=0)
    outbox.append(envelopes[2])
    assert outbox.counts().waiting == 0


def test_nothing_readable_stays_on_the_disk(outbox, folder) -> None:
    """Deleted rows are overwritten, in the file and in its log."""
    outbox.append(turn(ANA, "the canary sings"))
    outbox.append(turn(BOB, "hello"))
    assert any(b"canary" in path.read_bytes() for path in folder.iterdir())
    outbox.forget(Scope(user_id="ana"))
    assert not any(b"canary" in path.read_bytes() for path in folder.iterdir())
    assert not any(b"ana" in path.read_bytes() for path in folder.iterdir())


def test_files_of_ended_processes_are_reached(outbox, folder) -> None:
    """They are taken over first, so that nothing of them can come back."""
    earlier = SqliteOutbox(folder, capture_wait_s=30)
    earlier.append(turn(ANA))
    earlier.append(turn(BOB))
    earlier.close()
    _, erased = outbox.forget(Scope(user_id="ana"))
    assert (erased.waiting, erased.files_in_use) == (1, 0)
    assert [envelope.scope.user_id for envelope in outbox.claim(10)] == ["bob"]
    assert not (folder / "forgotten.jsonl").exists()


def keep_and_wait(folder: Path, ready) -> None:
    """Another process: captures, says so, and lives until it is killed."""
    other = SqliteOutbox(folder, capture_wait_s=30)
    other.append(turn(ANA, "before"))
    other.append(turn(BOB, "before"))
    ready.set()
    signal.pause()


def test_a_file_in_use_is_told_and_cannot_bring_anybody_back(outbox, folder) -> None:
    """Another living process holds it: when that is gone, its turns of the forgotten user are left out."""
    context = multiprocessing.get_context("spawn")
    other = context.Process(target=keep_and_wait, args=(folder, ready := context.Event()))
    other.start()
    assert ready.wait(30)
    try:
        _, erased = outbox.forget(Scope(user_id="ana"))
        assert (erased.waiting, erased.files_in_use) == (0, 1)
        assert b"ana" not in (folder / "forgotten.jsonl").read_bytes()
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.join()
        other.close()
    outbox.append(turn(ANA, "after"))
    while outbox.adopt():
        pass
    found = [(envelope.scope.user_id, envelope.event.content) for envelope in outbox.claim(10)]
    assert found == [("bob", "before"), ("ana", "after")]
    assert_accounted(outbox.counts(), captured=1, adopted=1, waiting=2)


def test_what_is_said_later_is_kept() -> None:
    """A tombstone ends at its moment, names exactly its ids, and says nothing about them."""
    envelope = turn(ANA)
    row = encode(envelope)
    before, after = (Tombstone.of(ids_of(Scope(user_id="ana")), row.captured_at + shift) for shift in (-1, 1))
    assert (before.covers(row), after.covers(row)) == (False, True)
    assert not after.covers(encode(turn(BOB)))
    assert not after.covers(row._replace(scope="damaged"))
    assert "ana" not in json.dumps([after.named, after.digest])


def test_tombstones_end_after_a_month_and_survive_damage(outbox, folder) -> None:
    """A line that cannot be read costs itself only."""
    folder.mkdir()
    path = folder / "forgotten.jsonl"
    path.write_text('[[1], "digest", 5]\ngarbage\n[1]\n', encoding="utf-8")
    assert tombstones(folder) == [Tombstone((1,), "digest", 5)]
    expire_tombstones(folder, 5 + 29 * 86_400_000_000)
    assert path.exists()
    expire_tombstones(folder, 5 + 31 * 86_400_000_000)
    assert not path.exists()


def test_an_outbox_in_memory_forgets_too() -> None:
    """No file, no tombstone, the same figures."""
    outbox = EphemeralOutbox()
    outbox.append(turn(ANA))
    _, erased = outbox.forget(Scope(user_id="ana"))
    assert erased.waiting == 1
    assert_accounted(outbox.counts(), captured=1, forgotten=1, waiting=0)
    outbox.close()


class Down:
    """A platform that is down, and counts what it is offered."""

    def __init__(self) -> None:
        self.conversation = self.instance = self
        self.offered: list[str] = []

    async def listen(self, **_: object) -> None:
        raise NetworkError("down")

    async def record_message(self, *, content: str, **_: object) -> None:
        self.offered.append(content)
        raise NetworkError("down")

    async def send_message(self, **_: object) -> None:
        raise NetworkError("down")

    async def stop_listening(self) -> None: ...


def test_synap_forgets_what_it_waits_to_deliver_and_what_it_would_recall() -> None:
    """One call: outbox, delivery and held context; the receipt says how much."""
    synap = Synap(Down())
    synap.record(UserMessage("secret"), scope=ANA)
    assert not synap.flush(0.3)
    item = ContextItem("i-1", "facts", text="lives in Lisbon")
    synap._desk.apply(ContextBundle("b-1", "user", scope=ANA, items=(item,), ttl_s=60.0))
    forgotten = synap.forget(Scope(user_id="ana"))
    assert (forgotten.outbox.waiting, forgotten.bundles) == (1, 1)
    offered = len(synap._client.offered)
    assert synap.flush(2)
    status = synap.status()
    assert (status.captured, status.waiting, status.forgotten, status.bundles) == (1, 0, 1, 0)
    assert len(synap._client.offered) == offered
    synap.close()


@pytest.mark.parametrize("scope", [Scope(), Scope(session_id="s-1")], ids=["nobody", "only-a-session"])
def test_forgetting_nobody_in_particular_is_an_error(scope) -> None:
    """It must never mean: everybody."""
    with Synap(Down()) as synap, pytest.raises(InvalidInputError, match="name a conversation_id, user_id"):
        synap.forget(scope)
