"""A chat model that reads along in the background, and notes what users say about themselves beside their turns.

A passage is read when ten turns are new, when a conversation has been quiet for half a minute, or when its session has
ended. What is noted is stored together with how far was read; a model that fails leaves everything as it was.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from synap_integrations import after_fork
from synap_integrations.server.background import Background
from synap_integrations.server.database import Database
from synap_integrations.server.records import microseconds
from synap_integrations.server.statements.store import StatementStore
from synap_integrations.server.store.turns import Store

from .passages import Extractor, Passage, Reading, reading_of
from .progress import ReadingStore, Unread

_log = logging.getLogger(__name__)

EVERY_TURNS: Final = 10
QUIET: Final = timedelta(seconds=30)
_MOST_TURNS: Final = 20
_MOST_KNOWN: Final = 40
_MOST_ATTEMPTS: Final = 3
"""Attempts at a passage before it is left to be found by its words."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What reading has cost this process, and what it brought. ``tokens`` is an estimate, prompts and answers."""

    passages: int = 0
    failures: int = 0
    tokens: int = 0
    budget_tokens: int = 0
    noted: int = 0
    dropped: int = 0
    superseded: int = 0


class Reader:
    """Reads the conversations of one database with an application's chat model. Thread-safe.

    ``budget_tokens`` is the most that this process spends; then it reads no more and says so once.
    """

    def __init__(
        self,
        database: Database,
        extractor: Extractor,
        *,
        budget_tokens: int,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._store = Store(database)
        self._known = StatementStore(database)
        self._readings = ReadingStore(database)
        self._extractor = extractor
        self._now = now
        self._new_id = new_id
        self._background = Background("synap-extract", self._read_one)
        self.spent = Spent(budget_tokens=budget_tokens)
        self.after_fork_in_child()
        after_fork.watch(self)

    def after_fork_in_child(self) -> None:
        """In a forked child: what it spends is its own."""
        self.spent = Spent(budget_tokens=self.spent.budget_tokens)
        self._ended: set[str] = set()
        self._attempts: Counter[tuple[int, int]] = Counter()
        self._reading: tuple[Unread, int] | None = None

    def wake(self, ended: str | None = None) -> None:
        """There are new turns; or the session of this conversation has ended, and it is read to its end now."""
        if ended is not None:
            self._ended.add(ended)
        self._background.wake()

    def drain(self, timeout_s: float = 30.0) -> bool:
        """Wait until nothing is due. False if ``timeout_s`` seconds were not enough."""
        return self._background.drain(timeout_s)

    def stats(self) -> dict[str, int]:
        """What it has cost and brought so far."""
        return asdict(self.spent)

    def close(self) -> None:
        """Read no more."""
        self._background.close()

    # --- on the thread ----------------------------------------------------------------------------------------

    def _read_one(self) -> float | None:
        """Read the next passage that is due. Raises whatever the model raises; then it is tried again after a while."""
        now = self._now()
        self._give_back()
        if self.spent.tokens >= self.spent.budget_tokens:
            return None
        unread = self._readings.unread(now=now)
        due = next((one for one in unread if self._is_due(one, now) and self._readings.claim(one, now=now)), None)
        if due is None:
            # What is not quiet yet will be; what somebody else reads is theirs.
            return QUIET.total_seconds() if unread else None
        turns = self._store.turns(due.owner, due.conversation_id, start=due.position + 1, limit=_MOST_TURNS)
        known = self._known.known(due.owner, kinds=("facts", "preferences", "temporal_events"), limit=_MOST_KNOWN)
        passage = Passage(tuple(turns), tuple(known))
        self._reading = due, len(turns)
        reading = reading_of(self._extractor(passage), passage)
        self._reading = None
        self._readings.finish(due, reading, up_to=due.position + len(turns), now=now, new_id=self._new_id)
        if due.turns <= len(turns):
            self._ended.discard(due.conversation_id)
        self._count(reading)
        return 0

    def _is_due(self, unread: Unread, now: datetime) -> bool:
        quiet = unread.updated_at <= microseconds(now - QUIET)
        return unread.turns >= EVERY_TURNS or quiet or unread.conversation_id in self._ended

    def _give_back(self) -> None:
        """The last attempt failed: leave the passage to the next one, or pass it over if it fails again and again."""
        if self._reading is None:
            return
        (unread, turns), self._reading = self._reading, None
        self.spent = replace(self.spent, failures=self.spent.failures + 1)
        attempt = unread.conversation, unread.position
        self._attempts[attempt] += 1
        if self._attempts[attempt] < _MOST_ATTEMPTS:
            self._readings.release(unread)
        else:
            del self._attempts[attempt]
            self._readings.finish(unread, None, up_to=unread.position + turns, now=self._now(), new_id=self._new_id)

    def _count(self, reading: Reading) -> None:
        spent = self.spent
        self.spent = replace(
            spent,
            passages=spent.passages + 1,
            tokens=spent.tokens + reading.tokens,
            noted=spent.noted + len(reading.noted),
            dropped=spent.dropped + reading.dropped,
            superseded=spent.superseded + len(reading.superseded),
        )
        if self.spent.tokens >= spent.budget_tokens:
            _log.warning(
                "synap: the extractor has spent its %d tokens and reads no more in this process; "
                "SYNAP_EXTRACTION_MAX_TOKENS says how many it may spend",
                spent.budget_tokens,
            )
