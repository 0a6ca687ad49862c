"""Turns that nobody sends any more: dead letters, those that are held, and what waits behind them in strict order."""

from pathlib import Path

import pytest
from clocks import ManualClock
from delivery_world import DELIVERED, World, play, turn
from history import assert_accounted
from transports import Fate, texts

from synap_integrations.errors import InvalidInputError, OutcomeUnknownError
from synap_integrations.model import Envelope, Scope, UserMessage
from synap_integrations.outbox import EphemeralOutbox, SqliteOutbox
from synap_integrations.outbox.operations import all_stored_rows, drop, retry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One outbox folder."""
    return tmp_path / "cloud-0123abcd"


def said(outbox: SqliteOutbox) -> list[str]:
    """What may be sent now."""
    return texts(outbox.claim(100))


def filled(folder: Path | None, *texts: str, **how: object) -> tuple[SqliteOutbox, list[Envelope]]:
    """An outbox with these turns of one conversation."""
    outbox = SqliteOutbox(folder, capture_wait_s=30, **how)
    envelopes = [turn(text) for text in texts]
    for envelope in envelopes:
        outbox.append(envelope)
    return outbox, envelopes


def test_a_held_turn_is_kept_counted_and_not_sent(folder: Path) -> None:
    """It is shown as held, also by the next process, and no cap for dead letters takes it."""
    outbox, (first, _) = filled(folder, "one", "two", max_dead_bytes=1)
    outbox.hold(first.event_id, "unknown_outcome: lost")
    assert said(outbox) == ["two"]
    assert_accounted(outbox.counts(), captured=2, waiting=1, dead_letters=1, held=1)
    outbox.close()
    (row, _) = all_stored_rows(folder.parent)[0]
    assert (row.in_doubt, row.dead, row.entry.reason) == (True, True, "unknown_outcome: lost")
    adopter = SqliteOutbox(folder, capture_wait_s=30)
    assert adopter.adopt()
    assert said(adopter) == ["two"]
    assert_accounted(adopter.counts(), adopted=2, waiting=1, dead_letters=1, held=1)
    adopter.close()


def test_a_held_turn_is_sent_after_a_retry_by_hand(folder: Path) -> None:
    """As if it had never been tried: somebody has decided."""
    outbox, (first, _) = filled(folder, "one", "two")
    outbox.claim(1)
    outbox.hold(first.event_id, "lost")
    outbox.close()
    rows, _ = all_stored_rows(folder.parent)
    assert retry(row for row in rows if row.dead).rows == 1
    assert all(row.entry.first_write_at is None for row in all_stored_rows(folder.parent)[0] if row.text == "one")
    adopter = SqliteOutbox(folder, capture_wait_s=30)
    assert adopter.adopt()
    assert said(adopter) == ["one", "two"]
    adopter.close()


def test_what_is_held_of_somebody_is_forgotten_with_the_rest() -> None:
    """The figures go on adding up."""
    outbox = EphemeralOutbox(clock=ManualClock())
    outbox.append(envelope := turn("one"))
    outbox.hold(envelope.event_id, "lost")
    _, erased = outbox.forget(Scope(user_id="ana"))
    assert erased.dead_letters == 1
    assert_accounted(outbox.counts(), captured=1, forgotten=1, dead_letters=0, held=0)
    outbox.close()


@pytest.mark.parametrize("how", ["hold", "bury"])
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "not-strict"])
def test_in_strict_order_a_conversation_waits_behind_it(folder: Path, how: str, strict: bool) -> None:
    """Others go on, and the next process keeps to it as well; dropping it lets the conversation go on."""
    outbox, (first, _) = filled(folder, "one", "two", strict_order=strict)
    getattr(outbox, how)(first.event_id, "no")
    outbox.append(turn("elsewhere", "c-2"))
    assert said(outbox) == (["elsewhere"] if strict else ["two", "elsewhere"])
    outbox.close()
    adopter = SqliteOutbox(folder, capture_wait_s=30, strict_order=strict)
    assert adopter.adopt()
    assert said(adopter) == (["elsewhere"] if strict else ["two", "elsewhere"])
    adopter.close()
    assert drop(row for row in all_stored_rows(folder.parent)[0] if row.dead).rows == 1
    after = SqliteOutbox(folder, capture_wait_s=30, strict_order=strict)
    assert after.adopt()
    assert said(after) == ["two", "elsewhere"]
    after.close()


def test_forgetting_what_blocks_a_conversation_lets_it_go_on() -> None:
    """In the same process, without a restart."""
    outbox = EphemeralOutbox(strict_order=True)
    bad = Envelope.seal(Scope("c-1", "ben"), UserMessage("bad"))
    for envelope in (bad, turn("two")):
        outbox.append(envelope)
    outbox.bury(bad.event_id, "no")
    assert said(outbox) == []
    outbox.forget(Scope(user_id="ben"))
    assert said(outbox) == ["two"]
    outbox.close()


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "not-strict"])
@pytest.mark.parametrize("error", [OutcomeUnknownError("lost"), InvalidInputError("no")], ids=["held", "dead"])
def test_delivery_stops_a_conversation_in_strict_order_only(strict: bool, error: Exception) -> None:
    """What was in memory already waits too."""

    def script(envelope: Envelope) -> Fate:
        return error if envelope.event == UserMessage("bad") else DELIVERED

    async def scene(world: World) -> None:
        world.store.strict_order = world.store._row_store.dead_letters.strict_order = strict
        world.append(turn("1"), turn("bad"), turn("2"), turn("other", "c-2"), turn("3"))
        await world.until(lambda: world.store.counts().delivered == (2 if strict else 4), within_s=5)
        held = int(isinstance(error, OutcomeUnknownError))
        assert_accounted(world.store.counts(), dead_letters=1, held=held, waiting=2 if strict else 0)

    arrived = texts(play(scene, script).transport.received)
    assert sorted(arrived) == sorted(["1", "other"] if strict else ["1", "2", "other", "3"])
