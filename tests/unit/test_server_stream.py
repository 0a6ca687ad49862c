"""One ``Listen`` call: what is stored, acknowledged and said back."""

import pytest
from local_synap import Caller, engine_of

from synap_integrations.server.push.pusher import Pusher
from synap_integrations.server.records import Owner
from synap_integrations.server.stream.session import ListenSession
from synap_integrations.wire.proto import (
    ContextAssembledEvent,
    ContextUsedEvent,
    ConversationEvent,
    HeartbeatPing,
    SessionControl,
    StreamEvent,
)

ANA = Owner("", "ana")


@pytest.fixture
def synap():
    """A local Synap in memory."""
    caller = Caller()
    yield caller
    caller.platform.close()


@pytest.fixture
def line(synap):
    """A stream to it."""
    return synap.listen()


@pytest.mark.parametrize(("event_type", "role"), [("user_message", "user"), ("assistant_message", "assistant")])
def test_a_turn_is_stored_counted_and_acknowledged(synap, line, event_type, role) -> None:
    """The event type decides who spoke, not the role beside it; the state comes after the row."""
    line.event(event_type, content="I live in Lisbon", event_id="e1", role="whatever", session_id="s1")
    (turn,) = synap.engine.transcript("chat")
    assert (turn.role, turn.content, turn.event_id, turn.session_id) == (role, "I live in Lisbon", "e1", "s1")
    assert line.kinds[:2] == ["conversation_state", "event_ack"]
    assert line.heard[0].conversation_state.message_count == 1
    assert line.acknowledged == ["e1"]


def test_a_replay_is_acknowledged_again_and_changes_nothing(synap, line) -> None:
    """After a reconnect the same event arrives with the same id, and must not be counted or answered twice."""
    for _ in range(3):
        line.event("user_message", content="hello there", event_id="e1")
    assert line.acknowledged == ["e1"] * 3
    assert line.kinds.count("conversation_state") == 1
    assert synap.engine.stats()["turns"] == 1


@pytest.mark.parametrize(
    ("event_type", "fields"),
    [
        ("tool_call", {"tool_name": "search", "tool_args_json": '{"q": "x"}', "tool_call_id": "c1"}),
        ("tool_result", {"tool_name": "search", "tool_result_json": "bare text", "tool_call_id": "c1"}),
        ("agent_thinking", {"content": "hm", "metadata": {"step_index": "1"}}),
        ("context_request", {"search_queries": ["x"]}),
        ("context_fetch", {"search_queries": ["x"], "role": "system"}),
        ("session_start", {"session_id": "s1"}),
        ("session_end", {"session_id": "s1"}),
    ],
)
def test_what_is_no_turn_is_kept_as_it_came_and_is_no_turn(synap, line, event_type, fields) -> None:
    """Tool calls, thoughts and requests are events; they are acknowledged and kept once."""
    for _ in range(2):
        line.event(event_type, event_id="e1", **fields)
    (event,) = synap.engine.ledger.events(ANA, "chat")
    assert (event.kind, event.event_id) == (event_type, "e1")
    kept = {name: value for name, value in fields.items() if name != "session_id"}
    assert kept.items() <= dict(event.body).items()
    assert line.acknowledged == ["e1", "e1"]
    assert synap.engine.stats()["turns"] == 0


@pytest.mark.parametrize(
    ("event_type", "fields"),
    [
        ("user_message", {"user_id": "", "content": "x"}),
        ("user_message", {"conversation_id": "", "content": "x"}),
        ("user_message", {"user_id": "a\nb", "content": "x"}),
        ("user_message", {"conversation_id": "x" * 513, "content": "x"}),
        ("context_fetch", {"user_id": ""}),
        ("something_new", {"content": "x"}),
        ("", {}),
    ],
)
def test_what_is_discarded_is_acknowledged_too(synap, line, event_type, fields) -> None:
    """What is not acknowledged would be sent again for ever."""
    line.event(event_type, event_id="e1", **fields)
    assert line.acknowledged == ["e1"]
    assert line.kinds == ["event_ack"]
    assert synap.engine.stats()["turns"] == synap.engine.stats()["events"] == 0


def test_clients_without_event_ids_are_served(synap, line) -> None:
    """Clients before 0.5 send no ids and expect no acknowledgements; two equal turns are two."""
    for _ in range(2):
        line.event("user_message", content="yes", event_id="")
    assert synap.engine.stats()["turns"] == 2
    assert line.acknowledged == []


