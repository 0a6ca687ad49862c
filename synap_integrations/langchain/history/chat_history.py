"""A conversation's turns as LangChain's chat history, under the names of the platform's own package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from synap_integrations.guard import contained
from synap_integrations.langchain.history.memory import SynapMemory
from synap_integrations.model import Context
from synap_integrations.ports import Answer, ReadConversation
from synap_integrations.runtime.asking import Asker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synap_integrations.model import RecentTurn

_RECALL: Final = contained("recall")


class SynapChatMessageHistory(SynapMemory):
    """The turns of a conversation and nothing else, as `SynapMemory` keeps them; those of earlier processes are read
    from the platform.

    Every argument is optional: ``sdk`` is a `Synap` or the platform's SDK object, by default the process-wide `Synap`;
    who is talking is found in the run where no id is given. Use `SynapMemory` to have context shown as well.

    Raises: InvalidInputError, when it is made.
    """

    def __init__(  # noqa: PLR0913 - each by name
        self,
        sdk: object | None = None,
        conversation_id: str | None = None,
        user_id: str | None = None,
        customer_id: str | None = None,
        *,
        synap: object | None = None,
        session_id: str | None = None,
    ) -> None:
        self._asker = Asker(synap if synap is not None else sdk)
        super().__init__(
            conversation_id,
            synap=self._asker.memory,
            user_id=user_id,
            customer_id=customer_id or None,
            session_id=session_id,
        )

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override] # as in `SynapMemory`
        """The turns so far."""
        with _RECALL:
            if self._reading is None:
                scope = self._injector.scope_for()
                self._begin(_context(self._asker.lookup.ask(ReadConversation(), scope=scope)), scope)
        return self._shown()

    async def aget_messages(self) -> list[BaseMessage]:
        """`messages`, without blocking the event loop."""
        with _RECALL:
            if self._reading is None:
                scope = self._injector.scope_for()
                self._begin(_context(await self._asker.lookup.aask(ReadConversation(), scope=scope)), scope)
        return self._shown()


def answered_turns(answer: Answer) -> tuple[RecentTurn, ...]:
    """The turns up to the last answer: a question behind it is the one that is being answered now."""
    turns = list(answer.turns)
    while turns and turns[-1].role == "user":
        turns.pop()
    return tuple(turns)


def messages_of(turns: Sequence[RecentTurn]) -> list[BaseMessage]:
    """The turns as messages."""
    return [
        HumanMessage(content=turn.content) if turn.role == "user" else AIMessage(content=turn.content) for turn in turns
    ]


def _context(answer: Answer) -> Context:
    return Context(recent_turns=answered_turns(answer))
