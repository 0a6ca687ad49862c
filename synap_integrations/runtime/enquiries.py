"""Questions that an application asks on purpose: answered from what was pushed, else by the platform, in time.

A fault is part of the answer: whoever asks decides what becomes of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from synap_integrations.context.lookup import covered
from synap_integrations.context.policy import LEVELS, ContextPolicy
from synap_integrations.context.selection import Chosen
from synap_integrations.context.store import ContextStore
from synap_integrations.errors import (
    InvalidInputError,
    NetworkTimeoutError,
    ServiceUnavailableError,
    SynapError,
    SynapTransientError,
)
from synap_integrations.guard import contained, incidents
from synap_integrations.model import ContextRequest, Scope, UserMessage
from synap_integrations.outbox import DeliveryWorker
from synap_integrations.outbox.pending_asks import PendingAsk
from synap_integrations.ports import Answer, Erase, Forget, PreviewForget, Question, ReadConversation, Remember, Search
from synap_integrations.redaction import Redaction
from synap_integrations.settings import Settings

from .environment import capturing

_ASK: Final = contained("ask")
_GRACE_S: Final = 0.1
"""A pending ask ends by itself at its time; this is for its way back."""


class Enquiries:
    """Asks on the delivery thread on behalf of any thread or loop. Thread-safe."""

    def __init__(
        self,
        worker: DeliveryWorker,
        *,
        store: ContextStore,
        policy: ContextPolicy,
        redaction: Redaction,
        settings: Settings,
    ) -> None:
        self._worker = worker
        self._store = store
        self._policy = policy
        self._redaction = redaction
        self._settings = settings

    def ask(self, question: Question, scope: Scope, timeout_s: float | None, starting_s: Callable[[], float]) -> Answer:
        """See `Lookup.ask`; ``starting_s`` is how much longer it may take while the platform is being started."""
        with _ASK:
            begun = self._begin(question, scope, timeout_s, starting_s)
            if isinstance(begun, Answer):
                return begun
            try:
                return self._concluded(begun.outcome.result(begun.within_s + _GRACE_S))
            except TimeoutError:
                return self._late(begun)
        return Answer(fault=_FAULTY)

    async def aask(
        self, question: Question, scope: Scope, timeout_s: float | None, starting_s: Callable[[], float]
    ) -> Answer:
        """`ask` that waits without blocking the event loop."""
        with _ASK:
            begun = self._begin(question, scope, timeout_s, starting_s)
            if isinstance(begun, Answer):
                return begun
            try:
                async with asyncio.timeout(begun.within_s + _GRACE_S):
                    return self._concluded(await asyncio.wrap_future(begun.outcome))
            except TimeoutError:
                return self._late(begun)
        return Answer(fault=_FAULTY)

    # --- before and after the wait -----------------------------------------------------------------------------

    def _begin(
        self, question: Question, scope: Scope, timeout_s: float | None, starting_s: Callable[[], float]
    ) -> Answer | PendingAsk:
        """The answer, if nobody has to be asked; else what is under way."""
        if _is_context(question) and self._settings.context != "inject":
            return Answer()
        if isinstance(question, Search) and (pushed := self._pushed(question, scope)) is not None:
            return pushed
        kept = self._redacted(question, scope)
        if isinstance(kept, SynapError):
            return Answer(fault=kept)
        within_s = self._settings.lookup_timeout_s if timeout_s is None else timeout_s
        if within_s <= 0:
            return Answer(fault=NetworkTimeoutError("there is no time to ask the platform: pass a timeout above 0"))
        pending = PendingAsk(kept, scope, within_s + starting_s())
        if not self._worker.ask(pending):
            return Answer(fault=ServiceUnavailableError("this Synap is closed, or is asked from within itself"))
        return pending

    def _concluded(self, outcome: Answer | SynapError) -> Answer:
        if isinstance(outcome, SynapError):
            incidents.note("ask", outcome)
            return Answer(fault=outcome)
        released = self._policy.released(Chosen(outcome.items))
        return outcome if released.items == outcome.items else replace(outcome, items=released.items)

    def _late(self, pending: PendingAsk) -> Answer:
        pending.outcome.cancel()
        return self._concluded(NetworkTimeoutError("the platform did not answer in time"))

    def _pushed(self, question: Search, scope: Scope) -> Answer | None:
        if question.mode != "fast":
            return None
        held = self._policy.admitted(self._store.lookup(scope))
        chosen = covered(held, question.query, types=question.types, limit=question.limit, now=datetime.now(UTC))
        if chosen is None:
            return None
        chosen = self._policy.released(chosen)
        return Answer(items=chosen.items, bundle_ids=chosen.bundle_ids, source="pushed")

    def _redacted(self, question: Question, scope: Scope) -> Question | SynapError:
        """The question as it may leave this process."""
        match question:
            case Search():
                query = self._asked(question.query)
                levels = () if self._policy.levels == LEVELS else self._policy.levels
                return replace(question, query=query, levels=levels) if query else _MASKED
            case PreviewForget():
                description = self._asked(question.description)
                return PreviewForget(description) if description else _MASKED
            case Remember():
                if not capturing() or not self._redaction.keeps(scope.conversation_id or ""):
                    return InvalidInputError("nothing is kept of this conversation: capture is switched off for it")
                kept = self._redaction(UserMessage(question.text))
                return replace(question, text=kept.content) if isinstance(kept, UserMessage) else _MASKED
            case ReadConversation() | Forget() | Erase():
                return question

    def _asked(self, words: str) -> str:
        kept = self._redaction(ContextRequest((words,)))
        return next(iter(getattr(kept, "search_queries", ())), "")


def _is_context(question: Question) -> bool:
    """True if the answer brings more than what was said in the conversation itself."""
    return isinstance(question, Search) or (isinstance(question, ReadConversation) and not question.turns_only)


_MASKED: Final = InvalidInputError("the question cannot be asked: the mask left nothing of it")
_FAULTY: Final = SynapTransientError("the question could not be asked: a fault was contained, see Synap.status()")
