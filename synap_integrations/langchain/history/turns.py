"""Turns as messages: those that a platform tells of, and those that this process has seen."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from synap_integrations import after_fork
from synap_integrations.langchain.messages import role_of, text_of
from synap_integrations.model import RecentTurn, Scope
from synap_integrations.ports import Memory
from synap_integrations.runtime.earlier_turns import not_here_yet

_MAX_CONVERSATIONS: Final = 1_000
_MAX_MESSAGES: Final = 400


def messages_of(turns: Sequence[RecentTurn]) -> tuple[BaseMessage, ...]:
    """The turns as messages."""
    return tuple(
        [
            HumanMessage(content=turn.content) if turn.role == "user" else AIMessage(content=turn.content)
            for turn in turns
        ]
    )


def answered_turns(told: Sequence[RecentTurn]) -> tuple[RecentTurn, ...]:
    """The turns up to the last answer: a question behind it is the one that is being answered now."""
    turns = list(told)
    while turns and turns[-1].role == "user":
        turns.pop()
    return tuple(turns)


@dataclass(frozen=True, slots=True)
class Seen:
    """A conversation as this process knows it. ``whole``: with what was said before this process took part in it."""

    turns: tuple[BaseMessage, ...] = ()
    whole: bool = False
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def before(self, told: Sequence[RecentTurn]) -> Sequence[RecentTurn]:
        """Of the turns that a Synap tells of, those that were said before these."""
        users = [text_of(message) for message in self.turns if role_of(message) == "user"]
        answered = any(role_of(message) == "assistant" for message in self.turns)
        since = self.began if answered else None
        return answered_turns(not_here_yet(answered_turns(told), users, answered_since=since))


class SeenTurns:
    """What this process has seen, by memory and scope: a history object lives for one call only. Bounded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: weakref.WeakKeyDictionary[Memory, OrderedDict[Scope, Seen]] = weakref.WeakKeyDictionary()
        after_fork.watch(self)

    def after_fork_in_child(self) -> None:
        """A new lock: nobody holds it here."""
        self._lock = threading.Lock()

    def of(self, memory: Memory, scope: Scope) -> Seen:
        """The conversation so far; with this it has begun here."""
        with self._lock:
            return self._put(memory, scope, self._known(memory, scope))

    def learn(self, memory: Memory, scope: Scope, told: Sequence[RecentTurn]) -> Seen:
        """The conversation with its earlier turns, as the platform tells of them; what is whole stays as it is."""
        with self._lock:
            known = self._known(memory, scope)
            if known.whole:
                return known
            turns = (*messages_of(known.before(told)), *known.turns)
            return self._put(memory, scope, replace(known, turns=turns, whole=True))

    def add(self, memory: Memory, scope: Scope, new: Sequence[BaseMessage]) -> None:
        """These were said."""
        with self._lock:
            known = self._known(memory, scope)
            self._put(memory, scope, replace(known, turns=(*known.turns, *new)))

    def clear(self, memory: Memory, scope: Scope) -> None:
        """From here on the conversation begins anew."""
        with self._lock:
            self._put(memory, scope, Seen(whole=True))

    def _known(self, memory: Memory, scope: Scope) -> Seen:
        return self._seen.get(memory, OrderedDict()).get(scope) or Seen()

    def _put(self, memory: Memory, scope: Scope, seen: Seen) -> Seen:
        conversations = self._seen.setdefault(memory, OrderedDict())
        conversations[scope] = seen = replace(seen, turns=seen.turns[-_MAX_MESSAGES:])
        conversations.move_to_end(scope)
        if len(conversations) > _MAX_CONVERSATIONS:
            conversations.popitem(last=False)
        return seen
