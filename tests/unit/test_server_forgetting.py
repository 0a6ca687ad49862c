"""What is forgotten is gone: from every table, from every index, and from every byte of the file."""

import sqlite3
from contextlib import closing

import pytest
from local_synap import Caller, engine_of

from synap_integrations.server.database import Database
from synap_integrations.server.records import Owner
from synap_integrations.server.store.forgetting import KEPT_IN_LOG, Target

CANARY = "zanzibarquokka"
ANA, BOB = Owner("", "ana"), Owner("", "bob")


@pytest.fixture
def file(tmp_path):
    """Where the local Synap keeps everything."""
    return tmp_path / "synap.db"


@pytest.fixture
def synap(file):
    """A local Synap over a file in which ana and bob said much, and ana a secret in every place that keeps text."""
    caller = Caller(engine_of(Database(file)))
    for number in range(60):
        caller.say(f"bob talks about thing number {number}", user="bob", conversation="bobs")
        caller.say(f"filler {number} of ana, long enough to fill a page " * 5, user="ana")
    caller.say(f"I live in {CANARY} and it is fine", user="ana", metadata={"note": CANARY}, key="k1")
    line = caller.listen()
    line.start()
    line.event("user_message", content=f"My favourite city is {CANARY}. Tell me about {CANARY}?", event_id="m1")
    line.event("tool_call", tool_name="search", tool_args_json=f'{{"q": "{CANARY}"}}', event_id="t1")
    line.event("tool_result", tool_name="search", tool_result_json=CANARY, event_id="t2")
    line.event("agent_thinking", content=CANARY, event_id="t3")
    line.event("context_request", search_queries=[CANARY], event_id="t4")
    yield caller
    caller.platform.close()


def bytes_of(file):
    """Everything that is on disk for this database."""
    return b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))


