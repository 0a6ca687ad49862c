"""A chat history that remembers: for ``RunnableWithMessageHistory`` and for programs that keep a history by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, HumanMessage

from synap_integrations.guard import contained
from synap_integrations.import_strings import no_attribute
from synap_integrations.langchain.capture.tracker import captured_scope
from synap_integrations.langchain.history.turns import SeenTurns
from synap_integrations.langchain.messages import has_calls, role_of, text_of
from synap_integrations.langchain.prompts.injection import OURS, Injector
from synap_integrations.langchain.recording import record
from synap_integrations.model import AssistantMessage, Context, Scope, UserMessage
from synap_integrations.ports import Answer, Beginnings, Lookup, Memory, ReadConversation
from synap_integrations.runtime.earlier_turns import first_reads_of
from synap_integrations.runtime.short_term import said_since

_OF_LLAMAINDEX: Final = frozenset(
    {"put", "aput", "put_messages", "aput_messages", "get", "aget", "get_all", "aget_all"}
)
_IN_LLAMAINDEX: Final = "this is the memory for LangChain; use synap_integrations.llamaindex.SynapMemory"
_RECALL: Final = contained("recall")
_RECORD: Final = contained("record")
_EARLIER_TURNS: Final = ReadConversation(turns_only=True)
_turns: Final = SeenTurns()


class SynapMemory(BaseChatMessageHistory):
    """The turns of a conversation, and in front of the next one what helps with it.

    ``RunnableWithMessageHistory(chain, SynapMemory)`` works as it stands: the session id is the conversation. Context
    is a transient human message at the end, directly before the user's own; it is never kept. Turns are recorded by the
    `SynapCallbackHandler` of the run; where none listens, `add_messages` records them.

    The turns are those that this process has seen. Those of earlier processes come with the context of the first read;
    where they do not, the platform is asked for them, and given ``SYNAP_LOOKUP_TIMEOUT_S``; one that cannot tell is
    asked again at a later turn.

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

    if not TYPE_CHECKING:  # a type checker would take every name for an attribute

        def __getattr__(self, name: str) -> object:
            """For names that only the other framework asks for, with what to use there."""
            raise no_attribute(self, name, elsewhere=_OF_LLAMAINDEX, instead=_IN_LLAMAINDEX)

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override] # LangChain declares an attribute, means either
        """The turns so far, and context for the next one behind them."""
        with _RECALL:
            if self._reading is None:
                scope = self._injector.scope_for()
                context = self._recalled(scope)
                lookup = self._lookup_for(context, scope)
                told = lookup.ask(_EARLIER_TURNS, scope=scope) if lookup else None
                self._begin(context, told, scope)
        return self._shown()

    async def aget_messages(self) -> list[BaseMessage]:
        """`messages`, without blocking the event loop."""
        with _RECALL:
            if self._reading is None:
                scope = self._injector.scope_for()
                context = await self._arecalled(scope)
                lookup = self._lookup_for(context, scope)
                told = await lookup.aask(_EARLIER_TURNS, scope=scope) if lookup else None
                self._begin(context, told, scope)
        return self._shown()

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Keep the turn; record it too if no handler captures this run."""
        with _RECORD:
            reading, self._reading = self._reading, None
            scope = reading.scope if reading else self._injector.scope_for()
            new = [message for message in messages if message.additional_kwargs.get("lc_source") != OURS]
            _turns.add(self._injector.memory, scope, new)
            if not (reading and reading.captured) and captured_scope() is None:
                self._record(new, scope)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """`add_messages`; it does not block."""
        self.add_messages(messages)

    def clear(self) -> None:
        """Begin the conversation anew, also for later processes of this machine. What the platform remembers is not
        touched.
        """
        self._reading = None
        with _RECORD:
            memory, scope = self._injector.memory, self._injector.scope_for()
            _turns.clear(memory, scope)
            if isinstance(memory, Beginnings):
                memory.begin_anew(scope)

    async def aclear(self) -> None:
        """`clear`; it does not block."""
        self.clear()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _recalled(self, scope: Scope) -> Context:
        return self._injector.memory.recall(None, scope=scope)

    async def _arecalled(self, scope: Scope) -> Context:
        return await self._injector.memory.arecall(None, scope=scope)

    def _lookup_for(self, context: Context, scope: Scope) -> Lookup | None:
        """Whom to ask for the turns of earlier processes; None if they are known, or nobody can tell now."""
        memory = self._injector.memory
        known = _turns.of(memory, scope).whole or context.recent_turns
        if known or scope.conversation_id is None:
            return None
        return first_reads_of(memory).lookup(memory)

    def _begin(self, context: Context, told: Answer | None, scope: Scope) -> None:
        """From here to the end of the turn the history reads the same: LangChain counts on it."""
        memory = self._injector.memory
        seen = _turns.of(memory, scope)
        concluded = told is not None and first_reads_of(memory).concluded(told)
        if concluded or context.recent_turns:
            turns = context.recent_turns or (told.turns if told else ())
            seen = _turns.learn(memory, scope, said_since(turns, memory, scope))
        block = self._injector.shown(context, scope)
        beside = (HumanMessage(content=block.text, additional_kwargs={"lc_source": OURS}),) if block else ()
        self._reading = _Reading(scope, seen.turns, beside, captured=captured_scope() is not None)

    def _shown(self) -> list[BaseMessage]:
        return [*self._reading.turns, *self._reading.beside] if self._reading else []

    def _record(self, messages: Sequence[BaseMessage], scope: Scope) -> None:
        for message in messages:
            role, text = role_of(message), text_of(message)
            if role == "user" and text:
                record(self._injector.memory, UserMessage(text), scope)
            elif role == "assistant" and text and not has_calls(message):
                record(self._injector.memory, AssistantMessage(text), scope)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the history reads as during one turn."""

    scope: Scope
    turns: tuple[BaseMessage, ...]
    beside: tuple[BaseMessage, ...]
    captured: bool
