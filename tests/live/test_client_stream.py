"""The stream against a platform on real sockets: it is alive or it is replaced, and nothing unacknowledged is lost."""

import asyncio
import logging
import uuid

import pytest
from socket_platform import KEY

from synap_integrations import errors
from synap_integrations.client import Backoff, SynapClient, Timing
from synap_integrations.model import Ack, Assembly, ContextBundle, ContextUsed, ConversationState, Scope, Signal
from synap_integrations.wire.proto import (
    ContextBundleProto,
    ContextItemList,
    ContextItemProto,
    ConversationContextProto,
)

QUICK = Timing(heartbeat_s=0.05, answer_s=0.2, quiet_s=0.5, first_sign_s=0.5, write_s=3.0)
SOON = Backoff(first_s=0.02, longest_s=0.1)
ANA = {"conversation_id": "chat", "user_id": "ana"}


class Ears:
    """Remembers what the callbacks were told."""

    def __init__(self):
        self.contexts, self.reconnects, self.disconnects, self.inbound = [], [], [], []

    def callbacks(self):
        return {
            "on_reconnect": self.reconnects.append,
            "on_disconnect": self.disconnects.append,
            "on_context": self.contexts.append,
            "on_inbound": self.inbound.append,
        }

    def acknowledged(self):
        return [event_id for heard in self.inbound if isinstance(heard, Ack) for event_id in heard.event_ids]


@pytest.fixture
def ears():
    """Somebody who listens."""
    return Ears()


@pytest.fixture
async def client(synap_platform):
    """A client that is in a hurry."""
    async with SynapClient(**synap_platform.address, timing=QUICK, backoff=SOON) as client:
        yield client


async def test_the_stream_opens_with_key_and_ids_and_closes_with_its_sessions(client, synap_platform, ears):
    """Metadata, one session per conversation, and an end for each."""
    await client.instance.listen(**ears.callbacks())
    assert client.instance.is_listening
    (opened,) = synap_platform.opened
    assert opened["authorization"] == f"Bearer {KEY}"
    assert (opened["x-client-id"], opened["x-instance-id"]) == ("cli_00000000000000aa", "inst_00000000000000aa")
    await client.instance.send_message("hi", **ANA)
    await client.instance.send_message("hello", "assistant", **ANA, event_type="assistant_message")
    await client.instance.send_message("salut", conversation_id="other", user_id="ben", session_id="mine")
    await client.instance.stop_listening()
    assert not client.instance.is_listening
    events, controls = synap_platform.events, synap_platform.controls
    assert [control.action for control in controls] == ["start", "start", "end", "end"]
    assert [event.session_id for event in events] == [controls[0].session_id, controls[0].session_id, "mine"]
    assert [control.user_id for control in controls] == ["ana", "ben", "", ""]
    assert synap_platform.contents() == ["hi", "hello", "salut"]
    assert {event.event_id for event in events} == set(ears.acknowledged())
    assert events[0].metadata["synap_conversation_id"] == "chat"
    await client.instance.stop_listening()


async def test_everything_the_platform_says_is_heard(client, synap_platform, ears):
    """Bundles under the caller's name of the conversation, as dicts and in our words; states, signals, acks."""
    await client.instance.listen(**ears.callbacks())
    await client.instance.send_message("hi", **ANA, event_id="e1")
    platform_id = synap_platform.events[0].conversation_id if synap_platform.events else ""
    await synap_platform.until(lambda: ears.acknowledged() == ["e1"])
    platform_id = synap_platform.events[0].conversation_id
    assert uuid.UUID(platform_id).version == 5
    items = {"facts": ContextItemList(items=[ContextItemProto(item_id="i", content="lives in Lisbon")])}
    synap_platform.push(
        ContextBundleProto(
            bundle_id="b",
            items_by_type=items,
            anticipation_user_id="ana",
            anticipation_conversation_id=platform_id,
            conversation_context=ConversationContextProto(conversation_id=platform_id),
        )
    )
    synap_platform.signal("error", code="x")
    await synap_platform.until(lambda: Signal("error", metadata={"code": "x"}) in ears.inbound)
    (bundle,) = ears.contexts
    assert bundle["_anticipation_conversation_id"] == bundle["conversation_context"]["conversation_id"] == "chat"
    (read,) = [heard for heard in ears.inbound if isinstance(heard, ContextBundle)]
    assert read.scope == Scope("chat", "ana")
    assert ConversationState(platform_id, 1) in ears.inbound
    assert ears.inbound[0] == Signal("connected")


