"""`SynapRetriever` of LangChain: typed memories as documents, of the right user, in time, also when nobody answers."""

import asyncio
import socket
import time
from pathlib import Path

import pytest

pytest.importorskip("langchain_core", reason="LangChain is not installed in this environment")

from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_models import WholeModel, run

from synap_integrations import InvalidInputError, Scope, Synap, context
from synap_integrations.langchain import SynapRetriever
from synap_integrations.model import ContextBundle, ContextItem, UserMessage
from synap_integrations.ports import Answer, Search
from synap_integrations.testing import FakeMemory

QUERY = "allergic live in"
BOTH = pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
ANA = {"metadata": {"user_id": "ana"}}


def texts(documents):
    """What the documents say."""
    return [document.page_content for document in documents]


# --- what is found -----------------------------------------------------------------------------------------------


@BOTH
def test_memories_are_documents_with_their_type_score_and_date(mode, remembered, strict_guard):
    """A document says what kind of memory it is, how well it fits, when it was said and where."""
    (found,) = run(mode, SynapRetriever(remembered), QUERY, ANA)
    assert found.page_content == "I'm allergic to shellfish and I live in Lisbon."
    assert found.id == found.metadata["item_id"]
    assert found.metadata["type"] == "episodes"
    assert 0 < found.metadata["score"] <= 1
    assert found.metadata["said_at"][:2] == "20"
    assert found.metadata["conversation_id"] == "monday-ana"
    assert found.metadata["answered_from"] == "fetched"


@BOTH
def test_types_and_number_are_those_that_were_asked_for(mode, remembered, strict_guard):
    """``types=`` and ``max_results=`` are kept, in the singular too."""
    remembered.record(UserMessage("I prefer window seats."), scope=Scope("tuesday", "ana"))
    assert remembered.flush()
    stated = run(mode, SynapRetriever(remembered, types=["preference"]), "window seats", ANA)
    assert [document.metadata["type"] for document in stated] == ["preferences"]
    assert len(run(mode, SynapRetriever(remembered, max_results=1, mode="accurate"), "I window shellfish", ANA)) == 1


@BOTH
def test_all_types_are_one_list_best_first(mode):
    """The order of the answer is kept."""
    items = tuple(
        ContextItem(f"i{at}", kind, text=f"text {at}", score=1 - at / 10)
        for at, kind in enumerate(("emotions", "facts", "temporal_events", "episodes", "preferences"))
    )
    memory = FakeMemory(answer=Answer(items=items, source="fetched"))
    found = run(mode, SynapRetriever(memory, user_id="ana", types=["all"], max_results=7, mode="accurate"), "what?")
    assert [document.metadata["type"] for document in found] == [item.kind for item in items]
    assert memory.asked == [(Search("what?", limit=7, mode="accurate"), Scope(None, "ana"))]


# --- whose -------------------------------------------------------------------------------------------------------


def nested(retriever):
    """The retriever inside a chain, which hands its config down."""
    return RunnableLambda(lambda query: query) | retriever


@BOTH
@pytest.mark.parametrize("config", [ANA, {"configurable": {"user_id": "ana", "thread_id": "t"}}], ids=["meta", "conf"])
@pytest.mark.parametrize("place", [lambda retriever: retriever, nested], ids=["alone", "in_a_chain"])
def test_the_run_says_whose_memory_it_is(mode, config, place, remembered, strict_guard):
    """Metadata and configurable are read, alone and inside a chain; the other user's words are not found."""
    found = run(mode, place(SynapRetriever(remembered)), QUERY, config)
    assert texts(found) == ["I'm allergic to shellfish and I live in Lisbon."]


@BOTH
def test_the_code_around_says_whose_memory_it_is(mode, remembered, strict_guard):
    """``with context(...)`` is enough, and ids given to the retriever go first."""
    with context(user_id="ana"):
        assert texts(run(mode, SynapRetriever(remembered), QUERY)) == [
            "I'm allergic to shellfish and I live in Lisbon."
        ]
        found = run(mode, SynapRetriever(remembered, user_id="ben"), QUERY)
    assert texts(found) == ["I'm allergic to peanuts and I live in Porto."]


