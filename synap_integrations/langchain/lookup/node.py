"""Context in a graph's state, under a key of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from langchain_core.runnables import RunnableConfig, RunnableLambda

from synap_integrations.context.render import as_block
from synap_integrations.guard import contained
from synap_integrations.langchain.capture import translate
from synap_integrations.langchain.lookup.lookup_scope import scope_for
from synap_integrations.langchain.recording import FRAMEWORK
from synap_integrations.model import Context, Scope
from synap_integrations.runtime.lookup_scope import Asker
from synap_integrations.runtime.search_options import SearchTerms
from synap_integrations.runtime.usage import record_used, used_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.runnables import Runnable

    from synap_integrations.ports import Answer

_RECALL: Final = contained("recall")


def create_synap_node(  # noqa: PLR0913 - each by name
    sdk: object | None = None,
    user_id: str | None = None,
    customer_id: str | None = None,
    conversation_id: str | None = None,
    *,
    state_key: str = "synap_context",
    messages_key: str = "messages",
    mode: str = "fast",
    max_results: int = 20,
    types: Sequence[str] | None = None,
    synap: object | None = None,
) -> Runnable[Any, dict[str, str]]:
    """A node that searches for what the user said last and puts what is remembered into ``state[state_key]``, as a
    block for a prompt that stored text cannot leave, ``""`` if nothing.

    ``graph.add_node("memory", create_synap_node())``, sync and async. Every argument is optional: ``sdk`` is a `Synap`
    or the platform's SDK object, by default the process-wide `Synap`; who is talking is found in the run where no id is
    given. A platform that does not answer puts ``""`` there; the graph goes on.

    Raises: InvalidInputError, when it is made.
    """
    asker = Asker(
        synap if synap is not None else sdk, conversation_id=conversation_id, user_id=user_id, customer_id=customer_id
    )
    terms = SearchTerms.checked(types=types, max_results=max_results, mode=mode)
    step = _Step(asker, terms, state_key=state_key, messages_key=messages_key)
    return RunnableLambda(step.run, step.arun, name="synap_node")


class _Step:
    """One node, sync and async."""

    def __init__(self, asker: Asker, terms: SearchTerms, *, state_key: str, messages_key: str) -> None:
        self._asker = asker
        self._terms = terms
        self._state_key = state_key
        self._messages_key = messages_key

    def run(self, state: object, config: RunnableConfig) -> dict[str, str]:
        text = ""
        with _RECALL:
            if query := self._query(state):
                scope = scope_for(self._asker.stated, config)
                text = self._shown(self._asker.lookup.ask(self._terms.search(query), scope=scope), scope)
        return {self._state_key: text}

    async def arun(self, state: object, config: RunnableConfig) -> dict[str, str]:
        text = ""
        with _RECALL:
            if query := self._query(state):
                scope = scope_for(self._asker.stated, config)
                text = self._shown(await self._asker.lookup.aask(self._terms.search(query), scope=scope), scope)
        return {self._state_key: text}

    def _query(self, state: object) -> str | None:
        held = state if isinstance(state, Mapping) else vars(state) if hasattr(state, "__dict__") else {}
        opening = translate.opening_of({"messages": held.get(self._messages_key) or []}, "messages")
        return opening.spoken[-1].text if opening and opening.spoken else None

    def _shown(self, answer: Answer, scope: Scope) -> str:
        block = as_block(Context(answer.items))
        record_used(FRAMEWORK, self._asker.recorder, used_of(answer, block.item_ids), scope)
        return block.text
