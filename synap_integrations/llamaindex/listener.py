"""Listen on LlamaIndex's root dispatcher, and to what agents ask humans (`human`).

Source: llama_index_instrumentation 0.6.0, dispatcher.py, Dispatcher.add_span_handler and add_event_handler
"""
# ruff: noqa: ARG002 - the signatures are the framework's

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.chat_engine import StreamChatDeltaReceivedEvent
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMChatInProgressEvent
from llama_index.core.instrumentation.span import active_span_id
from llama_index.core.instrumentation.span_handlers import NullSpanHandler
from llama_index_instrumentation import get_dispatcher

from synap_integrations import after_fork, runtime, scoping
from synap_integrations.guard import contained
from synap_integrations.llamaindex import human, identity
from synap_integrations.llamaindex.capture import Capture
from synap_integrations.llamaindex.turns import Destination
from synap_integrations.model import Scope
from synap_integrations.overlay import Overlay

if TYPE_CHECKING:
    from llama_index.core.instrumentation.events import BaseEvent

    from synap_integrations.llamaindex.turns import Claimant, Place, Turn
    from synap_integrations.ports import Memory

_CALLBACKS: Final = contained("callbacks")
MAX_ATTACHMENTS: Final = 256
_HEARD: Final = frozenset({LLMChatInProgressEvent, StreamChatDeltaReceivedEvent, LLMChatEndEvent, ExceptionEvent})


@dataclass(slots=True, eq=False)
class Attachment:
    """Somebody who wants every turn: where to record it, and whose it is where nothing nearer says.

    Without a memory it is the process-wide `Synap` of the moment.
    """

    memory: Memory | None = None
    scope: Scope = scoping.NOWHERE
    automatic: bool = False
    """Attached by zero-code start-up: gives way to whoever was attached by hand."""
    holders: int = 0
    """How many want the same, and have not let go."""


class _Attachments:
    """Who wants every turn. A turn goes to one of them, so that attaching twice records once.

    Those who want the same are one, and those who attached first give way to newer ones: a server that makes a handler
    for each request, and lets none go, keeps at most `MAX_ATTACHMENTS`. A handler that gave way still has the turns of
    the engine or of the request that it was made for.
    """

    def __init__(self) -> None:
        self._lock = after_fork.Lock()
        self._all: dict[tuple[int, Scope, bool], Attachment] = {}
        self._candidates: tuple[Attachment, ...] = ()
        self._shared = scoping.NOWHERE
        self._gave_way = False
        self._here: ContextVar[Attachment | None] = ContextVar("synap_llamaindex_attachment", default=None)

    def __len__(self) -> int:
        return len(self._all)

    def add(self, wanted: Attachment) -> Attachment:
        key = id(wanted.memory), wanted.scope, wanted.automatic
        with self._lock:
            attachment = self._all.pop(key, wanted)
            attachment.holders += 1
            self._all[key] = attachment
            if len(self._all) > MAX_ATTACHMENTS:
                oldest = next((key for key, one in self._all.items() if not one.automatic), key)
                del self._all[oldest]
                self._gave_way = True
            self._changed()
        self._here.set(attachment)
        return attachment

    def remove(self, attachment: Attachment) -> None:
        with self._lock:
            attachment.holders -= 1
            if attachment.holders <= 0:
                self._all = {key: other for key, other in self._all.items() if other is not attachment}
                self._changed()

    def _changed(self) -> None:
        by_hand = tuple([one for one in self._all.values() if not one.automatic])
        self._candidates = by_hand or tuple(self._all.values())
        self._gave_way = self._gave_way and bool(self._all)
        # Handlers of different people, and nothing says whose turn this is: it must not become somebody else's.
        scopes = {one.scope for one in self._candidates}
        self._shared = scopes.pop() if len(scopes) == 1 and not self._gave_way else scoping.NOWHERE

    def destination(self, owner: object, said: Scope) -> Destination | None:
        """Where a turn of this engine or agent goes: to the handler in its callback manager, to the one attached in
        this context (a request that makes a handler of its own), or to the last.
        """
        candidates = self._candidates
        if not candidates:
            return None
        chosen = _in_callbacks(owner) or self._here.get()
        if chosen is not None and chosen.holders > 0 and chosen.automatic == candidates[-1].automatic:
            return _destination(chosen, scoping.merged(chosen.scope, said))
        return _destination(candidates[-1], scoping.merged(self._shared, said))


def _destination(attachment: Attachment, scope: Scope) -> Destination:
    return Destination(runtime.default_synap() if attachment.memory is None else attachment.memory, scope)


