"""A `Memory` that stands between an agent of the story and its Synap, and sees what the agent is told."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from synap_integrations.model import Context, Event, Scope
from synap_integrations.runtime import Synap


class Witness:
    """Passes everything on, and keeps the last context that was recalled.

    What is recorded is dated by `set_day`, if that was called. With ``keeping=False`` nothing is recorded, so that a
    thousand questions change no answer.
    """

    def __init__(self, synap: Synap, *, keeping: bool = True) -> None:
        self._synap = synap
        self._keeping = keeping
        self._day: tuple[datetime, float] = datetime.now(UTC), time.monotonic()
        self.context = Context()

    def set_day(self, start: datetime) -> None:
        """It is this moment now, and time goes on from here."""
        self._day = start, time.monotonic()

    def _moment(self) -> datetime:
        start, since = self._day
        return start + timedelta(seconds=time.monotonic() - since)

    def record(self, event: Event, *, scope: Scope) -> None:
        """`Memory.record`."""
        if self._keeping:
            self._synap.record(event, scope=scope, occurred_at=self._moment())

    def recall(self, query: str | None, *, scope: Scope) -> Context:
        """`Memory.recall`."""
        self.context = self._synap.recall(query, scope=scope)
        return self.context

    async def arecall(self, query: str | None, *, scope: Scope) -> Context:
        """`Memory.arecall`."""
        self.context = await self._synap.arecall(query, scope=scope)
        return self.context
