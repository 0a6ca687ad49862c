"""The stream of a real server as gRPC sees it: who may open one, what ends one, what is acknowledged and when."""

import asyncio
import time
from contextlib import asynccontextmanager, closing, suppress

import grpc
import httpx
import pytest
from dev_server import KEY, dev_server, server_in_process
from waiting import until

from synap_integrations import Scope, Settings, Synap
from synap_integrations.model import ToolResult, UserMessage
from synap_integrations.server.database import Database
from synap_integrations.server.embedded import FILE_NAME, LocalSynap
from synap_integrations.server.engine import Engine
from synap_integrations.wire.proto import (
    ConversationEvent,
    HeartbeatPing,
    SessionControl,
    StreamEvent,
    StreamResponse,
)

LISTEN = "/synap.v1.SynapService/Listen"


@pytest.fixture(scope="module")
def server():
    """One server in memory for all tests that leave it as it was."""
    with server_in_process() as reached:
        yield reached


@asynccontextmanager
async def channel(server, host: str = "127.0.0.1", **options: int):
    """A connection that sends bytes as they are."""
    named = [(name.replace("__", "."), value) for name, value in options.items()]
    async with grpc.aio.insecure_channel(f"{host}:{server.grpc_port}", options=named) as opened:
        yield opened


def listen(opened, *, key: str | None = f"Bearer {KEY}", path: str = LISTEN):
    """One ``Listen`` call in bytes."""
    return opened.stream_stream(path)(metadata=(("authorization", key),) if key is not None else ())


async def ended(call) -> grpc.StatusCode:
    """How a call ended; what came before is read."""
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError:
        pass
    return await call.code()


async def heard(call, kind: str, timeout_s: float = 5.0) -> StreamResponse:
    """The next message of this kind."""
    async with asyncio.timeout(timeout_s):
        while True:
            message = StreamResponse.FromString(await call.read())
            if message.WhichOneof("payload") == kind:
                return message


def said(content: str, event_id: str, **fields: str) -> bytes:
    """A user's turn."""
    given = {"conversation_id": "stream", "user_id": "ana", "event_type": "user_message", "role": "user"} | fields
    return StreamEvent(
        conversation_event=ConversationEvent(content=content, event_id=event_id, **given)
    ).SerializeToString()


