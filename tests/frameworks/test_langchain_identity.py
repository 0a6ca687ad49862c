"""Scenarios 66 to 73 and 79 to 83: who is talking, many at once, attached twice, copied, and never in the way."""

import asyncio
import copy
import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManager
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_models import ScriptedModel, add, asking, call, echo, transcript
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph_agents import make_agent

import synap_integrations
from synap_integrations.guard import incidents
from synap_integrations.langchain import SynapCallbackHandler
from synap_integrations.langchain.attach import attach
from synap_integrations.testing import FakeMemory

pytestmark = pytest.mark.filterwarnings("ignore:.*create_react_agent.*")
CHAIN = ChatPromptTemplate.from_messages([("human", "{question}")]) | echo() | StrOutputParser()


def agent(*answers: Any) -> Any:
    return make_agent(ScriptedModel(answers=list(answers)), [add])


def adding(a: int = 1, b: int = 2, call_id: str = "t1") -> dict[str, Any]:
    return call("add", {"a": a, "b": b}, call_id)


def turn_of(handler: SynapCallbackHandler, name: str, n: int) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """An agent turn with two parallel tool calls, its input and its config."""
    graph = agent(asking("", adding(n, 1, "t1"), adding(n, 2, "t2")), f"answer {name} {n}")
    config = {"callbacks": [handler], "configurable": {"thread_id": name}, "metadata": {"user_id": f"user {name}"}}
    return graph, {"messages": [HumanMessage(f"question {name} {n}")]}, config


def assert_exact(memory: FakeMemory, name: str, turns: int) -> None:
    """Every turn of the conversation is complete, in order, and of its own user."""
    rows = transcript(memory, name)
    for n in range(turns):
        question, *tools, answer = rows[n * 6 : n * 6 + 6]
        assert (question, answer) == (f"U question {name} {n}", f"A answer {name} {n}")
        assert sorted(row[0] for row in tools) == ["C", "C", "R", "R"]
        assert {row for row in tools if row[0] == "R"} == {f"R add={n + 1}", f"R add={n + 2}"}
    assert len(rows) == 6 * turns
    assert {e.scope.user_id for e in memory.recorded if e.scope.conversation_id == name} == {f"user {name}"}


@pytest.mark.usefixtures("no_incidents")
def test_s66_one_handler_for_many_threads(memory) -> None:
    """24 threads, 6 turns each, two parallel tools: every conversation is exact."""
    handler = SynapCallbackHandler(memory)

    def converse(name: str) -> None:
        for n in range(6):
            graph, given, config = turn_of(handler, name, n)
            graph.invoke(given, config=config)

    names = [f"thread {n}" for n in range(24)]
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(converse, names))
    for name in names:
        assert_exact(memory, name, 6)


@pytest.mark.usefixtures("no_incidents")
def test_s66_one_handler_for_many_tasks(memory) -> None:
    """The same with 24 tasks on one loop."""
    handler = SynapCallbackHandler(memory)
    names = [f"task {n}" for n in range(24)]

    async def converse(name: str) -> None:
        for n in range(6):
            graph, given, config = turn_of(handler, name, n)
            await graph.ainvoke(given, config=config)

    async def everybody() -> None:
        await asyncio.gather(*map(converse, names))

    asyncio.run(everybody())
    for name in names:
        assert_exact(memory, name, 6)


def test_s67_the_user_of_each_call(memory) -> None:
    """Events carry the user of their own call and of no other."""
    handler = SynapCallbackHandler(memory)
    for user in ("ana", "bob"):
        CHAIN.invoke({"question": "hi"}, config={"callbacks": [handler], "metadata": {"user_id": user}})
    assert [entry.scope.user_id for entry in memory.recorded] == ["ana", "ana", "bob", "bob"]


