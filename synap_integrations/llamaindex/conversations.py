"""The conversations of this process: a memory object may live for one request only, its history lives on.

Bounded; the conversation that was used longest ago is let go first, and read back from Synap when it goes on.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from synap_integrations import after_fork
from synap_integrations.llamaindex.history import History
from synap_integrations.runtime.earlier_turns import FirstReads, first_reads_of

if TYPE_CHECKING:
    from synap_integrations.model import Scope
    from synap_integrations.ports import Memory

MAX_CONVERSATIONS: Final = 1_000
"""Conversations of one Synap whose history is kept although no memory object holds it."""
MAX_MESSAGES: Final = 100_000
"""Messages that these histories may have together when another one joins them."""


class _Whose(NamedTuple):
    """A conversation and its owner; sessions come and go within it."""

    customer_id: str | None
    user_id: str | None
    conversation_id: str | None

    @classmethod
    def of(cls, scope: Scope) -> _Whose:
        return cls(scope.customer_id, scope.user_id, scope.conversation_id)


class Conversations:
    """The conversations of one Synap, and when it is asked for what was said in them earlier. Thread-safe."""

    def __init__(self, first_reads: FirstReads | None = None) -> None:
        self.first_reads = first_reads or FirstReads()
        self._recent: OrderedDict[_Whose, History] = OrderedDict()
        self._living: weakref.WeakValueDictionary[_Whose, History] = weakref.WeakValueDictionary()
        self.after_fork_in_child()
        after_fork.watch(self)

    def after_fork_in_child(self) -> None:
        """In a forked process: a lock that another thread held is never released here."""
        self._lock = threading.Lock()
        for history in tuple(self._living.values()):
            history.lock = threading.RLock()

    def of(self, scope: Scope) -> History:
        """The history of this conversation."""
        whose = _Whose.of(scope)
        with self._lock:
            history = self._living.get(whose)
            if history is None:
                history = self._living[whose] = History()
            if whose not in self._recent:
                self._recent[whose] = history
                self._make_room()
            self._recent.move_to_end(whose)
            return history

    def _make_room(self) -> None:
        held = sum(len(history) for history in self._recent.values())
        while len(self._recent) > 1 and (len(self._recent) > MAX_CONVERSATIONS or held > MAX_MESSAGES):
            held -= len(self._recent.popitem(last=False)[1])


_all: Final[weakref.WeakKeyDictionary[Memory, Conversations]] = weakref.WeakKeyDictionary()
_lock: Final = after_fork.Lock()


def conversations_of(memory: Memory) -> Conversations | None:
    """Those that all memory objects over this Synap share; None if it is an object that nothing can be kept for."""
    try:
        with _lock:
            found = _all.get(memory)
            if found is None:
                found = _all[memory] = Conversations(first_reads_of(memory))
            return found
    except TypeError:  # it can be neither hashed nor referred to weakly
        return None
