"""`SynapMemoryBlock`: context from Synap for people whose memory is LlamaIndex's own `Memory`."""
# ruff: noqa: ANN401 - what is passed on to pydantic and by the framework may be anything

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.memory import BaseMemoryBlock

from synap_integrations import runtime, scoping
from synap_integrations.context.render import as_block
from synap_integrations.guard import contained
from synap_integrations.llamaindex import identity, injection, listener, translate
from synap_integrations.llamaindex.arguments import checked
from synap_integrations.llamaindex.recording import FRAMEWORK
from synap_integrations.model import Context, Scope
from synap_integrations.ports import Memory
from synap_integrations.runtime.usage import record_used, used_of

MAX_CONVERSATIONS: Final = 1_000

_RECALL: Final = contained("recall")


class SynapMemoryBlock(BaseMemoryBlock[str]):
    """Reads what Synap knows; `SynapCallbackHandler` is who records. Never raises.

    ``Memory.from_defaults(memory_blocks=[SynapMemoryBlock(user_id="ana")], insert_method="user")`` is the arrangement
    that every agent keeps. The context is asked for once per turn; later calls within the turn return the same text.

    Args:
        synap: anything with ``record`` and ``recall``; by default the process-wide `Synap`.
        conversation_id: which conversation this is; by default the ``session_id`` of the memory it is in.
        user_id: whose it is; likewise ``customer_id``.

    Source: llama_index.core 0.14.25, memory/memory.py, BaseMemoryBlock

    """

    name: str = "synap"
    accept_short_term_memory: bool = False
    conversation_id: str | None = None
    user_id: str | None = None
    customer_id: str | None = None

    _synap: Memory | None = PrivateAttr(default=None)
    _frozen: OrderedDict[Scope, tuple[object, str]] = PrivateAttr(default_factory=OrderedDict)

    def __init__(self, synap: Memory | None = None, **fields: Any) -> None:
        memory = checked(synap, fields, type(self).model_fields)
        super().__init__(**fields)
        self._synap = memory
        scoping.checked(self._stated())

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> str:
        with _RECALL:
            session = Scope(scoping.usable(block_kwargs.get("session_id")))
            scope = scoping.merged(self._stated(), listener.surroundings(), session, runtime.environment_scope())
            said = translate.text_of(translate.last_user_message(messages or []))
            turn = listener.current_turn()
            asked = (turn.root if turn else None, said)
            if identity.left_out():
                return ""
            if (held := self._held(scope, asked)) is not None:
                return held
            context = await self._sink().arecall(said or None, scope=scope)
            held = self._held(scope, asked)  # by a call of the same turn that was answered earlier
            return self._freeze(scope, asked, context) if held is None else held
        return ""

    def _held(self, scope: Scope, asked: object) -> str | None:
        known = self._frozen.get(scope)
        return known[1] if known is not None and known[0] == asked else None

    def _freeze(self, scope: Scope, asked: object, context: Context) -> str:
        block = as_block(context)
        text = injection.without_templates(block.text)
        self._frozen[scope] = asked, text
        while len(self._frozen) > MAX_CONVERSATIONS:
            self._frozen.popitem(last=False)
        record_used(FRAMEWORK, self._sink(), used_of(context, block.item_ids), scope)
        return text

    async def _aput(self, messages: list[ChatMessage]) -> None:
        """Nothing: what is ejected from the short-term memory is a fraction of what was said."""

    def _sink(self) -> Memory:
        return self._synap if self._synap is not None else runtime.default_synap()

    def _stated(self) -> Scope:
        return Scope(self.conversation_id, self.user_id, customer_id=self.customer_id)
