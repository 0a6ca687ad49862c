"""One turn in the making: what is known of it so far, and what it records.

A root is one call of the application into LangChain. Its runs come and go; what they mean becomes events here, in
order. The picture of what a root goes through stands in `tracker`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from synap_integrations.context.render import newly_said
from synap_integrations.guard import contained
from synap_integrations.langchain import messages
from synap_integrations.langchain.capture import steps, translate
from synap_integrations.langchain.capture.nested_users import Surroundings, Turn
from synap_integrations.langchain.capture.steps import ToolOutput
from synap_integrations.langchain.options import RunId
from synap_integrations.langchain.recording import record
from synap_integrations.model import AssistantMessage, Event, Scope, Thinking, ToolCall, ToolResult
from synap_integrations.plain import plain
from synap_integrations.scoping import NOWHERE

if TYPE_CHECKING:
    from synap_integrations.langchain.capture.conversations import Conversation
    from synap_integrations.langchain.capture.runs import Run
    from synap_integrations.langchain.capture.tools import Call
    from synap_integrations.langchain.capture.translate import Opening
    from synap_integrations.langchain.options import Options
    from synap_integrations.ports import Memory

_DOOR: Final = contained("callbacks")


class Root:
    """The state of one turn.

    Set when it opens: ``excluded``, not to be captured; ``children_are_turns``, itself none; ``forced``, a turn of its
    own because the application said so; ``is_frame``, it names nobody and calls runs that do: its own input and output
    are no words of theirs; ``is_late``, work of a turn that is over, excluded until it says whose it is.
    Who is talking: ``handlers``, the options of all that report it; ``surroundings``; ``outer``, the turn around it;
    ``carried``, what its metadata and config say, without what it has from there; ``claimed``, a handler of the
    application's own has joined; ``scope_resolved``, it is known; ``awaiting_other_handler``, one that is about to
    report may say so.
    The user's words: ``input_seen``, they were found; ``input_pending``, they come after the start; ``user_words``;
    ``opening``, kept until the scope is resolved.
    The answer: ``candidate_answer``, words of the last model, which may be it; ``answer_was_streamed``, they were shown
    as they came; ``interrupted``, the graph stopped, and asks ``questions`` instead.
    ``recorded``: at least one event.
    """

    __slots__ = (
        "_gate",
        "_outgoing",
        "_recording",
        "_thoughts",
        "answer_was_streamed",
        "awaiting_other_handler",
        "candidate_answer",
        "carried",
        "children_are_turns",
        "claimed",
        "conversation",
        "excluded",
        "forced",
        "handlers",
        "input_names",
        "input_pending",
        "input_seen",
        "interrupted",
        "is_frame",
        "is_late",
        "last_model",
        "memory",
        "opening",
        "options",
        "outer",
        "questions",
        "recorded",
        "runs",
        "scope",
        "scope_resolved",
        "surroundings",
        "touched",
        "user_words",
    )

    conversation: Conversation

    def __init__(self, options: Options, now: float) -> None:
        self.options = options
        self.handlers: tuple[Options, ...] = (options,)
        self.touched = now
        self.runs: deque[RunId] = deque()
        self.scope: Scope = NOWHERE
        self.surroundings = Surroundings()
        self.outer: Turn | None = None
        self.carried: Scope = NOWHERE
        self.memory: Memory | None = None
        self.excluded = self.children_are_turns = self.forced = False
        self.is_frame = self.is_late = self.claimed = False
        self.scope_resolved = self.awaiting_other_handler = False
        self.input_seen = self.input_pending = False
        self.recorded = self.interrupted = False
        self.opening: Opening | None = None
        self.user_words: list[str] = []
        self.input_names: frozenset[object] = frozenset()
        self.candidate_answer: str | None = None
        self.answer_was_streamed = False
        self.last_model: Run | None = None
        self.questions: dict[str, str] = {}
        self._thoughts = 0
        self._outgoing: deque[Event] = deque()
        self._gate = threading.RLock()
        self._recording = False

    @property
    def turn(self) -> Turn:
        """Whose turn this is, as far as it is known."""
        return Turn(self.scope, self.surroundings)

    @property
    def is_nameless(self) -> bool:
        """True while zero-code capture alone reports it, and nobody has said which conversation this is."""
        return self.options.automatic and not self.scope_resolved and self.scope.conversation_id is None

    def become_frame(self) -> None:
        """It calls runs for others: what it was given and gives back is no word of one of them."""
        self.is_frame = True
        if not self.scope_resolved:
            self.input_seen, self.opening = False, None

    # --- reading -----------------------------------------------------------------------------------------------------

    def read_input(self, inputs: object) -> None:
        """What the inputs of the root, or of a run that gets the same, say."""
        if self.is_frame:
            return
        if translate.is_placeholder(inputs):
            self.input_pending = True
            return
        if not self.input_names and isinstance(inputs, Mapping):
            self.input_names = frozenset(inputs)
        opening = translate.opening_of(inputs, self.options.input_key)
        if opening is not None:
            self.record_user(opening)

    # --- recording ---------------------------------------------------------------------------------------------------

    def record_user(self, opening: Opening) -> None:
        """The user's words, once it is known who is talking; those of earlier turns are not recorded again."""
        self.input_seen = True
        if not self.scope_resolved:
            self.opening = opening
            return
        self.conversation.questions_answered(opening.answered)
        if opening.spoken:
            self.user_words.extend([spoken.text for spoken in opening.spoken])
            for message in self.conversation.new_messages(
                opening.spoken, dedupe_retries=self.options.dedupe_retries, resumes=opening.resumes
            ):
                self._emit(message)
        elif opening.messages:
            self.record_results_from(opening.messages)
            self._record_results_of_unknown_calls(opening.messages)

    def record_thinking(self, text: str, thought_type: str) -> None:
        """Reasoning, or words beside tool calls."""
        self._emit(Thinking(text, step_index=self._thoughts, thought_type=thought_type))
        self._thoughts += 1

    def record_narration(self, text: str) -> None:
        """Words of the assistant on its way to the answer; the same words once per turn."""
        if text.strip() and self.conversation.mark_said(text):
            if self.options.narration == "thinking":
                self.record_thinking(text, "narration")
            elif self.options.narration == "assistant":
                self._emit(AssistantMessage(text))

    def record_tool_call(self, call: Call) -> None:
        """A tool call; once."""
        if not call.recorded:
            call.recorded = True
            args = plain(call.args)
            assert isinstance(args, dict)
            self._emit(ToolCall(call.name, args, call.id, search_queries=steps.searches_in(args)))

    def record_tool_result(self, call: Call, output: ToolOutput) -> None:
        """The result of a call, behind the call itself; the first one counts."""
        if not call.answered:
            self.record_tool_call(call)
            self.conversation.calls.answer(call)
            self._emit(ToolResult(call.name, newly_said(output.value), call.id, is_error=output.is_error))

    def record_failed_calls(self) -> None:
        """Calls whose last attempt failed get the error as their result."""
        if self.conversation.calls.open:
            for call in self.conversation.calls.failed():
                self.record_tool_result(call, ToolOutput(call.error, is_error=True))

    def record_answer(self, text: str, *, incomplete: bool = False) -> None:
        """The assistant's words to the user; nothing if they are empty."""
        if text.strip():
            self.conversation.mark_said(text)
            self._emit(AssistantMessage(text, incomplete=incomplete))

    def record_results_from(self, history: Sequence[object], *, pseudo: str | None = None) -> None:
        """Results that reached the model without a tool having reported them.

        ``pseudo`` is the name of a tool that stands for the structured answer: no call and no result.
        """
        calls = self.conversation.calls
        for message in messages.since_last_words(history) if calls.open else ():
            if messages.role_of(message) == "tool":
                output = steps.output_in(message)
                call = calls.open.get(output.call_id or "")
                if call is not None and call.name == pseudo and not call.started:
                    calls.answer(call)
                elif call is not None:
                    self.record_tool_result(call, output)

    def _record_results_of_unknown_calls(self, history: Sequence[object]) -> None:
        """Results handed in for calls that another process, or nobody, has recorded."""
        results: list[ToolOutput] = []
        names: dict[str, str] = {}
        for message in reversed(history):
            role = messages.role_of(message)
            if role == "tool":
                results.append(steps.output_in(message))
            elif role == "assistant":
                names = {request.id: request.name for request in steps.calls_of(message)}
                break
        calls = self.conversation.calls
        for output in reversed(results):
            if output.call_id and calls.get(output.call_id) is None:
                call = calls.declare(output.call_id, names.get(output.call_id, "tool"), {})
                call.recorded = True
                self.record_tool_result(call, output)

    # --- handing over ------------------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        self.recorded = True
        self._outgoing.append(event)

    def deliver(self) -> None:
        """Hand the events over, in order; when this returns, all that were recorded before have been handed over.

        Called without the tracker's lock, so that a slow disk holds up one conversation only.
        """
        if not (self._outgoing or self._recording):
            return
        with self._gate:
            self._recording = True
            try:
                while self._outgoing:
                    event = self._outgoing.popleft()
                    with _DOOR:
                        if self.memory is None:
                            self.memory = self.options.memory()
                        record(self.memory, event, self.scope)
            finally:
                self._recording = False
