"""One turn of a chat engine or agent, from its first span to its last, and who may claim it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from synap_integrations import runtime, scoping
from synap_integrations.guard import contained
from synap_integrations.llamaindex import identity, translate
from synap_integrations.llamaindex.recording import record
from synap_integrations.model import AssistantMessage, ContextUsed, Event, Scope, Thinking, ToolCall, UserMessage

if TYPE_CHECKING:
    from llama_index.core.base.llms.types import ChatMessage, ContentBlock

    from synap_integrations.llamaindex.human import Dialogue
    from synap_integrations.ports import Memory


_CALLBACKS: Final = contained("callbacks")


class Destination(NamedTuple):
    """Where the events of a turn go, and whose they are."""

    memory: Memory
    scope: Scope

    def record(self, event: Event) -> None:
        """Hand the event over; a fault of the memory is contained here, so that the turn goes on and is closed."""
        with _CALLBACKS:
            record(self.memory, event, self.scope)


@dataclass(frozen=True, slots=True)
class Injection:
    """A context block for the prompt, and the event that says it was shown."""

    block: str
    used: ContextUsed


class Claimant(ABC):
    """A memory of ours: the turns that use it are recorded as its own, and get its context."""

    @abstractmethod
    def destination(self, surroundings: Scope) -> Destination:
        """Where to record a turn of this memory, given what the code around the turn says."""

    @abstractmethod
    def injection(self, turn: Turn) -> Injection | None:
        """What to show to the model in this turn."""

    @abstractmethod
    def will_put(self, scope: Scope, messages: Sequence[tuple[str, str]]) -> None:
        """These (role, text) are recorded; if they are put later, outside of all turns, they are not new."""


def destination_of(claimant: Claimant, surroundings: Scope, turn: Scope | None) -> Destination:
    """Where ``claimant`` records; inside a ``turn`` of somebody else's it takes nothing of that conversation."""
    found = claimant.destination(surroundings)
    if turn is None or not scoping.of_others(found.scope, turn) or found.scope.conversation_id != turn.conversation_id:
        return found
    return claimant.destination(replace(surroundings, conversation_id=None, session_id=None))


class Place(NamedTuple):
    """A span's place: the turn it belongs to, and whether it is aside, that is inside a tool or a retriever."""

    turn: Turn
    aside: bool
    call: str = ""
    """The span of the tool call it is inside of."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class Turn:
    """What is remembered of a turn while it is open. Events wait in ``pending`` until somebody has claimed it."""

    root: str
    owner: int
    is_agent: bool
    surroundings: Scope
    outer: Turn | None = None
    layers: tuple[Scope, ...] = field(default_factory=identity.layers)
    """What the code around it says, see `identity.layers`."""
    user: UserMessage | None = None
    resumed: bool = False
    """An agent's run that continues an earlier one: no user turn, and waiting tools that were recorded before."""
    claimant: Claimant | None = None
    unclaimed: Destination | None = None
    """Where it goes if no memory of ours claims it; None for nowhere."""
    destination: Destination | None = None
    pending: list[Event] = field(default_factory=list[Event])
    spans: list[str] = field(default_factory=list[str])
    calls: dict[str, ToolCall] = field(default_factory=dict[str, ToolCall])
    """Tool calls whose span is open, by span id."""
    waiting: dict[str, ToolCall] = field(default_factory=dict[str, ToolCall])
    """Tool calls that wait for a human, by tool call id."""
    dialogues: dict[str, Dialogue] = field(default_factory=dict)
    """What tools and a human say to each other, by tool call id."""
    answers: list[tuple[object, Dialogue]] = field(default_factory=list)
    """What humans have answered to the calls that are open: one answer may end the waits of several."""
    deltas: list[str] = field(default_factory=list[str])
    unfinished: ChatMessage | None = None
    thinking: str = ""
    wordless: bool = False
    """The model's last answer held no words; some engines then return the text ``None``."""
    writer: str | None = None
    written: bool = False
    streaming: bool = False
    """The engine has returned a stream: the turn ends with whoever reads it."""
    stepwise: bool = False
    """The run span has returned a handler: the turn ends with the step that stops the workflow."""
    completes: bool = False
    """The engine's model completes text: no call carries messages, so the memory must hand out the context."""
    injection: Injection | None = None
    frozen: bool = False
    """The context of this turn has been asked for."""
    shown_at: int | None = None
    """The index of the message that carries the context block, once it was chosen."""
    shown: bool = False
    lent: list[tuple[ChatMessage, list[ContentBlock]]] = field(default_factory=list)
    """Messages that carry the context block for now, and their own blocks."""
    closed: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def scope(self) -> Scope:
        """Whose turn this is, as far as it is known; one that is part of a turn is whose that is."""
        settled = self.destination or self.unclaimed
        if settled is not None:
            return settled.scope
        if self.outer is not None:
            return self.outer.scope
        return scoping.merged(self.surroundings, runtime.environment_scope())

    @property
    def news(self) -> Scope:
        """What the code that runs here, inside it, says and the code around it did not say."""
        here = identity.layers()
        return scoping.merged(
            *[scoping.said_anew(said, before) for said, before in zip(here, self.layers, strict=True)]
        )

    @property
    def is_left_here(self) -> bool:
        """True if the code that runs here names somebody else."""
        return scoping.of_others(self.news, self.scope)

    def say(self, event: Event) -> None:
        """Record the event, or keep it until it is known whose turn this is."""
        with self.lock:
            if self.destination is None:
                self.pending.append(event)
            else:
                self.destination.record(event)

    def show(self, injection: Injection) -> None:
        """The model is shown this context: recorded once."""
        with self.lock:
            first, self.shown = not self.shown, True
        if first:
            self.say(injection.used)

    def lend(self, message: ChatMessage, with_context: ChatMessage) -> None:
        """The message carries the context until the turn is over."""
        self.lent.append((message, message.blocks))
        message.blocks = with_context.blocks

    def settle(self, destination: Destination | None) -> None:
        """It is known whose turn this is: what has happened so far is recorded now."""
        with self.lock:
            if destination is None or self.destination is not None:
                return
            self.destination = destination
            pending, self.pending = self.pending, []
            for event in pending:
                destination.record(event)

    def claim(self, claimant: Claimant) -> None:
        """The first memory of ours that is used in this turn owns it, unless it is somebody else's by then."""
        with self.lock:
            if self.claimant is None and self.destination is None:
                self.claimant = claimant
                outer = self.outer.scope if self.outer and self.outer.destination else None
                destination = destination_of(claimant, self.surroundings, outer)
                theirs = outer is not None and scoping.of_others(destination.scope, outer)
                if outer and outer.conversation_id == destination.scope.conversation_id and not theirs:
                    self.claimant = None  # a turn inside a tool of the same conversation is not a turn of the user's
                else:
                    self.settle(destination)

    def conclude(self, answer: str | None) -> None:
        """The last events: reasoning of an engine's model, then the answer, or what there is of one."""
        for message, blocks in self.lent:
            message.blocks = blocks
        if not self.is_agent and self.thinking:
            self.say(Thinking(self.thinking, thought_type=translate.REASONING))
        if answer is None:
            partial = self.partial()
            if partial.strip():
                self.say(AssistantMessage(partial, incomplete=True))
        elif answer.strip() and not (self.wordless and answer == "None"):
            self.say(AssistantMessage(translate.text_of(answer)))

    def partial(self) -> str:
        """What the model has said so far of an answer it did not finish."""
        said = "".join(self.deltas) or translate.text_of(self.unfinished)
        return translate.answer_in(said)
