"""Vectors of turns, as rows, and which of them are near a question.

A vector stands for a turn together with the one before it: an answer alone seldom says what it is about. They are of
length 1, so that a product is a cosine. Every vector of a user is compared; with numpy 10,000 of them take a
millisecond, without it only the newest `MOST_WITHOUT_NUMPY` are compared.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from synap_integrations import after_fork
from synap_integrations.server.database import Database
from synap_integrations.server.records import Owner, Place

MOST_WITHOUT_NUMPY: Final = 2_000
MOST_BYTES: Final = 128_000_000
"""Most bytes of vectors that are held in memory, over all users."""
_TEXT_CHARS: Final = 2_000
_HAS_NUMPY: Final = importlib.util.find_spec("numpy") is not None
_MISSING: Final = """
    SELECT turn.id, turn.owner, coalesce(turn.speaker || ': ', '') || turn.content,
           coalesce(before.speaker || ': ', '') || before.content
    FROM turn
    LEFT JOIN turn AS before ON before.conversation = turn.conversation AND before.position = turn.position - 1
    LEFT JOIN vector ON vector.turn = turn.id AND vector.encoder = ?
    WHERE turn.id > ? AND vector.turn IS NULL AND turn.content <> ''
    ORDER BY turn.id LIMIT ?
"""
_HELD: Final = """
    SELECT vector.turn, turn.conversation, turn.position, vector.components
    FROM vector JOIN turn ON turn.id = vector.turn AND turn.owner = vector.owner
    WHERE vector.owner = (SELECT id FROM owner WHERE customer_id = ? AND user_id = ?)
    AND vector.turn > ? AND vector.encoder = ? ORDER BY vector.turn
"""
_STATE: Final = """
    SELECT count(*), (SELECT components FROM vector WHERE turn = ?4 AND encoder = ?3) FROM vector
    WHERE owner = (SELECT id FROM owner WHERE customer_id = ?1 AND user_id = ?2) AND encoder = ?3
"""


class Unread(NamedTuple):
    """A turn without a vector: its row, its owner's row, and the text that stands for it."""

    row: int
    owner: int
    text: str


@dataclass(slots=True)
class _Space:
    """The vectors of one user, one after the other."""

    places: list[Place] = field(default_factory=list[Place])
    components: bytearray = field(default_factory=bytearray)
    last: int = 0


class VectorStore:
    """Vectors of one `Database`. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.after_fork_in_child()
        after_fork.watch(self)

    def after_fork_in_child(self) -> None:
        """In a forked child: nothing is held in memory."""
        self._lock = threading.Lock()
        self._spaces: OrderedDict[tuple[Owner, str], _Space] = OrderedDict()

    def missing(self, encoder: str, *, after: int, limit: int) -> list[Unread]:
        """Turns after this row that have no vector of the encoder, in order."""
        with self._database.read() as db:
            found = db.execute(_MISSING, (encoder, after, limit)).fetchall()
        return [Unread(row[0], row[1], _text(row[2], row[3])) for row in found]

    def put(self, encoder: str, vectors: Iterable[tuple[Unread, array[float]]]) -> None:
        """Keep these vectors; a turn that is gone by now gets none."""
        with self._database.write() as db:
            db.executemany(
                "INSERT OR REPLACE INTO vector (turn, owner, encoder, components) "
                "SELECT id, owner, ?, ? FROM turn WHERE id = ? AND owner = ?",
                [(encoder, _stored(vector), unread.row, unread.owner) for unread, vector in vectors],
            )

    def count(self, encoder: str) -> int:
        """How many vectors of this encoder there are, of everybody."""
        with self._database.read() as db:
            (found,) = db.execute("SELECT count(*) FROM vector WHERE encoder = ?", (encoder,)).fetchone()
        return int(found)

    def near(self, owner: Owner, query: array[float], *, encoder: str) -> list[tuple[Place, float]]:
        """The owner's turns and their cosines with the question, in no order."""
        with self._lock:
            space = self._space(owner, encoder, 4 * len(query))
            cosines = _products(space.components, query)
            return list(zip(space.places[-len(cosines) :], cosines, strict=True)) if cosines else []

    def _space(self, owner: Owner, encoder: str, width: int) -> _Space:
        """The owner's vectors, those included that were added since the last time."""
        space = self._spaces.pop((owner, encoder), None) or _Space()
        with self._database.read() as db:
            added = db.execute(_HELD, (*owner, space.last, encoder)).fetchall()
            count, newest = db.execute(_STATE, (*owner, encoder, space.last)).fetchone()
            if len(space.places) + len(added) != count or bytes(space.components[-width:]) != (newest or b""):
                # Something was forgotten, or a text was changed and its vector made anew.
                space, added = _Space(), db.execute(_HELD, (*owner, 0, encoder)).fetchall()
        for row, conversation, position, components in added:
            if len(components) == width:
                space.places.append(Place(conversation, position))
                space.components += components
            space.last = row
        self._spaces[owner, encoder] = space
        while len(self._spaces) > 1 and sum(len(held.components) for held in self._spaces.values()) > MOST_BYTES:
            self._spaces.popitem(last=False)
        return space


def _text(said: str, before: str | None) -> str:
    return f"{before[-_TEXT_CHARS:]}\n{said[:_TEXT_CHARS]}" if before else said[:_TEXT_CHARS]


def _stored(vector: array[float]) -> bytes:
    """float32, little endian."""
    if sys.byteorder == "big":
        vector = vector[:]
        vector.byteswap()
    return vector.tobytes()


def _products(components: bytearray, query: array[float]) -> Sequence[float]:
    """The product of each vector with the question; without numpy of the newest only."""
    width = len(query)
    if _HAS_NUMPY:
        import numpy as np  # noqa: PLC0415 - optional, and loaded by those who have vectors

        held = np.frombuffer(components, dtype="<f4").reshape(-1, width)
        products: list[float] = (held @ np.frombuffer(query, dtype="f4")).tolist()
        return products
    floats = array("f", bytes(components[-4 * width * MOST_WITHOUT_NUMPY :]))
    if sys.byteorder == "big":
        floats.byteswap()
    return [
        sum(a * b for a, b in zip(floats[at : at + width], query, strict=True)) for at in range(0, len(floats), width)
    ]
