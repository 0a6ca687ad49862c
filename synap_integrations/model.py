"""What we talk about: Scope, Event, Envelope, ContextBundle, Context.

Frozen and slotted; times are aware UTC; what is absent is None, never an empty string. Every ``match`` over
`Event` or `Inbound` ends in ``assert_never``, so that a new member is found by the type checker.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import getrandbits
from typing import Literal, Self

__all__ = [
    "Ack",
    "AssistantMessage",
    "Context",
    "ContextBundle",
    "ContextItem",
    "ContextRequest",
    "ContextUsed",
    "Conversation",
    "ConversationState",
    "Dropped",
    "Envelope",
    "Event",
    "Inbound",
    "Receipt",
    "RecentTurn",
    "Scope",
    "Signal",
    "Thinking",
    "ToolCall",
    "ToolResult",
    "Turn",
    "UserMessage",
    "new_id",
]


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose memory: a conversation of a user of a customer (the tenant), optionally within a session.

    Ids are opaque and compared byte for byte: ``"Ana"`` and ``"ana"`` are two users.
    """

    conversation_id: str | None = None
    user_id: str | None = None
    customer_id: str | None = field(default=None, kw_only=True)
    session_id: str | None = field(default=None, kw_only=True)


# --- what happened in a conversation ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What the user said. ``attachments`` are type names such as ``"image_url"``, never the bytes.

    ``edited`` marks a message that replaces an earlier one of the same conversation.
    """

    content: str
    attachments: tuple[str, ...] = field(default=(), kw_only=True)
    edited: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """What the assistant answered. ``incomplete`` marks an answer that was cut off."""

    content: str
    incomplete: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asked for a tool. ``tool_call_id`` pairs it with its `ToolResult`."""

    tool_name: str
    tool_args: Mapping[str, object]
    tool_call_id: str
    search_queries: tuple[str, ...] = field(default=(), kw_only=True)
    context_types: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the tool gave back to the model, as text or as JSON-like data."""

    tool_name: str
    tool_result: object
    tool_call_id: str
    is_error: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Thinking:
    """Reasoning, or text beside tool calls: part of the trajectory, not of the conversation."""

    content: str
    step_index: int | None = field(default=None, kw_only=True)
    thought_type: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class ContextRequest:
    """The application wants context for these queries, pushed over the stream."""

    search_queries: tuple[str, ...]
    context_types: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """How what a model was shown came about: a receipt in figures, without words of users.

    ``source`` is that of `Context`; ``why`` is a sentence of the package's own; ``dropped`` is how many items were left
    out for each reason. What is not known is None.
    """

    source: str
    why: str = ""
    tokens: int | None = None
    token_budget: int | None = None
    waited_ms: int | None = None
    dropped: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class ContextUsed:
    """These items of these pushed bundles were shown to the model."""

    bundle_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    assembly: Assembly | None = field(default=None, kw_only=True)


Turn = UserMessage | AssistantMessage
Event = UserMessage | AssistantMessage | ToolCall | ToolResult | Thinking | ContextRequest | ContextUsed


@dataclass(frozen=True, slots=True)
class Envelope:
    """An Event sealed with its Scope, id and time: the unit of storage and delivery.

    ``event_id`` is the idempotency key: minted once, at capture, and repeated on every send.
    """

    event_id: str
    scope: Scope
    event: Event = field(kw_only=True)
    occurred_at: datetime = field(kw_only=True)
    framework: str | None = field(default=None, kw_only=True)
    place: tuple[str, int] | None = field(default=None, kw_only=True, compare=False)
    """Which outbox hands it out, and its place in the order there: for readers who put late arrivals in order."""
    earlier: Earlier | None = field(default=None, kw_only=True, compare=False)
    """Set on its way out, if a process that ended may have sent it."""

    @classmethod
    def seal(
        cls,
        scope: Scope,
        event: Event,
        *,
        framework: str | None = None,
        occurred_at: datetime | None = None,
        event_id: str | None = None,
    ) -> Self:
        """Give the event its id and its time: now, unless it happened earlier; its own id, if it has one already."""
        moment = occurred_at.astimezone(UTC) if occurred_at else datetime.now(UTC)
        return cls(event_id or new_id(), scope, event=event, occurred_at=moment, framework=framework)


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier process may have sent an envelope, at ``since`` or later, and died before it knew of the outcome.

    ``then`` are the envelopes of the same conversation that it may have sent after this one, in order. ``behind`` is
    how many turns the platform had confirmed of the conversation before; None if that is not known.
    """

    since: datetime
    then: tuple[Envelope, ...] = ()
    behind: int | None = None


