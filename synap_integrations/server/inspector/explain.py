"""Why a turn ranks where it ranks, in the numbers of the ranking itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synap_integrations.server.engine import Engine
from synap_integrations.server.records import Hit, Owner, Place, Turn, microseconds
from synap_integrations.server.retrieval import coverage, spread, terms


@dataclass(frozen=True, slots=True)
class Reason:
    """A turn's score, taken apart: ``words`` (BM25) and ``recency`` are its own, ``neighbours`` came from others."""

    turn: Turn
    score: float
    words: float
    recency: float
    neighbours: float
    coverage: float

    def share(self, part: float) -> float:
        """A part of the score in percent."""
        return 100 * part / self.score if self.score else 0.0


def reasons(engine: Engine, owner: Owner, query: str, *, limit: int) -> list[Reason]:
    """The owner's turns that answer the query, best first, each with why.

    The ranking adds up what each hit gives, so that it can be asked for one hit at a time.
    """
    asked, now_us = terms(query), microseconds(engine.now())
    hits = engine.store.search(owner, asked)
    best = spread(hits, now_us=now_us)[: 2 * limit]
    own = {hit.place: (hit, _given(hit, hit.place, now_us)) for hit in hits}
    held = engine.store.at(owner, [place for place, _ in best])
    return [_reason(held[place], score, own.get(place), asked) for place, score in best if place in held][:limit]


def _given(hit: Hit, place: Place, now_us: int) -> float:
    """What this hit alone gives to a place."""
    return dict(spread([hit], now_us=now_us)).get(place, 0.0)


def _reason(turn: Turn, score: float, own: tuple[Hit, float] | None, asked: Sequence[str]) -> Reason:
    words, fresh = (own[0].score, own[1]) if own else (0.0, 0.0)
    return Reason(turn, score, words, fresh - words, score - fresh, coverage(asked, turn.content))
