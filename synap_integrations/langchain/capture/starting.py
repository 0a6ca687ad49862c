"""How a run that starts is placed: known already, work of a turn that is over, a new turn, or a part of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from synap_integrations import runtime
from synap_integrations.guard import is_quiet
from synap_integrations.langchain import identity
from synap_integrations.langchain.internal import is_excluded

if TYPE_CHECKING:
    from synap_integrations.langchain.capture.roots import Root
    from synap_integrations.langchain.capture.runs import Kind, Run, Runs
    from synap_integrations.langchain.capture.scope_resolver import ScopeResolver
    from synap_integrations.langchain.options import Options, Start

_NO_METADATA: Final[Mapping[str, object]] = {}


class Starts:
    """Places every run that starts. Not thread-safe: the tracker's lock covers it."""

    def __init__(self, runs: Runs, scopes: ScopeResolver, abandon: Callable[[Root], None]) -> None:
        """``abandon`` ends a turn that nobody ended."""
        self._runs = runs
        self._scopes = scopes
        self._abandon = abandon

    def place(self, options: Options, kind: Kind, start: Start) -> Run | None:
        """The run, if it is news and part of a turn that is captured."""
        known = self._runs.get(start.run_id)
        if known is not None:
            known.copies += 1
            self._scopes.claim(known.root, options)
            return None
        parent = self._parent_of(start)
        if parent is None and self._outlived_its_turn(start):
            self._runs.over.add(start.run_id)
            return None
        metadata = start.metadata or _NO_METADATA
        if parent is None or _is_a_turn_of_its_own(parent, metadata):
            return self._new_root(options, kind, start, metadata)
        return self._new_child(options, kind, start, metadata, parent)

    def _parent_of(self, start: Start) -> Run | None:
        """The known run that this one is inside of.

        Fallbacks, tools with callbacks of their own and foreign tracers lose the parent; the context has it.
        """
        parent = None if start.parent_run_id is None else self._runs.get(start.parent_run_id)
        if parent is None and (surrounding := identity.surrounding_run_id()) is not None:
            return self._runs.get(surrounding)
        return parent

    def _outlived_its_turn(self, start: Start) -> bool:
        """True for work that goes on after the turn it belonged to has ended."""
        over = self._runs.over
        return start.parent_run_id in over or identity.surrounding_run_id() in over

    def _new_root(self, options: Options, kind: Kind, start: Start, metadata: Mapping[str, object]) -> Run | None:
        if is_quiet() or not runtime.capturing():
            return None
        if (abandoned := self._runs.abandoned()) is not None:
            self._abandon(abandoned)
        run = self._runs.open_root(start.run_id, kind, options)
        root = run.root
        root.forced = _is_forced(metadata)
        root.excluded = is_excluded(start.tags, metadata)
        root.children_are_turns = start.name is not None and start.name.startswith("RunnableEach<")
        if root.excluded or root.children_are_turns:
            return None
        root.scope = identity.stated(options.scope, metadata)
        if kind != "chain" or (root.scope.conversation_id is not None and root.scope.user_id is not None):
            self._scopes.resolve(root)
            root.awaiting_other_handler = not root.scope_resolved
        return run

    def _new_child(
        self, options: Options, kind: Kind, start: Start, metadata: Mapping[str, object], parent: Run
    ) -> Run | None:
        root = parent.root
        run = self._runs.open_child(start.run_id, kind, parent)
        run.internal = run.internal or is_excluded(start.tags, metadata)
        if root.excluded:
            return None
        if root.input_pending and parent.shares_root_input:
            run.shares_root_input = start.gets_the_same_input
        if options is not root.options and run.tool is None:
            self._scopes.claim(root, options)
        if not root.scope_resolved and (
            kind != "chain" or root.awaiting_other_handler or identity.surrounding_run_id() is not None
        ):
            self._scopes.resolve(root, last_chance=root.awaiting_other_handler)
            root.awaiting_other_handler = kind != "chain" and not root.scope_resolved
        return run


def _is_a_turn_of_its_own(parent: Run, metadata: Mapping[str, object]) -> bool:
    """True for each input of a batch that is itself one run, and for what the application marked as a turn."""
    return (parent.is_root and parent.root.children_are_turns) or (_is_forced(metadata) and not parent.root.forced)


def _is_forced(metadata: Mapping[str, object]) -> bool:
    return metadata.get("synap_root") is True
