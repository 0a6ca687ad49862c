"""What a Synap does: keep turns and events, find what answers a question. No I/O of its own, no hidden clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final, get_args

from synap_integrations.model import new_id
from synap_integrations.ports import Lent

from .database import Database
from .records import (
    Bundle,
    Found,
    Happening,
    HitRate,
    Kind,
    NewTurn,
    Owner,
    Place,
    PushedBundle,
    Recorded,
    Stated,
    Statement,
    Turn,
    microseconds,
)
from .retrieval.ranking import WEAK, coverage, interleaved, spread, terms, with_meaning, with_notes
from .statements.profile import Profile, profile_of
from .statements.store import StatementStore
from .store.forgetting import Forgetting, Forgotten, Target
from .store.ledger import Ledger
from .store.turns import Store

if TYPE_CHECKING:
    from .extraction.reader import Reader
    from .retrieval.meaning import Meaning

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
MOST_FOUND: Final = 200
RECENT_TURNS: Final = 10
"""Turns of the running conversation that the prompt holds anyway; they are not pushed back into it."""


def _now() -> datetime:
    return datetime.now(UTC)


class Engine:
    """One local Synap. Thread-safe.

    The same calls with the same ``now`` and ``new_id`` give the same answers, ids included. Raises sqlite3.Error where
    the database cannot be used.
    """

    def __init__(
        self, database: Database, *, now: Callable[[], datetime] = _now, new_id: Callable[[], str] = new_id
    ) -> None:
        self.database = database
        self.now = now
        self.new_id = new_id
        self.store = Store(database)
        self.ledger = Ledger(database)
        self.forgetting = Forgetting(database)
        self.known = StatementStore(database)
        self.meaning: Meaning | None = None
        """Finds by meaning, once an encoder was lent."""
        self.reader: Reader | None = None
        """Notes what users say about themselves, once a chat model was lent."""

    def lend(self, lent: Lent) -> None:
        """Use these models from now on, where none was lent before. Raises: InvalidInputError, if they are none."""
        if lent.embeddings is not None and self.meaning is None:
            from .retrieval.encoders import encoder_of  # noqa: PLC0415 - only for those who have one
            from .retrieval.meaning import Meaning  # noqa: PLC0415 - only for those who have one

            self.meaning = Meaning(self.database, encoder_of(lent.embeddings))
            self.meaning.wake()
        if lent.extractor is not None and self.reader is None:
            from .extraction.passages import extractor_of  # noqa: PLC0415 - only for those who have one
            from .extraction.reader import Reader  # noqa: PLC0415 - only for those who have one

            extractor, budget = extractor_of(lent.extractor), lent.extraction_tokens
            self.reader = Reader(self.database, extractor, budget_tokens=budget, now=self.now, new_id=self.new_id)
            self.reader.wake()

    def close(self) -> None:
        """Let go of models and file. Idempotent."""
        for model in (self.meaning, self.reader):
            if model is not None:
                model.close()
        self.database.close()

    # --- keep ------------------------------------------------------------------------------------------------

    def record(self, turn: NewTurn) -> Recorded:
        """Store a turn. When this returns it is committed."""
        return self.record_all([turn])[0]

    def record_all(self, turns: Sequence[NewTurn]) -> list[Recorded]:
        """Store turns in their order, all or none. When this returns they are committed."""
        recorded = self.store.add([(turn, self.new_id(), self.new_id()) for turn in turns], now=self.now())
        for model in (self.meaning, self.reader):
            if model is not None:
                model.wake()
        return recorded

    def keep(self, happening: Happening) -> bool:
        """Keep something that is no turn. False if it was there before."""
        return self.ledger.add_event(happening, happening.event_id or self.new_id(), now=self.now())

    def start_session(self, owner: Owner, session_id: str, conversation_id: str) -> bool:
        """A session begins. False if it had begun already."""
        return self.ledger.start_session(owner, session_id, conversation_id, now=self.now())

    def end_session(self, session_id: str, conversation_id: str) -> None:
        """A session ends."""
        self.ledger.end_session(session_id, conversation_id, now=self.now())
        if self.reader is not None:
            self.reader.wake(ended=conversation_id)

    def pushing(self, bundle: Bundle) -> None:
        """Keep what is about to be pushed, and why."""
        self.ledger.add_bundle(bundle)

    def used(self, bundle_ids: Iterable[str], item_ids: Sequence[str]) -> None:
        """A model was shown these items of these bundles."""
        self.ledger.mark_used(bundle_ids, item_ids, now=self.now())

    def forget(self, owner: Owner, conversation_id: str | None = None) -> Forgotten:
        """Forget everything of this owner, or of one of their conversations; gone from the disk when this returns."""
        return self.forgetting.forget(Target(**owner._asdict(), conversation_id=conversation_id))

    # --- find ------------------------------------------------------------------------------------------------

    def search(
        self,
        owner: Owner,
        queries: Sequence[str],
        *,
        limit: int,
        conversation_id: str | None = None,
        per_query: int | None = None,
    ) -> list[Found]:
        """The owner's turns that answer these queries, best first, at most ``limit``; from one conversation, if named.

        Each query is ranked for itself, then they take turns.
        """
        limit = min(limit, MOST_FOUND)
        held: dict[Place, Turn] = {}
        kept: list[list[tuple[Place, float]]] = []
        for query in queries:
            ranking = self.ranked(owner, query, conversation_id=conversation_id)
            held |= (best := self.best(owner, ranking, limit=per_query or limit))
            kept.append([entry for entry in ranking if entry[0] in best])
        answered: dict[Place, list[str]] = {place: [] for place in held}
        for query, ranking in zip(queries, kept, strict=True):
            for place, _ in ranking:
                answered[place].append(query)
        return [Found(held[place], score, tuple(answered[place])) for place, score in interleaved(kept)[:limit]]

    def best(self, owner: Owner, ranking: Sequence[tuple[Place, float]], *, limit: int) -> dict[Place, Turn]:
        """The first ``limit`` turns of a ranking: what was forgotten leaves places without one."""
        found: dict[Place, Turn] = {}
        for first in range(0, len(ranking), limit or 1):
            places = [place for place, _ in ranking[first : first + limit]]
            held = self.store.at(owner, places)
            found |= {place: held[place] for place in places if place in held}
            if len(found) >= limit:
                break
        return dict(islice(found.items(), limit))

    def ranked(
        self,
        owner: Owner,
        query: str,
        *,
        conversation_id: str | None = None,
        without: frozenset[Place] = frozenset(),
    ) -> list[tuple[Place, float]]:
        """Places by score, best first. What was forgotten leaves places that do not exist any more."""
        hits = self.store.search(owner, terms(query), conversation_id=conversation_id)
        ranking = spread(hits, now_us=microseconds(self.now()), without=without)
        noted = [
            (statement, score)
            for statement, score in self.known.search(owner, terms(query), extraction="model")
            if conversation_id in (None, statement.conversation_id)
        ]
        if noted:
            ranking = with_notes(ranking, noted, without=without)
        near = self.near(owner, query, conversation_id=conversation_id)
        return with_meaning(ranking, {place: near[place] for place in near.keys() - without}) if near else ranking

    def near(self, owner: Owner, query: str, *, conversation_id: str | None = None) -> dict[Place, float]:
        """How near the owner's turns are to the query in meaning, -1..1; empty without an encoder."""
        if self.meaning is None:
            return {}
        near = dict(self.meaning.near(owner, query))
        if conversation_id is None:
            return near
        end = self.store.extent(owner, conversation_id)
        return {place: cosine for place, cosine in near.items() if end and place.conversation == end.conversation}

    def newest(self, owner: Owner, *, limit: int, conversation_id: str | None = None) -> list[Found]:
        """The owner's newest turns, newest first; from one conversation, if named."""
        limit = min(limit, MOST_FOUND)
        if conversation_id is None:
            turns = self.store.newest(owner, limit=limit)
        else:
            turns = self.store.turns(owner, conversation_id, limit=limit, newest=True)[::-1]
        return [Found(turn, 0.5) for turn in turns]

    # --- know ------------------------------------------------------------------------------------------------

    def statements(
        self,
        owner: Owner,
        queries: Sequence[str] = (),
        *,
        kinds: Collection[Kind] = KINDS,
        limit: int = MOST_FOUND,
        conversation_id: str | None = None,
    ) -> list[Stated]:
        """What the owner said about themselves that answers these queries, best first; without any, the newest first.

        ``conversation_id`` limits it to what was said there.
        """
        limit = min(limit, MOST_FOUND)
        if not queries:
            known = self.known.known(owner, kinds=kinds, conversation_id=conversation_id, limit=limit)
            return [Stated(statement, statement.confidence) for statement in known]
        found: dict[str, Stated] = {}
        for query in queries:
            words = terms(query)
            for statement, _ in self.known.search(owner, words):
                share = coverage(words, statement.content)
                here = conversation_id in (None, statement.conversation_id)
                if statement.kind in kinds and here and share >= WEAK:
                    held = found.get(statement.statement_id, Stated(statement, 0.0))
                    found[statement.statement_id] = Stated(
                        statement, max(share, held.relevance), (*held.queries, query)
                    )
        return sorted(found.values(), key=lambda stated: -stated.relevance)[:limit]

    def profile(self, owner: Owner) -> Profile | None:
        """What is known of the owner as a person, None if nothing is."""
        return profile_of(self.known.known(owner, kinds=("facts", "preferences")))

    def open_dates(self, owner: Owner, *, limit: int = 5) -> list[Statement]:
        """The owner's events that are not over, the nearest first."""
        now = self.now()
        dates: tuple[Kind, ...] = ("temporal_events",)
        ahead = [
            (event.when, event.statement_id, event)
            for event in self.known.known(owner, kinds=dates)
            if event.when is not None and event.when.end > now
        ]
        return [event for _, _, event in sorted(ahead)[:limit]]

    # --- look ------------------------------------------------------------------------------------------------

    def owner_of(self, conversation_id: str) -> Owner | None:
        """Whose conversation this is, for calls that do not say; None if nobody's, or if several people have it."""
        owners = {owner for owner, known in self.store.called(conversation_id) if known == conversation_id}
        return owners.pop() if len(owners) == 1 else None

    def transcript(self, conversation: str, owner: Owner | None = None) -> list[Turn]:
        """All turns of a conversation in order, for the person at the machine.

        ``conversation`` is the id that travels or the application's own name for it; without ``owner``, everybody's.
        """
        return [
            turn
            for whose, conversation_id in self.store.called(conversation)
            if owner in (None, whose)
            for turn in self.store.turns(whose, conversation_id, limit=-1)
        ]

    def bundles(
        self, owner: Owner | None = None, *, decision_id: str | None = None, limit: int = 100
    ) -> list[PushedBundle]:
        """What was pushed, newest first, with why and whether it was used; without ``owner``, everybody's."""
        return self.ledger.bundles(owner, decision_id=decision_id, limit=limit)

    def hit_rates(self, owner: Owner | None = None) -> list[HitRate]:
        """How often a model was shown what each pattern pushed, by pattern; without ``owner``, for everybody."""
        return self.ledger.hit_rates(owner)

    def models(self) -> dict[str, dict[str, int]]:
        """What the models that were lent have done so far in this process, and what that cost."""
        lent = {"embeddings": self.meaning, "extractor": self.reader}
        return {name: model.stats() for name, model in lent.items() if model is not None}

    def stats(self) -> dict[str, int]:
        """How many of everything there is: users, conversations, turns, events, sessions, bundles, bundles_used."""
        return self.ledger.counts()
