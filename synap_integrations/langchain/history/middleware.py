"""A conversation that continues in `create_agent` without a checkpointer."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from synap_integrations import after_fork
from synap_integrations.langchain.history.turns import answered_turns, messages_of
from synap_integrations.langchain.messages import role_of, text_of
from synap_integrations.langchain.prompts.middleware import SynapMiddleware, with_messages
from synap_integrations.ports import Answer, ReadConversation
from synap_integrations.runtime.lookup_scope import Asker

if TYPE_CHECKING:
    from langchain.agents.middleware.types import ModelRequest
    from langchain_core.messages import BaseMessage

    from synap_integrations.model import RecentTurn, Scope

_MAX_FROZEN: Final = 1_000


class SynapHistoryMiddleware(SynapMiddleware):
    """Shows the agent's model the conversation's earlier turns, as the platform holds them, and captures the turn if
    nobody else does.

    Turns that the agent's state holds already, by a checkpointer or because the application passes them, are not shown
    twice; state and checkpoints are not touched. Every argument is optional: ``sdk`` is a `Synap` or the platform's SDK
    object, by default the process-wide `Synap`. For context beside the turns use `SynapMiddleware`, also together.

    Raises: InvalidInputError, when it is made.

    Source: langchain 1.4.7, agents/middleware/types.py, AgentMiddleware.wrap_model_call
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
        max_turns: int = 40,
        capture: bool = True,
    ) -> None:
        self._asker = Asker(synap if synap is not None else sdk)
        super().__init__(
            self._asker.memory,
            conversation_id=conversation_id,
            user_id=user_id,
            customer_id=customer_id or None,
            session_id=session_id,
            capture=capture,
        )
        self._max_turns = max_turns
        self._lock = threading.Lock()
        self._frozen: OrderedDict[tuple[Scope, str], tuple[RecentTurn, ...]] = OrderedDict()
        after_fork.watch(self)

    def after_fork_in_child(self) -> None:
        """A new lock: nobody holds it here."""
        self._lock = threading.Lock()

    def _prepared(self, request: ModelRequest[Any], scope: Scope) -> ModelRequest[Any]:
        turns = self._held(request, scope)
        if turns is None:
            turns = self._freeze(request, scope, self._asker.lookup.ask(ReadConversation(), scope=scope))
        return _continuing(request, turns)

    async def _aprepared(self, request: ModelRequest[Any], scope: Scope) -> ModelRequest[Any]:
        turns = self._held(request, scope)
        if turns is None:
            turns = self._freeze(request, scope, await self._asker.lookup.aask(ReadConversation(), scope=scope))
        return _continuing(request, turns)

    def _held(self, request: ModelRequest[Any], scope: Scope) -> tuple[RecentTurn, ...] | None:
        """What the first model call of this turn was shown: all laps of a turn see the same."""
        with self._lock:
            return self._frozen.get((scope, _asked_as(request)))

    def _freeze(self, request: ModelRequest[Any], scope: Scope, answer: Answer) -> tuple[RecentTurn, ...]:
        turns = answered_turns(answer.turns)[-self._max_turns :] if self._max_turns else ()
        with self._lock:
            self._frozen[scope, _asked_as(request)] = turns
            if len(self._frozen) > _MAX_FROZEN:
                self._frozen.popitem(last=False)
        return turns


def _asked_as(request: ModelRequest[Any]) -> str:
    """The id of the message that is being answered."""
    return next((str(one.id) for one in reversed(request.messages) if role_of(one) == "user"), "")


def _continuing(request: ModelRequest[Any], turns: tuple[RecentTurn, ...]) -> ModelRequest[Any]:
    """The request behind the turns that its own messages do not begin with."""
    said: list[BaseMessage] = list(request.messages)
    first = next((text_of(message) for message in said if role_of(message) == "user"), None)
    at = next((at for at, turn in enumerate(turns) if turn.role == "user" and turn.content == first), len(turns))
    return with_messages(request, [*messages_of(turns[:at]), *said]) if turns[:at] else request
