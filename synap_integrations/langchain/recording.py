"""LangChain's and LangGraph's events, on their way out."""

from __future__ import annotations

from functools import partial
from typing import Final

from synap_integrations.runtime.origin import record_from

record: Final = partial(record_from, "langchain")
"""Hand ``(memory, event, scope)`` over."""
