"""Scenarios 84 to 89 for agents: ``SynapMiddleware`` and models with memory in ``create_agent`` and LangGraph."""

import asyncio
import copy

import pytest
from injected import blocks_in, knowing, text_of, used
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_models import MODES, AsyncModel, WholeModel, asking, call, conversations, run, transcript
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph_agents import ADDED

agents = pytest.importorskip("langchain.agents", reason="create_agent came with langchain 1.0")
if not hasattr(agents, "create_agent"):
    pytest.skip("create_agent came with langchain 1.0", allow_module_level=True)

from langchain.agents import create_agent  # noqa: E402 - see above
from langchain.agents.middleware import SummarizationMiddleware  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from synap_integrations import Scope  # noqa: E402
from synap_integrations.langchain import SynapCallbackHandler, SynapMiddleware, with_synap_memory  # noqa: E402
from synap_integrations.testing import FakeMemory  # noqa: E402

pytestmark = pytest.mark.usefixtures("strict_guard")
LAPS = (asking("Let me add.", call("add", {"a": 1, "b": 2}, "call-1")), "sum is 3")


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture
def memory():
    return knowing()


def asked(question):
    """An agent's input."""
    return {"messages": [{"role": "user", "content": question}]}


def told(memory, conversation=None):
    """The transcript, less the reports of used context."""
    return [entry for entry in transcript(memory, conversation) if entry != "ContextUsed"]


@pytest.mark.parametrize("capture", ["own", "handler", "both on the model", "off"])
@pytest.mark.parametrize("mode", MODES)
def test_s84_agent_with_middleware(memory, mode, capture):
    """The model sees the block in every lap, the state never; the turn is captured once, whoever listens."""
    handler = SynapCallbackHandler(memory)
    model = AsyncModel(answers=list(LAPS), callbacks=[handler] if capture == "both on the model" else None)
    middleware = SynapMiddleware(memory, capture=capture != "off")
    agent = create_agent(model, [add], middleware=[middleware], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "c"}, "callbacks": [handler] if capture == "handler" else []}
    run(mode, agent, asked("1+2?"), config)
    state = agent.get_state({"configurable": {"thread_id": "c"}}).values["messages"]
    assert [blocks_in(seen) for seen in model.seen] == [[0], [0]]
    assert model.seen[0][0] == model.seen[1][0]
    assert blocks_in(state) == []
    assert told(memory, "c") == ([] if capture == "off" else ADDED)
    assert len(memory.recalled) == len(used(memory)) == 1


@pytest.mark.parametrize("with_handler", [True, False])
def test_agent_without_any_identity_is_one_conversation(memory, with_handler):
    """Where nobody names a conversation, the laps of one run still belong together, and two runs do not."""
    model = WholeModel(answers=[*LAPS, *LAPS])
    agent = create_agent(model, [add], middleware=[SynapMiddleware(memory)])
    for _ in range(2):
        agent.invoke(asked("1+2?"), {"callbacks": [SynapCallbackHandler(memory)] if with_handler else []})
    captured = [[entry for entry in turns if entry != "ContextUsed"] for turns in conversations(memory)]
    assert captured == [ADDED, ADDED]
    assert len({scope.conversation_id for _, scope in memory.recalled}) == 2


def test_explicit_ids_of_the_middleware_are_used(memory):
    """What the middleware was told about the user goes for recall and capture."""
    middleware = SynapMiddleware(memory, conversation_id="c", user_id="u", customer_id="k")
    create_agent(WholeModel(answers=["hello"]), [], middleware=[middleware]).invoke(asked("hi"))
    scope = Scope("c", "u", customer_id="k")
    assert memory.recalled == [("hi", scope)]
    assert {entry.scope for entry in memory.recorded} == {scope}
    assert told(memory) == ["U hi", "A hello"]


def test_s84_concurrent_users_of_one_agent():
    """Many threads of one agent at once: each conversation is asked for and captured under its own name."""
    memory = knowing()
    agent = create_agent(AsyncModel(), [], middleware=[SynapMiddleware(memory)])

    async def one(name):
        await agent.ainvoke(asked(f"I am {name}"), {"configurable": {"thread_id": name}})

    async def all_of_them():
        await asyncio.gather(*[one(f"user-{at}") for at in range(20)])

    asyncio.run(all_of_them())
    for at in range(20):
        turns = told(memory, f"user-{at}")
        assert turns[0] == f"U I am user-{at}"
        assert len(turns) == 2
    assert all(query == f"I am {scope.conversation_id}" for query, scope in memory.recalled)


@pytest.mark.parametrize("mode", MODES)
def test_s84_agent_of_a_model_with_memory(memory, mode):
    """The one-line form in an agent: tools work, laps see the same block, the handler captures the turn alone."""
    model = with_synap_memory(AsyncModel(answers=list(LAPS)), memory)
    agent = create_agent(model, [add], checkpointer=InMemorySaver())
    run(mode, agent, asked("1+2?"), {"configurable": {"thread_id": "c"}, "callbacks": [SynapCallbackHandler(memory)]})
    assert [blocks_in(seen) for seen in model.seen] == [[0], [0]]
    assert model.seen[0][0].content == model.seen[1][0].content
    assert blocks_in(agent.get_state({"configurable": {"thread_id": "c"}}).values["messages"]) == []
    assert told(memory, "c") == ADDED
    assert memory.recalled == [("1+2?", Scope("c"))]


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
@pytest.mark.parametrize("version", ["v2", "v3"])
def test_s84_agent_events(memory, version):
    """Event streams of both versions show the same turn with the same context."""
    model = with_synap_memory(AsyncModel(answers=["hello there"]), memory)
    agent = create_agent(model, [], middleware=[SynapMiddleware(memory, capture=False)])

    async def consume():
        events = agent.astream_events(asked("hi"), version=version)
        if asyncio.iscoroutine(events):
            events = await events
        async for _ in events:
            pass

    asyncio.run(consume())
    assert blocks_in(model.seen[0]) == [0]
    assert len(memory.recalled) == 1


