"""What to push, for which event.

| event | pushed |
|---|---|
| session start | ``user_summary``: what the user said about themselves, the next open dates, and how their last |
| | conversation began and ended, all word for word |
| user turn | what was said before that answers it, other conversations first; an empty answer, if all of it is weak |
| context request | an answer to its queries, of the types it wants; always, even an empty one |
| tool call | what answers its ``search_queries``, else its short text arguments |
| tool result | nothing, unless asked for (``SYNAP_PUSH_TOOL_RESULTS``): then what answers a short result |
| compaction | ``compaction_update``, without items: the excerpt is read when it is sent |

An item is a turn with the one before and the one after it, so that it can be understood without the rest, or a
statement that can stand alone. Statements whose turn is shown are not shown again.

Assistant turns cause nothing: what they would bring covers a tenth of what the next turn needs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from synap_integrations.server.engine import KINDS, RECENT_TURNS, Engine
from synap_integrations.server.records import Bundle, Item, Kind, Owner, Place, Statement, Turn
from synap_integrations.server.retrieval.ranking import NEAR, WEAK, coverage, interleaved, telling, terms

Pattern = Literal["session_start", "user_message", "context_request", "tool_call", "tool_result", "compaction"]
MOST_ITEMS: Final = 5
_CENTRES: Final = 15
"""Best turns that are looked at to make `MOST_ITEMS` windows that do not overlap."""
_RANKED: Final = 60
"""Best places of each query among which they are looked for: of some, nothing is left but the place."""
_TURN_CHARS: Final = 1200
_NEIGHBOUR_CHARS: Final = 400
ANSWERED: Final[frozenset[Pattern]] = frozenset({"user_message", "context_request"})
"""Somebody may be waiting for what these bring; that it is nothing is worth saying."""
_MOST_STATED: Final = 2
"""Most items of a bundle that are statements, where turns compete with them."""
_TELLING: Final = 0.5
"""Least share of a query's words that a statement must hold to be pushed unasked."""
_KINDS: Final[dict[Pattern, str]] = {"session_start": "user_summary", "compaction": "compaction_update"}
_EVERYTHING: Final = frozenset({"all", "episodes", *KINDS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """An event that may cause a push; ``decision_id`` is its id, ``conversation_id`` where it happened."""

    pattern: Pattern
    owner: Owner
    decision_id: str
    conversation_id: str = ""
    queries: tuple[str, ...] = ()
    context_types: tuple[str, ...] = ()

    @property
    def types(self) -> frozenset[str]:
        """What is wanted, in the plural; everything, if nothing was named."""
        named = {f"{kind}s" if f"{kind}s" in _EVERYTHING else kind for kind in self.context_types}
        return _EVERYTHING if not named or "all" in named else frozenset(named)

    @property
    def urgent(self) -> bool:
        """True if somebody waits for the answer."""
        return self.pattern == "context_request"


def anticipate(engine: Engine, cause: Cause) -> Bundle | None:
    """The bundle for this event, None if there is nothing worth pushing."""
    started = time.perf_counter()
    items: Sequence[Item]
    match cause.pattern:
        case "session_start":
            items = _greeting(engine, cause)
        case "compaction":
            items = []
        case "context_request":
            items = _answer(engine, cause, cause.queries, faint=True)
        case _:
            items = _answer(engine, cause, [query for query in cause.queries if telling(query)], faint=False)
    if not items and cause.pattern not in ANSWERED | {"compaction"}:
        return None
    return Bundle(
        bundle_id=engine.new_id(),
        kind=_KINDS.get(cause.pattern, "anticipation"),
        pattern=cause.pattern,
        decision_id=cause.decision_id,
        owner=cause.owner,
        conversation_id=cause.conversation_id,
        queries=cause.queries,
        items=tuple(items),
        created_at=engine.now(),
        retrieval_ms=round((time.perf_counter() - started) * 1000),
    )


def _answer(engine: Engine, cause: Cause, queries: Sequence[str], *, faint: bool) -> list[Item]:
    """Turns in their windows, and statements whose turns are not among them; weak ones only if ``faint`` will do."""
    episodes = "episodes" in cause.types
    if not queries and (episodes or not faint):
        return []
    here, running = _running(engine, cause)
    shown = set(running)
    windows = _windows(engine, cause, queries, here, shown, faint=faint) if episodes else []
    kinds = [kind for kind in KINDS if kind in cause.types]
    stated = [
        _stated(found.statement.kind, [found.statement], found.relevance)
        for found in engine.statements(cause.owner, queries, kinds=kinds)
        if (faint or found.relevance >= _TELLING)
        and shown.isdisjoint(source.place for source in found.statement.sources)
    ]
    return [*stated[: _MOST_STATED if windows else MOST_ITEMS], *windows][:MOST_ITEMS]


def _windows(  # noqa: PLR0913 - what the choice depends on
    engine: Engine, cause: Cause, queries: Sequence[str], here: int | None, shown: set[Place], *, faint: bool
) -> list[Item]:
    """The best turns for the queries, each with its neighbours, without those of ``shown``, which gets their places."""
    running = frozenset(shown)
    rankings = [engine.ranked(cause.owner, query, without=running)[:_RANKED] for query in queries]
    ranking = interleaved(rankings)
    held = engine.best(cause.owner, ranking, limit=_CENTRES)
    best = sorted(((place, score) for place, score in ranking if place in held), key=lambda entry: entry[0][0] == here)
    chosen: list[tuple[Place, float, list[Place]]] = []
    for centre, score in best:
        if len(chosen) < MOST_ITEMS and centre not in shown:
            around = [place for place in _around(centre, running) if place not in shown]
            chosen.append((centre, score, around))
            shown.update(_around(centre, running))
    held |= engine.store.at(cause.owner, {place for _, _, around in chosen for place in around} - held.keys())
    items = [
        _item(held[centre], [held[place] for place in around if place in held], score)
        for centre, score, around in chosen
    ]
    if faint or any(_strong(engine, cause.owner, query, items, best) for query in queries):
        return items
    shown.intersection_update(running)
    return []


def _strong(
    engine: Engine, owner: Owner, query: str, items: Sequence[Item], best: Sequence[tuple[Place, float]]
) -> bool:
    """Whether one of them shares enough of the query's words, or of its meaning."""
    words, near = terms(query), engine.near(owner, query)
    return any(coverage(words, item.content) >= WEAK for item in items) or any(
        near.get(place, 0.0) >= NEAR for place, _ in best
    )


def _running(engine: Engine, cause: Cause) -> tuple[int | None, frozenset[Place]]:
    """The conversation that is going on, and its newest turns, which the prompt holds anyway."""
    end = engine.store.extent(cause.owner, cause.conversation_id)
    if end is None:
        return None, frozenset()
    first = max(end.position - RECENT_TURNS, 1)
    return end.conversation, frozenset(Place(end.conversation, at) for at in range(first, end.position + 1))


def _around(centre: Place, running: frozenset[Place]) -> list[Place]:
    places = (Place(centre.conversation, centre.position + distance) for distance in (-1, 0, 1))
    return [place for place in places if place not in running]


def _greeting(engine: Engine, cause: Cause) -> list[Item]:
    """Who it is, what is ahead, and where they left off."""
    about: dict[Kind, list[Statement]] = {}
    for found in engine.statements(cause.owner, kinds=("facts", "preferences")):
        about.setdefault(found.statement.kind, []).append(found.statement)
    known = [_stated(kind, statements, statements[0].confidence) for kind, statements in sorted(about.items())]
    last = _last_time(engine, cause)
    dates = engine.open_dates(cause.owner, limit=MOST_ITEMS - len(known) - len(last))
    return [*known, *(_stated(date.kind, [date], date.confidence) for date in dates), *last]


def _stated(kind: Kind, statements: Sequence[Statement], relevance: float) -> Item:
    """Statements of one kind as one item, under the id of the newest."""
    newest = statements[0]
    return Item(
        item_id=newest.statement_id,
        content="\n".join(f"user: {statement.content}" for statement in statements),
        relevance=relevance,
        said_at=newest.said_at,
        recorded_at=newest.recorded_at,
        kind=kind,
        when=newest.when,
    )


def _last_time(engine: Engine, cause: Cause) -> list[Item]:
    """How the last other conversation began and how it ended: an excerpt, not a summary."""
    last = engine.store.latest_conversation(cause.owner, besides=cause.conversation_id)
    if last is None:
        return []
    opening = engine.store.turns(cause.owner, last, limit=2)
    ending = engine.store.turns(cause.owner, last, start=3, limit=3, newest=True)
    return [_item(turns[0], turns, 0.5) for turns in (opening, ending) if turns]


def _item(centre: Turn, turns: Sequence[Turn], relevance: float) -> Item:
    return Item(
        item_id=centre.message_id,
        content="\n".join(_line(turn, _TURN_CHARS if turn is centre else _NEIGHBOUR_CHARS) for turn in turns),
        relevance=relevance,
        said_at=centre.said_at,
        recorded_at=centre.recorded_at,
    )


def _line(turn: Turn, limit: int) -> str:
    """Who said what."""
    said = turn.content if len(turn.content) <= limit else f"{turn.content[:limit]}…"
    return f"{turn.speaker or turn.role}: {said}"