def new_id() -> str:
    """A UUID of version 7: unique without coordination, sorted by time of birth.

    Source: RFC 9562, section 5.7. ``uuid.uuid7`` needs Python 3.14.
    """
    # The generator is seeded by the system and again in every forked child; asking the system each time costs ten times
    # as much, on the thread of the application.
    value = time.time_ns() // 1_000_000 << 80 | getrandbits(80)
    value = value & ~(0xF000 << 64) & ~(0xC000 << 48) | 0x7000 << 64 | 0x8000 << 48
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


# --- what the platform tells us over the stream -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ack:
    """The platform has taken these events; they need not be sent again."""

    event_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContextItem:
    """One remembered thing.

    ``kind`` is one of facts, preferences, episodes, emotions, temporal_events. ``score`` is 0..1, higher is better.
    ``level`` (user, customer, client, conversation) and ``entity_id`` say whose it is, where the platform says so.
    ``metadata`` is whatever else it says, for items that were asked for; two items are not told apart by it.
    """

    item_id: str
    kind: str
    text: str = field(kw_only=True)
    score: float = field(default=0.0, kw_only=True)
    said_at: datetime | None = field(default=None, kw_only=True)
    valid_until: datetime | None = field(default=None, kw_only=True)
    source: str | None = field(default=None, kw_only=True)
    level: str | None = field(default=None, kw_only=True)
    entity_id: str | None = field(default=None, kw_only=True)
    metadata: Mapping[str, object] | None = field(default=None, kw_only=True, compare=False)


@dataclass(frozen=True, slots=True)
class RecentTurn:
    """A turn of the conversation as the platform holds it; ``role`` is user or assistant."""

    role: str
    content: str
    said_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the platform knows of the conversation itself."""

    conversation_id: str | None
    summary: str | None = None
    recent_turns: tuple[RecentTurn, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True)
class ContextBundle:
    """What the platform pushed over the listen stream.

    ``scope`` is the stamp: whose it is. ``rung`` is the nested scope path it was made for ("" is none).
    ``answers`` is the id of the event that made the platform push it, None when it does not say.
    ``ttl_s`` is a duration in seconds from arrival, never a time of the platform's clock.
    """

    bundle_id: str
    kind: str
    scope: Scope = field(kw_only=True)
    items: tuple[ContextItem, ...] = field(kw_only=True)
    conversation: Conversation | None = field(default=None, kw_only=True)
    created_at: datetime | None = field(default=None, kw_only=True)
    ttl_s: float | None = field(default=None, kw_only=True)
    answers: str | None = field(default=None, kw_only=True)
    search_queries: tuple[str, ...] = field(default=(), kw_only=True)
    rung: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class ConversationState:
    """The platform has stored a turn; the conversation now holds ``message_count`` of them."""

    conversation_id: str
    message_count: int


@dataclass(frozen=True, slots=True)
class Signal:
    """Anything else the stream says about itself: connected, disconnected, throttle, error, …"""

    kind: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str], kw_only=True)


Inbound = Ack | ContextBundle | ConversationState | Signal


# --- what recall returns ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dropped:
    """An item that was not shown, and why: expired, budget, duplicate, weak, filtered, quarantine."""

    item_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """Why the context is what it is.

    ``bundle_ids`` are the bundles that the chosen items come from, ``looked_at`` all that were considered; ``age_s`` is
    the age of the newest chosen one; ``waited_s`` is how long recall waited for the platform; ``tokens`` is the size
    of what was chosen, by the counter in use.
    """

    query: str | None
    bundle_ids: tuple[str, ...] = field(default=(), kw_only=True)
    looked_at: tuple[str, ...] = field(default=(), kw_only=True)
    chosen: tuple[str, ...] = field(default=(), kw_only=True)
    dropped: tuple[Dropped, ...] = field(default=(), kw_only=True)
    tokens: int = field(default=0, kw_only=True)
    token_budget: int = field(default=0, kw_only=True)
    age_s: float | None = field(default=None, kw_only=True)
    waited_s: float = field(default=0.0, kw_only=True)
    why: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class Context:
    """What recall returns: items, the turns of the conversation before the question, and where they came from.

    ``source`` is ``"pushed"`` (it was there), ``"fetched"`` (we asked for it) or ``"none"``.
    """

    items: tuple[ContextItem, ...] = ()
    recent_turns: tuple[RecentTurn, ...] = ()
    source: Literal["pushed", "fetched", "none"] = field(default="none")
    receipt: Receipt | None = field(default=None)

    def __bool__(self) -> bool:
        """True if there is anything to show to a model."""
        return bool(self.items or self.recent_turns)
