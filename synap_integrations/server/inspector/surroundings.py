"""What the pages show besides the database. A server knows nothing of outboxes and prompts; who starts it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from synap_integrations.server.records import Item


@dataclass(frozen=True, slots=True)
class OutboxFigures:
    """What waits in one folder for one platform; ``oldest`` is an ISO time."""

    folder: str
    waiting: int
    dead_letters: int
    oldest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What lies around a local Synap. None is "cannot be known here", and the page says so.

    ``block`` renders items as they stand in a prompt; ``mark`` is what it puts where every prompt has a random mark.
    ``listeners`` counts open streams. ``writable`` False hides what would change something.
    """

    file: str = ""
    writable: bool = True
    block: Callable[[Sequence[Item]], str] | None = None
    mark: str = ""
    outboxes: Callable[[], Sequence[OutboxFigures]] | None = None
    listeners: Callable[[], int] | None = None