@BOTH
def test_nobody_is_nobody(mode, remembered, strict_guard):
    """A run that names no user finds nobody's memories."""
    assert run(mode, SynapRetriever(remembered), QUERY) == []


def test_users_at_the_same_time_are_not_mixed(remembered, strict_guard):
    """A hundred runs of one retriever at once, each with the memories of its own user."""
    retriever = SynapRetriever(remembered, mode="accurate", timeout_s=60)

    async def ask(user):
        return texts(await retriever.ainvoke(QUERY, {"metadata": {"user_id": user}}))

    async def all_at_once():
        return await asyncio.gather(*[ask(user) for user in ("ana", "ben") * 50])

    found = asyncio.run(all_at_once())
    assert (
        found
        == [
            ["I'm allergic to shellfish and I live in Lisbon."],
            ["I'm allergic to peanuts and I live in Porto."],
        ]
        * 50
    )


# --- from where --------------------------------------------------------------------------------------------------


@pytest.fixture
def served(synap_platform, own_storage):
    """A Synap of a platform on sockets whose requests can be looked at."""
    with Synap(**synap_platform.address, storage_path=own_storage, lookup_timeout_s=5) as synap:
        yield synap


def pushed(*texts, query="", user="ana"):
    """A bundle as the stream brings it."""
    items = tuple(ContextItem(f"p{at}", "facts", text=text, score=0.5) for at, text in enumerate(texts))
    return ContextBundle("b", "anticipation", scope=Scope(None, user), items=items, search_queries=(query,), ttl_s=60)


@BOTH
def test_pushed_context_that_covers_the_question_answers_it(mode, served, synap_platform, strict_guard):
    """Nothing is fetched; the best comes first; another user's question is asked."""
    served._on_inbound(pushed("Ana flies on Friday.", "Ana lives in Lisbon near the harbour."))
    retriever = SynapRetriever(served)
    found = run(mode, retriever, "Ana lives near the harbour?", ANA)
    assert (texts(found)[0], found[0].metadata["answered_from"]) == ("Ana lives in Lisbon near the harbour.", "pushed")
    assert not [path for path in synap_platform.paths() if "fetch" in path]
    assert (
        texts(run(mode, retriever, "Ana lives near the harbour?", {"metadata": {"user_id": "ben"}}))[0] == "said by ben"
    )
    assert [path for path in synap_platform.paths() if "fetch" in path]


@BOTH
def test_what_was_pushed_for_this_very_question_answers_it(mode, served, synap_platform, strict_guard):
    """Although it shares no word with it."""
    served._on_inbound(pushed("Shellfish is out.", query="Can I have the stew?"))
    assert texts(run(mode, SynapRetriever(served), "can I have  the stew?", ANA)) == ["Shellfish is out."]
    assert not [path for path in synap_platform.paths() if "fetch" in path]


@BOTH
def test_accurate_always_asks_the_platform(mode, served, synap_platform, strict_guard):
    """Whoever wants everything is not answered from what happens to be here; and types narrow down what is here."""
    served._on_inbound(pushed("Ana lives in Lisbon near the harbour."))
    for retriever in (SynapRetriever(served, mode="accurate"), SynapRetriever(served, types=["preferences"])):
        synap_platform.requests.clear()
        run(mode, retriever, "Ana lives near the harbour?", ANA)
        assert [path for path in synap_platform.paths() if path.endswith("user/fetch")]


@BOTH
def test_what_may_not_be_shown_is_not_found(mode, synap_platform, own_storage, strict_guard):
    """Quarantine, levels and the application's filter hold for retrievers too."""
    address = synap_platform.address
    for number, (rules, expected) in enumerate(
        [
            ({"context": "quarantine"}, []),
            ({"context": "off"}, []),
            ({"context_filter": lambda items: []}, []),
            ({"context_levels": ("customer",)}, []),
            ({}, ["said by ana"]),
        ]
    ):
        with Synap(**address, storage_path=own_storage / str(number), lookup_timeout_s=5, **rules) as synap:
            assert texts(run(mode, SynapRetriever(synap), "who?", ANA)) == expected, rules