async def test_callbacks_may_be_async_and_may_fail(client, synap_platform):
    """What they raise stays with them; the stream goes on."""
    heard = []

    async def slow(bundle):
        await asyncio.sleep(0)
        heard.append(bundle["bundle_id"])
        raise RuntimeError

    def broken(_):
        raise ValueError

    await client.instance.listen(on_context=slow, on_disconnect=broken, on_reconnect=broken)
    for opened, name in enumerate(("a", "b"), start=1):
        await synap_platform.until(lambda n=opened: len(synap_platform.opened) == n and client.instance.is_listening)
        synap_platform.push(ContextBundleProto(bundle_id=name))
        await synap_platform.until(lambda name=name: name in heard)
        synap_platform.drop_streams()
    assert heard == ["a", "b"]


async def test_malformed_messages_are_skipped(client, synap_platform, ears, caplog):
    """Bytes that are no message cost that message only, and a hundred of them one line of the log."""
    await client.instance.listen(**ears.callbacks())
    with caplog.at_level(logging.WARNING, logger="synap_integrations"):
        for junk in (b"\xff" * 10, b"\x0a\xff", b"") * 40:
            synap_platform.say(junk)
        synap_platform.push(ContextBundleProto(bundle_id="after"))
        await synap_platform.until(lambda: ears.contexts)
    assert len([line for line in caplog.messages if "skipped a message" in line]) == 1
    assert len(synap_platform.opened) == 1


WRONG = [
    ({"event_type": "user_shout"}, "event_type"),
    ({"role": "robot"}, "role"),
    ({"content": None}, "content"),
    ({"conversation_id": None}, "conversation_id"),
    ({"user_id": None}, "user_id"),
    ({"user_id": ""}, "user_id"),
    ({"search_queries": "one string"}, "search_queries"),
    ({"context_types": [1]}, "context_types"),
    ({"metadata": ["no", "mapping"]}, "metadata"),
    ({"tool_name": 7}, "tool_name"),
]


@pytest.mark.parametrize(("change", "argument"), WRONG)
async def test_a_wrong_argument_is_named_before_anything_is_sent(client, synap_platform, change, argument):
    """Also when nobody listens: the argument is looked at first."""
    with pytest.raises(errors.InvalidInputError, match=argument):
        await client.instance.send_message(**({"content": "hi"} | ANA | change))
    await client.instance.listen()
    with pytest.raises(errors.InvalidInputError, match=argument):
        await client.instance.send_message(**({"content": "hi"} | ANA | change))
    assert synap_platform.events == []


async def test_there_is_one_stream_and_it_must_be_open(client, synap_platform):
    """Sending without one, and opening a second one, are errors with a fix."""
    with pytest.raises(errors.ListeningNotActiveError, match="listen"):
        await client.instance.send_message("hi", **ANA)
    await client.instance.listen()
    with pytest.raises(errors.ListeningAlreadyActiveError, match="stop_listening"):
        await client.instance.listen()
    await client.instance.stop_listening()
    with pytest.raises(errors.ListeningNotActiveError):
        await client.instance.send_message("hi", **ANA)
    await client.instance.listen()
    await client.instance.send_message("hi", **ANA)


