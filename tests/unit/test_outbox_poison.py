"""Streams that end at once, in virtual time: the guilty event is found, and a network's faults are nobody's."""

import asyncio
import random

import pytest
from delivery_world import WRITTEN, World, play, turn
from history import assert_accounted
from transports import Fate

from synap_integrations.errors import ListeningNotActiveError
from synap_integrations.model import Envelope, Signal, UserMessage
from synap_integrations.outbox.lanes import Written
from synap_integrations.outbox.poison import WINDOW, Judgement, PoisonDetector

HOUR_S = 3_600.0


class Cut:
    """A platform behind a network, or with a fault, that ends streams. An acknowledgement takes half a second."""

    def __init__(self, world: World, rng: random.Random | None = None) -> None:
        self.world, self.rng = world, rng or random.Random(3)
        self.stream = self.lost = 0
        self.up = True
        world.transport.script = self.take

    def take(self, envelope: Envelope) -> Fate:
        """On the stream of now, which may be gone before anybody hears of it."""
        if not self.up:
            return ListeningNotActiveError("no stream")
        stream = self.stream
        if not self.ends_at(envelope):
            self.world.loop.call_later(
                0.5, lambda: stream == self.stream and self.world.transport.acknowledge(envelope)
            )
        return WRITTEN

    def ends_at(self, envelope: Envelope) -> bool:
        """Whether this event ends the stream."""
        return False

    def end(self) -> None:
        """End the stream; the next one is there after a while."""
        self.stream += 1
        self.lost += 1
        self.up = False
        self.world.transport.hear(Signal("disconnected"))
        self.world.loop.call_later(0.2, self.begin)

    def begin(self) -> None:
        """The next stream."""
        self.up = True
        self.world.transport.hear(Signal("connected"))


class CutByNetwork(Cut):
    """Ends each stream, with that probability, within two seconds, until the time is over."""

    def __init__(self, world: World, *, until_s: float, share: float, longest_s: float) -> None:
        super().__init__(world, random.Random(8))
        self.until_s, self.share, self.longest_s = until_s, share, longest_s
        world.loop.call_soon(self._maybe)

    def _maybe(self) -> None:
        if self.world.loop.time() >= self.until_s:
            return
        if self.rng.random() < self.share:
            self.end()
        self.world.loop.call_later(0.2 + self.rng.uniform(0.05, self.longest_s), self._maybe)


class CutByEvents(Cut):
    """Ends the stream at the events that ``guilty`` names, a moment after they came."""

    def __init__(self, world: World, guilty) -> None:
        super().__init__(world)
        self.guilty = guilty

    def ends_at(self, envelope: Envelope) -> bool:
        """A moment later; what else is on the stream goes with it."""
        guilty = self.guilty(envelope)
        if guilty:
            stream = self.stream
            self.world.loop.call_later(0.1, lambda: stream == self.stream and self.end())
        return guilty


@pytest.mark.parametrize(
    ("share", "longest_s"), [(1.0, 0.4), (1.0, 1.9), (0.5, 1.9)], ids=["faster-than-an-answer", "each", "every-second"]
)
def test_a_network_that_cuts_every_connection_condemns_nobody(share: float, longest_s: float) -> None:
    """An hour of streams that live for less than two seconds: no dead letter, and everything arrives."""

    async def scene(world: World) -> None:
        network = CutByNetwork(world, until_s=HOUR_S, share=share, longest_s=longest_s)
        for n in range(30):
            world.append(turn(f"{n}", f"c-{n % 4}"))
            await asyncio.sleep(HOUR_S / 30)
        await world.drained(120)
        assert network.lost > 500
        assert_accounted(world.store.counts(), delivered=30, dead_letters=0)

    play(scene)


