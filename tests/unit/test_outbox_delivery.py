"""The sender, in virtual time: outages of an hour take milliseconds."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from clocks import VirtualLoop, in_virtual_time
from history import assert_accounted, assert_delivered
from transports import Fate, ScriptedTransport, first_then, texts

from synap_integrations.errors import (
    AuthenticationError,
    InvalidInputError,
    NetworkError,
    RateLimitError,
    ServiceUnavailableError,
)
from synap_integrations.model import Envelope, Scope, Signal, ToolCall, UserMessage
from synap_integrations.outbox import EphemeralOutbox
from synap_integrations.outbox.delivery import Delivery, Rhythm
from synap_integrations.ports import Handover

WRITTEN, DELIVERED = Handover.WRITTEN, Handover.DELIVERED
DOWN = NetworkError("connection refused")


def turn(text: str, conversation: str = "c-1") -> Envelope:
    """A user's turn."""
    return Envelope.seal(Scope(conversation, "ana"), UserMessage(text))


def call(conversation: str = "c-1") -> Envelope:
    """An event that travels on the stream."""
    return Envelope.seal(Scope(conversation, "ana"), ToolCall("search", {}, "call-1"))


class World:
    """A store, a platform and a sender between them."""

    def __init__(self, loop: VirtualLoop, transport: ScriptedTransport, **rhythm: float) -> None:
        self.loop, self.transport = loop, transport
        self.store = EphemeralOutbox(clock=loop.time)
        self.appended: list[Envelope] = []
        self.delivery = Delivery(
            self.store, transport, on_inbound=lambda _: None, rhythm=Rhythm(**rhythm), rng=random.Random(5)
        )

    def append(self, *envelopes: Envelope) -> None:
        """As `Synap.record` does."""
        for envelope in envelopes:
            self.appended.append(envelope)
            self.store.append(envelope)
            self.delivery.poke()

    async def until(self, done: Callable[[], bool], within_s: float = 7_200.0) -> None:
        """Let time pass until something is so."""
        async with asyncio.timeout(within_s):
            while not done():  # noqa: ASYNC110 - virtual time is free
                await asyncio.sleep(0.05)

    async def drained(self, within_s: float = 7_200.0) -> None:
        """Until nothing waits."""
        await self.until(lambda: not self.store.counts().waiting, within_s)


def play(
    scene: Callable[[World], Awaitable[None]], script: Callable[[Envelope], Fate] | None = None, **how: object
) -> World:
    """Run a scene against a platform that follows the script, and check the figures afterwards."""
    rhythm = {name: how.pop(name) for name in list(how) if name.endswith("_s") and name != "takes_s"}
    transport = ScriptedTransport(script or (lambda _: DELIVERED), **how)

    async def main(loop: VirtualLoop) -> World:
        world = World(loop, transport, **rhythm)
        sender = asyncio.create_task(world.delivery.run())
        await scene(world)
        world.delivery.stop()
        await sender
        assert_accounted(world.store.counts())
        return world

    return in_virtual_time(main)


def test_everything_arrives_once_and_in_order() -> None:
    """Three conversations, interleaved."""

    async def scene(world: World) -> None:
        world.append(*(turn(f"{n}", f"c-{n % 3}") for n in range(300)))
        await world.drained(5)

    world = play(scene, takes_s=0.001)
    assert_delivered(world.appended, world.transport.received)
    assert world.transport.most_at_once == 3
    assert world.transport.closed == 1


def test_at_most_four_conversations_at_once() -> None:
    """A platform is not flooded after an outage."""

    async def scene(world: World) -> None:
        world.append(*(turn(f"{n}", f"c-{n}") for n in range(50)))
        await world.drained(60)

    assert play(scene, takes_s=0.2).transport.most_at_once == 4


def test_an_hour_of_outage_loses_nothing_and_ends_within_a_minute() -> None:
    """Everything is kept, few attempts are made, and delivery goes on within the longest backoff of the recovery."""

    def script(_: Envelope) -> Fate:
        return DOWN if asyncio.get_running_loop().time() < 3_600 else DELIVERED

    async def scene(world: World) -> None:
        for n in range(60):
            world.append(turn(f"{n}", f"c-{n % 7}"))
            await asyncio.sleep(60)
        await world.drained()
        assert world.loop.time() < 3_600 + 61

    world = play(scene, script)
    assert_delivered(world.appended, world.transport.received)
    assert len(world.transport.attempts) < 300


def test_a_storm_of_500_is_met_with_single_probes() -> None:
    """Ten minutes of failing answers cost few requests, and order is kept."""

    def script(_: Envelope) -> Fate:
        return ServiceUnavailableError("500") if asyncio.get_running_loop().time() < 600 else DELIVERED

    async def scene(world: World) -> None:
        world.append(*(turn(f"{n}", f"c-{n % 20}") for n in range(400)))
        await world.drained()

    world = play(scene, script)
    assert_delivered(world.appended, world.transport.received)
    assert len([at for at, _ in world.transport.attempts if at < 600]) < 100


def test_one_failing_conversation_does_not_keep_the_others() -> None:
    """It waits and keeps its own order; everybody else is delivered at once."""

    def script(envelope: Envelope) -> Fate:
        ill = envelope.scope.conversation_id == "ill" and asyncio.get_running_loop().time() < 300
        return ServiceUnavailableError("500") if ill else DELIVERED

    async def scene(world: World) -> None:
        world.append(*(turn(f"{n}", "ill" if n % 10 == 0 else f"c-{n % 5}") for n in range(1_000)))
        await world.until(lambda: world.store.counts().delivered == 900, within_s=60)
        await world.drained()

    world = play(scene, script)
    assert_delivered(world.appended, world.transport.received)


