"""Where the bytes go: a platform behind sockets, or one inside this process. Above this file nobody can tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import httpx

from synap_integrations.ports import Lent
from synap_integrations.settings import Settings


class Duplex(Protocol):
    """Our end of one ``Listen`` call, in bytes."""

    async def accepted(self) -> bool:
        """Returns once the platform has taken the call (True) or refused it (False; `read` tells why).

        A platform that says nothing until it has something to say leaves this waiting.
        """
        ...

    async def write(self, message: bytes) -> None:
        """Send one message. Raises a `SynapError` if the stream is gone."""

    async def read(self) -> bytes | None:
        """The next message; None when the platform has ended the call. Raises a `SynapError` for a bad end."""
        ...

    async def half_close(self) -> None:
        """Nothing more will be written; what the platform still has to say can be read."""

    async def close(self) -> None:
        """Let go of it. Never raises."""


class Platform(Protocol):
    """A Synap, wherever it is."""

    where: str
    """What to call it in a log line."""

    def http(self) -> httpx.AsyncClient:
        """A client for its REST surface, for the running event loop."""
        ...

    async def listen(self, metadata: Mapping[str, str]) -> Duplex:
        """Open its stream. Raises a `SynapError`."""
        ...

    def close(self) -> None:
        """Let go of what is not bound to an event loop."""


def platform_of(settings: Settings, *, inline: bool, lent: Lent | None = None) -> Platform:
    """The platform that the settings name; opens nothing yet. Only one in this process can be ``lent`` anything.

    Raises: AuthenticationError without a key for another machine; InvalidInputError for an address it must not go to.
    """
    if settings.embedded:
        from .embedded import EmbeddedPlatform  # noqa: PLC0415 - one of the two is loaded, not both

        return EmbeddedPlatform(settings, inline=inline, lent=lent)
    from .remote import RemotePlatform  # noqa: PLC0415 - grpc costs 50 ms and 20 MB

    return RemotePlatform(settings)