@pytest.mark.parametrize(
    ("status", "trailers", "error"),
    [
        ("UNAUTHENTICATED", (), errors.AuthenticationError),
        ("RESOURCE_EXHAUSTED", (("credit-reason", "overages_disabled"),), errors.InsufficientCreditsError),
        ("RESOURCE_EXHAUSTED", (("retry-after", "7"),), errors.RateLimitError),
        ("UNAVAILABLE", (), errors.ServiceUnavailableError),
    ],
)
async def test_a_refused_stream_is_not_open(client, synap_platform, status, trailers, error):
    """Listen raises what the platform means, and can be called again."""
    synap_platform.refuse_stream, synap_platform.trailers = status, trailers
    with pytest.raises(error):
        await client.instance.listen()
    assert not client.instance.is_listening
    synap_platform.refuse_stream = None
    await client.instance.listen()
    assert client.instance.is_listening


@pytest.mark.parametrize("pongs", [True, False])
async def test_a_platform_that_does_not_greet_is_listened_to(synap_platform, pongs):
    """It need not send headers, and may be too old for heartbeats: the stream opens a little later."""
    synap_platform.greets, synap_platform.pongs = False, pongs
    timing = Timing(quiet_s=0.05, first_sign_s=0.1)
    async with SynapClient(**synap_platform.address, timing=timing) as client:
        await client.instance.listen()
        await client.instance.send_message("hi", **ANA)
        await synap_platform.until(synap_platform.contents)
    assert synap_platform.contents() == ["hi"]


async def test_a_platform_that_is_not_there_is_a_network_error(synap_platform):
    """Refused at once, not after a timeout."""
    address = synap_platform.address | {"grpc_port": 9}
    async with SynapClient(**address) as client:
        with pytest.raises(errors.NetworkError, match="SYNAP_GRPC_HOST"):
            await client.instance.listen()


async def test_what_was_not_acknowledged_is_sent_again_in_order(client, synap_platform, ears):
    """On the next connection, before anything new, under the same ids, with the time of the first write."""
    synap_platform.acks = False
    await client.instance.listen(**ears.callbacks())
    for n in range(5):
        await client.instance.send_message(str(n), **ANA, event_id=f"e{n}")
    await synap_platform.until(lambda: len(synap_platform.events) == 5)
    synap_platform.acknowledge("e0", "e3", "never heard of")
    await synap_platform.until(lambda: "never heard of" in ears.acknowledged())
    synap_platform.acks = True
    synap_platform.drop_streams()
    await synap_platform.until(lambda: ears.disconnects)
    await client.instance.send_message("5", **ANA, event_id="e5")
    await synap_platform.until(lambda: "e5" in ears.acknowledged())
    again = synap_platform.events[5:]
    assert [event.event_id for event in again] == ["e1", "e2", "e4", "e5"]
    first = {event.event_id: event for event in synap_platform.events[:5]}
    assert all(event.sent_at_ms == first[event.event_id].sent_at_ms for event in again[:3])
    assert all(event.timestamp_ms >= first[event.event_id].timestamp_ms for event in again[:3])
    starts = [control.session_id for control in synap_platform.controls if control.action == "start"]
    assert len(starts) == len(set(starts)) == 2
    assert {event.session_id for event in again} == {starts[1]}
    assert synap_platform.contents() == [str(n) for n in range(6)]


async def test_the_loss_and_the_return_are_told(client, synap_platform, ears):
    """A reason for the loss, the number of attempts for the return."""
    await client.instance.listen(**ears.callbacks())
    synap_platform.drop_streams()
    await synap_platform.until(lambda: ears.reconnects)
    # A heartbeat that runs into the end makes gRPC forget the end's own status.
    assert ears.disconnects in (["server_close"], ["grpc_error:INTERNAL"])
    assert ears.reconnects == [1]
    assert [heard.kind for heard in ears.inbound if isinstance(heard, Signal)] == [
        "connected",
        "disconnected",
        "connected",
    ]


