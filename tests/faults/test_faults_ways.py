"""A turn that a stream took and nobody acknowledged: on a stream again, then read back, never both ways blindly."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from delivery_world import DELIVERED, WRITTEN, World, play, turn
from history import assert_accounted
from transports import Fate, texts
from waiting import until

from synap_integrations import Scope, Synap
from synap_integrations.client import SynapClient, unacknowledged
from synap_integrations.client.line import Timing
from synap_integrations.client.retry import Backoff
from synap_integrations.errors import ListeningNotActiveError
from synap_integrations.model import Envelope, Signal, UserMessage
from synap_integrations.outbox import stream_supervisor

SCOPE = Scope("2f0f8d3c-4f0e-4e0a-9a63-1b6a39d6b6a1", "ana")
QUICK = {"timing": Timing(first_sign_s=0.2), "backoff": Backoff(first_s=0.02, longest_s=0.05)}


@pytest.fixture
def sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds are ten minutes, and a stream that does not come back is given up at once."""
    monkeypatch.setattr(unacknowledged, "STREAM_ONLY_S", 2.0)
    monkeypatch.setattr(stream_supervisor, "_OPEN_S", 0.3)


@contextmanager
def synap_on_a_stream(platform) -> Iterator[Synap]:
    """A Synap whose stream is up, so that turns take it."""
    with Synap(SynapClient(**platform.address, inline=True, **QUICK), turns="stream") as synap:
        synap.record(UserMessage("warm"), scope=Scope("c-0", "ana"))
        until(lambda: synap.flush(10) and synap.status().state == "delivering")
        yield synap


@pytest.mark.usefixtures("sooner")
@pytest.mark.parametrize("arrived", [True, False], ids=["stored", "lost"])
def test_an_unacknowledged_turn_waits_for_a_stream_and_is_read_back_then(synap_platform, arrived: bool) -> None:
    """The stream took it and never comes back: it arrives once, at a platform that keeps repeats, before the next."""
    synap_platform.dedupes = False
    if not arrived:
        synap_platform.poison.add("first")
    with synap_on_a_stream(synap_platform) as synap:
        synap_platform.acks = False
        synap.record(UserMessage("first"), scope=SCOPE)
        until(lambda: "first" in [event.content for event in synap_platform.events])
        written_at = time.monotonic()
        synap_platform.refuse_stream = "UNAVAILABLE"
        synap_platform.drop_streams()
        synap.record(UserMessage("second"), scope=SCOPE)
        assert synap.flush(20)
        assert time.monotonic() - written_at > 1.5
    assert synap_platform.contents() == ["warm", "first", "second"]
    posted = [request.body["content"] for request in synap_platform.requests if request.body.get("content")]
    assert [said for said in posted if said != "warm"] == (["second"] if arrived else ["first", "second"])
    listed = [request for request in synap_platform.requests if request.method == "GET" and "/messages" in request.path]
    assert listed


@pytest.mark.usefixtures("sooner")
def test_turns_that_no_stream_has_seen_go_by_rest_while_there_is_none(synap_platform) -> None:
    """A stream that is gone keeps nobody waiting who was not on it."""
    with synap_on_a_stream(synap_platform) as synap:
        synap.record(UserMessage("by stream"), scope=SCOPE)
        assert synap.flush(10)
        synap_platform.refuse_stream = "UNAVAILABLE"
        synap_platform.drop_streams()
        until(lambda: synap.status().state != "delivering", what="the stream's end to be known")
        synap.record(UserMessage("by REST"), scope=SCOPE)
        assert synap.flush(10)
    assert synap_platform.contents() == ["warm", "by stream", "by REST"]
    assert "by stream" in [event.content for event in synap_platform.events]
    assert "by REST" not in [event.content for event in synap_platform.events]


def test_ten_minutes_after_it_was_written_there_is_another_way() -> None:
    """In virtual time: the conversation waits and is asked about rarely, others go on, and the order is kept."""

    async def scene(world: World) -> None:
        first = turn("1")

        def script(envelope: Envelope) -> Fate:
            if world.transport.stream is None:
                return WRITTEN
            left_s = 600 - world.loop.time()
            in_doubt = envelope.event_id == first.event_id and left_s > 0
            return ListeningNotActiveError("no stream", another_way_in=left_s) if in_doubt else DELIVERED

        world.transport.script = script
        world.append(first)
        await asyncio.sleep(1)
        world.transport.stream = ListeningNotActiveError("gone")
        world.transport.hear(Signal("disconnected"))
        world.append(turn("2"), turn("other", "c-2"))
        await asyncio.sleep(590)
        assert_accounted(world.store.counts(), waiting=2, delivered=1)
        assert len(world.transport.attempts) < 10
        await world.drained(60)

    assert texts(play(scene).transport.received) == ["1", "other", "1", "2"]


def test_the_next_stream_ends_the_wait() -> None:
    """What waits for ten minutes waits for a stream: when that is there, it is written at once."""

    async def scene(world: World) -> None:
        def script(_: Envelope) -> Fate:
            return WRITTEN if world.transport.stream is None else ListeningNotActiveError("none", another_way_in=500)

        world.transport.script = script
        world.append(turn("1"), turn("2"))
        await asyncio.sleep(1)
        world.transport.stream = ListeningNotActiveError("gone")
        world.transport.hear(Signal("disconnected"))
        await asyncio.sleep(100)
        world.transport.stream = None
        world.transport.hear(Signal("connected"))
        await asyncio.sleep(1)
        assert texts(world.transport.received) == ["1", "2", "1", "2"]
        world.transport.acknowledge(*world.appended)
        await world.drained(1)

    play(scene)


def test_each_message_says_where_it_stood_whichever_way_it_came(synap_platform) -> None:
    """A reader can put late arrivals in order, and see a gap: one origin per outbox, and places that grow."""
    with synap_on_a_stream(synap_platform) as synap:
        for number in range(4):
            synap.record(UserMessage(f"{number}"), scope=SCOPE)
        assert synap.flush(10)
    streamed = [event.metadata for event in synap_platform.events]
    posted = [request.body["metadata"] for request in synap_platform.requests if request.body.get("content")]
    assert posted
    assert streamed
    places = sorted(int(said["synap_seq"]) for said in [*posted, *streamed])
    assert places == [1, 2, 3, 4, 5]
    assert len({said["synap_origin"] for said in [*posted, *streamed]}) == 1
