"""One captured run calls runs for several people: each has a turn of their own, and nobody sees another's memory."""

import asyncio
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda, chain
from langchain_core.tools import tool
from langchain_models import ScriptedModel, add, asking, call, echo, transcript
from langgraph.graph import END, START, StateGraph
from langgraph_agents import make_agent

import synap_integrations
from synap_integrations import Scope, Synap
from synap_integrations.langchain import SynapCallbackHandler
from synap_integrations.langchain.attach import attach
from synap_integrations.langchain.lookup.lookup_scope import scope_for
from synap_integrations.langchain.prompts.auto_inject import inject
from synap_integrations.model import UserMessage
from synap_integrations.testing import FakeMemory

pytestmark = [
    pytest.mark.usefixtures("no_incidents"),
    pytest.mark.filterwarnings("ignore:.*create_react_agent.*"),
]
JOBS = (("ana", "c-ana", "I am Ana, my PIN is 1111"), ("bob", "c-bob", "What is my PIN?"))
EACH_OF_HIS_OWN = {
    ("c-ana", "ana"): ["U I am Ana, my PIN is 1111", "A re: I am Ana, my PIN is 1111"],
    ("c-bob", "bob"): ["U What is my PIN?", "A re: What is my PIN?"],
}


@pytest.fixture
def attached(memory):
    """Everything that runs is recorded."""
    detach = attach(memory)
    yield memory
    detach()


def by_owner(memory: FakeMemory) -> dict[tuple[str | None, str | None], list[str]]:
    """What was recorded, by conversation and user."""
    found: dict[tuple[str | None, str | None], list[str]] = {}
    for entry in memory.recorded:
        single = FakeMemory()
        single.record(entry.event, scope=entry.scope)
        found.setdefault((entry.scope.conversation_id, entry.scope.user_id), []).extend(transcript(single))
    return found


def agent(model: Any = None) -> Any:
    return make_agent(model or echo(), [add])


def said_in(how: str, runnable: Any, user: str, conversation: str, text: str) -> None:
    """Run it for this user, who is named in one of the ways an application has."""
    inputs = {"messages": [HumanMessage(text)]}
    config: dict[str, Any] = {
        "metadata": {"metadata": {"user_id": user, "conversation_id": conversation}},
        "thread and metadata": {"metadata": {"user_id": user}, "configurable": {"thread_id": conversation}},
        "configurable": {"configurable": {"thread_id": conversation, "user_id": user}},
        "block": {},
    }[how]
    block = synap_integrations.context(user_id=user, conversation_id=conversation) if how == "block" else nullcontext()
    with block:
        runnable.invoke(inputs, config)


WAYS = ["metadata", "thread and metadata", "configurable", "block"]


def work_list(around: str, work: Any) -> Any:
    """An outer run that works through a list: a chain, or a node of a graph."""
    if around == "chain":
        return RunnableLambda(work)
    graph = StateGraph(dict)
    graph.add_node("all of them", work)
    graph.add_edge(START, "all of them")
    graph.add_edge("all of them", END)
    return graph.compile()


@pytest.mark.parametrize("around", ["chain", "graph"])
@pytest.mark.parametrize("how", WAYS)
def test_a_job_over_many_users_is_a_turn_of_each(how, around, attached) -> None:
    """Zero code: what each user said and was answered is in their own conversation, and the job itself is nobody's."""
    inner = agent()

    def work(state):
        for user, conversation, text in JOBS:
            said_in(how, inner, user, conversation, text)
        return {"done": True}

    work_list(around, work).invoke({"jobs": list(JOBS)})
    assert by_owner(attached) == EACH_OF_HIS_OWN


@pytest.mark.parametrize("around", ["chain", "graph"])
@pytest.mark.parametrize("how", WAYS)
def test_users_inside_somebodys_turn_have_turns_of_their_own(how, around, memory) -> None:
    """The outer turn is told under its own user, without the words of those it works for."""

    def work(state):
        for user, conversation, text in JOBS:
            said_in(how, agent(), user, conversation, text)
        return {"output": "all done"}

    config = {
        "callbacks": [SynapCallbackHandler(memory)],
        "configurable": {"thread_id": "desk", "user_id": "clerk"},
        "metadata": {} if how == "configurable" else {"user_id": "clerk", "thread_id": "desk"},
    }
    work_list(around, work).invoke({"input": "greet everybody"}, config)
    found = by_owner(memory)
    assert found.pop(("desk", "clerk")) == ["U greet everybody", "A all done"]
    assert found == EACH_OF_HIS_OWN


