"""What a handler was told: by whoever made it, and by LangChain when a run starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from synap_integrations.model import Scope
from synap_integrations.ports import Memory
from synap_integrations.scoping import NOWHERE

Narration = Literal["thinking", "assistant", "drop"]
NARRATIONS: Final = ("thinking", "assistant", "drop")
Key = str | Callable[[object], object]
"""A key of a run's inputs or outputs, or a function from them to text or messages."""

_PLACES: Final = ("seq:step:", "map:key:", "branch:", "condition:", "graph:step:")

RunId = int
"""The number of a run's UUID: a UUID computes its hash anew, in Python, each time a dictionary asks."""


class Start(NamedTuple):
    """What every start hook is told."""

    run_id: RunId
    parent_run_id: RunId | None
    tags: Sequence[str] | None
    metadata: Mapping[str, object] | None
    name: str | None

    @property
    def place(self) -> str:
        """The tag of a part of the run around it: a step, a branch, a node; ``""`` for what code has called."""
        for tag in self.tags or ():
            if tag.startswith(_PLACES):
                return tag
        return ""

    @property
    def gets_the_same_input(self) -> bool:
        """True for what gets its parent's input: a sequence's first step, a map's branches, an assignment's map."""
        places = [tag for tag in self.tags or () if tag.startswith(_PLACES)]
        if places:
            return places[0] == "seq:step:1" or places[0].startswith("map:key:")
        return self.name is not None and self.name.startswith("RunnableParallel<")


@dataclass(frozen=True, slots=True)
class Options:
    """One handler's view. ``automatic`` marks the handler that `attach` registers: any other one's options win."""

    synap: Memory | None = None
    scope: Scope = NOWHERE
    input_key: Key | None = field(default=None, kw_only=True)
    output_key: Key | None = field(default=None, kw_only=True)
    nested_tools: bool = field(default=False, kw_only=True)
    narration: Narration = field(default="thinking", kw_only=True)
    partial_answers: bool = field(default=True, kw_only=True)
    interrupts: bool = field(default=True, kw_only=True)
    dedupe_retries: bool = field(default=True, kw_only=True)
    automatic: bool = field(default=False, kw_only=True)

    def memory(self) -> Memory:
        """Where events go: what the handler was given, or the process-wide Synap."""
        if self.synap is not None:
            return self.synap
        from synap_integrations import runtime  # noqa: PLC0415 - not loaded by whoever brings a memory of his own

        return runtime.default_synap()
