"""What LangGraph adds to LangChain, read without requiring LangGraph.

Whoever hands us one of its objects has imported it, so its classes are looked up among the loaded modules.

Source: langgraph 1.2.22 and 0.6.11, types.py, errors.py, runtime.py, callbacks.py
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Final, cast

LIFECYCLE: Final = "langgraph.callbacks"
"""Where newer versions of LangGraph define who is told about interrupts."""
_INTERRUPT_ID: Final = re.compile(r"[0-9a-f]{32}")
_NO_CLASS: Final = ()
_RUNTIME: Final = "__pregel_runtime"
_FROM_RUNTIME: Final = ("user_id", "customer_id", "conversation_id", "session_id", "thread_id")


def _loaded(module: str, name: str) -> type | tuple[()]:
    """A class of a module, or nothing an object could be an instance of if the module is not loaded."""
    return cast("type | tuple[()]", getattr(sys.modules.get(module), name, _NO_CLASS))


def lifecycle_handler_class() -> type:
    """The class whose instances are told about interrupts, once its module is loaded."""
    return cast("type", sys.modules[LIFECYCLE].GraphCallbackHandler)


def is_command(value: object) -> bool:
    """True for the ``Command`` that resumes or steers a graph."""
    return isinstance(value, _loaded("langgraph.types", "Command"))


def resumed_with(command: object) -> tuple[list[str], frozenset[str]]:
    """The words a ``Command`` resumes with: a string, or the answers to interrupts by their ids; and these ids."""
    resume = getattr(command, "resume", None)
    if isinstance(resume, Mapping) and resume:
        ids = [key for key in resume if isinstance(key, str) and _INTERRUPT_ID.fullmatch(key)]
        if len(ids) == len(resume):
            return [words for words in resume.values() if isinstance(words, str)], frozenset(ids)
    return [resume] if isinstance(resume, str) else [], frozenset()


def update_of(command: object) -> object:
    """The state update that a ``Command`` carries."""
    return getattr(command, "update", None)


def is_control_flow(error: BaseException) -> bool:
    """True for what LangGraph raises to interrupt or to hand over; such a run has not failed."""
    return isinstance(error, _loaded("langgraph.errors", "GraphBubbleUp"))


def is_interrupt(error: BaseException) -> bool:
    """True if the run stopped to ask a human."""
    return isinstance(error, _loaded("langgraph.errors", "GraphInterrupt"))


def questions_of(error: BaseException) -> Iterable[tuple[str, str]]:
    """Id and text of each interrupt of a ``GraphInterrupt`` that is plain words."""
    for interrupts in error.args:
        for interrupt in interrupts if isinstance(interrupts, list | tuple) else (interrupts,):
            value = getattr(interrupt, "value", None)
            if isinstance(value, str):
                # 0.6 names it ``id`` from 0.6.0 on and ``interrupt_id`` before; the text stands in for both.
                yield str(getattr(interrupt, "id", None) or value), value


def identity_in_runtime(configurable: Mapping[str, object]) -> Mapping[str, object]:
    """What the runtime context (``invoke(…, context=…)``) says about who is talking; empty if it says nothing.

    The runtime travels in the configurable part of the config of the code that is running.
    """
    context = getattr(configurable.get(_RUNTIME), "context", None)
    if context is None:
        return {}
    if isinstance(context, Mapping):
        return context
    return {name: value for name in _FROM_RUNTIME if (value := getattr(context, name, None)) is not None}
