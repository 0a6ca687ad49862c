"""Engines and agents inside each other's tools, and one after another: whose turn is whose."""

import asyncio

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.memory import ChatMemoryBuffer
from llamaindex_models import Say, ScriptedLLM
from llamaindex_world import CORE, ENGINES, conversations, simple, tool, transcript

from synap_integrations.llamaindex import SynapMemory, attach
from synap_integrations.testing import FakeMemory

pytestmark = [pytest.mark.usefixtures("no_turn_left"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]
TOOLS_KEEP_THEIR_CONTEXT = CORE > (0, 14, 12)
CALL = Say("", calls=[("c", "inner", {})])
OUTER = ["U q", "C c inner {}", "T c inner answer", "A done"]
INNER = ["U x", "A inner answer"]
in_both_kinds_of_tool = pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])


@pytest.fixture
def sink():
    return FakeMemory()


@pytest.fixture(params=[True, False], ids=["every turn", "claimed turns"])
def capturing(request, sink):
    """Capture of every turn, or only of those that use a memory of ours."""
    detach = attach(sink) if request.param else lambda: None
    yield request.param
    detach()


def memory_of(sink, conversation_id):
    """A memory of ours for this conversation."""
    return SynapMemory(sink, user_id="ana", conversation_id=conversation_id)


def engine_tool(memory, *, asynchronous):
    """A tool that has an engine of its own."""
    engine = simple(ScriptedLLM("inner answer"), memory)
    return tool(lambda: engine.chat("x"), lambda: engine.achat("x"), asynchronous=asynchronous)


def agent_tool(*, asynchronous, **given):
    """A tool that has an agent of its own; blocking, it runs on a loop of its own."""
    agent = FunctionAgent(llm=ScriptedLLM("inner answer"), tools=[lambda: "unused"])

    async def aask():
        return await agent.run("x", **given)

    return tool(lambda: asyncio.run(aask()), aask, asynchronous=asynchronous)


@in_both_kinds_of_tool
@pytest.mark.parametrize("inner", ["engine", "agent"])
async def test_s43_what_is_inside_a_tool_is_part_of_it(inner, asynchronous, capturing, sink):
    """What a tool says to an engine or agent of its own is no turn of the user's.

    Up to 0.14.12 a blocking tool loses its context: then capture of every turn sees one more, in a conversation of its
    own, and capture of claimed turns sees none.
    """
    made = (
        engine_tool(ChatMemoryBuffer.from_defaults(), asynchronous=asynchronous)
        if inner == "engine"
        else agent_tool(asynchronous=asynchronous)
    )
    agent = FunctionAgent(llm=ScriptedLLM(CALL, "done"), tools=[made])
    await agent.run("q", memory=memory_of(sink, "c1"))
    assert transcript(sink, "c1") == OUTER
    astray = [transcript(sink, name) for name in conversations(sink) if name != "c1"]
    lost = capturing and not asynchronous and not TOOLS_KEEP_THEIR_CONTEXT
    assert astray == ([INNER] if lost else [])


@in_both_kinds_of_tool
@pytest.mark.parametrize("inner", ["engine", "agent"])
async def test_s44_a_memory_of_ours_inside_a_tool(inner, asynchronous, capturing, sink):
    """An engine or agent that has a memory of its own has its own conversation, and the outer turn keeps its own."""
    made = (
        engine_tool(memory_of(sink, "inner"), asynchronous=asynchronous)
        if inner == "engine"
        else agent_tool(asynchronous=asynchronous, memory=memory_of(sink, "inner"))
    )
    agent = FunctionAgent(llm=ScriptedLLM(CALL, "done"), tools=[made])
    await agent.run("q", memory=memory_of(sink, "outer"))
    assert transcript(sink, "inner") == INNER
    assert transcript(sink, "outer") == OUTER
    assert set(conversations(sink)) == {"inner", "outer"}


@pytest.mark.parametrize("name", ENGINES)
async def test_s45_one_after_another(name, capturing, sink):
    """Agent, engine and agent in one task are three turns, none inside another; failed ones too."""
    agent = FunctionAgent(llm=ScriptedLLM("from the agent"), tools=[lambda: "unused"])
    broken = FunctionAgent(llm=ScriptedLLM(Say("never", fails_after=0)), tools=[lambda: "unused"])
    await agent.run("one", memory=memory_of(sink, "c1"))
    with pytest.raises(Exception, match="model broke down"):
        await broken.run("two", memory=memory_of(sink, "c2"))
    await ENGINES[name](ScriptedLLM("from the engine"), memory_of(sink, "c3")).achat("three")
    await agent.run("four", memory=memory_of(sink, "c4"))
    assert [transcript(sink, f"c{at}") for at in (1, 2, 3, 4)] == [
        ["U one", "A from the agent"], ["U two"], ["U three", "A from the engine"], ["U four", "A from the agent"]
    ]  # fmt: skip
    assert conversations(sink) == ["c1", "c2", "c3", "c4"]
