"""What users said about themselves: kept beside their turns, served by type, gone with the turns."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from local_synap import Caller, Clock, engine_of

from synap_integrations.server import database as database_module
from synap_integrations.server.database import Database
from synap_integrations.server.records import NewTurn, Owner
from synap_integrations.server.statements.patterns import MOST

ANA = Owner("", "ana")


def tell(engine, content, *, owner=ANA, role="user", said_at=None, conversation="c"):
    """Record a turn."""
    turn = NewTurn(owner=owner, conversation_id=conversation, role=role, content=content, said_at=said_at)
    return engine.record(turn).turn


def known(engine, owner=ANA):
    """The sentences that are known of somebody, newest first."""
    return [stated.statement.content for stated in engine.statements(owner)]


@pytest.fixture
def engine():
    """A Synap in memory."""
    engine = engine_of()
    yield engine
    engine.database.close()


def test_a_statement_names_the_turn_it_rests_on(engine) -> None:
    """Word for word, with its turn, its conversation and when it was said."""
    turn = tell(engine, "Hello! I live in Lisbon.")
    (stated,) = engine.statements(ANA)
    statement = stated.statement
    assert (statement.kind, statement.slot, statement.value, statement.content) == (
        "facts",
        "home",
        "Lisbon",
        "I live in Lisbon.",
    )
    assert [source.message_id for source in statement.sources] == [turn.message_id]
    assert (statement.conversation_id, statement.said_at) == ("c", turn.said_at)
    assert engine.transcript("c")[0].content == "Hello! I live in Lisbon."


def test_only_users_speak_about_themselves(engine) -> None:
    """What an assistant says is no fact about the user."""
    tell(engine, "I live in Lisbon.", role="assistant")
    assert known(engine) == []


def test_nobody_knows_anything_about_somebody_else(engine) -> None:
    """Statements belong to one user of one customer."""
    tell(engine, "I live in Lisbon.")
    tell(engine, "I live in Porto.", owner=Owner("acme", "ana"))
    assert known(engine) == ["I live in Lisbon."]
    assert known(engine, Owner("acme", "ana")) == ["I live in Porto."]
    assert engine.statements(Owner("", "bob"), ["live Lisbon"]) == []
    assert engine.profile(Owner("", "bob")) is None


def test_the_newest_home_counts_whenever_it_is_told(engine) -> None:
    """What was said later holds, even if the older turn is recorded after it."""
    now = engine.now()
    tell(engine, "I live in Porto.", said_at=now)
    tell(engine, "I live in Lisbon.", said_at=now - timedelta(days=400))
    assert known(engine) == ["I live in Porto."]
    tell(engine, "I live in Faro.", said_at=now + timedelta(days=1))
    assert known(engine) == ["I live in Faro."]


def test_the_same_liking_is_known_once(engine) -> None:
    """Repeating oneself does not fill the memory."""
    for said in ("I love jazz.", "I love hiking.", "I really love Jazz!"):
        tell(engine, said)
    assert known(engine) == ["I really love Jazz!", "I love hiking."]


def test_at_most_a_dozen_statements_are_kept_of_a_user(engine) -> None:
    """The newest of each kind; together never more than twelve."""
    for number in range(20):
        tell(engine, f"I love jazz album number {number + 100}.".replace("number ", "No "))
        tell(engine, f"I'm allergic to pollen type {number}.")
        tell(engine, f"I have a dentist appointment on {number % 28 + 1} May.")
    kinds = [stated.statement.kind for stated in engine.statements(ANA)]
    assert {kind: kinds.count(kind) for kind in kinds} == MOST
    assert sum(MOST.values()) == 12


def test_a_statement_goes_when_its_turn_goes(engine) -> None:
    """Whoever deletes a turn has deleted what was known from it, its words included."""
    turn = tell(engine, "I live in Lisbon.")
    tell(engine, "I love jazz.")
    with engine.database.write() as db:
        db.execute("DELETE FROM turn WHERE message_id = ?", (turn.message_id,))
        left = db.execute(
            "SELECT (SELECT count(*) FROM statement), (SELECT count(*) FROM statement_source), "
            "(SELECT count(*) FROM statement_words)"
        ).fetchone()
    assert known(engine) == ["I love jazz."]
    assert left == (1, 1, 1)


def test_a_question_finds_the_statements_that_answer_it(engine) -> None:
    """Those that share a good part of its words; from one conversation, if named."""
    for said in ("I'm allergic to peanuts.", "I love jazz.", "I live in Lisbon."):
        tell(engine, said)
    tell(engine, "I prefer peanuts to jazz.", conversation="other")
    found = engine.statements(ANA, ["Am I allergic to peanuts?"])
    assert [stated.statement.content for stated in found] == ["I'm allergic to peanuts.", "I prefer peanuts to jazz."]
    assert found[0].relevance > found[1].relevance
    here = engine.statements(ANA, ["allergic to peanuts"], conversation_id="other")
    assert [stated.statement.content for stated in here] == ["I prefer peanuts to jazz."]
    assert engine.statements(ANA, ["zebras"]) == []


def test_open_dates_are_those_that_are_not_over(engine) -> None:
    """The nearest first; what is past stays known and is no open date."""
    for said in ("I went to Rome yesterday.", "We fly to Rome in two weeks.", "I have a dentist appointment tomorrow."):
        tell(engine, said)
    assert [date.content for date in engine.open_dates(ANA)] == [
        "I have a dentist appointment tomorrow.",
        "We fly to Rome in two weeks.",
    ]
    assert len(known(engine)) == 3


def test_a_profile_is_what_the_user_said(engine) -> None:
    """By what it is about; events are no part of it, and the overview is the user's own words."""
    for said in ("My name is Ana.", "I love jazz.", "I love rain.", "We fly to Rome in two weeks."):
        tell(engine, said)
    profile = engine.profile(ANA)
    assert {about: [one.value for one in said] for about, said in profile.attributes.items()} == {
        "name": ["Ana"],
        "likes": ["rain", "jazz"],
    }
    assert set(profile.overview.splitlines()) == {"I love rain.", "I love jazz.", "My name is Ana."}


