"""The conversations of this process: a memory object may live for one request only, its history lives on.

Bounded; the conversation that was used longest ago is let go first, and read back from Synap when it goes on.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from synap_integrations import after_fork
from synap_integrations.llamaindex.history import History
from synap_integrations.ports import Lookup

if TYPE_CHECKING:
    from synap_integrations.model import Scope
    from synap_integrations.ports import Memory

MAX_CONVERSATIONS: Final = 1_000
"""Conversations of one Synap whose history is kept although no memory object holds it."""
MAX_MESSAGES: Final = 100_000
"""Messages that these histories may have together when another one joins them."""
_FIRST_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 300.0


class _Whose(NamedTuple):
    """A conversation and its owner; sessions come and go within it."""

    customer_id: str | None
    user_id: str | None
    conversation_id: str | None

    @classmethod
    def of(cls, scope: Scope) -> _Whose:
        return cls(scope.customer_id, scope.user_id, scope.conversation_id)


class Conversations:
    """The conversations of one Synap. Thread-safe.

    A Synap that could not tell what was said earlier is not asked again before a pause that doubles from 5 s to 5
    minutes is over: an outage costs one wait and not one for each conversation.
    """

    def __init__(self) -> None:
        self._recent: OrderedDict[_Whose, History] = OrderedDict()
        self._living: weakref.WeakValueDictionary[_Whose, History] = weakref.WeakValueDictionary()
        self.after_fork_in_child()
        after_fork.watch(self)

    def after_fork_in_child(self) -> None:
        """In a forked process: a lock that another thread held is never released here."""
        self._lock = threading.Lock()
        self._failures = 0
        self._paused_until_s = 0.0
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

    def reader(self, memory: Memory, history: History) -> Lookup | None:
        """Whom to ask for the earlier turns of a conversation; None if they are here, or nobody can tell now."""
        if history.loaded or time.monotonic() < self._paused_until_s:
            return None
        return memory if isinstance(memory, Lookup) else None

    def asked(self, *, answered: bool) -> None:
        """A Synap was asked for earlier turns."""
        with self._lock:
            self._failures = 0 if answered else self._failures + 1
            pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 16), _LONGEST_PAUSE_S)
            self._paused_until_s = 0.0 if answered else time.monotonic() + pause_s


_all: Final[weakref.WeakKeyDictionary[Memory, Conversations]] = weakref.WeakKeyDictionary()
_lock: Final = after_fork.Lock()


def conversations_of(memory: Memory) -> Conversations | None:
    """Those that all memory objects over this Synap share; None if it is an object that nothing can be kept for."""
    try:
        with _lock:
            found = _all.get(memory)
            if found is None:
                found = _all[memory] = Conversations()
            return found
    except TypeError:  # it can be neither hashed nor referred to weakly
        return None
