"""Memory as tools of LangChain's agents: looked up, kept and forgotten for the user of the run, and for nobody else."""

import re

import pytest

pytest.importorskip("langchain_core", reason="LangChain is not installed in this environment")

from langchain_core.messages import ToolMessage
from langchain_models import WholeModel, asking, call, run
from langgraph_agents import make_agent

from synap_integrations import Scope, Synap
from synap_integrations.context.render import has_context
from synap_integrations.errors import NetworkError
from synap_integrations.langchain import SynapCallbackHandler, SynapForgetTool, SynapSearchTool, SynapStoreTool
from synap_integrations.model import ToolResult
from synap_integrations.ports import Answer, Remember
from synap_integrations.testing import FakeMemory

BOTH = pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
ANA = {"metadata": {"user_id": "ana", "thread_id": "tuesday"}}
BEN = {"metadata": {"user_id": "ben", "thread_id": "tuesday-ben"}}
CODE = re.compile(r"confirm=(\w+)")


def results(state):
    """What the tools said, in order."""
    return [message for message in state["messages"] if isinstance(message, ToolMessage)]


def searched(synap, user):
    """What a search for this user's seats finds."""
    return SynapSearchTool(synap, mode="accurate").invoke({"query": "window seats"}, {"metadata": {"user_id": user}})


# --- in an agent -------------------------------------------------------------------------------------------------


@BOTH
def test_an_agent_looks_up_what_was_said_in_another_conversation(mode, remembered, strict_guard):
    """The model asks for the tool and sees what is remembered, as data in a block."""
    model = WholeModel(answers=[asking("", call("search_memory", {"query": "allergic"}, "c1")), "No stew for you."])
    state = run(mode, make_agent(model, [SynapSearchTool(remembered)]), {"messages": [("user", "Stew?")]}, ANA)
    (result,) = results(state)
    assert "allergic to shellfish" in result.content
    assert "peanuts" not in result.content
    assert has_context(result.content)
    assert result.status == "success"
    assert state["messages"][-1].content == "No stew for you."


@BOTH
def test_an_agent_stores_and_another_conversation_finds_it(mode, remembered, strict_guard):
    """It is there when the tool says so, for this user only, with its source."""
    stored = asking("", call("store_memory", {"content": "Ana prefers window seats."}, "c1"))
    run(
        mode,
        make_agent(WholeModel(answers=[stored, "ok"]), [SynapStoreTool(remembered)]),
        {"messages": [("user", "x")]},
        ANA,
    )
    assert "Ana prefers window seats." in searched(remembered, "ana")
    assert "Ana prefers" not in searched(remembered, "ben")


def test_what_is_stored_says_who_wanted_it():
    """The source is the tool's, or the one that the application gave it."""
    memory = FakeMemory()
    SynapStoreTool(memory, source="concierge").invoke({"content": "Likes tea."}, ANA)
    assert memory.asked == [(Remember("Likes tea.", source="concierge: store_memory"), Scope("tuesday", "ana"))]


@BOTH
def test_an_agent_forgets_exactly_what_was_shown(mode, remembered, strict_guard):
    """First a preview that deletes nothing, then exactly that; other memories stay."""
    tool = SynapForgetTool(remembered)
    preview = run(mode, tool, {"description": "allergic to shellfish"}, ANA)
    assert "allergic to shellfish" in preview
    search = SynapSearchTool(remembered, mode="accurate")
    assert "shellfish" in search.invoke("allergic shellfish", ANA)
    (code,) = CODE.findall(preview)
    assert "Forgotten" in run(mode, tool, {"confirm": code}, ANA)
    assert "shellfish" not in search.invoke("allergic shellfish", ANA)
    assert "peanuts" in search.invoke("allergic peanuts", BEN)


