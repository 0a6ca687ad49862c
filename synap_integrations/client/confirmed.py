"""What the platform has confirmed of each conversation, and whether it holds a turn whose answer was lost.

A REST call whose answer is lost has an unknown outcome. Before such a turn is sent again, the turns behind the last
confirmed one are read back: found there, it has arrived. Only a platform that does not remove repeats by event id needs
this, and nobody can tell from outside which kind it is.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, Protocol, TypeVar

from synap_integrations.errors import NetworkError, ServiceUnavailableError, SynapError
from synap_integrations.model import Scope
from synap_integrations.wire.rest_schema import ListedTurn

_log = logging.getLogger(__name__)

MAX_CONVERSATIONS: Final = 10_000
MAX_DOUBTS: Final = 10_000
READ_BACK: Final = 50
"""Turns behind the last confirmed one that are looked at."""
_REFUSED: Final = frozenset({409, 425, 503})
"""Statuses of a platform that has stored nothing."""

Owner = tuple[str | None, str | None, str | None]
"""Conversation, user and customer: one name may be two users' conversation."""
K = TypeVar("K")
T = TypeVar("T")


class ListTurns(Protocol):
    """`Conversation.turns`."""

    async def __call__(
        self, conversation_id: str, *, user_id: str | None, customer_id: str | None, start: int, limit: int
    ) -> list[ListedTurn]:
        """Turns of a conversation from a position (from 1). Raises a `SynapError`."""
        ...


class Confirmed:
    """Bounded; used on one event loop. ``list_turns`` is None for a client that cannot list them."""

    def __init__(self, list_turns: ListTurns | None) -> None:
        self._list_turns = list_turns
        self._ends: OrderedDict[Owner, int] = OrderedDict()
        self._doubts: OrderedDict[str, None] = OrderedDict()

    def answered(self, event_id: str, scope: Scope, answer: object) -> None:
        """The platform has recorded a turn, and says how many the conversation now has."""
        self._doubts.pop(event_id, None)
        count = answer.get("conversation_message_count") if isinstance(answer, Mapping) else None
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            return
        before = self._ends.get(_owner(scope), 0)
        if count < before:
            # What is delivered is deleted here, so this can be told, not repaired.
            _log.warning("synap: the platform has lost turns that it had acknowledged: %d were, %d are", before, count)
        _put(self._ends, _owner(scope), count, MAX_CONVERSATIONS)

    def failed(self, event_id: str, error: SynapError) -> None:
        """A send failed; from now on the turn is in doubt, unless the platform certainly does not have it."""
        sent = isinstance(error, NetworkError) and error.details.get("sent") is not False
        broke = isinstance(error, ServiceUnavailableError) and error.details.get("status") not in _REFUSED
        if sent or broke:
            self.interrupted(event_id)

    def interrupted(self, event_id: str) -> None:
        """A send was given up under way."""
        _put(self._doubts, event_id, None, MAX_DOUBTS)

    async def holds(self, event_id: str, scope: Scope, *, role: str, content: str) -> bool:
        """True if a turn in doubt has arrived. False if it has not, or if that cannot be told: then it is sent again.

        The same words said earlier do not count: only what stands behind the last confirmed turn does, and each turn
        there stands for one of ours.
        """
        end = self._ends.get(_owner(scope))
        if event_id not in self._doubts or end is None or self._list_turns is None:
            return False
        who = {"user_id": scope.user_id, "customer_id": scope.customer_id}
        try:
            turns = await self._list_turns(scope.conversation_id or "", **who, start=end + 1, limit=READ_BACK)
        except SynapError as error:
            _log.info("synap: a turn in doubt could not be read back (%s); it is sent again", error.code)
            return False
        for turn in turns:
            if (turn.role, turn.content) == (role, content) and (turn.position or 0) > end:
                _put(self._ends, _owner(scope), turn.position or end, MAX_CONVERSATIONS)
                del self._doubts[event_id]
                return True
        return False


def _owner(scope: Scope) -> Owner:
    return scope.conversation_id, scope.user_id, scope.customer_id


def _put(kept: OrderedDict[K, T], key: K, value: T, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)
