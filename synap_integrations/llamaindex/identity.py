"""Whose conversation is a LlamaIndex run part of?

LlamaIndex has no place for identity, so it is read where people put it: ``instrument_tags``, OpenTelemetry's context
(OpenInference's ``using_session``), the memory object. What nobody names stays None.
"""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.memory.types import DEFAULT_CHAT_STORE_KEY, BaseChatStoreMemory, BaseMemory
from llama_index.core.workflow import Workflow
from llama_index_instrumentation.dispatcher import active_instrument_tags

from synap_integrations import runtime, scoping
from synap_integrations.guard import is_quiet
from synap_integrations.model import Scope, new_id

if TYPE_CHECKING:
    from types import FrameType

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

_RUN: Final = inspect.unwrap(Workflow.run).__code__
_MAX_FRAMES: Final = 16
_HANDED_OVER: Final = "synap.conversation_id"
_handed_over: Final[ContextVar[str | None]] = ContextVar("synap_llamaindex_conversation", default=None)


def surroundings() -> Scope:
    """What the code around a run says: ``with context(...)``, ``instrument_tags``, OpenTelemetry's context."""
    return scoping.merged(*layers())


def layers() -> tuple[Scope, ...]:
    """`surroundings`, each of the three by itself."""
    return scoping.ambient(), _from_tags(active_instrument_tags.get()), _from_telemetry()


def left_out() -> bool:
    """True if what runs here is neither captured nor given context: it is paused, or tagged ``{"synap": "off"}``."""
    return is_quiet() or active_instrument_tags.get().get("synap") in ("off", False)


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
    with suppress(TypeError):
        _conversation_of.pop(owner, None)


def inherit(heir: object, owner: object) -> None:
    """What comes next with ``heir`` continues the conversation of its own that ``owner`` has, if it has one."""
    if (known := _conversation_of.get(owner)) is not None:
        with suppress(TypeError):
            _conversation_of.setdefault(heir, known)


# --- the Context of a run that begins in a task of its own -------------------------------------------------------


def handed_over() -> dict[str, str]:
    """The conversation of the workflow ``Context`` that is about to be run, for `taken_up` in the run itself.

    From workflows 2.16 on, a run opens its span in a task that knows no Context; what is handed over is asked for while
    the application's call of ``run`` is still under way, and its ``ctx`` is read from there.

    Source: workflows 2.26.1, workflow.py, Workflow.run; plugins/basic.py, BasicRuntime.run_workflow
    """
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - documented, and in every Python this package supports
    for _ in range(_MAX_FRAMES):
        if frame is None or frame.f_code is _RUN:
            break
        frame = frame.f_back
    context = frame.f_locals.get("ctx") if frame is not None and frame.f_code is _RUN else None
    conversation_id = of_object(context).conversation_id if context is not None else None
    return {_HANDED_OVER: conversation_id} if conversation_id else {}


def received(handed: Mapping[str, object]) -> None:
    """What was handed over has arrived in the task of the run."""
    _handed_over.set(scoping.usable(handed.get(_HANDED_OVER)))


def taken_up(turn: object) -> None:
    """The turn of this run continues the conversation that was handed over."""
    if (known := _handed_over.get()) is not None:
        _conversation_of.setdefault(turn, known)


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
