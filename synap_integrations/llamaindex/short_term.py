"""The conversation so far as a system message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_index.core.base.llms.types import ChatMessage, MessageRole

from synap_integrations.llamaindex.asking import scope_here
from synap_integrations.runtime.asking import Asker
from synap_integrations.runtime.short_term import ShortTerm, above

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def synap_st_chat_message(  # noqa: PLR0913 - each by name
    sdk: object | None = None,
    conversation_id: str | None = None,
    *,
    system: str = "",
    style: str = "narrative",
    preamble_open: str | None = None,
    preamble_close: str | None = None,
    on_error: str = "fallback",
    user_id: str | None = None,
    customer_id: str | None = None,
    synap: object | None = None,
) -> Callable[[], Awaitable[ChatMessage | None]]:
    """A function to await for a system message: the conversation so far above your own ``system``; None if both are
    empty.

    Every argument is optional: ``sdk`` is a `Synap` or the platform's SDK object, by default the process-wide `Synap`;
    which conversation it is, is found in the code around. ``style`` is structured, narrative or bullet_points. With
    ``on_error="raise"`` a platform that does not answer in time is an error.

    Raises: InvalidInputError, when it is made.
    """
    asker = Asker(
        synap if synap is not None else sdk, conversation_id=conversation_id, user_id=user_id, customer_id=customer_id
    )
    terms = ShortTerm.checked(style=style, on_error=on_error)

    async def message() -> ChatMessage | None:
        block = terms.told(await asker.lookup.aask(terms.question, scope=scope_here(asker.stated)))
        content = above(system, block, preamble_open, preamble_close)
        return ChatMessage(role=MessageRole.SYSTEM, content=content) if content else None

    return message
