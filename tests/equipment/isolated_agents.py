"""Applications for `prove_isolation`: one that keeps its users apart, and some that make a well-known mistake."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import HumanMessage
from scripted_models import Scripted

from synap_integrations.langchain import SynapCallbackHandler, with_synap_memory

ANSWER = "I see."


class _Quoting(Scripted):
    """Answers with what it was shown, as a model does that was asked for it."""

    def _next(self, messages: list[Any]) -> Any:
        self.answers = ["\n".join(str(message.content) for message in messages)]
        self._given = 0
        return super()._next(messages)


def sound():
    """One agent for everybody, told apart by metadata."""
    model = with_synap_memory(_Quoting())
    handler = SynapCallbackHandler()

    def ask(text: str, *, user_id: str, conversation_id: str) -> str:
        metadata = {"user_id": user_id, "conversation_id": conversation_id}
        return str(model.invoke([HumanMessage(text)], {"callbacks": [handler], "metadata": metadata}).content)

    return ask


def sound_and_async():
    """The same with a coroutine."""
    model = with_synap_memory(_Quoting())
    handler = SynapCallbackHandler()

    async def ask(text: str, *, user_id: str, conversation_id: str) -> str:
        metadata = {"user_id": user_id, "conversation_id": conversation_id}
        answer = await model.ainvoke([HumanMessage(text)], {"callbacks": [handler], "metadata": metadata})
        return str(answer.content)

    return ask


def one_user_for_all():
    """Somebody forgot to pass the user on: all share one memory."""
    model = with_synap_memory(_Quoting())

    def ask(text: str, *, user_id: str, conversation_id: str) -> str:
        metadata = {"user_id": "demo-user", "conversation_id": conversation_id}
        config = {"callbacks": [SynapCallbackHandler()], "metadata": metadata}
        return str(model.invoke([HumanMessage(text)], config).content)

    return ask


def history_in_a_global():
    """The memory is fine, but the history is a list of the module."""
    said: list[Any] = []
    model = with_synap_memory(_Quoting())

    def ask(text: str, *, user_id: str, conversation_id: str) -> str:
        said.append(HumanMessage(text))
        metadata = {"user_id": user_id, "conversation_id": conversation_id}
        config = {"callbacks": [SynapCallbackHandler()], "metadata": metadata}
        return str(model.invoke(said[-4:], config).content)

    return ask


def without_memory():
    """Captures, but no prompt ever holds context: nothing can cross, and nothing is proved."""
    handler = SynapCallbackHandler()

    def ask(text: str, *, user_id: str, conversation_id: str) -> str:
        metadata = {"user_id": user_id, "conversation_id": conversation_id}
        config = {"callbacks": [handler], "metadata": metadata}
        return str(Scripted(answers=[ANSWER]).invoke([HumanMessage(text)], config).content)

    return ask
