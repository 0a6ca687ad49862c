"""The way of an envelope to any client: ours, a fake with the documented verbs, and the platform's own SDK."""

import asyncio
import json
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from synap_integrations import errors
from synap_integrations.client import Backoff, Route, SynapClient, Timing
from synap_integrations.model import (
    Ack,
    AssistantMessage,
    ContextBundle,
    ContextRequest,
    ContextUsed,
    Envelope,
    Scope,
    Signal,
    Thinking,
    ToolCall,
    ToolResult,
    UserMessage,
    new_id,
)
from synap_integrations.ports import Handover
from synap_integrations.wire.conversation_ids import platform_id
from synap_integrations.wire.proto import ContextBundleProto, ContextItemList, ContextItemProto

SCOPE = Scope("chat", "ana", customer_id="acme", session_id="s")
WHEN = datetime(2026, 5, 16, 12, 0, tzinfo=UTC)
TRAJECTORY = (
    UserMessage("fly me to Lisbon"),
    ToolCall("fly", {"to": "Lisbon"}, "t1", search_queries=("airport",), context_types=("facts",)),
    ToolResult("fly", {"seat": 7}, "t1", is_error=True),
    Thinking("hm", step_index=1),
    ContextRequest(("home?",)),
    ContextUsed(("b",), ("i",)),
    AssistantMessage("booked", incomplete=True),
)


def sealed(event, scope=SCOPE) -> Envelope:
    """An envelope of a fixed time."""
    return Envelope(new_id(), scope, event=event, occurred_at=WHEN, framework="langchain")


class RecordingClient:
    """The documented surface and nothing newer; every call is remembered with its arguments by name."""

    def __init__(self):
        self.calls = []
        self.faults = []
        self.conversation = SimpleNamespace(record_message=self.record_message)
        self.instance = SimpleNamespace(
            listen=self.listen, send_message=self.send_message, stop_listening=self.stop_listening
        )

    def note(self, verb, **arguments):
        self.calls.append((verb, arguments))
        if self.faults and (fault := self.faults.pop(0)):
            raise fault

    async def record_message(  # noqa: PLR0917 - the documented signature
        self, conversation_id, role, content, user_id, customer_id=None, session_id=None, metadata=None
    ):
        self.note("record_message", **{k: v for k, v in locals().items() if k != "self"})
        return {"message_id": "m"}

    async def listen(self, on_reconnect=None, on_disconnect=None, on_context=None):
        self.on_reconnect, self.on_disconnect, self.on_context = on_reconnect, on_disconnect, on_context
        self.note("listen")

    async def send_message(  # noqa: PLR0917 - the documented signature
        self,
        content,
        role="user",
        conversation_id=None,
        user_id=None,
        customer_id=None,
        session_id=None,
        event_type="user_message",
        metadata=None,
        tool_name=None,
        tool_args=None,
        search_queries=None,
        context_types=None,
    ):
        self.note("send_message", **{k: v for k, v in locals().items() if k != "self"})

    async def stop_listening(self):
        self.note("stop_listening")


async def deliver(route, *events, scope=SCOPE):
    """Hand over every event; what became of each, and the envelopes."""
    envelopes = [sealed(event, scope) for event in events]
    return [await route.send(envelope) for envelope in envelopes], envelopes


async def test_a_client_with_the_documented_verbs_gets_everything():
    """Turns by record_message, the rest by send_message under the caller's ids; newer words go into metadata."""
    client, heard = RecordingClient(), []
    route = Route(client)
    await route.open(heard.append)
    handovers, envelopes = await deliver(route, *TRAJECTORY)
    assert set(handovers) == {Handover.DELIVERED}
    (_, user), (_, call), (_, result), (_, thought), (_, request), (_, answer) = client.calls[1:]
    assert [verb for verb, _ in client.calls[1:]] == ["record_message", *["send_message"] * 4, "record_message"]
    assert (user["conversation_id"], user["role"], user["content"]) == ("chat", "user", "fly me to Lisbon")
    assert (user["user_id"], user["customer_id"], user["session_id"]) == ("ana", "acme", "s")
    assert user["metadata"] == {
        "synap_event_id": envelopes[0].event_id,
        "synap_occurred_at": "2026-05-16T12:00:00+00:00",
        "synap_framework": "langchain",
    }
    assert (call["event_type"], call["tool_name"], call["tool_args"]) == ("tool_call", "fly", {"to": "Lisbon"})
    assert (call["search_queries"], call["context_types"]) == (["airport"], ["facts"])
    assert (call["metadata"]["tool_call_id"], result["metadata"]["tool_call_id"]) == ("t1", "t1")
    assert (result["metadata"]["tool_result"], result["metadata"]["is_error"]) == ('{"seat":7}', "true")
    assert (thought["event_type"], thought["content"]) == ("agent_thinking", "hm")
    assert (request["event_type"], request["search_queries"]) == ("context_request", ["home?"])
    assert (answer["role"], answer["metadata"]["incomplete"]) == ("assistant", "true")
    await route.close(1.0)
    assert client.calls[-1] == ("stop_listening", {})


