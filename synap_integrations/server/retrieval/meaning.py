"""Finding by meaning, with an encoder that the application has: an addition to finding by words, never in its place.

Vectors are computed in the background after the turns are stored. A question is encoded on a thread of its own, and
waited for at most `QUERY_WAIT_S`; whoever asks the same again has it at once. Where anything fails, words alone decide.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections import OrderedDict, deque
from typing import Final

from synap_integrations import after_fork
from synap_integrations.server.background import Background
from synap_integrations.server.database import Database
from synap_integrations.server.records import Owner, Place

from .encoders import Encoder, unit
from .vectors import VectorStore

QUERY_WAIT_S: Final = 0.25
_BATCH: Final = 16
_AGAIN_S: Final = 60.0
_MOST_ATTEMPTS: Final = 4
"""Attempts at a text before it is left to be found by its words: together with others, then alone."""
_MOST_REMEMBERED: Final = 500
_MOST_ASKED: Final = 32
_QUERY_CHARS: Final = 2_000


class Meaning:
    """Vectors of turns and questions over one database. Thread-safe."""

    def __init__(self, database: Database, encoder: Encoder, *, query_wait_s: float = QUERY_WAIT_S) -> None:
        self._store = VectorStore(database)
        self._encoder = encoder
        self._query_wait_s = query_wait_s
        self._reading = Background("synap-embed", self._read_some)
        self._asking = Background("synap-embed-query", self._answer_some)
        self.after_fork_in_child()
        after_fork.watch(self)

    def after_fork_in_child(self) -> None:
        """In a forked child: nobody has asked anything."""
        self._changed = threading.Condition()
        self._width = 0
        self._read = 0
        self._attempts = 0
        self._started_s = time.monotonic()
        self._asked: deque[str] = deque(maxlen=_MOST_ASKED)
        self._answers: OrderedDict[str, array[float]] = OrderedDict()

    # --- turns ------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """There are new turns."""
        self._reading.wake()

    def drain(self, timeout_s: float = 30.0) -> bool:
        """Wait until every turn has its vector. False if ``timeout_s`` seconds were not enough."""
        return self._reading.drain(timeout_s)

    def _read_some(self) -> float | None:
        """Encode the next turns that have no vector of this encoder."""
        if not self._width:
            self._width = len(unit(self._encoder.of_query("how long is a vector?")))
        unread = self._store.missing(self._name, after=self._read, limit=1 if self._attempts else _BATCH)
        if unread and self._attempts == _MOST_ATTEMPTS:
            # One text that the encoder does not take must not keep the others waiting; words find it.
            self._read, self._attempts = unread[0].row, 0
            return 0
        if not unread:
            return self._from_the_start()
        self._attempts += 1
        vectors = [unit(vector) for vector in self._encoder.of_texts([turn.text for turn in unread])]
        if len(vectors) != len(unread):
            message = f"the encoder gave {len(vectors)} vectors for {len(unread)} texts"
            raise ValueError(message)
        if {len(vector) for vector in vectors} != {self._width}:
            # Another model answers under the same name: what it made before does not compare.
            self._width = self._read = 0
            self._answers.clear()
            message = "the encoder changed the length of its vectors: all turns are read again"
            raise ValueError(message)
        self._store.put(self._name, zip(unread, vectors, strict=True))
        self._read, self._attempts = unread[-1].row, 0
        return 0

    def _from_the_start(self) -> float | None:
        """Look at all turns again, now and then: texts change, and numbers of what was forgotten are given anew."""
        now_s = time.monotonic()
        if now_s - self._started_s < _AGAIN_S:
            return None
        self._read, self._started_s = 0, now_s
        return 0

    @property
    def _name(self) -> str:
        """The encoder, and the length of its vectors: others do not compare."""
        return f"{self._encoder.name}/{self._width}"

    # --- questions --------------------------------------------------------------------------------------------

    def near(self, owner: Owner, query: str) -> list[tuple[Place, float]]:
        """The owner's turns and how near they are to the question, -1..1; empty if that is not known in time."""
        vector = self._vector(query[:_QUERY_CHARS])
        return [] if vector is None else self._store.near(owner, vector, encoder=f"{self._encoder.name}/{len(vector)}")

    def _vector(self, query: str) -> array[float] | None:
        with self._changed:
            if query not in self._answers:
                self._asked.append(query)
                self._asking.wake()
                # Nobody waits for an encoder that has just failed.
                self._changed.wait_for(
                    lambda: query in self._answers, 0.0 if self._asking.failing else self._query_wait_s
                )
            if (found := self._answers.get(query)) is not None:
                self._answers.move_to_end(query)
            return found

    def _answer_some(self) -> float | None:
        with self._changed:
            if not self._asked:
                return None
            # The newest first: somebody is still waiting for it.
            query = self._asked.pop()
        vector = self._answers[query] if query in self._answers else unit(self._encoder.of_query(query))
        with self._changed:
            self._answers[query] = vector
            while len(self._answers) > _MOST_REMEMBERED:
                self._answers.popitem(last=False)
            self._changed.notify_all()
        return 0

    # --- the end ----------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, int]:
        """How many turns have a vector of this encoder."""
        return {"vectors": self._store.count(self._name)}

    def close(self) -> None:
        """Encode no more."""
        self._reading.close()
        self._asking.close()
