"""Something that is asked of the transport on its own loop while another thread or loop waits for the outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field

from synap_integrations.errors import ServiceUnavailableError, SynapError
from synap_integrations.guard import quiet
from synap_integrations.model import Scope
from synap_integrations.ports import Answer, Question, Transport

from .calls import outcome_of


@dataclass(frozen=True, slots=True, eq=False)
class PendingAsk:
    """A question and the place where its outcome appears. Nothing of it is stored: it is asked now or never.

    The outcome is the answer or the error, as a value; it never appears if the thread ends before it begins.
    ``within_s`` counts from when it is asked.
    """

    question: Question
    scope: Scope
    within_s: float
    outcome: Future[Answer | SynapError] = field(default_factory=Future[Answer | SynapError])

    async def run(self, transport: Transport) -> None:
        """Ask, unless nobody waits any more. On the transport's loop; raises nothing but its own cancellation."""
        if not self.outcome.set_running_or_notify_cancel():
            return
        found: Answer | SynapError = ServiceUnavailableError("delivery ended before the platform answered")
        try:
            with quiet():  # the task was made in the context of whoever asked
                found = await outcome_of(transport.ask(self.question, self.scope), within_s=self.within_s)
        finally:
            self.outcome.set_result(found)


class BackgroundTasks:
    """What is sent or asked now or never: tasks that nobody waits for, and that end with delivery."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()

    def begin(self, action: Coroutine[None, None, None]) -> None:
        """Start it. On the transport's loop."""
        task = asyncio.ensure_future(action)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
