"""Pushed context: the stream's message, the documented ``on_context`` dict, and our `ContextBundle`.

The dict is the meeting point: our client makes it from the message, the platform's own SDK hands out the same one, and
`bundle_from_dict` reads both.

Source: maximem-synap 0.6.9, transport/grpc_client.py, ``_bundle_to_dict`` (the keys, None for an absent string).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from synap_integrations.model import ContextBundle, ContextItem, Conversation, RecentTurn, Scope

from .items import item_of, mapping, moment, number, sequence, word
from .proto import ContextBundleProto, ContextItemProto, ConversationContextProto
from .report import CONTEXT_TYPES

MAX_ITEMS: Final = 500
"""Most items of one bundle that are read."""

BundleDict = dict[str, Any]
"""A bundle under the documented keys."""


def bundle_to_dict(message: ContextBundleProto) -> BundleDict:
    """The bundle as ``on_context`` gets it: exactly the documented keys."""
    conversation = message.conversation_context if message.HasField("conversation_context") else None
    return {
        "bundle_id": message.bundle_id,
        "decision_id": message.decision_id,
        "items_by_type": {kind: [_item(item) for item in held.items] for kind, held in message.items_by_type.items()},
        "total_tokens": message.total_tokens,
        "token_budget": message.token_budget,
        "budget_exceeded": message.budget_exceeded,
        "retrieval_mode": message.retrieval_mode,
        "sources_queried": list(message.sources_queried),
        "degradation_level": message.degradation_level,
        "warnings": list(message.warnings),
        "created_at": message.created_at,
        "retrieval_time_ms": message.retrieval_time_ms,
        "cache_hit": message.cache_hit,
        "search_queries": list(message.search_queries),
        "search_keywords": list(message.search_keywords),
        "_anticipation_user_id": message.anticipation_user_id or None,
        "_anticipation_customer_id": message.anticipation_customer_id or None,
        "_anticipation_conversation_id": message.anticipation_conversation_id or None,
        "_anticipation_scope_rung": message.anticipation_scope_rung or None,
        "_bundle_type": message.bundle_type or "anticipation",
        "conversation_context": _conversation(conversation) if conversation else None,
        "_bundle_confidence": message.bundle_confidence,
        "_origin_pattern_id": message.origin_pattern_id,
        "_ttl_hint_seconds": message.ttl_hint_seconds,
    }


def _item(item: ContextItemProto) -> dict[str, object]:
    return {
        "item_id": item.item_id,
        "content": item.content,
        "context_type": item.context_type,
        "source": item.source,
        "similarity_score": item.similarity_score,
        "relevance_score": item.relevance_score,
        "confidence": item.confidence,
        "scope": item.scope,
        "entity_id": item.entity_id,
        "created_at": item.created_at,
        "event_date": item.event_date or None,
        "said_at": item.said_at or None,
        "valid_until": item.valid_until or None,
        "temporal_category": item.temporal_category or None,
        "temporal_confidence": item.temporal_confidence,
        "rank_score": item.rank_score if item.HasField("rank_score") else None,
        "questions": list(item.questions),
        "date_prefix": item.date_prefix,
    }


def _conversation(message: ConversationContextProto) -> dict[str, object]:
    turns = [{"role": turn.role, "content": turn.content, "timestamp": turn.timestamp} for turn in message.recent_turns]
    return {
        "summary": message.summary or None,
        "current_state": _json_object(message.current_state_json),
        "key_extractions": _json_object(message.key_extractions_json),
        "recent_turns": turns,
        "compaction_id": message.compaction_id or None,
        "compacted_at": message.compacted_at or None,
        "conversation_id": message.conversation_id or None,
        "compacted_message_count": message.compacted_message_count,
        "total_message_count": message.total_message_count,
        "context_block": message.context_block or None,
    }


def _json_object(raw: str) -> dict[str, object]:
    """What the JSON says, if it is an object; items must not be lost because a note beside them is broken."""
    try:
        found = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def under_callers_names(bundle: Mapping[str, Any], to_caller: Callable[[str], str]) -> BundleDict:
    """The bundle with the caller's names of conversations instead of the platform's ids."""
    named = dict(bundle)
    if isinstance(found := named.get("_anticipation_conversation_id"), str) and found:
        named["_anticipation_conversation_id"] = to_caller(found)
    held = named.get("conversation_context")
    if isinstance(held, Mapping) and isinstance(found := held.get("conversation_id"), str) and found:
        named["conversation_context"] = {**held, "conversation_id": to_caller(found)}
    return named


def bundle_from_dict(bundle: Mapping[str, Any]) -> ContextBundle:
    """The bundle as we keep it. What is missing or of the wrong type is treated as absent; never raises.

    At most `MAX_ITEMS` items are taken. Items without an id or without text are left out, as are kinds that are none of
    the five.
    """
    held = mapping(bundle.get("conversation_context"))
    scope = Scope(
        word(bundle.get("_anticipation_conversation_id")),
        word(bundle.get("_anticipation_user_id")),
        customer_id=word(bundle.get("_anticipation_customer_id")),
    )
    hint = number(bundle.get("_ttl_hint_seconds"))
    return ContextBundle(
        word(bundle.get("bundle_id")) or "",
        word(bundle.get("_bundle_type")) or "anticipation",
        scope=scope,
        items=tuple(_items(mapping(bundle.get("items_by_type")))),
        conversation=_known(held, scope) if held else None,
        created_at=moment(bundle.get("created_at")),
        ttl_s=hint if hint > 0 else None,
        answers=word(bundle.get("decision_id")),
        search_queries=tuple(q for q in sequence(bundle.get("search_queries")) if isinstance(q, str)),
        rung=word(bundle.get("_anticipation_scope_rung")) or "",
    )


def _items(by_type: Mapping[str, Any]) -> Iterator[ContextItem]:
    found = (item_of(mapping(raw), kind) for kind in CONTEXT_TYPES for raw in sequence(by_type.get(kind)))
    return islice((item for item in found if item is not None), MAX_ITEMS)


def _known(held: Mapping[str, Any], scope: Scope) -> Conversation:
    turns = [mapping(turn) for turn in sequence(held.get("recent_turns"))]
    return Conversation(
        word(held.get("conversation_id")) or scope.conversation_id,
        word(held.get("summary")),
        recent_turns=tuple(
            RecentTurn(role, content, moment(turn.get("timestamp")))
            for turn in turns[-MAX_ITEMS:]
            if (role := word(turn.get("role"))) and (content := word(turn.get("content")))
        ),
    )
