"""Context in the prompts of engines and agents that use no memory of ours, at the moment their model is called.

A method over the model's own hands it a copy of the messages, so that no list of the application's is ever changed.
Turns that a memory of ours has claimed are its business; messages that have context of ours already stay as they are.

Source: llama_index.core 0.12.52 to 0.14.25, base/llms/base.py, BaseLLM.chat, achat, stream_chat, astream_chat
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.instrumentation.span import active_span_id

from synap_integrations import after_fork
from synap_integrations.errors import InvalidInputError
from synap_integrations.guard import contained
from synap_integrations.llamaindex import identity, injection, listener
from synap_integrations.llamaindex.loops import in_a_loop
from synap_integrations.overlay import Overlay

if TYPE_CHECKING:
    from llama_index.core.base.llms.types import ChatMessage

    from synap_integrations.llamaindex.turns import Turn
    from synap_integrations.model import Scope
    from synap_integrations.ports import Detach, Memory

_RECALL: Final = contained("recall")
_NOW: Final = ("chat", "stream_chat")
_AWAITED: Final = ("achat", "astream_chat")
_lock: Final = after_fork.Lock()


class _AutoInject:
    """The one overlay of this process, and whom it asks."""

    overlay: Overlay | None = None
    memory: Memory | None = None


def inject(memory: Memory) -> Detach:
    """Show the model of every chat engine and agent what helps with the user's turn; call the result to stop.

    Raises: InvalidInputError, if models of this version of llama-index-core are not called as they are known to be.
    """
    missing = [name for name in (*_NOW, *_AWAITED) if not hasattr(BaseLLM, name)]
    if missing:
        message = f"models of this llama-index-core have no {', '.join(missing)}: use SynapMemory"
        raise InvalidInputError(message)
    with _lock:
        _remove()
        overlay = Overlay()
        overlay.over_family(BaseLLM, lambda cls: _cover(overlay, cls))
        _AutoInject.overlay, _AutoInject.memory = overlay, memory
    return lambda: _remove(overlay)


def _remove(overlay: Overlay | None = None) -> None:
    with _lock:
        if _AutoInject.overlay is not None and overlay in (None, _AutoInject.overlay):
            _AutoInject.overlay.remove()
            _AutoInject.overlay = _AutoInject.memory = None


def _cover(overlay: Overlay, cls: type) -> None:
    for name in (*_NOW, *_AWAITED):
        inner = vars(cls).get(name)
        if callable(inner) and not getattr(inner, "__isabstractmethod__", False):
            overlay.put(cls, name, (_calling if name in _NOW else _awaiting)(inner))


def _calling(inner: Any) -> Callable[..., Any]:  # noqa: ANN401 - a model's own method, decorated
    def method(self: BaseLLM, messages: Sequence[ChatMessage], *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        with _RECALL:
            messages = _shown(messages)
        return inner.__get__(self, type(self))(messages, *rest, **named)

    return method


def _awaiting(inner: Any) -> Callable[..., Any]:  # noqa: ANN401 - see above
    async def method(self: BaseLLM, messages: Sequence[ChatMessage], *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        with _RECALL:
            messages = await _ashown(messages)
        return await inner.__get__(self, type(self))(messages, *rest, **named)

    return method


# --- what a turn is shown ----------------------------------------------------------------------------------------


def _shown(messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    turn = _asking_turn()
    if turn is None:
        return messages
    # Who calls a model without waiting for it, on an event loop, gets what a call before has asked for.
    if not turn.frozen and not in_a_loop() and (asked := _asked(turn)) is not None:
        memory, question, scope = asked
        turn.injection = injection.rendered(memory.recall(question, scope=scope))
    return injection.into_copy(turn, messages)


async def _ashown(messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    turn = _asking_turn()
    if turn is None:
        return messages
    if not turn.frozen and (asked := _asked(turn)) is not None:
        memory, question, scope = asked
        turn.injection = injection.rendered(await memory.arecall(question, scope=scope))
    return injection.into_copy(turn, messages)


def _asking_turn() -> Turn | None:
    """The turn that asks its model, if no memory of ours sees to it."""
    turn = None if identity.left_out() else listener.capture.asking_turn(active_span_id.get())
    return turn if turn is not None and turn.claimant is None else None


def _asked(turn: Turn) -> tuple[Memory, str | None, Scope] | None:
    """Whom to ask for what, and on whose behalf: once for each turn, so that all its calls are shown the same."""
    turn.settle(turn.unclaimed)  # nobody has claimed it before the model is asked
    if turn.destination is None or _AutoInject.memory is None:
        return None
    turn.frozen = True
    return _AutoInject.memory, turn.user.content if turn.user else None, turn.destination.scope