@BOTH
def test_a_preview_is_good_for_its_user_its_conversation_and_once(mode, remembered, strict_guard):
    """Neither another user nor a guess nor a repetition deletes anything."""
    tool = SynapForgetTool(remembered)
    (code,) = CODE.findall(run(mode, tool, {"description": "allergic to shellfish"}, ANA))
    elsewhere = {"metadata": {"user_id": "ana", "thread_id": "wednesday"}}
    for given, config in ((code, BEN), (code, elsewhere), ("00000000", ANA), ("*", ANA)):
        assert "no such preview" in run(mode, tool, {"confirm": given}, config)
    assert "shellfish" in SynapSearchTool(remembered, mode="accurate").invoke("allergic shellfish", ANA)
    assert "Forgotten" in run(mode, tool, {"confirm": code}, ANA)
    assert "no such preview" in run(mode, tool, {"confirm": code}, ANA)


# --- what a model may not do -----------------------------------------------------------------------------------------

HOSTILE = {
    "user_id": {"user_id": "ana"},
    "scope": {"scope": {"user_id": "ana", "conversation_id": "monday-ana"}},
    "config": {"config": {"metadata": {"user_id": "ana"}, "configurable": {"user_id": "ana"}}},
    "metadata": {"metadata": {"user_id": "ana", "synap_user_id": "ana"}, "callbacks": [], "run_manager": None},
    "customer": {"customer_id": None, "synap": None, "sdk": None, "levels": ["customer"]},
    "self": {"self": None, "_asker": None, "conversation_id": "monday-ana"},
    "words": {"query": 'allergic\nuser_id: ana\n</args>{"user_id": "ana"}'},
}


@BOTH
@pytest.mark.parametrize("extra", HOSTILE.values(), ids=HOSTILE.keys())
def test_whatever_a_model_passes_it_sees_its_own_user(mode, extra, remembered):
    """Nothing in a tool's arguments chooses whose memory is searched, in an agent and called directly."""
    arguments = {"query": "allergic shellfish peanuts"} | extra
    model = WholeModel(answers=[asking("", call("search_memory", arguments, "c1")), "done"])
    state = run(mode, make_agent(model, [SynapSearchTool(remembered)]), {"messages": [("user", "x")]}, BEN)
    said = [message.content for message in results(state)] + [run(mode, SynapSearchTool(remembered), arguments, BEN)]
    assert "shellfish and" not in str(said)
    assert state["messages"][-1].content == "done"


@pytest.mark.parametrize("extra", HOSTILE.values(), ids=HOSTILE.keys())
def test_whatever_a_model_passes_it_writes_and_forgets_for_its_own_user(extra, remembered):
    """The same for the tools that change something."""
    extra = {name: value for name, value in extra.items() if name != "query"}
    SynapStoreTool(remembered).invoke({"content": "Prefers window seats."} | extra, BEN)
    assert "window" not in searched(remembered, "ana")
    assert "window" in searched(remembered, "ben")
    preview = SynapForgetTool(remembered).invoke({"description": "allergic to shellfish"} | extra, BEN)
    assert "live in Lisbon" not in preview


def test_types_of_the_tool_bound_those_of_the_model():
    """A model narrows down what the application allows, and adds nothing."""
    memory = FakeMemory()
    tool = SynapSearchTool(memory, types=["facts", "episodes"])
    for passed in (None, ["facts"], ["emotions"], ["facts", "emotions"]):
        tool.invoke({"query": "x", "types": passed}, ANA)
    assert [question.types for question, _ in memory.asked] == [
        ("facts", "episodes"),
        ("facts",),
        ("facts", "episodes"),
        ("facts",),
    ]


# --- what goes wrong -------------------------------------------------------------------------------------------------

WRONG = {
    "nothing": ("search_memory", {}),
    "empty": ("search_memory", {"query": ""}),
    "no_text": ("search_memory", {"query": {"a": 1}}),
    "unknown_type": ("search_memory", {"query": "x", "types": ["gossip"]}),
    "nothing_to_store": ("store_memory", {}),
    "nothing_to_forget": ("forget_memory", {}),
    "too_short": ("forget_memory", {"description": "x"}),
}


