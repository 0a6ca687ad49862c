"""How a run that starts is placed: known already, work of a turn that is over, a new turn, or a part of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from synap_integrations import runtime, scoping
from synap_integrations.guard import is_quiet
from synap_integrations.langchain import identity
from synap_integrations.langchain.capture.nested_users import Surroundings
from synap_integrations.langchain.internal import is_excluded
from synap_integrations.scoping import NOWHERE

if TYPE_CHECKING:
    from synap_integrations.langchain.capture.nested_users import Turn
    from synap_integrations.langchain.capture.roots import Root
    from synap_integrations.langchain.capture.runs import Kind, Run, Runs
    from synap_integrations.langchain.capture.scope_resolver import ScopeResolver
    from synap_integrations.langchain.options import Options, Start
    from synap_integrations.model import Scope

_NO_RUN: Final = -1
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
            return self._reported_again(known, options)
        metadata = start.metadata or _NO_METADATA
        parent = self._parent_of(start)
        if parent is None and (over := self._turn_outlived_by(start)) is not None:
            return self._late(options, kind, start, metadata, over)
        if parent is None or _is_a_turn_of_its_own(parent, metadata):
            return self._new_root(options, kind, start, metadata)
        self.look_around()
        internal = parent.internal or is_excluded(start.tags, metadata)
        scope = None if internal else self._of_its_own(options, start, metadata, parent)
        if scope is not None:
            return self._new_root(options, kind, start, metadata, outer=parent.root.turn, scope=scope)
        return self._new_child(options, kind, start, parent, internal=internal)

    def _parent_of(self, start: Start) -> Run | None:
        """The known run that this one is inside of.

        Fallbacks, tools with callbacks of their own and foreign tracers lose the parent; the context has it.
        """
        parent = None if start.parent_run_id is None else self._runs.get(start.parent_run_id)
        if parent is None and (surrounding := identity.surrounding_run_id()) is not None:
            return self._runs.get(surrounding)
        return parent

    def _turn_outlived_by(self, start: Start) -> Turn | None:
        """The turn that work belongs to which goes on after it has ended."""
        over = self._runs.over
        return over.turn_of(start.parent_run_id) or over.turn_of(identity.surrounding_run_id())

    def _new_root(  # noqa: PLR0913 - what is known of a start
        self,
        options: Options,
        kind: Kind,
        start: Start,
        metadata: Mapping[str, object],
        *,
        outer: Turn | None = None,
        scope: Scope | None = None,
    ) -> Run | None:
        """A turn begins; inside or after an ``outer`` one that is somebody else's, with a scope of its own."""
        if is_quiet() or not runtime.capturing():
            return None
        if (abandoned := self._runs.abandoned()) is not None:
            self._abandon(abandoned)
        run = self._runs.open_root(start.run_id, kind, options)
        root = run.root
        root.forced = _is_forced(metadata)
        root.surroundings = Surroundings.here(metadata)
        root.outer = outer
        if outer is None:
            root.carried = identity.from_surrounding_run()
        root.excluded = is_excluded(start.tags, metadata)
        root.children_are_turns = start.name is not None and start.name.startswith("RunnableEach<")
        if root.excluded or root.children_are_turns:
            return None
        root.scope = identity.stated(options.scope, metadata) if scope is None else scope
        if kind != "chain" or (root.scope.conversation_id is not None and root.scope.user_id is not None):
            self._scopes.resolve(root)
            root.awaiting_other_handler = not root.scope_resolved
        return run

    def _new_child(self, options: Options, kind: Kind, start: Start, parent: Run, *, internal: bool) -> Run | None:
        root = parent.root
        run = self._runs.open_child(start.run_id, kind, parent, start.place)
        run.internal = run.internal or internal
        if root.excluded:
            return None
        if root.input_pending and parent.shares_root_input:
            run.shares_root_input = start.gets_the_same_input
        if options is not root.options and run.tool is None:
            self._scopes.claim(root, options)
        if not root.scope_resolved and (
            kind != "chain" or root.awaiting_other_handler or self._is_seen_from_inside(root)
        ):
            self._scopes.resolve(root, last_chance=root.awaiting_other_handler)
            root.awaiting_other_handler = kind != "chain" and not root.scope_resolved
        return run

    def _is_seen_from_inside(self, root: Root) -> bool:
        """True if what surrounds this code says what there is to know of the turn: not the turn around it."""
        surrounding = identity.surrounding_run_id()
        if surrounding is None or root.outer is None:
            return surrounding is not None
        here = self._runs.get(surrounding)
        return here is not None and here.root is root

    # --- somebody else's ---------------------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Learn what the config of the run that this code is part of says about who is talking.

        What a chain's ``configurable`` or a graph's runtime context says is seen only from inside. That of a turn's own
        run is the turn's; a run that code has called may turn out to be somebody else's.
        """
        here = self._runs.get(identity.surrounding_run_id() or _NO_RUN)
        if here is None or here.looked_around:
            return
        here.looked_around = True
        root, head = here.root, here.head
        if root.children_are_turns or (root.excluded and not root.is_late):
            return
        metadata, configurable = identity.parts_of_surrounding_run()
        if head.is_root:
            _learn(root, metadata, configurable)
            if root.is_late:
                self._take_up(root)
        elif head.kind == "chain" and not here.internal:
            near = scoping.merged(root.options.scope, root.surroundings.ambient)
            news = root.surroundings.news(near, metadata, configurable)
            if (scope := _apart(root, news, in_tool=head.tool is not None)) is not None:
                self._split_off(head, root.options, scope)
                _learn(head.root, metadata, configurable)
                self._resolve(head.root)

    def _of_its_own(self, options: Options, start: Start, metadata: Mapping[str, object], parent: Run) -> Scope | None:
        """Whose turn it is, if what this start says makes it no part of its parent's; else None."""
        root = parent.root
        known = options is root.options or options in root.handlers
        if known and root.surroundings.unchanged(metadata):
            return None
        # A step's own handler speaks for the run that it is a step of.
        is_step = start.place and parent.head.is_root and (root.is_nameless or not parent.is_node)
        handler = root.options if known or is_step else options
        near = scoping.merged(handler.scope, scoping.ambient())
        in_tool = parent.tool is not None or parent.kind == "tool"
        news = root.surroundings.news(near, scoping.from_mapping(metadata), NOWHERE)
        scope = _apart(root, news, in_tool=in_tool)
        if scope is not None and (root.is_nameless or root.claimed):
            root.become_frame()
        return scope

    def _reported_again(self, run: Run, options: Options) -> Run | None:
        """Another handler reports it: one that names somebody else makes it a turn of its own, and news."""
        root = run.root
        known = options in root.handlers
        if run.is_root and not known:
            root.handlers = (*root.handlers, options)
        is_step = run.head.is_root or (run.place and root.is_nameless)
        own = not (known or is_step or run.internal or run.kind == "tool" or root.excluded)
        if own and (scope := _apart(root, options.scope, in_tool=run.tool is not None)) is not None:
            self._split_off(run, options, scope)
            self._resolve(run.root)
            return run
        self._scopes.claim(root, options)
        return None

    def _split_off(self, run: Run, options: Options, scope: Scope) -> None:
        """A run inside a turn turns out to be one of its own."""
        before = run.root
        if before.is_nameless or before.claimed:
            before.become_frame()
        root = self._runs.make_root(run, options)
        root.surroundings, root.outer, root.scope = before.surroundings, before.turn, scope

    def _resolve(self, root: Root) -> None:
        self._scopes.resolve(root)
        root.awaiting_other_handler = not root.scope_resolved

    def _late(
        self, options: Options, kind: Kind, start: Start, metadata: Mapping[str, object], turn: Turn
    ) -> Run | None:
        """Work that goes on after its turn has ended is no turn, unless it says that it is one, or whose."""
        near = scoping.merged(options.scope, scoping.ambient())
        news = turn.surroundings.news(near, scoping.from_mapping(metadata), NOWHERE)
        scope = turn.of_its_own(news, in_tool=False, nameless=True)
        if scope is not None or _is_forced(metadata):
            return self._new_root(options, kind, start, metadata, outer=turn, scope=scope)
        if is_quiet() or not runtime.capturing() or is_excluded(start.tags, metadata):
            self._runs.over.add(turn, start.run_id)
            return None
        root = self._runs.open_root(start.run_id, kind, options).root
        root.excluded = root.is_late = True
        root.scope, root.surroundings, root.outer = turn.scope, turn.surroundings, turn
        return None

    def _take_up(self, root: Root) -> None:
        """Late work whose config says whose it is becomes a turn."""
        assert root.outer is not None
        scope = root.outer.of_its_own(root.carried, in_tool=False, nameless=True)
        if scope is not None:
            root.excluded, root.is_late, root.scope = False, False, scope
            self._resolve(root)


