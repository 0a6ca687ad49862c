"""What a push is made of: statements beside turns, what a client can take, and whether a model was shown it."""

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from local_synap import Caller, Clock, engine_of, items_of

from synap_integrations.server.push import pusher as push_module
from synap_integrations.server.push.anticipation import Cause, anticipate
from synap_integrations.server.push.pusher import USUAL, Pusher
from synap_integrations.server.records import Bundle, Item, NewTurn, Owner, Span
from synap_integrations.server.stream.bundle_wire import life_s
from synap_integrations.server.stream.sent import AGAIN_S, MOST_LIVE
from synap_integrations.server.stream.session import ListenSession
from synap_integrations.wire.proto import ConversationEvent, StreamEvent

ANA = Owner("", "ana")
MOMENT = datetime(2026, 3, 4, 12, tzinfo=UTC)
TOLD = (
    "My name is Ana.",
    "I live in Lisbon.",
    "I love jazz.",
    "I have a dentist appointment on 7 May.",
    "We fly to Rome in two weeks.",
    "I went to Porto yesterday.",
    "The garden needs water",
)


@pytest.fixture
def synap():
    """A local Synap that was told about Ana on the fourth of March 2026."""
    caller = Caller(engine_of(clock=Clock(MOMENT)))
    for number, said in enumerate(TOLD):
        caller.say(said, conversation="before", key=f"before-{number}")
    yield caller
    caller.platform.close()


@pytest.fixture
def line(synap):
    """A stream to it."""
    return synap.listen()


def test_a_greeting_says_who_it_is_what_is_ahead_and_where_they_left_off(line) -> None:
    """Five items: facts, preferences, one open date, the opening and the end of the last conversation."""
    line.start(conversation="now")
    (bundle,) = line.bundles
    by_type = {kind: [item.content for item in held.items] for kind, held in bundle.items_by_type.items()}
    assert by_type["facts"] == ["user: I live in Lisbon.\nuser: My name is Ana."]
    assert by_type["preferences"] == ["user: I love jazz."]
    assert by_type["temporal_events"] == ["user: We fly to Rome in two weeks."]
    assert [content.splitlines()[-1] for content in by_type["episodes"]] == [
        "user: I live in Lisbon.",
        "user: The garden needs water",
    ]
    (event,) = bundle.items_by_type["temporal_events"].items
    assert (event.temporal_category, event.event_date[:10], event.valid_until[:10]) == (
        "episode",
        "2026-03-16",
        "2026-03-23",
    )
    assert (bundle.anticipation_user_id, bundle.anticipation_conversation_id) == ("ana", "")


@pytest.mark.parametrize(
    ("types", "kinds"),
    [
        (["facts"], {"facts"}),
        (["fact"], {"facts"}),
        (["preferences", "temporal_events"], {"preferences", "temporal_events"}),
        (["emotions"], set()),
    ],
)
def test_a_request_for_types_gets_these(line, types, kinds) -> None:
    """Without a query, everything that is known of these types; emotions are never known."""
    line.event("context_request", context_types=types, event_id="ask")
    assert {item.context_type for item in items_of(line.answer_to("ask"))} == kinds


def test_a_statement_is_pushed_where_its_turn_is_not(synap, line) -> None:
    """What a bundle shows as a turn it does not show again; asked for alone, the statement is there."""
    line.event("context_request", search_queries=["jazz"], event_id="all")
    assert str(line.told).count("I love jazz.") == 1
    line.event("context_request", search_queries=["jazz"], context_types=["preferences"], event_id="some")
    assert [item.content for item in items_of(line.answer_to("some"))] == ["user: I love jazz."]


def test_what_was_just_said_is_not_told_back(synap, line) -> None:
    """A statement of the running conversation is in the prompt anyway."""
    line.event("user_message", content="I hate opera.", conversation_id="now", event_id="said")
    line.event("context_request", search_queries=["opera"], conversation_id="now", event_id="ask")
    assert items_of(line.answer_to("ask")) == []


def test_a_tool_result_pushes_only_where_that_is_wanted(synap) -> None:
    """Off by default; where it is on, the bundle names its own pattern."""
    lines = {}
    for patterns in (USUAL, USUAL | {"tool_result"}):
        synap.platform.synap.pusher = Pusher(synap.engine, patterns=patterns)
        lines[patterns] = line = synap.listen()
        line.event("tool_result", tool_result_json="jazz", event_id=f"result-{len(patterns)}")
    usual, all_of_them = lines.values()
    assert usual.bundles == []
    (bundle,) = all_of_them.bundles
    assert bundle.origin_pattern_id == "local.tool_result"