def owned_rows(file, number):
    """Rows by table that name this owner, whatever tables there are."""
    with closing(sqlite3.connect(file)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        columns = {table: [row[1] for row in db.execute(f"PRAGMA table_info('{table}')")] for table in tables}
        owned = [table for table, names in columns.items() if "owner" in names and "words" not in table]
        assert {"turn", "event", "bundle", "session", "statement", "intake"} <= set(owned)
        return {
            table: count
            for table in owned
            if (count := db.execute(f"SELECT count(*) FROM {table} WHERE owner = ?", (number,)).fetchone()[0])
        }


def test_a_forgotten_user_is_in_no_byte_of_the_file(synap, file) -> None:
    """Turns, words, events, bundles, statements: nothing is left on disk, and others keep all they have."""
    assert CANARY.encode() in bytes_of(file)
    with closing(sqlite3.connect(file)) as db:
        (number,) = db.execute("SELECT id FROM owner WHERE user_id = 'ana'").fetchone()
    forgotten = synap.engine.forget(ANA)
    assert forgotten.still_present_in == ()
    assert forgotten.counts["turns"] == 62
    assert forgotten.counts["events"] == 4
    assert forgotten.counts["statements"] >= 1
    assert CANARY.encode() not in bytes_of(file).lower()
    assert owned_rows(file, number) == {}
    assert synap.found("city") == []
    assert len(synap.engine.transcript("bobs")) == 60
    assert synap.found("thing number 7", user="bob")


def test_a_forgotten_conversation_leaves_the_others(synap, file) -> None:
    """Only what was said there goes."""
    synap.say("I have a dog called Rex", conversation="pets")
    forgotten = synap.engine.forget(ANA, "chat")
    assert forgotten.counts["conversations"] == 1
    assert CANARY.encode() not in bytes_of(file)
    assert [item["content"] for item in synap.found("dog Rex")] == ["I have a dog called Rex"]
    assert synap.engine.transcript("chat") == []


def test_a_forgotten_turn_takes_its_copies_along(synap, file) -> None:
    """One turn goes with what is known from it and with what it caused; its neighbours stay."""
    synap.say("the blue whale is called Wilhelmina", conversation="sea", key="w")
    synap.listen().event("context_request", search_queries=["the blue whale is called Wilhelmina"], event_id="c1")
    synap.say("lovely", conversation="sea", role="assistant")
    (turn,) = [turn for turn in synap.engine.transcript("sea") if turn.role == "user"]
    forgotten = synap.engine.forgetting.forget_turns(ANA, [turn.message_id])
    assert forgotten.counts["turns"] == 1
    assert forgotten.counts["events"] == 1
    assert b"Wilhelmina" not in bytes_of(file)
    assert b"wilhelmina" not in bytes_of(file)
    assert [turn.content for turn in synap.engine.transcript("sea")] == ["lovely"]


def test_nobody_forgets_what_somebody_else_said(synap) -> None:
    """A message id of another user's turn is nothing that this user can name."""
    (turn, *_) = synap.engine.transcript("bobs")
    assert synap.engine.forgetting.forget_turns(ANA, [turn.message_id]).found is False
    assert len(synap.engine.transcript("bobs")) == 60


def test_what_was_forgotten_does_not_come_back_by_itself(synap) -> None:
    """A client that lost an acknowledgement repeats its events: they are acknowledged, and stay forgotten."""
    synap.engine.forget(ANA)
    line = synap.listen()
    line.event("user_message", content=f"My favourite city is {CANARY}.", event_id="m1")
    line.event("tool_result", tool_result_json=CANARY, event_id="t2")
    assert line.acknowledged == ["m1", "t2"]
    assert synap.say("again", key="k1")["message_id"]
    assert synap.engine.transcript("chat") == []
    line.event("user_message", content="something new", event_id="m2")
    assert [turn.content for turn in synap.engine.transcript("chat")] == ["something new"]


def test_a_preview_counts_and_deletes_nothing(synap) -> None:
    """Whoever asks first is told what would go."""
    before = synap.engine.stats()
    preview = synap.engine.forgetting.preview(Target(customer_id="", user_id="ana"))
    assert preview.counts["turns"] == 62
    assert synap.engine.stats() == before


def test_a_customer_is_forgotten_with_all_its_users(synap) -> None:
    """Users of another customer, and of none, stay."""
    for user, customer in (("ana", "acme"), ("eve", "acme"), ("ana", "other")):
        synap.say(f"{user} of {customer}", user=user, customer_id=customer, conversation="work")
    assert synap.engine.forgetting.forget(Target(customer_id="acme")).counts["turns"] == 2
    assert [turn.content for turn in synap.engine.transcript("work")] == ["ana of other"]
    assert len(synap.engine.transcript("bobs")) == 60


def test_it_says_where_text_may_still_be(synap, file) -> None:
    """While another process reads the file, its log of changes cannot be emptied; that is said and not hidden."""
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM turn").fetchone()
    assert synap.engine.forget(ANA).still_present_in == (KEPT_IN_LOG,)
    assert synap.engine.transcript("chat") == []
    reader.close()
    assert synap.engine.forget(ANA).still_present_in == ()
    assert CANARY.encode() not in bytes_of(file)


def test_a_forgotten_statement_is_in_no_bundle_either(synap, file) -> None:
    """What is known is pushed as well; the turn that it rests on stays, and nothing else says it."""
    synap.say("I live in Lisbon.", user="eve", conversation="eves")
    line = synap.listen()
    line.event("context_request", user_id="eve", search_queries=["where do I live"], event_id="c9")
    (known,) = synap.engine.statements(Owner("", "eve"), ["live Lisbon"])
    synap.engine.forgetting.forget_statements(Owner("", "eve"), [known.statement.statement_id])
    with closing(sqlite3.connect(file)) as db:
        held = [row[0] for row in db.execute("SELECT items FROM bundle WHERE decision_id = 'c9'")]
        assert held
        assert not any("Lisbon" in items for items in held)
    assert len(synap.engine.transcript("eves")) == 1