@pytest.mark.parametrize(("asked", "at_least"), [(7, 7), (0.1, 1), (10**9, 900)])
def test_a_rate_limit_is_respected_by_all_conversations(asked: float, at_least: float) -> None:
    """Nobody sends before the platform's time is over, within a quarter of an hour."""

    async def scene(world: World) -> None:
        world.append(turn("limited"))
        await asyncio.sleep(0.1)
        world.append(turn("other", "c-2"))
        await world.drained()

    world = play(scene, first_then([RateLimitError("slow down", retry_after=asked)]))
    first, second, *_ = [at for at, _ in world.transport.attempts]
    assert at_least <= second - first <= 1.1 * at_least + 1


def test_a_refused_key_holds_everything_and_is_probed_rarely(caplog: pytest.LogCaptureFixture) -> None:
    """One attempt in five minutes, one line in the log, nothing lost."""

    def script(_: Envelope) -> Fate:
        return AuthenticationError("no") if asyncio.get_running_loop().time() < 3_600 else DELIVERED

    async def scene(world: World) -> None:
        world.append(*(turn(f"{n}", f"c-{n}") for n in range(30)))
        await asyncio.sleep(1_000)
        assert world.delivery.pace.why == "unauthorized"
        assert len([line for line in caplog.messages if "unauthorized" in line]) == 1
        await world.drained()
        assert world.delivery.pace.why == ""

    world = play(scene, script)
    assert_delivered(world.appended, world.transport.received)
    assert len([at for at, _ in world.transport.attempts if at < 3_600]) <= 4 + 12


def test_what_the_platform_refuses_is_a_dead_letter_and_the_next_goes_on() -> None:
    """A turn that can never be delivered does not block its conversation."""

    def script(envelope: Envelope) -> Fate:
        return InvalidInputError("too strange") if envelope.event == UserMessage("bad") else DELIVERED

    async def scene(world: World) -> None:
        world.append(turn("1"), turn("bad"), turn("2"))
        await world.drained(5)
        assert_accounted(world.store.counts(), delivered=2, dead_letters=1)

    assert texts(play(scene, script).transport.received) == ["1", "2"]


def test_a_transport_that_breaks_on_one_envelope_does_not_break_delivery() -> None:
    """Whatever else comes out of it is a fault of ours: tried a few times, then a dead letter."""

    def script(envelope: Envelope) -> Fate:
        return KeyError("bug") if envelope.event == UserMessage("bad") else DELIVERED

    async def scene(world: World) -> None:
        world.append(turn("1"), turn("bad"), turn("2"), turn("3", "c-2"))
        await world.drained(300)
        assert_accounted(world.store.counts(), delivered=3, dead_letters=1)

    play(scene, script)


def test_a_transport_that_cancels_itself_is_tried_again() -> None:
    """A closing channel raises the same error that our own end would."""

    async def scene(world: World) -> None:
        def script(_: Envelope) -> Fate:
            if world.loop.time() < 10:
                raise asyncio.CancelledError
            return DELIVERED

        world.transport.script = script
        world.append(turn("1"), turn("2"))
        await world.drained(120)

    assert texts(play(scene).transport.received) == ["1", "2"]


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


def test_a_platform_that_never_answers_holds_up_one_conversation_at_a_time() -> None:
    """Each send has an end, and the others are served meanwhile."""

    async def scene(world: World) -> None:
        world.append(turn("stuck", "ill"))
        await asyncio.sleep(0.1)
        world.append(*(turn(f"{n}", f"c-{n}") for n in range(20)))
        await world.until(lambda: world.store.counts().delivered == 20, within_s=5)
        await world.drained(120)

    play(scene, first_then([None]))


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
            elif world.delivery.link.up and not dying(world):
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


def test_somebody_in_a_hurry_does_not_sit_out_a_backoff() -> None:
    """A flush tries at once, after many failures too."""

    async def scene(world: World) -> None:
        world.append(turn("1"))
        await asyncio.sleep(900)
        world.transport.script = lambda _: DELIVERED
        world.delivery.expedite()
        await world.drained(1)

    play(scene, lambda _: DOWN)


@pytest.mark.parametrize("fault", [KeyError("bug"), asyncio.CancelledError()], ids=["bug", "cancelled"])
def test_a_stream_that_breaks_while_it_opens_is_opened_again(fault: BaseException) -> None:
    """Whatever comes out of the transport, the next attempt follows."""

    async def scene(world: World) -> None:
        world.append(call())
        await asyncio.sleep(30)
        world.transport.stream = None
        await world.drained(120)

    play(scene, stream=fault, needs_stream=True)


def test_a_hurry_opens_the_stream_at_once_too() -> None:
    """What waited for the stream does not wait for the next attempt to open it."""

    async def scene(world: World) -> None:
        world.append(call())
        await asyncio.sleep(900)
        world.transport.stream = None
        world.delivery.expedite()
        await world.drained(1)

    play(scene, stream=DOWN, needs_stream=True)


def test_an_idle_sender_sleeps() -> None:
    """With nothing to do for a day it wakes a few times a minute at most."""
    naps = 0

    async def scene(world: World) -> None:
        nonlocal naps
        original = world.store.maintain

        def counting() -> bool:
            nonlocal naps
            naps += 1
            return original()

        world.store.maintain = counting
        world.append(turn("1"))
        await asyncio.sleep(86_400)

    play(scene)
    assert naps < 86_400 / 20
