"""What the callbacks of all runs mean, as one story per conversation.

Per root run: the user's words from its input, the tools that really ran with one result each, the reasoning on the
way, and one answer from its output. What models are asked in between is no turn of the conversation.

What a root goes through; the names are attributes of `Root`::

    A run starts; no known run is around it, or it names somebody else                  starting.py, apart.py
      internal or switched off ──► excluded             nothing of it is recorded
      after its turn has ended ──► is_late, excluded    until it says that it is somebody else's
      calls runs of named people ► is_frame             each is a root of its own; a frame without input says nothing
      a batch ───────────────────► children_are_turns   each input opens a root of its own
      anything else ─────────────► open: two things are found out, in either order
        who is talking                                                                  scope_resolver.py
          a conversation id is known, or nobody can name one any more ──► scope_resolved
          only an attached handler asks ──► awaiting_other_handler ── next hook ──► scope_resolved
        what the user says                                                              translate.py, roots.py
          the root's inputs, else the prompt of its first model ──► input_seen
          a streamed chain, whose inputs are not known yet ──► input_pending ──► input_seen
        both known ──► the user's message is recorded
      Tools, reasoning and narration are recorded as they come;
      a model's words without tool calls are the candidate_answer.                      steps.py, tools.py
    The root's run ends                                                                 ending.py
      with outputs ──► the answer                   its stream closed early ──► the answer so far, incomplete
      interrupted ───► the graph's questions        failed ──► what was shown, incomplete, or unanswered
    Closed: its runs are forgotten, their ids remembered. A root that stays silent for `IDLE_S` is closed as failed.

All handlers share one tracker. It knows runs by id, so a run that several handlers report is recorded once. Hooks come
from many threads and loops: one lock covers what is known of runs, handing events over happens outside of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from synap_integrations import after_fork, runtime
from synap_integrations.guard import contained
from synap_integrations.langchain import graph, identity, messages
from synap_integrations.langchain.capture import ending, steps
from synap_integrations.langchain.capture.runs import Run, Runs
from synap_integrations.langchain.capture.scope_resolver import ScopeResolver
from synap_integrations.langchain.capture.starting import Starts
from synap_integrations.langchain.capture.translate import Opening
from synap_integrations.langchain.options import RunId
from synap_integrations.langchain.recording import FRAMEWORK

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import RunnableConfig

    from synap_integrations.langchain.capture.roots import Root
    from synap_integrations.langchain.options import Options, Start
    from synap_integrations.model import Scope

_DOOR: Final = contained("callbacks")


class RunTracker:
    """All runs of this process. Each public method is what one kind of callback means."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._open(Runs(clock))
        after_fork.watch(self)

    def _open(self, runs: Runs) -> None:
        self._lock = threading.RLock()
        self._runs = runs
        self._scopes = ScopeResolver()
        self._starts = Starts(self._runs, self._scopes, self._abandon)

    def after_fork_in_child(self) -> None:
        """Turns that were open are the parent's: here, they are over."""
        self._open(self._runs.after_fork())

    # --- starts ------------------------------------------------------------------------------------------------------

    def chain_started(self, options: Options, start: Start, inputs: object) -> None:
        """A chain, graph, prompt, parser or function starts."""
        with self._lock:
            run = self._starts.place(options, "chain", start)
            if run is None:
                return
            root = run.root
            if run.shares_root_input and not root.input_seen:
                root.read_input(inputs)
        root.deliver()

    def model_started(self, options: Options, start: Start, history: Sequence[object]) -> None:
        """A model gets these messages."""
        with self._lock:
            run = self._starts.place(options, "model", start)
            if run is None:
                return
            root = run.root
            if run.is_assistant:
                run.tokens = []
                root.last_model = run
                if not root.input_seen:
                    # The root's input does not say, or there is none: the last words of the prompt are the user's.
                    root.record_user(Opening(messages.last_words(history), history))
                elif root.scope_resolved and root.conversation.calls.open:
                    root.record_results_from(history)
        root.deliver()

    def tool_started(
        self, options: Options, start: Start, inputs: Mapping[str, object] | str, call_id: str | None
    ) -> None:
        """A tool starts, for the call of this id where the framework says so."""
        with self._lock:
            run = self._starts.place(options, "tool", start)
            if run is None or run.internal:
                return
            root = run.root
            self._scopes.resolve(root, last_chance=True)
            if run.tool is None or root.options.nested_tools:
                run.call = run.calls.start(str(start.run_id), call_id, start.name or "tool", inputs)
                root.record_tool_call(run.call)
        root.deliver()

    def retriever_started(self, options: Options, start: Start) -> None:
        """A retriever starts: what happens inside is its own business."""
        with self._lock:
            run = self._starts.place(options, "retriever", start)
        if run is not None:
            run.root.deliver()

    # --- on the way --------------------------------------------------------------------------------------------------

    def token(self, run_id: RunId, token: object) -> None:
        """A streamed piece of a model's answer."""
        # Without lock and door: a dictionary look-up and an append are atomic and do not fail, and tokens are many.
        run = self._runs.get(run_id)
        if run is None or run.tokens is None:
            return
        if isinstance(token, str) and not run.root.awaiting_other_handler:
            run.tokens.append(token)
            return
        with _DOOR:
            run.tokens.append(messages.text_of_content(token))
            if run.root.awaiting_other_handler:
                self._resolve_now(run.root)

    def agent_acted(self, run_id: RunId, action: object) -> None:
        """An agent that thinks in text has decided on an action."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is None or not run.is_assistant or run.root.excluded:
                return
            self._scopes.resolve(run.root, last_chance=True)
            run.root.record_narration(steps.log_before_action(action))
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
        if step is None:
            return
        if not (step.shares_root_input or step.root.awaiting_other_handler):
            step.ended = True
            return  # most events are these: something between question and answer has ended, which says nothing
        with self._lock:
            run = self._ends_now(run_id)
            if run is None:
                return
            root = run.root
            if inputs is not None and run.shares_root_input and root.input_pending and not root.input_seen:
                root.read_input(inputs)
            if run.is_root:
                self._finish(root, lambda: ending.of_outputs(root, outputs))
        root.deliver()

    def model_ended(self, run_id: RunId, response: object) -> None:
        """A model has answered."""
        with self._lock:
            run = self._ends_now(run_id)
            if run is None:
                return
            root, message = run.root, steps.message_in(response)
            if message is not None and not root.excluded:
                self._model_said(run, message)
            if run.is_root:
                self._finish(root, lambda: ending.of_outputs(root, message))
        root.deliver()

    def tool_ended(self, run_id: RunId, output: object) -> None:
        """A tool has given its result."""
        with self._lock:
            run = self._ends_now(run_id)
            if run is None:
                return
            root = run.root
            if run.call is not None:
                result = steps.output_of(output, run.call.id)
                root.record_tool_result(run.calls.end(run.call, result.call_id), result)
            if run.is_root:
                self._finish(root, root.record_failed_calls)
        root.deliver()

    def failed(self, run_id: RunId, error: BaseException, response: object = None) -> None:
        """A run ended with an error: a failure, a cancellation, a closed stream, or LangGraph's control flow."""
        with self._lock:
            run = self._ends_now(run_id)
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
            run = self._ends_now(run_id)
            if run is not None and run.is_root:
                self._runs.close(run.root)

    # --- who is asked from outside -----------------------------------------------------------------------------------

    def scope_at(self, run_id: RunId | None) -> Scope | None:
        """The scope of the turn that this run is part of, None if it is not captured. Resolves who is talking."""
        run = None if run_id is None else self._runs.get(run_id)
        if run is None or run.root.excluded or run.root.children_are_turns:
            return None
        with self._lock:
            self._starts.look_around()
        self._resolve_now(run.root)
        return run.root.scope

    # --- ending ------------------------------------------------------------------------------------------------------

    def _ends_now(self, run_id: RunId) -> Run | None:
        """The run, if this is the first report of its end."""
        run = self._runs.get(run_id)
        if run is None or run.ended:
            return None
        run.ended = True
        if run.root.awaiting_other_handler:
            self._scopes.resolve(run.root, last_chance=True)
        return run

    def _finish(self, root: Root, record_ending: Callable[[], None]) -> None:
        """The turn is over: record how it ended, and forget its runs."""
        if root.is_late:
            runtime.note_late_run(FRAMEWORK)
        if not (root.excluded or root.children_are_turns or (root.is_frame and not root.input_seen)):
            self._scopes.resolve(root, last_chance=True)
            record_ending()
        self._runs.close(root)

    def _resolve_now(self, root: Root) -> None:
        with self._lock:
            self._scopes.resolve(root, last_chance=True)
        root.deliver()

    def _abandon(self, root: Root) -> None:
        self._finish(root, lambda: ending.of_failure(root, TimeoutError()))
        root.deliver()

    def _model_said(self, run: Run, message: BaseMessage) -> None:
        root = run.root
        if not run.is_assistant:
            if root.options.nested_tools and not run.internal:
                run.calls.declare_all(steps.calls_of(message))
            return
        self._scopes.resolve(root, last_chance=True)
        if reasoning := steps.reasoning_of(message):
            root.record_thinking(reasoning, "reasoning")
        for executed in steps.executed_in(message):
            (call,) = run.calls.declare_all([executed.call])
            root.record_tool_result(call, steps.ToolOutput(executed.result, executed.is_error))
        text = messages.text_of(message)
        if messages.has_calls(message):
            root.record_narration(text)
            root.candidate_answer = None
            run.calls.declare_all(steps.calls_of(message))
        else:
            root.candidate_answer, root.answer_was_streamed = text, bool(run.tokens)


TRACKER: Final = RunTracker()
"""The one that all handlers share."""


def captured_scope(config: RunnableConfig | None = None) -> Scope | None:
    """The scope under which a handler records the turn that this code is part of; None if nothing captures here.

    ``config`` is the config of the calling code where it has one; by default the surrounding run is meant. Asking
    resolves who is talking: a user turn that waited for its identity is recorded before this returns.
    """
    return TRACKER.scope_at(identity.surrounding_run_id() if config is None else identity.run_id_in(config))
