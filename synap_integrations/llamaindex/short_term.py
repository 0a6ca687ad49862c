"""The conversation so far as a system message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_index.core.base.llms.types import ChatMessage, MessageRole

from synap_integrations.llamaindex.lookup_scope import scope_here
from synap_integrations.runtime.short_term import ShortTermMessage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Unpack

    from synap_integrations.runtime.short_term import MessageTerms


def synap_st_chat_message(
    sdk: object | None = None, conversation_id: str | None = None, **terms: Unpack[MessageTerms]
) -> Callable[[], Awaitable[ChatMessage | None]]:
    """A function to await for a system message: the conversation so far above your own ``system``; None if both are
    empty.

    Every argument is optional: ``sdk`` is a `Synap` or the platform's SDK object, by default the process-wide `Synap`;
    which conversation it is, is found in the code around. The others are by name: ``system``, ``user_id``,
    ``customer_id``; ``style`` is structured, narrative or bullet_points; ``preamble_open`` and ``preamble_close`` frame
    the conversation. With ``on_error="raise"`` a platform that does not answer in time is an error.

    Raises: InvalidInputError, when it is made.
    """
    told = ShortTermMessage(sdk, conversation_id, terms)

    async def message() -> ChatMessage | None:
        content = await told.text(scope_here)
        return ChatMessage(role=MessageRole.SYSTEM, content=content) if content else None

    return message