async def test_turns_can_take_the_stream():
    """With turns on the stream every turn is one event there; REST only if nobody listens."""
    client = RecordingClient()
    route = Route(client, turns="stream")
    await route.open(lambda _: None)
    await deliver(route, UserMessage("a"))
    client.faults = [errors.ListeningNotActiveError("no stream")]
    await deliver(route, AssistantMessage("b"))
    assert [(verb, call["content"]) for verb, call in client.calls[1:]] == [
        ("send_message", "a"),
        ("send_message", "b"),
        ("record_message", "b"),
    ]


async def test_what_a_client_pushes_is_heard_in_our_words():
    """A bundle as dict, the loss of the stream and its return, whatever a broken client hands over."""
    client, heard = RecordingClient(), []
    await Route(client).open(heard.append)
    item = {"item_id": "i", "content": "lives in Lisbon"}
    client.on_context({"bundle_id": "b", "items_by_type": {"facts": [item]}, "_anticipation_user_id": "ana"})
    client.on_context(None)
    client.on_disconnect("grpc_error")
    client.on_reconnect(0)
    assert heard[0] == Signal("connected")
    assert (heard[1].scope, heard[1].items[0].text) == (Scope(None, "ana"), "lives in Lisbon")
    assert heard[2:] == [Signal("disconnected", "grpc_error"), Signal("connected")]


class SynapTransientError(Exception):
    """A stranger's class of a name that means something."""


class InstanceNotReadyError(Exception):
    """The same, of a name of its own."""

    retry_after_seconds = 7


