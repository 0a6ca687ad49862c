"""Context for prompt templates: a step that turns what the user asks into a block of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_core.runnables import RunnableConfig, RunnableLambda

from synap_integrations.guard import contained
from synap_integrations.langchain.capture import translate
from synap_integrations.langchain.prompts.injection import Injector
from synap_integrations.model import Scope

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable

    from synap_integrations.langchain.options import Key
    from synap_integrations.ports import Memory

_RECALL: Final = contained("recall")


def synap_context(  # noqa: PLR0913 - whose conversation it is, by name
    synap: Memory | None = None,
    *,
    conversation_id: str | None = None,
    user_id: str | None = None,
    customer_id: str | None = None,
    session_id: str | None = None,
    input_key: Key | None = None,
) -> Runnable[Any, str]:
    """A step for ``RunnablePassthrough.assign(context=synap_context())``: text for a template's slot, ``""`` if none.

    The question is read from the step's input as `SynapCallbackHandler` reads a turn from a chain's; ``input_key``
    says where it stands. Put the slot late in the prompt, beside the question: what comes before it stays cacheable.
    """
    scope = Scope(conversation_id, user_id, customer_id=customer_id, session_id=session_id)
    step = _ContextStep(Injector(synap, scope), input_key)
    return RunnableLambda(step.render, step.arender, name="synap_context")


class _ContextStep:
    """One step in a chain, sync and async."""

    def __init__(self, injector: Injector, input_key: Key | None) -> None:
        self._injector = injector
        self._input_key = input_key

    def render(self, inputs: object, config: RunnableConfig) -> str:
        with _RECALL:
            scope = self._injector.scope_for(config)
            context = self._injector.memory.recall(self._query(inputs), scope=scope)
            return self._injector.shown(context, scope).text
        return ""

    async def arender(self, inputs: object, config: RunnableConfig) -> str:
        with _RECALL:
            scope = self._injector.scope_for(config)
            context = await self._injector.memory.arecall(self._query(inputs), scope=scope)
            return self._injector.shown(context, scope).text
        return ""

    def _query(self, inputs: object) -> str | None:
        opening = translate.opening_of(inputs, self._input_key)
        return opening.spoken[-1].text if opening and opening.spoken else None
