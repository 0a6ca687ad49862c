"""What may be shown to a model, by the application's own rules: levels, a filter, quarantine.

The rules only ever take away or rewrite; nothing that the store refused comes back here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from synap_integrations.context.selection import Chosen, Pushed
from synap_integrations.errors import InvalidInputError
from synap_integrations.model import ContextItem, Dropped, Scope

ContextFilter = Callable[[Sequence[ContextItem]], Iterable[ContextItem]]
"""Given the items that were chosen, the ones to show, in order; their texts may be rewritten, ids may not be new."""

LEVELS: Final = ("conversation", "user", "customer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPolicy:
    """``shows`` is False in quarantine: then the receipt alone says what would be shown.

    ``levels`` are those whose bundles may be shown. Raises: InvalidInputError, if a level does not exist.
    """

    shows: bool = True
    levels: tuple[str, ...] = LEVELS
    keep: ContextFilter | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.levels) - set(LEVELS))
        if unknown:
            message = f"context_levels: {unknown[0]!r} is none of {', '.join(LEVELS)}"
            raise InvalidInputError(message, details={"argument": "context_levels"})

    def admitted(self, held: tuple[Pushed, ...]) -> tuple[Pushed, ...]:
        """The bundles of the levels that may be shown."""
        if self.levels == LEVELS:
            return held
        return tuple(pushed for pushed in held if level_of(pushed.bundle.scope) in self.levels)

    def released(self, chosen: Chosen) -> Chosen:
        """What of the chosen items may be shown; the rest is dropped with a reason.

        Raises whatever the application's filter raises: a filter that fails shows nothing.
        """
        if not self.shows:
            return _without(chosen, (), "quarantine")
        if self.keep is None or not chosen.items:
            return chosen
        known = {item.item_id for item in chosen.items}
        return _without(chosen, tuple(item for item in self.keep(chosen.items) if item.item_id in known), "filtered")


def level_of(stamp: Scope) -> str:
    """The narrowest level that a bundle is stamped with."""
    if stamp.conversation_id:
        return "conversation"
    return "user" if stamp.user_id else "customer"


def _without(chosen: Chosen, shown: tuple[ContextItem, ...], reason: str) -> Chosen:
    left = {item.item_id for item in shown}
    gone = tuple(Dropped(item.item_id, reason) for item in chosen.items if item.item_id not in left)
    return replace(chosen, items=shown, dropped=chosen.dropped + gone)
