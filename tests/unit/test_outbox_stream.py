"""The sender and the stream, in virtual time: acknowledgements, reconnects, and no stream at all."""

import asyncio

import pytest
from clocks import VirtualLoop, in_virtual_time
from delivery_world import DELIVERED, DOWN, WRITTEN, World, call, play, turn
from history import assert_accounted
from transports import Fate, ScriptedTransport, texts

from synap_integrations.model import Envelope, Signal, UserMessage


def test_an_acknowledgement_counts_although_the_send_failed() -> None:
    """What the platform has is not sent again because the call broke afterwards."""

    async def scene(world: World) -> None:
        def script(envelope: Envelope) -> Fate:
            world.transport.acknowledge(envelope)
            return DOWN

        world.transport.script = script
        world.append(turn("1"))
        await world.drained(1)

    assert len(play(scene).transport.attempts) == 1


def test_an_event_on_the_stream_waits_for_its_acknowledgement() -> None:
    """Written is not delivered: only the acknowledgement removes it."""

    async def scene(world: World) -> None:
        world.append(turn("1"), turn("2"))
        await asyncio.sleep(5)
        assert_accounted(world.store.counts(), waiting=2)
        assert texts(world.transport.received) == ["1", "2"]
        world.transport.acknowledge(world.appended[1], world.appended[1], turn("of somebody else"))
        await asyncio.sleep(1)
        assert_accounted(world.store.counts(), waiting=1, delivered=1)
        world.transport.acknowledge(*world.appended)
        await world.drained(1)

    assert len(play(scene, lambda _: WRITTEN).transport.attempts) == 2


def test_an_acknowledgement_may_be_faster_than_the_write() -> None:
    """It arrives while the send is still under way, and is not forgotten."""

    async def scene(world: World) -> None:
        def script(envelope: Envelope) -> Fate:
            world.transport.acknowledge(envelope)
            return WRITTEN

        world.transport.script = script
        world.append(*(turn(f"{n}") for n in range(200)))
        await world.drained(5)

    assert len(play(scene).transport.attempts) == 200


def test_what_is_not_acknowledged_is_written_again_under_the_same_id() -> None:
    """After the timeout, in order, and before anything newer of the conversation."""

    async def scene(world: World) -> None:
        world.append(turn("1"), turn("2"))
        await asyncio.sleep(31)
        world.append(turn("3"))
        await asyncio.sleep(1)
        assert texts(world.transport.received) == ["1", "2", "1", "2", "3"]
        assert world.transport.received[0] == world.transport.received[2]
        world.transport.acknowledge(*world.appended)
        await world.drained(1)

    play(scene, lambda _: WRITTEN)


def test_after_a_reconnect_what_is_not_acknowledged_goes_first() -> None:
    """A new connection starts with what the old one may have lost."""

    async def scene(world: World) -> None:
        world.append(turn("1"), turn("2", "c-2"))
        await asyncio.sleep(5)
        world.transport.hear(Signal("disconnected"))
        await asyncio.sleep(1)
        world.append(turn("3"))
        await asyncio.sleep(1)
        assert texts(world.transport.received) == ["1", "2"]
        world.transport.hear(Signal("connected"))
        await asyncio.sleep(1)
        assert texts(world.transport.received) == ["1", "2", "1", "2", "3"]
        world.transport.acknowledge(*world.appended)
        await world.drained(1)

    play(scene, lambda _: WRITTEN)


def test_a_write_that_outlives_its_stream_is_done_again_on_the_next() -> None:
    """It ends when another stream is up already: nobody knows which of the two has it, if any, and nobody waits."""

    async def scene(world: World) -> None:
        def script(envelope: Envelope) -> Fate:
            if len(world.transport.attempts) == 1:
                world.transport.hear(Signal("disconnected"))
                world.transport.hear(Signal("connected"))
            else:
                world.transport.acknowledge(envelope)
            return WRITTEN

        world.transport.script = script
        world.append(turn("1"), turn("2"))
        await world.drained(1)

    assert texts(play(scene).transport.received) == ["1", "1", "2"]


