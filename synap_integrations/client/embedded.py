"""A platform in this process: the same bytes, no socket."""

from __future__ import annotations

import asyncio
import logging
import os
import pkgutil
from collections.abc import Callable, Mapping
from typing import Final

import httpx

from synap_integrations.ports import Lent, LocalPlatform, LocalStream
from synap_integrations.settings import Settings

from .platform import Duplex

_log = logging.getLogger(__name__)

EMBEDDED: Final = "synap_integrations.server.embedded:open_embedded"
"""Resolved by name: the client knows no server, and a process that talks to a remote one never loads it."""


class EmbeddedPlatform:
    """A platform in this process. ``inline``: it answers on the calling thread, for callers that own their loop."""

    def __init__(self, settings: Settings, *, inline: bool, lent: Lent | None = None) -> None:
        self._settings = settings
        self._lent = lent
        self._inline = inline
        self._opened: LocalPlatform | None = None
        self._pid = 0
        self.where = "the embedded Synap"

    def _local(self) -> LocalPlatform:
        if self._opened is None or self._pid != os.getpid():
            open_embedded: Callable[[Settings, Lent | None], LocalPlatform] = pkgutil.resolve_name(EMBEDDED)
            self._opened, self._pid = open_embedded(self._settings, self._lent), os.getpid()
            self.where = f"the embedded Synap ({self._opened.name})"
            _log.info("synap: using %s; set SYNAP_API_KEY to use the cloud", self.where)
        return self._opened

    def http(self) -> httpx.AsyncClient:
        """A client whose requests go to the platform without a socket."""
        return httpx.AsyncClient(
            base_url="http://embedded", transport=LocalTransport(self._local(), inline=self._inline)
        )

    async def listen(self, metadata: Mapping[str, str]) -> Duplex:
        """Open a stream without a socket."""
        return LocalDuplex(self._local(), dict(metadata), inline=self._inline)

    def close(self) -> None:
        """Let go of the file."""
        if self._opened is not None and self._pid == os.getpid():
            self._opened.close()
        self._opened = None


class LocalTransport(httpx.AsyncBaseTransport):
    """REST without a socket. ``inline``: answered on the calling thread."""

    def __init__(self, platform: LocalPlatform, *, inline: bool) -> None:
        self._platform = platform
        self._inline = inline

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request."""

        def answer() -> tuple[int, dict[str, str], bytes]:
            return self._platform.answer(
                request.method,
                request.url.path,
                query=request.url.query.decode("ascii"),
                headers=dict(request.headers),
                body=body,
            )

        body = await request.aread()
        status, headers, content = answer() if self._inline else await asyncio.to_thread(answer)
        return httpx.Response(status, headers=headers, content=content)


class LocalDuplex:
    """One ``Listen`` call without a socket."""

    def __init__(self, platform: LocalPlatform, metadata: dict[str, str], *, inline: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._incoming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._inline = inline
        self._said_all = False
        self._stream: LocalStream = platform.listen(self._emit, metadata=metadata)

    def _emit(self, message: bytes | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._incoming.put_nowait, message)

    async def accepted(self) -> bool:
        """At once."""
        return True

    async def write(self, message: bytes) -> None:
        """Hand over one message."""
        if self._inline:
            self._stream.receive(message)
        else:
            await asyncio.to_thread(self._stream.receive, message)

    async def read(self) -> bytes | None:
        """The next message, None at the end."""
        return await self._incoming.get()

    async def half_close(self) -> None:
        """Say that this was all; the end follows what the platform emitted before."""
        if self._said_all:
            return
        self._said_all = True
        if self._inline:
            self._stream.half_close()
        else:
            await asyncio.to_thread(self._stream.half_close)
        self._emit(None)

    async def close(self) -> None:
        """Tell the platform that nobody listens any more."""
        await self.half_close()
