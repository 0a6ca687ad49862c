"""Arguments that people get wrong at first: each is an error that says what to write, and not a memory of nobody."""

import pytest
from langchain_core.language_models import FakeListChatModel
from llama_index.core.callbacks import CallbackManager
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import MockLLM

from synap_integrations import InvalidInputError, Synap
from synap_integrations.langchain import SynapCallbackHandler, with_synap_memory
from synap_integrations.langchain import SynapMemory as LangChainMemory
from synap_integrations.llamaindex import SynapCallbackHandler as LlamaIndexHandler
from synap_integrations.llamaindex import SynapChatMemory, SynapMemory, SynapMemoryBlock
from synap_integrations.testing import FakeMemory


def middleware(synap):
    """The middleware, where this version of LangChain has any."""
    pytest.importorskip("langchain.agents.middleware")
    from synap_integrations.langchain import SynapMiddleware  # noqa: PLC0415 - see above

    return SynapMiddleware(synap)


NO_MEMORY = {
    "LangChain's handler": SynapCallbackHandler,
    "the middleware": middleware,
    "a runnable": lambda synap: with_synap_memory(FakeListChatModel(responses=["ok"]), synap=synap),
    "LlamaIndex's handler": LlamaIndexHandler,
    "LlamaIndex's memory": SynapMemory,
    "LlamaIndex's block": SynapMemoryBlock,
}


@pytest.mark.parametrize("made", NO_MEMORY.values(), ids=NO_MEMORY.keys())
def test_a_user_in_the_place_of_the_synap_is_told_where_users_are_named(made) -> None:
    """``SynapMemory("ana")`` reads as if it were Ana's."""
    with pytest.raises(InvalidInputError, match="synap must be a Synap, not str; name a user with user_id="):
        made("ana")


@pytest.mark.parametrize("made", NO_MEMORY.values(), ids=NO_MEMORY.keys())
def test_what_cannot_record_is_no_synap(made) -> None:
    """A number would be found out at the first turn, and contained."""
    with pytest.raises(InvalidInputError, match="synap must have record, recall and arecall"):
        made(5)


@pytest.mark.parametrize("made", [SynapMemory, SynapChatMemory, SynapMemoryBlock])
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"user": "ana"}, "there is no argument user; did you mean user_id?"),
        ({"conversation": "c-1"}, "there is no argument conversation; did you mean conversation_id?"),
        ({"zzz": 1}, "there is no argument zzz; there are "),
    ],
)
def test_a_misspelt_argument_is_named_with_the_nearest(made, given, says) -> None:
    """Pydantic drops what it does not know, and the turns would be nobody's."""
    with pytest.raises(InvalidInputError) as refused:
        made(**given)
    assert refused.value.message.startswith(says)


@pytest.mark.parametrize("client", ["synap_my_key", 5], ids=["a key", "a number"])
def test_a_client_is_something_that_can_speak_to_a_platform(client) -> None:
    """A key in its place is told where keys go; the key is not repeated."""
    with pytest.raises(InvalidInputError, match="client must be a SynapClient or the platform's SDK object") as refused:
        Synap(client)
    assert ("api_key=" in refused.value.message) == isinstance(client, str)
    assert "synap_my_key" not in refused.value.message


def test_the_handler_of_llamaindex_does_not_end_a_chain(caplog) -> None:
    """LangChain's log says which one to import, and the chain answers."""
    handler = LlamaIndexHandler(FakeMemory())
    try:
        answer = FakeListChatModel(responses=["ok"]).invoke("hi", config={"callbacks": [handler]})
    finally:
        handler.detach()
    assert answer.content == "ok"
    assert "LangChain's is synap_integrations.langchain.SynapCallbackHandler" in caplog.text


async def test_nor_does_it_where_the_chain_is_awaited(caplog) -> None:
    """The same, on a loop."""
    handler = LlamaIndexHandler(FakeMemory())
    try:
        answer = await FakeListChatModel(responses=["ok"]).ainvoke("hi", config={"callbacks": [handler]})
    finally:
        handler.detach()
    assert answer.content == "ok"
    assert "LangChain's is synap_integrations.langchain.SynapCallbackHandler" in caplog.text


def test_the_memory_of_langchain_names_that_of_llamaindex() -> None:
    """In a chat engine, the first thing that it lacks says which one to use."""
    engine = SimpleChatEngine.from_defaults(llm=MockLLM(), memory=LangChainMemory(synap=FakeMemory()))
    with pytest.raises(AttributeError, match=r"use synap_integrations\.llamaindex\.SynapMemory"):
        engine.chat("hi")


def test_the_handler_of_langchain_names_that_of_llamaindex() -> None:
    """In a `CallbackManager`, likewise."""
    manager = CallbackManager([SynapCallbackHandler(FakeMemory())])
    with (
        pytest.raises(AttributeError, match=r"use synap_integrations\.llamaindex\.SynapCallbackHandler"),
        manager.as_trace("chat"),
    ):
        pass


@pytest.mark.parametrize("made", [SynapCallbackHandler, LlamaIndexHandler, lambda synap: LangChainMemory(synap=synap)])
def test_any_other_attribute_is_missing_as_ever(made) -> None:
    """``hasattr`` and whoever asks with a default are answered as by any object."""
    one = made(FakeMemory())
    assert not hasattr(one, "no_such_thing")
    getattr(one, "detach", lambda: None)()
