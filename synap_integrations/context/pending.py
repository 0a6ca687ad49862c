"""What the platform was told and may answer: the last turn of each conversation, and the questions that were asked."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, TypeVar

from synap_integrations.context.selection import same_question
from synap_integrations.context.store import LIFE_S, Owner
from synap_integrations.model import Scope

_K = TypeVar("_K")
_MAX_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Asked:
    """Something the platform was told that it may answer: a user's turn, or a request of ours."""

    event_id: str
    text: str
    at_s: float
    answerable: bool = True
    """False for a turn that was recorded while no stream was open to answer it on: it is a question, and no more."""


class Pending:
    """The newest of both, by owner. Thread-safe.

    What was asked longer ago than a bundle lives may be asked anew: its answer has expired. Times are monotonic, in
    seconds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: OrderedDict[Owner, Asked] = OrderedDict()
        self._requests: OrderedDict[tuple[Owner, str], Asked] = OrderedDict()

    def add_turn(self, scope: Scope, turn: Asked) -> bool:
        """A user said this. False if nobody can tell who."""
        if (whose := Owner.of(scope)).is_nobody:
            return False
        with self._lock:
            _remember(self._turns, whose, turn)
        return True

    def add_request(self, scope: Scope, request: Asked) -> None:
        """The platform was asked this."""
        if not (whose := Owner.of(scope)).is_nobody:
            with self._lock:
                _remember(self._requests, (whose, request.text), request)

    def turn_of(self, scope: Scope, query: str | None, now_s: float) -> Asked | None:
        """The recorded turn that this question is; without a question, the last turn."""
        if (whose := Owner.of(scope)).is_nobody:
            return None
        with self._lock:
            turn = self._turns.get(whose)
        if turn and query and query != turn.text and not same_question(query, turn.text):
            return None
        return _lately(turn, now_s)

    def request_for(self, scope: Scope, query: str | None, now_s: float) -> Asked | None:
        """The request that was made for this question."""
        if query is None or (whose := Owner.of(scope)).is_nobody:
            return None
        with self._lock:
            return _lately(self._requests.get((whose, query)), now_s)

    def forget(self, scope: Scope) -> None:
        """Drop what belongs to whom the scope names."""
        with self._lock:
            for whose in [whose for whose in self._turns if whose.is_named_by(scope)]:
                del self._turns[whose]
            for key in [key for key in self._requests if key[0].is_named_by(scope)]:
                del self._requests[key]

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._turns.clear()
            self._requests.clear()


def _lately(asked: Asked | None, now_s: float) -> Asked | None:
    return asked if asked and now_s - asked.at_s <= LIFE_S else None


def _remember(memory: OrderedDict[_K, Asked], key: _K, value: Asked) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _MAX_REMEMBERED:
        memory.popitem(last=False)
