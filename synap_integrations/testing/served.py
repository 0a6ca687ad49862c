"""A Synap behind real sockets: one server for all tests of a process, in which every test has a key and a memory of its
own. Whoever sends with the key of a test that is over is refused, and named to the test that is running.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cached_property
from typing import Any, Final, Self

import grpc
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synap_integrations.client.platform import Platform
from synap_integrations.secret import Secret
from synap_integrations.server.database import Database
from synap_integrations.server.embedded import LocalSynap
from synap_integrations.server.engine import Engine
from synap_integrations.server.serving.access import Access, new_key
from synap_integrations.server.serving.dev_server import DevServer, ServerOptions, on_a_thread
from synap_integrations.server.serving.gate import Gate
from synap_integrations.server.serving.grpc_service import ListenService
from synap_integrations.server.serving.http_app import build_app
from synap_integrations.server.serving.limits import DEFAULT
from synap_integrations.settings import Settings

from .clock import VirtualClock
from .faults import Faults, refused

_THREADS: Final = 4
_LOOPBACK: Final = "127.0.0.1"
_GOODBYE_S: Final = 1.0
"""Longest time between the end of a client and the server's knowing it."""
_LOOK_S: Final = 0.01


class SharedServer:
    """The server. Use it with ``with``; `open` gives a test its part of it."""

    def __init__(self) -> None:
        self._nobody = LocalSynap(Database(None), "the memory of nobody")
        self._options = ServerOptions(key=new_key(), port=0)
        self._namespaces: dict[str, Namespace] = {}
        self._over: dict[str, str] = {}
        self._knocks: Counter[str] = Counter()
        self._life = ExitStack()
        self._placeholders = ExitStack()
        self.pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="synap-dev")

    def __enter__(self) -> Self:
        self._start()
        # From now on at the same address, whenever it comes back.
        self._options = replace(self._options, port=self.server.http_port, grpc_port=self.server.grpc_port)
        return self

    def __exit__(self, *_: object) -> None:
        self._life.close()
        self._placeholders.close()
        self.pool.shutdown(wait=False)
        self._nobody.close()

    def open(self, name: str, clock: VirtualClock) -> Namespace:
        """A memory of its own, under a key of its own, for the test of this name."""
        self._knocks.clear()
        namespace = Namespace(self, name, clock)
        self._namespaces[namespace.key.reveal()] = namespace
        return namespace

    def retire(self, namespace: Namespace) -> None:
        """From now on its key is refused."""
        self._over[namespace.key.reveal()] = namespace.name
        self._namespaces.pop(namespace.key.reveal(), None)

    def knocks(self) -> dict[str, int]:
        """Calls with keys of tests that are over, since the last `open`, by test."""
        return dict(self._knocks)

    def down(self) -> None:
        """Nobody listens any more: connections are refused, by the machine itself. The ports stay ours."""
        self._life.close()
        for port in (self.server.http_port, self.server.grpc_port):
            held = self._placeholders.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):  # then it is ours again a moment later
                held.bind((_LOOPBACK, port))

    def up(self) -> None:
        """At the same address again."""
        self._placeholders.close()
        self._start()

    def meant(self, authorization: object) -> Namespace | None:
        """Whose call it is; None for a stranger."""
        _, _, key = str(authorization or "").partition(" ")
        if (over := self._over.get(key)) is not None:
            self._knocks[over] += 1
        return self._namespaces.get(key)

    def _start(self) -> None:
        self.server = DevServer(self._nobody, self._options, around=self._rest, interceptors=[_ByKey(self)])
        self._life.enter_context(on_a_thread(self.server))

    def _rest(self, app: ASGIApp) -> ASGIApp:
        async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
            headers = {name.lower(): value for name, value in scope["headers"]}
            namespace = self.meant(headers.get(b"authorization", b"").decode("latin-1"))
            await (namespace.answer if namespace else app)(scope, receive, send)

        return dispatch


