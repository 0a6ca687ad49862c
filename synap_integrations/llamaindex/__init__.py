"""Synap for LlamaIndex: capture for every chat engine and agent, and a memory that knows its user.

Each name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synap_integrations.import_strings import lazily

# Not lazy, so that the name stays with the function when its module of the same name is loaded; it loads nothing else.
from .attach import attach

if TYPE_CHECKING:
    from .agent_tools import SynapForgetTool, SynapSearchTool, SynapStoreTool
    from .block import SynapMemoryBlock
    from .callbacks import SynapCallbackHandler
    from .chat_memory import SynapChatMemory
    from .memory import SynapMemory
    from .retriever import SynapRetriever
    from .short_term import synap_st_chat_message

_HOME = {
    "SynapCallbackHandler": ".callbacks",
    "SynapChatMemory": ".chat_memory",
    "SynapForgetTool": ".agent_tools",
    "SynapMemory": ".memory",
    "SynapMemoryBlock": ".block",
    "SynapRetriever": ".retriever",
    "SynapSearchTool": ".agent_tools",
    "SynapStoreTool": ".agent_tools",
    "synap_st_chat_message": ".short_term",
}

__all__ = [
    "SynapCallbackHandler",
    "SynapChatMemory",
    "SynapForgetTool",
    "SynapMemory",
    "SynapMemoryBlock",
    "SynapRetriever",
    "SynapSearchTool",
    "SynapStoreTool",
    "attach",
    "synap_st_chat_message",
]


_EXTRA = "'synap-integrations[llamaindex]'"

__getattr__ = lazily(
    __name__, _HOME, {"llama_index": _EXTRA, "llama_index_instrumentation": _EXTRA, "workflows": _EXTRA}
)


def __dir__() -> list[str]:
    return list(__all__)