@pytest.mark.parametrize(
    ("raised", "kind", "retryable"),
    [
        (errors.AuthenticationError("no"), errors.AuthenticationError, False),
        (errors.RateLimitError("slow", retry_after=3), errors.RateLimitError, True),
        (SynapTransientError("x"), errors.SynapTransientError, True),
        (InstanceNotReadyError("x"), errors.ServiceUnavailableError, True),
        (TimeoutError("x"), errors.NetworkTimeoutError, True),
        (ConnectionRefusedError("x"), errors.NetworkError, True),
        (OSError("x"), errors.NetworkError, True),
        (RuntimeError("x\ny"), errors.SynapTransientError, True),
        (TypeError("x"), errors.SynapPermanentError, False),
        (ValueError("x"), errors.SynapPermanentError, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_whatever_a_client_raises_is_one_of_our_errors(raised, kind, retryable):
    """Delivery has to know one thing: is it worth another try?"""
    client = RecordingClient()
    client.faults = [raised]
    with pytest.raises(errors.SynapError) as found:
        await Route(client).send(sealed(UserMessage("x")))
    assert (type(found.value), found.value.retryable) == (kind, retryable)


async def test_a_stream_that_cannot_be_opened_keeps_no_turn_back():
    """Open raises, to be tried again; turns are recorded meanwhile."""
    client = RecordingClient()
    client.faults = [errors.ServiceUnavailableError("not now")]
    route = Route(client)
    with pytest.raises(errors.ServiceUnavailableError):
        await route.open(lambda _: None)
    handovers, _ = await deliver(route, UserMessage("x"))
    assert handovers == [Handover.DELIVERED]
    await route.open(lambda _: None)
    client.faults = [errors.ListeningAlreadyActiveError("open")]
    with pytest.raises(errors.ListeningAlreadyActiveError):
        await route.open(lambda _: None)


async def test_sync_verbs_and_any_keyword_will_do():
    """A client made of plain functions with ``**kwargs`` gets newer documented words by name."""
    calls = []
    client = SimpleNamespace(
        conversation=SimpleNamespace(record_message=lambda **kwargs: calls.append(kwargs)),
        instance=SimpleNamespace(
            listen=lambda **_: None, send_message=lambda **kwargs: calls.append(kwargs), stop_listening=lambda: None
        ),
    )
    route = Route(client)
    await route.open(lambda _: None)
    await deliver(route, UserMessage("x"), ToolResult("fly", "ok", "t1"))
    await route.close(0.5)
    assert "event_id" not in calls[0]
    assert (calls[1]["tool_result"], calls[1]["tool_call_id"]) == ("ok", "t1")


async def test_close_keeps_to_its_time():
    """Also with a client that never comes back, or fails on the way."""
    client = RecordingClient()
    asked = []
    client.instance.stop_listening = lambda: asked.append("never") or asyncio.sleep(60)
    began = time.monotonic()
    await Route(client).close(0.05)
    client.instance.stop_listening = lambda: asked.append("fails") or 1 / 0
    await Route(client).close(0.05)
    assert asked == ["never", "fails"]
    assert time.monotonic() - began < 5


# --- our client ---------------------------------------------------------------------------------------------------


async def test_our_client_reports_acknowledgements(synap_platform):
    """Turns are delivered under their event id, stream events written and acknowledged by it."""
    heard = []
    route = Route(SynapClient(**synap_platform.address, inline=True, timing=Timing(heartbeat_s=0.05)))
    await route.open(heard.append)
    handovers, envelopes = await deliver(route, *TRAJECTORY)
    streamed = {envelope.event_id for envelope in envelopes[1:5]}
    expected = [Handover.DELIVERED, *[Handover.WRITTEN] * 4, Handover.DELIVERED, Handover.DELIVERED]
    assert handovers == expected
    await synap_platform.until(lambda: {i for ack in heard if isinstance(ack, Ack) for i in ack.event_ids} == streamed)
    assert [e.event_type for e in synap_platform.events] == [
        "tool_call",
        "tool_result",
        "agent_thinking",
        "context_request",
    ]
    await synap_platform.until(lambda: synap_platform.used)  # never acknowledged: it may come after all others
    assert [list(used.served_item_ids) for used in synap_platform.used] == [["i"]]
    assert {event.metadata["synap_event_id"] for event in synap_platform.events} == streamed
    keys = [r.headers["idempotency-key"] for r in synap_platform.requests if r.path.endswith("messages")]
    assert keys == [envelopes[0].event_id, envelopes[-1].event_id]
    bodies = [r.body["conversation_id"] for r in synap_platform.requests if r.path.endswith("messages")]
    assert {*bodies} == {event.conversation_id for event in synap_platform.events}
    await route.close(2.0)


async def test_a_turn_that_was_written_stays_with_the_stream(synap_platform):
    """Once on the stream and unacknowledged, it does not go by REST as well, and nothing of its conversation does."""
    synap_platform.acks = False
    timing, soon = Timing(first_sign_s=0.2, write_s=0.2), Backoff(0.01, 0.02)
    client = SynapClient(**synap_platform.address, inline=True, timing=timing, backoff=soon)
    route = Route(client, turns="stream")
    await route.open(lambda _: None)
    written = sealed(UserMessage("once"))
    assert await route.send(written) is Handover.WRITTEN
    await client.instance.stop_listening()
    for one in (written, sealed(UserMessage("the next"))):
        with pytest.raises(errors.ListeningNotActiveError) as failed:
            await route.send(one)
        assert 590 < failed.value.another_way_in <= 600
    elsewhere = Scope("0b0c7a0e-7a55-4a0b-8f0e-7b1f5c0b7a10", "ana")
    assert await route.send(sealed(UserMessage("by REST"), elsewhere)) is Handover.DELIVERED
    large = sealed(UserMessage("x" * 5_000_000))
    await route.open(lambda _: None)
    assert await route.send(large) is Handover.DELIVERED
    assert [len(content) for content in synap_platform.contents()] == [4, 7, 5_000_000]
    await route.close(2.0)


@pytest.mark.parametrize(
    ("address", "error"),
    [({"base_url": "cloud"}, errors.AuthenticationError), ({"base_url": "http://evil.com"}, errors.InvalidInputError)],
)
async def test_a_setting_that_cannot_be_used_is_an_error_of_the_call(address, error):
    """For delivery, which must be able to hold what waits; its client can always be made."""
    route = Route(SynapClient(**address, inline=True))
    with pytest.raises(error):
        await route.open(lambda _: None)
    with pytest.raises(error):
        await route.send(sealed(UserMessage("x")))
    await route.close(0.5)


async def test_a_refused_key_is_known_by_its_error(synap_platform):
    """Delivery can hold everything until there is another key."""
    route = Route(SynapClient(**(synap_platform.address | {"api_key": "synap_wrong"}), inline=True))
    with pytest.raises(errors.AuthenticationError):
        await route.open(lambda _: None)
    with pytest.raises(errors.AuthenticationError):
        await route.send(sealed(UserMessage("x")))
    await route.close(1.0)


# --- the platform's own SDK ------------------------------------------------------------------------------------------


@pytest.fixture
def sdk(synap_platform, tmp_path):
    """An uninitialised SDK object that talks to the test's platform."""
    maximem = pytest.importorskip("maximem_synap")
    address = synap_platform.address
    config = maximem.SDKConfig(
        api_base_url=address["base_url"],
        grpc_host=address["grpc_host"],
        grpc_port=address["grpc_port"],
        grpc_use_tls=False,
        storage_path=str(tmp_path / "sdk"),
    )
    return maximem.MaximemSynapSDK(api_key=address["api_key"], config=config, _force_new=True)


async def test_the_platforms_sdk_carries_everything(synap_platform, sdk):
    """Initialised on our loop; names of conversations become UUIDs, the same by REST and on the stream."""
    heard = []
    route = Route(sdk)
    await route.open(heard.append)
    handovers, envelopes = await deliver(route, *TRAJECTORY)
    assert set(handovers) == {Handover.DELIVERED}
    found = platform_id("chat", user_id="ana", customer_id="acme")
    await synap_platform.until(lambda: len(synap_platform.events) == 4)
    assert [event.event_type for event in synap_platform.events] == [
        "tool_call",
        "tool_result",
        "agent_thinking",
        "context_request",
    ]
    assert {event.conversation_id for event in synap_platform.events} == {found}
    assert json.loads(synap_platform.events[1].tool_result_json) == {"seat": 7}
    assert synap_platform.events[1].tool_call_id == "t1"
    assert synap_platform.contents() == ["fly me to Lisbon", "booked"]
    recorded = [request.body for request in synap_platform.requests if request.path.endswith("messages")]
    assert {body["conversation_id"] for body in recorded} == {found}
    assert recorded[0]["metadata"]["synap_event_id"] == envelopes[0].event_id
    assert recorded[0]["metadata"]["synap_conversation_id"] == "chat"
    items = {"facts": ContextItemList(items=[ContextItemProto(item_id="i", content="lives in Lisbon", confidence=0.5)])}
    synap_platform.push(
        ContextBundleProto(
            bundle_id="b", items_by_type=items, anticipation_conversation_id=found, anticipation_user_id="ana"
        )
    )
    (bundle,) = await synap_platform.until(lambda: [b for b in heard if isinstance(b, ContextBundle)])
    assert bundle.scope == Scope("chat", "ana")
    await route.close(3.0)


# The SDK lets go of a socket and of files only when it is collected; from Python 3.13 on, that is a warning for each.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
async def test_what_the_platforms_sdk_raises_is_understood(synap_platform, sdk):
    """Its errors by name: a refused customer is for good."""
    synap_platform.isolation = "equals_customer"
    route = Route(sdk)
    await route.open(lambda _: None)
    with pytest.raises(errors.InvalidInputError, match="CustomerIdNotAcceptedError"):
        await route.send(sealed(UserMessage("x")))
    with pytest.raises(errors.InvalidInputError):
        await route.send(sealed(UserMessage("x"), Scope("chat", "", customer_id=None)))
    await route.close(3.0)
