"""What a model was shown, and a memory that has something to show."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from synap_integrations.context.render import has_context
from synap_integrations.model import Context, ContextItem, ContextUsed, Receipt
from synap_integrations.testing import FakeMemory

KNOWN = "parks the red car on level 3"
BUNDLE = "bundle-1"


def knowing(text: str = KNOWN) -> FakeMemory:
    """A memory that knows one thing, from one bundle."""
    item = ContextItem("item-1", "facts", text=text)
    receipt = Receipt("why?", bundle_ids=(BUNDLE,), chosen=("item-1",))
    return FakeMemory(Context((item,), source="pushed", receipt=receipt))


def text_of(message: BaseMessage) -> str:
    """All text of a message."""
    if isinstance(message.content, str):
        return message.content
    return "\n".join(block if isinstance(block, str) else str(block.get("text", "")) for block in message.content)


def blocks_in(messages: Sequence[BaseMessage]) -> list[int]:
    """Places of the messages that hold a block of ours."""
    return [at for at, message in enumerate(messages) if has_context(text_of(message))]


def used(memory: FakeMemory) -> list[ContextUsed]:
    """What the platform was told about the use of its bundles."""
    return [event for event in memory.events if isinstance(event, ContextUsed)]


def spoken(memory: FakeMemory) -> list[str]:
    """The captured turns."""
    return [turn.content for turn in memory.turns]
