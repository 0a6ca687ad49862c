"""A chat history that remembers: for ``RunnableWithMessageHistory`` and for programs that keep a history by hand."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from synap_integrations.guard import contained
from synap_integrations.langchain.ledger import captured_scope
from synap_integrations.langchain.messages import has_calls, role_of, text_of
from synap_integrations.langchain.prompts.injection import OURS, Injector
from synap_integrations.model import AssistantMessage, Context, Scope, UserMessage

if TYPE_CHECKING:
    from synap_integrations.ports import Memory

_RECALL: Final = contained("recall")
_RECORD: Final = contained("record")
_MAX_CONVERSATIONS: Final = 1_000
_MAX_MESSAGES: Final = 400


class SynapMemory(BaseChatMessageHistory):
    """The turns of a conversation, and in front of the next one what helps with it.

    ``RunnableWithMessageHistory(chain, SynapMemory)`` works as it stands: the session id is the conversation. The
    turns are those this process has seen, or those the platform tells of. Context is a transient human message at the
    end, directly before the user's own; it is never kept. Turns are recorded by the `SynapCallbackHandler` of the run;
    where none listens, `add_messages` records them.

    ``session_id`` names the conversation, as in LangChain's own histories, if ``conversation_id`` does not.

    Source: langchain_core 1.7.2, runnables/history.py, RunnableWithMessageHistory._enter_history and _exit_history
    """

    def __init__(
        self,
        conversation_id: str | None = None,
        *,
        synap: Memory | None = None,
        user_id: str | None = None,
        customer_id: str | None = None,
        session_id: str | None = None,
    ) -> None:
        super().__init__()
        conversation = conversation_id or session_id
        session = session_id if conversation_id else None
        self._injector = Injector(synap, Scope(conversation, user_id, customer_id=customer_id, session_id=session))
        self._reading: _Reading | None = None

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override] # LangChain declares an attribute, means either
        """The turns so far, and context for the next one behind them."""
        with _RECALL:
            if self._reading is None:
                scope = self._injector.scope_for()
                self._begin(self._injector.memory.recall(None, scope=scope), scope)
        return self._shown()

    async def aget_messages(self) -> list[BaseMessage]:
        """`messages`, without blocking the event loop."""
        with _RECALL:
            if self._reading is None:
                scope = self._injector.scope_for()
                self._begin(await self._injector.memory.arecall(None, scope=scope), scope)
        return self._shown()

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Keep the turn; record it too if no handler captures this run."""
        with _RECORD:
            reading, self._reading = self._reading, None
            scope = reading.scope if reading else self._injector.scope_for()
            new = [message for message in messages if message.additional_kwargs.get("lc_source") != OURS]
            _turns.add(self._injector.memory, scope, new, before=reading.turns if reading else ())
            if not (reading and reading.captured) and captured_scope() is None:
                self._record(new, scope)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """`add_messages`; it does not block."""
        self.add_messages(messages)

    def clear(self) -> None:
        """Forget the turns that this process has seen. What the platform remembers is not touched."""
        self._reading = None
        with _RECORD:
            _turns.clear(self._injector.memory, self._injector.scope_for())

    async def aclear(self) -> None:
        """`clear`; it does not block."""
        self.clear()

    def _begin(self, context: Context, scope: Scope) -> None:
        """From here to the end of the turn the history reads the same: LangChain counts on it."""
        turns = _turns.of(self._injector.memory, scope) or _told(context)
        block = self._injector.shown(context, scope)
        beside = (HumanMessage(content=block.text, additional_kwargs={"lc_source": OURS}),) if block else ()
        self._reading = _Reading(scope, turns, beside, captured=captured_scope() is not None)

    def _shown(self) -> list[BaseMessage]:
        return [*self._reading.turns, *self._reading.beside] if self._reading else []

    def _record(self, messages: Sequence[BaseMessage], scope: Scope) -> None:
        for message in messages:
            role, text = role_of(message), text_of(message)
            if role == "user" and text:
                self._injector.memory.record(UserMessage(text), scope=scope)
            elif role == "assistant" and text and not has_calls(message):
                self._injector.memory.record(AssistantMessage(text), scope=scope)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the history reads as during one turn."""

    scope: Scope
    turns: tuple[BaseMessage, ...]
    beside: tuple[BaseMessage, ...]
    captured: bool


def _told(context: Context) -> tuple[BaseMessage, ...]:
    """The turns that the platform tells of."""
    return tuple(
        [
            HumanMessage(content=turn.content) if turn.role == "user" else AIMessage(content=turn.content)
            for turn in context.recent_turns
        ]
    )


class _Turns:
    """The turns that this process has seen, by memory and scope: a history object lives for one call only. Bounded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: weakref.WeakKeyDictionary[Memory, OrderedDict[Scope, tuple[BaseMessage, ...]]] = (
            weakref.WeakKeyDictionary()
        )

    def of(self, memory: Memory, scope: Scope) -> tuple[BaseMessage, ...]:
        with self._lock:
            return self._seen.get(memory, OrderedDict()).get(scope, ())

    def add(self, memory: Memory, scope: Scope, new: Sequence[BaseMessage], *, before: Sequence[BaseMessage]) -> None:
        with self._lock:
            conversations = self._seen.setdefault(memory, OrderedDict())
            kept = (*(conversations.get(scope) or before), *new)
            conversations[scope] = kept[-_MAX_MESSAGES:]
            conversations.move_to_end(scope)
            if len(conversations) > _MAX_CONVERSATIONS:
                conversations.popitem(last=False)

    def clear(self, memory: Memory, scope: Scope) -> None:
        with self._lock:
            self._seen.get(memory, OrderedDict()).pop(scope, None)


_turns: Final = _Turns()