def test_identity_comes_in_its_order(memory, monkeypatch) -> None:
    """Arguments, then the surrounding block, then metadata, then the environment."""
    monkeypatch.setenv("SYNAP_USER_ID", "environment")
    monkeypatch.setenv("SYNAP_CUSTOMER_ID", "acme")
    metadata = {"user_id": "metadata", "thread_id": "t"}
    CHAIN.invoke({"question": "1"}, config={"callbacks": [SynapCallbackHandler(memory)]})
    CHAIN.invoke({"question": "2"}, config={"callbacks": [SynapCallbackHandler(memory)], "metadata": metadata})
    with synap_integrations.context(user_id="block"):
        CHAIN.invoke({"question": "3"}, config={"callbacks": [SynapCallbackHandler(memory)], "metadata": metadata})
        explicit = SynapCallbackHandler(memory, user_id="argument")
        CHAIN.invoke({"question": "4"}, config={"callbacks": [explicit], "metadata": metadata})
    users = [entry.scope.user_id for entry in memory.recorded][::2]
    assert users == ["environment", "metadata", "block", "argument"]
    assert {entry.scope.customer_id for entry in memory.recorded} == {"acme"}
    assert memory.recorded[-1].scope.conversation_id == "t"


@dataclass
class Runtime:
    """What an application hands to its graph."""

    user_id: str


def test_s68_the_user_in_the_runtime_context(memory) -> None:
    """LangGraph's own place for the user is looked at."""
    builder = StateGraph(MessagesState, context_schema=Runtime)
    builder.add_node("node", lambda state: {"messages": [echo().invoke(state["messages"])]})
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    config = {"callbacks": [SynapCallbackHandler(memory)], "configurable": {"thread_id": "t"}}
    builder.compile().invoke({"messages": [HumanMessage("hi")]}, config=config, context=Runtime("x"))
    assert {entry.scope.user_id for entry in memory.recorded} == {"x"}
    assert transcript(memory, "t") == ["U hi", "A re: hi"]


def test_s68_the_session_that_the_root_cannot_see(memory) -> None:
    """``configurable`` reaches only the children of a chain; that is enough."""
    config = {"callbacks": [SynapCallbackHandler(memory)], "configurable": {"session_id": "s-1"}}
    CHAIN.invoke({"question": "hi"}, config=config)
    assert transcript(memory, "s-1") == ["U hi", "A re: hi"]


def test_s68_nobody_says_anything(memory, caplog) -> None:
    """Each root is a conversation of its own, and one warning says what to do."""
    handler = SynapCallbackHandler(memory)
    with caplog.at_level(logging.WARNING, logger="synap_integrations"):
        for _ in range(3):
            CHAIN.invoke({"question": "hi"}, config={"callbacks": [handler]})
    names = [entry.scope.conversation_id for entry in memory.recorded]
    assert len(set(names)) == 3
    assert names[0::2] == names[1::2]
    assert len([record for record in caplog.records if "conversation" in record.message]) <= 1


def test_s69_a_batch_with_a_config_for_each(memory) -> None:
    """Items go to their own conversations."""
    handler = SynapCallbackHandler(memory)
    configs = [{"callbacks": [handler], "metadata": {"thread_id": name}} for name in "xyz"]
    CHAIN.batch([{"question": name} for name in "xyz"], config=configs)
    for name in "xyz":
        assert transcript(memory, name) == [f"U {name}", f"A re: {name}"]


def test_s70_secrets_of_the_config_stay_in_the_process(memory) -> None:
    """Only known identity keys are read."""
    secret = "sk-canary-123"
    config = {
        "callbacks": [SynapCallbackHandler(memory)],
        "configurable": {"thread_id": "t", "api_key": secret},
        "metadata": {"password": secret, "user_id": "ana"},
    }
    agent(asking("", adding()), "3").invoke({"messages": [HumanMessage("1+2?")]}, config=config)
    assert memory.recorded
    assert secret not in repr(memory.recorded)


