"""The island's front door for zero-code start-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synap_integrations.ports import Detach, Memory


def attach(memory: Memory) -> Detach:
    """Record every turn of every chat engine and agent; call the result to let go. Attaching twice records once."""
    from synap_integrations.llamaindex import listener  # noqa: PLC0415 - naming the door must not load LlamaIndex

    attachment = listener.Attachment(memory)
    listener.add(attachment)
    return lambda: listener.remove(attachment)
