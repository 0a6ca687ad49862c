"""The inspector's pages alone: no REST, no stream. For the file of an application that may be running."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Self

from synap_integrations.secret import Secret
from synap_integrations.server.embedded import LocalSynap
from synap_integrations.server.inspector.routes import BASIC, PUBLIC, routes
from synap_integrations.server.inspector.surroundings import Outside

from .access import Access
from .gate import Gate
from .http_app import gated
from .http_server import HttpServer
from .limits import DEFAULT
from .sockets import open_front_door

_THREADS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOptions:
    """Who may read, on which port of this machine; 0 is any that is free."""

    key: Secret
    port: int = 0


class PageServer:
    """Serves the pages about one `LocalSynap`. Belongs to the event loop that starts it."""

    def __init__(self, synap: LocalSynap, options: PageOptions, *, outside: Outside) -> None:
        self._synap = synap
        self._options = options
        self.outside = outside
        self.url = ""
        """The address, once it is started."""

    @property
    def pages(self) -> str:
        """The address with the key where no server and no log sees it."""
        return f"{self.url}/#key={self._options.key.reveal()}"

    async def __aenter__(self) -> Self:
        """Bind the port and serve. Raises: InvalidInputError, if it is taken."""
        doors = open_front_door(self._options.port)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="synap-ui")
        self._closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        gate = Gate(access=Access(self._options.key), port=doors.http_port, limits=DEFAULT, public=PUBLIC, basic=BASIC)
        pages = routes(self._synap, pool=self._pool, outside=self.outside)
        self._http = HttpServer(gated(pages, gate=gate, pool=self._pool, closing=self._closing), DEFAULT)
        self._serving = asyncio.create_task(self._http.serve(sockets=list(doors.http)))
        await self._http.ready.wait()
        self.url = f"http://{doors.host}:{doors.http_port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """End what lasts, and let go of the port."""
        self._closing.set_result(None)
        self._http.should_exit = True
        await self._serving
        self._pool.shutdown(wait=False)
