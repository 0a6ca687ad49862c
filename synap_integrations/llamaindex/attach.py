"""Listen to every chat engine and agent of this process, without a line in the application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synap_integrations.supported import refuse_unsupported

if TYPE_CHECKING:
    from synap_integrations.ports import Detach, Memory


def attach(memory: Memory | None) -> Detach:
    """Record every turn of every chat engine and agent; call the result to let go. Attaching twice records once.

    Without a memory, turns go to the process-wide Synap of the moment.

    A `SynapCallbackHandler` made by hand takes precedence.

    Raises: InvalidInputError, if this version of llama-index-core is not supported.
    """
    # Naming this door must not load LlamaIndex.
    from llama_index.core import __version__  # noqa: PLC0415 - see above

    from synap_integrations.llamaindex import listener  # noqa: PLC0415 - see above

    refuse_unsupported("llamaindex", __version__)
    held = [listener.add(listener.Attachment(memory, automatic=True))]

    def detach() -> None:
        while held:
            listener.remove(held.pop())

    return detach
