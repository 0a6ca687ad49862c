"""An hour without a platform, in virtual time: what it costs, and how long after its return everything has arrived."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from delivery_world import DELIVERED, DOWN, World, play, turn

from synap_integrations.model import Envelope
from synap_integrations.ports import Handover


@dataclass(frozen=True)
class Figures:
    """``attempts`` are sends during the outage; ``recovered_s`` is from the end of it to the first delivery."""

    turns: int
    lost: int
    doubled: int
    inversions: int
    attempts: int
    recovered_s: float


def measure(_folder: Path | None = None, *, turns: int, hours: float = 1.0, conversations: int = 100) -> Figures:
    """All turns are captured during the outage. Nothing is written."""
    ends_at = hours * 3_600
    worlds: list[World] = []

    def script(_: Envelope) -> Handover | Exception:
        return DOWN if worlds[0].loop.now < ends_at else DELIVERED

    async def scene(world: World) -> None:
        worlds.append(world)
        world.append(*(turn(str(number), f"c-{number % conversations}") for number in range(turns)))
        await asyncio.sleep(ends_at - world.loop.now)
        await world.drained()

    world = play(scene, script)
    received = [envelope.event_id for envelope in world.transport.received]
    order: dict[str | None, list[int]] = {}
    for envelope in world.transport.received:
        order.setdefault(envelope.scope.conversation_id, []).append(int(envelope.event.content))
    first = next(at for at, _ in world.transport.attempts if at >= ends_at)
    return Figures(
        turns=turns,
        lost=len({envelope.event_id for envelope in world.appended} - set(received)),
        doubled=sum(count - 1 for count in Counter(received).values()),
        inversions=sum(numbers != sorted(numbers) for numbers in order.values()),
        attempts=sum(at < ends_at for at, _ in world.transport.attempts),
        recovered_s=round(first - ends_at, 1),
    )
