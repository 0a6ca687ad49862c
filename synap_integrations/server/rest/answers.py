"""What REST answers look like. Pure functions; lists are never null, ``confidence`` is within 0..1.

Source: maximem-synap 0.6.9, transport/http_client.py and models/: which keys are read, and which nulls break a client.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Final, Literal, assert_never, cast

from synap_integrations.server.compaction import Compaction, Excerpt, excerpt_of
from synap_integrations.server.documents.pieces import DOCUMENT_ROLE
from synap_integrations.server.records import Found, Recorded, Stated, Turn
from synap_integrations.server.statements.profile import Profile
from synap_integrations.wire.report import CONTEXT_TYPES

INSTANCE_ID: Final = "inst_6c6f63616c000000"
CLIENT_ID: Final = "cli_6c6f63616c000000"
"""``local``, in the platform's form of an id."""
NOT_CACHED: Final = -1
"""As ``ttl_seconds``: what was just said is found at once. 0 would mean the client's default."""

Style = Literal["structured", "narrative", "bullet_points"]
Json = dict[str, object]


def whoami() -> Json:
    """Who this is: local, and a customer may be named but need not be."""
    return {
        "client_id": CLIENT_ID,
        "instance_id": INSTANCE_ID,
        "user_context_isolation": "optional",
        "environment": "local",
    }


def balance() -> Json:
    """There is nothing to pay here."""
    return {"client_id": CLIENT_ID, "balance_credits": 0, "warning_low": False, "buckets": []}


def ledger() -> Json:
    """There is nothing to pay here."""
    return {"entries": [], "total": 0, "limit": 0, "offset": 0}


def redeemed() -> Json:
    """There is nothing to redeem here."""
    return {"redemption_id": None, "credits_granted": 0, "new_balance_credits": 0, "expires_at": None}


def recorded(found: Recorded) -> Json:
    """A turn was stored."""
    turn = found.turn
    return {
        "message_id": turn.message_id,
        "conversation_id": turn.conversation_id,
        "session_id": turn.session_id,
        "recorded_at": turn.recorded_at.isoformat(),
        "conversation_message_count": found.count,
    }


def message(turn: Turn) -> Json:
    """A turn as the list of a conversation's turns has it."""
    return {
        "role": turn.role,
        "content": turn.content,
        "timestamp": turn.said_at.isoformat(),
        "message_id": turn.message_id,
        "position": turn.position,
    }


def fetched(found: Sequence[Found], stated: Sequence[Stated] = (), *, ranked: bool, limit: int = 200) -> Json:
    """What was found, by type and, if asked for, as one ranked list of at most ``limit``.

    Turns are episodes, word for word. In the ranked list the words of a turn do not come a second time as a statement.
    """
    entries = [*map(_episode, found), *map(_statement, stated)]
    context: Json = {kind: [item for category, item in entries if category == kind] for kind in CONTEXT_TYPES}
    if ranked:
        there = {entry.turn.message_id for entry in found}
        again = {
            entry.statement.statement_id
            for entry in stated
            if entry.statement.extraction == "pattern"
            and there.issuperset(source.message_id for source in entry.statement.sources)
        }
        once = [entry for entry in entries[len(found) :] if entry[1]["id"] not in again]
        # Turns stay in their order, in which the queries take turns.
        merged = merge(entries[: len(found)], once, key=lambda entry: -cast("float", entry[1]["rank_score"]))
        context["items"] = [
            {**item, "rank": at, "category": kind} for at, (kind, item) in enumerate(islice(merged, limit), start=1)
        ]
    return {"context": context, "ttl_seconds": NOT_CACHED}


def _episode(entry: Found) -> tuple[str, Json]:
    turn = entry.turn
    said_at = turn.said_at.isoformat()
    return "episodes", {
        "id": turn.message_id,
        "content": turn.content,
        "confidence": entry.relevance,
        "rank_score": entry.relevance,
        "source": "conversation" if turn.role != DOCUMENT_ROLE else "document",
        "extracted_at": turn.recorded_at.isoformat(),
        "occurred_at": said_at,
        "said_at": said_at,
        "participants": [turn.speaker or turn.role],
        "matched_queries": list(entry.queries),
        "metadata": {
            **turn.metadata,
            "conversation_id": turn.conversation_id,
            "message_id": turn.message_id,
            "position": turn.position,
            "role": turn.role,
            "rank_score": entry.relevance,
        },
    }