async def test_a_silent_stream_is_replaced(client, synap_platform, ears):
    """Without an answer to a heartbeat the connection is over, and the next one is read."""
    await client.instance.listen(**ears.callbacks())
    synap_platform.pongs = False
    await synap_platform.until(lambda: "heartbeat_timeout" in ears.disconnects)
    synap_platform.pongs = True
    await synap_platform.until(lambda: client.instance.is_listening)
    synap_platform.push(ContextBundleProto(bundle_id="read again"))
    await synap_platform.until(lambda: ears.contexts)
    assert [bundle["bundle_id"] for bundle in ears.contexts] == ["read again"]


@pytest.mark.parametrize(
    "signal", [{"kind": "closing"}, {"kind": "throttle", "code": "instance_not_ready", "retry_after_seconds": "0"}]
)
async def test_a_stream_that_is_told_to_go_comes_back(client, synap_platform, ears, signal):
    """And is read and acknowledged on as before."""
    await client.instance.listen(**ears.callbacks())
    synap_platform.signal(**signal)
    await synap_platform.until(lambda: ears.reconnects)
    await client.instance.send_message("hi", **ANA, event_id="e1")
    await synap_platform.until(lambda: ears.acknowledged() == ["e1"])
    assert synap_platform.contents() == ["hi"]


async def test_a_refusal_for_good_ends_the_stream(client, synap_platform, ears):
    """A key that was taken back is not tried again and again."""
    await client.instance.listen(**ears.callbacks())
    synap_platform.refuse_stream = "UNAUTHENTICATED"
    synap_platform.drop_streams()
    await synap_platform.until(lambda: len(synap_platform.opened) == 2)
    await synap_platform.until(lambda: not client.instance._stream.active)
    with pytest.raises(errors.ListeningNotActiveError):
        await client.instance.send_message("hi", **ANA)
    assert len(synap_platform.opened) == 2


async def test_a_platform_that_never_acknowledges_holds_nobody_up(client, synap_platform):
    """The oldest are given up in the end; nothing waits and nothing grows."""
    synap_platform.acks = False
    await client.instance.listen()
    for n in range(1_200):
        await client.instance.send_message(str(n), **ANA)
    assert len(client.instance._stream._unacknowledged) == 1_000


async def test_events_of_many_tasks_all_arrive(client, synap_platform, ears):
    """Two hundred at once, over three losses of the connection: each is stored once."""
    await client.instance.listen(**ears.callbacks())

    async def losses():
        for _ in range(3):
            await asyncio.sleep(0.03)
            synap_platform.drop_streams()

    sends = [client.instance.send_message(str(n), **ANA, event_id=f"e{n}") for n in range(200)]
    await asyncio.gather(losses(), *sends)
    await synap_platform.until(lambda: set(ears.acknowledged()) == {f"e{n}" for n in range(200)})
    assert sorted(synap_platform.contents(), key=int) == [str(n) for n in range(200)]


async def test_an_event_that_is_too_large_is_refused_here(client, synap_platform):
    """It would end the connection at the platform, again and again; its neighbours go on."""
    await client.instance.listen()
    with pytest.raises(errors.InvalidInputError, match="at most"):
        await client.instance.send_message("x" * 5_000_000, **ANA)
    await client.instance.send_message("small", **ANA)
    await synap_platform.until(lambda: synap_platform.contents() == ["small"])


async def test_tools_and_reasoning_have_their_fields(client, synap_platform):
    """Newer arguments by name; the user of a conversation is known once it was named."""
    await client.instance.listen()
    await client.instance.send_message("hi", **ANA)
    await client.instance.send_message(
        "", "assistant", "chat", event_type="tool_call", tool_name="fly", tool_args={"to": "Lisbon"}, tool_call_id="t1"
    )
    await client.instance.send_message(
        "", "tool", "chat", event_type="tool_result", tool_name="fly", tool_result={"ok": True}, tool_call_id="t1"
    )
    await synap_platform.until(lambda: len(synap_platform.events) == 3)
    _, call, result = synap_platform.events
    assert (call.tool_args_json, result.tool_result_json) == ('{"to":"Lisbon"}', '{"ok":true}')
    assert (call.tool_call_id, result.tool_call_id) == ("t1", "t1")
    assert {event.conversation_id for event in synap_platform.events} == {call.conversation_id}
    assert result.user_id == "ana"