def test_a_batch_inside_a_chain_is_a_turn_of_each(attached) -> None:
    """Threads of a batch do not mix users either."""

    @chain
    def nightly(jobs):
        configs = [{"metadata": {"user_id": user, "thread_id": conversation}} for user, conversation, _ in jobs]
        agent().batch([{"messages": [HumanMessage(text)]} for *_, text in jobs], configs)
        return "done"

    nightly.invoke(list(JOBS))
    assert by_owner(attached) == EACH_OF_HIS_OWN


def test_users_of_one_block_each_do_not_share_a_conversation(attached) -> None:
    """``with context(user_id=…)`` without a conversation: each user has one of their own, not one together."""

    @chain
    def nightly(jobs):
        for user, _, text in jobs:
            with synap_integrations.context(user_id=user):
                agent().invoke({"messages": [HumanMessage(text)]})
        return "done"

    nightly.invoke(list(JOBS))
    owners = list(by_owner(attached))
    assert [user for _, user in owners] == ["ana", "bob"]
    assert len({conversation for conversation, _ in owners}) == 2


def test_another_user_does_not_get_the_conversation_around_them(memory) -> None:
    """A run that names a user inside somebody's conversation is not filed there: the thread it inherits is not its."""
    inner = RunnableLambda(lambda text: echo().invoke(text, {"metadata": {"user_id": "bob"}}).content)
    config = {"callbacks": [SynapCallbackHandler(memory)], "metadata": {"user_id": "ana", "thread_id": "c-ana"}}
    inner.invoke("hi", config)
    found = by_owner(memory)
    assert found.pop(("c-ana", "ana")) == ["U hi", "A re: hi"]
    (((conversation, user), rows),) = found.items()
    assert (user, rows) == ("bob", ["U hi", "A re: hi"])
    assert conversation != "c-ana"


def test_threads_that_stand_for_people_are_kept_apart(memory) -> None:
    """Where nobody names users, a thread is a person: an inner run with another one is no part of the outer turn."""

    def work(state):
        for _, conversation, text in JOBS:
            agent().invoke({"messages": [HumanMessage(text)]}, {"configurable": {"thread_id": conversation}})
        return {"output": "done"}

    config = {"callbacks": [SynapCallbackHandler(memory)], "configurable": {"thread_id": "nightly"}}
    work_list("graph", work).invoke({"input": "go"}, config)
    assert transcript(memory, "nightly") == ["U go", "A done"]
    assert transcript(memory, "c-bob") == ["U What is my PIN?", "A re: What is my PIN?"]


@pytest.mark.parametrize("place", ["tool", "node"])
def test_a_sub_agent_with_a_thread_of_its_own_is_no_turn(place, memory) -> None:
    """For the same user, another thread is where a sub-agent keeps its state: the outer conversation has the turn."""
    sub_agent, config = agent(), {"configurable": {"thread_id": "scratch"}}

    @tool
    def delegate(task: str) -> str:
        """Ask another agent."""
        return sub_agent.invoke({"messages": [HumanMessage(task)]}, config)["messages"][-1].content

    outer = (
        make_agent(ScriptedModel(answers=[asking("", call("delegate", {"task": "dig"})), "found it"]), [delegate])
        if place == "tool"
        else work_list("graph", lambda state: {"output": delegate.func("dig") and "found it"})
    )
    inputs = {"messages": [HumanMessage("look")]} if place == "tool" else {"input": "look"}
    handler = SynapCallbackHandler(memory)
    outer.invoke(
        inputs, {"callbacks": [handler], "metadata": {"user_id": "ana"}, "configurable": {"thread_id": "c-ana"}}
    )
    found = by_owner(memory)
    assert list(found) == [("c-ana", "ana")]
    assert (found["c-ana", "ana"][0], found["c-ana", "ana"][-1]) == ("U look", "A found it")