def test_each_guilty_event_is_found_among_many_and_costs_few_sends() -> None:
    """Five of three hundred: these become dead letters, nobody else, and an event is sent a handful of times."""
    guilty = {17, 18, 130, 200, 299}

    async def scene(world: World) -> None:
        CutByEvents(world, lambda envelope: int(envelope.event.content) in guilty)
        world.append(*(turn(f"{n}", f"c-{n % 6}") for n in range(300)))
        await world.drained()
        assert_accounted(world.store.counts(), delivered=295, dead_letters=5)

    world = play(scene)
    acknowledged = {envelope.event.content for envelope in world.transport.received}
    assert len(acknowledged) == 300
    assert len(world.transport.attempts) < 300 * 7


def test_a_platform_that_ends_streams_at_any_event_condemns_three_and_no_more() -> None:
    """A fault of the platform looks like one of every event: after three it waits, and goes on once that is over."""

    async def scene(world: World) -> None:
        CutByEvents(world, lambda _: world.loop.time() < HOUR_S)
        world.append(*(turn(f"{n}", f"c-{n % 9}") for n in range(40)))
        await asyncio.sleep(HOUR_S)
        assert_accounted(world.store.counts(), dead_letters=3, waiting=37)
        await world.drained(300)
        assert_accounted(world.store.counts(), delivered=37, dead_letters=3)

    play(scene)


def test_a_guilty_event_that_is_alone_in_the_outbox_is_condemned_too() -> None:
    """There need not be another event to compare it with: an empty stream that lives is enough."""

    async def scene(world: World) -> None:
        CutByEvents(world, lambda _: True)
        world.append(turn("poison"))
        await world.drained(60)
        assert_accounted(world.store.counts(), dead_letters=1)

    play(scene)


# --- the rule itself ---------------------------------------------------------------------------------------------

EVENT = Written(Envelope("e-1", turn("x").scope, event=UserMessage("x"), occurred_at=turn("x").occurred_at), at=0.0)


def detecting() -> PoisonDetector:
    """One event is alone on the stream."""
    detector = PoisonDetector()
    for _ in range(6):
        detector.stream_ended(EVENT, 64, 1.0)
    return detector


def test_each_lost_stream_halves_the_window_and_each_answer_widens_it() -> None:
    """Down to one, and back again; a stream that lived longer says nothing."""
    detector = PoisonDetector()
    windows = []
    for _ in range(7):
        detector.stream_ended(EVENT, 64, 1.9)
        windows.append(detector.window)
    assert windows == [32, 16, 8, 4, 2, 1, 1]
    detector.stream_ended(EVENT, 64, 2.1)
    for _ in range(100):
        detector.acknowledged()
    assert detector.window == WINDOW


def test_an_event_is_condemned_only_after_three_empty_streams_have_lived() -> None:
    """Each stream of its own is followed by one that carries nothing for two seconds."""
    detector = detecting()
    for round_ in range(3):
        detector.stream_ended(EVENT, 1, 1.0)
        detector.stream_began(10.0)
        assert detector.window == 0
        assert detector.judged(11.9) is None
        judgement = detector.judged(12.0)
        assert judgement == (Judgement("e-1", is_poison=True) if round_ == 2 else None)
        assert detector.window == 1


def test_an_empty_stream_that_ends_clears_the_suspect() -> None:
    """Twice accused, then the network was seen to do it: the count starts anew."""
    detector = detecting()
    for _ in range(2):
        detector.stream_ended(EVENT, 1, 1.0)
        detector.stream_began(10.0)
        detector.judged(12.0)
    detector.stream_ended(EVENT, 1, 1.0)
    detector.stream_began(10.0)
    detector.stream_ended(None, 0, 11.0)
    assert detector.suspect is None
    detector.stream_began(20.0)
    assert detector.window == 1


def test_what_arrives_or_is_forgotten_is_no_suspect() -> None:
    """Its acknowledgement may come late, on the stream that was to stay empty."""
    detector = detecting()
    detector.stream_ended(EVENT, 1, 1.0)
    detector.stream_began(10.0)
    detector.forget("e-1")
    assert (detector.suspect, detector.over_at, detector.window) == (None, None, 1)
