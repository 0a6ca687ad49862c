"""LangChain's and LangGraph's events, on their way out."""

from __future__ import annotations

from functools import partial
from typing import Final

from synap_integrations.runtime.origin import record_from

FRAMEWORK: Final = "langchain"

record: Final = partial(record_from, FRAMEWORK)
"""Hand ``(memory, event, scope)`` over."""