def test_capture_can_be_switched_off_for_one_run(memory) -> None:
    """``metadata={"synap": "off"}`` silences a run with everything inside it; the next is captured."""
    handler = SynapCallbackHandler(memory)
    for metadata in ({"synap": "off"}, {}):
        CHAIN.invoke({"question": "hi"}, config={"callbacks": [handler], "metadata": metadata})
    assert transcript(memory) == ["U hi", "A re: hi"]


def test_capture_can_be_switched_off_for_the_process(memory, monkeypatch) -> None:
    """``SYNAP_CAPTURE=0`` wins over everything."""
    monkeypatch.setenv("SYNAP_CAPTURE", "0")
    CHAIN.invoke({"question": "hi"}, config={"callbacks": [SynapCallbackHandler(memory)]})
    assert memory.recorded == []


@pytest.mark.parametrize("how", ["constructor and config", "with_config and invoke", "twice in the list"])
def test_s71_the_same_handler_twice_is_one(memory, how) -> None:
    """Each event is captured once."""
    handler = SynapCallbackHandler(memory, conversation_id="c")
    model = echo().model_copy(update={"callbacks": [handler]}) if how == "constructor and config" else echo()
    chain = ChatPromptTemplate.from_messages([("human", "{question}")]) | model | StrOutputParser()
    if how == "with_config and invoke":
        chain = chain.with_config(callbacks=[handler])
    callbacks = [handler, handler] if how == "twice in the list" else [handler]
    chain.invoke({"question": "hi"}, config={"callbacks": callbacks})
    assert transcript(memory) == ["U hi", "A re: hi"]


def test_two_handlers_are_one_transcript(memory) -> None:
    """Handlers share what they know: the same run is not recorded twice."""
    callbacks = [SynapCallbackHandler(memory, conversation_id="c"), SynapCallbackHandler(memory, conversation_id="c")]
    CHAIN.invoke({"question": "hi"}, config={"callbacks": callbacks})
    assert transcript(memory) == ["U hi", "A re: hi"]


@pytest.mark.parametrize("where", ["nowhere", "root", "model", "inside a tool", "manager"])
def test_s72_attached_and_given_by_hand(where) -> None:
    """Zero-code capture and the user's own handler make one transcript, and the user's ids win."""
    automatic, own = FakeMemory(), FakeMemory()
    handler = SynapCallbackHandler(own, conversation_id="mine")

    @tool
    def look(x: int) -> str:
        """Look with a model."""
        ScriptedModel(answers=["inner"]).invoke(
            "look", config={"callbacks": [handler]} if where == "inside a tool" else {}
        )
        return "seen"

    answers = [asking("", call("look", {"x": 1})), "done"]
    model = ScriptedModel(answers=answers, callbacks=[handler] if where == "model" else None)
    config: dict[str, Any] = {}
    if where == "root":
        config["callbacks"] = [handler]
    if where == "manager":
        config["callbacks"] = CallbackManager([], inheritable_handlers=[handler])
    detach = attach(automatic)
    try:
        make_agent(model, [look]).invoke({"messages": [HumanMessage("go")]}, config=config)
    finally:
        detach()
    rows = transcript(automatic) + transcript(own)
    assert sorted(rows) == ["A done", 'C look({"x": 1})', "R look=seen", "U go"]
    if where in {"root", "manager"}:
        assert {entry.scope.conversation_id for entry in own.recorded} == {"mine"}


