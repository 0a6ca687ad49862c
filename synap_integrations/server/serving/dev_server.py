"""A local Synap as a server: REST and pages on one port, the stream on the next, both on one event loop.

Usable from a command (`DevServer.run`), inside a program (``async with DevServer(…)``), and from a thread
(`on_a_thread`), where tests have it. Whoever made the `LocalSynap` closes it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Self

import grpc
from starlette.types import ASGIApp

from synap_integrations.errors import ServiceUnavailableError, SynapError
from synap_integrations.secret import Secret
from synap_integrations.server.embedded import LocalSynap
from synap_integrations.server.inspector.routes import BASIC, PUBLIC
from synap_integrations.server.inspector.surroundings import Outside

from .access import Access
from .gate import LOOPBACK_NAMES, Gate
from .grpc_service import ListenService, channel_options
from .http_app import build_app
from .http_server import HttpServer
from .limits import DEFAULT, Limits
from .sockets import Doors, open_doors

DEFAULT_PORT: Final = 8787
_THREADS: Final = 8
_GRPC_GRACE_S: Final = 0.5
_START_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Where to serve, and whom. Port 0 is any that is free; without ``grpc_port`` the stream is on the port after
    REST. ``address`` None is this machine alone; another one makes it reachable from elsewhere, under ``names`` too.
    """

    key: Secret
    port: int = DEFAULT_PORT
    grpc_port: int | None = None
    address: str | None = None
    names: frozenset[str] = frozenset()
    limits: Limits = DEFAULT


def _as_it_is(app: ASGIApp) -> ASGIApp:
    return app


class DevServer:
    """Serves one `LocalSynap`. Belongs to the event loop that starts it.

    ``around`` wraps the ASGI application and ``interceptors`` the stream: for tests that need a platform to misbehave.
    ``outside`` is what the pages show besides the database.
    """

    def __init__(
        self,
        synap: LocalSynap,
        options: ServerOptions,
        *,
        around: Callable[[ASGIApp], ASGIApp] = _as_it_is,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        outside: Outside | None = None,
    ) -> None:
        self.synap = synap
        self.options = options
        self._around = around
        self._interceptors = interceptors
        self._outside = replace(outside or Outside(), listeners=synap.pusher.listening)
        self._doors: Doors | None = None

    @property
    def http_port(self) -> int:
        """The port of REST and pages, once it is started."""
        return self._opened.http_port

    @property
    def grpc_port(self) -> int:
        """The port of the stream, once it is started."""
        return self._opened.grpc_port

    @property
    def host(self) -> str:
        """The address to call it by."""
        return self._opened.host

    @property
    def url(self) -> str:
        """The address of REST and pages."""
        return f"http://{self.host}:{self.http_port}"

    @property
    def peers(self) -> frozenset[tuple[str, int]]:
        """Host and port of everybody who has a connection to REST or pages open."""
        connected = list(self._http.server_state.connections)
        return frozenset(peer for connection in connected if (peer := getattr(connection, "client", None)) is not None)

    @property
    def pages(self) -> str:
        """The address of the pages, with the key where no server and no log sees it."""
        return f"{self.url}/#key={self.options.key.reveal()}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to have in its environment to find it: ours, and the platform's own."""
        return {
            "SYNAP_BASE_URL": self.url,
            "SYNAP_API_KEY": self.options.key.reveal(),
            "SYNAP_GRPC_HOST": self.host.strip("[]"),
            "SYNAP_GRPC_PORT": str(self.grpc_port),
            "SYNAP_GRPC_USE_TLS": "0",
        }

    @property
    def _opened(self) -> Doors:
        assert self._doors is not None, "the server is not started"
        return self._doors

    async def start(self) -> None:
        """Bind the ports and serve. Raises: InvalidInputError, if a port is taken, naming it and the fix."""
        options, limits = self.options, self.options.limits
        access = Access(options.key)
        _cap(self.synap, limits)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="synap-dev")
        self._closing = asyncio.get_running_loop().create_future()
        listening = ListenService(self.synap, access, pool=self._pool, limits=limits, closing=self._closing)
        self._grpc = grpc.aio.server(interceptors=self._interceptors, options=channel_options(limits))
        self._grpc.add_generic_rpc_handlers((listening.handler(),))
        self._doors = open_doors(
            self._grpc.add_insecure_port, address=options.address, port=options.port, grpc_port=options.grpc_port
        )
        gate = Gate(
            access=access,
            port=self.http_port,
            limits=limits,
            names=LOOPBACK_NAMES | options.names,
            any_address=options.address is not None,
            public=frozenset({"/health", *PUBLIC}),
            basic=BASIC,
        )
        app = build_app(self.synap, gate=gate, pool=self._pool, closing=self._closing, outside=self._outside)
        self._http = HttpServer(self._around(app), limits)
        self._serving = asyncio.create_task(self._http.serve(sockets=list(self._doors.http)))
        await self._grpc.start()
        await self._http.ready.wait()

    async def stop(self) -> None:
        """Acknowledge what was taken, end streams and answers that last, and let go of the ports."""
        self._closing.set_result(None)
        self._http.should_exit = True
        await asyncio.gather(self._serving, self._grpc.stop(_GRPC_GRACE_S))
        self._pool.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def _cap(synap: LocalSynap, limits: Limits) -> None:
    """A file that is full refuses turns; one that fills the disk would take everything else down with it."""
    with synap.engine.database.write() as db:
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        db.execute(f"PRAGMA max_page_count = {limits.file_bytes // page_bytes}")


@contextmanager
def on_a_thread(server: DevServer) -> Iterator[DevServer]:
    """The server, started on a thread with an event loop of its own, stopped at the end.

    Raises: InvalidInputError, if a port is taken.
    """
    ready, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    failed: list[BaseException] = []

    async def live() -> None:
        async with server:
            ready.set()
            await over.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(live())
        except (OSError, SynapError) as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="synap-dev-server", daemon=True)
    thread.start()
    if not ready.wait(_START_S):
        message = f"the server did not start within {_START_S:g} s: the machine is too busy"
        raise ServiceUnavailableError(message)
    if failed:
        raise failed[0]
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(_START_S)
