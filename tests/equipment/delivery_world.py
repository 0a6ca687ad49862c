"""A store, a platform and a sender between them, in virtual time."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

from clocks import VirtualLoop, in_virtual_time
from history import assert_accounted
from transports import Fate, ScriptedTransport

from synap_integrations.errors import NetworkError
from synap_integrations.model import Envelope, Scope, ToolCall, UserMessage
from synap_integrations.outbox import EphemeralOutbox
from synap_integrations.outbox.delivery import Delivery
from synap_integrations.outbox.pace import Rhythm
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
            self.delivery.wake()

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
        with contextlib.closing(world.store):
            sender = asyncio.create_task(world.delivery.run())
            await scene(world)
            world.delivery.stop()
            await sender
            assert_accounted(world.store.counts())
        return world

    return in_virtual_time(main)
