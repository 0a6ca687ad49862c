"""Applications for `prove_isolation`: one that keeps its users apart, and some that make a well-known mistake."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import HumanMessage
from langchain_models import WholeModel

from synap_integrations.langchain import SynapCallbackHandler, with_synap_memory

ANSWER = "I see."


def _quoting() -> WholeModel:
    """Answers with what it was shown, as a model does that was asked for it."""
    return WholeModel(reply=lambda messages: "\n".join(str(message.content) for message in messages))


def sound():
    """One agent for everybody, told apart by metadata."""
    model = with_synap_memory(_quoting())
    handler = SynapCallbackHandler()

    def ask(text: str, *, user_id: str, conversation_id: str) -> str:
        metadata = {"user_id": user_id, "conversation_id": conversation_id}
        return str(model.invoke([HumanMessage(text)], {"callbacks": [handler], "metadata": metadata}).content)

    return ask


def sound_and_async():
    """The same with a coroutine."""
    model = with_synap_memory(_quoting())
    handler = SynapCallbackHandler()

    async def ask(text: str, *, user_id: str, conversation_id: str) -> str:
        metadata = {"user_id": user_id, "conversation_id": conversation_id}
        answer = await model.ainvoke([HumanMessage(text)], {"callbacks": [handler], "metadata": metadata})
        return str(answer.content)

    return ask


def one_user_for_all():
    """Somebody forgot to pass the user on: all share one memory."""
    model = with_synap_memory(_quoting())

    def ask(text: str, *, user_id: str, conversation_id: str) -> str:
        metadata = {"user_id": "demo-user", "conversation_id": conversation_id}
        config = {"callbacks": [SynapCallbackHandler()], "metadata": metadata}
        return str(model.invoke([HumanMessage(text)], config).content)

    return ask


def history_in_a_global():
    """The memory is fine, but the history is a list of the module."""
    said: list[Any] = []
    model = with_synap_memory(_quoting())

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
        return str(WholeModel(answers=[ANSWER]).invoke([HumanMessage(text)], config).content)

    return ask


def failing():
    """An agent whose model cannot be reached."""

    def ask(text, *, user_id, conversation_id):
        message = "the model is down"
        raise RuntimeError(message)

    return ask