# --- a platform that does not answer ---------------------------------------------------------------------------------


@BOTH
def test_a_platform_that_is_down_gives_no_documents_and_is_counted(mode, own_storage):
    """The chain goes on at once, and the status says why nothing was found."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with Synap(api_key="synap_k", base_url=f"http://127.0.0.1:{port}", storage_path=own_storage) as synap:
        before = synap.status().incidents.get("ask: NetworkError", 0)
        assert run(mode, SynapRetriever(synap), QUERY, ANA) == []
        assert synap.status().incidents["ask: NetworkError"] == before + 1


@BOTH
def test_a_platform_that_is_silent_is_waited_for_in_bounds(mode, served, synap_platform):
    """``timeout_s`` is kept, and the event loop is not blocked meanwhile."""
    synap_platform.rest_script.extend(["hang"] * 4)
    began = time.monotonic()
    assert run(mode, SynapRetriever(served, timeout_s=0.3), QUERY, ANA) == []
    assert 0.25 < time.monotonic() - began < 2.5


async def test_the_loop_goes_on_while_the_platform_is_asked(served, synap_platform):
    """Waiting is awaiting."""
    synap_platform.rest_script.extend(["hang"] * 4)
    asked = asyncio.ensure_future(SynapRetriever(served, timeout_s=0.4).ainvoke(QUERY, ANA))
    ticks = 0
    while not asked.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert await asked == []
    assert ticks > 5


def test_a_closed_synap_gives_no_documents(own_storage):
    """Nothing is started anew, nothing raises."""
    synap = Synap(base_url="local", storage_path=Path(":memory:"))
    synap.close()
    assert SynapRetriever(synap).invoke(QUERY, ANA) == []


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"types": ["opinions"]}, "types"),
        ({"max_results": 0}, "max_results"),
        ({"mode": "best"}, "mode"),
        ({"user_id": ""}, "user_id"),
        ({"sdk": object()}, "sdk"),
    ],
    ids=["types", "max_results", "mode", "user_id", "sdk"],
)
def test_what_cannot_be_used_is_named_when_it_is_made(wrong, named):
    """An application hears about its mistake at start-up, by name, and not in a run."""
    with pytest.raises(InvalidInputError, match=named):
        SynapRetriever(**wrong)


# --- in chains -----------------------------------------------------------------------------------------------------


class Shelf(BaseRetriever):
    """A document retriever."""

    def _get_relevant_documents(self, query, *, run_manager):
        return [Document(id="d1", page_content="The stew has mussels in it.", metadata={"source": "menu"})]


@BOTH
def test_it_retrieves_in_a_chain(mode, remembered, strict_guard):
    """Retriever, prompt and model, in sync and async: the model sees what is remembered."""
    model = WholeModel(answers=["No."])
    prompt = ChatPromptTemplate.from_messages([("human", "{documents}\n{question}")])
    chain = {"documents": SynapRetriever(remembered), "question": RunnablePassthrough()} | prompt | model
    assert run(mode, chain, "Am I allergic to anything?", ANA).content == "No."
    assert "shellfish" in model.seen[0][0].content


@BOTH
def test_it_combines_with_a_document_retriever(mode, remembered, strict_guard):
    """LangChain's own ensemble ranks memories and documents together."""
    try:
        from langchain_classic.retrievers import EnsembleRetriever  # noqa: PLC0415 - where it is since 1.0
    except ImportError:
        EnsembleRetriever = pytest.importorskip("langchain.retrievers").EnsembleRetriever  # noqa: N806
    both = EnsembleRetriever(retrievers=[SynapRetriever(remembered), Shelf()], weights=[0.5, 0.5])
    found = texts(run(mode, both, QUERY, ANA))
    assert sorted(found) == ["I'm allergic to shellfish and I live in Lisbon.", "The stew has mussels in it."]
