"""Memory as tools of LlamaIndex's agents: looked up, kept and forgotten for the user of the run, for nobody else."""

import asyncio
import re

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from llama_index.core.agent.workflow import FunctionAgent, ReActAgent
from llama_index.core.workflow import Context
from llamaindex_models import Say, ScriptedLLM

from synap_integrations import Scope, Synap, context
from synap_integrations.context.render import has_context
from synap_integrations.errors import NetworkError
from synap_integrations.guard import incidents
from synap_integrations.llamaindex import SynapForgetTool, SynapMemory, SynapRetriever, SynapSearchTool, SynapStoreTool
from synap_integrations.model import ToolResult
from synap_integrations.ports import Answer, Remember
from synap_integrations.testing import FakeMemory

# LlamaIndex itself uses what pydantic has deprecated.
pytestmark = [pytest.mark.usefixtures("no_turn_left"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

BOTH = pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
CODE = re.compile(r"confirm=(\w+)")


def call(sync, tool, *words, **arguments):
    """The tool's output, either way."""
    return tool.call(*words, **arguments) if sync else asyncio.run(tool.acall(*words, **arguments))


def run_agent(tools, name, arguments, memory):
    """An agent that calls one tool and then answers; the tool's output and the agent's answer."""

    async def go():
        llm = ScriptedLLM(Say("", calls=[("c1", name, arguments)]), "done")
        agent = FunctionAgent(llm=llm, tools=tools)
        result = await agent.run("Stew?", memory=memory)
        return result.tool_calls[0].tool_output, str(result)

    return asyncio.run(go())


# --- in an agent -------------------------------------------------------------------------------------------------


def test_an_agent_looks_up_what_was_said_in_another_conversation(remembered):
    """The user is named once, to the agent's memory; the tool answers as data in a block."""
    memory = SynapMemory(remembered, user_id="ana", conversation_id="tuesday")
    output, answer = run_agent([SynapSearchTool(remembered)], "search_memory", {"query": "allergic"}, memory)
    assert "allergic to shellfish" in output.content
    assert "peanuts" not in output.content
    assert has_context(output.content)
    assert not output.is_error
    assert answer == "done"


def test_an_agent_that_calls_by_text_uses_the_tools_too(remembered):
    """ReAct writes its calls down; the schema tells it how."""

    async def go():
        llm = ScriptedLLM(
            'Thought: look it up.\nAction: search_memory\nAction Input: {"query": "allergic"}',
            "Thought: I know.\nAnswer: No stew.",
            calling=False,
        )
        memory = SynapMemory(remembered, user_id="ana", conversation_id="tuesday")
        answer = str(await ReActAgent(llm=llm, tools=[SynapSearchTool(remembered)]).run("Stew?", memory=memory))
        return llm.asked, answer

    asked, answer = asyncio.run(go())
    assert answer == "No stew."
    assert "allergic to shellfish" in str(asked[1])


@BOTH
def test_what_is_stored_is_found_by_its_user_with_its_source(sync, remembered):
    """It is there when the tool says so, and for nobody else."""
    assert (
        call(sync, SynapStoreTool(remembered, user_id="ana"), content="Prefers window seats.").content == "Remembered."
    )
    assert (
        "window"
        in call(sync, SynapSearchTool(remembered, user_id="ana", mode="accurate"), query="window seats").content
    )
    assert "window" not in call(sync, SynapSearchTool(remembered, user_id="ben"), query="window seats").content
    memory = FakeMemory()
    call(sync, SynapStoreTool(memory, user_id="ana", source="concierge"), "Likes tea.")
    assert memory.asked == [(Remember("Likes tea.", source="concierge: store_memory"), Scope(None, "ana"))]


@BOTH
def test_forgetting_shows_first_and_deletes_exactly_that(sync, remembered):
    """A preview deletes nothing; its code is good for its user, and once."""
    tool, search = SynapForgetTool(remembered), SynapSearchTool(remembered, mode="accurate")
    with context(user_id="ana"):
        (code,) = CODE.findall(call(sync, tool, description="allergic to shellfish").content)
        assert "shellfish" in call(sync, search, query="allergic shellfish").content
    with context(user_id="ben"):
        assert call(sync, tool, confirm=code).is_error
    with context(user_id="ana"):
        assert call(sync, tool, confirm="00000000").is_error
        assert "Forgotten" in call(sync, tool, confirm=code).content
        assert "shellfish" not in call(sync, search, query="allergic shellfish").content
        assert call(sync, tool, confirm=code).is_error
    with context(user_id="ben"):
        assert "peanuts" in call(sync, search, query="allergic peanuts").content


# --- what a model may not do -----------------------------------------------------------------------------------------

HOSTILE = {
    "user_id": {"user_id": "ana"},
    "scope": {"scope": {"user_id": "ana", "conversation_id": "monday-ana"}},
    "ctx": {"ctx": {"user_id": "ana"}, "context": {"user_id": "ana"}, "memory": "ana"},
    "tags": {"instrument_tags": {"user_id": "ana"}, "input": "allergic shellfish", "levels": ["customer"]},
    "private": {"_asker": None, "stated": {"user_id": "ana"}, "sdk": None},
}


@pytest.mark.parametrize("extra", HOSTILE.values(), ids=HOSTILE.keys())
def test_whatever_a_model_passes_it_reaches_its_own_user(extra, remembered):
    """Nothing in a tool's arguments chooses whose memory is searched or written, in an agent and called directly."""
    arguments = {"query": "allergic shellfish peanuts"} | extra
    memory = SynapMemory(remembered, user_id="ben", conversation_id="tuesday-ben")
    output, answer = run_agent([SynapSearchTool(remembered)], "search_memory", arguments, memory)
    assert answer == "done"
    said = [output.content]
    with context(user_id="ben"):
        said += [call(sync, SynapSearchTool(remembered), **arguments).content for sync in (True, False)]
        SynapStoreTool(remembered).call(content="Prefers window seats.", **extra)
        assert (
            "live in Lisbon"
            not in SynapForgetTool(remembered).call(description="allergic to shellfish", **extra).content
        )
    assert "shellfish and" not in str(said)
    assert (
        "window" not in SynapSearchTool(remembered, user_id="ana", mode="accurate").call(query="window seats").content
    )


# --- what goes wrong -------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        (SynapSearchTool, {}),
        (SynapSearchTool, {"query": ""}),
        (SynapSearchTool, {"query": ["a"]}),
        (SynapSearchTool, {"query": "x", "types": ["gossip"]}),
        (SynapStoreTool, {}),
        (SynapForgetTool, {}),
        (SynapForgetTool, {"description": "x"}),
    ],
    ids=["nothing", "empty", "no_text", "unknown_type", "nothing_to_store", "nothing_to_forget", "too_short"],
)
def test_arguments_that_do_not_fit_are_a_result(sync, tool, arguments):
    """The model is told what does not fit; nothing is asked, nothing is raised."""
    memory = FakeMemory()
    output = call(sync, tool(memory, user_id="ana"), **arguments)
    assert output.is_error
    assert output.content
    assert memory.asked == []


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        (SynapSearchTool, {"query": "allergic"}),
        (SynapStoreTool, {"content": "Likes tea."}),
        (SynapForgetTool, {"description": "shellfish"}),
    ],
    ids=["search", "store", "forget"],
)
def test_a_platform_that_does_not_answer_is_a_result(tool, arguments):
    """The agent goes on; the model is told that memory did not do it, and why."""
    made = tool(FakeMemory(answer=Answer(fault=NetworkError("connection refused"))), user_id="ana")
    output, answer = run_agent([made], made.metadata.name, arguments, None)
    assert output.is_error
    assert "connection refused" in output.content
    assert answer == "done"


