"""What is pushed, for which event, to whom, and how often."""

import gc
import threading
import time

import pytest
from local_synap import Caller, engine_of, items_of

from synap_integrations.server.push.anticipation import Cause, anticipate
from synap_integrations.server.push.pusher import MOST_WAITING, Pusher
from synap_integrations.server.records import NewTurn, Owner

ANA = Owner("", "ana")


@pytest.fixture
def synap():
    """A local Synap that remembers an earlier conversation of Ana's and one of Bob's."""
    caller = Caller()
    told = [
        ("user", "We finally adopted a puppy from the shelter in Porto"),
        ("assistant", "Wonderful! What is the name?"),
        ("user", "Biscuit, because of the colour of the fur"),
        ("assistant", "A lovely name"),
        ("user", "On weekends we go surfing at Nazare"),
    ]
    for number, (role, content) in enumerate(told):
        caller.say(content, role=role, conversation="before", key=f"before-{number}")
    caller.say("My puppy is called Killer", user="bob", conversation="bobs")
    yield caller
    caller.platform.close()


@pytest.fixture
def line(synap):
    """A stream to it."""
    return synap.listen()


def test_a_message_brings_what_answers_it(synap, line) -> None:
    """One bundle, for this event, of this user, complete in itself."""
    line.event("user_message", content="Do you remember the puppy?", event_id="ask")
    (bundle,) = line.bundles
    assert bundle.decision_id == "ask"
    assert (bundle.anticipation_user_id, bundle.anticipation_customer_id) == ("ana", "")
    assert bundle.anticipation_conversation_id == ""
    assert bundle.bundle_type == "anticipation"
    assert list(bundle.search_queries) == ["Do you remember the puppy?"]
    item = items_of(bundle)[0]
    assert item.content.splitlines() == [
        "user: We finally adopted a puppy from the shelter in Porto",
        "assistant: Wonderful! What is the name?",
    ]
    assert (item.context_type, item.scope, item.entity_id) == ("episodes", "user", "ana")
    assert 0 < item.confidence <= 1
    assert item.date_prefix == "(said March 1, 2026) "
    assert item.created_at
    assert item.said_at
    assert "Killer" not in str(bundle)


def test_a_turn_recorded_by_rest_is_pushed_to_everybody_who_listens(synap) -> None:
    """The bundle names the idempotency key, or the message where there is none; repetitions push nothing."""
    lines = [synap.listen(), synap.listen()]
    for _ in range(2):
        synap.say("Do you remember the puppy?", key="ask")
        assert synap.platform.drain()
    answer = synap.say("And the puppy's shelter?")
    assert synap.platform.drain()
    for line in lines:
        assert [bundle.decision_id for bundle in line.bundles] == ["ask", answer["message_id"]]


def test_a_stream_that_is_closed_gets_no_more(synap, line) -> None:
    """After the half-close nothing is pushed."""
    line.half_close()
    synap.say("Do you remember the puppy?")
    assert synap.platform.drain()
    assert line.bundles == []


@pytest.mark.parametrize(
    ("event_type", "content"),
    [
        ("assistant_message", "Do you remember the puppy?"),
        ("tool_result", "Do you remember the puppy?"),
        ("user_message", "ok, thanks!"),
        ("user_message", "zebras"),
        ("user_message", "puppy quarterly revenue forecast spreadsheet columns formula budget"),
        ("user_message", ""),
    ],
)
def test_nothing_worth_saying_is_not_said(line, event_type, content) -> None:
    """Assistant turns, tool results, small talk, the unknown and the faintly similar push nothing."""
    line.event(event_type, content=content)
    assert line.told == []


def test_what_the_prompt_holds_anyway_is_not_pushed_back(synap, line) -> None:
    """The message itself and the last turns of its conversation are not memories yet; older ones of it are."""
    synap.say("The puppy chewed on my shoes", conversation="now")
    line.event("user_message", content="That puppy again!", conversation_id="now", event_id="ask")
    bundle = line.answer_to("ask")
    assert all("shoes" not in item.content and "again" not in item.content for item in items_of(bundle))
    for number in range(12):
        synap.say(f"filler {number}", conversation="now")
    line.event("user_message", content="Bad puppy", conversation_id="now", event_id="later")
    assert any("shoes" in item.content for item in items_of(line.answer_to("later")))


def test_other_conversations_come_first(synap, line) -> None:
    """What was said in this conversation is nearer anyway."""
    synap.say("puppy puppy puppy", conversation="now")
    for number in range(14):
        synap.say(f"filler {number}", conversation="now")
    line.event("user_message", content="puppy", conversation_id="now", event_id="ask")
    contents = [item.content for item in items_of(line.answer_to("ask"))]
    assert "shelter" in contents[0]
    assert any("puppy puppy puppy" in content for content in contents[1:])


