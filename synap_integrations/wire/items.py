"""One remembered item, pushed or fetched: the names of its fields, and what counts as its text, its rank and its time.

A pushed item is alike for every kind. A fetched one has the fields of its kind: an episode a summary, an emotion a
context and an intensity. No name means two things, so one list serves both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, Final

from synap_integrations.model import ContextItem
from synap_integrations.plain import text

from .report import CONTEXT_TYPES

MAX_ITEM_CHARS: Final = 20_000
"""Most characters of one item that are read."""

_IDS: Final = ("item_id", "id")
"""The stream's name of it, and that of REST."""
_TEXTS: Final = ("content", "summary", "context")
_SCORES: Final = (
    "rank_score",
    "relevance_score",
    "similarity_score",
    "confidence",
    "strength",
    "significance",
    "intensity",
)
_TIMES: Final = ("said_at", "event_date", "occurred_at", "detected_at", "extracted_at", "created_at")
"""Best first: when it was said, when it happened, when it was noticed, when it was stored."""


def item_of(raw: Mapping[str, Any], kind: str) -> ContextItem | None:
    """A pushed item; None without an id or without text.

    It says whose it is, since a bundle may hold items of several levels: each is held against who asks.
    """
    item_id, content = _first(raw, _IDS), _first(raw, _TEXTS)
    if item_id is None or content is None:
        return None
    return ContextItem(
        item_id,
        kind,
        text=text(content, limit=MAX_ITEM_CHARS),
        score=_score(raw),
        said_at=next((found for name in _TIMES if (found := moment(raw.get(name))) is not None), None),
        valid_until=moment(raw.get("valid_until")),
        source=word(raw.get("source")),
        level=word(raw.get("scope")),
        entity_id=word(raw.get("entity_id")),
    )


def fetched_item(raw: Mapping[str, Any]) -> ContextItem | None:
    """An item that was asked for; None without an id or without text.

    It was asked for on a level, and is therefore not held against it again. Its metadata are kept, for whoever asked
    and for stores that keep their keys there; a rank may stand among them, too.
    """
    kind, metadata = raw.get("category"), dict(mapping(raw.get("metadata")))
    found = item_of(raw, kind if isinstance(kind, str) and kind in CONTEXT_TYPES else CONTEXT_TYPES[0])
    if found is None:
        return None
    return replace(found, score=_score({**metadata, **raw}), level=None, entity_id=None, metadata=metadata)


def candidate(raw: Mapping[str, Any]) -> ContextItem | None:
    """A memory that would be forgotten, as a preview shows it; None without an id or without text."""
    memory_id, content = word(raw.get("memory_id")), raw.get("content")
    if memory_id is None or not isinstance(content, str):
        return None
    return ContextItem(memory_id, str(raw.get("memory_type") or "memory"), text=text(content, limit=MAX_ITEM_CHARS))


def _first(raw: Mapping[str, Any], names: Iterable[str]) -> str | None:
    return next((found for name in names if (found := word(raw.get(name))) is not None), None)


def _score(raw: Mapping[str, Any]) -> float:
    """The best that the platform says about the item's rank, within 0..1."""
    return next((min(score, 1.0) for name in _SCORES if (score := number(raw.get(name))) > 0), 0.0)


def moment(raw: object) -> datetime | None:
    """An ISO date or time as an aware time; without a zone it is taken as UTC. None, if it cannot be read.

    The platform's own SDK hands out times where we leave them as they were said.
    """
    said = raw.isoformat() if isinstance(raw, date) else raw
    if not isinstance(said, str) or not said:
        return None
    try:
        found = datetime.fromisoformat(said.strip())
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        found.astimezone(UTC)  # at either end of the calendar a time may have no other zone
    except (ValueError, OverflowError):
        return None
    return found


def word(raw: object) -> str | None:
    """The text; None for anything else and for none."""
    return raw if isinstance(raw, str) and raw else None


def number(raw: object) -> float:
    """The number; 0 for anything else, and for those that cannot be compared."""
    return float(raw) if isinstance(raw, int | float) and math.isfinite(raw) else 0.0


def mapping(raw: object) -> Mapping[str, Any]:
    """The mapping; an empty one for anything else."""
    return raw if isinstance(raw, Mapping) else {}


def sequence(raw: object) -> Iterable[object]:
    """The list; an empty one for anything else."""
    return raw if isinstance(raw, list | tuple) else ()
