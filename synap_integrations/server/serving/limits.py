"""How much one client may ask of a local Synap process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bytes, seconds and counts. What goes beyond is refused by name, or waits; nothing that was taken is lost."""

    body_bytes: int = 8 << 20
    """Of a request, and of a message on the stream."""
    head_bytes: int = 32 << 10
    """Of a request's first line and headers."""
    head_s: float = 10.0
    """Until the head of a request is there, from its first byte or from the connection on."""
    request_s: float = 60.0
    """For a request in all."""
    idle_s: int = 310
    """How long a connection without a request is kept. Clients keep theirs for 300 s; whoever closes first must not be
    the one who does not know whether a request is under way."""
    requests: int = 100
    """In flight at once."""
    streams: int = 16
    """Open at once."""
    events_per_s: int = 1000
    """Of one stream; what comes faster waits."""
    pushes_waiting: int = 64
    """Messages that wait for a client that does not read, before bundles are dropped; nothing else ever is."""
    said_waiting: int = 1000
    """Messages that wait for a client that does not read, before it is not listened to either."""
    file_bytes: int = 8 << 30
    """Of the database."""


DEFAULT: Final = Limits()
