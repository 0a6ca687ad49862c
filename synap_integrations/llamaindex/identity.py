"""Whose conversation is a LlamaIndex run part of?

LlamaIndex has no place for identity, so it is read where people put it: ``instrument_tags``, OpenTelemetry's context
(OpenInference's ``using_session``), the memory object. What nobody names stays None.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from typing import Final

from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.memory.types import DEFAULT_CHAT_STORE_KEY, BaseChatStoreMemory, BaseMemory
from llama_index_instrumentation.dispatcher import active_instrument_tags

from synap_integrations import runtime, scoping
from synap_integrations.model import Scope, new_id

try:
    from llama_index.core.memory import Memory
except ImportError:  # the newer memory arrived within 0.12
    Memory = ChatMemoryBuffer  # type: ignore[assignment,misc] # then there is none to be told apart

_TAG_KEYS: Final = {
    "synap.conversation_id": "synap_conversation_id",
    "synap.user_id": "synap_user_id",
    "synap.customer_id": "synap_customer_id",
    "synap.session_id": "synap_session_id",
}
_conversation_of: Final[weakref.WeakKeyDictionary[object, str]] = weakref.WeakKeyDictionary()


def surroundings() -> Scope:
    """What the code around a run says: ``with context(...)``, ``instrument_tags``, OpenTelemetry's context."""
    return scoping.merged(scoping.ambient(), _from_tags(active_instrument_tags.get()), _from_telemetry())


def of_turn(surroundings: Scope, memory: object, owner: object) -> Scope:
    """Whose turn it is that no memory of ours has claimed: field by field the first of the code around it, the memory
    it uses, the environment, and the engine or context it belongs to.
    """
    said = scoping.merged(surroundings, of_memory(memory), runtime.environment_scope())
    return said if said.conversation_id else scoping.merged(said, of_object(owner))


def of_memory(memory: object) -> Scope:
    """The conversation that a memory of LlamaIndex's own stands for; a key that every default has says nothing."""
    if isinstance(memory, Memory) and not isinstance(memory, ChatMemoryBuffer):
        return Scope(scoping.usable(memory.session_id))
    if isinstance(memory, BaseChatStoreMemory) and memory.chat_store_key != DEFAULT_CHAT_STORE_KEY:
        return Scope(scoping.usable(memory.chat_store_key))
    return scoping.NOWHERE


def of_object(owner: object) -> Scope:
    """A conversation of its own for an engine or a context, until the object ends or is told to `forget` it."""
    try:
        known = _conversation_of.get(owner)
        return Scope(known or _conversation_of.setdefault(owner, generated()))
    except TypeError:  # it can be neither hashed nor referred to weakly
        return Scope(generated())


def forget(owner: object) -> None:
    """The object starts a new conversation."""
    try:
        _conversation_of.pop(owner, None)
    except TypeError:
        return


def generated() -> str:
    """A conversation that nobody named."""
    return f"conversation-{new_id()}"


def memory_in(instance: object) -> BaseMemory | None:
    """The memory of an engine: ``_memory``, or ``memory`` in the runners of 0.12.

    Source: llama_index.core 0.14.25, chat_engine/*.py; 0.12.52, agent/runner/base.py
    """
    for name in ("_memory", "memory"):
        if isinstance(found := getattr(instance, name, None), BaseMemory):
            return found
    return None


def _from_tags(tags: Mapping[str, object]) -> Scope:
    if not tags:
        return scoping.NOWHERE
    return scoping.from_mapping({_TAG_KEYS.get(key, key): value for key, value in tags.items()})


def _from_telemetry() -> Scope:
    """What OpenTelemetry carries, if the application has loaded it.

    Source: openinference-instrumentation 0.1.72, context_attributes.py, using_attributes
    """
    telemetry = sys.modules.get("opentelemetry.context")
    if telemetry is None:
        return scoping.NOWHERE
    current = telemetry.get_current()
    return scoping.from_mapping(current) if current else scoping.NOWHERE
