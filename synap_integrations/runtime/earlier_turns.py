"""The earlier turns of a conversation: when a Synap is asked for them, and which of them are not here already.

One rule for every framework's history: asked for at the first read in this process; a Synap that could not tell is
asked again at a later turn, and what was said here meanwhile stands once.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from synap_integrations import after_fork
from synap_integrations.model import RecentTurn
from synap_integrations.ports import Answer, Lookup, Memory

_FIRST_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 300.0


class FirstReads:
    """When one Synap is asked for earlier turns. Thread-safe.

    A Synap that could not tell what was said earlier is not asked again before a pause that doubles from 5 s to 5
    minutes is over: an outage costs one wait and not one for each conversation.
    """

    def __init__(self) -> None:
        self.after_fork_in_child()
        after_fork.watch(self)

    def after_fork_in_child(self) -> None:
        """In a forked process: a lock that another thread held is never released here."""
        self._lock = threading.Lock()
        self._failures = 0
        self._paused_until_s = 0.0

    def lookup(self, memory: Memory) -> Lookup | None:
        """Whom to ask for the earlier turns of a conversation; None if nobody can tell now."""
        if time.monotonic() < self._paused_until_s:
            return None
        return memory if isinstance(memory, Lookup) else None

    def concluded(self, answer: Answer) -> bool:
        """A Synap that was asked gave this answer. False if the same question is worth asking at a later turn."""
        told = answer.fault is None or not answer.fault.retryable
        with self._lock:
            self._failures = 0 if told else self._failures + 1
            pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 16), _LONGEST_PAUSE_S)
            self._paused_until_s = 0.0 if told else time.monotonic() + pause_s
        return told


_all: Final[weakref.WeakKeyDictionary[Memory, FirstReads]] = weakref.WeakKeyDictionary()
_lock: Final = after_fork.Lock()


def first_reads_of(memory: Memory) -> FirstReads:
    """Those that all histories over this Synap share; new ones, if it is an object that nothing can be kept for."""
    try:
        with _lock:
            found = _all.get(memory)
            if found is None:
                found = _all[memory] = FirstReads()
            return found
    except TypeError:  # it can be neither hashed nor referred to weakly
        return FirstReads()


def not_here_yet(
    told: Sequence[RecentTurn], users_here: Sequence[str], *, answered_since: datetime | None
) -> Sequence[RecentTurn]:
    """Of the turns that a Synap tells of, those that were said before what is here.

    ``users_here`` are the user's words that are here: where the last ones told are the first ones here, they are the
    same. They are compared, and not the answers, because an agent's answer may be kept here with all its steps.

    ``answered_since`` is set where turns were completed here before the Synap could tell: then. A mask may have changed
    their words on the way, so if no words are the same, what was said after that time is what was said here.
    """
    users = [at for at, turn in enumerate(told) if turn.role == "user"]
    there = [told[at].content for at in users]
    same = next((at for at in range(len(there)) if list(users_here[: len(there) - at]) == there[at:]), None)
    if same is not None:
        return told[: users[same]]
    if answered_since is not None:
        while told and (said_at := told[-1].said_at) is not None and said_at >= answered_since:
            told = told[:-1]
    return told
