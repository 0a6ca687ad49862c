"""What a retriever or a tool searches for: checked once, when it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self, cast

from synap_integrations.context.cleaning import clean
from synap_integrations.context.render import as_prompt
from synap_integrations.errors import InvalidInputError
from synap_integrations.model import Context, ContextItem
from synap_integrations.ports import Answer, Search
from synap_integrations.wire.report import CONTEXT_TYPES

Mode = Literal["fast", "accurate"]
MAX_LIMIT: Final = 200
_MAX_CHARS: Final = 20_000
_MAX_PIECE: Final = 900
_SINGULAR: Final = {kind.removesuffix("s"): kind for kind in CONTEXT_TYPES}
_OWN: Final = (
    "synap_event_id",
    "synap_occurred_at",
    "synap_conversation_id",
    "synap_origin",
    "synap_seq",
    "rank_score",
)


@dataclass(frozen=True, slots=True)
class SearchTerms:
    """Which types, how many, how thoroughly. No types are all types."""

    types: tuple[str, ...] = ()
    limit: int = 20
    mode: Mode = "fast"

    @classmethod
    def checked(cls, *, types: Sequence[str] | None, max_results: int, mode: str) -> Self:
        """The terms as applications write them: ``all`` is all types, and ``fact`` is ``facts``.

        Raises: InvalidInputError, naming the argument and what it accepts.
        """
        if isinstance(types, str):
            types = [types]
        named = tuple(_SINGULAR.get(kind, kind) for kind in types or () if kind != "all")
        if unknown := sorted(set(named) - set(CONTEXT_TYPES)):
            message = f"types: {unknown[0]!r} is none of {', '.join(CONTEXT_TYPES)}, all"
            raise InvalidInputError(message, details={"argument": "types"})
        if isinstance(max_results, bool) or not isinstance(max_results, int) or not 0 < max_results <= MAX_LIMIT:
            message = f"max_results must be a whole number from 1 to {MAX_LIMIT}"
            raise InvalidInputError(message, details={"argument": "max_results"})
        if mode not in {"fast", "accurate"}:
            message = f"mode must be fast or accurate, not {mode!r}"
            raise InvalidInputError(message, details={"argument": "mode"})
        return cls(named, max_results, cast("Mode", mode))

    def search(self, query: str, *, types: tuple[str, ...] = ()) -> Search:
        """Search for the query; ``types`` narrow down those of the terms and never add to them."""
        wanted = tuple(kind for kind in types if not self.types or kind in self.types)
        return Search(query, types=wanted or self.types, limit=self.limit, mode=self.mode)


def text_of(item: ContextItem) -> str:
    """The item's text, inert: nothing in it is markup or a template."""
    return clean(item.text, limit=_MAX_CHARS)


def metadata_of(item: ContextItem, answer: Answer) -> dict[str, object]:
    """What is known of an item beside its text, under names that mean the same in every framework."""
    told = {name: value for name, value in (item.metadata or {}).items() if name not in _OWN}
    if isinstance(named := (item.metadata or {}).get("synap_conversation_id"), str):
        told["conversation_id"] = named  # as the application calls it
    known: dict[str, object | None] = {
        "item_id": item.item_id,
        "type": item.kind,
        "score": item.score,
        "said_at": item.said_at.isoformat() if item.said_at else None,
        "valid_until": item.valid_until.isoformat() if item.valid_until else None,
        "source": item.source,
        "level": item.level,
        "answered_from": answer.source,
    }
    return told | {name: value for name, value in known.items() if value is not None}


def conversation_block(answer: Answer) -> str:
    """A conversation's text as one block for a prompt, that its content cannot leave; ``""`` if there is none."""
    pieces = [line[at : at + _MAX_PIECE] for line in answer.text.splitlines() for at in range(0, len(line), _MAX_PIECE)]
    kept = pieces[-40:]
    items = tuple(ContextItem(f"line-{at}", "conversation", text=piece, score=at) for at, piece in enumerate(kept, 1))
    return as_prompt(Context(items))