def _learn(root: Root, metadata: Scope, configurable: Scope) -> None:
    """The config of a turn's own run says this."""
    before = root.surroundings
    known = configurable if before.configurable is None else scoping.merged(before.configurable, configurable)
    root.surroundings = before._replace(metadata=scoping.merged(before.metadata, metadata), configurable=known)
    if root.outer is None:
        root.carried = scoping.merged(root.carried, metadata, configurable)
    else:
        around = root.outer.surroundings
        if around.configurable is None:
            around = around._replace(configurable=root.outer.scope)
        root.carried = scoping.merged(root.carried, around.news(NOWHERE, metadata, configurable))


def _apart(root: Root, news: Scope, *, in_tool: bool) -> Scope | None:
    """`Turn.of_its_own` for the turn of this root, which has what nobody has said from the environment."""
    turn = root.turn
    if not root.scope_resolved:
        turn = turn._replace(scope=scoping.merged(root.scope, root.carried, runtime.environment_scope()))
    return turn.of_its_own(news, in_tool=in_tool, nameless=root.is_nameless)


def _is_a_turn_of_its_own(parent: Run, metadata: Mapping[str, object]) -> bool:
    """True for each input of a batch that is itself one run, and for what the application marked as a turn."""
    return (parent.is_root and parent.root.children_are_turns) or (_is_forced(metadata) and not parent.root.forced)


def _is_forced(metadata: Mapping[str, object]) -> bool:
    return metadata.get("synap_root") is True