KEYS = {
    "none": None,
    "empty": "",
    "another": "Bearer other",
    "one letter more": f"Bearer {KEY}x",
    "one letter less": f"Bearer {KEY[:-1]}",
    "without its scheme": KEY,
    "as a password": "Basic " + KEY,
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
async def test_without_the_key_there_is_no_stream(server, key) -> None:
    """Refused at once with UNAUTHENTICATED, whether or not anything is said; nothing of it is kept."""
    async with channel(server) as opened:
        silent = listen(opened, key=key)
        assert await ended(silent) is grpc.StatusCode.UNAUTHENTICATED
        assert "SYNAP_API_KEY" in await silent.details()
        with suppress(grpc.aio.AioRpcError):  # refused by then
            await listen(opened, key=key).write(said("from a stranger", "stranger-1", user_id="stranger"))
    assert server.turns(user="stranger", conversation="stream") == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
async def test_the_stream_is_open_on_both_addresses_of_this_machine(server, host) -> None:
    """Over IPv4, IPv6 and the name; initial metadata comes at once, though nothing was said."""
    async with channel(server, host) as opened:
        call = listen(opened)
        async with asyncio.timeout(2):
            await call.initial_metadata()
        await call.done_writing()
        assert await ended(call) is grpc.StatusCode.OK


async def test_a_turn_is_acknowledged_after_its_commit_and_not_instantly(server) -> None:
    """The acknowledgement comes about 30 ms later, the count of turns with it, and the turn is stored by then."""
    async with channel(server) as opened:
        call = listen(opened)
        started = time.monotonic()
        await call.write(said("hello", "ack-1", conversation_id="acks"))
        state = await heard(call, "conversation_state")
        ack = await heard(call, "event_ack")
        waited = time.monotonic() - started
        assert state.conversation_state.message_count == 1
        assert list(ack.event_ack.event_ids) == ["ack-1"]
        assert server.turns(conversation="acks") == ["hello"]
        assert waited >= 0.025
        call.cancel()


async def test_acknowledgements_of_a_burst_come_together(server) -> None:
    """A hundred turns at once: each is acknowledged once, in far fewer messages than turns."""
    async with channel(server) as opened:
        call = listen(opened)
        for at in range(100):
            await call.write(said(f"turn {at}", f"burst-{at}", conversation_id="burst"))
        acknowledged, messages = [], 0
        while len(acknowledged) < 100:
            acknowledged += (await heard(call, "event_ack")).event_ack.event_ids
            messages += 1
        assert acknowledged == [f"burst-{at}" for at in range(100)]
        assert messages < 50
        assert server.turns(conversation="burst") == [f"turn {at}" for at in range(100)]
        call.cancel()


async def test_a_repetition_is_acknowledged_and_not_stored_again_after_a_restart_too(tmp_path) -> None:
    """The memory of event ids is in the file: a client that replays its journal to the next server changes nothing."""
    path = tmp_path / "dev.db"
    for _ in range(2):
        with server_in_process(path) as server:
            async with channel(server) as opened:
                call = listen(opened)
                for _ in range(2):
                    await call.write(said("only once", "replayed-1"))
                await call.done_writing()
                assert "replayed-1" in (await heard(call, "event_ack")).event_ack.event_ids
                assert await ended(call) is grpc.StatusCode.OK
            assert server.turns(conversation="stream") == ["only once"]


async def test_the_end_waits_for_the_client_and_what_was_taken_is_acknowledged_before(server) -> None:
    """After the half-close come the last acknowledgements, then a pause of about 100 ms, then OK; never `closing`."""
    async with channel(server) as opened:
        call = listen(opened)
        await call.initial_metadata()
        await call.write(said("the last word", "last-1", conversation_id="ending"))
        await call.done_writing()
        started, kinds = time.monotonic(), []
        while (data := await call.read()) is not grpc.aio.EOF:
            kinds.append(StreamResponse.FromString(data).WhichOneof("payload"))
        assert time.monotonic() - started >= 0.09
        assert await call.code() is grpc.StatusCode.OK
        assert "event_ack" in kinds
        assert "signal" not in kinds


async def test_a_ping_is_answered_whatever_else_goes_on(server) -> None:
    """A pong carries the ping's own time, also before anything else was said."""
    async with channel(server) as opened:
        call = listen(opened)
        await call.write(StreamEvent(heartbeat_ping=HeartbeatPing(timestamp_ms=42)).SerializeToString())
        assert (await heard(call, "heartbeat_pong")).heartbeat_pong.timestamp_ms == 42
        call.cancel()


BAD_BYTES = {
    "random": bytes(range(256)),
    "cut short": said("a turn", "cut-1")[:-3],
    "a length beyond its end": b"\x0a\xff\xff\xff\xff\x0f",
    "text": b'{"conversation_event": {}}',
}


@pytest.mark.parametrize("data", BAD_BYTES.values(), ids=BAD_BYTES)
async def test_bytes_that_are_no_event_end_the_stream_with_a_status(server, data) -> None:
    """INVALID_ARGUMENT, with the size and nothing of the content; the next stream works."""
    async with channel(server) as opened:
        call = listen(opened)
        await call.write(data)
        assert await ended(call) is grpc.StatusCode.INVALID_ARGUMENT
        assert await call.details() == f"{len(data)} bytes that are no StreamEvent"
        again = listen(opened)
        await again.write(said("still here", "after-bad-bytes"))
        assert (await heard(again, "event_ack")).event_ack.event_ids
        again.cancel()


ODD_EVENTS = {
    "an unknown type": {"event_type": "mind_reading"},
    "no type": {"event_type": ""},
    "no user": {"user_id": ""},
    "no conversation": {"conversation_id": ""},
    "an id of 5,000 letters": {"user_id": "u" * 5000},
    "an id with a NUL": {"user_id": "a\x00b"},
    "an id with a line end": {"conversation_id": "a\nb"},
    "arguments that are no JSON": {"event_type": "tool_call", "tool_args_json": "{" * 2000},
    "SQL": {"content": "'; DROP TABLE turn; --", "user_id": "' OR 1=1 --"},
    "words of a query language": {"content": 'NEAR("a" AND * OR ^x:y) -"'},
}


@pytest.mark.parametrize("fields", ODD_EVENTS.values(), ids=ODD_EVENTS)
async def test_an_event_that_makes_no_sense_is_acknowledged_so_that_it_is_not_sent_for_ever(server, fields) -> None:
    """Whatever is in it, the stream goes on, and nobody else's turns change."""
    server.say("mine", user="a neighbour", conversation="next door")
    before = server.turns(user="a%20neighbour", conversation="next%20door")
    async with channel(server) as opened:
        call = listen(opened)
        await call.write(said(event_id="odd", **{"content": "odd"} | fields))
        assert "odd" in (await heard(call, "event_ack")).event_ack.event_ids
        call.cancel()
    assert server.turns(user="a%20neighbour", conversation="next%20door") == before


async def test_an_event_of_5_mb_is_taken_and_one_above_8_mb_ends_the_stream_with_a_status(server) -> None:
    """The limit of gRPC itself, 4 MiB, would make a client send the same event for ever."""
    async with channel(server) as opened:
        call = listen(opened)
        await call.write(said("x" * (5 << 20), "large-1", conversation_id="large"))
        assert (await heard(call, "event_ack")).event_ack.event_ids == ["large-1"]
        with suppress(grpc.aio.AioRpcError):
            await call.write(said("x" * (9 << 20), "large-2", conversation_id="large"))
        assert await ended(call) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert [len(turn) for turn in server.turns(conversation="large")] == [5 << 20]


async def test_what_is_not_there_says_so(server) -> None:
    """Another service or method is UNIMPLEMENTED; HTTP/1.1 on the port of the stream gets nowhere."""
    async with channel(server) as opened:
        for path in ("/synap.v1.SynapService/Forget", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"):
            assert await ended(listen(opened, path=path)) is grpc.StatusCode.UNIMPLEMENTED
    reader, writer = await asyncio.open_connection("127.0.0.1", server.grpc_port)
    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n\r\n")
    async with asyncio.timeout(5):
        assert b" 200 " not in await reader.read()
    writer.close()


async def test_so_many_streams_and_no_more() -> None:
    """One more is refused with RESOURCE_EXHAUSTED; when one has ended, the next one is welcome."""
    with server_in_process(streams=2) as server:
        async with channel(server) as opened:
            calls = [listen(opened) for _ in range(2)]
            for call in calls:
                await call.initial_metadata()
            refused = listen(opened)
            assert await ended(refused) is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "2 streams are open" in await refused.details()
            await calls[0].done_writing()
            await ended(calls[0])
            welcome = listen(opened)
            await welcome.write(said("welcome", "welcome-1"))
            assert (await heard(welcome, "event_ack")).event_ack.event_ids == ["welcome-1"]


async def test_a_flood_waits_and_nothing_of_it_is_lost() -> None:
    """Beyond so many events a second the next ones wait; all of them are acknowledged in the end, in order."""
    with server_in_process(events_per_s=100) as server:
        async with channel(server) as opened:
            call = listen(opened)
            started = time.monotonic()
            for at in range(200):
                await call.write(said("", f"flood-{at}", event_type="agent_thinking"))
            acknowledged = []
            while len(acknowledged) < 200:
                acknowledged += (await heard(call, "event_ack")).event_ack.event_ids
            assert acknowledged == [f"flood-{at}" for at in range(200)]
            assert time.monotonic() - started > 0.9
            call.cancel()


async def test_a_client_that_does_not_read_loses_bundles_and_no_acknowledgement() -> None:
    """Under pressure pushes are dropped; every acknowledgement is still there when the client reads again."""
    with server_in_process(pushes_waiting=2) as server:
        for at in range(8):
            server.say(f"the brown fox number {at} {'jumps ' * 300}", conversation=f"earlier {at}")
        async with channel(server, grpc__http2__lookahead_bytes=1, grpc__http2__bdp_probe=0) as opened:
            call = listen(opened)
            for at in range(150):
                await call.write(
                    said("", f"ask-{at}", event_type="context_request", search_queries=["brown fox jumps"])
                )
            await asyncio.sleep(1.0)
            acknowledged, bundles = [], 0
            while len(acknowledged) < 150:
                async with asyncio.timeout(10):
                    message = StreamResponse.FromString(await call.read())
                acknowledged += message.event_ack.event_ids
                bundles += message.WhichOneof("payload") == "context_bundle"
            assert acknowledged == [f"ask-{at}" for at in range(150)]
            assert 0 < bundles < 150
            call.cancel()


async def test_a_store_that_cannot_be_used_acknowledges_nothing(tmp_path) -> None:
    """UNAVAILABLE and no acknowledgement, so that the client sends the turn again when the store works."""
    synap = LocalSynap(Database(tmp_path / "dev.db"), "test")
    with server_in_process(synap=synap) as server:
        synap.engine.database.close()
        async with channel(server) as opened:
            call = listen(opened)
            await call.write(said("nobody keeps this", "unkept-1"))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call.read()
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_bundle_goes_to_the_stream_of_the_session_and_to_no_other(server) -> None:
    """Two processes of one key: what one of them asked for is pushed to that one."""
    server.say("I keep bees in Ghent", user="bea", conversation="earlier")
    async with channel(server) as opened:
        asking, other = listen(opened), listen(opened)
        for call in (asking, other):
            await call.initial_metadata()
        control = SessionControl(action="start", session_id="s-1", conversation_id="now", user_id="bea")
        await asking.write(StreamEvent(session_control=control).SerializeToString())
        await asking.write(said("Where do I keep bees?", "bees-1", user_id="bea", conversation_id="now"))
        assert "Ghent" in str(await heard(asking, "context_bundle"))
        await other.done_writing()
        assert await other.read() is grpc.aio.EOF
        asking.cancel()


@pytest.mark.soak
@pytest.mark.parametrize("wanted", [(), ("--push-tool-results",), "SYNAP_PUSH_TOOL_RESULTS"])
async def test_a_tool_result_is_answered_only_where_that_is_wanted(wanted) -> None:
    """Off by default; with the option, or the variable, what was said earlier about a short result is pushed, under a
    pattern of its own whose hit rate is in the inspector. A long result is looked at by nobody.
    """
    options, environment = ((), {wanted: "1"}) if isinstance(wanted, str) else (wanted, {})
    with dev_server(":memory:", *options, environment=environment) as server:
        server.say("I keep bees in Ghent", user="bea", conversation="earlier")
        server.say("My hives are in Bruges", user="bea", conversation="earlier")
        who = {"user_id": "bea", "conversation_id": "now"}
        result = {"event_type": "tool_result", "role": "tool", "tool_name": "map"} | who
        async with channel(server) as opened:
            call = listen(opened)
            await call.write(said("", "long", tool_result_json="bees in Ghent " * 500, **result))
            await call.write(said("", "short", tool_result_json="bees in Ghent", **result))
            await call.write(said("Where are my hives?", "asked", **who))
            pushed = []
            while not pushed or pushed[-1].decision_id != "asked":
                pushed.append((await heard(call, "context_bundle", 30.0)).context_bundle)
            await call.done_writing()
        by_pattern = {bundle.origin_pattern_id: bundle for bundle in pushed}
        assert set(by_pattern) == {"local.user_message"} | ({"local.tool_result"} if wanted else set())
        if wanted:
            assert by_pattern["local.tool_result"].decision_id == "short"
            assert "Ghent" in str(by_pattern["local.tool_result"].items_by_type)
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}) as browser:
            page = await browser.get(f"{server.url}/read/bundles", timeout=30)
        assert ("pattern=user_message" in page.text, "pattern=tool_result" in page.text) == (True, bool(wanted))