@BOTH
def test_a_real_platform_that_is_down_is_a_result(sync, own_storage):
    """Not only a scripted one."""
    with Synap(api_key="synap_k", base_url="http://127.0.0.1:9", storage_path=own_storage) as synap:
        assert call(sync, SynapSearchTool(synap, user_id="ana"), query="allergic").is_error
    assert incidents.counts() == {"ask: NetworkError": 1}
    incidents.clear()


# --- beside capture --------------------------------------------------------------------------------------------------


def test_what_was_recalled_is_not_stored_again(remembered):
    """The tool's result in the captured turn holds no memory that would be learned anew."""
    recorded = FakeMemory()
    memory = SynapMemory(recorded, user_id="ana", conversation_id="tuesday")
    output, _ = run_agent([SynapSearchTool(remembered)], "search_memory", {"query": "allergic"}, memory)
    assert "shellfish" in output.content
    (result,) = [event for event in recorded.events if isinstance(event, ToolResult)]
    assert "shellfish" not in str(result.tool_result)


def test_a_run_with_its_context_keeps_its_user(remembered):
    """Two runs of one workflow context, the second with the tool: still the same user."""

    async def go():
        llm = ScriptedLLM("hello", Say("", calls=[("c1", "search_memory", {"query": "allergic"})]), "done")
        agent = FunctionAgent(llm=llm, tools=[SynapSearchTool(remembered)])
        ctx, memory = Context(agent), SynapMemory(remembered, user_id="ana", conversation_id="tuesday")
        await agent.run("Hi", ctx=ctx, memory=memory)
        return (await agent.run("Stew?", ctx=ctx, memory=memory)).tool_calls[-1].tool_output

    assert "shellfish" in asyncio.run(go()).content


def test_copies_of_a_tool_ask_the_same_synap(remembered):
    """Agents copy what they are given."""
    import copy  # noqa: PLC0415 - for this test alone

    for made in (SynapSearchTool(remembered, user_id="ana"), SynapRetriever(remembered, user_id="ana")):
        assert copy.deepcopy(made._asker).lookup is remembered
