"""Synap for LangChain and LangGraph: the public names, each loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .augmented import with_synap_memory
    from .callbacks import SynapCallbackHandler
    from .memory import SynapMemory
    from .middleware import SynapMiddleware
    from .template import synap_context

_HOME = {
    "SynapCallbackHandler": ".callbacks",
    "SynapMemory": ".memory",
    "SynapMiddleware": ".middleware",
    "synap_context": ".template",
    "with_synap_memory": ".augmented",
}

__all__ = ["SynapCallbackHandler", "SynapMemory", "SynapMiddleware", "synap_context", "with_synap_memory"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return list(__all__)