def test_a_bundle_is_small_and_its_windows_do_not_overlap(synap, line) -> None:
    """At most five items, however much there is, and no turn twice."""
    for number in range(30):
        synap.say(f"guitar lesson {number}", conversation=f"c{number // 6}")
    line.event("user_message", content="guitar lesson", conversation_id="now", event_id="ask")
    contents = [item.content for item in items_of(line.answer_to("ask"))]
    turns = [turn for content in contents for turn in content.splitlines()]
    assert len(contents) == 5
    assert len(turns) == len(set(turns))


@pytest.mark.parametrize(
    ("queries", "types", "items"),
    [
        (["puppy"], [], True),
        (["zebras", "puppy"], ["episodes"], True),
        (["puppy"], ["facts"], False),
        (["zebras"], [], False),
        ([], [], False),
    ],
)
def test_a_request_is_always_answered(line, queries, types, items) -> None:
    """Somebody waits: an answer that names the request comes even if it is empty."""
    line.event("context_request", search_queries=queries, context_types=types, event_id="ask")
    (bundle,) = line.bundles
    assert bundle.decision_id == "ask"
    assert bool(items_of(bundle)) is items


def test_a_request_may_ask_for_the_same_again(line) -> None:
    """What somebody asks for, and what answers a turn, is never left out because it was pushed before."""
    for number in range(2):
        line.event("context_request", search_queries=["puppy"], event_id=f"ask-{number}")
        line.event("user_message", content="puppy?", event_id=f"turn-{number}")
    assert all(items_of(bundle) for bundle in line.bundles)
    assert len(line.bundles) == 4


@pytest.mark.parametrize(
    ("fields", "pushed"),
    [
        ({"search_queries": ["puppy"]}, True),
        ({"tool_args_json": '{"pet": "puppy", "n": 3}'}, True),
        ({"tool_args_json": "not json"}, False),
        ({"tool_args_json": "[1]"}, False),
        ({"tool_args_json": '{"n": 3}'}, False),
        ({}, False),
    ],
)
def test_a_tool_call_brings_what_its_hints_ask_for(line, fields, pushed) -> None:
    """Its search queries, else its short text arguments; without either nothing."""
    line.event("tool_call", tool_name="t", event_id="call", **fields)
    assert [bundle.decision_id for bundle in line.bundles] == ["call"] * pushed


def test_nobody_is_told_the_same_unasked_twice(line) -> None:
    """The items of tool calls and session starts are pushed once to a stream in 25 minutes."""
    for number in range(2):
        line.event("tool_call", tool_name="t", search_queries=["puppy"], event_id=f"call-{number}")
    assert [bundle.decision_id for bundle in line.bundles] == ["call-0"]


def test_a_session_begins_with_how_the_last_conversation_went(line) -> None:
    """``user_summary``, stamped with the user alone, word for word, once per session."""
    for _ in range(2):
        line.start(conversation="now", session="s1")
    (bundle,) = line.bundles
    assert bundle.bundle_type == "user_summary"
    assert bundle.anticipation_conversation_id == ""
    assert bundle.decision_id == "s1"
    opening, ending = [item.content for item in items_of(bundle)]
    assert opening.startswith("user: We finally adopted a puppy")
    assert ending.endswith("user: On weekends we go surfing at Nazare")


def test_a_namesake_at_another_customer_changes_nothing(synap, line) -> None:
    """The last conversation is the user's own, however new those of a namesake are."""
    synap.say("secret of the other Ana", customer_id="acme", conversation="theirs")
    line.start(conversation="now")
    assert line.told[0].startswith("user: We finally adopted a puppy")
    assert "secret" not in str(line.told)


def test_a_session_of_a_stranger_begins_with_nothing(line) -> None:
    """What is not known is not made up, and nobody else's past is told."""
    line.start(user="carla", conversation="now")
    line.event("user_message", user_id="carla", content="Do you remember the puppy?")
    assert line.told == []


def test_every_bundle_is_recorded_with_its_cause(synap, line) -> None:
    """Why it was pushed, for which words, and what was in it."""
    line.event("user_message", content="Do you remember the puppy?", event_id="ask", conversation_id="now")
    (known,) = synap.engine.bundles(ANA)
    (bundle,) = line.bundles
    assert (known.bundle_id, known.pattern, known.decision_id) == (bundle.bundle_id, "user_message", "ask")
    assert known.conversation_id == "now"
    assert known.queries == ("Do you remember the puppy?",)
    assert known.item_ids == tuple(item.item_id for item in items_of(bundle))
    assert synap.engine.bundles(Owner("", "bob")) == []


