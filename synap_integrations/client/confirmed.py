"""What the platform has confirmed of each conversation, and whether it holds a turn whose answer was lost.

A REST call whose answer is lost has an unknown outcome, and so has a turn that a stream took and never acknowledged.
Before such a turn is sent again, the turns behind the last confirmed one are read back: found there, it has arrived.
Only a platform that does not remove repeats by event id needs this, and nobody can tell from outside which kind it is.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol, TypeVar

from synap_integrations.errors import NetworkError, ServiceUnavailableError, SynapError
from synap_integrations.model import Scope
from synap_integrations.wire.rest_schema import ListedTurn

_log = logging.getLogger(__name__)

MAX_CONVERSATIONS: Final = 10_000
MAX_DOUBTS: Final = 10_000
READ_BACK: Final = 50
"""Turns behind the last confirmed one that are looked at."""
_PAGE: Final = 500
_PAGES: Final = 4
"""Pages that are looked through for an id, where the place is unknown."""
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


class Arrival(Enum):
    """What reading back tells of a turn."""

    ARRIVED = "arrived"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Where a turn would stand: behind this position, or behind the last confirmed one; None if nobody knows."""

    behind: int | None = None
    settled_place: bool = False
    """True for a turn of a stream: other turns may have been confirmed since it was written."""


class Confirmed:
    """Bounded; used on one event loop. ``list_turns`` is None for a client that cannot list them."""

    def __init__(self, list_turns: ListTurns | None) -> None:
        self._list_turns = list_turns
        self._ends: OrderedDict[Owner, int] = OrderedDict()
        self._claimed: OrderedDict[Owner, int] = OrderedDict()
        self._named: OrderedDict[str | None, Owner | None] = OrderedDict()
        self._doubts: OrderedDict[str, Doubt] = OrderedDict()

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
        put(self._ends, _owner(scope), count, MAX_CONVERSATIONS)
        put(self._claimed, _owner(scope), count, MAX_CONVERSATIONS)

    def end(self, scope: Scope) -> int | None:
        """How many turns the conversation is known to have, before one of it is written on the stream."""
        owner, name = _owner(scope), scope.conversation_id
        put(self._named, name, owner if self._named.get(name, owner) == owner else None, MAX_CONVERSATIONS)
        return self._ends.get(owner)

    def counted(self, conversation_id: str, count: int) -> None:
        """The stream says how many turns a conversation has. One name of two users' conversations says nothing."""
        if (owner := self._named.get(conversation_id)) is not None:
            put(self._ends, owner, max(count, self._ends.get(owner, 0)), MAX_CONVERSATIONS)

    def failed(self, event_id: str, error: SynapError) -> None:
        """A send failed; from now on the turn is in doubt, unless the platform certainly does not have it."""
        sent = isinstance(error, NetworkError) and error.details.get("sent") is not False
        broke = isinstance(error, ServiceUnavailableError) and error.details.get("status") not in _REFUSED
        if sent or broke:
            self.interrupted(event_id)

    def interrupted(self, event_id: str) -> None:
        """A send was given up under way."""
        if event_id not in self._doubts:
            put(self._doubts, event_id, Doubt(), MAX_DOUBTS)

    def unacknowledged(self, event_id: str, behind: int | None) -> None:
        """A stream took the turn and said nothing; the conversation had ``behind`` turns then, None if unknown."""
        put(self._doubts, event_id, Doubt(behind, settled_place=True), MAX_DOUBTS)

    async def holds(self, event_id: str, scope: Scope, *, role: str, content: str) -> Arrival:
        """Whether a turn has arrived. One that is not in doubt has not.

        The same words said earlier do not count: only what stands behind the last confirmed turn does, and each turn
        there stands for one of ours; where that place is unknown, only the id. Raises: SynapError, if the platform
        cannot be asked now.
        """
        doubt = self._doubts.get(event_id)
        if doubt is None:
            return Arrival.ABSENT
        if self._list_turns is None:
            return Arrival.UNKNOWN
        owner = _owner(scope)
        end = self._ends.get(owner)
        if doubt.settled_place:
            end = None if doubt.behind is None else max(doubt.behind, self._claimed.get(owner, 0))
        who = {"user_id": scope.user_id, "customer_id": scope.customer_id}
        if end is None:
            return await self._holds_id(event_id, scope.conversation_id or "", who)
        for turn in await self._list_turns(scope.conversation_id or "", **who, start=end + 1, limit=READ_BACK):
            if (turn.role, turn.content) == (role, content) and (turn.position or 0) > end:
                self._found(event_id, owner, turn.position or end)
                return Arrival.ARRIVED
        return Arrival.ABSENT

    async def _holds_id(self, event_id: str, conversation_id: str, who: Mapping[str, str | None]) -> Arrival:
        """A platform that keeps a turn under its event id tells so, wherever it stands."""
        assert self._list_turns is not None
        for page in range(_PAGES):
            turns = await self._list_turns(conversation_id, **who, start=page * _PAGE + 1, limit=_PAGE)
            if any(turn.message_id == event_id for turn in turns):
                self._doubts.pop(event_id, None)
                return Arrival.ARRIVED
            if len(turns) < _PAGE:
                break
        return Arrival.UNKNOWN

    def _found(self, event_id: str, owner: Owner, position: int) -> None:
        put(self._ends, owner, max(position, self._ends.get(owner, 0)), MAX_CONVERSATIONS)
        put(self._claimed, owner, position, MAX_CONVERSATIONS)
        del self._doubts[event_id]


def _owner(scope: Scope) -> Owner:
    return scope.conversation_id, scope.user_id, scope.customer_id


def put(kept: OrderedDict[K, T], key: K, value: T, most: int) -> None:
    """Keep it as the newest; beyond ``most`` the oldest goes."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)
