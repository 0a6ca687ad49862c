"""Clocks that jump, machines that sleep, acknowledgements that lie: nothing is dropped, nothing storms."""

import asyncio

import pytest
from clocks import ManualClock
from delivery_world import DELIVERED, DOWN, WRITTEN, World, call, play, turn
from history import assert_accounted, assert_delivered

from synap_integrations.model import Ack, Envelope
from synap_integrations.outbox import SqliteOutbox
from synap_integrations.ports import Handover

YEAR_S = 365 * 86_400


@pytest.mark.parametrize("step_s", [-86_400, 600, YEAR_S, -1, 3_600], ids=["-1d", "+10min", "+1y", "leap", "zone"])
def test_a_step_of_the_wall_clock_changes_nothing(tmp_path, step_s) -> None:
    """Captured before and after it, claimed in order of capture, released and due by the monotonic clock."""
    clock, now = ManualClock(), [1_700_000_000.0]
    outbox = SqliteOutbox(tmp_path, capture_wait_s=30, clock=clock, wall=lambda: now[0])
    outbox.append(first := turn("first"))
    now[0] += step_s
    outbox.append(second := turn("second"))
    assert outbox.claim(10) == [first, second]
    outbox.release([first.event_id, second.event_id], retry_after_s=10)
    now[0] += step_s
    assert outbox.claim(10) == []
    clock.advance(11)
    assert outbox.claim(10) == [first, second]
    outbox.acknowledge([first.event_id, second.event_id])
    outbox.maintain()
    outbox.append(first)
    assert_accounted(outbox.counts(), captured=2, delivered=2, waiting=0, repeats=1)
    outbox.close()


@pytest.mark.parametrize("hours", [8, 24 * 30], ids=["a-night", "a-month"])
def test_a_machine_that_slept_delivers_when_it_wakes(hours) -> None:
    """Fifty turns queued while the platform is down, then one long jump of the clock: everything arrives, in order."""
    up = False

    def script(_: Envelope) -> Handover | Exception:
        return DELIVERED if up else DOWN

    async def scene(world: World) -> None:
        nonlocal up
        world.append(*(turn(str(number), f"c-{number % 5}") for number in range(50)))
        await asyncio.sleep(5)
        attempts = len(world.transport.attempts)
        up = True
        world.loop.now += hours * 3_600
        await world.drained(within_s=120 + hours * 3_600)
        assert len(world.transport.attempts) - attempts <= 55

    world = play(scene, script)
    assert_delivered(world.appended, world.transport.received)


@pytest.mark.parametrize("lie", [str.upper, lambda text: text[:-1], lambda text: f" {text}", lambda _: "?"])
def test_an_acknowledgement_of_something_else_is_none(lie) -> None:
    """An id in other letters or cut short is unknown: the event is written again, under its id, until the true one."""

    async def scene(world: World) -> None:
        world.append(envelope := call())
        await world.until(lambda: world.transport.received)
        world.transport.hear(Ack((lie(envelope.event_id),)))
        await world.until(lambda: len(world.transport.received) == 2, within_s=100)
        assert world.store.counts().waiting == 1
        world.transport.acknowledge(envelope)
        await world.drained()

    world = play(scene, lambda _: WRITTEN, needs_stream=True)
    assert {envelope.event_id for envelope in world.transport.received} == {world.appended[0].event_id}


def test_acknowledgements_in_any_order_and_twice_settle_each_event_once() -> None:
    """Backwards, doubled, in parts, with unknown ones among them."""

    async def scene(world: World) -> None:
        world.append(*(call(f"c-{number}") for number in range(20)))
        await world.until(lambda: len(world.transport.received) == 20)
        for envelope in reversed(world.transport.received):
            world.transport.hear(Ack((envelope.event_id, "unknown", envelope.event_id)))
        await world.drained()

    world = play(scene, lambda _: WRITTEN, needs_stream=True)
    assert_delivered(world.appended, world.transport.received)
    assert_accounted(world.store.counts(), captured=20, delivered=20)