def test_a_platform_that_never_acknowledges_fills_the_window_and_no_more() -> None:
    """64 events are on the stream, and those that were being sent; the rest stays on disk, memory does not grow."""

    async def scene(world: World) -> None:
        world.append(*(turn(f"{n}", f"c-{n % 9}") for n in range(2_000)))
        await asyncio.sleep(25)
        assert 64 <= len(world.transport.attempts) <= 64 + 3
        assert len(world.delivery._lanes) <= 256

    play(scene, lambda _: WRITTEN)


def test_an_event_that_kills_each_stream_becomes_a_dead_letter() -> None:
    """It is found by sending it alone, and what stood behind it arrives."""

    async def scene(world: World) -> None:
        def script(envelope: Envelope) -> Fate:
            if envelope.event == UserMessage("poison"):
                world.loop.call_later(0.2, world.transport.hear, Signal("disconnected"))
                world.loop.call_later(0.7, world.transport.hear, Signal("connected"))
            elif world.delivery.stream.up and not dying(world):
                world.loop.call_later(0.5, world.transport.acknowledge, envelope)
            return WRITTEN

        def dying(world: World) -> bool:
            return any(
                envelope.event == UserMessage("poison") and world.loop.time() - at < 0.5
                for at, envelope in world.transport.attempts
            )

        world.transport.script = script
        world.append(turn("poison"), *(turn(f"{n}", f"c-{n % 4}") for n in range(10)))
        await world.drained(600)
        assert_accounted(world.store.counts(), delivered=10, dead_letters=1)

    play(scene)


def test_turns_go_on_while_no_stream_can_be_had() -> None:
    """Tool events wait for the stream, the turns around them do not; when it opens, everything arrives."""

    async def scene(world: World) -> None:
        world.append(turn("1"), call(), turn("2"))
        await asyncio.sleep(60)
        assert texts(world.transport.received) == ["1", "2"]
        world.transport.stream = None
        await world.drained(300)

    world = play(scene, stream=DOWN, needs_stream=True)
    assert texts(world.transport.received) == ["1", "2", "ToolCall"]
    assert world.transport.opened > 1


def test_order_is_kept_while_the_stream_is_on_its_way() -> None:
    """A conversation waits for a stream that opens a moment later."""

    class SlowToOpen(ScriptedTransport):
        async def open(self, on_inbound) -> None:
            await asyncio.sleep(2)
            await super().open(on_inbound)
            self.needs_stream = False

    async def main(loop: VirtualLoop) -> None:
        transport = SlowToOpen(needs_stream=True, stream=None)
        transport.script = lambda envelope: DELIVERED
        world = World(loop, transport)
        transport.stream = DOWN  # what a send finds
        sender = asyncio.create_task(world.delivery.run())
        world.append(turn("1"), call(), turn("2"))
        await asyncio.sleep(1)
        transport.stream = None
        await world.drained(30)
        assert texts(transport.received) == ["1", "ToolCall", "2"]
        world.delivery.stop()
        await sender
        world.store.close()

    in_virtual_time(main)


def test_an_event_that_is_now_or_never_is_not_stored() -> None:
    """It is sent if it can be, and forgotten if not."""

    async def scene(world: World) -> None:
        await asyncio.sleep(1)
        world.delivery.pass_on(turn("now"))
        await asyncio.sleep(1)
        world.transport.script = lambda _: DOWN
        world.delivery.pass_on(turn("never"))
        await asyncio.sleep(600)
        assert_accounted(world.store.counts(), captured=0)

    assert texts(play(scene).transport.received) == ["now"]


@pytest.mark.parametrize("fault", [KeyError("bug"), asyncio.CancelledError()], ids=["bug", "cancelled"])
def test_a_stream_that_breaks_while_it_opens_is_opened_again(fault: BaseException) -> None:
    """Whatever comes out of the transport, the next attempt follows."""

    async def scene(world: World) -> None:
        world.append(call())
        await asyncio.sleep(30)
        world.transport.stream = None
        await world.drained(120)

    world = play(scene, stream=fault, needs_stream=True)
    assert texts(world.transport.received) == ["ToolCall"]
    assert world.transport.opened > 1


def test_a_hurry_opens_the_stream_at_once_too() -> None:
    """What waited for the stream does not wait for the next attempt to open it."""

    async def scene(world: World) -> None:
        world.append(call())
        await asyncio.sleep(900)
        world.transport.stream = None
        world.delivery.expedite()
        await world.drained(1)

    assert texts(play(scene, stream=DOWN, needs_stream=True).transport.received) == ["ToolCall"]
