"""Which run belongs to which root: the tree that the callbacks walk, bounded and forgetful.

A root ends once; what is reported of its runs later is known by its tombstone and ignored.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from synap_integrations.langchain.capture.roots import Root
from synap_integrations.langchain.capture.tools import Call, ToolCallIndex
from synap_integrations.langchain.options import RunId

if TYPE_CHECKING:
    from synap_integrations.langchain.capture.nested_users import Turn
    from synap_integrations.langchain.options import Options

Kind = Literal["chain", "model", "tool", "retriever"]

MAX_RUNS: Final = 50_000
MAX_RUNS_OF_ROOT: Final = 10_000
MAX_TOMBSTONES: Final = 20_000
IDLE_S: Final = 7_200.0
"""After this many seconds without a sign of life a root is taken for abandoned."""


class Run:
    """One node of the tree.

    ``tool``: the tool run around it. ``internal``: not for the user, such as a summary. ``shares_root_input``: gets
    the root's own input. ``head``: the run that code has called, of which this one is a step; itself if code has called
    it. ``place``: which part of its parent it is. ``looked_around``: what its config says who is talking is known.
    ``copies``: how many handlers report it. ``tokens``: streamed text, once per copy, if anybody needs it. ``inner``:
    the calls made inside this tool run, whose ids may repeat those outside.
    """

    __slots__ = (
        "call",
        "copies",
        "ended",
        "failed",
        "head",
        "inner",
        "internal",
        "is_root",
        "kind",
        "looked_around",
        "place",
        "root",
        "shares_root_input",
        "tokens",
        "tool",
    )

    def __init__(self, kind: Kind, root: Root, parent: Run | None, place: str = "") -> None:
        self.kind = kind
        self.place = place
        self.root = root
        self.ended = self.failed = False
        self.looked_around = False
        self.copies = 1
        self.tokens: list[str] | None = None
        self.call: Call | None = None
        self.inner: ToolCallIndex | None = None
        if parent is None:
            self.is_root = self.shares_root_input = True
            self.internal = False
            self.tool: Run | None = None
            self.head: Run = self
        else:
            # What a node's function calls has the tag of a step, too.
            self.head = parent.head if place and not parent.is_node else self
            self.is_root = self.shares_root_input = False
            self.tool = parent if parent.kind == "tool" else parent.tool
            self.internal = parent.internal or parent.kind == "retriever"

    @property
    def is_node(self) -> bool:
        """True for a node of a graph."""
        return self.place.startswith("graph:")

    @property
    def is_assistant(self) -> bool:
        """True for a run whose words are the assistant's: not internal, and not inside a tool."""
        return not self.internal and self.tool is None

    @property
    def calls(self) -> ToolCallIndex:
        """Where calls made here are kept."""
        if self.tool is None:
            return self.root.conversation.calls
        if self.tool.inner is None:
            self.tool.inner = ToolCallIndex()
        return self.tool.inner

    def streamed(self) -> str:
        """The text streamed so far."""
        return "".join(self.tokens[:: self.copies]) if self.tokens else ""


class Tombstones:
    """Ids of runs that are over, and the turns they were part of: the most recent ones, in two generations."""

    def __init__(self, limit: int = MAX_TOMBSTONES) -> None:
        self._half = limit // 2
        self._young: dict[RunId, Turn] = {}
        self._old: dict[RunId, Turn] = {}

    def add(self, turn: Turn, *run_ids: RunId) -> None:
        """Remember that these runs of a turn are over."""
        if len(self._young) >= self._half:
            self._old = self._young
            self._young = {}
        self._young.update(dict.fromkeys(run_ids, turn))

    def turn_of(self, run_id: RunId | None) -> Turn | None:
        """The turn that this run was part of; None if it is not over."""
        if run_id is None:
            return None
        return self._young.get(run_id) or self._old.get(run_id)

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


class Runs:
    """All runs that are known. Not thread-safe: the tracker's lock covers it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, max_runs: int = MAX_RUNS) -> None:
        self.over = Tombstones()
        self._clock = clock
        self._max_runs = max_runs
        self._runs: dict[RunId, Run] = {}
        self._roots: OrderedDict[Root, None] = OrderedDict()
        self.get = self._runs.get
        """The run of this id, None if it is unknown or over."""

    def open_root(self, run_id: RunId, kind: Kind, options: Options) -> Run:
        """The first run of a new turn."""
        root = Root(options, self._clock())
        self._roots[root] = None
        return self._add(run_id, Run(kind, root, None))

    def open_child(self, run_id: RunId, kind: Kind, parent: Run, place: str = "") -> Run:
        """A run inside a turn; ``place`` says which part of its parent it is, if code has not called it."""
        root = parent.root
        root.touched = self._clock()
        if len(root.runs) >= MAX_RUNS_OF_ROOT:
            self._forget_one(root)
        return self._add(run_id, Run(kind, root, parent, place))

    def _forget_one(self, root: Root) -> None:
        """The oldest run that has ended; the oldest of all if none has. Not the root's own: it ends the turn."""
        at = next((at for at in range(1, len(root.runs)) if (run := self._runs.get(root.runs[at])) and run.ended), 1)
        forgotten = root.runs[at]
        del root.runs[at]
        self._runs.pop(forgotten, None)
        self.over.add(root.turn, forgotten)

    def make_root(self, head: Run, options: Options) -> Root:
        """A run inside a turn, and its steps, become a turn of their own."""
        before, root = head.root, Root(options, self._clock())
        self._roots[root] = None
        for run_id in list(before.runs):
            run = self._runs.get(run_id)
            if run is not None and run.head is head:
                before.runs.remove(run_id)
                root.runs.append(run_id)
                run.root, run.tool = root, None
        if before.last_model is not None and before.last_model.root is root:
            before.last_model = None
        head.is_root = head.shares_root_input = True
        return root

    def close(self, root: Root) -> None:
        """The turn is over: forget its runs, remember their ids."""
        self._roots.pop(root, None)
        for run_id in root.runs:
            self._runs.pop(run_id, None)
        self.over.add(root.turn, *root.runs)
        root.runs.clear()

    def after_fork(self) -> Runs:
        """Those of a forked child, in which all of these are over."""
        runs = Runs(self._clock, max_runs=self._max_runs)
        runs.over = self.over
        for run_id, run in list(self._runs.items()):
            runs.over.add(run.root.turn, run_id)
        return runs

    def abandoned(self) -> Root | None:
        """A root to give up: one that was silent for too long, or the oldest one if there are too many runs."""
        if not self._roots:
            return None
        oldest = next(iter(self._roots))
        if len(self._runs) > self._max_runs or self._clock() - oldest.touched > IDLE_S:
            return oldest
        # Alive: look at another one next time.
        self._roots.move_to_end(oldest)
        return None

    def __len__(self) -> int:
        return len(self._runs)

    def _add(self, run_id: RunId, run: Run) -> Run:
        self._runs[run_id] = run
        run.root.runs.append(run_id)
        return run
