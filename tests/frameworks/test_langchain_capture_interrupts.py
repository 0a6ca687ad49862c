"""Interrupts, edits, retries and endings: a turn that stops, goes on, fails or is cut off is told once, as it was."""

import asyncio
import contextvars
import gc
import logging
import threading

import langgraph.prebuilt
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_models import ScriptedModel, add, asking, calculator, call, echo, run, transcript
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from langgraph_agents import ask, every_mode, make_agent, needs, saver

import synap_integrations
from synap_integrations import Synap
from synap_integrations.langchain import SynapCallbackHandler
from synap_integrations.runtime.late import late_runs

pytestmark = pytest.mark.usefixtures("no_incidents")


def single(node, **options):
    """A graph of one node that remembers."""
    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph.compile(checkpointer=saver(), **options)


def booking(question, answer):
    """A graph that asks before it books."""

    def node(state):
        return {"messages": [AIMessage(answer.format(interrupt(question)))]}

    return single(node)


# --- interrupts ------------------------------------------------------------------------------------------------------


@every_mode
@pytest.mark.parametrize("depth", [0, 1], ids=["graph", "subgraph"])
@pytest.mark.parametrize("by_id", [False, True], ids=["plain", "by id"])
def test_s54_a_question_in_the_middle(by_id, depth, mode, memory, config):
    """An interrupt with words is a question of the assistant, resuming with words is the user's answer."""
    app = booking("Which city?", "booked {}")
    if depth:
        outer = StateGraph(MessagesState)
        inner = StateGraph(MessagesState)
        inner.add_node("node", lambda state: {"messages": [AIMessage(f"booked {interrupt('Which city?')}")]})
        inner.add_edge(START, "node")
        outer.add_node("inner", inner.compile())
        outer.add_edge(START, "inner")
        app = outer.compile(checkpointer=saver())
    run(mode, app, ask("book"), config)
    resume = "Paris"
    if by_id:
        (pending,) = app.get_state(config).tasks[0].interrupts
        resume = {pending.id: "Paris"}
    run(mode, app, Command(resume=resume), config)
    assert transcript(memory) == ["U book", "A Which city?", "U Paris", "A booked Paris"]


@every_mode
def test_s55_a_decision_is_no_utterance(mode, memory, config):
    """Structured interrupts and resumes are not words."""
    app = booking({"action": "book"}, "booked")
    run(mode, app, ask("book"), config)
    run(mode, app, Command(resume=True), config)
    assert transcript(memory) == ["U book", "A booked"]


DECISIONS = {
    "approve": ({"type": "approve"}, ['C add({"a": 1, "b": 2})', "R add=3", "A done"]),
    "edit": (
        {"type": "edit", "edited_action": {"name": "add", "args": {"a": 5, "b": 5}}},
        ['C add({"a": 5, "b": 5})', "R add=10", "A done"],
    ),
    "reject": ({"type": "reject", "message": "no"}, ['C add({"a": 1, "b": 2})', "R! add=…", "A done"]),
}


@needs("create_agent")
@every_mode
@pytest.mark.parametrize(("decision", "rest"), DECISIONS.values(), ids=DECISIONS)
def test_s56_a_human_in_the_loop(decision, rest, mode, memory, config):
    """Approved, edited and rejected calls are told as they were carried out, the question once."""
    from langchain.agents.middleware import HumanInTheLoopMiddleware  # noqa: PLC0415 - only in newer versions

    review = HumanInTheLoopMiddleware(interrupt_on={"add": True})
    model = ScriptedModel(answers=[asking("Let me add.", call("add", {"a": 1, "b": 2})), AIMessage("done")])
    agent = make_agent(model, [add], middleware=[review], checkpointer=saver())
    run(mode, agent, ask("1+2?"), config)
    assert transcript(memory) == ["U 1+2?", "T Let me add."]
    run(mode, agent, Command(resume={"decisions": [decision]}), config)
    told = [line if not line.startswith("R! ") else "R! add=…" for line in transcript(memory)]
    assert told == ["U 1+2?", "T Let me add.", *rest]


@every_mode
def test_s57_a_tool_that_asks(mode, memory, config):
    """A tool that interrupts is one call; its result comes after the user's answer."""

    @tool
    def who() -> str:
        """Ask the user."""
        return interrupt("name?")

    model = ScriptedModel(answers=[asking("", call("who", {})), AIMessage("hi Bob")])
    agent = make_agent(model, [who], checkpointer=saver())
    run(mode, agent, ask("hello"), config)
    run(mode, agent, Command(resume="Bob"), config)
    assert transcript(memory) == ["U hello", "C who({})", "A name?", "U Bob", "R who=Bob", "A hi Bob"]


