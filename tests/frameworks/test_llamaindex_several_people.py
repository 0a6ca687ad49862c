"""A captured turn runs engines and agents for other people: each has a turn of their own and their own memory."""

import asyncio
import contextlib

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import FunctionTool
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import instrument_tags
from llamaindex_models import Say, ScriptedLLM
from llamaindex_world import known, line, simple, tool

import synap_integrations
from synap_integrations.llamaindex import SynapMemory, attach, auto_inject
from synap_integrations.model import Context, ContextUsed
from synap_integrations.testing import FakeMemory

pytestmark = [pytest.mark.usefixtures("no_turn_left"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]
CALL = Say("", calls=[("c", "inner", {})])
OF_ANA = ["U q", "C c inner {}", "T c inner answer", "A done"]
OF_BOB = ["U x", "A inner answer"]
BLOCK_OF = {
    "block": lambda user: synap_integrations.context(user_id=user),
    "tags": lambda user: instrument_tags({"user_id": user}),
}
named = pytest.mark.parametrize("how", BLOCK_OF)
in_both_kinds_of_tool = pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])


class Knowing(FakeMemory):
    """Knows of each user their name."""

    def recall(self, query, *, scope):
        super().recall(query, scope=scope)
        return known(f"secret of {scope.user_id}") if scope.user_id else Context()


@pytest.fixture
def sink():
    return Knowing()


@pytest.fixture
def capturing(sink):
    """Everything is recorded, and every model is shown what is known."""
    detach, stop = attach(sink), auto_inject.inject(sink)
    yield sink
    stop()
    detach()


def by_owner(memory):
    """What was recorded, by user and conversation; None for one that nobody named."""
    found = {}
    for entry in memory.recorded:
        if not isinstance(entry.event, ContextUsed):
            conversation = entry.scope.conversation_id
            unnamed = conversation is None or conversation.startswith("conversation-")
            found.setdefault((entry.scope.user_id, None if unnamed else conversation), []).append(line(entry.event))
    return found


def secrets(llm):
    """Whose secrets a model was shown."""
    shown = " ".join(str(content) for messages in llm.asked for _, content in messages)
    return {user for user in ("ana", "bob") if f"secret of {user}" in shown}


def inner_tool(kind, llm, block, *, asynchronous, **given):
    """A tool that has an engine or an agent of its own, which it runs for somebody else."""
    engine = simple(llm, given.get("memory") or ChatMemoryBuffer.from_defaults())
    agent = FunctionAgent(llm=llm, tools=[lambda: "unused"])

    async def aask():
        with block():
            return await (engine.achat("x") if kind == "engine" else agent.run("x", **given))

    def ask():
        if kind == "agent":
            return asyncio.run(aask())
        with block():
            return engine.chat("x")

    return tool(ask, aask, asynchronous=asynchronous)


@named
@in_both_kinds_of_tool
@pytest.mark.parametrize("kind", ["engine", "agent"])
async def test_what_a_tool_runs_for_somebody_else_is_their_turn(kind, asynchronous, how, capturing):
    """Bob's words are recorded as Bob's, in a conversation of his own; each model is shown its own user's memory."""
    inner, outer = ScriptedLLM("inner answer"), ScriptedLLM(CALL, "done")
    made = inner_tool(kind, inner, lambda: BLOCK_OF[how]("bob"), asynchronous=asynchronous)
    with synap_integrations.context(user_id="ana", conversation_id="k"):
        await FunctionAgent(llm=outer, tools=[made]).run("q")
    assert by_owner(capturing) == {("ana", "k"): OF_ANA, ("bob", None): OF_BOB}
    assert secrets(outer) == {"ana"}
    assert secrets(inner) == {"bob"}


@in_both_kinds_of_tool
@pytest.mark.parametrize("kind", ["engine", "agent"])
async def test_a_memory_of_somebody_else_inside_a_tool(kind, asynchronous, sink):
    """A `SynapMemory` that names Bob, and no conversation, makes a turn of his, not one of the conversation around."""
    inner, outer = ScriptedLLM("inner answer"), ScriptedLLM(CALL, "done")
    memory = SynapMemory(sink, user_id="bob")
    made = inner_tool(kind, inner, contextlib.nullcontext, asynchronous=asynchronous, memory=memory)
    with synap_integrations.context(conversation_id="k"):
        await FunctionAgent(llm=outer, tools=[made]).run("q", memory=SynapMemory(sink, user_id="ana"))
    assert by_owner(sink) == {("ana", "k"): OF_ANA, ("bob", None): OF_BOB}
    assert secrets(outer) == {"ana"}
    assert secrets(inner) == {"bob"}


