"""Where context enters the prompt: the list of messages with which a model is called, at the moment it is called.

The span of the call carries the very list that the call will use, so replacing one element is enough. It works for
every engine and agent alike, leaves the memory clean, and goes into the turn's own user message, the only place that
every agent and every adapter keeps.

Source: llama_index_instrumentation 0.6.0, dispatcher.py, Dispatcher.span: bound arguments are passed by reference
"""

from __future__ import annotations

from inspect import BoundArguments
from typing import TYPE_CHECKING, Final

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.instrumentation.span_handlers import NullSpanHandler
from llama_index_instrumentation.dispatcher import Dispatcher

from synap_integrations.context.render import as_block, has_context
from synap_integrations.llamaindex import translate
from synap_integrations.llamaindex.turns import Injection
from synap_integrations.runtime.usage import used_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synap_integrations.llamaindex.turns import Turn
    from synap_integrations.model import Context

_PROBE: Final = "probe"


def rendered(context: Context) -> Injection | None:
    """The context as a block; None if there is nothing to show."""
    block = as_block(context)
    if not block:
        return None
    return Injection(block.text, used_of(context, block.item_ids))


def into_call(turn: Turn, arguments: dict[str, object]) -> None:
    """Put the turn's context into the messages of a model call that is about to happen."""
    messages = arguments.get("messages")
    if turn.claimant is None or not isinstance(messages, list | tuple) or not by_reference():
        return
    shown = turn.claimant.injection(turn)
    if shown is None or already_there(messages):
        return
    at = _place_for(turn, messages)
    if at is None:
        return
    with_context = translate.with_block(messages[at], shown.block)
    if isinstance(messages, list):
        messages[at] = with_context
    else:  # nothing in it can be replaced: the message itself carries the block until the turn is over
        turn.lend(messages[at], with_context)
    turn.shown_at = at
    turn.show(shown)


def into_copy(turn: Turn, messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    """The messages with the turn's context, in a list of their own; the very same ones if there is nothing to show."""
    shown = turn.injection
    if shown is None or already_there(messages) or (at := _place_for(turn, messages)) is None:
        return messages
    turn.shown_at = at
    turn.show(shown)
    return [*messages[:at], translate.with_block(messages[at], shown.block), *messages[at + 1 :]]


def into_messages(messages: list[ChatMessage], block: str) -> list[ChatMessage]:
    """The same for code that asks a memory for messages itself: the block goes into the last user message.

    Without one, as in an engine that has not added the current message yet, it becomes a system message at the front;
    some engines run that through a template, so it must not look like one.
    """
    if not block or already_there(messages):
        return messages
    for at in range(len(messages) - 1, -1, -1):
        if messages[at].role == MessageRole.USER:
            return [*messages[:at], translate.with_block(messages[at], block), *messages[at + 1 :]]
    return [ChatMessage(role=MessageRole.SYSTEM, content=without_templates(block)), *messages]


def already_there(messages: Sequence[ChatMessage]) -> bool:
    """True if one of our blocks is in one of the messages."""
    return any(has_context(message.content or "") for message in messages)


def without_templates(text: str) -> str:
    """The text with a space behind each brace, so that no ``{name}`` is taken for a template's variable.

    Source: llama_index.core 0.14.25, prompts/utils.py, SafeFormatter
    """
    return text.replace("{", "{ ")


def _place_for(turn: Turn, messages: Sequence[ChatMessage]) -> int | None:
    """The index of the turn's own user message; results of ReAct and CodeAct have the role ``user`` too."""
    users = [at for at, message in enumerate(messages) if message.role == MessageRole.USER]
    said = turn.user.content if turn.user else ""
    if said:
        if turn.shown_at in users and said in (messages[turn.shown_at].content or ""):
            return turn.shown_at
        exact = [at for at in users if messages[at].content == said]
        within = exact or [at for at in users if said in (messages[at].content or "")]
        if within:
            return within[-1]
    return users[-1] if users else None


class _Replacing(NullSpanHandler):
    """Replaces an element of the list that a span is entered with."""

    def span_enter(self, id_: str, bound_args: BoundArguments, *_rest: object, **_named: object) -> None:  # noqa: ARG002
        bound_args.arguments["messages"][0] = _PROBE


def _tried() -> bool:
    """Whether a call sees what a span handler has put into its list, tried on a dispatcher of our own."""
    dispatcher = Dispatcher(name="synap_probe", span_handlers=[_Replacing()], propagate=False)

    @dispatcher.span
    def call(messages: list[str]) -> str:
        return messages[0]

    return call(messages=[""]) == _PROBE


class _Answer:
    known: bool | None = None


def by_reference() -> bool:
    """True if this version of LlamaIndex lets a span handler change the messages of a call; found out once."""
    if _Answer.known is None:
        _Answer.known = _tried()
    return _Answer.known
