"""Scenarios 54 to 60: interrupts are questions, resuming is answering; retries and edits are not new turns."""

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import create_react_agent
from langgraph.types import Command, interrupt
from scripted_models import MODES, Scripted, calls, run, transcript

from synap_integrations.langchain import SynapCallbackHandler
from synap_integrations.testing import FakeMemory

try:
    from langchain.agents import create_agent
    from langchain.agents.middleware import HumanInTheLoopMiddleware
except ImportError:
    create_agent = HumanInTheLoopMiddleware = None  # type: ignore[assignment,misc]

needs_create_agent = pytest.mark.skipif(create_agent is None, reason="create_agent needs langchain 1.0")
pytestmark = [
    pytest.mark.usefixtures("strict_guard"),
    pytest.mark.filterwarnings("ignore:.*create_react_agent.*"),
    pytest.mark.filterwarnings("ignore:.*reserialized.*"),
]


@pytest.fixture
def memory() -> FakeMemory:
    return FakeMemory()


@pytest.fixture
def config(memory: FakeMemory) -> dict[str, Any]:
    return {"callbacks": [SynapCallbackHandler(memory)], "configurable": {"thread_id": "t"}}


def graph_of(node: Any) -> Any:
    """A graph with one node and a checkpointer."""
    builder = StateGraph(MessagesState)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    return builder.compile(checkpointer=InMemorySaver())


def said(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


def booking(_: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"booked {interrupt('Which city?')}")]}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", ["graph", "subgraph"])
def test_s54_a_question_in_between(memory, config, where, mode) -> None:
    """The graph asks, the user answers, the graph goes on: four turns."""
    inner = graph_of(booking)
    graph = inner if where == "graph" else graph_of(inner)
    run(graph, said("book"), mode, **config)
    run(graph, Command(resume="Paris"), mode, **config)
    assert transcript(memory) == ["U book", "A Which city?", "U Paris", "A booked Paris"]


def test_s55_a_structured_question_is_no_turn(memory, config) -> None:
    """An approval form is not something anybody said."""

    def node(_: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("booked" if interrupt({"approve": ["yes", "no"]}) else "not booked")]}

    graph = graph_of(node)
    graph.invoke(said("book"), config=config)
    graph.invoke(Command(resume=True), config=config)
    assert transcript(memory) == ["U book", "A booked"]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@needs_create_agent
@pytest.mark.parametrize(
    ("decision", "rows"),
    [
        ({"type": "approve"}, ['C add({"a":1,"b":2})', "R add=3"]),
        (
            {"type": "edit", "edited_action": {"name": "add", "args": {"a": 5, "b": 5}}},
            ['C add({"a":5,"b":5})', "R add=10"],
        ),
        ({"type": "reject", "message": "too dear"}, ['C add({"a":1,"b":2})', "R! add=too dear"]),
    ],
    ids=["approve", "edit", "reject"],
)
def test_s56_a_human_in_the_loop(memory, config, decision, rows) -> None:
    """What really ran is captured, with what came of it; the question only once."""
    model = Scripted(answers=[calls(("add", {"a": 1, "b": 2}, "t1"), text="Let me add."), "done"])
    graph = create_agent(
        model, [add], middleware=[HumanInTheLoopMiddleware(interrupt_on={"add": True})], checkpointer=InMemorySaver()
    )
    graph.invoke(said("1+2?"), config=config)
    graph.invoke(Command(resume={"decisions": [decision]}), config=config)
    # How a rejection is worded for the model changes from one release of langchain to the next.
    worded = "R! add=User rejected the tool call for `add` with reason: "
    found = [row.replace(worded, "R! add=") for row in transcript(memory)]
    assert found == ["U 1+2?", "T Let me add.", *rows, "A done"]


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_s57_a_tool_that_asks(memory, config, mode) -> None:
    """A question from inside a tool does not make it two calls."""

    @tool
    def ask(what: str) -> str:
        """Ask the user."""
        return str(interrupt(what))

    model = Scripted(answers=[calls(("ask", {"what": "name?"}, "t1")), "hi Bob"])
    graph = (create_agent or create_react_agent)(model, [ask], checkpointer=InMemorySaver())
    run(graph, said("hello"), mode, **config)
    run(graph, Command(resume="Bob"), mode, **config)
    assert transcript(memory) == ["U hello", 'C ask({"what":"name?"})', "A name?", "U Bob", "R ask=Bob", "A hi Bob"]


def test_s58_a_pause_before_the_tools_is_one_turn(memory, config) -> None:
    """Continuing with ``None`` continues the turn."""
    model = Scripted(answers=[calls(("add", {"a": 1, "b": 2}, "t1")), "3"])
    graph = (create_agent or create_react_agent)(model, [add], checkpointer=InMemorySaver(), interrupt_before=["tools"])
    graph.invoke(said("1+2?"), config=config)
    graph.invoke(None, config=config)
    assert transcript(memory) == ["U 1+2?", 'C add({"a":1,"b":2})', "R add=3", "A 3"]


@pytest.mark.parametrize(
    ("again", "rows"),
    [
        (None, ["U hi", "A ok"]),
        (said("hi"), ["U hi", "A ok"]),
        (said("hello?"), ["U hi", "U hello?", "A ok"]),
    ],
    ids=["continued", "sent again", "another text"],
)
def test_s59_a_run_that_failed_and_what_came_next(memory, config, again, rows) -> None:
    """The same question sent again after a failure is the same question."""
    model = Scripted(answers=[ValueError("down"), "ok"])
    graph = graph_of(lambda state: {"messages": [model.invoke(state["messages"])]})
    with pytest.raises(ValueError, match="down"):
        graph.invoke(said("hi"), config=config)
    graph.invoke(again, config=config)
    assert transcript(memory) == rows


def test_s60_an_edited_message_is_a_new_turn_marked_as_edited(memory, config) -> None:
    """The same id with another text replaces what was said."""
    graph = graph_of(lambda _: {"messages": [AIMessage("noted")]})
    graph.invoke({"messages": [HumanMessage("red", id="m1")]}, config=config)
    graph.invoke({"messages": [HumanMessage("blue", id="m1")]}, config=config)
    assert transcript(memory) == ["U red", "A noted", "U* blue", "A noted"]


def test_s60_regenerating_gives_a_second_answer_and_no_question(memory, config) -> None:
    """Nobody said anything again."""
    model = Scripted(answers=["one", "two"])
    graph = graph_of(lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.invoke(said("hi"), config=config)
    before_the_answer = next(s for s in graph.get_state_history(config) if s.next == ("node",))
    graph.invoke(None, config={**before_the_answer.config, "callbacks": config["callbacks"]})
    assert transcript(memory) == ["U hi", "A one", "A two"]


def test_s54_interrupts_of_two_conversations_at_once(memory) -> None:
    """Each answer finds its own question."""
    graph = graph_of(booking)
    handler = SynapCallbackHandler(memory)

    async def one(name: str) -> None:
        config = {"callbacks": [handler], "configurable": {"thread_id": name}}
        await graph.ainvoke(said(f"book {name}"), config=config)
        await graph.ainvoke(Command(resume=name), config=config)

    async def all_of_them() -> None:
        await asyncio.gather(*(one(name) for name in ("x", "y", "z")))

    asyncio.run(all_of_them())
    for name in ("x", "y", "z"):
        assert transcript(memory, name) == [f"U book {name}", "A Which city?", f"U {name}", f"A booked {name}"]