def test_how_often_each_pattern_hits_is_known(synap, line) -> None:
    """Bundles and items by pattern, and how many of them a model was shown."""
    line.event("context_request", search_queries=["jazz"], event_id="a")
    line.event("context_request", search_queries=["garden"], event_id="b")
    line.start(conversation="now")
    shown = line.answer_to("a")
    synap.engine.used([shown.bundle_id], [items_of(shown)[0].item_id])
    rates = {rate.pattern: rate for rate in synap.engine.hit_rates(ANA)}
    asked = rates["context_request"]
    assert (asked.bundles, asked.bundles_used, asked.items_used, asked.rate) == (2, 1, 1, 0.5)
    assert (rates["session_start"].bundles, rates["session_start"].rate) == (1, 0.0)
    assert synap.engine.hit_rates(Owner("", "bob")) == []
    assert synap.engine.hit_rates() == synap.engine.hit_rates(ANA)


class Stream:
    """A stream with a clock that a test sets."""

    def __init__(self, engine, **terms) -> None:
        self.now, self.bundles = 0.0, []
        self.session = ListenSession(engine, Pusher(engine), self._keep, clock=lambda: self.now, **terms)

    def _keep(self, response) -> None:
        self.bundles.append(response.context_bundle)

    def push(self, engine, word: str, pattern="user_message") -> list[str]:
        """Push what the word finds; the ids of the items that went out."""
        cause = Cause(pattern=pattern, owner=ANA, decision_id="d", conversation_id="now", queries=(word,))
        before = len(self.bundles)
        self.session.push(anticipate(engine, cause))
        return [item.item_id for bundle in self.bundles[before:] for item in items_of(bundle)]


@pytest.fixture
def library():
    """An engine that remembers five separate turns about each of forty-five words."""
    engine = engine_of()
    for number in range(45 * 5):
        turn = NewTurn(owner=ANA, conversation_id=f"c{number}", role="user", content=f"word{number // 5} no {number}")
        engine.record(turn)
    yield engine
    engine.database.close()


