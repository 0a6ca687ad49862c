"""`SynapMemory`: the memory of a chat engine or agent that knows its user beyond this conversation."""
# ruff: noqa: ANN401 - what is passed on to pydantic and by the framework may be anything

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence, Sized
from datetime import UTC, datetime
from typing import Any, Final, Self

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.memory.types import BaseMemory

from synap_integrations import runtime, scoping
from synap_integrations.guard import contained
from synap_integrations.llamaindex import identity, injection, listener, translate
from synap_integrations.llamaindex.arguments import checked
from synap_integrations.llamaindex.conversations import MAX_CONVERSATIONS, Conversations, conversations_of
from synap_integrations.llamaindex.history import History, estimate_tokens
from synap_integrations.llamaindex.loops import at_once, in_a_loop
from synap_integrations.llamaindex.turns import Claimant, Destination, Injection, Turn, destination_of
from synap_integrations.model import Context, Scope, new_id
from synap_integrations.ports import Answer, Beginnings, Lookup, Memory, ReadConversation

DEFAULT_TOKEN_LIMIT: Final = 30_000
_EARLIER_TURNS: Final = ReadConversation(turns_only=True)
_MAX_KEPT: Final = 256
_CALLBACKS: Final = contained("callbacks")
_READ: Final = contained("recall")
_ON_A_LOOP_S: Final = 0.15
"""How long a `get` that is not awaited waits on an event loop for earlier turns, which is as long as for context."""
_live: Final[weakref.WeakValueDictionary[str, SynapMemory]] = weakref.WeakValueDictionary()
_serialized: Final[OrderedDict[str, SynapMemory]] = OrderedDict()
"""A workflow that has written a memory into its context holds only the text: these are kept alive for it."""


