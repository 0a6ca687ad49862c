"""`SynapMemory` under the name and the keywords of the platform's own package."""
# ruff: noqa: ANN401 - what is passed on to pydantic may be anything

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from llama_index.core.base.llms.types import ChatMessage

from synap_integrations import runtime
from synap_integrations.llamaindex.memory import SynapMemory


class SynapChatMemory(SynapMemory):
    """`SynapMemory`, made as the platform's own package has it made.

    Every argument is optional: ``sdk`` is a `Synap` or the platform's SDK object, by default the process-wide `Synap`.

    Raises: InvalidInputError, if an id cannot be used, or ``sdk`` is neither.
    """

    def __init__(
        self,
        synap: object | None = None,
        conversation_id: str | None = None,
        user_id: str | None = None,
        customer_id: str | None = None,
        *,
        sdk: object | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(
            runtime.memory_over(synap if synap is not None else sdk),
            conversation_id=conversation_id,
            user_id=user_id,
            customer_id=customer_id or None,
            **fields,
        )

    @classmethod
    def from_defaults(
        cls,
        chat_history: Sequence[ChatMessage] | None = None,
        *,
        synap: object | None = None,
        sdk: object | None = None,
        **given: Any,
    ) -> Self:
        """A memory that begins with these messages. What engines pass and this memory does not use is ignored."""
        memory = runtime.memory_over(synap if synap is not None else sdk)
        return super().from_defaults(chat_history, synap=memory, **given)

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex serializes it under."""
        return "SynapChatMemory"
