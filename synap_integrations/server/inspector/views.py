"""What the pages show, as read from the database: frozen, in the order of a row. Times are aware UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from synap_integrations.server.records import Owner, PushedBundle, Turn


@dataclass(frozen=True, slots=True)
class Person:
    """A user who has a memory here. ``number`` is what the address of their page holds."""

    number: int
    owner: Owner
    conversations: int = 0
    turns: int = 0
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation, with its first words. ``found`` are turns that hold the words searched for."""

    number: int
    person: int
    owner: Owner
    conversation_id: str
    own_name: str | None
    turns: int
    updated_at: datetime
    opening: str
    found: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the application calls it, else its id."""
        return self.own_name or self.conversation_id


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something that happened and is no turn. ``at`` is when it was stored."""

    number: int
    kind: str
    event_id: str
    conversation_id: str
    body: Mapping[str, object]
    at: datetime

    def text(self, name: str) -> str:
        """A field of the body, "" if it is not there."""
        value = self.body.get(name)
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A turn with the number of its row, by which live pages know how far they are."""

    number: int
    turn: Turn


@dataclass(frozen=True, slots=True)
class Push:
    """A bundle with the number of its row, and of the conversation it was pushed into, if that is here."""

    number: int
    person: int
    chat: int | None
    bundle: PushedBundle


@dataclass(frozen=True, slots=True)
class Sum:
    """Figures that must add up: ``total`` and its parts, counted separately."""

    name: str
    total: int
    parts: tuple[tuple[str, int], ...]

    @property
    def adds_up(self) -> bool:
        """True if the parts make the total."""
        return sum(count for _, count in self.parts) == self.total


@dataclass(frozen=True, slots=True)
class Delay:
    """How long something took, in milliseconds, newest last, each with the time when it ended."""

    name: str
    meaning: str
    samples: tuple[tuple[datetime, float], ...]

    def at(self, share: float) -> float:
        """The value that this share of the samples does not exceed; 0 if there is none."""
        ordered = sorted(took for _, took in self.samples)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