def test_a_handler_for_each_inner_run_is_heard(attached) -> None:
    """Zero code is on, and the application hands each inner run a handler of its own: each has its own user."""
    own = FakeMemory()

    @chain
    def nightly(jobs):
        for user, conversation, text in jobs:
            handler = SynapCallbackHandler(own, user_id=user, conversation_id=conversation)
            echo().invoke(text, {"callbacks": [handler]})
        return "done"

    nightly.invoke(list(JOBS))
    assert by_owner(own) == EACH_OF_HIS_OWN
    assert attached.recorded == []


@pytest.fixture
def prompts():
    """A Synap that knows a secret of Ana's, in every prompt, and the prompts."""
    shown: list[str] = []

    class Watched(ScriptedModel):
        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            shown.append(str(messages[-1].content))
            return super()._generate(messages, stop, run_manager, **kwargs)

    with Synap(base_url="local", storage_path=Path(":memory:"), recall_timeout_s=2.0) as synap:
        synap.record(UserMessage("My locker PIN is 1111."), scope=Scope("monday", "ana"))
        assert synap.flush(60)
        detach, stop = attach(synap), inject(synap)
        yield Watched(answers=["yes"] * 9), shown
        stop()
        detach()


@pytest.mark.parametrize("around", ["nobody", "ana"])
def test_nobody_is_shown_the_memory_of_another_user_of_the_same_job(around, prompts) -> None:
    """Zero code with injection: Bob asks for what Ana has said, in a run that began for her, and is not told."""
    model, shown = prompts
    inner = agent(model)

    @chain
    def nightly(jobs):
        for user, conversation, _ in jobs:
            config = {"metadata": {"user_id": user}, "configurable": {"thread_id": conversation}}
            inner.invoke({"messages": [HumanMessage("What is my locker PIN?")]}, config)
        return "done"

    nightly.invoke(list(JOBS), {"metadata": {"user_id": "ana", "thread_id": "outer"}} if around == "ana" else None)
    assert ["1111" in prompt for prompt in shown] == [True, False]


def test_code_inside_a_turn_that_names_somebody_else_asks_for_them(memory) -> None:
    """A lookup in a block for Bob, inside a captured run of Ana's, is Bob's, and not in her conversation."""
    asked = []

    def look(text):
        asked.append(scope_for(Scope()))
        with synap_integrations.context(user_id="bob"):
            asked.append(scope_for(Scope()))
        asked.append(scope_for(Scope(user_id="bob")))
        return "done"

    config = {"callbacks": [SynapCallbackHandler(memory)], "metadata": {"user_id": "ana", "conversation_id": "k"}}
    RunnableLambda(look).invoke("q", config)
    assert asked == [Scope("k", "ana"), Scope(None, "bob"), Scope(None, "bob")]


@pytest.mark.parametrize("named", ["thread", "block", "synap_root"])
def test_work_that_outlives_its_turn_and_says_whose_it_is_is_a_turn(named, memory) -> None:
    """A tool starts a task that runs an agent later, for a conversation of its own: that is recorded there."""
    reminder, tasks, over = agent(), [], asyncio.Event()
    config: dict[str, Any] = {
        "thread": {"configurable": {"thread_id": "later"}},
        "block": {},
        "synap_root": {"metadata": {"synap_root": True, "conversation_id": "later"}},
    }[named]

    async def later() -> None:
        await over.wait()
        block = synap_integrations.context(conversation_id="later") if named == "block" else nullcontext()
        with block:
            await reminder.ainvoke({"messages": [HumanMessage("call mum")]}, config)

    @tool
    async def remind(text: str) -> str:
        """Remind the user later."""
        tasks.append(asyncio.create_task(later()))
        return "scheduled"

    async def main() -> None:
        outer = make_agent(ScriptedModel(answers=[asking("", call("remind", {"text": "mum"})), "ok"]), [remind])
        handler = SynapCallbackHandler(memory)
        await outer.ainvoke(
            {"messages": [HumanMessage("remind me")]},
            {"callbacks": [handler], "configurable": {"thread_id": "c"}, "metadata": {"user_id": "ana"}},
        )
        over.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert transcript(memory, "c")[-1] == "A ok"
    assert by_owner(memory)["later", "ana"] == ["U call mum", "A re: call mum"]
