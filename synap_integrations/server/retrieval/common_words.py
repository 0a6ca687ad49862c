"""Which words of a question are too common to look for by themselves, where somebody has said very much.

Of a user with 40,000 turns half hold some word of most questions, and ranking all of those costs more than everything
else. Only turns that hold one of the rarer words are ranked then; the common ones still count in their scores. Among
17,000 turns, of which 788 are LoCoMo's, recall is the same whether 1,000 or 8,000 are ranked.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from synap_integrations import after_fork

from .ranking import expression

LARGE: Final = 2_000
"""Turns of a user up to which every word is looked for."""
MOST_RANKED: Final = 1_000
"""About how many turns are ranked at most; the rarest word is looked for in any case."""
_MOST_KNOWN: Final = 20_000


class CommonWords:
    """In how many turns of a user each word is, as far as it was asked for. Thread-safe."""

    def __init__(self) -> None:
        self.after_fork_in_child()
        after_fork.watch(self)

    def after_fork_in_child(self) -> None:
        """In a forked child: nothing was asked for."""
        self._lock = threading.Lock()
        self._counts: OrderedDict[tuple[int, int, str], int] = OrderedDict()

    def split(
        self, db: sqlite3.Connection, words: Sequence[str], *, owner: int, turns: int
    ) -> tuple[list[str], list[str]]:
        """The words to look for, and those that only count, for an owner of so many turns."""
        if turns <= LARGE:
            return list(words), []
        # Counts are kept until the user has said a sixteenth more, or so.
        size = turns >> max(turns.bit_length() - 5, 0)
        counts = {word: self._count(db, owner, size, word) for word in words}
        rare: list[str] = []
        ranked = 0
        for word in sorted(words, key=lambda word: (counts[word], word)):
            ranked += counts[word]
            # A word that nobody said finds nothing; one that somebody said has to be among them.
            if ranked > MOST_RANKED and any(counts[held] for held in rare):
                break
            rare.append(word)
        return rare, [word for word in words if word not in rare]

    def _count(self, db: sqlite3.Connection, owner: int, size: int, word: str) -> int:
        with self._lock:
            if (known := self._counts.get((owner, size, word))) is not None:
                return known
        match = expression([word], owner=owner)
        (count,) = db.execute("SELECT count(*) FROM turn_words WHERE turn_words MATCH ?", (match,)).fetchone()
        with self._lock:
            self._counts[owner, size, word] = count
            while len(self._counts) > _MOST_KNOWN:
                self._counts.popitem(last=False)
        return int(count)


def share(db: sqlite3.Connection, owner: int) -> tuple[int, bool]:
    """How many turns the owner has said, and whether that is most of what there is."""
    turns, everybodys = db.execute(
        "SELECT coalesce(sum(turns), 0), (SELECT max(id) FROM turn) FROM conversation WHERE owner = ?", (owner,)
    ).fetchone()
    return turns, 2 * turns > (everybodys or 0)
