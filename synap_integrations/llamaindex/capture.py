"""Spans and events of LlamaIndex's root dispatcher, put together to turns.

Spans are the only source that is complete and the same for every engine, agent and version: memories see tool calls
only when a run succeeds, callbacks do not see them at all, and the stream of an agent's events can be read only once.
Each turn is kept under the span it began with; `enter` finds the turn of a span by its parent.

Source: llama_index_instrumentation 0.6.0, dispatcher.py; llama_index.core 0.12.52 to 0.14.25; workflows 1.3 to 2.26
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from llama_index.core.agent.workflow import AgentWorkflow
from llama_index.core.agent.workflow.base_agent import BaseWorkflowAgent
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.chat_engine.types import BaseChatEngine, StreamingAgentChatResponse
from llama_index.core.instrumentation.events.chat_engine import StreamChatDeltaReceivedEvent
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMChatInProgressEvent
from llama_index.core.tools.types import BaseTool
from llama_index.core.workflow import StopEvent
from workflows.handler import WorkflowHandler

from synap_integrations import runtime, scoping
from synap_integrations.llamaindex import agent_steps, identity, injection, translate
from synap_integrations.llamaindex.turns import Claimant, Destination, Place, Turn
from synap_integrations.model import Scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from llama_index.core.instrumentation.events import BaseEvent

MAX_OPEN_TURNS: Final = 2_000
"""Turns whose end never comes (a loop that was thrown away) are closed from the oldest on."""

MAX_GIVEN_UP: Final = 256
"""Spans of runs that somebody stopped waiting for, and that go on."""

_UUID_CHARS: Final = 37
_CHAT: Final = frozenset({"chat", "achat", "stream_chat", "astream_chat"})
_WRITER: Final = frozenset({"write_response_to_history", "awrite_response_to_history"})
_TOOL: Final = frozenset({"call", "acall"})
_ASIDE: Final = frozenset(
    {"retrieve", "aretrieve", "_retrieve", "_aretrieve", "postprocess_nodes", "apostprocess_nodes"}
)
_AGENTS: Final = (AgentWorkflow, BaseWorkflowAgent)


class Capture:
    """The open turns of this process. Thread-safe; every method returns at once."""

    def __init__(self, unclaimed: Callable[[object, Scope], Destination | None]) -> None:
        """``unclaimed`` says where a turn goes that no memory of ours claims, None for nowhere."""
        self._unclaimed = unclaimed
        self._places: dict[str, Place] = {}
        self._turns: OrderedDict[str, Turn] = OrderedDict()
        self._given_up: OrderedDict[str, Turn] = OrderedDict()

    @property
    def open_turns(self) -> int:
        """How many turns have begun and not ended."""
        return len(self._turns)

    def turn_of(self, span_id: str | None) -> Turn | None:
        """The turn that a span belongs to: an open one, or one that was given up while its steps go on."""
        if span_id is None:
            return None
        if place := self._places.get(span_id):
            return place.turn
        turn = self._given_up.get(span_id)
        return turn if turn and turn.root != span_id else None

    def place_of(self, span_id: str | None) -> Place | None:
        """Where a span stands in an open turn."""
        return self._places.get(span_id) if span_id else None

    def asking_turn(self, span_id: str | None) -> Turn | None:
        """The open turn that a model asked under this span answers; None inside its tools and retrievers, and for code
        that names somebody else.
        """
        place = self._places.get(span_id) if span_id else None
        if place is None or place.aside or place.turn.is_left_here:
            return None
        return place.turn

    def is_aside(self, span_id: str | None) -> bool:
        """True inside the tools and retrievers of an open turn."""
        place = self._places.get(span_id) if span_id else None
        return place is not None and place.aside

    def forget_all(self) -> None:
        """Let go of every open turn without a word: they go on in the process this one was forked from."""
        self._places = {}
        self._turns = OrderedDict()
        self._given_up = OrderedDict()

    # --- spans -----------------------------------------------------------------------------------------------

    def enter(self, span_id: str, arguments: dict[str, object], instance: object, parent: str | None) -> None:
        """A span begins: it opens a turn, belongs to one, or is none of our business."""
        method = span_id[:-_UUID_CHARS].rpartition(".")[2]
        place = self._places.get(parent) if parent else None
        begins = _begins_turn(method, instance)
        if begins and place and place.turn.is_agent and parent == place.turn.root:
            place = None  # workflows 1.x leave their span id behind in the task that started them
        if method == "reset" and isinstance(instance, BaseChatEngine):
            identity.forget(instance)
        if begins and (place is None or place.turn.owner != id(instance) or place.turn.is_left_here):
            self._open(span_id, arguments, instance, place)
        elif place is not None:
            self._inside(span_id, method, arguments, instance, place)
        elif parent and method != "run" and (over := self._given_up.get(parent)):
            self._give_up(span_id, over)

    def exit(self, span_id: str, result: object) -> None:
        """A span ends well, or (agents of older workflows) with no result after a fault that was seen elsewhere."""
        place = self._places.get(span_id)
        if place is None:
            return
        turn = place.turn
        if span_id == turn.root:
            self._root_returned(turn, result)
        elif span_id == turn.writer:
            turn.written = True
            self.close(turn, "".join(turn.deltas).strip())
        elif span_id in turn.calls:
            agent_steps.tool_returned(turn, span_id, result)
        elif not place.aside:
            agent_steps.step_returned(turn, result)
            if turn.stepwise and isinstance(result, StopEvent):
                self.close(turn, agent_steps.answer_of(result))

    def drop(self, span_id: str, error: BaseException | None) -> None:
        """A span ends with an exception."""
        place = self._places.get(span_id)
        if place is None:
            return
        turn = place.turn
        if span_id in (turn.root, turn.writer):
            if turn.is_agent:  # up to workflows 2.13 a run whose caller was cancelled goes on
                self._give_up(span_id, turn)
            self.close(turn, None)
        elif span_id in turn.calls:
            agent_steps.tool_failed(turn, span_id, error)
        elif turn.stepwise and not place.aside and type(error).__name__ not in ("WaitingForEvent", "WorkflowDone"):
            self.close(turn, None)

    # --- events ----------------------------------------------------------------------------------------------

    def heard(self, event: BaseEvent) -> None:
        """A model or an engine says how far it has come."""
        place = self._places.get(event.span_id) if event.span_id else None
        if place is None or place.aside:
            return
        turn = place.turn
        if isinstance(event, LLMChatInProgressEvent):
            turn.unfinished = event.response.message
        elif isinstance(event, StreamChatDeltaReceivedEvent):
            turn.deltas.append(event.delta)
        elif isinstance(event, LLMChatEndEvent) and event.response is not None:
            message = event.response.message
            turn.thinking = translate.thinking_of(message)
            turn.wordless = not (message.content or "").strip()
            self._stream_ended(turn, translate.text_of(message))
        elif isinstance(event, ExceptionEvent):
            self._stream_ended(turn, None)

    def _stream_ended(self, turn: Turn, answer: str | None) -> None:
        """Streams of the context engines up to 0.14.16 have no writer: they end with the model's last event."""
        if turn.streaming and turn.writer is None:
            if turn.claimant and turn.destination:
                later = [("user", turn.user.content if turn.user else ""), ("assistant", (answer or "").strip())]
                turn.claimant.will_put(turn.destination.scope, later)
            self.close(turn, answer)

    # --- a turn's life ---------------------------------------------------------------------------------------

    def _open(self, span_id: str, arguments: dict[str, object], instance: object, outer: Place | None) -> None:
        if identity.left_out() or not runtime.capturing():
            return
        is_agent = isinstance(instance, _AGENTS)
        around = identity.surroundings()
        if outer is not None:
            around = scoping.merged(outer.turn.news, around)
        turn = Turn(span_id, id(instance), is_agent, around, outer and outer.turn)
        if is_agent:
            start = agent_steps.start_of(arguments)
            turn.resumed = start is None
            turn.user = agent_steps.user_in(start)
            memory: object = start.get("memory") if start is not None else None
            identity.taken_up(turn)
            context = arguments.get("ctx")
            owner: object = turn if context is None else context
        else:
            turn.user = translate.user_message(arguments.get("message"))  # type: ignore[arg-type] # str by contract
            memory, owner = identity.memory_in(instance), instance
        self._keep(span_id, Place(turn, aside=False))
        self._turns[span_id] = turn
        if turn.user:
            turn.say(turn.user)
        if isinstance(memory, Claimant):
            turn.claim(memory)
        elif outer is None:
            turn.unclaimed = self._unclaimed(instance, identity.of_turn(turn.surroundings, memory, owner))
        else:
            turn.unclaimed = self._of_others(outer, instance, memory, owner)
        if memory is not None and not is_agent:
            turn.settle(turn.unclaimed)
        turn.completes = not is_agent and _completes(getattr(instance, "_llm", None))
        if len(self._turns) > MAX_OPEN_TURNS:
            self.close(next(iter(self._turns.values())), None)

    def _of_others(self, outer: Place, instance: object, memory: object, owner: object) -> Destination | None:
        """Where a turn goes that begins inside another one, if it is somebody else's; None if it is part of that."""
        found = self._unclaimed(instance, scoping.merged(outer.turn.news, identity.of_memory(memory)))
        if found is None:
            return None
        scope = scoping.of_its_own(found.scope, outer.turn.scope, in_tool=outer.aside)
        if scope is None:
            return None
        return found._replace(
            scope=scope if scope.conversation_id else scoping.merged(scope, identity.of_object(owner))
        )

    def _inside(self, span_id: str, method: str, arguments: dict[str, object], instance: object, place: Place) -> None:
        turn = place.turn
        if place.aside:
            self._keep(span_id, place)
        elif method in _ASIDE:
            self._keep(span_id, Place(turn, aside=True))
        elif method == "call_tool" or (method in _TOOL and not turn.is_agent and isinstance(instance, BaseTool)):
            self._keep(span_id, Place(turn, aside=True, call=span_id))
            agent_steps.tool_called(turn, span_id, arguments, instance)
        else:
            asks_model = method in _CHAT and isinstance(instance, BaseLLM)
            if asks_model and turn.is_left_here:
                self._keep(span_id, Place(turn, aside=True))
                return
            self._keep(span_id, place)
            if asks_model:
                turn.settle(turn.unclaimed)  # nobody has claimed it before the model is asked
                if not identity.left_out():
                    injection.into_call(turn, arguments)
            elif method in _WRITER:
                turn.writer = span_id
            elif method == "init_run":
                agent_steps.begun(turn, arguments)

    def _keep(self, span_id: str, place: Place) -> None:
        self._places[span_id] = place
        place.turn.spans.append(span_id)

    def _give_up(self, span_id: str, turn: Turn) -> None:
        """What this span still does is part of a turn that is over, and nothing new."""
        self._given_up[span_id] = turn
        if len(self._given_up) > MAX_GIVEN_UP:
            self._given_up.popitem(last=False)

    def _root_returned(self, turn: Turn, result: object) -> None:
        if isinstance(result, WorkflowHandler):  # workflows 2.14.0 and 2.14.1
            turn.stepwise = True
            identity.inherit(result.ctx, turn)
            weakref.finalize(result, self.close, turn, None)
        elif turn.is_agent:
            self.close(turn, agent_steps.answer_of(result))
        elif not isinstance(result, StreamingAgentChatResponse):
            self.close(turn, str(getattr(result, "response", result)))
        elif not turn.closed:
            turn.streaming = True
            weakref.finalize(result, self._unread, turn)

    def _unread(self, turn: Turn) -> None:
        """The stream was thrown away; if somebody writes it to the history, it is read to its end all the same."""
        if turn.writer is None:
            self.close(turn, None)

    def close(self, turn: Turn, answer: str | None) -> None:
        """The turn is over; ``answer`` is None if it was not answered."""
        with turn.lock:
            if turn.closed:
                return
            turn.closed = True
            turn.conclude(answer)
            turn.settle(turn.unclaimed)
            turn.unfinished = None
        self._turns.pop(turn.root, None)
        for span_id in turn.spans:
            self._places.pop(span_id, None)


def _begins_turn(method: str, instance: object) -> bool:
    if method in _CHAT:
        return isinstance(instance, BaseChatEngine)
    return method == "run" and isinstance(instance, _AGENTS)


def _completes(model: object) -> bool:
    """True for a model that context engines call with text instead of messages.

    Source: llama_index.core 0.14.25, llms/llm.py, LLM.predict
    """
    return isinstance(model, BaseLLM) and not model.metadata.is_chat_model
