"""Arguments that people get wrong at first: each is an error that says what to write, and not a memory of nobody."""

import pytest
from langchain_core.language_models import FakeListChatModel

from synap_integrations import InvalidInputError, Synap
from synap_integrations.langchain import SynapCallbackHandler, SynapMiddleware, with_synap_memory
from synap_integrations.llamaindex import SynapCallbackHandler as LlamaIndexHandler
from synap_integrations.llamaindex import SynapChatMemory, SynapMemory, SynapMemoryBlock

NO_MEMORY = {
    "LangChain's handler": SynapCallbackHandler,
    "the middleware": SynapMiddleware,
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
