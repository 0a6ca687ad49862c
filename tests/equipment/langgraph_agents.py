"""Agents and graphs of the installed LangChain and LangGraph, and what tests of them share."""

import importlib
import warnings
from collections.abc import Iterable
from typing import Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_models import MODES

with warnings.catch_warnings():
    # The oldest versions warn about each other when they are imported.
    warnings.simplefilter("ignore")
    import langgraph.checkpoint.memory
    import langgraph.graph
    import langgraph.prebuilt


def _has(module: str, name: str) -> bool:
    try:
        return hasattr(importlib.import_module(module), name)
    except ImportError:
        return False


FEATURES = {
    "create_agent": _has("langchain.agents", "create_agent"),
    "lifecycle callbacks": _has("langgraph.callbacks", "GraphCallbackHandler"),
    "v3 events": _has("langchain_core.callbacks.base", "LLMManagerMixin")
    and hasattr(importlib.import_module("langchain_core.callbacks.base").LLMManagerMixin, "on_stream_event"),
}
GRAPH_MODES = (*MODES, "stream values", "stream messages", "astream messages", "astream_events v2")
every_mode = pytest.mark.parametrize("mode", MODES)
ADDED = ["U 1+2?", "T Let me add.", 'C add({"a": 1, "b": 2})', "R add=3", "A sum is 3"]
"""What is recorded of a `calculator` agent that was asked ``1+2?``."""


def needs(feature: str) -> pytest.MarkDecorator:
    """Skip the test where the installed frameworks lack the feature."""
    return pytest.mark.skipif(not FEATURES[feature], reason=f"the installed LangChain has no {feature}")


def make_agent(model: BaseChatModel, tools: Iterable[Any], **options: Any) -> Any:
    """The framework's own agent: ``create_agent`` where it exists, else its predecessor."""
    if FEATURES["create_agent"]:
        from langchain.agents import create_agent  # noqa: PLC0415 - only in newer versions

        return create_agent(model, list(tools), **options)
    return langgraph.prebuilt.create_react_agent(model, list(tools), **options)


def saver() -> Any:
    """Checkpoints in memory."""
    return langgraph.checkpoint.memory.InMemorySaver()


def ask(text: str = "go") -> dict[str, Any]:
    """The input of an agent."""
    return {"messages": [("user", text)]}
