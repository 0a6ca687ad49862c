"""What a model was shown of the bundles that the platform pushed: every door that shows any says so here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from synap_integrations.guard import contained
from synap_integrations.model import Context, ContextUsed, Scope
from synap_integrations.ports import Answer, Memory

from .origin import record_from

_RECORD: Final = contained("record")


def used_of(source: Context | Answer, shown: Iterable[str]) -> ContextUsed:
    """That a model is shown these items of what was recalled or found."""
    if isinstance(source, Answer):
        return ContextUsed(source.bundle_ids, tuple(shown))
    return ContextUsed(source.receipt.bundle_ids if source.receipt else (), tuple(shown))


def record_used(framework: str, memory: Memory, used: ContextUsed, scope: Scope) -> None:
    """Have the platform told, once for each time that something is shown; nothing, if none of it was pushed.

    Costs what any `Memory.record` costs. Never raises.
    """
    if used.bundle_ids and used.item_ids:
        with _RECORD:
            record_from(framework, memory, used, scope)
