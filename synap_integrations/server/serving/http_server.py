"""uvicorn, as a local Synap has it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from .http_protocol import PatientProtocol
from .limits import Limits

_HTTP_GRACE_S: Final = 1


class HttpServer(uvicorn.Server):
    """uvicorn on our sockets, without a hand on the process: signals are the command's, logs the application's."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=PatientProtocol.with_limits(limits),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=limits.idle_s,
                timeout_graceful_shutdown=_HTTP_GRACE_S,
                h11_max_incomplete_event_size=limits.head_bytes,
            )
        )

        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave them alone."""
        yield
