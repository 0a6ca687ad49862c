"""A TCP proxy between a client and a platform that does to connections what a test says. It works on bytes, so HTTP and
gRPC are alike.

    with FaultProxy(platform.rest_port) as proxy:
        proxy.script += [Cut(after=100), BLACK_HOLE]      # one entry per connection, then `proxy.usual`
        proxy.usual = REFUSE                              # from now on, until it is PASS again
        proxy.freeze()                                    # open connections: nothing passes any more, nothing is closed
"""

import asyncio
import random
import threading
from collections import deque
from dataclasses import dataclass
from typing import Final, Self

from connections import answered_by


@dataclass(frozen=True)
class Fate:
    """What becomes of one connection. Bytes are those from the client, for ``cut_after`` and ``corrupt``.

    ``accept``: False closes it at once, without a byte. ``forward``: False swallows everything and never answers.
    ``cut_after`` bytes it is reset. ``drip`` passes that many bytes of an answer per second. ``delay_s`` comes before
    the first byte. ``corrupt`` is the share of chunks in which one bit is flipped, in both directions.
    """

    accept: bool = True
    forward: bool = True
    cut_after: int | None = None
    drip: int | None = None
    delay_s: float = 0.0
    corrupt: float = 0.0


PASS: Final = Fate()
REFUSE: Final = Fate(accept=False)
BLACK_HOLE: Final = Fate(forward=False)


class FaultProxy:
    """Start it with ``with``; ``port`` is where clients go."""

    def __init__(self, target_port: int, *, seed: int = 1) -> None:
        self.target_port = target_port
        self.script: deque[Fate] = deque()
        self.usual = PASS
        self.connections = 0
        self.passed = 0
        """Bytes from clients that went through."""
        self._rng = random.Random(seed)
        self._frozen = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def freeze(self) -> None:
        """What is open goes silent in both directions; new connections are as scripted."""
        self._loop.call_soon_threadsafe(self._cut_off)
        self._frozen.wait(5)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        self._pumps: set[asyncio.Task[None]] = set()
        async with answered_by(self._serve_one) as self.port:
            self._ready.set()
            await self._stopped.wait()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _cut_off(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        self._frozen.set()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        fate = self.script.popleft() if self.script else self.usual
        ends, cut = [writer], fate.cut_after is not None
        try:
            if not fate.accept:
                return
            await asyncio.sleep(fate.delay_s)
            if not fate.forward:
                while await reader.read(65536):
                    pass
                return
            try:
                answers, target = await asyncio.open_connection("127.0.0.1", self.target_port)
            except OSError:
                return
            ends.append(target)
            there = asyncio.create_task(self._pump(reader, target, fate, upwards=True))
            back = asyncio.create_task(self._pump(answers, writer, fate, upwards=False))
            self._pumps |= {there, back}
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            if there.cancelled() or back.cancelled():  # frozen: open, and silent
                await self._stopped.wait()
            await asyncio.sleep(0.01)
            for pump in (there, back):
                pump.cancel()
            self._pumps -= {there, back}
        finally:
            for end in ends:
                end.transport.abort() if cut or self._stopped.is_set() else end.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fate: Fate, *, upwards: bool
    ) -> None:
        left = fate.cut_after
        slow = fate.drip if not upwards else None
        try:
            while data := await reader.read(slow or 65536):
                if upwards and left is not None:
                    data, left = data[:left], left - len(data)
                if fate.corrupt and self._rng.random() < fate.corrupt:
                    place = self._rng.randrange(len(data))
                    data = data[:place] + bytes([data[place] ^ 1 << self._rng.randrange(8)]) + data[place + 1 :]
                writer.write(data)
                await writer.drain()
                self.passed += len(data) if upwards else 0
                if left is not None and left <= 0:
                    return
                if slow:
                    await asyncio.sleep(1.0)
        except ConnectionError:
            return
