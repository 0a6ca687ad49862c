"""One turn in the making: what is known of it so far, and the verbs that tell it.

A root is one call of the application into LangChain. Its runs come and go; what they mean is told here, in order.
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
from synap_integrations.langchain.capture.steps import Given
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

    ``off``: not to be captured. ``transparent``: its children are turns of their own. ``forced``: a turn of its own
    because the application said so. ``settled``: it is known who is talking; ``awaiting``: another handler may still
    say so. ``heard``: the user's words were found; ``deferred``: they come after the start. ``candidate``: words of the
    last model, which may be the answer; ``streamed``: they were shown as they came.
    """

    __slots__ = (
        "_gate",
        "_outgoing",
        "_recording",
        "_thoughts",
        "awaiting",
        "candidate",
        "conversation",
        "deferred",
        "forced",
        "heard",
        "input_names",
        "interrupted",
        "last_model",
        "memory",
        "off",
        "opening",
        "options",
        "questions",
        "recorded",
        "runs",
        "said",
        "scope",
        "settled",
        "streamed",
        "touched",
        "transparent",
    )

    conversation: Conversation

    def __init__(self, options: Options, now: float) -> None:
        self.options = options
        self.touched = now
        self.runs: deque[RunId] = deque()
        self.scope: Scope = NOWHERE
        self.memory: Memory | None = None
        self.off = self.transparent = self.forced = False
        self.settled = self.awaiting = self.heard = self.deferred = self.recorded = self.interrupted = False
        self.opening: Opening | None = None
        self.said: list[str] = []
        self.input_names: frozenset[object] = frozenset()
        self.candidate: str | None = None
        self.streamed = False
        self.last_model: Run | None = None
        self.questions: dict[str, str] = {}
        self._thoughts = 0
        self._outgoing: deque[Event] = deque()
        self._gate = threading.RLock()
        self._recording = False

    # --- reading -----------------------------------------------------------------------------------------------------

    def read_input(self, inputs: object) -> None:
        """What the inputs of the root, or of a run that gets the same, say."""
        if translate.is_placeholder(inputs):
            self.deferred = True
            return
        if not self.input_names and isinstance(inputs, Mapping):
            self.input_names = frozenset(inputs)
        opening = translate.opening_of(inputs, self.options.input_key)
        if opening is not None:
            self.hear(opening)

    # --- telling -----------------------------------------------------------------------------------------------------

    def hear(self, opening: Opening) -> None:
        """The user's words; those that are no news are not told again."""
        self.heard = True
        if not self.settled:
            self.opening = opening
            return
        if opening.spoken:
            self.said.extend([spoken.text for spoken in opening.spoken])
            for message in self.conversation.hear(
                opening.spoken, dedupe_retries=self.options.dedupe_retries, resumes=opening.resumes
            ):
                self._emit(message)
        elif opening.messages:
            self.harvest(opening.messages)
            self._harvest_unknown(opening.messages)

    def think(self, text: str, thought_type: str) -> None:
        """Reasoning, or words beside tool calls."""
        self._emit(Thinking(text, step_index=self._thoughts, thought_type=thought_type))
        self._thoughts += 1

    def narrate(self, text: str) -> None:
        """Words of the assistant on its way to the answer; the same words are told once per turn."""
        if text.strip() and self.conversation.tell(text):
            if self.options.narration == "thinking":
                self.think(text, "narration")
            elif self.options.narration == "assistant":
                self._emit(AssistantMessage(text))

    def ask(self, call: Call) -> None:
        """A tool call; told once."""
        if not call.told:
            call.told = True
            args = plain(call.args)
            assert isinstance(args, dict)
            self._emit(ToolCall(call.name, args, call.id, search_queries=steps.searches_in(args)))

    def give(self, call: Call, given: Given) -> None:
        """The result of a call; the first one counts."""
        if not call.answered:
            self.ask(call)
            self.conversation.calls.answer(call)
            self._emit(ToolResult(call.name, newly_said(given.value), call.id, is_error=given.is_error))

    def give_up(self) -> None:
        """Calls whose last attempt failed get the error as their result."""
        if self.conversation.calls.open:
            for call in self.conversation.calls.failed():
                self.give(call, Given(call.error, is_error=True))

    def say(self, text: str, *, incomplete: bool = False) -> None:
        """The assistant's words to the user; nothing if they are empty."""
        if text.strip():
            self.conversation.tell(text)
            self._emit(AssistantMessage(text, incomplete=incomplete))

    def harvest(self, history: Sequence[object], *, pseudo: str | None = None) -> None:
        """Results that reached the model without a tool having reported them.

        ``pseudo`` is the name of a tool that stands for the structured answer: no call and no result.
        """
        calls = self.conversation.calls
        for message in messages.since_last_words(history) if calls.open else ():
            if messages.role_of(message) == "tool":
                given = steps.given_in(message)
                call = calls.open.get(given.call_id or "")
                if call is not None and call.name == pseudo and not call.started:
                    calls.answer(call)
                elif call is not None:
                    self.give(call, given)

    def _harvest_unknown(self, history: Sequence[object]) -> None:
        """Results handed in for calls that another process, or nobody, has told."""
        results: list[Given] = []
        names: dict[str, str] = {}
        for message in reversed(history):
            role = messages.role_of(message)
            if role == "tool":
                results.append(steps.given_in(message))
            elif role == "assistant":
                names = {asked.id: asked.name for asked in steps.calls_of(message)}
                break
        calls = self.conversation.calls
        for given in reversed(results):
            if given.call_id and calls.get(given.call_id) is None:
                call = calls.declare(given.call_id, names.get(given.call_id, "tool"), {})
                call.told = True
                self.give(call, given)

    # --- handing over ------------------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        self.recorded = True
        self._outgoing.append(event)

    def deliver(self) -> None:
        """Hand over what is told, in order; when this returns, everything told before has been recorded.

        Called without the ledger's lock, so that a slow disk holds up one conversation only.
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
