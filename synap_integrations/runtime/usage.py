"""What a model was shown of the bundles that the platform pushed: every door that shows any says so here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from synap_integrations.guard import contained
from synap_integrations.model import Assembly, Context, ContextUsed, Scope
from synap_integrations.ports import Answer, Memory

from .origin import record_from

_RECORD: Final = contained("record")


def used_of(source: Context | Answer, shown: Iterable[str]) -> ContextUsed:
    """That a model is shown these items of what was recalled or found."""
    shown = tuple(shown)
    if isinstance(source, Answer):
        assembly = Assembly(source=source.source, why="looked up on purpose")
        return ContextUsed(source.bundle_ids, shown, assembly=assembly)
    if (receipt := source.receipt) is None:
        return ContextUsed((), shown)
    dropped = Counter(one.reason for one in receipt.dropped)
    if cut := len(source.items) - len(shown):
        dropped["room"] = cut  # chosen, and more than a block holds
    assembly = Assembly(
        source=source.source,
        why=receipt.why,
        tokens=receipt.tokens,
        token_budget=receipt.token_budget,
        waited_ms=round(receipt.waited_s * 1000),
        dropped=dict(dropped),
    )
    return ContextUsed(receipt.bundle_ids, shown, assembly=assembly)


def record_used(framework: str, memory: Memory, used: ContextUsed, scope: Scope) -> None:
    """Have the platform told, once for each time that something is shown; nothing, if none of it was pushed.

    Costs what any `Memory.record` costs. Never raises.
    """
    if used.bundle_ids and used.item_ids:
        with _RECORD:
            record_from(framework, memory, used, scope)