@pytest.mark.parametrize("captured", [True, False], ids=["captured", "not captured"])
async def test_what_a_tool_puts_into_somebody_elses_memory_is_theirs(captured, sink):
    """Bob's words, put by a tool in Ana's turn, are recorded as his; Ana's turn does not become his."""
    memory = SynapMemory(sink, user_id="bob")

    async def inner() -> str:
        """Tell Bob."""
        memory.put(ChatMessage(role="user", content="x"))
        memory.put(ChatMessage(role="assistant", content="inner answer"))
        return "inner answer"

    detach = attach(sink) if captured else (lambda: None)
    try:
        with synap_integrations.context(user_id="ana", conversation_id="k"):
            await FunctionAgent(llm=ScriptedLLM(CALL, "done"), tools=[inner]).run("q")
    finally:
        detach()
    found = by_owner(sink)
    assert found.pop(("bob", None)) == OF_BOB
    assert found == ({("ana", "k"): OF_ANA} if captured else {})


class Job(SimpleChatEngine):
    """An engine that works for Bob before it answers."""

    work = None

    @get_dispatcher(__name__).span
    def chat(self, message, chat_history=None):
        with synap_integrations.context(user_id="bob"):
            self.work("x")
        return super().chat(message, chat_history)


def job(llm, memory, work):
    """It, with this to do."""
    engine = Job.from_defaults(llm=llm, memory=memory)
    engine.work = work
    return engine


@pytest.mark.parametrize("with_memory", [True, False], ids=["memory of ours", "no memory of ours"])
def test_a_model_asked_for_somebody_else_is_not_shown_this_users_memory(with_memory, capturing):
    """An engine of Ana's asks a model directly in a block for Bob: nothing of Ana's is shown to it."""
    outer, inner = ScriptedLLM("done"), ScriptedLLM("inner answer")
    memory = SynapMemory(capturing, user_id="ana") if with_memory else ChatMemoryBuffer.from_defaults()
    engine = job(outer, memory, lambda text: inner.chat([ChatMessage(role="user", content=text)]))
    with synap_integrations.context(user_id="ana", conversation_id="k"):
        engine.chat("q")
    assert secrets(outer) == {"ana"}
    assert "ana" not in secrets(inner)
    assert by_owner(capturing) == {("ana", "k"): ["U q", "A done"]}


def test_an_engine_that_runs_others_for_somebody_else(capturing):
    """Outside of tools the same: the inner engine's turn is Bob's."""
    outer = ScriptedLLM("done")
    inner = simple(ScriptedLLM("inner answer"), ChatMemoryBuffer.from_defaults())
    engine = job(outer, ChatMemoryBuffer.from_defaults(), inner.chat)
    with synap_integrations.context(user_id="ana", conversation_id="k"):
        engine.chat("q")
    assert by_owner(capturing) == {("ana", "k"): ["U q", "A done"], ("bob", None): OF_BOB}


async def test_the_same_agent_for_somebody_else(capturing):
    """An agent whose tool runs the very same agent for Bob."""
    agent = FunctionAgent(llm=ScriptedLLM(CALL, "inner answer", "done"), tools=[lambda: "unused"])

    async def inner() -> str:
        """Ask."""
        with synap_integrations.context(user_id="bob"):
            return str(await agent.run("x"))

    agent.tools = [FunctionTool.from_defaults(async_fn=inner)]
    with synap_integrations.context(user_id="ana", conversation_id="k"):
        await agent.run("q")
    assert by_owner(capturing) == {("ana", "k"): OF_ANA, ("bob", None): OF_BOB}


async def test_another_conversation_of_the_same_user_inside_a_tool_is_the_tools(capturing):
    """A thread of its own is how a sub-agent keeps its state."""
    made = inner_tool(
        "engine",
        ScriptedLLM("inner answer"),
        lambda: synap_integrations.context(conversation_id="sub"),
        asynchronous=True,
    )
    with synap_integrations.context(user_id="ana", conversation_id="k"):
        await FunctionAgent(llm=ScriptedLLM(CALL, "done"), tools=[made]).run("q")
    assert by_owner(capturing) == {("ana", "k"): OF_ANA}
