"""Rows: what is kept, under whom, and what several threads may do at once."""

import sqlite3
import threading

import pytest
from local_synap import Caller, Clock, engine_of

from synap_integrations.server.database import Database
from synap_integrations.server.records import Happening, NewTurn, Owner, Place

ANA, BOB, ACME_ANA = Owner("", "ana"), Owner("", "bob"), Owner("acme", "ana")


@pytest.fixture(params=["memory", "file"])
def engine(request, tmp_path):
    """An engine over memory and over a file."""
    engine = engine_of(Database(None if request.param == "memory" else tmp_path / "deep" / "local.db"))
    yield engine
    engine.database.close()


def turn(content: str = "hello", *, owner: Owner = ANA, conversation: str = "chat", **more: object) -> NewTurn:
    """A user's turn."""
    return NewTurn(owner=owner, conversation_id=conversation, role="user", content=content, **more)


def test_a_turn_comes_back_as_it_was_given(engine) -> None:
    """Every field, the application's own name of the conversation included."""
    given = turn("  Olá\n", event_id="e1", session_id="s", own_name="support", speaker="Ana", metadata={"n": [1, None]})
    recorded = engine.record(given)
    (kept,) = engine.transcript("support")
    assert kept == recorded.turn
    assert (kept.content, kept.speaker, dict(kept.metadata), kept.own_name) == (
        "  Olá\n",
        "Ana",
        {"n": [1, None]},
        "support",
    )
    assert (recorded.count, recorded.fresh) == (1, True)


def test_an_event_id_is_one_turn_for_its_owner(engine) -> None:
    """A repetition gives what was stored then, whatever it says now; another owner's is another turn."""
    first = engine.record(turn("first", event_id="e1"))
    again = engine.record(turn("second", event_id="e1", conversation="elsewhere"))
    assert again.turn == first.turn
    assert (again.fresh, again.count) == (False, 1)
    assert all(engine.record(turn(event_id="e1", owner=owner)).fresh for owner in (BOB, ACME_ANA))


def test_a_repetition_inside_one_batch_is_found(engine) -> None:
    """The second of two equal ids in the same transaction is the first again."""
    first, second = engine.record_all([turn("a", event_id="e"), turn("b", event_id="e")])
    assert (first.fresh, second.fresh) == (True, False)
    assert engine.stats()["turns"] == 1


def test_a_batch_is_stored_as_a_whole_or_not_at_all(engine) -> None:
    """What cannot be stored takes nothing else with it half way, and the store can be used afterwards."""
    with pytest.raises((sqlite3.Error, UnicodeEncodeError)):
        engine.record_all([turn("good"), turn("\ud800")])
    assert engine.stats()["turns"] == 0
    engine.record(turn("good"))
    assert engine.transcript("chat")[0].position == 1


def test_owners_of_equal_conversations_have_turns_of_their_own(engine) -> None:
    """The same conversation id under two owners is two conversations; who does not say whose gets neither."""
    for owner in (ANA, BOB, ACME_ANA):
        engine.record(turn(f"of {owner.customer_id} {owner.user_id}", owner=owner))
    assert engine.owner_of("chat") is None
    assert [kept.content for kept in engine.store.turns(ACME_ANA, "chat")] == ["of acme ana"]
    assert len(engine.transcript("chat")) == 3
    assert len(engine.transcript("chat", BOB)) == 1


def test_a_place_of_somebody_else_is_no_place(engine) -> None:
    """Rows are numbered for all, but read by their owner only."""
    engine.record(turn("mine"))
    (place,) = engine.store.at(ANA, [Place(1, 1), Place(1, 2), Place(99, 1)])
    assert place == Place(1, 1)
    assert engine.store.at(BOB, [Place(1, 1)]) == {}


def test_a_conversation_keeps_its_session_until_a_new_one_begins(engine) -> None:
    """A turn without a session belongs to that of the turn before."""
    sessions = [engine.record(turn(session_id=given)).turn.session_id for given in (None, None, "s2", None)]
    assert sessions[0] == sessions[1]
    assert sessions[2:] == ["s2", "s2"]


def test_an_event_is_kept_once(engine) -> None:
    """By its id and its owner."""
    happening = Happening(owner=ANA, kind="tool_call", conversation_id="chat", event_id="e", body={"tool_name": "t"})
    assert [engine.keep(happening), engine.keep(happening)] == [True, False]
    assert engine.ledger.events(ANA, "chat") == [happening]
    assert engine.ledger.events(BOB, "chat") == []


def test_the_newer_of_two_contradictions_comes_first() -> None:
    """People move; what they said last month counts more than what they said three years ago."""
    clock = Clock()
    engine = engine_of(clock=clock)
    for year in (3, 2, 1):
        clock.advance(days=-365 * year)
        engine.record(turn(f"I live in city number {year}", conversation=f"c{year}"))
        clock.advance(days=365 * year)
    engine.record(turn("I live in Kyoto", conversation="now"))
    assert engine.search(ANA, ["Where do I live?"], limit=1)[0].turn.content == "I live in Kyoto"
    engine.database.close()


def test_many_threads_write_and_search_at_once(engine) -> None:
    """Positions have no gaps, nothing is lost, and no search fails meanwhile."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for count in range(25):
                engine.record(turn(f"turn {count}", conversation=f"c{number % 2}", event_id=f"{number}-{count}"))
                engine.search(ANA, ["turn 3"], limit=5)
        except BaseException as error:  # noqa: BLE001 - a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for conversation in ("c0", "c1"):
        assert [kept.position for kept in engine.transcript(conversation)] == list(range(1, 76))


def test_two_engines_over_one_file_see_each_other(tmp_path) -> None:
    """What one commits the other finds, at once."""
    first, second = (engine_of(Database(tmp_path / "local.db")) for _ in range(2))
    first.record(turn("our puppy", event_id="e1"))
    assert second.search(ANA, ["puppy"], limit=1)[0].turn.event_id == "e1"
    assert not second.record(turn("our puppy", event_id="e1")).fresh
    first.database.close()
    second.database.close()


def test_a_closed_store_says_so() -> None:
    """Closing is final and may be done twice."""
    engine = engine_of()
    engine.database.close()
    engine.database.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        engine.record(turn())


def test_equal_histories_have_equal_ids_and_order() -> None:
    """With clock and ids given, two stores that were told the same answer the same."""

    def told() -> list[tuple[str, float]]:
        synap = Caller()
        for number in range(30):
            synap.say(f"lesson {number % 4}", conversation=f"c{number % 3}")
        found = [(item["id"], item["confidence"]) for item in synap.found("lesson 2", max_results=30)]
        synap.platform.close()
        return found

    assert told() == told()
