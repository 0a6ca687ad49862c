"""A bundle as the message that is pushed.

Only types that clients serve, ``confidence`` within 0..1, and a stamp of user and customer: what the local Synap pushes
is about the user, so that it may be shown in each of their conversations and to nobody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from synap_integrations.server.records import Bundle, Item, Turn
from synap_integrations.wire.proto import (
    ContextBundleProto,
    ContextItemList,
    ContextItemProto,
    ConversationContextProto,
    RecentTurnProto,
    StreamResponse,
)

_TOKEN_BUDGET: Final = 2000


def bundle_message(bundle: Bundle, items: Sequence[Item], history: Sequence[Turn] = ()) -> StreamResponse:
    """The message for these of the bundle's items, with the newest turns of its conversation if there are any."""
    by_type: dict[str, list[ContextItemProto]] = {}
    for item in items:
        by_type.setdefault(item.kind, []).append(_item(bundle, item))
    tokens = sum(len(item.content) // 4 + 1 for item in items)
    return StreamResponse(
        context_bundle=ContextBundleProto(
            bundle_id=bundle.bundle_id,
            decision_id=bundle.decision_id,
            items_by_type={kind: ContextItemList(items=held) for kind, held in by_type.items()},
            total_tokens=tokens,
            token_budget=_TOKEN_BUDGET,
            budget_exceeded=tokens > _TOKEN_BUDGET,
            retrieval_mode="fast",
            sources_queried=list(by_type) or ["episodes"],
            degradation_level="none",
            created_at=bundle.created_at.isoformat(),
            retrieval_time_ms=bundle.retrieval_ms,
            search_queries=bundle.asked,
            anticipation_user_id=bundle.owner.user_id,
            anticipation_customer_id=bundle.owner.customer_id,
            bundle_type=bundle.kind,
            bundle_confidence=max((item.relevance for item in items), default=0.0),
            origin_pattern_id=f"local.{bundle.pattern}",
            conversation_context=_conversation(bundle, history) if history else None,
        )
    )


def _conversation(bundle: Bundle, history: Sequence[Turn]) -> ConversationContextProto:
    return ConversationContextProto(
        conversation_id=bundle.conversation_id,
        recent_turns=[
            RecentTurnProto(role=turn.role, content=turn.content, timestamp=turn.said_at.isoformat())
            for turn in history
        ],
    )


def _item(bundle: Bundle, item: Item) -> ContextItemProto:
    return ContextItemProto(
        item_id=item.item_id,
        content=item.content,
        context_type=item.kind,
        source="conversation",
        similarity_score=item.relevance,
        relevance_score=item.relevance,
        rank_score=item.relevance,
        confidence=item.relevance,
        scope="user",
        entity_id=bundle.owner.user_id,
        created_at=item.recorded_at.isoformat(),
        said_at=item.said_at.isoformat(),
        date_prefix=date_prefix(item.said_at),
        # Clients fail on a dated event without a category.
        temporal_category="episode" if item.kind == "temporal_events" else "",
        event_date=item.when.start.isoformat() if item.when else "",
        valid_until=item.when.end.isoformat() if item.when and item.when.end > item.said_at else "",
    )


def date_prefix(said_at: datetime) -> str:
    """``(said May 11, 2023) ``, to be put in front of what was said."""
    return f"(said {said_at:%B} {said_at.day}, {said_at.year}) "
