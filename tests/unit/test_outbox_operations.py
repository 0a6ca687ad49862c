"""Looking after outboxes by hand: dead letters get another chance, and the living are left alone."""

from pathlib import Path

import pytest

from synap_integrations.model import Envelope, Scope, UserMessage
from synap_integrations.outbox import SqliteOutbox
from synap_integrations.outbox.operations import all_stored_rows, drop, retry

ANA = Scope("c-1", "ana", customer_id="acme")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five turns in the file of a process that has ended; the second and the fourth are dead letters."""
    outbox = SqliteOutbox(tmp_path / "cloud-0123abcd")
    envelopes = [Envelope.seal(ANA, UserMessage(f"turn {n}")) for n in range(5)]
    for envelope in envelopes:
        outbox.append(envelope)
    for number in (1, 3):
        outbox.bury(envelopes[number].event_id, "422: no")
    outbox.close()
    return tmp_path


def test_everything_is_seen_with_whose_it_is(root: Path) -> None:
    """Rows come in the order of capture, with ids, words, state and reason."""
    rows, unreadable = all_stored_rows(root)
    assert unreadable == []
    assert [row.text for row in rows] == [f"turn {n}" for n in range(5)]
    assert {(row.user_id, row.customer_id, row.conversation_id) for row in rows} == {("ana", "acme", "c-1")}
    assert [row.entry.reason for row in rows if row.dead] == ["422: no"] * 2


def test_dead_letters_wait_again_at_their_places(root: Path) -> None:
    """The next process delivers them where they were said, and what waited anyway is not changed."""
    dead = [row for row in all_stored_rows(root)[0] if row.dead]
    tended = retry([*dead, *(row for row in all_stored_rows(root)[0] if not row.dead)])
    assert tended.rows == 2
    outbox = SqliteOutbox(root / "cloud-0123abcd")
    assert outbox.adopt()
    assert [envelope.event.content for envelope in outbox.claim(10)] == [f"turn {n}" for n in range(5)]
    outbox.close()


def test_what_is_dropped_is_in_no_file(root: Path) -> None:
    """Deleted rows leave no words behind, and are not delivered by anybody later."""
    rows, _ = all_stored_rows(root)
    assert drop(row for row in rows if row.text in {"turn 0", "turn 1"}).rows == 2
    files = [path for path in root.rglob("*") if path.is_file()]
    assert not [path for path in files if b"turn 0" in path.read_bytes() or b"turn 1" in path.read_bytes()]
    assert [row.text for row in all_stored_rows(root)[0]] == ["turn 2", "turn 3", "turn 4"]


def test_the_file_of_a_living_process_is_read_and_left_alone(tmp_path: Path) -> None:
    """Its rows are listed; changing them is refused, with the file's name."""
    outbox = SqliteOutbox(tmp_path / "cloud-0123abcd")
    outbox.append(Envelope.seal(ANA, UserMessage("mine")))
    rows, _ = all_stored_rows(tmp_path)
    tended = drop(rows)
    assert (tended.rows, [path.name for path in tended.in_use]) == (0, [Path(outbox.where).name])
    assert [envelope.event.content for envelope in outbox.claim(10)] == ["mine"]
    outbox.close()


def test_a_file_that_is_no_outbox_is_named_and_not_touched(tmp_path: Path) -> None:
    """What cannot be read is said."""
    folder = tmp_path / "cloud-0123abcd"
    folder.mkdir()
    file = folder / "ob-1-2-3.db"
    file.write_bytes(b"no database, but long enough to be looked into " * 40)
    before = file.read_bytes()
    assert all_stored_rows(tmp_path) == ([], [file])
    assert file.read_bytes() == before