def test_a_fault_in_reading_loses_no_turn(engine, monkeypatch) -> None:
    """The turn is stored, and what it says about the user is not found."""
    monkeypatch.setattr("synap_integrations.server.statements.store.stated", lambda *_, **__: 1 / 0)
    tell(engine, "I live in Lisbon.")
    assert len(engine.transcript("c")) == 1
    assert known(engine) == []


def test_a_file_of_the_version_before_gets_the_new_tables(tmp_path, monkeypatch) -> None:
    """What was remembered then is there, and what is said from now on is read."""
    path = tmp_path / "local.db"
    with monkeypatch.context() as then:
        then.setattr(database_module, "SCHEMA", ("schema.sql",))
        then.setattr(database_module, "VERSION", 1)
        old = Database(path)
        old.open()
        old.close()
    with closing(sqlite3.connect(path)) as then:
        assert then.execute("PRAGMA user_version").fetchone() == (1,)
    engine = engine_of(Database(path))
    tell(engine, "I live in Lisbon.")
    assert known(engine) == ["I live in Lisbon."]
    engine.database.close()


# --- over REST ------------------------------------------------------------------------------------------------


@pytest.fixture
def synap():
    """A local Synap that was told a few things on the first of March 2026."""
    clock = Clock(datetime(2026, 3, 4, 12, tzinfo=UTC))
    caller = Caller(engine_of(clock=clock))
    for number, said in enumerate(["My name is Ana.", "I love jazz.", "I have a dentist appointment on 7 May."]):
        caller.say(said, key=f"k{number}")
    yield caller
    caller.platform.close()


def fetch(synap, **asked):
    """The context of a user fetch."""
    status, answer = synap.call("POST", "/v1/context/user/fetch", {"user_id": "ana"} | asked)
    assert status == 200
    return answer["context"]


def test_a_fetch_answers_by_type(synap) -> None:
    """Facts, preferences and dated events with how they were found; emotions stay empty."""
    context = fetch(synap)
    (fact,), (preference,), (event,) = context["facts"], context["preferences"], context["temporal_events"]
    assert fact["content"] == "My name is Ana."
    assert fact["metadata"]["extraction"] == "pattern"
    assert fact["metadata"]["source_message_ids"] == [context["episodes"][-1]["id"]]
    assert fact["confidence"] == 0.6
    assert (preference["category"], preference["strength"]) == ("likes", 0.6)
    assert event["temporal_category"] == "episode"
    assert event["event_date"] == "2026-05-07T00:00:00+00:00"
    assert context["emotions"] == []


@pytest.mark.parametrize(
    ("types", "filled"),
    [
        (["facts"], {"facts"}),
        (["preferences", "temporal_events"], {"preferences", "temporal_events"}),
        (["episodes"], {"episodes"}),
        (["emotions"], set()),
    ],
)
def test_only_what_was_asked_for_is_answered(synap, types, filled) -> None:
    """``types`` of a fetch is kept to."""
    context = fetch(synap, types=types)
    assert {kind for kind, items in context.items() if items} == filled


def test_a_ranked_answer_does_not_say_the_same_twice(synap) -> None:
    """Where the turn itself is in the list, the statement from it is left out; asked for alone, it is there."""
    question = {"search_query": ["Do I love jazz?"], "response_shape": "ranked"}
    both = fetch(synap, **question)["items"]
    assert [item["content"] for item in both].count("I love jazz.") == 1
    alone = fetch(synap, types=["preferences"], **question)["items"]
    assert [(item["content"], item["category"], item["rank"]) for item in alone] == [("I love jazz.", "preferences", 1)]


def test_a_profile_is_served_in_the_platforms_shape(synap) -> None:
    """Attributes with value, confidence and source; nobody's profile is 404."""
    status, answer = synap.call("GET", "/v1/users/ana/profile")
    assert status == 200
    attribute = answer["profile"]["attributes"]["name"]
    assert (attribute["value"], attribute["confidence"], attribute["source_conversation_id"]) == ("Ana", 0.6, "chat")
    assert synap.call("GET", "/v1/users/bob/profile")[0] == 404
    assert synap.call("GET", "/v1/users/ana/profile", query="customer_id=acme")[0] == 404