@every_mode
@pytest.mark.parametrize(
    "where", ["interrupt_before", pytest.param("interrupt_after", marks=needs("lifecycle callbacks"))]
)
def test_s58_a_graph_that_stops_at_a_node(where, mode, memory, config):
    """A graph that stops before or after its tools, and goes on, is one turn."""
    agent = make_agent(calculator(), [add], checkpointer=saver(), **{where: ["tools"]})
    run(mode, agent, ask("1+2?"), config)
    run(mode, agent, None, config)
    assert transcript(memory) == ["U 1+2?", "T Let me add.", 'C add({"a": 1, "b": 2})', "R add=3", "A sum is 3"]


# --- retries and edits -----------------------------------------------------------------------------------------------


@every_mode
@pytest.mark.parametrize(
    ("again", "told"),
    [(None, ["U hi"]), (ask("hi"), ["U hi"]), (ask("hello?"), ["U hi", "U hello?"])],
    ids=["continue", "same words", "other words"],
)
def test_s59_a_turn_that_failed_is_tried_again(again, told, mode, memory, config):
    """Trying a failed turn again is the same turn; other words are another one."""
    model = ScriptedModel(answers=[ConnectionError("down"), "fine"])
    app = single(lambda state: {"messages": [model.invoke(state["messages"])]})
    with pytest.raises(ConnectionError):
        run(mode, app, ask("hi"), config)
    run(mode, app, again, config)
    assert transcript(memory) == [*told, "A fine"]


@every_mode
def test_s60_an_edited_message_says_so(mode, memory, config):
    """The same message with other words is an edit; the same message again is nothing new."""
    app = single(lambda state: {"messages": [echo().invoke(state["messages"])]})
    for text in ("red", "red", "blue"):
        run(mode, app, {"messages": [HumanMessage(text, id="m1")]}, config)
    assert transcript(memory) == ["U red", "A re: red", "A re: red", "U* blue", "A re: blue"]


@every_mode
def test_s60_a_regenerated_answer_is_a_second_answer(mode, memory, config):
    """Going back and running again answers the same question anew."""
    model = ScriptedModel(answers=["one", "two"])
    app = single(lambda state: {"messages": [model.invoke(state["messages"])]})
    run(mode, app, ask("hi"), config)
    before = next(s for s in app.get_state_history(config) if s.next == ("node",))
    run(mode, app, None, {**before.config, "callbacks": config["callbacks"]})
    assert transcript(memory) == ["U hi", "A one", "A two"]


# --- endings ---------------------------------------------------------------------------------------------------------

STORY = ["U tell me a story", "A! re: tell"]
QUESTION = ChatPromptTemplate.from_messages([("human", "{question}")])


def streaming(kind):
    """A runnable that streams a story, its input and its stream options."""
    if kind == "model":
        return echo(), "tell me a story", {}
    if kind == "chain":
        return QUESTION | echo() | StrOutputParser(), {"question": "tell me a story"}, {}
    model = echo()
    return (
        single(lambda state: {"messages": [model.invoke(state["messages"])]}),
        ask("tell me a story"),
        {"stream_mode": "messages"},
    )


@pytest.mark.parametrize("kind", ["model", "chain"])
@pytest.mark.parametrize("how", ["close", "abandon"])
def test_s61_a_stream_that_is_not_read_to_its_end(how, kind, memory, config):
    """What the consumer has seen is an incomplete answer, told once; nothing comes later."""
    runnable, inputs, options = streaming(kind)
    stream = runnable.stream(inputs, config, **options)
    for _ in range(2):
        next(stream)
    if how == "close":
        stream.close()
    else:
        del stream
        gc.collect()
    assert transcript(memory) == STORY


@pytest.mark.parametrize("kind", ["model", "chain"])
@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_s61_an_async_stream_that_is_not_read_to_its_end(how, kind, memory, config):
    """The same for asynchronous streams, closed or cancelled."""
    runnable, inputs, options = streaming(kind)
    stream = runnable.astream(inputs, config, **options)
    has_read = asyncio.Event()

    async def read():
        for _ in range(2):
            await anext(stream)
        has_read.set()
        if how == "cancel":
            await asyncio.sleep(60)

    reader = asyncio.ensure_future(read())
    if how == "cancel":
        await has_read.wait()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
    else:
        await reader
    await stream.aclose()
    await asyncio.sleep(0.05)  # closing a generator that another task has read goes by way of the loop
    assert transcript(memory) == STORY


@pytest.mark.parametrize("kind", ["model", "chain", "graph"])
@pytest.mark.parametrize("mode", ["stream", "astream"])
def test_s61_a_stream_that_breaks(mode, kind, memory, config):
    """A model that fails in the middle leaves what it had said by then."""
    model = ScriptedModel(answers=["re: tell me"], break_after=2)
    runnable, inputs = {
        "model": (model, "tell me a story"),
        "chain": (QUESTION | model | StrOutputParser(), {"question": "tell me a story"}),
        "graph": (single(lambda s: {"messages": [model.invoke(s["messages"])]}), ask("tell me a story")),
    }[kind]
    with pytest.raises(ConnectionError):
        run(f"{mode} messages" if kind == "graph" else mode, runnable, inputs, config)
    assert transcript(memory) == STORY


