"""Why a turn ranks where it ranks, in the numbers of the ranking itself."""

from __future__ import annotations

from dataclasses import dataclass

from synap_integrations.server.engine import Engine
from synap_integrations.server.records import Hit, Owner, Turn, microseconds
from synap_integrations.server.retrieval.ranking import spread, terms


@dataclass(frozen=True, slots=True)
class Reason:
    """A turn's score, taken apart: ``words`` (BM25) and ``recency`` are its own, ``neighbours`` came from others.

    ``models`` is what models of the application's added, if it lent any.
    """

    turn: Turn
    score: float
    words: float
    recency: float
    neighbours: float
    models: float


def reasons(engine: Engine, owner: Owner, query: str, *, limit: int) -> list[Reason]:
    """The owner's turns that answer the query, best first, each with why.

    The ranking by words adds up what each hit gives, so that it can be asked for one hit at a time; what is left of a
    score is what models added. With an encoder, scores by words are shares of the best one.
    """
    now_us = microseconds(engine.now())
    hits = engine.store.search(owner, terms(query))
    by_words = dict(spread(hits, now_us=now_us))
    unit = 1.0 if engine.meaning is None else max(by_words.values(), default=1.0)
    own = {hit.place: (hit.score, _given(hit, now_us)) for hit in hits}
    ranking = engine.ranked(owner, query)
    held = engine.best(owner, ranking, limit=limit)
    found: list[Reason] = []
    for place, score in ranking:
        if place in held:
            (words, fresh), whole = own.get(place, (0.0, 0.0)), by_words.get(place, 0.0)
            parts = (words / unit, (fresh - words) / unit, (whole - fresh) / unit)
            found.append(Reason(held[place], score, *parts, score - whole / unit))
    return found


def _given(hit: Hit, now_us: int) -> float:
    """What a hit gives to its own place."""
    return dict(spread([hit], now_us=now_us))[hit.place]
