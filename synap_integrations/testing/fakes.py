"""A `Memory` that remembers what it was handed, for tests of frameworks and applications."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from synap_integrations.model import AssistantMessage, Context, Event, Scope, Turn, UserMessage
from synap_integrations.ports import Answer, Question


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event as it was handed over."""

    scope: Scope
    event: Event


class FakeMemory:
    """Keeps every recorded event in order, answers every recall with ``context`` and every question with ``answer``.
    Thread-safe.
    """

    def __init__(self, context: Context | None = None, answer: Answer | None = None) -> None:
        self.context = context or Context()
        self.answer = answer or Answer()
        self.asked: list[tuple[Question, Scope]] = []
        self.recorded: list[Recorded] = []
        self.recalled: list[tuple[str | None, Scope]] = []
        self._lock = threading.Lock()

    @property
    def events(self) -> list[Event]:
        """What was recorded, in order, whoever said it."""
        return [entry.event for entry in self.recorded]

    @property
    def turns(self) -> list[Turn]:
        """User and assistant messages only."""
        return [event for event in self.events if isinstance(event, UserMessage | AssistantMessage)]

    def events_of(self, conversation_id: str) -> list[Event]:
        """What was recorded for one conversation, in order."""
        return [entry.event for entry in self.recorded if entry.scope.conversation_id == conversation_id]

    def record(self, event: Event, *, scope: Scope) -> None:
        """Remember it."""
        with self._lock:
            self.recorded.append(Recorded(scope, event))

    def recall(self, query: str | None, *, scope: Scope) -> Context:
        """Give the context this fake was made with."""
        with self._lock:
            self.recalled.append((query, scope))
        return self.context

    async def arecall(self, query: str | None, *, scope: Scope) -> Context:
        """Give the context this fake was made with."""
        return self.recall(query, scope=scope)

    def ask(self, question: Question, *, scope: Scope, timeout_s: float | None = None) -> Answer:  # noqa: ARG002 - `Lookup`
        """Give the answer this fake was made with."""
        with self._lock:
            self.asked.append((question, scope))
        return self.answer

    async def aask(self, question: Question, *, scope: Scope, timeout_s: float | None = None) -> Answer:
        """Give the answer this fake was made with."""
        return self.ask(question, scope=scope, timeout_s=timeout_s)
