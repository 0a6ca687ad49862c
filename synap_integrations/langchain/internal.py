"""Which runs are not for the user: a summary, a selection, a title, and what the application has switched off."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from langchain_core.runnables.config import var_child_runnable_config

_TAGS: Final = frozenset({"nostream", "langsmith:hidden"})
_NO_TAGS: Final[Collection[str]] = ()


def is_internal(tags: Collection[str] | None, metadata: Mapping[str, object] | None) -> bool:
    """True for what is hidden, or called by middleware.

    Source: langgraph 1.2.22, constants.py, TAG_NOSTREAM and TAG_HIDDEN; langchain 1.4.7, agents/middleware/
    summarization.py and tool_selection.py, ``lc_source`` and ``lc_internal_call`` in the metadata of their model calls
    """
    if metadata and (metadata.get("lc_source") or metadata.get("lc_internal_call")):
        return True
    return bool(tags) and not _TAGS.isdisjoint(tags or _NO_TAGS)


def is_excluded(tags: Collection[str] | None, metadata: Mapping[str, object] | None) -> bool:
    """True for what is not captured: what is internal, and what the application has switched off."""
    return bool(metadata and metadata.get("synap") in ("off", False)) or is_internal(tags, metadata)


def in_internal_run() -> bool:
    """True if the code that asks runs inside a run that is not for the user."""
    config = var_child_runnable_config.get()
    return config is not None and is_internal(config.get("tags"), config.get("metadata"))
