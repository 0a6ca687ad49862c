"""The sender, in virtual time: outages of an hour take milliseconds."""

import asyncio

import pytest
from delivery_world import DELIVERED, DOWN, World, play, turn
from history import assert_accounted, assert_delivered
from transports import Fate, first_then, texts

from synap_integrations.errors import AuthenticationError, InvalidInputError, RateLimitError, ServiceUnavailableError
from synap_integrations.model import Envelope, UserMessage


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


def test_a_thousand_dead_letters_are_a_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Each is kept and counted; the log says it at once, and a minute later how many more there were."""

    async def scene(world: World) -> None:
        world.append(*(turn(f"{n}", f"c-{n % 7}") for n in range(1_000)))
        await world.drained(50)
        await asyncio.sleep(60)
        world.append(turn("last"))
        await world.drained(5)
        assert_accounted(world.store.counts(), delivered=0, dead_letters=1_001)

    play(scene, lambda _: InvalidInputError("too strange"))
    first, second = [line for line in caplog.messages if "dead letter" in line]
    assert "more since" not in first
    assert second.endswith("(and 999 more since the last such line)")


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


def test_a_platform_that_never_answers_holds_up_one_conversation_at_a_time() -> None:
    """Each send has an end, and the others are served meanwhile."""

    async def scene(world: World) -> None:
        world.append(turn("stuck", "ill"))
        await asyncio.sleep(0.1)
        world.append(*(turn(f"{n}", f"c-{n}") for n in range(20)))
        await world.until(lambda: world.store.counts().delivered == 20, within_s=5)
        assert world.store.counts().waiting == 1
        await world.drained(120)

    assert texts(play(scene, first_then([None])).transport.received)[-1] == "stuck"


def test_somebody_in_a_hurry_does_not_sit_out_a_backoff() -> None:
    """A flush tries at once, after many failures too."""

    async def scene(world: World) -> None:
        world.append(turn("1"))
        await asyncio.sleep(900)
        world.transport.script = lambda _: DELIVERED
        world.delivery.expedite()
        await world.drained(1)

    assert texts(play(scene, lambda _: DOWN).transport.received) == ["1"]


def test_delivery_gives_way_to_a_burst_of_capture() -> None:
    """While the application captures as fast as it can, few sends compete with it; a hurry, or a pause, ends that."""

    async def scene(world: World) -> None:
        for n in range(2_000):
            world.append(turn(f"{n}", f"c-{n % 9}"))
            await asyncio.sleep(0.001)
        assert world.loop.time() < 5
        assert len(world.transport.received) < 100
        before = world.loop.time()
        await world.drained(10)
        assert world.loop.time() - before < 5

    world = play(scene, takes_s=0.001)
    assert_delivered(world.appended, world.transport.received)


@pytest.mark.parametrize("waits", [False, True], ids=["nobody waits", "somebody waits"])
def test_whoever_waits_for_an_answer_does_not_sit_out_the_courtesy(waits: bool) -> None:
    """What was captured last goes out at once if the application waits for it, and a moment later otherwise."""

    async def scene(world: World) -> None:
        await asyncio.sleep(1)
        world.store.append(turn("1"))
        world.delivery.something_new()
        if waits:
            world.delivery.look_now()
        await asyncio.sleep(0.4)
        assert texts(world.transport.received) == (["1"] if waits else [])
        await world.drained(1)

    assert texts(play(scene, claim_s=0.5).transport.received) == ["1"]


def test_steady_capture_is_delivered_without_delay() -> None:
    """A hundred turns a second are no burst."""

    async def scene(world: World) -> None:
        for n in range(1_000):
            world.append(turn(f"{n}", f"c-{n % 9}"))
            await asyncio.sleep(0.01)
        assert len(world.transport.received) > 980
        await world.drained(1)

    play(scene, takes_s=0.001)


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