async def test_what_was_shown_is_reported_and_a_session_can_end(client, synap_platform):
    """Neither is acknowledged; a conversation nobody opened has no session to end."""
    await client.instance.listen()
    await client.instance.send_message("hi", **ANA)
    await client.instance.report_context_used(ContextUsed(("b",), ("i",)), scope=Scope("chat", "ana"))
    await client.instance.end_session("chat")
    await client.instance.end_session("never opened")
    await synap_platform.until(lambda: [control.action for control in synap_platform.controls] == ["start", "end"])
    assert [list(used.served_item_ids) for used in synap_platform.used] == [["i"]]


async def test_what_was_shown_comes_with_its_receipt(client, synap_platform):
    """How a block came about is told as one ``context_fetch`` of the same moment, without a query, never repeated."""
    await client.instance.listen()
    assembly = Assembly(source="pushed", why="w", tokens=61, token_budget=800, waited_ms=12, dropped={"budget": 2})
    used = ContextUsed(("b",), ("i",), assembly=assembly)
    await client.instance.report_context_used(used, scope=Scope("chat", "ana"))
    await synap_platform.until(lambda: synap_platform.used)
    (told,), (reported,) = synap_platform.events, synap_platform.used
    assert (told.event_type, told.role, told.event_id) == ("context_fetch", "system", "")
    assert list(told.search_queries) == []
    assert dict(told.metadata) == {
        "source": "anticipation",
        "items_count": "1",
        "scope": "conversation",
        "synap_used_at_ms": str(reported.timestamp_ms),
        "synap_source": "pushed",
        "synap_why": "w",
        "synap_tokens": "61",
        "synap_token_budget": "800",
        "synap_waited_ms": "12",
        "synap_dropped": '{"budget":2}',
    }


async def test_a_conversation_that_two_users_share_is_a_session_of_each(client, synap_platform):
    """One UUID, two users: no event is in the session of the other, and both sessions end."""
    shared = "2f0f8d3c-4f0e-4e0a-9a63-1b6a39d6b6a1"
    await client.instance.listen()
    for user in ("ana", "ben", "ana"):
        await client.instance.send_message("hi", conversation_id=shared, user_id=user)
    await client.instance.end_session(shared)
    await synap_platform.until(lambda: [control.action for control in synap_platform.controls][2:] == ["end", "end"])
    starts = {control.session_id: control.user_id for control in synap_platform.controls if control.action == "start"}
    assert sorted(starts.values()) == ["ana", "ben"]
    assert [starts[event.session_id] for event in synap_platform.events] == ["ana", "ben", "ana"]
    assert {control.session_id for control in synap_platform.controls} == set(starts)


async def test_a_customer_is_refused_on_the_stream_too(client, synap_platform):
    """Where the user is the whole identity."""
    synap_platform.isolation = "equals_customer"
    await client.instance.listen()
    with pytest.raises(errors.InvalidInputError, match="customer_id"):
        await client.instance.send_message("hi", **ANA, customer_id="acme")


async def test_nothing_is_left_behind(synap_platform):
    """After close there is no task of ours on the caller's loop, also if the stream was lost at that moment."""
    for _ in range(5):
        client = SynapClient(**synap_platform.address, timing=QUICK, backoff=SOON)
        await client.instance.listen()
        synap_platform.drop_streams()
        await client.close()
    await asyncio.sleep(0.05)
    assert [task for task in asyncio.all_tasks() if "synap" in task.get_name()] == []
