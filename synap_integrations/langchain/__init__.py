"""Synap for LangChain and LangGraph: the public names, each loaded when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synap_integrations.import_strings import lazily

if TYPE_CHECKING:
    from .callbacks import SynapCallbackHandler
    from .history.chat_history import SynapChatMessageHistory
    from .history.memory import SynapMemory
    from .history.middleware import SynapHistoryMiddleware
    from .history.short_term import synap_st_message, synap_st_runnable
    from .lookup.agent_tools import SynapForgetTool, SynapSearchTool, SynapStoreTool
    from .lookup.node import create_synap_node
    from .lookup.retriever import SynapRetriever
    from .prompts.augmented import with_synap_memory
    from .prompts.middleware import SynapMiddleware
    from .prompts.template import synap_context
    from .store.store import SynapStore

_HOME = {
    "SynapCallbackHandler": ".callbacks",
    "SynapChatMessageHistory": ".history.chat_history",
    "SynapForgetTool": ".lookup.agent_tools",
    "SynapHistoryMiddleware": ".history.middleware",
    "SynapMemory": ".history.memory",
    "SynapMiddleware": ".prompts.middleware",
    "SynapRetriever": ".lookup.retriever",
    "SynapSearchTool": ".lookup.agent_tools",
    "SynapStore": ".store.store",
    "SynapStoreTool": ".lookup.agent_tools",
    "create_synap_node": ".lookup.node",
    "synap_context": ".prompts.template",
    "synap_st_message": ".history.short_term",
    "synap_st_runnable": ".history.short_term",
    "with_synap_memory": ".prompts.augmented",
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


__getattr__ = lazily(__name__, _HOME, {"langchain_core": "'synap-integrations[langchain]'", "langgraph": "langgraph"})


def __dir__() -> list[str]:
    return list(__all__)