def _in_callbacks(owner: object) -> Attachment | None:
    handlers = getattr(getattr(owner, "callback_manager", None), "handlers", None) or ()
    found = [getattr(handler, "attachment", None) for handler in handlers]
    ours = [attachment for attachment in found if isinstance(attachment, Attachment) and attachment.holders > 0]
    return ours[-1] if ours else None


attachments: Final = _Attachments()
capture: Final = Capture(attachments.destination)


class SynapSpanHandler(NullSpanHandler):
    """Hands spans on to `capture`, and keeps nothing itself."""

    @classmethod
    def class_name(cls) -> str:
        """The name by which a second copy of this handler is recognised."""
        return "SynapSpanHandler"

    def span_enter(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: object = None,
        parent_id: str | None = None,
        tags: Mapping[str, object] | None = None,
        **kwargs: object,
    ) -> None:
        """A span begins."""
        with _CALLBACKS:
            capture.enter(id_, bound_args.arguments, instance, parent_id)

    def span_exit(
        self, id_: str, bound_args: object = None, instance: object = None, result: object = None, **kwargs: object
    ) -> None:
        """A span ends."""
        with _CALLBACKS:
            capture.exit(id_, result)

    def span_drop(
        self,
        id_: str,
        bound_args: object = None,
        instance: object = None,
        err: BaseException | None = None,
        **kwargs: object,
    ) -> None:
        """A span ends with an exception."""
        with _CALLBACKS:
            capture.drop(id_, err)

    def capture_propagation_context(self) -> dict[str, str]:
        """What a run that is about to begin elsewhere must know of where it was started."""
        with _CALLBACKS:
            return identity.handed_over()
        return {}

    def restore_propagation_context(self, context: dict[str, object]) -> None:
        """What was known where this run was started."""
        with _CALLBACKS:
            identity.received(context)


class SynapEventHandler(BaseEventHandler):
    """Hands the events that matter on to `capture`."""

    @classmethod
    def class_name(cls) -> str:
        """The name by which a second copy of this handler is recognised."""
        return "SynapEventHandler"

    def handle(self, event: BaseEvent, **kwargs: object) -> None:
        """Something happened within a span."""
        if type(event) in _HEARD:
            with _CALLBACKS:
                capture.heard(event)


_lock: Final = after_fork.Lock()
_memories: Final[list[bool]] = []
_overlay: Final = Overlay()


def listen() -> None:
    """Be on the root dispatcher, once, however often this is called."""
    root = get_dispatcher()
    with _lock:
        if not any(handler.class_name() == SynapSpanHandler.class_name() for handler in root.span_handlers):
            root.add_span_handler(SynapSpanHandler())
            human.listen(_overlay, _current_place)
        if not any(handler.class_name() == SynapEventHandler.class_name() for handler in root.event_handlers):
            root.add_event_handler(SynapEventHandler())


def listen_for_memories() -> None:
    """Be there for good: turns that use a memory of ours are recorded, attached or not."""
    if not _memories:
        _memories.append(True)
    listen()


def add(wanted: Attachment) -> Attachment:
    """Somebody wants every turn from now on: to be given back to `remove`, once."""
    attachment = attachments.add(wanted)
    listen()
    return attachment


def remove(attachment: Attachment) -> None:
    """Somebody wants no more turns; with the last one gone, the dispatcher is left as it was found."""
    attachments.remove(attachment)
    if len(attachments) or _memories:
        return
    root = get_dispatcher()
    with _lock:
        root.span_handlers[:] = [h for h in root.span_handlers if h.class_name() != SynapSpanHandler.class_name()]
        root.event_handlers[:] = [h for h in root.event_handlers if h.class_name() != SynapEventHandler.class_name()]
        _overlay.remove()


def current_turn() -> Turn | None:
    """The open turn that the calling code is part of; seen in tools, memories and writer threads alike."""
    return capture.turn_of(active_span_id.get())


def _current_place() -> Place | None:
    return capture.place_of(active_span_id.get())


def surroundings() -> Scope:
    """`identity.surroundings` of the calling code; inside a turn, what only this code says goes first."""
    turn = current_turn()
    here = identity.surroundings()
    return here if turn is None else scoping.merged(turn.news, here)


def turn_for(claimant: Claimant) -> Turn | None:
    """The open turn that a memory of ours is used in, claimed for it; None if it is used for somebody else.

    What a tool or a retriever uses does not claim the turn around it.
    """
    turn = current_turn()
    if turn is None:
        return None
    if not capture.is_aside(active_span_id.get()):
        turn.claim(claimant)
    if turn.claimant is claimant:
        return turn
    return None if scoping.of_others(claimant.destination(surroundings()).scope, turn.scope) else turn


os.register_at_fork(after_in_child=capture.forget_all)
