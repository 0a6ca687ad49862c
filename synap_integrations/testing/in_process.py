"""A Synap in this process for one test: in memory, without a socket, with a way to it that can be made to fail."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Mapping
from typing import Final

import httpx

from synap_integrations.client.embedded import LocalDuplex, LocalTransport
from synap_integrations.client.platform import Duplex, Platform
from synap_integrations.errors import NetworkError
from synap_integrations.ports import LocalPlatform
from synap_integrations.server.database import Database
from synap_integrations.server.embedded import EmbeddedSynap, LocalSynap
from synap_integrations.server.engine import Engine
from synap_integrations.settings import Settings

from .clock import VirtualClock
from .faults import Faults, refused

_NOBODY: Final = "nobody is there: faults.refuse()"


class InProcess:
    """`rig.Place` without a socket."""

    def __init__(self, clock: VirtualClock) -> None:
        database = Database(None)
        self.local = LocalSynap(database, "memory", engine=Engine(database, now=clock))
        self.settings = Settings.read({}, base_url="local", storage_path=":memory:")
        self.environment = {"SYNAP_BASE_URL": "local", "SYNAP_STORAGE_PATH": ":memory:"}
        self._platform = EmbeddedSynap(self.local, self.local.close)
        self._open: weakref.WeakSet[_Duplex] = weakref.WeakSet()
        self.faults = Faults(down=self._drop, up=lambda: None, drop=self._drop)

    def platform(self, *, inline: bool) -> Platform:
        """The way to it for one client."""
        return _Way(self._platform, self.faults, self._open, inline=inline)

    def still_open(self) -> list[str]:
        """Streams that somebody has left open."""
        streams = self.local.pusher.listening()
        return [f"{streams} streams are still open: close the SynapClient, or call stop_listening()"] if streams else []

    def strangers(self) -> list[str]:
        """Nobody else finds the way."""
        return []

    def close(self) -> None:
        """Forget everything."""
        self.faults.clear()
        self._platform.close()

    def _drop(self) -> None:
        for duplex in list(self._open):
            duplex.lose()


class _Way:
    """`Platform`: what a client does is done unless a fault says otherwise."""

    where = "the Synap of this test"

    def __init__(
        self, local: LocalPlatform, faults: Faults, streams: weakref.WeakSet[_Duplex], *, inline: bool
    ) -> None:
        self._local = local
        self._faults = faults
        self._streams = streams
        self._inline = inline

    def http(self) -> httpx.AsyncClient:
        """A client for its REST surface."""
        inner = LocalTransport(self._local, inline=self._inline)
        return httpx.AsyncClient(base_url="http://embedded", transport=_Transport(inner, self._faults))

    async def listen(self, metadata: Mapping[str, str]) -> Duplex:
        """Open its stream."""
        if self._faults.refuses:
            raise NetworkError(_NOBODY)
        duplex = _Duplex(self._local, dict(metadata), self._faults, inline=self._inline)
        self._streams.add(duplex)
        return duplex

    def close(self) -> None:
        """The test closes it."""


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self, inner: httpx.AsyncBaseTransport, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        faults = self._faults
        if faults.refuses:
            raise httpx.ConnectError(_NOBODY, request=request)
        status = await faults.meet(request.url.path)
        if status is not None:
            return httpx.Response(status, json=refused(status))
        response = await self._inner.handle_async_request(request)
        if faults.swallows(request.method, request.url.path):
            lost = "the answer was lost: faults.never_ack()"
            raise httpx.ReadError(lost, request=request)
        return response


class _Duplex(LocalDuplex):
    """A stream whose answers may be late, lost or doubled."""

    def __init__(self, platform: LocalPlatform, metadata: dict[str, str], faults: Faults, *, inline: bool) -> None:
        self._faults = faults
        super().__init__(platform, metadata, inline=inline)

    def lose(self) -> None:
        """End it, as a network does. Any thread."""
        self._say(None)

    def _emit(self, message: bytes | None) -> None:
        for heard in [None] if message is None else self._faults.heard(message):
            self._say(heard)

    def _say(self, message: bytes | None) -> None:
        put: Callable[[bytes | None], None] = self._incoming.put_nowait
        loop: asyncio.AbstractEventLoop = self._loop
        if loop.is_closed():
            return
        if self._faults.delay_s and message is not None:
            loop.call_soon_threadsafe(loop.call_later, self._faults.delay_s, put, message)
        else:
            loop.call_soon_threadsafe(put, message)
