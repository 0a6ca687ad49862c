"""The bodies and answers of the REST surface, for both ends of it.

Both are read tolerantly: unknown keys are kept and a null counts as absent, so that a platform newer or older than this
package can still be talked to.

Source: maximem-synap 0.6.9, transport/http_client.py and models/.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .report import CONTEXT_TYPES

WHOAMI: Final = "/api/v1/auth/whoami"
MESSAGES: Final = "/v1/conversations/messages"
MESSAGES_BATCH: Final = "/v1/conversations/messages/batch"

Style = Literal["structured", "narrative", "bullet_points"]
FetchScope = Literal["user", "customer", "client", "conversation"]


def _objects(given: object) -> object:
    """The objects of a list; what is none is left out."""
    return [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else given


Objects = Annotated[list[dict[str, Any]], BeforeValidator(_objects)]


def fetch_path(scope: FetchScope) -> str:
    """Where context of this level is fetched."""
    return f"/v1/context/{scope}/fetch"


def messages_path(conversation_id: str) -> str:
    """Where the turns of one conversation are listed."""
    return f"/v1/conversations/{conversation_id}/messages"


def context_for_prompt_path(conversation_id: str) -> str:
    """Where the context of one conversation is read, ready for a prompt."""
    return f"/v1/conversations/{conversation_id}/context-for-prompt"


class Shape(BaseModel):
    """Unknown keys are kept; a null counts as absent."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: object) -> object:
        if given is None:
            return {}
        return {k: v for k, v in given.items() if v is not None} if isinstance(given, dict) else given


# --- bodies -------------------------------------------------------------------------------------------------


class RecordMessage(Shape):
    """One turn of a conversation. ``customer_id`` and ``metadata`` are always present."""

    conversation_id: str
    role: Literal["user", "assistant"]
    content: str
    user_id: str | None = None
    customer_id: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    session_id: str | None = None
    scope: dict[str, str] | None = None


class FetchContext(Shape):
    """What is wanted to know, and of whom."""

    user_id: str | None = None
    customer_id: str | None = None
    conversation_id: str | None = None
    search_query: list[str] | None = None
    max_results: int = 10
    types: list[str] = Field(default_factory=lambda: ["all"])
    mode: Literal["fast", "accurate"] = "fast"
    precision_level: Literal["high", "medium"] = "high"
    response_shape: Literal["by_type", "ranked"] = "by_type"
    query_date: str | None = None


# --- answers ------------------------------------------------------------------------------------------------


class Whoami(Shape):
    """Whose key this is. ``user_context_isolation`` tells who must be named.

    ``equals_customer``: the user is the whole identity, a customer is refused. ``optional``: a customer may be named.
    Anything else, or nothing: a customer must be named.
    """

    client_id: str | None = None
    instance_id: str | None = None
    user_context_isolation: str | None = None


class MessageRecorded(Shape):
    """A turn was stored; ``conversation_message_count`` counts the conversation's turns after it."""

    message_id: str | None = None
    conversation_id: str | None = None
    session_id: str | None = None
    recorded_at: str | None = None
    conversation_message_count: int | None = None


class ListedTurn(Shape):
    """A stored turn; ``position`` counts the conversation's turns from 1."""

    role: str | None = None
    content: str | None = None
    timestamp: str | None = None
    message_id: str | None = None
    position: int | None = None


class TurnsListed(Shape):
    """Turns of a conversation, in order."""

    turns: list[ListedTurn] = Field(default_factory=list)


class BatchRecorded(Shape):
    """``results`` holds the stored turns in input order, ``errors`` the index of each one that was not."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    results: Objects = Field(default_factory=list)
    errors: Objects = Field(default_factory=list)


class ContextForPrompt(Shape):
    """What to put into a prompt about one conversation: ``formatted_context``, and the turns it was made of."""

    formatted_context: str | None = None
    available: bool = False
    is_stale: bool = False
    compression_ratio: float | None = None
    validation_score: float | None = None
    compaction_age_seconds: int | None = None
    quality_warning: bool = False
    recent_messages: Objects = Field(default_factory=list)
    recent_message_count: int = 0
    compacted_message_count: int = 0
    total_message_count: int = 0
    context_block: str | None = None
    compaction_id: str | None = None


class Memories(Shape):
    """Remembered things by kind; ``items`` is one ranked list of all kinds, where it was asked for."""

    facts: Objects = Field(default_factory=list)
    preferences: Objects = Field(default_factory=list)
    episodes: Objects = Field(default_factory=list)
    emotions: Objects = Field(default_factory=list)
    temporal_events: Objects = Field(default_factory=list)
    items: Objects = Field(default_factory=list)


class ContextFetched(Shape):
    """The answer of one fetch."""

    context: Memories = Field(default_factory=Memories)
    ttl_seconds: int | None = None
    conversation_context: dict[str, Any] | None = None
    retrieval: dict[str, Any] | None = None


class FetchedContext(Memories):
    """What `SynapClient.fetch` found, over all levels that were asked."""

    formatted_context: str | None = None
    recent_messages: Objects = Field(default_factory=list)

    def add(self, found: Memories) -> Self:
        """Take over what is not here yet, told apart by id."""
        for kind in (*CONTEXT_TYPES, "items"):
            here: list[dict[str, Any]] = getattr(self, kind)
            known = {item.get("id") for item in here}
            here.extend(item for item in getattr(found, kind) if item.get("id") is None or item["id"] not in known)
        return self