def test_large_events_are_taken(synap, line) -> None:
    """An event above 4 MiB that is refused would be replayed for ever."""
    line.event("user_message", content="x" * 5_000_000, event_id="e1")
    assert line.acknowledged == ["e1"]
    assert len(synap.engine.transcript("chat")[0].content) == 5_000_000
    line.event("context_request", search_queries=["y" * 5_000_000] * 3, event_id="e2")
    assert line.bundles
    assert all(bundle.ByteSize() < 100_000 for bundle in line.bundles)


def test_every_ping_is_answered(line) -> None:
    """A client without pongs gives up after a minute and never reads again."""
    line.send(StreamEvent(heartbeat_ping=HeartbeatPing(timestamp_ms=7)))
    assert line.heard[0].heartbeat_pong.timestamp_ms == 7


def test_a_session_needs_a_user_to_start_and_none_to_end(synap, line) -> None:
    """A start without a user is an error signal, the stream stays; an end names session and conversation only."""
    line.send(StreamEvent(session_control=SessionControl(action="start", session_id="s", conversation_id="chat")))
    assert line.heard[0].signal.signal_type == "error"
    line.start(session="s")
    line.send(StreamEvent(session_control=SessionControl(action="end", session_id="s", conversation_id="chat")))
    assert synap.engine.stats()["sessions"] == 1
    with synap.engine.database.read() as db:
        assert db.execute("SELECT count(*) FROM session WHERE ended_at IS NOT NULL").fetchone() == (1,)


def test_bytes_that_are_no_message_leave_the_stream_alone(synap, line) -> None:
    """What cannot be read is counted; what comes after it is read."""
    line.raw(b"\xff\xff\xff")
    line.send(StreamEvent())
    line.event("user_message", content="hello", event_id="e1")
    assert line.acknowledged == ["e1"]


def test_the_same_event_over_rest_and_stream_is_one_turn(synap, line) -> None:
    """However a turn travels, its id is its id."""
    synap.say("I live in Lisbon", key="e1")
    line.event("user_message", content="I live in Lisbon", event_id="e1")
    assert line.acknowledged == ["e1"]
    assert synap.engine.stats()["turns"] == 1


def test_it_is_known_which_bundles_a_model_saw(synap, line) -> None:
    """``context_used`` names the bundles it was made of; an unknown bundle is nothing."""
    synap.say("I adopted a puppy", conversation="before")
    line.event("context_request", search_queries=["puppy"], event_id="ask")
    bundle = line.answer_to("ask")
    (item,) = bundle.items_by_type["episodes"].items
    used = ContextUsedEvent(
        bundle_id="made up", source_bundle_ids=[bundle.bundle_id, "?"], served_item_ids=[item.item_id, "?"]
    )
    assert synap.engine.bundles(ANA)[0].used_at is None
    for _ in range(2):
        line.send(StreamEvent(context_used=used))
    (known,) = synap.engine.bundles(ANA, decision_id="ask")
    assert known.bundle_id == bundle.bundle_id
    assert known.used_at is not None
    assert known.used_item_ids == (item.item_id,)
    assert synap.engine.stats()["bundles_used"] == 1


def test_what_was_assembled_is_kept(synap, line) -> None:
    """The client's own report of what it put together is an event of the conversation."""
    line.send(
        StreamEvent(
            context_assembled=ContextAssembledEvent(
                correlation_id="syn_1", conversation_id="chat", user_id="ana", assembly_source="anticipation"
            )
        )
    )
    (event,) = synap.engine.ledger.events(ANA, "chat")
    assert event.body["assembly_source"] == "anticipation"


def test_acknowledgements_can_wait_for_each_other() -> None:
    """Behind a socket they are collected, so that they do not overtake the client's own bookkeeping."""
    engine, said, now = engine_of(), [], 100.0
    session = ListenSession(engine, Pusher(engine), said.append, ack_delay_s=0.03, clock=lambda: now)
    for number in range(3):
        event = ConversationEvent(
            event_type="agent_thinking", event_id=f"e{number}", user_id="ana", conversation_id="chat", content="hm"
        )
        session.receive(StreamEvent(conversation_event=event))
    assert said == []
    assert session.acks_due_s == pytest.approx(100.03)
    session.half_close()
    assert [list(message.event_ack.event_ids) for message in said] == [["e0", "e1", "e2"]]
    assert session.acks_due_s is None
    engine.database.close()


def test_nothing_is_acknowledged_that_could_not_be_stored(synap, line) -> None:
    """The client still has it and sends it again; the fault stays inside."""
    with synap.engine.database.write() as db:
        db.execute("DROP TABLE event")
    line.event("agent_thinking", content="hm", event_id="e1")
    assert line.heard == []