class Namespace:
    """`rig.Place` on the server: one test's key, memory and faults."""

    def __init__(self, server: SharedServer, name: str, clock: VirtualClock) -> None:
        database = Database(None)
        self.name = name
        self.key: Secret = new_key()
        self.local = LocalSynap(database, "memory", engine=Engine(database, now=clock))
        own = {"SYNAP_API_KEY": self.key.reveal(), "SYNAP_STORAGE_PATH": ":memory:"}
        self.environment = server.server.environment | own
        self.settings = Settings.read(self.environment)
        self.url = server.server.url
        self._server = server
        self._streams: set[_Faulty] = set()
        self._peers: set[tuple[str, int]] = set()
        self.faults = Faults(down=server.down, up=self._up, drop=self._drop)

    def platform(self, *, inline: bool) -> Platform | None:  # noqa: ARG002 - a socket is a socket
        """The way that the settings name."""
        return None

    def still_open(self) -> list[str]:
        """Streams and connections that somebody has left open."""
        deadline = time.monotonic() + _GOODBYE_S
        while (counts := self._open()) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return [f"{count} {kind} to the server are still open" for kind, count in counts.items()]

    def _open(self) -> dict[str, int]:
        peers = self._peers & self._server.server.peers
        return {kind: len(held) for kind, held in (("streams", self._streams), ("connections", peers)) if held}

    def strangers(self) -> list[str]:
        """Tests that are over and still send."""
        return [
            f"{name} is over and still sends: {count} calls were refused"
            for name, count in self._server.knocks().items()
        ]

    def close(self) -> None:
        """End its streams, and forget everything."""
        self.faults.clear()
        self._server.retire(self)
        self._drop()
        self.local.close()

    # --- on the server's loop --------------------------------------------------------------------------------

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One REST request."""
        faults, method, path = self.faults, scope["method"], scope["path"]
        self._peers.add(tuple(scope["client"]))
        status = await faults.meet(path)
        if status is not None:
            answer = JSONResponse(refused(status), status)
            await answer(scope, receive, send)
            return
        if not faults.swallows(method, path):
            await self._app(scope, receive, send)
            return

        async def nothing(_: Message) -> None:
            """Nobody hears the answer."""

        await self._app(scope, receive, nothing)
        # Half of an answer: the connection ends, as when the network does.
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})

    async def listen(self, _: object, context: grpc.aio.ServicerContext) -> None:
        """One ``Listen`` call."""
        faulty = _Faulty(context, self.faults)
        self._streams.add(faulty)
        try:
            await self._listening(faulty)
        finally:
            self._streams.discard(faulty)

    @cached_property
    def _listening(self) -> Callable[[Any], Awaitable[None]]:
        service = ListenService(self.local, Access(self.key), pool=self._server.pool, limits=DEFAULT, closing=_never())
        handler = service.handler().service(_Details("/synap.v1.SynapService/Listen"))
        return lambda context: handler.stream_stream(None, context)

    @cached_property
    def _app(self) -> ASGIApp:
        gate = Gate(access=Access(self.key), port=self._server.server.http_port, limits=DEFAULT)
        return build_app(self.local, gate=gate, pool=self._server.pool, closing=_never())

    def _up(self) -> None:
        # What belongs to the loop of the server that went down is made anew.
        for name in ("_listening", "_app"):
            self.__dict__.pop(name, None)
        self._server.up()

    def _drop(self) -> None:
        for stream in list(self._streams):
            stream.drop()


class _Details:
    """Of a call, what a handler wants to know to say that it is its."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()


class _ByKey(grpc.aio.ServerInterceptor):  # type: ignore[misc] # grpc ships no types
    """Sends each stream to the namespace whose key it brings; a stranger's to the server, which refuses it."""

    def __init__(self, server: SharedServer) -> None:
        self._server = server

    async def intercept_service(self, continuation: Callable[[Any], Coroutine[Any, Any, Any]], details: Any) -> Any:  # noqa: ANN401 - grpc is untyped
        """Find who answers."""
        namespace = self._server.meant(dict(details.invocation_metadata or ()).get("authorization"))
        if namespace is None:
            return await continuation(details)
        return grpc.stream_stream_rpc_method_handler(namespace.listen)


class _Faulty:
    """The server's end of one stream, on which answers may be late, lost or doubled."""

    def __init__(self, context: grpc.aio.ServicerContext, faults: Faults) -> None:
        self._context = context
        self._faults = faults
        self._loop = asyncio.get_running_loop()
        self._dropped: asyncio.Future[None] = self._loop.create_future()
        self._writing = asyncio.Lock()
        self._late: set[asyncio.Task[None]] = set()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a context has
        return getattr(self._context, name)

    def drop(self) -> None:
        """End it, as a network does. Any thread."""
        with suppress(RuntimeError):  # the loop is over, and the stream with it
            self._loop.call_soon_threadsafe(self._dropped.cancel)

    async def read(self) -> Any:  # noqa: ANN401 - bytes, or gRPC's end
        """The next message; the end, once it is dropped."""
        reading = asyncio.ensure_future(self._context.read())
        either: set[asyncio.Future[Any]] = {reading, self._dropped}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            return reading.result()
        reading.cancel()
        return grpc.aio.EOF

    async def write(self, message: bytes) -> None:
        """Send it: never, once, twice, now or later."""
        for heard in self._faults.heard(message):
            if self._faults.delay_s:
                task = asyncio.create_task(self._later(heard, self._faults.delay_s))
                self._late.add(task)
                task.add_done_callback(self._late.discard)
            else:
                await self._now(heard)

    async def _later(self, message: bytes, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        with suppress(grpc.RpcError, asyncio.InvalidStateError):  # the stream is over by now
            await self._now(message)

    async def _now(self, message: bytes) -> None:
        async with self._writing:
            await self._context.write(message)


def _never() -> asyncio.Future[None]:
    """What would end the server's work: each test's part ends with its streams."""
    return asyncio.get_running_loop().create_future()