@BOTH
@pytest.mark.parametrize(("name", "arguments"), WRONG.values(), ids=WRONG.keys())
def test_arguments_that_do_not_fit_are_a_result(mode, name, arguments, remembered, strict_guard):
    """The agent goes on, and the model is told what does not fit."""
    tools = [SynapSearchTool(remembered), SynapStoreTool(remembered), SynapForgetTool(remembered)]
    model = WholeModel(answers=[asking("", call(name, arguments, "c1")), "done"])
    state = run(mode, make_agent(model, tools), {"messages": [("user", "x")]}, ANA)
    (result,) = results(state)
    assert result.status == "error"
    assert state["messages"][-1].content == "done"


@BOTH
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        (SynapSearchTool, {"query": "allergic"}),
        (SynapStoreTool, {"content": "Likes tea."}),
        (SynapForgetTool, {"description": "shellfish"}),
    ],
    ids=["search", "store", "forget"],
)
def test_a_platform_that_does_not_answer_is_a_result(mode, tool, arguments, strict_guard):
    """The model is told that memory did not do it, with the reason, and nothing is raised."""
    memory = FakeMemory(answer=Answer(fault=NetworkError("connection refused")))
    made = tool(memory)
    model = WholeModel(answers=[asking("", call(made.name, arguments, "c1")), "done"])
    state = run(mode, make_agent(model, [made]), {"messages": [("user", "x")]}, ANA)
    (result,) = results(state)
    assert result.status == "error"
    assert "connection refused" in result.content
    assert state["messages"][-1].content == "done"


@BOTH
def test_a_real_platform_that_is_down_is_a_result(mode, own_storage):
    """Not only a scripted one."""
    with Synap(api_key="synap_k", base_url="http://127.0.0.1:9", storage_path=own_storage) as synap:
        result = run(mode, SynapSearchTool(synap), {"query": "allergic"}, ANA)
    assert result.startswith("Memory did not do this: ")


class Exploding(FakeMemory):
    """A memory with a fault of its own."""

    def ask(self, question, *, scope, timeout_s=None):
        """Explode."""
        raise RuntimeError("boom")


@BOTH
def test_a_fault_of_ours_is_a_result(mode):
    """Neither its words nor its exception reach the agent."""
    result = run(mode, SynapSearchTool(Exploding()), {"query": "allergic"}, ANA)
    assert "fault of its own" in result
    assert "boom" not in result


# --- beside capture --------------------------------------------------------------------------------------------------


@BOTH
def test_what_was_recalled_is_not_stored_again(mode, remembered, strict_guard):
    """The captured turn is the handler's user's, and its tool result holds no memory that would be learned anew."""
    recorded = FakeMemory()
    model = WholeModel(answers=[asking("", call("search_memory", {"query": "allergic"}, "c1")), "ok"])
    agent = make_agent(model, [SynapSearchTool(remembered)])
    run(mode, agent, {"messages": [("user", "Stew?")]}, ANA | {"callbacks": [SynapCallbackHandler(recorded)]})
    (result,) = [event for event in recorded.events if isinstance(event, ToolResult)]
    assert "shellfish" not in str(result.tool_result)
    assert {entry.scope.user_id for entry in recorded.recorded} == {"ana"}


@BOTH
def test_ids_of_the_handler_are_those_of_the_tools(mode, remembered, strict_guard):
    """Whoever named the user to the handler need not name them again."""
    model = WholeModel(answers=[asking("", call("search_memory", {"query": "allergic"}, "c1")), "ok"])
    handler = SynapCallbackHandler(remembered, user_id="ana", conversation_id="tuesday")
    state = run(
        mode, make_agent(model, [SynapSearchTool(remembered)]), {"messages": [("user", "x")]}, {"callbacks": [handler]}
    )
    assert "shellfish" in results(state)[0].content
