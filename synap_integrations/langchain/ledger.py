"""What the callbacks of all runs mean, as one story per conversation.

Per root run: the user's words from its input, the tools that really ran with one result each, the reasoning on the
way, and one answer from its output. What models are asked in between is no turn of the conversation.

All handlers share one ledger. It knows runs by id, so a run that several handlers report is told once. Hooks come from
many threads and loops: one lock covers the books, recording happens outside of it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from synap_integrations import runtime, scoping
from synap_integrations.guard import contained, is_quiet
from synap_integrations.langchain import ending, graph, identity, messages, steps, translate
from synap_integrations.langchain.conversations import Conversation, Conversations
from synap_integrations.langchain.options import RunId
from synap_integrations.langchain.runs import Kind, Run, Runs
from synap_integrations.langchain.translate import Opening
from synap_integrations.model import Scope, new_id

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import RunnableConfig

    from synap_integrations.langchain.options import Options, Start
    from synap_integrations.langchain.roots import Root

_log = logging.getLogger(__name__)
_DOOR: Final = contained("callbacks")
_INTERNAL_TAGS: Final = frozenset({"nostream", "langsmith:hidden"})
_NO_METADATA: Final[Mapping[str, object]] = {}


class Ledger:
    """The books of all runs of this process. Each public method is what one kind of callback means."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.RLock()
        self._runs = Runs(clock)
        self._conversations = Conversations()
        self._warned = False

    # --- starts ------------------------------------------------------------------------------------------------------

    def chain_started(self, options: Options, start: Start, inputs: object) -> None:
        """A chain, graph, prompt, parser or function starts."""
        with self._lock:
            run = self._open(options, "chain", start)
            if run is None:
                return
            root = run.root
            if run.first and not root.heard:
                self._listen(run, inputs)
        root.deliver()

    def model_started(self, options: Options, start: Start, history: Sequence[object]) -> None:
        """A model gets these messages."""
        with self._lock:
            run = self._open(options, "model", start)
            if run is None:
                return
            root = run.root
            if not run.aside:
                run.tokens = []
                root.last_model = run
                if not root.heard:
                    # The root's input did not tell, or there is none: the last words of the prompt are the user's.
                    root.hear(Opening(messages.last_words(history), history))
                elif root.settled and root.conversation.calls.open:
                    root.harvest(history)
        root.deliver()

    def tool_started(
        self, options: Options, start: Start, inputs: Mapping[str, object] | str, call_id: str | None
    ) -> None:
        """A tool starts, for the call of this id where the framework says so."""
        with self._lock:
            run = self._open(options, "tool", start)
            if run is None or run.internal:
                return
            root = run.root
            self._settle(root, last_chance=True)
            if run.tool is None or root.options.nested_tools:
                run.call = run.calls.start(str(start.run_id), call_id, start.name or "tool", inputs)
                root.ask(run.call)
        root.deliver()

    def retriever_started(self, options: Options, start: Start) -> None:
        """A retriever starts: what happens inside is its own business."""
        with self._lock:
            run = self._open(options, "retriever", start)
        if run is not None:
            run.root.deliver()

    # --- on the way --------------------------------------------------------------------------------------------------

    def token(self, run_id: RunId, token: object) -> None:
        """A streamed piece of a model's answer."""
        # Without lock and door: a dictionary look-up and an append are atomic and do not fail, and tokens are many.
        run = self._runs.get(run_id)
        if run is None or run.tokens is None:
            return
        if isinstance(token, str) and not run.root.awaiting:
            run.tokens.append(token)
            return
        with _DOOR:
            run.tokens.append(messages.text_of_content(token))
            if run.root.awaiting:
                self._settle_now(run.root)

    def agent_acted(self, run_id: RunId, action: object) -> None:
        """An agent that thinks in text has decided on an action."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is None or run.aside or run.root.off:
                return
            self._settle(run.root, last_chance=True)
            run.root.narrate(steps.log_before_action(action))
        run.root.deliver()

    def interrupted(self, run_id: RunId) -> None:
        """A graph stopped where it was told to stop."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is not None and run.tool is None:
                run.root.interrupted = True

    # --- ends --------------------------------------------------------------------------------------------------------

    def chain_ended(self, run_id: RunId, outputs: object, inputs: object) -> None:
        """A chain ends; a streamed one names its real inputs only now."""
        step = self._runs.get(run_id)
        if step is None or not (step.first or step.root.awaiting):
            return  # most events are these: something between question and answer has ended, which says nothing
        with self._lock:
            run = self._ending(run_id)
            if run is None:
                return
            root = run.root
            if inputs is not None and run.first and root.deferred and not root.heard:
                self._listen(run, inputs)
            if run.is_root:
                self._finish(root, lambda: ending.of_outputs(root, outputs))
        root.deliver()

    def model_ended(self, run_id: RunId, response: object) -> None:
        """A model has answered."""
        with self._lock:
            run = self._ending(run_id)
            if run is None:
                return
            root, message = run.root, steps.message_in(response)
            if message is not None and not root.off:
                self._model_said(run, message)
            if run.is_root:
                self._finish(root, lambda: ending.of_outputs(root, message))
        root.deliver()

    def tool_ended(self, run_id: RunId, output: object) -> None:
        """A tool has given its result."""
        with self._lock:
            run = self._ending(run_id)
            if run is None:
                return
            root = run.root
            if run.call is not None:
                given = steps.given_by(output, run.call.id)
                root.give(run.calls.end(run.call, given.call_id), given)
            if run.is_root:
                self._finish(root, root.give_up)
        root.deliver()

    def failed(self, run_id: RunId, error: BaseException, response: object = None) -> None:
        """A run ended with an error: a failure, a cancellation, a closed stream, or LangGraph's control flow."""
        with self._lock:
            run = self._ending(run_id)
            if run is None:
                return
            root = run.root
            run.failed = True
            if graph.is_interrupt(error):
                root.interrupted = True
                root.questions.update(graph.questions_of(error))
                if run.call is not None:
                    # The tool starts again when the graph goes on.
                    run.call.started = False
            elif run.call is not None and not graph.is_control_flow(error):
                run.call.error = repr(error)
            if run.tokens == [] and (message := steps.message_in(response)) is not None:
                run.tokens, run.copies = [messages.text_of(message)], 1
            if run.is_root:
                self._finish(root, lambda: ending.of_failure(root, error))
        root.deliver()

    def retriever_ended(self, run_id: RunId) -> None:
        """A retriever has ended, well or not."""
        with self._lock:
            run = self._ending(run_id)
            if run is not None and run.is_root:
                self._runs.close(run.root)

    # --- who is asked from outside -----------------------------------------------------------------------------------

    def scope_at(self, run_id: RunId | None) -> Scope | None:
        """The scope of the turn that this run is part of, None if it is not captured. Settles who is talking."""
        run = None if run_id is None else self._runs.get(run_id)
        if run is None or run.root.off or run.root.transparent:
            return None
        self._settle_now(run.root)
        return run.root.scope

    # --- opening -----------------------------------------------------------------------------------------------------

    def _open(self, options: Options, kind: Kind, start: Start) -> Run | None:
        """The run, if it is news and part of a turn that is captured."""
        known = self._runs.get(start.run_id)
        if known is not None:
            known.copies += 1
            self._join(known.root, options)
            return None
        metadata = start.metadata or _NO_METADATA
        parent = None if start.parent_run_id is None else self._runs.get(start.parent_run_id)
        if parent is None:
            # Fallbacks, tools with callbacks of their own and foreign tracers lose the parent; the context has it.
            surrounding = identity.surrounding_run_id()
            parent = None if surrounding is None else self._runs.get(surrounding)
            if parent is None and (start.parent_run_id in self._runs.over or surrounding in self._runs.over):
                # Work that outlived its turn.
                self._runs.over.add(start.run_id)
                return None
        forced = metadata.get("synap_root") is True
        if parent is None or (parent.is_root and parent.root.transparent) or (forced and not parent.root.forced):
            return self._open_root(options, kind, start, metadata)
        root = parent.root
        run = self._runs.open_child(start.run_id, kind, parent)
        run.internal = run.internal or _is_internal(start.tags, metadata)
        if root.off:
            return None
        if root.deferred and parent.first:
            run.first = start.gets_the_same_input
        if options is not root.options and run.tool is None:
            self._join(root, options)
        if not root.settled and (kind != "chain" or root.awaiting or identity.surrounding_run_id() is not None):
            self._settle(root, last_chance=root.awaiting)
            root.awaiting = kind != "chain" and not root.settled
        return run

    def _open_root(self, options: Options, kind: Kind, start: Start, metadata: Mapping[str, object]) -> Run | None:
        if is_quiet() or not runtime.capturing():
            return None
        if (abandoned := self._runs.abandoned()) is not None:
            self._give_up(abandoned)
        run = self._runs.open_root(start.run_id, kind, options)
        root = run.root
        root.forced = metadata.get("synap_root") is True
        root.off = _is_internal(start.tags, metadata)
        root.transparent = start.name is not None and start.name.startswith("RunnableEach<")
        if root.off or root.transparent:
            return None
        root.scope = identity.stated(options.scope, metadata)
        if kind != "chain" or (root.scope.conversation_id is not None and root.scope.user_id is not None):
            self._settle(root)
            root.awaiting = not root.settled
        return run

    def _listen(self, run: Run, inputs: object) -> None:
        """What the inputs of the root, or of a run that gets the same, say."""
        root = run.root
        if translate.is_placeholder(inputs):
            root.deferred = True
            return
        if not root.input_names and isinstance(inputs, Mapping):
            root.input_names = frozenset(inputs)
        opening = translate.opening_of(inputs, root.options.input_key)
        if opening is not None:
            root.hear(opening)

    # --- who is talking ----------------------------------------------------------------------------------------------

    def _settle(self, root: Root, *, last_chance: bool = False) -> None:
        """Find out who is talking, as far as it can be known; from then on it stays."""
        if root.settled:
            return
        scope = root.scope
        if scope.conversation_id is None or scope.user_id is None:
            scope = scoping.merged(scope, identity.from_surrounding_run())
        if scope.customer_id is None or scope.user_id is None:
            scope = scoping.merged(scope, runtime.environment_scope())
        root.scope = scope
        if scope.conversation_id is None:
            if root.options.automatic and not last_chance:
                # A handler of the application's own, on the model, may report next, and know better.
                return
            root.scope = self._generated(scope)
            root.conversation = Conversation(root.options.synap)
        else:
            root.conversation = self._conversations.of(scope, root.options.synap)
        root.settled, root.awaiting = True, False
        if root.opening is not None:
            opening, root.opening = root.opening, None
            root.hear(opening)

    def _settle_now(self, root: Root) -> None:
        with self._lock:
            self._settle(root, last_chance=True)
        root.deliver()

    def _join(self, root: Root, options: Options) -> None:
        """A handler of the application's own reports a turn that the automatic one has opened: its options win."""
        if root.options.automatic and not options.automatic and not root.recorded and not root.off:
            root.options = options
            root.scope = scoping.merged(options.scope, root.scope)
            root.settled = False
            self._settle(root)
        elif root.awaiting:
            self._settle(root, last_chance=True)

    def _generated(self, scope: Scope) -> Scope:
        if not self._warned:
            self._warned = True
            _log.warning(
                "synap: a run names no conversation, so it is kept as a conversation of its own; pass "
                "config={'metadata': {'conversation_id': …, 'user_id': …}} or use synap_integrations.context(…)"
            )
        return scoping.merged(scope, Scope(f"conversation-{new_id()}"))

    # --- ending ------------------------------------------------------------------------------------------------------

    def _ending(self, run_id: RunId) -> Run | None:
        """The run, if this is the first report of its end."""
        run = self._runs.get(run_id)
        if run is None or run.ended:
            return None
        run.ended = True
        if run.root.awaiting:
            self._settle(run.root, last_chance=True)
        return run

    def _finish(self, root: Root, tell: Callable[[], None]) -> None:
        """The turn is over: tell how it ended, and forget its runs."""
        if not (root.off or root.transparent):
            self._settle(root, last_chance=True)
            tell()
        self._runs.close(root)

    def _give_up(self, root: Root) -> None:
        self._finish(root, lambda: ending.of_failure(root, TimeoutError()))
        root.deliver()

    def _model_said(self, run: Run, message: BaseMessage) -> None:
        root = run.root
        if run.aside:
            if root.options.nested_tools and not run.internal:
                run.calls.declare_all(steps.calls_of(message))
            return
        self._settle(root, last_chance=True)
        if reasoning := steps.reasoning_of(message):
            root.think(reasoning, "reasoning")
        for executed in steps.executed_in(message):
            (call,) = run.calls.declare_all([executed.call])
            root.give(call, steps.Given(executed.result, executed.is_error))
        text = messages.text_of(message)
        if messages.has_calls(message):
            root.narrate(text)
            root.candidate = None
            run.calls.declare_all(steps.calls_of(message))
        else:
            root.candidate, root.streamed = text, bool(run.tokens)


def _is_internal(tags: Sequence[str] | None, metadata: Mapping[str, object]) -> bool:
    """True for what is not for the user: switched off, called by middleware, or hidden."""
    if metadata and (
        metadata.get("synap") in ("off", False) or metadata.get("lc_source") or metadata.get("lc_internal_call")
    ):
        return True
    return bool(tags) and not _INTERNAL_TAGS.isdisjoint(tags)  # type: ignore[arg-type] # not None here


LEDGER: Final = Ledger()
"""The one that all handlers share."""


def captured_scope(config: RunnableConfig | None = None) -> Scope | None:
    """The scope under which a handler records the turn that this code is part of; None if nothing captures here.

    ``config`` is the config of the calling code where it has one; by default the surrounding run is meant. Asking
    settles who is talking: a user turn that waited for its identity is recorded before this returns.
    """
    return LEDGER.scope_at(identity.surrounding_run_id() if config is None else identity.run_id_in(config))
