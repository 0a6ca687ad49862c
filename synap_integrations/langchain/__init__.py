"""Synap for LangChain and LangGraph: the public names, each loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .agent_tools import SynapForgetTool, SynapSearchTool, SynapStoreTool
    from .augmented import with_synap_memory
    from .callbacks import SynapCallbackHandler
    from .history import SynapChatMessageHistory
    from .history_middleware import SynapHistoryMiddleware
    from .memory import SynapMemory
    from .middleware import SynapMiddleware
    from .node import create_synap_node
    from .retriever import SynapRetriever
    from .short_term import synap_st_message, synap_st_runnable
    from .store import SynapStore
    from .template import synap_context

_HOME = {
    "SynapCallbackHandler": ".callbacks",
    "SynapChatMessageHistory": ".history",
    "SynapForgetTool": ".agent_tools",
    "SynapHistoryMiddleware": ".history_middleware",
    "SynapMemory": ".memory",
    "SynapMiddleware": ".middleware",
    "SynapRetriever": ".retriever",
    "SynapSearchTool": ".agent_tools",
    "SynapStore": ".store",
    "SynapStoreTool": ".agent_tools",
    "create_synap_node": ".node",
    "synap_context": ".template",
    "synap_st_message": ".short_term",
    "synap_st_runnable": ".short_term",
    "with_synap_memory": ".augmented",
}

__all__ = [
    "SynapCallbackHandler",
    "SynapChatMessageHistory",
    "SynapForgetTool",
    "SynapHistoryMiddleware",
    "SynapMemory",
    "SynapMiddleware",
    "SynapRetriever",
    "SynapSearchTool",
    "SynapStore",
    "SynapStoreTool",
    "create_synap_node",
    "synap_context",
    "synap_st_message",
    "synap_st_runnable",
    "with_synap_memory",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return list(__all__)
