"""A conversation's turns as LangChain's chat history, under the names of the platform's own package."""

from __future__ import annotations

from typing import Final

from synap_integrations.langchain.history.memory import SynapMemory
from synap_integrations.model import Context, Scope
from synap_integrations.runtime.lookup_scope import Asker

_NOTHING: Final = Context()


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
        super().__init__(
            conversation_id,
            synap=Asker(synap if synap is not None else sdk).memory,
            user_id=user_id,
            customer_id=customer_id or None,
            session_id=session_id,
        )

    def _recalled(self, scope: Scope) -> Context:  # noqa: ARG002 - it shows no context
        return _NOTHING

    async def _arecalled(self, scope: Scope) -> Context:
        return self._recalled(scope)
