"""Is a question answered by what the platform has pushed already? Pure: no clock, no lock, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from synap_integrations.context.selection import Chosen, Pushed, choose, covers, words
from synap_integrations.model import ContextItem

_NO_BUDGET: Final = 1 << 30


def covered(held: Sequence[Pushed], query: str, *, types: Collection[str], limit: int, now: datetime) -> Chosen | None:
    """The items of what is held that answer the question, best first; None if the platform has to be asked.

    That is so if a bundle was pushed for this very question, or if an item shares nearly all of its words. Only items
    of the ``types`` count, all of them if none is named.
    """
    held = tuple(_of(pushed, types) for pushed in held) if types else held
    answering = {pushed.bundle.bundle_id for pushed in held if _pushed_for(pushed, query)}
    if not answering and not covers(held, query):
        return None
    chosen = choose(
        held, query, budget_tokens=_NO_BUDGET, now=now, token_counter=len, answering=answering, max_items=limit
    )
    if not chosen.items:
        return None
    return replace(chosen, items=best_first(chosen.items, query))


def best_first(items: Iterable[ContextItem], query: str) -> tuple[ContextItem, ...]:
    """By the share of the question's words that an item holds, then by the platform's score."""
    asked = words(query)

    def rank(item: ContextItem) -> tuple[int, float]:
        return len(asked & words(item.text)), item.score

    return tuple(sorted(items, key=rank, reverse=True))


def _of(pushed: Pushed, types: Collection[str]) -> Pushed:
    return replace(pushed, candidates=tuple(one for one in pushed.candidates if one.item.kind in types))


def _pushed_for(pushed: Pushed, query: str) -> bool:
    asked = " ".join(query.casefold().split())
    return bool(pushed.candidates) and any(
        asked == " ".join(one.casefold().split()) for one in pushed.bundle.search_queries
    )
