"""Context beside the last thing the user said, in a copy of the messages that only the model sees.

Every door of this island (middleware, model, template, history) goes through an `Injector`. What it puts in place is
transient and the same for all model calls of a turn, so that neither history nor checkpoint nor prompt cache notices.

The block is appended to a copy of the last human message: every provider accepts text there, the messages before stay
byte for byte what they were, and a tool call keeps its result beside it.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from synap_integrations import after_fork, scoping
from synap_integrations.context.render import Block, as_block, beside, has_context
from synap_integrations.guard import contained, is_quiet
from synap_integrations.langchain import identity
from synap_integrations.langchain.capture.tracker import captured_scope
from synap_integrations.langchain.messages import (
    content_of,
    is_ours_or_the_frameworks,
    role_of,
    text_of,
    text_of_content,
)
from synap_integrations.langchain.options import Options
from synap_integrations.langchain.recording import FRAMEWORK
from synap_integrations.model import Context, Scope
from synap_integrations.ports import Memory, checked_memory
from synap_integrations.runtime.usage import record_used, used_of

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import RunnableConfig


OURS: Final = "synap"
"""``lc_source`` of a message that holds nothing but our block: no framework or handler takes it for the user's."""

_RECALL: Final = contained("recall")
SETTLED: Final = ContextVar("synap_context_settled", default=False)
"""Set around a model call for which it is decided whether it gets context, and whose."""
_MAX_FROZEN: Final = 1_000
_NOTHING: Final = Block()

_living: Final[weakref.WeakValueDictionary[str, Injector]] = weakref.WeakValueDictionary()


class _Key(NamedTuple):
    """What a turn is recognised by: the message's id, or its place and a digest of its text where it has none."""

    scope: Scope
    message: str | tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class _Target:
    """Where context belongs in a list of messages, and whether the turn may have its block already."""

    place: int
    query: str
    key: _Key
    repeats: bool


class Injector:
    """Recalls once for each turn and shows the model the same block in all calls of it. Thread-safe.

    Copies of it are itself, also through pickle within a process; in another process it finds the Synap of that one.
    """

    def __init__(self, synap: Memory | None, scope: Scope, *, token: str | None = None) -> None:
        self._options = Options(checked_memory(synap), scoping.checked(scope))
        self._lock = threading.Lock()
        self._frozen: OrderedDict[_Key, Block] = OrderedDict()
        self._token = token or uuid.uuid4().hex
        _living[self._token] = self
        after_fork.watch(self)

    def after_fork_in_child(self) -> None:
        """A new lock: nobody holds it here."""
        self._lock = threading.Lock()

    def __copy__(self) -> Injector:
        return self

    def __deepcopy__(self, memo: object) -> Injector:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return revived, (self._token, self._options.scope)

    @property
    def memory(self) -> Memory:
        """Where context comes from: what was given, or the process-wide Synap."""
        return self._options.memory()

    def scope_for(self, config: RunnableConfig | None = None) -> Scope:
        """Who is talking in the run of this config, by default the surrounding one.

        A handler that captures the run has settled that, and its bundles are stamped accordingly; code inside that asks
        for somebody else is given what is theirs.
        """
        explicit = self._options.scope
        captured = captured_scope(config)
        if captured is not None:
            return scoping.within(explicit, identity.scope_of_run(config, explicit=explicit), captured)
        return identity.scope_of_run(config, explicit=explicit)

    # --- beside a message --------------------------------------------------------------------------------------------

    def into(self, messages: Sequence[BaseMessage], scope: Scope) -> Sequence[BaseMessage]:
        """The messages with context beside the last human one; the very same object if there is none to show."""
        with _RECALL:
            target = _target(messages, scope)
            if target is None:
                return messages
            block = self._held(target)
            if block is None:
                block = self._freeze(target, self.memory.recall(target.query, scope=scope))
            return _placed(messages, target.place, block)
        return messages

    async def ainto(self, messages: Sequence[BaseMessage], scope: Scope) -> Sequence[BaseMessage]:
        """`into` that waits without blocking the event loop."""
        with _RECALL:
            target = _target(messages, scope)
            if target is None:
                return messages
            block = self._held(target)
            if block is None:
                block = self._freeze(target, await self.memory.arecall(target.query, scope=scope))
            return _placed(messages, target.place, block)
        return messages

    def _held(self, target: _Target) -> Block | None:
        if not target.repeats:
            return None
        with self._lock:
            return self._frozen.get(target.key)

    def _freeze(self, target: _Target, context: Context) -> Block:
        """The block of this turn from now on, empty ones too: what was not there in lap one does not appear in two."""
        block = self.shown(context, target.key.scope)
        with self._lock:
            self._frozen[target.key] = block
            self._frozen.move_to_end(target.key)
            if len(self._frozen) > _MAX_FROZEN:
                self._frozen.popitem(last=False)
        return block

    # --- by itself ---------------------------------------------------------------------------------------------------

    def shown(self, context: Context, scope: Scope) -> Block:
        """The context as a block that a model is about to see; tells the platform which of its bundles were used."""
        block = as_block(context) if context.items and not is_quiet() else _NOTHING
        record_used(FRAMEWORK, self.memory, used_of(context, block.item_ids), scope)
        return block


def revived(token: str, scope: Scope) -> Injector:
    """The injector that was pickled, or one of this process's own Synap."""
    return _living.get(token) or Injector(None, scope, token=token)


def _target(messages: Sequence[BaseMessage], scope: Scope) -> _Target | None:
    """None if there is no human message, context stands beside it already, or it is paused."""
    if is_quiet():
        return None
    place = next(
        (
            at
            for at in range(len(messages) - 1, -1, -1)
            if role_of(messages[at]) == "user" and not is_ours_or_the_frameworks(messages[at])
        ),
        None,
    )
    if place is None or _is_provided(messages, place):
        return None
    message = messages[place]
    query = text_of(message)
    repeats = message.id is not None or place < len(messages) - 1
    return _Target(place, query, _Key(scope, message.id or (place, _digest(query))), repeats)


def _digest(text: str) -> bytes:
    """Stands for a text: a thousand long questions must not stay in memory."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _is_provided(messages: Sequence[BaseMessage], place: int) -> bool:
    """True if a block of ours stands in the turn's own messages, or in a system message."""
    own = True
    for at in range(place, -1, -1):
        role = role_of(messages[at])
        own = own and role in ("user", "system")
        if (own or role == "system") and has_context(text_of_content(content_of(messages[at]))):
            return True
    return False


def _placed(messages: Sequence[BaseMessage], place: int, block: Block) -> Sequence[BaseMessage]:
    if not block:
        return messages
    message = messages[place]
    content = message.content
    with_block: str | list[object]
    if isinstance(content, str):
        with_block = beside(content, block.text)
    else:
        with_block = [*cast("list[object]", content), {"type": "text", "text": block.text}]
    return [*messages[:place], message.model_copy(update={"content": with_block}), *messages[place + 1 :]]