def test_the_same_history_gives_the_same_bytes() -> None:
    """With clock and ids given, nothing is left to chance."""

    def played() -> list[bytes]:
        synap = Caller()
        line = synap.listen()
        for number in range(40):
            synap.say(f"lesson {number % 7} about guitar {number % 3}", conversation=f"c{number % 5}", key=f"k{number}")
            assert synap.platform.drain()
        line.start(conversation="now")
        line.event("context_request", search_queries=["guitar 2", "lesson 3"], event_id="ask")
        synap.platform.close()
        for bundle in line.bundles:
            bundle.retrieval_time_ms = 0
        return [message.SerializeToString(deterministic=True) for message in line.heard]

    assert played() == played()


class Gate:
    """A listener that holds the pushing thread until it is opened."""

    def __init__(self) -> None:
        self.open, self.entered = threading.Event(), threading.Event()
        self.got: list[str] = []

    def speaks_for(self, owner) -> bool:
        """Everybody is welcome."""
        return True

    def push(self, bundle) -> None:
        """Keep the cause."""
        self.got.append(bundle.decision_id)
        self.entered.set()
        assert self.open.wait(10)


def cause(number: int, *, conversation: str = "now", pattern="user_message") -> Cause:
    """A cause with an answer."""
    return Cause(pattern=pattern, owner=ANA, decision_id=f"d{number}", conversation_id=conversation, queries=("puppy",))


@pytest.fixture
def held():
    """A pusher whose thread is held inside its first push."""
    engine, gate = engine_of(), Gate()
    engine.record(NewTurn(owner=ANA, conversation_id="before", role="user", content="our puppy"))
    pusher = Pusher(engine)
    pusher.add(gate)
    pusher.request(cause(0))
    assert gate.entered.wait(10)
    yield pusher, gate
    gate.open.set()
    pusher.close()
    engine.database.close()


def test_the_newest_turn_of_a_conversation_replaces_the_older(held) -> None:
    """Pushes that wait while others are computed do not pile up; other conversations keep theirs."""
    pusher, gate = held
    for number in range(1, 4):
        pusher.request(cause(number))
    pusher.request(cause(9, conversation="other"))
    gate.open.set()
    assert pusher.drain()
    assert gate.got == ["d0", "d3", "d9"]


def test_who_asked_comes_first_and_is_never_dropped(held) -> None:
    """Under pressure the oldest pushes go, the answers stay."""
    pusher, gate = held
    for number in range(1, MOST_WAITING + 11):
        pusher.request(cause(number, conversation=f"c{number}"))
    for number in range(1000, 1100):
        pusher.request(cause(number, pattern="context_request"))
    gate.open.set()
    assert pusher.drain(30)
    assert gate.got[1:101] == [f"d{number}" for number in range(1000, 1100)]
    assert gate.got[101:] == [f"d{number}" for number in range(11, MOST_WAITING + 11)]


def test_a_listener_that_fails_does_not_stop_the_others(held) -> None:
    """A fault of one stream is contained; the next push is computed."""
    pusher, gate = held

    class Broken:
        def speaks_for(self, owner) -> bool:
            """Everybody is welcome."""
            return True

        def push(self, bundle) -> None:
            raise RuntimeError(bundle.bundle_id)

    pusher.add(broken := Broken())
    gate.open.set()
    pusher.request(cause(1))
    assert pusher.drain()
    assert gate.got == ["d0", "d1"]
    assert broken


def test_a_stream_that_nobody_holds_is_gone(synap) -> None:
    """A client that went away without a word costs nothing: nothing is searched for it."""
    synap.listen()
    gc.collect()
    synap.say("Do you remember the puppy?", key="ask")
    assert synap.platform.drain()
    assert synap.engine.bundles(decision_id="ask") == []


def test_nothing_is_computed_for_nobody() -> None:
    """Without a stream there is no thread and no search."""
    engine = engine_of()
    pusher = Pusher(engine)
    pusher.request(cause(1))
    assert pusher.drain(0)
    assert not [thread for thread in threading.enumerate() if thread.name == "synap-push" and thread.is_alive()]
    pusher.close()


def test_closing_ends_the_thread(held) -> None:
    """What waits is forgotten, and nothing is left running."""
    pusher, gate = held
    pusher.request(cause(1))
    gate.open.set()
    pusher.close()
    deadline = time.monotonic() + 5
    while any(thread.name == "synap-push" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(thread.name == "synap-push" for thread in threading.enumerate())
    pusher.request(cause(2))
    assert pusher.drain(0)


def test_long_turns_are_shortened_in_a_push_and_nowhere_else() -> None:
    """A pasted book does not fill the prompt; the store keeps it whole."""
    engine = engine_of()
    engine.record(NewTurn(owner=ANA, conversation_id="before", role="user", content="puppy " + "x" * 100_000))
    bundle = anticipate(engine, cause(1))
    assert bundle is not None
    assert len(bundle.items[0].content) < 2_000
    assert len(engine.transcript("before")[0].content) == 100_006
    engine.database.close()