def test_s61_a_graphs_stream_that_is_closed(memory, config):
    """A graph whose stream is closed while its model speaks tells an incomplete answer."""
    runnable, inputs, options = streaming("graph")
    stream = runnable.stream(inputs, config, **options)
    for _ in range(2):
        next(stream)
    stream.close()
    told = transcript(memory)
    assert told[0] == STORY[0]
    assert len(told) == 2
    assert told[1].startswith("A! re: tell")


def test_partial_answers_can_be_left_out(memory, config):
    """An application that wants complete answers only gets the question alone."""
    config["callbacks"] = [SynapCallbackHandler(memory, partial_answers=False)]
    stream = echo().stream("tell me a story", config)
    next(stream)
    stream.close()
    assert transcript(memory) == ["U tell me a story"]


async def test_s62_a_call_that_is_cancelled_before_an_answer(memory, config):
    """A cancelled call leaves the question."""

    class Slow(ScriptedModel):
        async def _agenerate(self, *args, **kwargs):
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(Slow().ainvoke("hi", config), 0.02)
    assert transcript(memory) == ["U hi"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_s63_an_agents_stream_that_is_closed_after_its_tools(asynchronous, memory, config):
    """What has happened by then is told, and no answer."""
    agent = make_agent(calculator(), [add])

    async def aread():
        stream = agent.astream(ask("1+2?"), config, stream_mode="updates")
        async for update in stream:
            if "tools" in update:
                break
        await stream.aclose()

    if asynchronous:
        asyncio.run(aread())
    else:
        stream = agent.stream(ask("1+2?"), config, stream_mode="updates")
        next(update for update in stream if "tools" in update)
        stream.close()
    assert transcript(memory) == ["U 1+2?", "T Let me add.", 'C add({"a": 1, "b": 2})', "R add=3"]


@every_mode
def test_s64_a_loop_that_hits_the_limit(mode, memory, config):
    """An agent that is stopped by the recursion limit has not answered."""
    model = ScriptedModel(reply=lambda messages: asking("", call("add", {"a": 1, "b": 2}, f"c{len(messages)}")))
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", langgraph.prebuilt.ToolNode([add]))
    graph.add_edge(START, "model")
    graph.add_edge("model", "tools")
    graph.add_edge("tools", "model")
    with pytest.raises(GraphRecursionError):
        run(mode, graph.compile(), ask(), {**config, "recursion_limit": 2})
    assert transcript(memory) == ["U go", 'C add({"a": 1, "b": 2})', "R add=3"]


def test_s65_work_in_the_background_is_no_turn(memory, config):
    """A thread that outlives the turn that started it, and asks a model, leaves the transcript alone."""
    go, done = threading.Event(), threading.Event()

    def background(context):
        go.wait(5)
        context.run((QUESTION | echo()).invoke, {"question": "title please"})
        done.set()

    def node(state):
        import contextvars  # noqa: PLC0415 - used here only

        threading.Thread(target=background, args=(contextvars.copy_context(),)).start()
        return {"messages": [AIMessage("hello")]}

    single(node).invoke(ask("hi"), config)
    go.set()
    assert done.wait(5)
    assert transcript(memory) == ["U hi", "A hello"]


async def test_s65_a_task_in_the_background_is_no_turn(memory, config):
    """The same for a task."""
    go = asyncio.Event()
    tasks = []

    async def background():
        await go.wait()
        await (QUESTION | echo()).ainvoke({"question": "title please"})

    async def node(state):
        tasks.append(asyncio.ensure_future(background()))
        return {"messages": [AIMessage("hello")]}

    await single(node).ainvoke(ask("hi"), config)
    go.set()
    await asyncio.gather(*tasks)
    assert transcript(memory) == ["U hi", "A hello"]


def test_s65_work_in_the_background_is_counted_and_explained(memory, config, caplog):
    """What is left out because its turn was over is a figure of `status()`; the log tells once what to do about it."""
    contexts = []

    def node(state):
        contexts.append(contextvars.copy_context())
        return {"messages": [AIMessage("hello")]}

    single(node).invoke(ask("hi"), config)
    late_runs.after_fork_in_child()
    with caplog.at_level(logging.DEBUG, "synap_integrations"):
        contexts[0].run((QUESTION | echo()).invoke, {"question": "title please"})
        contexts[0].run((QUESTION | echo()).invoke, {"question": "tags please"})
    named = {"metadata": {"conversation_id": "later"}}
    contexts[0].run((QUESTION | echo()).invoke, {"question": "call mum"}, named)
    assert transcript(memory, "later") == ["U call mum", "A re: call mum"]
    assert synap_integrations.status().late == 2
    with Synap() as synap:
        assert synap.status().late == 2
    (said,) = [line.getMessage() for line in caplog.records if "began after its turn had ended" in line.getMessage()]
    assert "status().late" in said
    assert "please" not in said