class SynapMemory(BaseMemory, Claimant):
    """Short-term history that survives a restart, and context from Synap in every prompt.

    One object may serve many conversations: inside ``with synap_integrations.context(...)`` each has its own history.
    Objects of one process that name the same conversation of the same user share its history, so that each request may
    make one of its own. The turns of engines and agents that use it are recorded without a handler.

    Nothing here raises because of Synap. Only the first `get` of a turn waits for it, as long as `recall` does; the
    first of a conversation in this process may wait ``SYNAP_LOOKUP_TIMEOUT_S`` more for its earlier turns.

    Args:
        synap: anything with ``record`` and ``recall``; by default the process-wide `Synap`.
        conversation_id: which conversation this is; by default one of its own for this object.
        user_id: whose it is; likewise ``customer_id`` and ``session_id``.
        token_limit: most tokens of history that `get` returns.
        tokenizer_fn: text to a sized collection of tokens; by default four characters count as one.

    Raises: InvalidInputError, if ``synap`` is no memory, an id cannot be used, or an argument is unknown.

    Source: llama_index.core 0.14.25, memory/types.py, BaseMemory

    """

    conversation_id: str | None = None
    user_id: str | None = None
    customer_id: str | None = None
    session_id: str | None = None
    token_limit: int = DEFAULT_TOKEN_LIMIT
    instance_key: str = Field(default_factory=new_id)
    tokenizer_fn: Callable[[str], Sized] = Field(default=estimate_tokens, exclude=True)

    _synap: Memory | None = PrivateAttr(default=None)
    _own: Conversations = PrivateAttr(default_factory=Conversations)
    """For a Synap that no other object can be found to share."""
    _held: OrderedDict[History, None] = PrivateAttr(default_factory=OrderedDict)
    """Histories that are kept as long as this object is."""
    _is_new: bool = PrivateAttr(default=False)
    """A conversation of its own cannot have earlier turns."""

    def __init__(self, synap: Memory | None = None, **fields: Any) -> None:
        memory = checked(synap, fields, type(self).model_fields)
        super().__init__(**fields)
        self._synap = memory
        self._is_new = "instance_key" not in fields
        scoping.checked(self._stated())
        _live[self.instance_key] = self
        listener.listen_for_memories()

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex serializes it under."""
        return "SynapMemory"

    @classmethod
    def from_defaults(
        cls,
        chat_history: Sequence[ChatMessage] | None = None,
        *,
        synap: Memory | None = None,
        **given: Any,
    ) -> Self:
        """A memory that begins with these messages. What engines pass and this memory does not use is ignored."""
        used = {name: value for name, value in given.items() if name in cls.model_fields and value is not None}
        memory = cls(synap, **used)
        if chat_history:
            memory.set(chat_history)
        return memory

    # --- reading ---------------------------------------------------------------------------------------------

    def get(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:  # noqa: A002 - the framework's name
        """The newest messages within `token_limit`, as copies.

        Inside an engine's or agent's turn the context is added when the model is called; elsewhere it is in the last
        user message.
        """
        turn = self._claimed()
        history, scope = self._history(turn)
        if (query := self._question(turn, history, input)) is not None:
            self._note_beginning(history, scope)
            with _CALLBACKS:
                self._learned(turn, history, self._sink().recall(query or None, scope=scope))
        self._read(turn, history, scope)
        return self._shown(turn, history, kwargs)

    async def aget(self, input: str | None = None, **kwargs: Any) -> list[ChatMessage]:  # noqa: A002 - see `get`
        """`get` that waits without blocking the event loop."""
        turn = self._claimed()
        history, scope = self._history(turn)
        if (query := self._question(turn, history, input)) is not None:
            self._note_beginning(history, scope)
            with _CALLBACKS:
                self._learned(turn, history, await self._sink().arecall(query or None, scope=scope))
        await self._aread(turn, history, scope)
        return self._shown(turn, history, kwargs)

    def get_all(self) -> list[ChatMessage]:
        """All messages of the history, as copies, without context."""
        turn = self._claimed()
        history, scope = self._history(turn)
        self._read(turn, history, scope)
        with history.lock:
            return history.everything()

    async def aget_all(self) -> list[ChatMessage]:
        """`get_all` that waits without blocking the event loop."""
        turn = self._claimed()
        history, scope = self._history(turn)
        await self._aread(turn, history, scope)
        with history.lock:
            return history.everything()

    # --- writing ---------------------------------------------------------------------------------------------

    def put(self, message: ChatMessage) -> None:
        """Add a message. Outside of an engine's or agent's turn it is recorded as well."""
        self.put_messages([message])

    async def aput(self, message: ChatMessage) -> None:
        """`put`; it does not wait."""
        self.put_messages([message])

    def put_messages(self, messages: list[ChatMessage]) -> None:
        """Add messages. Outside of an engine's or agent's turn they are recorded as well."""
        turn = self._claimed()
        history, scope = self._history(turn)
        with history.lock:
            new = [message for message in messages if not (turn is None and history.expected(message))]
            for message in messages:
                history.put(message)
        if turn is None:
            self._record(new, scope)

    async def aput_messages(self, messages: list[ChatMessage]) -> None:
        """`put_messages`; it does not wait."""
        self.put_messages(messages)

    def set(self, messages: Iterable[ChatMessage]) -> None:
        """Make this the history. Nothing is recorded: see `import_history` for messages that Synap has not seen."""
        history, _ = self._history(self._claimed())
        with history.lock:
            history.replace(messages)

    async def aset(self, messages: list[ChatMessage]) -> None:
        """`set`; it does not wait."""
        self.set(messages)

    def reset(self) -> None:
        """Forget the history of this conversation, also for other and later processes of this machine. Earlier turns
        stay in Synap, as memories and not as this conversation's past.
        """
        history, scope = self._history(self._claimed())
        now: datetime | None = None
        with _READ:
            if isinstance(sink := self._sink(), Beginnings):
                sink.begin_anew(scope)
                now = sink.begun_at(scope)
        with history.lock:
            history.clear(now or datetime.now(UTC))

    async def areset(self) -> None:
        """`reset`; it does not wait."""
        self.reset()

    def import_history(self, messages: Sequence[ChatMessage]) -> None:
        """Record a conversation that took place elsewhere, and continue it."""
        history, scope = self._history(None)
        with history.lock:
            history.replace(messages)
        self._record(messages, scope)

    # --- staying the same object -----------------------------------------------------------------------------

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Its identity as data. The history is not in it: it is here, and in Synap.

        Source: workflows 2.26.1, context/serializers.py: a reused Context writes and reads its memory on every run
        """
        _serialized[self.instance_key] = self
        _serialized.move_to_end(self.instance_key)
        while len(_serialized) > _MAX_KEPT:
            _serialized.popitem(last=False)
        kwargs.setdefault("mode", "json")
        return super().to_dict(**kwargs)

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """The very object that `to_dict` was called on, if it lives in this process; else one of the same identity."""
        live = _live.get(str(data.get("instance_key")))
        return live if isinstance(live, cls) else super().from_dict(data, **kwargs)

    def __copy__(self) -> Self:
        """The same object: a copy would be a second memory of one conversation."""
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """The same object, see `__copy__`."""
        return self

    def __hash__(self) -> int:
        """By identity, so that it can be looked up."""
        return id(self)

    def __eq__(self, other: object) -> bool:
        """By identity."""
        return self is other

    # --- as the claimant of a turn ---------------------------------------------------------------------------

    def destination(self, surroundings: Scope) -> Destination:
        """Its own ids first, then the code around the turn, the environment, and a conversation of its own."""
        own = Scope(self._own_conversation())
        scope = scoping.merged(self._stated(), surroundings, runtime.environment_scope(), own)
        return Destination(self._sink(), scope)

    def injection(self, turn: Turn) -> Injection | None:
        """The context of the turn. An engine that has not asked its memory gets what is known now; on an event loop,
        which must not be blocked, that is what is there at once, looked for again at the turn's next call.
        """
        if not turn.frozen and turn.destination is not None:
            sink, scope = turn.destination
            said = turn.user.content if turn.user else None
            if in_a_loop():
                context = at_once(sink.arecall(said, scope=scope)) or Context()
            else:
                context = sink.recall(said, scope=scope)
                turn.frozen = True
            turn.injection = injection.rendered(context)
            turn.frozen = turn.frozen or turn.injection is not None
        return turn.injection

    def will_put(self, scope: Scope, messages: Sequence[tuple[str, str]]) -> None:
        """See `History.expect`."""
        history = self._history_of(scope)
        with history.lock:
            history.expect(messages)

    # --- inside ----------------------------------------------------------------------------------------------

    def _claimed(self) -> Turn | None:
        """The open turn that this call is part of, claimed for this memory."""
        with _CALLBACKS:
            return listener.turn_for(self)
        return None

    def _history(self, turn: Turn | None) -> tuple[History, Scope]:
        if turn is not None and turn.claimant is self and turn.destination is not None:
            scope = turn.destination.scope
        else:
            around = listener.current_turn()
            scope = destination_of(self, listener.surroundings(), around.scope if around else None).scope
        return self._history_of(scope), scope

    def _history_of(self, scope: Scope) -> History:
        history = self._conversations().of(scope)
        with history.lock:
            history.count_with(self.tokenizer_fn)
            self._held[history] = None
            self._held.move_to_end(history)
            if len(self._held) > MAX_CONVERSATIONS:
                self._held.popitem(last=False)
        return history

    def _conversations(self) -> Conversations:
        return conversations_of(self._sink()) or self._own

    def _question(self, turn: Turn | None, history: History, asked: str | None) -> str | None:
        """What to recall for; None if this turn has its context or wants none, ``""`` for whatever is known."""
        if identity.left_out():
            return None
        if turn is None:
            with history.lock:
                if history.asked_at == history.said:
                    return None
                history.asked_at = history.said
                return asked or history.last_said()
        if turn.frozen:
            return None
        turn.frozen = True
        return (turn.user.content if turn.user else asked) or ""

    def _note_beginning(self, history: History, scope: Scope) -> None:
        with _READ:
            if isinstance(sink := self._sink(), Beginnings):
                begun_at = sink.begun_at(scope)
                with history.lock:
                    history.begun_anew(begun_at)

    def _read(self, turn: Turn | None, history: History, scope: Scope) -> None:
        """The first time in this process: ask Synap for the earlier turns of the conversation."""
        with _READ:
            if (lookup := self._reader(history, scope)) is not None:
                within_s = _ON_A_LOOP_S if in_a_loop() else None
                self._told(turn, history, lookup.ask(_EARLIER_TURNS, scope=scope, timeout_s=within_s))

    async def _aread(self, turn: Turn | None, history: History, scope: Scope) -> None:
        with _READ:
            if (lookup := self._reader(history, scope)) is not None:
                self._told(turn, history, await lookup.aask(_EARLIER_TURNS, scope=scope))

    def _reader(self, history: History, scope: Scope) -> Lookup | None:
        """Whom to ask; None if they are here, or nobody can tell."""
        if history.loaded or (self._is_new and scope.conversation_id == self._own_conversation()):
            return None
        lookup = self._conversations().first_reads.lookup(self._sink())
        if lookup is not None:
            self._note_beginning(history, scope)
        return lookup

    def _told(self, turn: Turn | None, history: History, answer: Answer) -> None:
        concluded = self._conversations().first_reads.concluded(answer)
        with history.lock:
            if not history.loaded:
                history.remember(answer.turns, asked=turn.user.content if turn and turn.user else None)
                history.loaded = concluded

    def _learned(self, turn: Turn | None, history: History, context: Context) -> None:
        with history.lock:
            if not history.loaded:
                history.loaded = history.remember(
                    context.recent_turns, asked=turn.user.content if turn and turn.user else None
                )
            if turn is None:
                history.injection = injection.rendered(context)
            else:
                turn.injection = history.injection = injection.rendered(context)

    def _shown(self, turn: Turn | None, history: History, asked: dict[str, Any]) -> list[ChatMessage]:
        room = self.token_limit - int(asked.get("initial_token_count") or 0)
        with history.lock:
            messages = history.within(room)
        if identity.left_out():
            return messages
        if turn is None or turn.claimant is not self:
            return injection.into_messages(messages, history.injection.block if history.injection else "")
        if turn.injection is None or (injection.by_reference() and not turn.completes):
            return messages
        turn.show(turn.injection)
        return injection.into_messages(messages, turn.injection.block)

    def _record(self, messages: Iterable[ChatMessage], scope: Scope) -> None:
        if identity.left_out() or not runtime.capturing():
            return
        destination = Destination(self._sink(), scope)
        for message in messages:
            for event in translate.events_of(message):
                destination.record(event)

    def _sink(self) -> Memory:
        return self._synap if self._synap is not None else runtime.default_synap()

    def _own_conversation(self) -> str:
        return f"conversation-{self.instance_key}"

    def _stated(self) -> Scope:
        return Scope(self.conversation_id, self.user_id, customer_id=self.customer_id, session_id=self.session_id)
