"""Turns in virtual time against a platform that is down, busy, silent, or loses its stream with what was on its way."""

import asyncio
import random
from collections import Counter, defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from delivery_world import DELIVERED, DOWN, WRITTEN, World, play, turn

from synap_integrations.errors import ListeningNotActiveError, RateLimitError, ServiceUnavailableError
from synap_integrations.model import Ack, Envelope, Signal
from synap_integrations.ports import Handover

POISON, BURST = "poison", 5
NO_STREAM = ListeningNotActiveError("no stream")
BUSY, SLOW_DOWN = ServiceUnavailableError("busy"), RateLimitError("slow down", retry_after=20.0)


@dataclass(frozen=True)
class Figures:
    """``inversions``: conversations whose turns a platform that removes repeats holds in another order.

    ``wronged``: good turns that became dead letters. ``outages``: changes of the weather that the platform saw.
    """

    turns: int
    outages: int
    streams_lost: int
    sends: int
    lost: int
    doubled: int
    inversions: int
    wronged: int
    poison_kept: int


class Platform:
    """It holds what arrived on it. A stream delivers in order, and takes what is on its way with it when it ends."""

    def __init__(self, world: World, rng: random.Random, way: Handover) -> None:
        self.world, self.rng, self.way = world, rng, way
        self.holds: dict[str, Envelope] = {}
        self.on_its_way: deque[Envelope] = deque()
        self.now = way
        self.epoch = self.streams_lost = 0
        self.up = True

    def fate(self, envelope: Envelope) -> object:
        """What becomes of one send."""
        if not self.up:
            return NO_STREAM if self.way is WRITTEN else DOWN
        if self.now is DELIVERED:
            self.holds.setdefault(envelope.event_id, envelope)
        elif self.now is WRITTEN:
            self.on_its_way.append(envelope)
            self.world.loop.call_later(0.4, self._arrives, self.epoch)
        return self.now

    def _arrives(self, epoch: int) -> None:
        if epoch != self.epoch:
            return
        envelope = self.on_its_way.popleft()
        if envelope.event.content == POISON:
            self.lose_stream(0.7)
            return
        self.holds.setdefault(envelope.event_id, envelope)
        if self.rng.random() < 0.98:  # else the acknowledgement is lost
            acknowledge = self.world.transport.acknowledge
            self.world.loop.call_later(0.4, lambda: epoch == self.epoch and acknowledge(envelope))

    def lose_stream(self, down_s: float) -> None:
        """Everything on its way is gone; a new stream comes up after a while."""
        self.epoch += 1
        self.on_its_way.clear()
        self.streams_lost += 1
        self.up, self.world.transport.stream = False, DOWN
        self.world.transport.hear(Signal("disconnected"))
        self.world.loop.call_later(down_s, self._back)

    def _back(self) -> None:
        self.up, self.world.transport.stream = True, None
        self.world.transport.hear(Signal("connected"))
        self.world.transport.hear(Ack(("of somebody else",)))


async def _weather(platform: Platform, kinds: tuple[object, ...], every_s: float, counted: Counter[str]) -> None:
    """Another kind of weather now and then; a stream is lost only some seconds after it came up."""
    while True:
        await asyncio.sleep(platform.rng.uniform(0.5, 1.5) * every_s)
        platform.now = platform.rng.choice(kinds)
        counted["outages"] += platform.now not in (DELIVERED, WRITTEN)
        if platform.rng.random() < 0.3 and platform.up:
            platform.now = platform.way
            for _ in range(100 if platform.way is WRITTEN else 0):
                await asyncio.sleep(0.05 if not platform.on_its_way else 0)
            platform.lose_stream(platform.rng.uniform(1, every_s))
            await asyncio.sleep(every_s + 5)


def measure(
    _folder: Path,
    *,
    turns: int,
    hours: float,
    way: Handover = WRITTEN,
    conversations: int = 50,
    poison: int = 0,
    every_s: float = 60.0,
    seed: int = 5,
) -> Figures:
    """Turns at random moments of so many hours, five in a row in a conversation; then calm."""
    rng, counted = random.Random(seed), Counter[str]()
    kinds = (way, way, way, way, DOWN, BUSY, SLOW_DOWN, None)
    platforms: list[Platform] = []

    async def scene(world: World) -> None:
        platforms.append(platform := Platform(world, rng, way))
        world.transport.script = platform.fate
        platform.now = way
        weather = asyncio.create_task(_weather(platform, kinds, every_s, counted)) if not poison else None
        poisoned = set(rng.sample(range(turns), poison))
        for number in range(turns):
            if not number % BURST:
                await asyncio.sleep(rng.expovariate(turns / BURST / (hours * 3_600)))
                conversation = f"c-{rng.randrange(conversations)}"
            world.append(turn(POISON if number in poisoned else str(number), conversation))
            await asyncio.sleep(rng.uniform(0, 0.2))
        if weather:
            weather.cancel()
        platform.now = way
        with suppress(TimeoutError):  # what waits then is lost
            await world.drained(2_400)

    world = play(scene)
    return _judged(world, platforms[0], counted)


def _judged(world: World, platform: Platform, counted: Counter[str]) -> Figures:
    good = {envelope.event_id for envelope in world.appended if envelope.event.content != POISON}
    poison = len(world.appended) - len(good)
    order: dict[str | None, list[int]] = defaultdict(list)
    for envelope in platform.holds.values():
        order[envelope.scope.conversation_id].append(int(envelope.event.content))
    buried = world.store.counts().dead_letters
    lost = len(good - platform.holds.keys())
    return Figures(
        turns=len(world.appended),
        outages=counted["outages"],
        streams_lost=platform.streams_lost,
        sends=len(world.transport.attempts),
        lost=lost,
        doubled=len(world.appended) - len({envelope.event_id for envelope in world.appended}),
        inversions=sum(found != sorted(found) for found in order.values()),
        wronged=max(0, buried - poison),
        poison_kept=max(0, poison - buried),
    )
