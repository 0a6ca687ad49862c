"""A bundle as the message that is pushed.

Only types that clients serve, ``confidence`` within 0..1, and a stamp of user and customer: what the local Synap pushes
is about the user, so that it may be shown in each of their conversations and to nobody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from synap_integrations.server.compaction import Compaction, Excerpt
from synap_integrations.server.records import Bundle, Item, Turn
from synap_integrations.server.rows import json_text
from synap_integrations.wire.proto import (
    ContextBundleProto,
    ContextItemList,
    ContextItemProto,
    ConversationContextProto,
    RecentTurnProto,
    StreamResponse,
)

from .sent import AGAIN_S

_TOKEN_BUDGET: Final = 2000


def bundle_message(bundle: Bundle, items: Sequence[Item], history: Sequence[Turn] = ()) -> StreamResponse:
    """The message for these of the bundle's items, with the newest turns of its conversation if there are any."""
    running = ConversationContextProto(
        conversation_id=bundle.conversation_id, recent_turns=[_turn(turn) for turn in history]
    )
    return _message(bundle, items, running if history else None)


def excerpt_message(
    bundle: Bundle, made: Compaction, excerpt: Excerpt, left: Sequence[Turn], *, total: int
) -> StreamResponse:
    """The message that a conversation was cut short: the excerpt, and the turns that are ``left`` behind it.

    ``total`` is how many turns the conversation has. Clients take the excerpt for the others only if the counts agree.
    """
    known = {
        kind: [
            {"id": statement.statement_id, "content": statement.content, "confidence": statement.confidence}
            for statement in excerpt.statements
            if statement.kind == kind
        ]
        for kind in ("facts", "preferences")
    }
    cut = ConversationContextProto(
        conversation_id=bundle.conversation_id,
        summary=excerpt.text,
        context_block=excerpt.text,
        compaction_id=made.compaction_id,
        compacted_at=made.made_at.isoformat(),
        compacted_message_count=total - len(left),
        total_message_count=total,
        recent_turns=[_turn(turn) for turn in left],
        current_state_json=json_text({"method": "excerpt", "version": made.version}),
        key_extractions_json=json_text(known),
    )
    return _message(bundle, (), cut, within=bundle.conversation_id)


def life_s(bundle: Bundle, items: Sequence[Item]) -> int:
    """Seconds for which the bundle holds: until its items would be sent again, or the first of its events is over."""
    ends = (item.when.end for item in items if item.when is not None and item.when.end > bundle.created_at)
    return min([AGAIN_S, *(max(int((end - bundle.created_at).total_seconds()), 1) for end in ends)])


def _message(
    bundle: Bundle, items: Sequence[Item], conversation: ConversationContextProto | None, *, within: str = ""
) -> StreamResponse:
    """``within`` is the one conversation in which clients may use it; without, they may in all of the user's."""
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
            anticipation_conversation_id=within,
            bundle_type=bundle.kind,
            bundle_confidence=max((item.relevance for item in items), default=0.0),
            origin_pattern_id=f"local.{bundle.pattern}",
            ttl_hint_seconds=life_s(bundle, items),
            conversation_context=conversation,
        )
    )


def _turn(turn: Turn) -> RecentTurnProto:
    return RecentTurnProto(role=turn.role, content=turn.content, timestamp=turn.said_at.isoformat())


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
