"""One connection of the stream: reads until it ends, and knows whether it is alive.

A connection counts as alive as long as the platform says something on it. One that stays silent after a heartbeat is
over, and so is one whose reader has ended, for whatever reason: a stream that writes but never reads again looks open
and delivers nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from synap_integrations.errors import InvalidInputError, SynapError
from synap_integrations.model import Signal
from synap_integrations.wire import grpc_codec
from synap_integrations.wire.faults import retry_after_s
from synap_integrations.wire.grpc_codec import MAX_SENT_BYTES, Decoded
from synap_integrations.wire.proto import StreamEvent

from .platform import Duplex

_COME_BACK_LATER: Final = frozenset({"instance_not_ready", "instance_build_failed"})


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: between heartbeats, until their answer, for a first sign of life without and with one, for one write."""

    heartbeat_s: float = 30.0
    answer_s: float = 15.0
    quiet_s: float = 0.25
    first_sign_s: float = 1.0
    write_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a connection is over; ``come_back_s`` is what the platform asked for, ``fault`` its refusal."""

    reason: str
    fault: SynapError | None = None
    come_back_s: float | None = None


class Line:
    """One open ``Listen`` call. Writes are one at a time, in the order in which they were asked for.

    ``on_malformed`` hears why a message was skipped, as often as the platform sends such messages.
    """

    def __init__(
        self,
        duplex: Duplex,
        on_message: Callable[[Decoded], None],
        on_malformed: Callable[[str], None],
        timing: Timing,
    ) -> None:
        self._duplex = duplex
        self._on_message = on_message
        self._on_malformed = on_malformed
        self._timing = timing
        self._heard = asyncio.Event()
        self._writing = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.lost: asyncio.Future[Loss] = asyncio.get_running_loop().create_future()
        self.opened_at = asyncio.get_running_loop().time()

    async def start(self) -> None:
        """Begin to read, and give the platform a moment to accept or refuse.

        Raises: SynapError, if it refuses. One that says nothing at all is taken at its word later, by the heartbeat.
        """
        reader = asyncio.create_task(self._read(), name="synap-stream-reader")
        # However the reader ends, the line is over.
        reader.add_done_callback(lambda _: self.end("reader_ended"))
        self._tasks = [reader]
        # Nothing is written before: gRPC forgets the status of a refusal that a write runs into.
        if not await self._sign(self._duplex.accepted(), self._timing.quiet_s):
            heartbeat = asyncio.create_task(self._beat(), name="synap-stream-heartbeat")
            self._tasks.append(heartbeat)
            await self._sign(self._heard.wait(), self._timing.first_sign_s)
        else:
            self._tasks.append(asyncio.create_task(self._beat(), name="synap-stream-heartbeat"))

    async def _sign(self, sign: Coroutine[Any, Any, bool], timeout_s: float) -> bool:
        """True if the sign came in time. Raises the fault of a line that is over."""
        waited = asyncio.create_task(sign)
        either: set[asyncio.Future[Any]] = {waited, self.lost}
        await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        seen = waited.done() and waited.result()
        if waited.done() and not seen:
            await asyncio.wait({self.lost}, timeout=timeout_s)
        waited.cancel()
        if self.lost.done() and (fault := self.lost.result().fault) is not None:
            raise fault
        return seen

    async def write(self, event: StreamEvent) -> None:
        """Send one message.

        Raises: InvalidInputError, if it is too large for any platform; another SynapError, if the line is over.
        """
        data = event.SerializeToString()
        if len(data) > MAX_SENT_BYTES:
            message = f"the event has {len(data)} bytes: at most {MAX_SENT_BYTES} travel on the stream"
            raise InvalidInputError(message, details={"argument": "content"})
        async with self._writing:
            await self._duplex.write(data)

    def end(self, reason: str, fault: SynapError | None = None, *, come_back_s: float | None = None) -> None:
        """The line is over; the first reason counts."""
        if not self.lost.done():
            self.lost.set_result(Loss(reason, fault, come_back_s))

    async def failed(self) -> None:
        """A write did not go through: the reader is about to learn why, and if it does not, the line is over anyway."""
        await asyncio.wait({self.lost}, timeout=self._timing.first_sign_s)
        self.end("write_failed")

    def give_up(self) -> None:
        """The same, for a caller that does not wait for it."""
        self._tasks.append(asyncio.create_task(self.failed(), name="synap-stream-failed"))

    async def hang_up(self, timeout_s: float) -> None:
        """Say goodbye, hear what the platform still has to say, and let go. Never raises."""
        if timeout_s > 0 and not self.lost.done():
            await self._duplex.half_close()
            await asyncio.wait({self.lost}, timeout=timeout_s)
        self.end("closed")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._duplex.close()

    async def _read(self) -> None:
        try:
            while (data := await self._duplex.read()) is not None:
                self._heard.set()
                try:
                    message = grpc_codec.decode(data)
                except ValueError as error:
                    self._on_malformed(str(error))
                    continue
                if isinstance(message, Signal):
                    self._heed(message)
                self._on_message(message)
            self.end("server_close")
        except SynapError as error:
            self.end(f"grpc_error:{error.details.get('status', error.code)}", error)

    def _heed(self, signal: Signal) -> None:
        """Some signals are about the line itself."""
        if signal.kind == "closing":
            self.end("closing")
        elif signal.kind == "throttle" and signal.metadata.get("code") in _COME_BACK_LATER:
            self.end("throttled", come_back_s=retry_after_s(signal.metadata.get("retry_after_seconds")) or 60.0)

    async def _beat(self) -> None:
        """A heartbeat at once, as a first proof of life, and then regularly."""
        try:
            while True:
                self._heard.clear()
                await self.write(grpc_codec.heartbeat(now=datetime.now(UTC)))
                async with asyncio.timeout(self._timing.heartbeat_s + self._timing.answer_s):
                    await self._heard.wait()
                await asyncio.sleep(self._timing.heartbeat_s)
        except TimeoutError:
            self.end("heartbeat_timeout")
        except SynapError:
            await self.failed()
