"""The heart of an application that knows nothing of Synap: a chat with LangChain, and a model that needs no network."""

import os
import sys

from langchain_core.language_models import SimpleChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate


class Parrot(SimpleChatModel):
    """Says what it was told."""

    @property
    def _llm_type(self):
        return "parrot"

    def _call(self, messages, stop=None, run_manager=None, **kwargs):
        return f"You said: {messages[-1].content}"


chain = ChatPromptTemplate.from_messages([("system", "You are a parrot."), ("user", "{said}")]) | Parrot()
chain = chain | StrOutputParser()


def config(conversation):
    """Whose conversation it is, as LangChain carries it."""
    return {"metadata": {"thread_id": conversation, "user_id": "ana"}}


def ask(conversation, said):
    """One turn."""
    return chain.invoke({"said": said}, config=config(conversation))


async def aask(conversation, said):
    """One turn on an event loop."""
    return await chain.ainvoke({"said": said}, config=config(conversation))


def untouched():
    """Nothing of ours where a program may look."""
    assert "synap" not in os.environ.get("PYTHONPATH", "")
    assert "SYNAP_RUN" not in os.environ
    assert not [place for place in sys.path if place.endswith("boot")]
