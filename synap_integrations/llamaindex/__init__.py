"""Synap for LlamaIndex: capture for every chat engine and agent, and a memory that knows its user.

Each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

# Not lazy, so that the name stays with the function when its module of the same name is loaded; it loads nothing else.
from .attach import attach

if TYPE_CHECKING:
    from .block import SynapMemoryBlock
    from .callbacks import SynapCallbackHandler
    from .memory import SynapMemory

_HOME = {
    "SynapCallbackHandler": ".callbacks",
    "SynapMemory": ".memory",
    "SynapMemoryBlock": ".block",
}

__all__ = ["SynapCallbackHandler", "SynapMemory", "SynapMemoryBlock", "attach"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return list(__all__)
