"""A server on loopback that leaves no connection behind, whatever its handlers and its clients were doing."""

import asyncio
import ssl
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answered_by(answer: Answer, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port where each connection gets ``answer``, over TLS if asked for.

    At the end every handler is cancelled, every connection cut: one that outlives its loop is found by the garbage
    collector, in the middle of another test.
    """
    handlers: set[asyncio.Task[None]] = set()
    transports: weakref.WeakSet[asyncio.WriteTransport] = weakref.WeakSet()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transports.add(writer.transport)
        handler = asyncio.ensure_future(answer(reader, writer))
        handlers.add(handler)
        handler.add_done_callback(handlers.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0)  # what was accepted a moment ago gets its handler
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        for transport in transports:
            transport.abort()
        await asyncio.sleep(0)  # a transport lets go of its socket in the loop's next round
