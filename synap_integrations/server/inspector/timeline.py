"""A conversation as one line of entries: turns where they were said, and between them what happened besides. Pure."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, assert_never

from synap_integrations.server.records import Item, Turn

from .views import Numbered, Occurrence, Push

_BESIDES = frozenset({"context_fetch", "context_assembled"})


@dataclass(frozen=True, slots=True)
class Said:
    """A turn."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool call and its result; one of them may be missing."""

    call: Occurrence | None
    result: Occurrence | None

    @property
    def either(self) -> Occurrence:
        """Whichever is there, the call first."""
        found = self.call or self.result
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class Thought:
    """Reasoning that the model showed."""

    event: Occurrence


@dataclass(frozen=True, slots=True)
class Pushed:
    """A bundle that was pushed into the conversation."""

    push: Push


_LEFT_OUT: Final = {
    "budget": "over the token budget",
    "room": "more than a block holds",
    "weak": "fit the question too little",
    "duplicate": "said already by another",
    "expired": "held no longer",
    "filtered": "taken out by the application's filter",
    "quarantine": "kept out of prompts by a setting",
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """How a client says that a block came about. What it did not say is ""."""

    source: str
    why: str
    tokens: str
    token_budget: str
    waited_ms: str
    dropped: tuple[tuple[int, str], ...]
    """How many items were left out, and why, in words."""

    @property
    def left_out(self) -> int:
        """How many items were not shown."""
        return sum(count for count, _ in self.dropped)


@dataclass(frozen=True, slots=True)
class Shown:
    """A client reported that a model was shown these items; those whose text is still known."""

    event: Occurrence
    items: tuple[Item, ...]
    reported: int
    bundles: tuple[Push, ...]
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """Anything else, named by its kind."""

    event: Occurrence


Entry = Said | ToolUse | Thought | Pushed | Shown | Other


def at(entry: Entry) -> datetime:
    """When it was stored here."""
    match entry:
        case Said():
            return entry.turn.recorded_at
        case ToolUse():
            return entry.either.at
        case Pushed():
            return entry.push.bundle.pushed_at
        case Thought() | Shown() | Other():
            return entry.event.at
        case _:
            assert_never(entry)


def key(entry: Entry) -> str:
    """What the entry is called on its page; an entry that changes keeps it."""
    match entry:
        case Said():
            return f"turn-{entry.turn.position}"
        case ToolUse():
            return f"tool-{(entry.call or entry.either).number}"
        case Pushed():
            return f"bundle-{entry.push.number}"
        case Thought() | Shown() | Other():
            return f"event-{entry.event.number}"
        case _:
            assert_never(entry)


def is_receipt(event: Occurrence) -> bool:
    """True for what a client tells about a block that it also reports: part of that report."""
    metadata = event.body.get("metadata")
    return event.kind == "context_fetch" and isinstance(metadata, Mapping) and "synap_used_at_ms" in metadata


def receipt(event: Occurrence) -> Receipt:
    """What a client told about a block, beside which items are in it."""
    metadata = event.body.get("metadata")
    told = metadata if isinstance(metadata, Mapping) else {}

    def said(name: str) -> str:
        value = told.get(f"synap_{name}")
        return value if isinstance(value, str) else ""

    def figure(name: str) -> str:
        value = said(name)
        return value if value.isdecimal() else ""

    return Receipt(
        source=said("source"),
        why=said("why"),
        tokens=figure("tokens"),
        token_budget=figure("token_budget"),
        waited_ms=figure("waited_ms"),
        dropped=_dropped(said("dropped")),
    )


def _dropped(told: str) -> tuple[tuple[int, str], ...]:
    try:
        counts = json.loads(told or "{}")
    except ValueError:
        return ()
    found = counts.items() if isinstance(counts, dict) else ()
    return tuple((count, _LEFT_OUT.get(str(reason), str(reason))) for reason, count in found if isinstance(count, int))


def shown(event: Occurrence, pushes: Sequence[Push], receipt: Receipt | None = None) -> Shown:
    """The report of a client with the items it names, in the order in which they are put into a prompt."""
    named = event.body.get("item_ids")
    wanted = {str(item_id) for item_id in named} if isinstance(named, list) else set[str]()
    held = {item.item_id: item for push in pushes for item in push.bundle.items if item.item_id in wanted}
    return Shown(event, tuple(sorted(held.values(), key=_said_at)), len(wanted), tuple(pushes), receipt)


def bundle_ids(event: Occurrence) -> list[str]:
    """The bundles that a report names."""
    named = event.body.get("bundle_ids")
    return [str(bundle_id) for bundle_id in named] if isinstance(named, list) else []


def entries(events: Iterable[Occurrence], pushes: Iterable[Push], reports: Iterable[Shown]) -> list[Entry]:
    """What happened besides turns, in order; a result stands with its call, a report once."""
    made: list[Entry] = []
    waiting: dict[str, int] = {}
    for event in events:
        match event.kind:
            case "tool_call":
                waiting[event.text("tool_call_id")] = len(made)
                made.append(ToolUse(event, None))
            case "tool_result":
                place = waiting.pop(event.text("tool_call_id"), None)
                held = made[place] if place is not None else None
                if place is not None and isinstance(held, ToolUse):
                    made[place] = ToolUse(held.call, event)
                else:
                    made.append(ToolUse(None, event))
            case "agent_thinking":
                made.append(Thought(event))
            case kind if kind in _BESIDES or kind == "context_used":
                continue
            case _:
                made.append(Other(event))
    # In this order where the clock does not tell them apart: what happened, what was pushed for it, what was shown.
    return sorted([*made, *map(Pushed, pushes), *reports], key=at)


def woven(turns: Sequence[Numbered], besides: Sequence[Entry]) -> list[Entry]:
    """Turns in the order of their positions, and the rest between them, in the order in which all of it was stored.

    That is the order of capture, whatever the clocks of clients say: the turns of an old conversation keep their dates.
    """
    line: list[Entry] = []
    rest = deque(besides)
    for numbered in turns:
        while rest and at(rest[0]) < numbered.turn.recorded_at:
            line.append(rest.popleft())
        line.append(Said(numbered.turn))
    return line + list(rest)


def _said_at(item: Item) -> datetime:
    return item.said_at
