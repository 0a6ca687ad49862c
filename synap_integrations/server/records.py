"""The engine's nouns: whose memory, what is kept, what is found, what is pushed.

Times are aware UTC. Conversations are named by the id that travels; ``own_name`` is what the application calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple

MAX_ASKED: Final = 20
MAX_ASKED_CHARS: Final = 1000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Owner(NamedTuple):
    """Whose memory: a user of a customer, compared byte for byte; no customer is ``""`` and equals only that."""

    customer_id: str
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTurn:
    """A turn on its way into the store. ``event_id`` None: nothing tells a repetition from a second one."""

    owner: Owner
    conversation_id: str
    role: str
    content: str
    event_id: str | None = None
    session_id: str | None = None
    own_name: str | None = None
    speaker: str | None = None
    said_at: datetime | None = None
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A stored turn, word for word. ``position`` counts from 1 within its conversation."""

    owner: Owner
    conversation_id: str
    own_name: str | None
    position: int
    message_id: str
    event_id: str
    session_id: str
    role: str
    speaker: str | None
    content: str
    metadata: Mapping[str, object]
    said_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Recorded:
    """The turn is on disk. ``fresh`` is False if it was there before; ``count`` is the conversation's turns now."""

    turn: Turn
    count: int
    fresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that happened and is no turn. ``body`` holds its fields as they came; ``at`` is when it was stored."""

    owner: Owner
    kind: str
    conversation_id: str = ""
    session_id: str = ""
    event_id: str | None = None
    body: Mapping[str, object] = field(default_factory=dict[str, object])
    at: datetime | None = field(default=None, compare=False)


Kind = Literal["facts", "preferences", "temporal_events"]
"""What a statement is, in the words of the wire."""
Extraction = Literal["pattern", "model"]
"""How a statement was found."""


class Span(NamedTuple):
    """When something is: from ``start``, and before ``end``."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStatement:
    """Something that a user said about themselves, in a sentence that can stand alone.

    ``slot`` names what it is about and ``value`` what it says about that: ``home``, ``Lisbon``. ``when`` is an event's.
    """

    kind: Kind
    slot: str
    value: str
    content: str
    extraction: Extraction
    confidence: float
    when: Span | None = None


class Source(NamedTuple):
    """A turn that a statement rests on."""

    place: Place
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement(NewStatement):
    """A stored statement, with the turns it rests on; ``said_at`` is when the first of them was said."""

    statement_id: str
    owner: Owner
    conversation_id: str
    sources: tuple[Source, ...]
    said_at: datetime
    recorded_at: datetime
    superseded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stated:
    """A statement that answers ``queries``. ``relevance`` is 0..1."""

    statement: Statement
    relevance: float
    queries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HitRate:
    """What became of the bundles that one pattern pushed."""

    pattern: str
    bundles: int
    bundles_used: int
    items: int
    items_used: int

    @property
    def rate(self) -> float:
        """The share of bundles that a model was shown something of, 0..1."""
        return self.bundles_used / self.bundles if self.bundles else 0.0


class Place(NamedTuple):
    """Where a turn stands: the conversation's row, and the position in it."""

    conversation: int
    position: int


class Hit(NamedTuple):
    """A turn that shares words with a query, and how well (BM25, higher is better).

    ``conversation`` and ``position`` are its place, ``last`` is the last position of its conversation.
    """

    conversation: int
    position: int
    said_at: int
    score: float
    last: int

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.conversation, self.position)


@dataclass(frozen=True, slots=True)
class Found:
    """A turn that answers ``queries``. ``relevance`` is 0..1, and 1 for the best of an answer."""

    turn: Turn
    relevance: float
    queries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One remembered thing, complete in itself, as it is pushed. ``when`` is an event's."""

    item_id: str
    content: str
    relevance: float
    said_at: datetime
    recorded_at: datetime
    kind: Kind | Literal["episodes"] = "episodes"
    when: Span | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Context that is pushed. ``pattern`` names the rule that made it, ``decision_id`` the event that caused it."""

    bundle_id: str
    kind: str
    pattern: str
    decision_id: str
    owner: Owner
    conversation_id: str
    queries: tuple[str, ...]
    items: tuple[Item, ...]
    created_at: datetime
    retrieval_ms: int = 0

    @property
    def asked(self) -> tuple[str, ...]:
        """The queries in a form that is short enough to travel and to keep: a message may be a whole book."""
        return tuple(query[:MAX_ASKED_CHARS] for query in self.queries[:MAX_ASKED])


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedBundle:
    """What is known of a bundle that was pushed: why, and whether a model saw it.

    ``items`` is what it held, word for word, for as long as that is kept; ``item_ids`` stays.
    """

    bundle_id: str
    kind: str
    pattern: str
    decision_id: str
    owner: Owner
    conversation_id: str
    queries: tuple[str, ...]
    item_ids: tuple[str, ...]
    pushed_at: datetime
    used_at: datetime | None
    used_item_ids: tuple[str, ...]
    items: tuple[Item, ...] = ()


def microseconds(moment: datetime) -> int:
    """A time as it is stored."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(stored: int) -> datetime:
    """A stored time."""
    return _EPOCH + stored * _MICROSECOND
