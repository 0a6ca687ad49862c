"""The conversation so far as a step of a chain, or as a system message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import SystemMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda

from synap_integrations.langchain.lookup.lookup_scope import scope_for
from synap_integrations.runtime.lookup_scope import Asker
from synap_integrations.runtime.short_term import ON_ERROR, STYLE, ShortTerm, ShortTermMessage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Unpack

    from langchain_core.runnables import Runnable

    from synap_integrations.runtime.short_term import MessageTerms


def synap_st_runnable(  # noqa: PLR0913 - each by name
    sdk: object | None = None,
    conversation_id: str | None = None,
    *,
    style: str = STYLE,
    on_error: str = ON_ERROR,
    user_id: str | None = None,
    customer_id: str | None = None,
    synap: object | None = None,
) -> Runnable[Any, str]:
    """A step for ``RunnablePassthrough.assign(synap_st=synap_st_runnable())``: the conversation so far as a text for a
    template's slot, ``""`` if there is none. Its input does not matter. Sync and async.

    Every argument is optional: ``sdk`` is a `Synap` or the platform's SDK object, by default the process-wide `Synap`;
    which conversation it is, is found in the run. ``style`` is structured, narrative or bullet_points. With
    ``on_error="raise"`` a platform that does not answer in time is an error of the chain.

    Raises: InvalidInputError, when it is made.
    """
    asker = Asker(
        synap if synap is not None else sdk, conversation_id=conversation_id, user_id=user_id, customer_id=customer_id
    )
    terms = ShortTerm.checked(style=style, on_error=on_error)

    def told(_: object, config: RunnableConfig) -> str:
        scope = scope_for(asker.stated, config)
        return terms.told(asker.lookup.ask(terms.question, scope=scope), asker.lookup, scope)

    async def atold(_: object, config: RunnableConfig) -> str:
        scope = scope_for(asker.stated, config)
        return terms.told(await asker.lookup.aask(terms.question, scope=scope), asker.lookup, scope)

    return RunnableLambda(told, atold, name="synap_st")


def synap_st_message(
    sdk: object | None = None, conversation_id: str | None = None, **terms: Unpack[MessageTerms]
) -> Callable[[], Awaitable[SystemMessage | None]]:
    """A function to await for a system message: the conversation so far above your own ``system``; None if both are
    empty.

    By name there are ``system``, ``preamble_open`` and ``preamble_close``, which frame the conversation, and the
    arguments of `synap_st_runnable`.

    Raises: InvalidInputError, when it is made.
    """
    told = ShortTermMessage(sdk, conversation_id, terms)

    async def message() -> SystemMessage | None:
        content = await told.text(scope_for)
        return SystemMessage(content=content) if content else None

    return message
