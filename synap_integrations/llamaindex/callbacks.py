"""`SynapCallbackHandler`: the one line that makes every chat engine and agent of LlamaIndex record its turns."""
# ruff: noqa: ANN401, ARG002 - the signatures are the framework's

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from llama_index.core.callbacks.base_handler import BaseCallbackHandler

from synap_integrations import runtime, scoping
from synap_integrations.import_strings import no_attribute
from synap_integrations.llamaindex import listener
from synap_integrations.model import Scope
from synap_integrations.ports import Memory, checked_memory

if TYPE_CHECKING:
    from llama_index.core.callbacks.schema import CBEventType


_OF_LANGCHAIN: Final = frozenset(
    f"ignore_{what}" for what in ("llm", "chain", "agent", "retriever", "retry", "chat_model", "custom_event")
)
_IN_LANGCHAIN: Final = "this is LlamaIndex's handler; LangChain's is synap_integrations.langchain.SynapCallbackHandler"


class SynapCallbackHandler(BaseCallbackHandler):
    """Records the turns of every chat engine and agent, wherever in the process they run.

    Making one is enough. It listens through LlamaIndex's instrumentation; it may also be put into a
    ``CallbackManager``, and then the engine that has this manager records to this handler, still once.

    Args:
        synap: anything with ``record`` and ``recall``; by default the process-wide `Synap`.
        conversation_id: whose conversation it is, where the handler serves only one; likewise ``user_id``,
            ``customer_id`` and ``session_id``. What is not given comes from ``with synap_integrations.context(...)``,
            ``instrument_tags``, the memory of the engine, the environment, or is generated per engine.

    Raises: InvalidInputError, if ``synap`` is no memory, or an id, or a setting of the process-wide `Synap`, is wrong.

    """

    def __init__(
        self,
        synap: Memory | None = None,
        *,
        conversation_id: str | None = None,
        user_id: str | None = None,
        customer_id: str | None = None,
        session_id: str | None = None,
    ) -> None:
        super().__init__(event_starts_to_ignore=[], event_ends_to_ignore=[])
        if checked_memory(synap) is None:
            runtime.check_settings()
        scope = Scope(conversation_id, user_id, customer_id=customer_id, session_id=session_id)
        self.attachment: listener.Attachment | None = None
        self.attachment = listener.add(listener.Attachment(synap, scoping.checked(scope)))

    # LangChain asks every handler for these. It then goes on, and its log says what `__getattr__` does.
    raise_error = False
    run_inline = True

    if not TYPE_CHECKING:  # a type checker would take every name for an attribute

        def __getattr__(self, name: str) -> object:
            """For names that only the other framework asks for, with what to use there."""
            raise no_attribute(self, name, elsewhere=_OF_LANGCHAIN, instead=_IN_LANGCHAIN)

    def detach(self) -> None:
        """Record nothing more. Idempotent."""
        attachment, self.attachment = self.attachment, None
        if attachment is not None:
            listener.remove(attachment)

    def on_event_start(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        parent_id: str = "",
        **kwargs: Any,
    ) -> str:
        """Nothing: the spans tell more."""
        return event_id

    def on_event_end(
        self, event_type: CBEventType, payload: dict[str, Any] | None = None, event_id: str = "", **kwargs: Any
    ) -> None:
        """Nothing: the spans tell more."""

    def start_trace(self, trace_id: str | None = None) -> None:
        """Nothing: the spans tell more."""

    def end_trace(self, trace_id: str | None = None, trace_map: dict[str, list[str]] | None = None) -> None:
        """Nothing: the spans tell more."""