@pytest.mark.parametrize("where", ["model", "middleware"])
def test_s84_structured_output(memory, where):
    """A response format goes through either door."""

    class Person(BaseModel):
        name: str

    model = WholeModel(answers=[asking("", call("Person", {"name": "bob"}, "1"))])
    middleware = [SynapMiddleware(memory)] if where == "middleware" else []
    model = with_synap_memory(model, memory) if where == "model" else model
    result = create_agent(model, [], response_format=Person, middleware=middleware).invoke(asked("who?"))
    assert result["structured_response"] == Person(name="bob")
    assert blocks_in(model.seen[0]) == [0]


def test_s86_prefix_of_the_next_turn_is_that_of_this_one(memory):
    """Over turns with a checkpointer, all before the last human message is byte for byte what the state holds."""
    model = WholeModel(answers=["one", "two"])
    agent = create_agent(
        model, [], system_prompt="be brief", middleware=[SynapMiddleware(memory)], checkpointer=InMemorySaver()
    )
    for question in ("first", "second"):
        agent.invoke(asked(question), {"configurable": {"thread_id": "c"}})
    first, second = model.seen
    assert blocks_in(first) == [1]
    assert blocks_in(second) == [3]
    assert second[0] == first[0]
    assert [text_of(message) for message in second[1:3]] == ["first", "one"]
    assert told(memory, "c") == ["U first", "A one", "U second", "A two"]


def test_s86_same_words_in_two_turns_are_two_turns(memory):
    """A user who says the same twice gets context for each time."""
    model = WholeModel(answers=["one", "two"])
    agent = create_agent(model, [], middleware=[SynapMiddleware(memory)], checkpointer=InMemorySaver())
    for _ in range(2):
        agent.invoke(asked("yes"), {"configurable": {"thread_id": "c"}})
    assert len(memory.recalled) == 2
    assert told(memory, "c") == ["U yes", "A one", "U yes", "A two"]


def test_s87_tool_call_and_result_stay_together(memory):
    """Nothing is put between a tool call and its result, and a system prompt of blocks is not touched."""
    system = SystemMessage([{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}])
    model = WholeModel(answers=list(LAPS))
    agent = create_agent(model, [add], system_prompt=system, middleware=[SynapMiddleware(memory)])
    agent.invoke(asked("1+2?"))
    lap = model.seen[1]
    assert [type(message) for message in lap] == [SystemMessage, HumanMessage, AIMessage, ToolMessage]
    assert lap[0].content == system.content


def test_s88_without_context_the_request_is_the_same_object():
    """With nothing to show, the next middleware gets the very request, with the very list."""
    requests = []

    class Witness(agents.middleware.AgentMiddleware):
        def __init__(self, name):
            self._name = name

        @property
        def name(self):
            return self._name

        def wrap_model_call(self, request, handler):
            requests.append((request, request.messages))
            return handler(request)

    middleware = [Witness("before"), SynapMiddleware(FakeMemory()), Witness("after")]
    create_agent(WholeModel(answers=["hello"]), [], middleware=middleware).invoke(asked("hi"))
    (before, messages), (after, same_messages) = requests
    assert before is after
    assert messages is same_messages


@pytest.mark.parametrize("mode", ["invoke", "stream"])
def test_s89_summaries_get_no_context(memory, mode):
    """The summarizer's own model calls are not the user's turn, also if its model has memory; no summary is a turn."""
    summarizer = with_synap_memory(AsyncModel(answers=["summary one", "summary two"]), memory)
    model = WholeModel(answers=[f"answer {at}" for at in range(4)])
    agent = create_agent(
        model,
        [],
        middleware=[
            SummarizationMiddleware(summarizer, trigger=("messages", 4), keep=("messages", 2)),
            SynapMiddleware(memory),
        ],
        checkpointer=InMemorySaver(),
    )
    for at in range(4):
        run(mode, agent, asked(f"question {at}"), {"configurable": {"thread_id": "c"}})
    assert summarizer.seen
    assert [blocks_in(seen) for seen in summarizer.seen] == [[]] * len(summarizer.seen)
    assert all(len(blocks_in(seen)) == 1 for seen in model.seen)
    assert told(memory, "c") == [line for at in range(4) for line in (f"U question {at}", f"A answer {at}")]


@pytest.mark.parametrize("mode", MODES)
def test_s84_model_with_memory_in_a_graph_of_ones_own(memory, mode):
    """In a LangGraph node that streams or invokes the model, the thread is found and the state stays clean."""
    model = with_synap_memory(AsyncModel(answers=["hello"]), memory)
    graph = StateGraph(MessagesState)
    graph.add_node("say", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "say")
    app = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "c", "user_id": "u"}}
    run(mode, app, asked("hi"), config | {"callbacks": [SynapCallbackHandler(memory)]})
    assert blocks_in(model.seen[0]) == [0]
    assert blocks_in(app.get_state(config).values["messages"]) == []
    assert memory.recalled[0][1].conversation_id == "c"
    assert told(memory, "c") == ["U hi", "A hello"]


def test_messages_of_the_caller_are_not_changed(memory):
    """What the caller passed in is what he still has."""
    given = {"messages": [HumanMessage("hi")]}
    before = copy.deepcopy(given)
    create_agent(WholeModel(answers=["hello"]), [], middleware=[SynapMiddleware(memory)]).invoke(given)
    assert given["messages"][0].content == before["messages"][0].content