def _statement(entry: Stated) -> tuple[str, Json]:
    """Something the user said about themselves, marked with how it was found and with the turns it rests on."""
    statement = entry.statement
    score = round(statement.confidence * entry.relevance, 4)
    item: Json = {
        "id": statement.statement_id,
        "content": statement.content,
        "confidence": statement.confidence,
        "rank_score": score,
        "source": "conversation",
        "extracted_at": statement.recorded_at.isoformat(),
        "said_at": statement.said_at.isoformat(),
        "matched_queries": list(entry.queries),
        "metadata": {
            "extraction": statement.extraction,
            "about": statement.slot,
            "value": statement.value,
            "conversation_id": statement.conversation_id,
            "source_message_ids": [source.message_id for source in statement.sources],
            "rank_score": score,
        },
    }
    if statement.kind == "preferences":
        item |= {"category": statement.slot, "strength": statement.confidence}
    if statement.kind == "temporal_events":
        item |= {"temporal_category": "episode", "temporal_confidence": statement.confidence}
    if statement.when is not None:
        item |= {"event_date": statement.when.start.isoformat(), "event_end": statement.when.end.isoformat()}
    return statement.kind, item


def profile(found: Profile) -> Json:
    """What is known of a user as a person, in their own words."""
    attributes = {
        about: {
            "value": "; ".join(statement.value for statement in statements),
            "confidence": statements[0].confidence,
            "updated_at": statements[0].said_at.isoformat(),
            "source_conversation_id": statements[0].conversation_id,
            "extraction": statements[0].extraction,
        }
        for about, statements in found.attributes.items()
    }
    return {"profile": {"attributes": attributes, "overview": found.overview, "extras": {}, "_meta": {"local": True}}}


def in_short(turns: Sequence[Turn]) -> Json:
    """An earlier conversation as an excerpt, which says that it is one. ``turns`` are all of it, at least one."""
    first, last = turns[0], turns[-1]
    return {
        "conversation_id": first.conversation_id,
        "external_conversation_id": first.own_name or first.conversation_id,
        "conversation_type": first.metadata.get("conversation_type"),
        "started_at": first.said_at.isoformat(),
        "last_message_at": last.said_at.isoformat(),
        "message_count": len(turns),
        "summary_status": "available",
        "summary": {"overview": excerpt_of(turns, (), target_tokens=None), "method": "excerpt"},
    }


def conversation_context(conversation_id: str, turns: Sequence[Turn]) -> Json:
    """The running conversation beside what was found."""
    return {
        "summary": None,
        "current_state": {},
        "key_extractions": {},
        "recent_turns": [
            {"role": turn.role, "content": turn.content, "timestamp": turn.said_at.isoformat()} for turn in turns
        ],
        "compaction_id": None,
        "compacted_at": None,
        "conversation_id": conversation_id,
        "formatted_context": formatted(turns, "structured"),
    }


def context_for_prompt(
    turns: Sequence[Turn],
    *,
    total: int,
    style: Style,
    excerpt: tuple[Compaction, Excerpt] | None = None,
    now: datetime | None = None,
) -> Json:
    """One conversation, ready for a prompt: the excerpt that stands for its first turns, if any, and the others."""
    cut, text = excerpt or (None, None)
    blocks = [text.text if text else None, formatted(turns, style)]
    return {
        "formatted_context": "\n\n".join(filter(None, blocks)) or None,
        "available": bool(turns or cut),
        "is_stale": False,
        "compression_ratio": text.ratio if text else None,
        "validation_score": None,
        "compaction_age_seconds": int((now - cut.made_at).total_seconds()) if cut and now else None,
        "quality_warning": cut is not None,
        "recent_messages": [message(turn) for turn in turns],
        "recent_message_count": len(turns),
        "compacted_message_count": cut.position if cut else 0,
        "total_message_count": total,
        "context_block": text.text if text else None,
        "compaction_id": cut.compaction_id if cut else None,
    }


def formatted(turns: Sequence[Turn], style: Style) -> str | None:
    """The turns as text, None if there are none."""
    if not turns:
        return None
    match style:
        case "structured":
            lines = [f"{turn.speaker or turn.role} ({turn.said_at:%Y-%m-%d %H:%M}): {turn.content}" for turn in turns]
            return "\n".join(["## Recent conversation", *lines])
        case "narrative":
            return " ".join(f"The {turn.speaker or turn.role} said: “{turn.content}”" for turn in turns)
        case "bullet_points":
            return "\n".join(f"- {turn.speaker or turn.role}: {turn.content}" for turn in turns)
        case _:
            assert_never(style)


def refusal(code: str, detail: str, details: Json | None = None) -> Json:
    """An error: ``detail`` for the SDK, the rest for readers of the documentation.

    The SDK tells some conflicts apart by a code inside of ``detail``.
    """
    said = {"code": details["code"], "message": detail} if details and "code" in details else detail
    return {"detail": said, "error": detail, "code": code, "details": details or {}}
