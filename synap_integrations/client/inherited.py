"""Turns that an earlier process may have sent before it died: have they arrived?

That process had sent the turns of a conversation one after the other, so those that arrived are the first of what it
left, and they are the last that the conversation has. The two are laid over each other, which decides for all of them
at once. Only a platform that does not remove repeats by event id needs this. See decision 25.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Final

from synap_integrations.model import AssistantMessage, Envelope, Scope, UserMessage
from synap_integrations.wire.report import describe
from synap_integrations.wire.rest_schema import ListedTurn

from .confirmed import MAX_CONVERSATIONS, Arrival, ListTurns, put

MAX_KNOWN: Final = 10_000
_PAGE: Final = 500
_PAGES: Final = 10
_SKEW: Final = timedelta(minutes=1)
"""By so much the platform's clock may be behind ours before a turn that arrived is sent again."""
_ROUNDED: Final = timedelta(seconds=1)


def arrived(
    said: Sequence[Envelope], listed: Sequence[ListedTurn], *, behind: int | None, since: datetime
) -> frozenset[str]:
    """Ids of those of the turns ``said`` that the conversation ``listed`` has.

    Those that stand there under their own ids, if there are any: then the platform keeps ids. Else those whose roles
    and words follow the first ``behind`` turns, in order. Where nobody knows how many were confirmed, those that are
    the end of the conversation, from the first one on, unless it had them before ``since``. If that can be read in
    several ways, the longest, as long as it leaves nothing since then to somebody else; else none: rather twice than
    never.
    """
    ids = frozenset(turn.message_id for turn in listed)
    if under_own_id := frozenset(one.event_id for one in said if one.event_id in ids):
        return under_own_id
    if behind is not None:
        same = takewhile(
            lambda pair: _words(pair[0]) == (pair[1].role, pair[1].content), zip(said, listed[behind:], strict=False)
        )
        return frozenset(one.event_id for one, _ in same)
    counts = [
        count
        for count in range(1, min(len(said), len(listed)) + 1)
        if all(_same(one, turn, since) for one, turn in zip(said, listed[-count:], strict=False))
    ]
    if len(counts) > 1 and any((_dated(turn) or since) >= since for turn in listed[: -counts[-1]]):
        return frozenset()
    return frozenset(one.event_id for one in said[: max(counts, default=0)])


def _words(said: Envelope) -> tuple[str, str] | None:
    if not isinstance(said.event, UserMessage | AssistantMessage):
        return None
    report = describe(said.event)
    return report.role, report.content


def _same(said: Envelope, listed: ListedTurn, since: datetime) -> bool:
    """A platform may date a turn by when it came, or by when it was said, which travels with it."""
    at = _dated(listed)
    if at is None or _words(said) != (listed.role, listed.content):
        return False
    return at >= since - _SKEW or abs(at - said.occurred_at) <= _ROUNDED


def _dated(listed: ListedTurn) -> datetime | None:
    try:
        at = datetime.fromisoformat(listed.timestamp or "")
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


class Inherited:
    """Bounded; used on one event loop. ``list_turns`` is None for a client that cannot list them."""

    def __init__(self, list_turns: ListTurns | None) -> None:
        self._list_turns = list_turns
        self._known: OrderedDict[str, Arrival] = OrderedDict()
        self._ends: OrderedDict[Scope, int] = OrderedDict()

    async def holds(self, envelope: Envelope, scope: Scope, *, confirmed: int | None) -> Arrival:
        """Whether the platform has the turn, of which ``confirmed`` turns of ``scope`` are known in this process.

        Each turn is asked for once, and those behind it in its conversation with it. Raises: SynapError.
        """
        if envelope.earlier is None:
            return Arrival.ABSENT
        if (found := self._known.get(envelope.event_id)) is not None:
            return found
        said = [
            one for one in (envelope, *envelope.earlier.then) if isinstance(one.event, UserMessage | AssistantMessage)
        ]
        listed = await self._listed(scope)
        if listed is None:
            return Arrival.UNKNOWN
        known = [count for count in (envelope.earlier.behind, confirmed, self._ends.get(scope)) if count is not None]
        behind = max(known) if known else None
        there = arrived(said, listed, behind=behind, since=envelope.earlier.since)
        put(self._ends, scope, len(listed) if behind is None else behind + len(there), MAX_CONVERSATIONS)
        for one in said:
            put(self._known, one.event_id, Arrival.ARRIVED if one.event_id in there else Arrival.ABSENT, MAX_KNOWN)
        return self._known[envelope.event_id]

    async def _listed(self, scope: Scope) -> list[ListedTurn] | None:
        """The whole conversation; None if it cannot be listed, or is too long for that."""
        if self._list_turns is None:
            return None
        who = {"user_id": scope.user_id, "customer_id": scope.customer_id}
        found: list[ListedTurn] = []
        for page in range(_PAGES):
            turns = await self._list_turns(scope.conversation_id or "", **who, start=page * _PAGE + 1, limit=_PAGE)
            found += turns
            if len(turns) < _PAGE:
                return found
        return None
