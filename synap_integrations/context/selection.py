"""Which of the things we hold help with this question? Pure: no clock, no lock, no I/O.

The bundle that the platform pushed for this very turn is used whole and first: the platform ranked it with everything
it knows. The items of other bundles have to earn their place by the words they share with the question. What is left
after duplicates and budget is handed over in time order, because said-on dates in order settle contradictions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from synap_integrations.context.render import item_lines
from synap_integrations.model import ContextBundle, ContextItem, Dropped

TokenCounter = Callable[[str], int]

MAX_ITEMS: Final = 40
WEAK: Final = 0.3
"""An item that shares less than this part of the question's words is not shown."""
COVERED: Final = 0.75
"""An item that shares at least this part of the question's words answers it without asking the platform."""
SAME: Final = 0.6
"""A question that holds at least this part of a turn's words is that turn, seen through a template."""

_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_WORD: Final = re.compile(r"\w+")
_STOP: Final = frozenset(
    _WORD.findall(
        """a about an and any are as at be been but by can could did do does for from had has have he her him his how i
        if in is it its just like me my no not of on or our she so some that the their them then there they this to up
        us was we were what when where which who why will with would you your"""
    )
)


def estimate_tokens(text: str) -> int:
    """About how many tokens a model makes of the text: one for four bytes of UTF-8, rounded up.

    Within a quarter of the true count for European languages; pass the model's own counter where it matters.
    """
    return (len(text.encode("utf-8", "replace")) + 3) // 4


def words(text: str) -> frozenset[str]:
    """The words of a text that say something: case-folded, without the commonest English ones."""
    return frozenset(_WORD.findall(text.casefold())) - _STOP


def same_question(query: str, turn: str) -> bool:
    """True if the question is this turn, as it was said or as a template put it."""
    query, turn = _normal(query), _normal(turn)
    if not turn or turn in query:
        return bool(turn)
    said = words(turn)
    return len(said) > 1 and len(said & words(query)) >= SAME * len(said)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item with what choosing needs to know of it, worked out once, on arrival."""

    item: ContextItem
    words: frozenset[str]
    key: str
    lines: str


@dataclass(frozen=True, slots=True)
class Pushed:
    """A bundle as it lies in the store. ``arrived_s`` is a time of the store's clock, in seconds."""

    bundle: ContextBundle
    arrived_s: float
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was chosen, in time order, what was not and why, and what it costs.

    ``bundle_ids`` are the bundles that the items come from, best first.
    """

    items: tuple[ContextItem, ...] = ()
    dropped: tuple[Dropped, ...] = field(default=(), kw_only=True)
    tokens: int = field(default=0, kw_only=True)
    bundle_ids: tuple[str, ...] = field(default=(), kw_only=True)


def index(bundle: ContextBundle, *, arrived_s: float = 0.0) -> Pushed:
    """Prepare a bundle for choosing."""
    shown = ((item, lines) for item in bundle.items if (lines := item_lines(item)))
    candidates = (Candidate(item, words(item.text), _normal(item.text), lines) for item, lines in shown)
    return Pushed(bundle, arrived_s, tuple(candidates))


def covers(pushed: Iterable[Pushed], query: str) -> bool:
    """True if one of the items shares so many words with the question that asking would add little.

    An item that holds the question itself shares all of its words and need not answer it.
    """
    asked, itself = words(query), _normal(query)
    if len(asked) < 2:
        return False
    return any(
        len(asked & one.words) >= COVERED * len(asked) and itself not in one.key
        for held in pushed
        for one in held.candidates
    )


def choose(  # noqa: PLR0913 - what the choice depends on, each by name
    pushed: Sequence[Pushed],
    query: str | None,
    *,
    budget_tokens: int,
    now: datetime,
    token_counter: TokenCounter = estimate_tokens,
    answering: Collection[str] = (),
    max_items: int = MAX_ITEMS,
) -> Chosen:
    """The items worth showing, at most ``max_items`` of them and at most ``budget_tokens`` as they will be shown.

    ``answering`` are the ids of the bundles that were pushed for this very question. Without a question, everything
    held is relevant, the newest bundle first. An item is shown whole or not at all.
    """
    dropped: list[Dropped] = []
    kept: list[ContextItem] = []
    sources: dict[str, None] = {}
    seen = {_normal(query)} if query else set[str]()  # the question itself tells the model nothing
    tokens = 0
    for bundle_id, candidate, reason in _ranked(pushed, query, answering, now):
        item = candidate.item
        if reason is None and not seen.isdisjoint((candidate.key, item.item_id)):
            reason = "duplicate"  # noqa: PLW2901 - the first reason found is the one reported
        if reason is None and len(kept) >= max_items:
            reason = "budget"  # noqa: PLW2901 - see above
        if reason is None:
            cost = token_counter(candidate.lines)
            if tokens + cost > budget_tokens:
                reason = "budget"  # noqa: PLW2901 - see above
        if reason is not None:
            dropped.append(Dropped(item.item_id, reason))
            continue
        seen.update((candidate.key, item.item_id))
        kept.append(item)
        sources[bundle_id] = None
        tokens += cost
    kept.sort(key=_said)
    return Chosen(tuple(kept), dropped=tuple(dropped), tokens=tokens, bundle_ids=tuple(sources))


def _ranked(
    pushed: Sequence[Pushed], query: str | None, answering: Collection[str], now: datetime
) -> Iterable[tuple[str, Candidate, str | None]]:
    """Every candidate, best first, with the reason why it is out of the question, if there is one."""
    asked = words(query) if query else frozenset()
    others: list[tuple[float, float, str, Candidate, str | None]] = []
    for held in sorted(pushed, key=_arrived, reverse=True):
        answers = held.bundle.bundle_id in answering
        profile = held.bundle.kind == "user_summary"
        for candidate in held.candidates:
            item = candidate.item
            reason = "expired" if item.valid_until is not None and item.valid_until <= now else None
            if answers:
                yield held.bundle.bundle_id, candidate, reason
                continue
            share = len(asked & candidate.words) / len(asked) if asked else float(not query)
            if reason is None and share < WEAK and not profile:
                reason = "weak"
            others.append((share, item.score, held.bundle.bundle_id, candidate, reason))
    others.sort(key=lambda row: row[:2], reverse=True)
    yield from ((bundle_id, candidate, reason) for _, _, bundle_id, candidate, reason in others)


def _arrived(held: Pushed) -> float:
    return held.arrived_s


def _said(item: ContextItem) -> datetime:
    return item.said_at or _EARLIEST


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())