def test_s72_detached_is_detached() -> None:
    """After letting go nothing is captured; attaching again works; attaching twice captures once."""
    memory = FakeMemory()
    detach, again = attach(memory), attach(memory)
    CHAIN.invoke({"question": "one"})
    detach()
    again()
    CHAIN.invoke({"question": "two"})
    assert transcript(memory) == ["U one", "A re: one"]


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_s79_a_fault_of_ours_never_reaches_the_chain(mode) -> None:
    """A memory that explodes at every call changes nothing but a count."""

    class Exploding(FakeMemory):
        def record(self, event: Any, *, scope: Any) -> None:
            raise RuntimeError("ours")

    incidents.clear()
    handler = SynapCallbackHandler(Exploding())
    graph = agent(asking("", adding()), "3")
    given, config = {"messages": [HumanMessage("1+2?")]}, {"callbacks": [handler]}
    state = graph.invoke(given, config=config) if mode == "invoke" else asyncio.run(graph.ainvoke(given, config=config))
    assert state["messages"][-1].content == "3"
    assert sum(incidents.counts().values()) >= 1
    incidents.clear()


def test_s80_a_thousand_cancelled_runs_leave_nothing_behind(memory) -> None:
    """State is bounded: runs that never end are forgotten."""

    class Never(ScriptedModel):
        async def _agenerate(self, *_: Any, **__: Any) -> Any:
            await asyncio.sleep(3600)

    handler = SynapCallbackHandler(memory)

    async def cancel_many() -> None:
        for _ in range(10):
            tasks = [asyncio.create_task(Never().ainvoke("hi", config={"callbacks": [handler]})) for _ in range(100)]
            await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(cancel_many())
    assert len(memory.recorded) == 1000


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))])
def test_s81_a_copy_of_the_handler_is_the_handler(copied) -> None:
    """Frameworks copy what they are given; copies record to the same place and no run twice."""
    memory = FakeMemory()
    handler = SynapCallbackHandler(memory, conversation_id="c")
    twin = copied(handler)
    CHAIN.invoke({"question": "hi"}, config={"callbacks": [handler, twin]})
    assert transcript(memory) == ["U hi", "A re: hi"]


def test_s81_a_model_with_the_handler_can_be_copied(memory) -> None:
    """``model_copy(deep=True)`` works with the handler attached."""
    model = ScriptedModel(answers=["re: hi"], callbacks=[SynapCallbackHandler(memory, conversation_id="c")])
    model.model_copy(deep=True).invoke("hi")
    assert transcript(memory) == ["U hi", "A re: hi"]


def test_s83_nothing_that_was_handed_over_is_changed(memory) -> None:
    """Messages, inputs and metadata are as they were."""
    messages = [HumanMessage("1+2?", additional_kwargs={"x": [1]}, id="m1")]
    metadata = {"user_id": "ana", "nested": {"a": [1]}}
    before = copy.deepcopy((messages, metadata))
    config = {"callbacks": [SynapCallbackHandler(memory)], "metadata": metadata}
    agent(asking("", adding()), "3").invoke({"messages": messages}, config=config)
    assert (messages, metadata) == before


def test_s78_a_sync_call_inside_a_running_loop(memory) -> None:
    """A notebook or an async view that calls ``invoke`` gets its answer."""
    handler = SynapCallbackHandler(memory, conversation_id="c")

    async def view() -> str:
        return CHAIN.invoke({"question": "hi"}, config={"callbacks": [handler]})

    assert asyncio.run(view()) == "re: hi"
    assert transcript(memory) == ["U hi", "A re: hi"]


def test_the_users_stream_is_not_slowed_by_names(memory) -> None:
    """A streamed answer is captured whole, once, with its words in order."""
    handler = SynapCallbackHandler(memory, conversation_id="c")
    words = " ".join(f"word{n}" for n in range(200))
    list(ScriptedModel(answers=[words]).stream("go", config={"callbacks": [handler]}))
    assert transcript(memory) == ["U go", f"A {words}"]


def test_a_handler_inside_a_lambda_sees_the_chain_around_it(memory) -> None:
    """Children that were given the handler by hand are not conversations of their own."""
    handler = SynapCallbackHandler(memory, conversation_id="c")
    inner = RunnableLambda(lambda text: echo().invoke(text, config={"callbacks": [handler]}).content)
    inner.invoke("hi", config={"callbacks": [handler]})
    assert transcript(memory) == ["U hi", "A re: hi"]