@pytest.mark.parametrize("wanted", [False, True])
def test_the_embedded_synap_answers_a_tool_result_where_that_is_wanted(own_storage, wanted) -> None:
    """The setting reaches the Synap in this process, on disk, which notes why it pushed."""
    with Synap(base_url="local", push_tool_results=wanted) as synap:
        synap.record(UserMessage("I keep bees in Ghent"), scope=Scope("earlier", "bea"))
        synap.record(ToolResult("map", "bees in Ghent", "call-1"), scope=Scope("now", "bea"))
        synap.record(UserMessage("Where do I keep bees?"), scope=Scope("now", "bea"))
        assert synap.flush(30)
        with closing(Engine(Database(Settings.read(storage_path=own_storage).root / FILE_NAME))) as engine:
            engine.database.open()

            def pushed():
                return {rate.pattern for rate in engine.hit_rates()}

            until(lambda: {"user_message"} | ({"tool_result"} if wanted else set()) <= pushed(), what="the pushes")
            assert ("tool_result" in pushed()) == wanted


async def test_an_idle_stream_with_pings_every_ten_seconds_is_kept() -> None:
    """Pings without data are allowed; the connection is still there after 65 s of nothing else."""
    options = {"grpc__keepalive_time_ms": 10_000, "grpc__keepalive_permit_without_calls": 1}
    options |= {"grpc__http2__max_pings_without_data": 0}
    with dev_server() as server:
        async with channel(server, **options) as opened:
            call = listen(opened)
            await call.initial_metadata()
            await asyncio.sleep(65)
            await call.write(said("still there", "idle-1"))
            assert (await heard(call, "event_ack")).event_ack.event_ids == ["idle-1"]
            call.cancel()
