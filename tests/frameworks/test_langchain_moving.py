"""Programs for the platform's own LangChain and LangGraph packages run with one changed import.

Each is written new, from what the platform's guides document: names, keywords, and what may be expected.
"""

import asyncio
from typing import TypedDict

import pytest

pytest.importorskip("langchain_core", reason="LangChain is not installed in this environment")

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnablePassthrough
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_models import WholeModel, run
from langgraph_agents import needs
from moving import KINDS, holding

from synap_integrations import InvalidInputError, NetworkTimeoutError, Scope, context
from synap_integrations.langchain import (
    SynapCallbackHandler,
    SynapChatMessageHistory,
    SynapMemory,
    SynapRetriever,
    SynapSearchTool,
    SynapStoreTool,
    create_synap_node,
    synap_st_message,
    synap_st_runnable,
)
from synap_integrations.model import AssistantMessage, RecentTurn, UserMessage
from synap_integrations.ports import Answer
from synap_integrations.testing import FakeMemory

BOTH = pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
pytestmark = [
    pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory is deprecated"),
    # The SDK opens a file for each thread and never closes those of others: a warning from Python 3.13 on.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <sqlite3:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(params=KINDS, ids=["nothing", "synap", "sdk"])
def held(request, strict_guard):
    """What the program passes as ``sdk=``."""
    with holding(request.param) as held:
        yield held


def say(held, *turns, conversation="conv-001", user="alice", customer="acme"):
    """A conversation that took place before."""
    for role, text in turns:
        event = UserMessage(text) if role == "user" else AssistantMessage(text)
        held.synap.record(event, scope=Scope(conversation, user, customer_id=customer))
    held.flush()


def spoken(messages):
    """Messages, written short."""
    return [(message.type, message.content) for message in messages]


PROMPT = ChatPromptTemplate.from_messages(
    [("system", "Be kind."), MessagesPlaceholder("history"), ("human", "{input}")]
)


# --- chat history ----------------------------------------------------------------------------------------------------


@BOTH
def test_a_history_per_session(mode, held):
    """The guide's chain: two turns, then a new program continues the conversation with what was said."""

    def program(model):
        def get_session_history(session_id):
            return SynapChatMessageHistory(
                sdk=held.sdk, conversation_id=session_id, user_id="alice", customer_id="acme"
            )

        return RunnableWithMessageHistory(
            PROMPT | model, get_session_history, input_messages_key="input", history_messages_key="history"
        )

    config = {"configurable": {"session_id": "conv-123"}}
    first = program(WholeModel(answers=["Noted.", "Lisbon."]))
    run(mode, first, {"input": "I live in Lisbon."}, config)
    run(mode, first, {"input": "Where do I live?"}, config)
    held.flush()
    forget_this_process()
    model = WholeModel(answers=["Yes."])
    run(mode, program(model), {"input": "Still?"}, config)
    assert spoken(model.seen[0]) == [
        ("system", "Be kind."),
        ("human", "I live in Lisbon."),
        ("ai", "Noted."),
        ("human", "Where do I live?"),
        ("ai", "Lisbon."),
        ("human", "Still?"),
    ]


def forget_this_process():
    """What a new process does not know: the turns that this one has seen."""
    from synap_integrations.langchain.history import memory  # noqa: PLC0415 - its state is meant

    memory._turns._seen.clear()


@BOTH
def test_the_session_is_the_conversation_where_none_is_named(mode, held):
    """The package's quick start: sdk first, the session's id as user, no conversation."""

    def get_history(session_id):
        return SynapChatMessageHistory(held.sdk, user_id=session_id, customer_id="acme")

    model = WholeModel(answers=["Noted.", "Tea."])
    chain = RunnableWithMessageHistory(
        PROMPT | model, get_history, input_messages_key="input", history_messages_key="history"
    )
    for text in ("I like tea.", "What do I like?"):
        run(mode, chain, {"input": text}, {"configurable": {"session_id": "alice"}})
    assert [kind for kind, _ in spoken(model.seen[1])] == ["system", "human", "ai", "human"]


def test_a_history_by_hand(held):
    """Messages are added, read back by the next program, and cleared for this one."""
    history = SynapChatMessageHistory(sdk=held.sdk, conversation_id="conv-9", user_id="alice", customer_id="")
    history.add_messages([HumanMessage("hello"), AIMessage("hi there")])
    held.flush()
    forget_this_process()
    again = SynapChatMessageHistory(held.sdk, "conv-9", "alice")
    assert spoken(again.messages) == [("human", "hello"), ("ai", "hi there")]
    assert spoken(asyncio.run(SynapChatMessageHistory(held.sdk, "conv-9", "alice").aget_messages())) == spoken(
        again.messages
    )
    assert SynapChatMessageHistory(held.sdk, "conv-9", "ben").messages == []
    assert issubclass(SynapChatMessageHistory, SynapMemory)


def test_a_question_that_is_being_answered_is_no_history():
    """The platform may know the turn before its answer is there: it is not shown twice."""
    turns = (RecentTurn("user", "one"), RecentTurn("assistant", "two"), RecentTurn("user", "three"))
    history = SynapChatMessageHistory(FakeMemory(answer=Answer(turns=turns)), "c", "alice")
    assert spoken(history.messages) == [("human", "one"), ("ai", "two")]


# --- handler, retriever, tools ---------------------------------------------------------------------------------------


@BOTH
def test_a_handler_records_every_turn(mode, held):
    """And the retriever of the next program finds it, with type and score, for this user of this customer."""
    handler = SynapCallbackHandler(sdk=held.sdk, conversation_id="conv-1", user_id="alice", customer_id="acme")
    chain = ChatPromptTemplate.from_messages([("human", "{question}")]) | WholeModel(answers=["On Friday."])
    run(mode, chain, {"question": "My project deadline is Friday."}, {"callbacks": [handler]})
    held.flush()
    retriever = SynapRetriever(sdk=held.sdk, user_id="alice", customer_id="acme", max_results=8, mode="accurate")
    found = run(mode, retriever, "project deadline")
    assert "My project deadline is Friday." in [document.page_content for document in found]
    assert {"type", "score"} <= found[0].metadata.keys()
    assert run(mode, SynapRetriever(sdk=held.sdk, user_id="alice", customer_id="other"), "project deadline") == []


@BOTH
def test_tools_store_and_search(mode, held):
    """By the documented names, called with a text or with arguments."""
    store = SynapStoreTool(sdk=held.sdk, user_id="alice", customer_id="acme")
    search = SynapSearchTool(sdk=held.sdk, user_id="alice", customer_id="acme", mode="accurate", max_results=5)
    assert (store.name, search.name) == ("store_memory", "search_memory")
    run(mode, store, {"content": "Alice takes her coffee black."})
    assert "black" in run(mode, search, "How does Alice take her coffee?")


# --- graphs and prompts ----------------------------------------------------------------------------------------------


class State(TypedDict):
    """The state of the guide's graph."""

    messages: list
    synap_context: str


@BOTH
def test_a_node_puts_context_into_the_state(mode, held):
    """Under its key, before the node that uses it."""
    graphs = pytest.importorskip("langgraph.graph")
    say(held, ("user", "I am vegetarian."), ("assistant", "Noted."))
    graph = graphs.StateGraph(State)
    graph.add_node("memory", create_synap_node(held.sdk, user_id="alice", customer_id="acme"))
    graph.add_node("llm", lambda state: {"messages": [*state["messages"], AIMessage("seen")]})
    graph.add_edge(graphs.START, "memory")
    graph.add_edge("memory", "llm")
    graph.add_edge("llm", graphs.END)
    state = run(mode, graph.compile(), {"messages": [HumanMessage("Am I vegetarian?")]})
    assert "I am vegetarian." in state["synap_context"]
    assert state["synap_context"].startswith("[synap-context ")
    assert state["messages"][-1].content == "seen"


@BOTH
def test_a_node_finds_the_user_of_the_run_and_bears_with_anything(mode, held):
    """Without ids, by the run's configurable; a state without words gets an empty text."""
    say(held, ("user", "I am vegetarian."), customer=None)
    node = create_synap_node(held.sdk, state_key="known", messages_key="said")
    config = {"configurable": {"user_id": "alice", "thread_id": "t"}}
    assert "vegetarian" in run(mode, node, {"said": [("user", "vegetarian?")]}, config)["known"]
    for state in ({}, {"said": []}, {"said": None}, {"said": [AIMessage("vegetarian")]}):
        assert run(mode, node, state, config) == {"known": ""}


@BOTH
def test_the_conversation_in_a_template(mode, held):
    """The guide's chain: short-term context in the slot of a system prompt, whatever the input is."""
    say(held, ("user", "Call me Al."), ("assistant", "Hello Al."))
    for style in ("structured", "narrative", "bullet_points"):
        model = WholeModel(answers=["Al."])
        st = synap_st_runnable(held.sdk, "conv-001", style=style, user_id="alice", customer_id="acme")
        prompt = ChatPromptTemplate.from_messages([("system", "Be kind.\n{synap_st}"), ("human", "{input}")])
        run(mode, RunnablePassthrough.assign(synap_st=st) | prompt | model, {"input": "Who am I?"})
        assert "Call me Al." in model.seen[0][0].content
        assert "[synap-context " in model.seen[0][0].content


async def test_the_conversation_as_a_system_message(held):
    """Above the program's own words, in its frame; None if there is nothing to say."""
    say(held, ("user", "Call me Al."), ("assistant", "Hello Al."))
    with context(user_id="alice", customer_id="acme"):
        message = await synap_st_message(
            held.sdk, "conv-001", system="Be kind.", preamble_open="<so_far>", preamble_close="</so_far>"
        )()
        assert isinstance(message, SystemMessage)
        assert message.content.startswith("<so_far>\n[synap-context ")
        assert message.content.endswith("</so_far>\n\nBe kind.")
        assert await synap_st_message(held.sdk, "conv-unheard-of")() is None


@BOTH
def test_a_platform_that_does_not_answer_is_nothing_or_an_error(mode):
    """As ``on_error`` says; and what cannot be used is named at once."""
    memory = FakeMemory(answer=Answer(fault=NetworkTimeoutError("too late")))
    assert run(mode, synap_st_runnable(memory, "c"), {}) == ""
    with pytest.raises(NetworkTimeoutError, match="too late"):
        run(mode, synap_st_runnable(memory, "c", on_error="raise"), {})
    with pytest.raises(InvalidInputError, match="style"):
        synap_st_runnable(memory, "c", style="poem")
    with pytest.raises(InvalidInputError, match="on_error"):
        synap_st_message(memory, "c", on_error="ignore")


# --- agents ----------------------------------------------------------------------------------------------------------


@needs("create_agent")
@BOTH
def test_an_agent_continues_its_conversation_without_a_checkpointer(mode, held):
    """The model sees the earlier turns once, and the state keeps only its own."""
    from langchain.agents import create_agent  # noqa: PLC0415 - not in older versions

    from synap_integrations.langchain import SynapHistoryMiddleware  # noqa: PLC0415 - see above

    def ask(model, text):
        history = SynapHistoryMiddleware(sdk=held.sdk, conversation_id="conv-5", user_id="alice", customer_id="acme")
        state = run(mode, create_agent(model, [], middleware=[history]), {"messages": [("user", text)]})
        held.flush()
        return state

    ask(WholeModel(answers=["Noted."]), "I live in Lisbon.")
    model = WholeModel(answers=["Lisbon."])
    state = ask(model, "Where do I live?")
    assert spoken(model.seen[0]) == [
        ("human", "I live in Lisbon."),
        ("ai", "Noted."),
        ("human", "Where do I live?"),
    ]
    assert spoken(state["messages"]) == [("human", "Where do I live?"), ("ai", "Lisbon.")]


@needs("create_agent")
@BOTH
def test_an_agent_with_a_checkpointer_sees_each_turn_once(mode, held):
    """What the state holds already is not shown again."""
    from langchain.agents import create_agent  # noqa: PLC0415 - not in older versions
    from langgraph.checkpoint.memory import InMemorySaver  # noqa: PLC0415 - see above

    from synap_integrations.langchain import SynapHistoryMiddleware  # noqa: PLC0415 - see above

    model = WholeModel(answers=["Noted.", "Lisbon.", "Yes."])
    history = SynapHistoryMiddleware(sdk=held.sdk, user_id="alice", customer_id="acme")
    agent = create_agent(model, [], middleware=[history], checkpointer=InMemorySaver())
    for text in ("I live in Lisbon.", "Where do I live?", "Sure?"):
        run(mode, agent, {"messages": [("user", text)]}, {"configurable": {"thread_id": "conv-6"}})
        held.flush()
    assert [kind for kind, _ in spoken(model.seen[2])] == ["human", "ai", "human", "ai", "human"]


@pytest.mark.parametrize("wrong", ["https://example.org", object(), 7], ids=["text", "object", "number"])
def test_what_is_no_sdk_is_refused_by_name(wrong):
    """At the place where it is passed."""
    with pytest.raises(InvalidInputError, match="sdk must be"):
        SynapChatMessageHistory(sdk=wrong, conversation_id="c", user_id="u")
