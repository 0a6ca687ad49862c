"""`SynapRetriever` of LlamaIndex: typed memories as nodes with scores, of the right user, in query and chat engines."""

import asyncio
import time

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import MetadataMode
from llama_index_instrumentation.dispatcher import instrument_tags
from llamaindex_models import ScriptedLLM
from llamaindex_world import OneDocument

from synap_integrations import InvalidInputError, Scope, Synap, context
from synap_integrations.guard import incidents
from synap_integrations.llamaindex import SynapMemory, SynapRetriever
from synap_integrations.model import ContextBundle, ContextItem, UserMessage
from synap_integrations.ports import Answer, Search
from synap_integrations.testing import FakeMemory

# LlamaIndex itself uses what pydantic has deprecated.
pytestmark = [pytest.mark.usefixtures("no_turn_left"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

QUERY = "allergic live in"
ANA = "I'm allergic to shellfish and I live in Lisbon."
BEN = "I'm allergic to peanuts and I live in Porto."
BOTH = pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])


def retrieve(sync, retriever, query=QUERY):
    """The nodes, either way."""
    return retriever.retrieve(query) if sync else asyncio.run(retriever.aretrieve(query))


def texts(nodes):
    """What the nodes say."""
    return [node.node.get_content() for node in nodes]


@BOTH
def test_memories_are_nodes_with_their_type_score_and_date(sync, remembered):
    """A node says what kind of memory it is, how well it fits and when it was said; a model is told type and date."""
    (found,) = retrieve(sync, SynapRetriever(remembered, user_id="ana"))
    assert found.node.get_content() == ANA
    assert 0 < found.score <= 1
    assert found.node.node_id == found.node.metadata["item_id"]
    assert found.node.metadata["type"] == "episodes"
    assert found.node.metadata["conversation_id"] == "monday-ana"
    shown = found.node.get_content(metadata_mode=MetadataMode.LLM)
    assert "said_at: 20" in shown
    assert "item_id" not in shown
    assert found.node.get_content(metadata_mode=MetadataMode.EMBED) == ANA


@BOTH
def test_types_number_and_mode_are_those_that_were_asked_for(sync, remembered):
    """They reach the platform, and the platform keeps them."""
    remembered.record(UserMessage("I prefer window seats."), scope=Scope("tuesday", "ana"))
    assert remembered.flush()
    stated = retrieve(sync, SynapRetriever(remembered, user_id="ana", types=["preferences"]), "window seats")
    assert [node.node.metadata["type"] for node in stated] == ["preferences"]
    memory = FakeMemory(answer=Answer(items=(ContextItem("i", "facts", text="x", score=0.5),), source="fetched"))
    retrieve(sync, SynapRetriever(memory, user_id="ana", max_results=3, mode="accurate"), "what?")
    assert memory.asked == [(Search("what?", limit=3, mode="accurate"), Scope(None, "ana"))]


@BOTH
@pytest.mark.parametrize("place", ["context", "tags"])
def test_the_code_around_says_whose_memory_it_is(sync, place, remembered):
    """``with context(...)`` and ``instrument_tags``; nobody named is nobody."""
    retriever = SynapRetriever(remembered)
    with context(user_id="ana") if place == "context" else instrument_tags({"user_id": "ana"}):
        assert texts(retrieve(sync, retriever)) == [ANA]
        assert texts(retrieve(sync, SynapRetriever(remembered, user_id="ben"))) == [BEN]
    assert retrieve(sync, retriever) == []


def test_users_at_the_same_time_are_not_mixed(remembered):
    """Fifty runs of one retriever at once, each with the memories of its own user."""
    retriever = SynapRetriever(remembered, mode="accurate")

    async def ask(user):
        with context(user_id=user):
            return texts(await retriever.aretrieve(QUERY))

    async def all_at_once():
        return await asyncio.gather(*[ask(user) for user in ("ana", "ben") * 25])

    assert asyncio.run(all_at_once()) == [[ANA], [BEN]] * 25


@BOTH
def test_pushed_context_that_covers_the_question_answers_it(sync, synap_platform, own_storage):
    """Nothing is fetched, unless the whole of memory is asked for."""
    items = (ContextItem("p", "facts", text="Ana lives in Lisbon near the harbour.", score=0.5),)
    with Synap(**synap_platform.address, storage_path=own_storage, lookup_timeout_s=5) as synap:
        synap._on_inbound(ContextBundle("b", "anticipation", scope=Scope(None, "ana"), items=items, ttl_s=60))
        (found,) = retrieve(sync, SynapRetriever(synap, user_id="ana"), "Ana lives near the harbour?")
        assert found.node.metadata["answered_from"] == "pushed"
        assert not [path for path in synap_platform.paths() if "fetch" in path]
        found = retrieve(sync, SynapRetriever(synap, user_id="ana", mode="accurate"), "Ana lives near the harbour?")
        assert texts(found) == ["said by ana"]


@BOTH
def test_a_platform_that_does_not_answer_gives_no_nodes_in_time(sync, synap_platform, own_storage):
    """The query goes on without them."""
    synap_platform.rest_script.extend(["hang"] * 4)
    with Synap(**synap_platform.address, storage_path=own_storage) as synap:
        began = time.monotonic()
        assert retrieve(sync, SynapRetriever(synap, user_id="ana", timeout_s=0.3)) == []
        assert time.monotonic() - began < 2.5
    assert incidents.counts() == {"ask: NetworkTimeoutError": 1}
    incidents.clear()


def test_what_cannot_be_used_is_named_when_it_is_made():
    """An application hears about its mistake at start-up."""
    for wrong in ({"types": ["opinions"]}, {"max_results": -1}, {"mode": "best"}, {"user_id": ""}, {"sdk": 7}):
        with pytest.raises(InvalidInputError, match=next(iter(wrong))):
            SynapRetriever(**wrong)


# --- in engines ----------------------------------------------------------------------------------------------------


@BOTH
def test_a_query_engine_answers_from_memory(sync, remembered):
    """Retriever and synthesizer of LlamaIndex: the model sees what is remembered."""
    llm = ScriptedLLM("No stew.")
    synthesizer = get_response_synthesizer(llm=llm)
    engine = RetrieverQueryEngine(SynapRetriever(remembered, user_id="ana"), response_synthesizer=synthesizer)
    answer = engine.query(QUERY) if sync else asyncio.run(engine.aquery(QUERY))
    assert str(answer) == "No stew."
    assert ANA in str(llm.asked[0])


@BOTH
def test_a_chat_engine_needs_the_user_only_once(sync, remembered):
    """The engine's memory says whose turn it is; the retriever inside the turn takes it from there."""
    llm = ScriptedLLM("No stew.")
    memory = SynapMemory(remembered, user_id="ana", conversation_id="tuesday")
    engine = ContextChatEngine.from_defaults(retriever=SynapRetriever(remembered), memory=memory, llm=llm)
    answer = engine.chat(QUERY) if sync else asyncio.run(engine.achat(QUERY))
    assert str(answer) == "No stew."
    assert ANA in str(llm.asked[0])
    assert BEN not in str(llm.asked[0])


@BOTH
def test_it_fuses_with_a_document_retriever(sync, remembered):
    """LlamaIndex's own fusion ranks memories and documents together."""
    both = QueryFusionRetriever(
        [SynapRetriever(remembered, user_id="ana"), OneDocument()],
        llm=ScriptedLLM("unused"),
        num_queries=1,
        use_async=not sync,
        mode="reciprocal_rerank",
    )
    found = texts(retrieve(sync, both))
    assert ANA in found
    assert len(found) == 2
