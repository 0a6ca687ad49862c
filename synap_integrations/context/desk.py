"""The desk where context is asked for: looks in the store, asks or waits where that helps, chooses, writes a receipt.

The policy of a recall, in this order:

1. A live bundle answers this turn, or one that is held covers the question: choose from what is held.
2. The turn was recorded and its bundle is on its way: wait for it.
3. Nobody has asked this in this conversation: ask once and wait for the answer.
4. Choose from what is held and relevant, which may be nothing.

No wait is longer than ``timeout_s``. A platform that let three waits in a row pass in vain is not waited for again
until it has answered something in time, or until a pause that doubles from 5 s to 5 minutes is over (`Patience`): an
application whose platform is silent or late is slowed down three times, not on every turn.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from synap_integrations import after_fork
from synap_integrations.context.patience import Patience
from synap_integrations.context.pending import Asked, Pending
from synap_integrations.context.policy import ContextPolicy
from synap_integrations.context.selection import (
    Pushed,
    TokenCounter,
    choose,
    covers,
    estimate_tokens,
)
from synap_integrations.context.store import ContextStore, Expectation, Owner
from synap_integrations.model import (
    Context,
    ContextBundle,
    ContextRequest,
    Envelope,
    Receipt,
    RecentTurn,
    Scope,
    UserMessage,
)

Ask = Callable[[ContextRequest], str | None]
"""Put a request on the stream; returns the event id that the answer will name, None if nobody is listening."""

_MAX_QUERY_CHARS: Final = 2_000
_PATIENCE_S: Final = 1.0
"""What was asked longer ago than this is not waited for any more."""
_EVERYTHING: Final = ContextPolicy()


@dataclass(frozen=True, slots=True)
class _Plan:
    """A recall before its wait: what is asked, what to wait for and how long. Does no I/O."""

    query: str | None
    scope: Scope
    started_s: float
    turn: Asked | None = None
    request: Asked | None = None
    why: str = ""
    wait_for: Expectation | None = None
    wait_s: float = 0.0


class ContextDesk:
    """Answers recalls from a `ContextStore`, by the policy above. Thread-safe, usable from any event loop.

    ``token_counter`` counts the tokens of a text; the default estimates. ``on_wait`` is called when a recall
    is about to wait. ``clock`` is monotonic, ``now`` gives aware UTC; both are injected by tests.
    """

    def __init__(  # noqa: PLR0913 - each has a default and a name
        self,
        *,
        budget_tokens: int = 800,
        token_counter: TokenCounter = estimate_tokens,
        policy: ContextPolicy = _EVERYTHING,
        store: ContextStore | None = None,
        on_wait: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.store = ContextStore(clock=clock) if store is None else store
        self._budget_tokens = budget_tokens
        self._token_counter = token_counter
        self._policy = policy
        self._on_wait = on_wait
        self._clock = clock
        self._now = now
        self._answers_turns = False
        """Learned from its answers: what a turn brings is then worth a wait, even where something is held already."""
        self._lock = threading.Lock()
        self._pending = Pending()
        self._patience = Patience()
        after_fork.watch(self)

    def after_fork_in_child(self) -> None:
        """A new lock: nobody holds it here."""
        self._lock = threading.Lock()

    # --- what the desk hears -----------------------------------------------------------------------------------

    def turn_recorded(self, envelope: Envelope, *, answerable: bool = True) -> None:
        """A user's turn is on its way to the platform. If it is ``answerable``, a stream is open on which the platform
        will answer it, with a bundle that names its event id.
        """
        if isinstance(envelope.event, UserMessage):
            turn = Asked(envelope.event_id, envelope.event.content[:_MAX_QUERY_CHARS], self._clock(), answerable)
            if self._pending.add_turn(envelope.scope, turn) and answerable:
                with self._lock:
                    self._patience.asked(turn.event_id, turn.at_s)

    def apply(self, bundle: ContextBundle) -> bool:
        """The platform pushed a bundle: file it and wake who waits for it. False if the store refused it."""
        if bundle.answers:
            with self._lock:
                self._patience.answered(bundle.answers, self._clock())
        return self.store.apply(bundle)

    def forget(self, scope: Scope) -> int:
        """Drop what is held for the ids that the scope names; how many bundles."""
        self._pending.forget(scope)
        return self.store.forget(scope)

    def clear(self) -> None:
        """Drop everything."""
        self._pending.clear()
        self.store.clear()

    # --- recall ------------------------------------------------------------------------------------------------

    def recall(
        self,
        query: str | None,
        *,
        scope: Scope,
        ask: Ask,
        timeout_s: float,
        reachable: Callable[[], bool] | None = None,
    ) -> Context:
        """What is known that helps with the query, after at most ``timeout_s`` seconds; 0 never waits.

        Without a query, the last turn recorded for this scope is the query. ``ask`` is called at most once for a
        question of a conversation. ``reachable`` says whether the platform is connected; False means: do not wait.
        """
        plan = self._plan(query, scope, ask, timeout_s, reachable)
        answer = plan.wait_for.wait(plan.wait_s) if plan.wait_for else None
        return self._conclude(plan, answer)

    async def arecall(
        self,
        query: str | None,
        *,
        scope: Scope,
        ask: Ask,
        timeout_s: float,
        reachable: Callable[[], bool] | None = None,
    ) -> Context:
        """`recall` that waits without blocking the event loop."""
        plan = self._plan(query, scope, ask, timeout_s, reachable)
        answer = await plan.wait_for.await_(plan.wait_s) if plan.wait_for else None
        return self._conclude(plan, answer)

    def _plan(
        self, query: str | None, scope: Scope, ask: Ask, timeout_s: float, reachable: Callable[[], bool] | None
    ) -> _Plan:
        started = self._clock()
        query = query[:_MAX_QUERY_CHARS] if query and query.strip() else None
        turn = self._pending.turn_of(scope, query, started)
        query = query or (turn.text if turn else None)
        turn = turn if turn and turn.answerable else None
        request = self._pending.request_for(scope, query, started)
        plan = _Plan(query, scope, started, turn=turn, request=request)
        held = self._held(scope)
        answered = {pushed.bundle.answers for pushed in held}
        if any(one is not None and one.event_id in answered for one in (turn, request)):
            return replace(plan, why="the platform answered this")
        expects_an_answer = turn is not None and self._answers_turns
        if query and not expects_an_answer and covers(held, query):
            return replace(plan, why="what is held covers the question")
        if turn is None and request is None:
            request = self._ask(query, scope, ask, started)
            if request is None:
                return replace(plan, why="nobody to ask" if query else "nothing to ask for")
            plan = replace(plan, request=request)
        pending = turn or request
        assert pending is not None
        had_its_chance = started - pending.at_s >= _PATIENCE_S
        with self._lock:
            worth_it = self._patience.allows(timeout_s, started)
        silent = not worth_it or (reachable is not None and not reachable())
        if timeout_s <= 0 or had_its_chance or silent:
            return replace(plan, why="no answer yet")
        expectation = self.store.expect(scope, answers=pending.event_id)
        self._on_wait()
        return replace(plan, why="no answer in time", wait_for=expectation, wait_s=timeout_s)

    def _held(self, scope: Scope) -> tuple[Pushed, ...]:
        return self._policy.admitted(self.store.lookup(scope))

    def _ask(self, query: str | None, scope: Scope, ask: Ask, now_s: float) -> Asked | None:
        if query is None or Owner.of(scope).is_nobody or (event_id := ask(ContextRequest((query,)))) is None:
            return None
        asked = Asked(event_id, query, now_s)
        self._pending.add_request(scope, asked)
        with self._lock:
            self._patience.asked(event_id, now_s)
        return asked

    def _conclude(self, plan: _Plan, answer: ContextBundle | None) -> Context:
        ended = self._clock()
        if plan.wait_for and answer is None:
            with self._lock:
                self._answers_turns = not self._patience.waited_in_vain(ended) and self._answers_turns
        elif answer and plan.turn:
            self._answers_turns = True
        held = self._held(plan.scope)
        expected = {one.event_id for one in (plan.turn, plan.request) if one is not None}
        answering = {pushed.bundle.bundle_id for pushed in held if pushed.bundle.answers in expected}
        chosen = self._policy.released(
            choose(
                held,
                plan.query,
                budget_tokens=self._budget_tokens,
                now=self._now(),
                token_counter=self._token_counter,
                answering=answering,
            )
        )
        turns = _recent_turns([pushed.bundle for pushed in held], plan) if self._policy.shows else ()
        used = [pushed for pushed in held if pushed.bundle.bundle_id in chosen.bundle_ids]
        receipt = Receipt(
            plan.query,
            bundle_ids=chosen.bundle_ids,
            looked_at=tuple([pushed.bundle.bundle_id for pushed in held]),
            chosen=tuple([item.item_id for item in chosen.items]),
            dropped=chosen.dropped,
            tokens=chosen.tokens,
            token_budget=self._budget_tokens,
            age_s=min([ended - pushed.arrived_s for pushed in used]) if used else None,
            waited_s=ended - plan.started_s if plan.wait_for else 0.0,
            why="the platform answered while we waited" if answer else plan.why,
        )
        if not chosen.items and not turns:
            return Context(receipt=receipt)
        fetched = plan.request is not None and any(one.bundle.answers == plan.request.event_id for one in used)
        return Context(chosen.items, turns, "fetched" if fetched else "pushed", receipt)


def _recent_turns(bundles: list[ContextBundle], plan: _Plan) -> tuple[RecentTurn, ...]:
    """The turns of this very conversation, from the newest bundle that has them, before the question itself."""
    conversation_id = plan.scope.conversation_id
    for bundle in reversed(bundles):
        told = bundle.conversation
        if told is None or not told.recent_turns or conversation_id is None:
            continue
        if conversation_id == (told.conversation_id or bundle.scope.conversation_id):
            turns = list(told.recent_turns)
            while turns and turns[-1].role == "user" and turns[-1].content == plan.query:
                turns.pop()
            return tuple(turns)
    return ()
