"""The stream on a socket: one `ListenSession` for each ``Listen`` call, on the event loop that serves REST.

SQLite works on threads of the pool, events of one stream one after the other, so that neither a commit nor somebody
else's lock holds up the loop.

Source: maximem-synap 0.6.9, transport/grpc_client.py. It waits for initial metadata, loses an acknowledgement that
overtakes the return of its write, and takes a stream that ends at once after its half-close for a lost one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final

import grpc

from synap_integrations.guard import contained
from synap_integrations.server.embedded import LocalSynap
from synap_integrations.server.stream.session import ListenSession
from synap_integrations.wire.proto import DecodeError, StreamEvent, StreamResponse

from .access import Access
from .limits import Limits

SERVICE: Final = "synap.v1.SynapService"
ACK_DELAY_S: Final = 0.03
END_PAUSE_S: Final = 0.1
_FLUSH_S: Final = 1.0
_RECEIVE: Final = contained("dev stream")


def channel_options(limits: Limits) -> list[tuple[str, int]]:
    """How gRPC is to serve."""
    return [
        # Without this a second server on the same port starts without an error, and streams land on either.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", limits.body_bytes),
        ("grpc.max_metadata_size", limits.head_bytes),
        # Clients ping every 30 s, whether or not anything is going on; gRPC's default is one ping in 5 minutes.
        ("grpc.http2.min_ping_interval_without_data_ms", 9_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


class ListenService:
    """Answers ``Listen`` on the running event loop. When ``closing`` is done, every open stream ends."""

    def __init__(
        self, synap: LocalSynap, access: Access, *, pool: Executor, limits: Limits, closing: asyncio.Future[None]
    ) -> None:
        self._synap = synap
        self._access = access
        self._pool = pool
        self._limits = limits
        self._open = 0
        self._closing = closing

    def handler(self) -> grpc.GenericRpcHandler:
        """What a gRPC server is given. Messages are bytes, so that what is no message gets an answer that says so."""
        method = grpc.stream_stream_rpc_method_handler(self._listen)
        return grpc.method_handlers_generic_handler(SERVICE, {"Listen": method})

    async def _listen(self, _: object, context: grpc.aio.ServicerContext) -> None:
        metadata = dict(context.invocation_metadata() or ())
        given = metadata.get("authorization")
        if not self._access.bearer(given if isinstance(given, str) else None):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the key is missing or wrong: set SYNAP_API_KEY")
        if self._open >= self._limits.streams:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._open} streams are open, and more are not allowed"
            )
        self._open += 1
        try:
            await context.send_initial_metadata(())
            await _Call(self._synap, context, self._pool, self._limits).run(self._closing)
        finally:
            self._open -= 1


class _Call:
    """One ``Listen`` call: what comes in goes to its session, what the session says goes out, in order."""

    def __init__(self, synap: LocalSynap, context: grpc.aio.ServicerContext, pool: Executor, limits: Limits) -> None:
        self._context = context
        self._pool = pool
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._said: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._ack_timer: asyncio.TimerHandle | None = None
        self._session = ListenSession(
            synap.engine, synap.pusher, self._emit, ack_delay_s=ACK_DELAY_S, clock=self._loop.time
        )

    async def run(self, closing: asyncio.Future[None]) -> None:
        """Until the client ends it, or we do. Acknowledgements are out before it ends."""
        reader = asyncio.create_task(self._read())
        writer = asyncio.create_task(self._write())
        try:
            await asyncio.wait({reader, writer, closing}, return_when=asyncio.FIRST_COMPLETED)
            if reader.done():
                reader.result()  # raises what ended it
                self._session.half_close()
                await asyncio.sleep(END_PAUSE_S)
            elif closing.done():
                self._session.half_close()
            with suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH_S):
                    await asyncio.sleep(0)  # for what another thread has just said
                    await self._quiet.wait()
        finally:
            self._session.half_close()
            if self._ack_timer is not None:
                self._ack_timer.cancel()
            for task in (reader, writer):
                task.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)

    async def _read(self) -> None:
        pace = _Pace(self._limits.events_per_s, self._loop.time)
        while (data := await self._context.read()) is not grpc.aio.EOF:
            try:
                event = StreamEvent.FromString(data)
            except DecodeError:
                await self._context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT, f"{len(data)} bytes that are no StreamEvent"
                )
            if not await self._loop.run_in_executor(self._pool, self._received, event):
                # Not acknowledged, so that the client sends it again, to a store that works by then.
                await self._context.abort(grpc.StatusCode.UNAVAILABLE, "the store cannot be used now")
            self._acknowledge_soon()
            await self._room.wait()
            await pace.wait()

    def _received(self, event: StreamEvent) -> bool:
        with _RECEIVE:
            self._session.receive(event)
            return True
        return False

    def _acknowledge_soon(self) -> None:
        due = self._session.acks_due_s
        if due is not None and self._ack_timer is None:
            self._ack_timer = self._loop.call_at(due, self._acknowledge)

    def _acknowledge(self) -> None:
        self._ack_timer = None
        self._session.acknowledge()

    def _emit(self, response: StreamResponse) -> None:
        """Whatever the session says, on any thread."""
        data, droppable = response.SerializeToString(), response.WhichOneof("payload") == "context_bundle"
        with suppress(RuntimeError):  # the loop is closed, and with it the stream
            self._loop.call_soon_threadsafe(self._say, data, droppable)

    def _say(self, data: bytes, droppable: bool) -> None:
        if droppable and len(self._said) >= self._limits.pushes_waiting:
            return
        self._said.append(data)
        self._news.set()
        self._quiet.clear()
        if len(self._said) >= self._limits.said_waiting:
            self._room.clear()

    async def _write(self) -> None:
        while True:
            await self._news.wait()
            while self._said:
                await self._context.write(self._said[0])
                self._said.popleft()
            self._news.clear()
            self._room.set()
            self._quiet.set()


class _Pace:
    """Lets a second's worth through at once, and from then on so many a second."""

    def __init__(self, per_s: int, clock: Callable[[], float]) -> None:
        self._interval_s = 1 / per_s
        self._clock = clock
        self._due_s = 0.0

    async def wait(self) -> None:
        """Returns when the next one may come."""
        now = self._clock()
        self._due_s = max(self._due_s, now - 1.0) + self._interval_s
        if self._due_s > now:
            await asyncio.sleep(self._due_s - now)