def test_a_client_is_not_given_more_than_it_can_search(library) -> None:
    """About 150 items; then one new item a bundle, until the first are forgotten. Requests always get all."""
    stream = Stream(library)
    sizes = [len(stream.push(library, f"word{number}")) for number in range(40)]
    assert sizes == [5] * (MOST_LIVE // 5) + [1] * 10
    assert len(stream.push(library, "word0")) == 5
    assert len(stream.push(library, "word44", pattern="context_request")) == 5
    stream.now = AGAIN_S + 1
    assert len(stream.push(library, "word43")) == 5


def test_our_own_client_takes_any_number(library) -> None:
    """The embedded Synap's client files bundles by their owner and searches none that it was not asked about."""
    stream = Stream(library, most_live=None)
    assert {len(stream.push(library, f"word{number}")) for number in range(40)} == {5}


def test_what_is_unasked_is_told_again_when_the_client_has_forgotten_it(library) -> None:
    """Not within 25 minutes, and then again."""
    stream = Stream(library)
    assert len(stream.push(library, "word1")) == 5
    assert stream.push(library, "word1", pattern="tool_call") == []
    stream.now = AGAIN_S
    assert len(stream.push(library, "word1", pattern="tool_call")) == 5


def test_a_newer_turn_cancels_the_search_for_the_older(monkeypatch) -> None:
    """What is found for a turn that another one has followed is not pushed any more."""
    engine = engine_of()
    engine.record(NewTurn(owner=ANA, conversation_id="before", role="user", content="our puppy"))
    searching, go_on, pushed = threading.Event(), threading.Event(), []

    def slow(*args):
        searching.set()
        assert go_on.wait(10)
        return anticipate(*args)

    monkeypatch.setattr(push_module, "anticipate", slow)

    class Listener:
        def speaks_for(self, owner) -> bool:
            """Everybody is welcome."""
            return True

        def push(self, bundle) -> None:
            pushed.append(bundle.decision_id)

    pusher = Pusher(engine)
    pusher.add(listener := Listener())
    causes = [
        Cause(pattern="user_message", owner=ANA, decision_id=f"d{n}", conversation_id="now", queries=("puppy",))
        for n in range(2)
    ]
    pusher.request(causes[0])
    assert searching.wait(10)
    pusher.request(causes[1])
    go_on.set()
    assert pusher.drain()
    pusher.close()
    engine.database.close()
    assert pushed == ["d1"]
    assert listener


def test_under_pressure_pushes_go_and_acknowledgements_stay(synap, monkeypatch) -> None:
    """Three hundred turns in a hurry: each is acknowledged, and only the newest of a conversation is answered."""
    searching, go_on = threading.Event(), threading.Event()

    def slow(*args):
        searching.set()
        assert go_on.wait(10)
        return anticipate(*args)

    monkeypatch.setattr(push_module, "anticipate", slow)
    line = synap.listen()
    for number in range(300):
        event = ConversationEvent(
            event_type="user_message",
            user_id="ana",
            conversation_id=f"talk-{number % 3}",
            event_id=f"e{number}",
            content="Do I love jazz?",
        )
        line.raw(StreamEvent(conversation_event=event).SerializeToString())
        if number == 0:
            assert searching.wait(10)
    assert line.acknowledged == [f"e{number}" for number in range(300)]
    assert line.bundles == []
    go_on.set()
    assert synap.platform.drain()
    assert {bundle.decision_id for bundle in line.bundles} == {"e297", "e298", "e299"}


def test_a_compaction_is_told_to_who_listens(synap, line) -> None:
    """The excerpt, and exactly the turns that it leaves, so that a client needs to ask for neither."""
    for number in range(14):
        synap.say(f"This is turn {number}.", conversation="long", key=f"long-{number}")
    synap.platform.drain()
    _, made = synap.call("POST", "/v1/conversations/compact", {"conversation_id": "long", "strategy": "aggressive"})
    assert synap.platform.drain()
    bundle = line.answer_to(made["compaction_id"])
    told = bundle.conversation_context
    assert (bundle.bundle_type, bundle.anticipation_conversation_id) == ("compaction_update", "long")
    assert bundle.anticipation_user_id == "ana"
    assert (told.compacted_message_count, told.total_message_count) == (10, 14)
    assert [turn.content for turn in told.recent_turns] == [f"This is turn {number}." for number in range(10, 14)]
    assert told.context_block.startswith("## Conversation so far (compacted")
    assert (told.compaction_id, told.summary) == (made["compaction_id"], told.context_block)
    assert json.loads(told.key_extractions_json) == {"facts": [], "preferences": []}
    (pushed,) = [held for held in synap.platform.engine.bundles() if held.pattern == "compaction"]
    assert (pushed.bundle_id, pushed.items) == (bundle.bundle_id, ())


def test_a_conversation_that_is_not_cut_short_is_not_told_about(synap, line) -> None:
    """Too short to compact: nothing changed."""
    _, made = synap.call("POST", "/v1/conversations/compact", {"conversation_id": "before", "strategy": "balanced"})
    assert made["status"] == "skipped"
    assert synap.platform.drain()
    assert "compaction_update" not in {bundle.bundle_type for bundle in line.bundles}


def test_a_bundle_says_how_long_it_holds(synap, line) -> None:
    """As long as its items are not sent again, or until the first event in it is over; a duration, never a time."""
    line.event("context_request", search_queries=["garden water"], event_id="ask")
    assert line.answer_to("ask").ttl_hint_seconds == AGAIN_S
    synap.say("I have an appointment with the dentist today.", conversation="soon", key="soon")
    line.event("context_request", search_queries=["appointment dentist"], event_id="when")
    assert 0 < line.answer_to("when").ttl_hint_seconds <= AGAIN_S
    when = Span(MOMENT - timedelta(hours=1), MOMENT + timedelta(minutes=5))
    event = Item(item_id="e", content="c", relevance=1, said_at=MOMENT, recorded_at=MOMENT, when=when)
    past = replace(event, when=Span(MOMENT - timedelta(hours=2), MOMENT - timedelta(hours=1)))
    bundle = Bundle(
        bundle_id="b",
        kind="anticipation",
        pattern="user_message",
        decision_id="d",
        owner=ANA,
        conversation_id="c",
        queries=(),
        items=(event,),
        created_at=MOMENT,
    )
    assert (life_s(bundle, [event]), life_s(bundle, [past]), life_s(bundle, [])) == (300, AGAIN_S, AGAIN_S)
