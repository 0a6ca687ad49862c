"""`SynapMemory` of LlamaIndex: one object however often it is copied, and a history that survives what there is."""

import asyncio
import copy
import gc
import json
import socket
import time
from datetime import UTC, datetime, timedelta

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from faultproxy import PASS, Fate, FaultProxy
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import ToolSelection
from llama_index.core.workflow import Context as WorkflowContext
from llamaindex_models import ScriptedLLM
from llamaindex_world import conversations, known, simple, transcript

import synap_integrations
from synap_integrations import Synap
from synap_integrations.errors import InvalidInputError
from synap_integrations.guard import incidents
from synap_integrations.llamaindex import SynapMemory
from synap_integrations.model import Context, RecentTurn
from synap_integrations.outbox.operations import all_stored_rows
from synap_integrations.testing import FakeMemory

pytestmark = [pytest.mark.usefixtures("no_turn_left"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def sink():
    return FakeMemory()


def said(role, text, **carried):
    """One message."""
    return ChatMessage(role=role, content=text, additional_kwargs=carried)


def words(messages):
    """Role and text of each message."""
    return [(m.role.value, m.content) for m in messages]


def an_agent(*script):
    """An agent with a tool it does not use."""
    return FunctionAgent(llm=ScriptedLLM(*script), tools=[lambda: "unused"])


async def test_s37_one_context_for_several_runs(sink):
    """A Context that is used again keeps its memory: same conversation, and the first turn is in the second prompt."""
    agent = an_agent("first answer", "second answer")
    context = WorkflowContext(agent)
    await agent.run("one", ctx=context, memory=SynapMemory(sink, user_id="ana"))
    gc.collect()
    await agent.run("two", ctx=context)
    assert transcript(sink) == ["U one", "A first answer", "U two", "A second answer"]
    assert len(conversations(sink)) == 1
    assert agent.llm.asked[-1] == [("user", "one"), ("assistant", "first answer"), ("user", "two")]


async def test_s38_a_context_that_was_written_down(sink):
    """A Context that went through JSON comes back with the very same memory in this process."""
    agent = an_agent("first answer", "second answer")
    context = WorkflowContext(agent)
    await agent.run("one", ctx=context, memory=SynapMemory(sink, user_id="ana", conversation_id="c1"))
    written = json.dumps(context.to_dict())
    del context
    gc.collect()
    await agent.run("two", ctx=WorkflowContext.from_dict(agent, json.loads(written)))
    assert transcript(sink, "c1") == ["U one", "A first answer", "U two", "A second answer"]


def test_copies_are_the_same_object(sink):
    """Copying, deep copying and writing down give back the object itself: two of them would be two histories."""
    memory = SynapMemory(sink, user_id="ana")
    assert copy.copy(memory) is memory
    assert copy.deepcopy({"memory": memory})["memory"] is memory
    assert SynapMemory.from_dict(json.loads(json.dumps(memory.to_dict()))) is memory
    assert SynapMemory.from_dict({**memory.to_dict(), "instance_key": "other"}) is not memory


def test_from_defaults_takes_what_engines_pass(sink):
    """``from_defaults`` takes a history and a limit, and ignores what it does not know."""
    memory = SynapMemory.from_defaults([said("user", "hi")], synap=sink, token_limit=50, llm=None, anything=1)
    assert (words(memory.get_all()), memory.token_limit) == ([("user", "hi")], 50)
    assert SynapMemory.from_defaults(synap=sink, user_id="ana").user_id == "ana"
    with pytest.raises(InvalidInputError, match="user_id is empty"):
        SynapMemory(sink, user_id="")


async def test_every_method_has_both_forms(sink):
    """Synchronous and asynchronous methods do the same."""
    memory = SynapMemory(sink, user_id="ana")
    memory.put(said("user", "a"))
    await memory.aput(said("assistant", "b"))
    memory.put_messages([said("user", "c")])
    await memory.aput_messages([said("assistant", "d")])
    everything = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    assert words(memory.get()) == words(await memory.aget()) == everything
    assert words(memory.get_all()) == words(await memory.aget_all()) == everything
    await memory.aset([said("user", "x")])
    assert words(memory.get_all()) == [("user", "x")]
    memory.set([])
    memory.put(said("user", "y"))
    await memory.areset()
    assert memory.get_all() == []


def test_s49_what_is_put_by_hand(sink):
    """A message that is put by hand is recorded once; an engine's turn with the same words is recorded as well."""
    memory = SynapMemory(sink, user_id="ana", conversation_id="c1")
    memory.put(said("user", "hello"))
    memory.put(said("assistant", "hi"))
    simple(ScriptedLLM("hi"), memory).chat("hello")
    assert transcript(sink) == ["U hello", "A hi", "U hello", "A hi"]


def test_messages_are_copies(sink):
    """Whoever edits what `get` returned does not edit the history."""
    memory = SynapMemory(sink, user_id="ana")
    memory.put(said("user", "mine"))
    given_out = memory.get()[0]
    given_out.blocks[0].text = "yours"
    given_out.additional_kwargs["cache_control"] = True
    assert words(memory.get()) == [("user", "mine")]
    assert memory.get()[0].additional_kwargs == {}


def turns_of(*texts, at=None):
    """Turns as Synap holds them, user and assistant in turn."""
    return tuple(RecentTurn("user" if i % 2 == 0 else "assistant", text, at) for i, text in enumerate(texts))


@pytest.mark.parametrize("how", ["chat", "achat"])
async def test_history_survives_a_restart(how):
    """The first prompt of a new process holds what was said in the old one, and the new question once."""
    sink = FakeMemory(Context(recent_turns=turns_of("old q", "old a", "new q"), source="fetched"))
    engine = simple(llm := ScriptedLLM("new a"), SynapMemory(sink, user_id="ana", conversation_id="c1"))
    await engine.achat("new q") if how == "achat" else engine.chat("new q")
    assert llm.asked == [[("user", "old q"), ("assistant", "old a"), ("user", "new q")]]
    engine.chat("more")
    assert [text for _, text in llm.asked[-1]] == ["old q", "old a", "new q", "new a", "more"]


def test_s18_what_was_reset_does_not_come_back():
    """Turns from before a reset are not history any more, although Synap holds them."""
    sink = FakeMemory(Context(recent_turns=turns_of("old q", "old a", at=datetime.now(UTC) - timedelta(hours=1))))
    memory = SynapMemory(sink, user_id="ana", conversation_id="c1")
    memory.reset()
    again = SynapMemory.from_dict({**memory.to_dict(), "instance_key": "after a restart"})
    again._synap = sink
    assert words(memory.get()) == words(again.get()) == []


class Broken(FakeMemory):
    """A Synap whose every verb breaks down."""

    def recall(self, query, *, scope):
        raise OSError("down")

    def record(self, event, *, scope):
        raise OSError("down")


@pytest.mark.parametrize("how", ["chat", "achat"])
async def test_a_synap_that_is_down_at_the_first_get(how):
    """The engine answers, and each fault is counted."""
    engine = simple(llm := ScriptedLLM("fine"), SynapMemory(Broken(), user_id="ana"))
    answer = await engine.achat("q") if how == "achat" else engine.chat("q")
    assert str(answer) == "fine"
    assert llm.asked == [[("user", "q")]]
    assert "callbacks: OSError" in incidents.counts()
    incidents.clear()


@pytest.mark.parametrize("platform", ["silent", "refusing"])
async def test_s64_a_platform_that_does_not_answer(platform):
    """Every turn is answered and kept on disk; the silence costs one bounded wait and not one for each turn."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        if platform == "refusing":
            server.close()
        with Synap(base_url=address, api_key="k", shutdown_timeout_s=0.1, recall_timeout_s=0.2) as synap:
            engine = simple(ScriptedLLM("fine"), SynapMemory(synap, user_id="ana"))
            began = time.monotonic()
            for at in range(20):
                assert str(await engine.achat(f"q{at}")) == "fine"
            assert time.monotonic() - began < 2.0
            assert synap.status().waiting == synap.status().captured == 40


@pytest.mark.parametrize("how", ["chat", "achat"])
@pytest.mark.parametrize("request_timeout_s", [30.0, 1.0], ids=["in time", "too late"])
async def test_s64_a_platform_that_answers_after_five_seconds(how, request_timeout_s, synap_platform):
    """The answer is there before the platform has been reached, although context was asked for; what was said arrives
    in its order and once, also where each request was given up before its answer came, and was made again.
    """
    simple(ScriptedLLM("loaded"), SynapMemory(FakeMemory(), user_id="ana")).chat("whatever is loaded only once")
    late = Fate(delay_s=5.0)
    with FaultProxy(synap_platform.rest_port) as rest, FaultProxy(synap_platform.grpc_port) as stream:
        rest.usual = stream.usual = late
        address = {"base_url": f"http://127.0.0.1:{rest.port}", "grpc_port": stream.port}
        with Synap(**synap_platform.address | address, request_timeout_s=request_timeout_s) as synap:
            engine = simple(llm := ScriptedLLM("a0", "a1"), SynapMemory(synap, user_id="ana"))
            answer = await asyncio.to_thread(engine.chat, "q0") if how == "chat" else await engine.achat("q0")
            reached = list(synap_platform.requests) + list(synap_platform.opened)
            assert (str(answer), reached, synap.status().waiting) == ("a0", [], 2)
            answer = await asyncio.to_thread(engine.chat, "q1") if how == "chat" else await engine.achat("q1")
            assert (str(answer), [text for _, text in llm.asked[-1]]) == ("a1", ["q0", "a0", "q1"])
            if request_timeout_s < late.delay_s:
                root = synap.settings.root
                await synap_platform.until(lambda: any(row.entry.attempts for row in all_stored_rows(root)[0]), 60.0)
                rest.usual = stream.usual = PASS
            assert await asyncio.to_thread(synap.flush, 120)
            status = synap.status()
            assert (status.captured, status.delivered, status.waiting, status.dead_letters) == (4, 4, 0, 0)
    assert synap_platform.contents() == ["q0", "a0", "q1", "a1"]
    incidents.clear()


def test_one_memory_for_many_people(sink):
    """Inside ``context(...)`` each conversation has its own history, although the memory object is shared."""
    engine = simple(llm := ScriptedLLM("noted"), SynapMemory(sink))
    for name in ("ana", "ben"):
        with synap_integrations.context(user_id=name, conversation_id=f"of {name}"):
            engine.chat(f"I am {name}")
    with synap_integrations.context(user_id="ana", conversation_id="of ana"):
        engine.chat("who am I?")
    assert [text for _, text in llm.asked[-1]] == ["I am ana", "noted", "who am I?"]
    assert transcript(sink, "of ben") == ["U I am ben", "A noted"]


CALLING = {"tool_calls": [ToolSelection(tool_id="t", tool_name="t", tool_kwargs={})]}
EXCHANGES = {
    "q": lambda at: [said("user", f"question {at} " * 3)],
    "a": lambda at: [said("assistant", f"answer {at}")],
    "t": lambda at: [
        said("assistant", "", **CALLING), said("tool", f"r{at}", tool_call_id="t"), said("tool", "r", tool_call_id="u")
    ],
}  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.text("qat", max_size=30), st.integers(1, 200))
def test_s67_a_limit_never_separates_call_and_result(kinds, limit):
    """Whatever the limit, no result comes without the message that asked for it, and the newest words stay."""
    memory = SynapMemory(FakeMemory(), user_id="ana", token_limit=limit)
    memory.set([message for at, kind in enumerate(kinds) for message in EXCHANGES[kind](at)])
    shown = memory.get()
    for at, message in enumerate(shown):
        if message.role.value == "tool":
            assert at
            assert shown[at - 1].role.value == "tool" or "tool_calls" in shown[at - 1].additional_kwargs
    if "q" in kinds:
        last = [m.content for m in memory.get_all() if m.role.value == "user"][-1]
        assert last in [m.content for m in shown]
    assert [m for m in shown if m.role.value == "system"] == []


def test_s67_the_history_is_bounded(sink):
    """Ten thousand messages leave a history of at most two thousand, cut between turns."""
    memory = SynapMemory(sink, user_id="ana")
    memory.set([])
    for at in range(5_000):
        memory.put_messages([said("user", f"q{at}"), said("assistant", f"a{at}")])
    kept = memory.get_all()
    assert len(kept) <= 2_000
    assert kept[0].role.value == "user"
    assert kept[-1].content == "a4999"


def test_get_makes_room_for_the_prefix(sink):
    """What an engine's system prompt takes is not used for history."""
    memory = SynapMemory(sink, user_id="ana", token_limit=34)
    memory.set([said("user", "x" * 40), said("assistant", "y" * 40), said("user", "z" * 8)])
    assert len(memory.get(initial_token_count=0)) > len(memory.get(initial_token_count=20)) == 1


def test_import_history(sink):
    """A conversation from elsewhere is recorded and continued."""
    memory = SynapMemory(sink, user_id="ana", conversation_id="c1")
    memory.import_history([said("user", "hi"), said("assistant", "hello")])
    assert transcript(sink) == ["U hi", "A hello"]
    assert len(memory.get_all()) == 2


def test_capture_can_be_switched_off(sink, monkeypatch):
    """With ``SYNAP_CAPTURE=0`` nothing is recorded; history and context work on."""
    monkeypatch.setenv("SYNAP_CAPTURE", "0")
    sink.context = known("likes tea")
    engine = simple(llm := ScriptedLLM("fine"), SynapMemory(sink, user_id="ana"))
    engine.chat("q")
    assert sink.recorded == []
    assert "likes tea" in llm.asked[0][0][1]
    assert words(engine.chat_history) == [("user", "q"), ("assistant", "fine")]
