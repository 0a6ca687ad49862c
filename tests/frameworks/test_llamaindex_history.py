"""The history of LlamaIndex's `SynapMemory`: one for each conversation of the process, read back from Synap when it is
first needed, whatever the platform pushes, and begun anew when it is told to.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llamaindex_models import Say, ScriptedLLM
from llamaindex_world import ENGINES, simple

import synap_integrations
from synap_integrations import Scope, Synap
from synap_integrations.context.render import without_context
from synap_integrations.guard import incidents
from synap_integrations.llamaindex import SynapMemory
from synap_integrations.llamaindex.conversations import MAX_CONVERSATIONS, MAX_MESSAGES, conversations_of
from synap_integrations.model import AssistantMessage, RecentTurn, UserMessage
from synap_integrations.ports import Answer, ReadConversation
from synap_integrations.testing import FakeMemory

pytestmark = [pytest.mark.usefixtures("no_turn_left"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]
EQUIPMENT = Path(__file__).parents[1] / "equipment"
UUID = "2f7b1c8e-9d3a-4b52-8c11-5d0e6a7f9b34"
WAYS = pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])


@pytest.fixture
def sink():
    return FakeMemory()


@pytest.fixture
def synap(synap_platform):
    """A Synap with the settings that everybody has, over a platform that pushes nothing."""
    with Synap(**synap_platform.address) as synap:
        yield synap


def said(role, text, **carried):
    """One message."""
    return ChatMessage(role=role, content=text, additional_kwargs=carried)


def words(messages):
    """Role and text of each message, without context."""
    return [(m.role.value, without_context(m.content or "").strip()) for m in messages]


def texts(prompt):
    """The texts of a prompt, without context."""
    return [without_context(content or "").strip() for _, content in prompt]


def told(*contents, at=None):
    """What a platform answers: these turns, user and assistant in turn."""
    return Answer(turns=tuple(RecentTurn("assistant" if i % 2 else "user", c, at) for i, c in enumerate(contents)))


def say(synap, conversation, user, *contents):
    """A conversation that took place before, and has arrived."""
    for at, content in enumerate(contents):
        event = AssistantMessage(content) if at % 2 else UserMessage(content)
        synap.record(event, scope=Scope(conversation, user))
    assert synap.flush(20)


async def chat(engine, sync, message):
    """One turn, in a thread or on the loop."""
    return await asyncio.to_thread(engine.chat, message) if sync else await engine.achat(message)


def mine(synap, **ids):
    """A memory object for Ana's trip."""
    return SynapMemory(synap, **{"user_id": "ana", "conversation_id": "trip"} | ids)


# --- one history for each conversation of the process ------------------------------------------------------------


@WAYS
@pytest.mark.parametrize("name", ["simple", "context", "condense_plus_context"])
async def test_a_memory_object_for_each_request(name, sync, sink):
    """A web server that makes engine and memory for each request has the whole conversation in each prompt."""
    for at in range(4):
        engine = ENGINES[name](llm := ScriptedLLM(f"a{at}"), mine(sink))
        await chat(engine, sync, f"q{at}")
    seen = [text for text in texts(llm.asked[-1]) if len(text) == 2]
    assert seen == ["q0", "a0", "q1", "a1", "q2", "a2", "q3"]
    assert len(sink.asked) == 1


async def test_a_memory_object_for_each_run_of_an_agent(sink):
    """The same for agents: the calls of a tool and their results are in the next run's prompt, together."""

    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    script = [[Say("", calls=[("c1", "add", {"a": 2, "b": 3})]), "five"], ["six"], ["seven"]]
    for at, answers in enumerate(script):
        agent = FunctionAgent(llm=ScriptedLLM(*answers), tools=[add])
        await agent.run(f"q{at}", memory=mine(sink))
    roles = [role for role, _ in agent.llm.asked[-1]]
    assert roles == ["user", "assistant", "tool", "assistant", "user", "assistant", "user"]
    short = mine(sink, token_limit=20).get()
    assert [m for m in short if m.role.value == "tool"] == []
    assert short[-1].content == "seven"


def test_objects_that_share_a_history_count_tokens_for_themselves(sink):
    """Each memory object keeps its own limit, in tokens as it counts them."""
    mine(sink).set([said("user", "one two three"), said("assistant", "four"), said("user", "five")])
    assert len(mine(sink, token_limit=11, tokenizer_fn=str.split).get()) == 1
    assert len(mine(sink, token_limit=100, tokenizer_fn=str.split).get()) == 3
    assert len(mine(sink, token_limit=10, tokenizer_fn=list).get()) == 1


def test_histories_of_different_people_stay_apart(sink):
    """The same name of a conversation, another user or tenant, or another Synap: another history."""
    mine(sink).put(said("user", "secret"))
    assert mine(sink, user_id="ben").get_all() == []
    assert mine(sink, customer_id="acme").get_all() == []
    assert mine(FakeMemory()).get_all() == []
    assert mine(sink, session_id="another visit").get_all() != []


def test_what_a_process_keeps_is_bounded(sink):
    """Histories that no memory object holds are let go, the oldest first; what an object holds stays."""
    kept = mine(sink, conversation_id="kept")
    kept.put(said("user", "still here"))
    for at in range(MAX_CONVERSATIONS + 50):
        mine(sink, conversation_id=f"c{at}").put(said("user", "q"))
    conversations = conversations_of(sink)
    assert len(conversations._recent) == MAX_CONVERSATIONS
    assert words(mine(sink, conversation_id="kept").get_all()) == [("user", "still here")]
    assert mine(sink, conversation_id="c0").get_all() == []
    for at in range(60):
        mine(sink, conversation_id=f"long{at}").set([said("user", "q")] * 2_000)
    assert sum(map(len, conversations._recent.values())) <= MAX_MESSAGES + 2_000


def test_a_synap_that_nothing_can_be_kept_for():
    """A memory of the application's own that has no hash keeps one history for each object, and nothing breaks."""

    class Unhashable(FakeMemory):
        __hash__ = None

    memory = mine(Unhashable())
    memory.put(said("user", "q"))
    assert words(memory.get()) == [("user", "q")]


# --- what was said before ----------------------------------------------------------------------------------------


@WAYS
@pytest.mark.parametrize("mode", ["inject", "off", "quarantine"])
async def test_a_platform_that_pushes_nothing(sync, mode, synap_platform, tmp_path):
    """Another process finds the conversation over a real socket, also where context is kept out of prompts; it asks
    once.
    """
    with Synap(**synap_platform.address, storage_path=tmp_path / "one") as synap:
        say(synap, "trip", "ana", "old q", "old a")
    with Synap(**synap_platform.address, storage_path=tmp_path / "two", context=mode, lookup_timeout_s=30.0) as synap:
        for said_now in ("new q", "more"):
            await chat(simple(llm := ScriptedLLM("new a"), mine(synap)), sync, said_now)
        assert words(mine(synap).get_all()) == words(await mine(synap).aget_all())
        assert texts(llm.asked[-1]) == ["old q", "old a", "new q", "new a", "more"]
    assert sum("context-for-prompt" in path for path in synap_platform.paths()) == 1


async def test_an_agent_in_another_process(synap_platform, tmp_path):
    """An agent's first run in a new process has what was said in the one before."""
    with Synap(**synap_platform.address, storage_path=tmp_path / "one") as synap:
        say(synap, "trip", "ana", "old q", "old a")
    with Synap(**synap_platform.address, storage_path=tmp_path / "two", lookup_timeout_s=30.0) as synap:
        for at in range(2):
            agent = FunctionAgent(llm=ScriptedLLM(f"a{at}"), tools=[lambda: "unused"])
            await agent.run(f"q{at}", memory=mine(synap))
    assert texts(agent.llm.asked[-1]) == ["old q", "old a", "q0", "a0", "q1"]


def test_a_history_to_look_at(synap_platform, tmp_path):
    """A page that shows the conversation before anything is said shows all of it."""
    with Synap(**synap_platform.address, storage_path=tmp_path / "one") as synap:
        say(synap, "trip", "ana", "old q", "old a")
    with Synap(**synap_platform.address, storage_path=tmp_path / "two", lookup_timeout_s=30.0) as synap:
        assert words(simple(ScriptedLLM("a"), mine(synap)).chat_history) == [("user", "old q"), ("assistant", "old a")]


@pytest.mark.parametrize(("platform", "name"), [("pushes nothing", "trip"), ("is local", "trip"), ("is local", UUID)])
def test_the_conversation_of_somebody_else_is_not_read(platform, name, synap_platform):
    """A conversation of the same name, of another user or of a user nobody named, is another conversation. Under a UUID
    that is so at the local Synap; the wire of the platform has no place for the user.
    """
    where = synap_platform.address if platform == "pushes nothing" else {"base_url": "local"}
    with Synap(**where, lookup_timeout_s=30.0) as synap:
        say(synap, name, "ana", "ana's secret", "noted")
        for ids in ({"user_id": "ben"}, {"user_id": None}, {"customer_id": "acme"}):
            memory = mine(synap, **{"conversation_id": name} | ids)
            simple(llm := ScriptedLLM("a"), memory).chat("what do you know?")
            assert "secret" not in str(llm.asked)
        assert "secret" in str(words(mine(synap, conversation_id=name).get()))


@WAYS
async def test_a_platform_that_is_down_at_the_first_get(sync, sink, monkeypatch):
    """The turn goes on; conversations of the next seconds do not wait for it; when it is back, the past is there once,
    although answers are kept here with all their steps.
    """
    now = [100.0]
    monkeypatch.setattr("synap_integrations.runtime.earlier_turns.time.monotonic", lambda: now[0])
    sink.answer = Answer(fault=synap_integrations.NetworkTimeoutError("down"))
    memory = mine(sink)
    await chat(simple(llm := ScriptedLLM("a0"), memory), sync, "q0")
    await chat(simple(ScriptedLLM("x"), mine(sink, conversation_id="other")), sync, "y")
    memory.put(said("assistant", "Thought: steps. Answer: a0"))
    assert (len(sink.asked), texts(llm.asked[-1])) == (1, ["q0"])
    now[0] += 6.0
    sink.answer = told("old q", "old a", "q0", "a0", "q1")
    await chat(simple(llm := ScriptedLLM("a1"), memory), sync, "q1")
    assert texts(llm.asked[-1]) == ["old q", "old a", "q0", "a0", "Thought: steps. Answer: a0", "q1"]
    await chat(simple(ScriptedLLM("a2"), memory), sync, "q2")
    assert len(sink.asked) == 2


@WAYS
async def test_a_platform_that_does_not_answer(sync, monkeypatch):
    """With the settings that everybody has, each of many conversations is answered; the silence costs one wait."""
    monkeypatch.setattr("synap_integrations.runtime.earlier_turns._FIRST_PAUSE_S", 600.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with Synap(base_url=address, api_key="k", shutdown_timeout_s=0.1) as synap:
            for at in range(5):
                engine = simple(llm := ScriptedLLM("fine"), mine(synap, conversation_id=f"c{at}"))
                await chat(engine, sync, "q")
                assert texts(llm.asked[-1]) == ["q"]
    assert incidents.counts() == {"ask: NetworkTimeoutError": 1}
    incidents.clear()


async def test_an_event_loop_goes_on_while_the_platform_is_asked(sink):
    """`aget` waits without holding up the loop, and `get` called on a loop is given the shorter time."""
    arrived, given = asyncio.Event(), []

    class Slow(FakeMemory):
        def ask(self, question, *, scope, timeout_s=None):
            given.append(timeout_s)
            return Answer()

        async def aask(self, question, *, scope, timeout_s=None):
            await arrived.wait()
            return told("old q", "old a")

    reading = asyncio.create_task(mine(slow := Slow()).aget())
    await asyncio.sleep(0)
    assert not reading.done()
    arrived.set()
    assert words(await reading) == [("user", "old q"), ("assistant", "old a")]
    mine(slow, conversation_id="second").get()
    await asyncio.to_thread(mine(slow, conversation_id="third").get)
    assert given == [0.15, None]


def test_a_conversation_of_its_own_has_no_past(sink):
    """Nobody is asked about a conversation that began with the object."""
    simple(ScriptedLLM("a"), SynapMemory(sink, user_id="ana")).chat("q")
    assert sink.asked == []


async def test_many_requests_at_once(sink):
    """Threads that make a memory for each request of one conversation: every message is there once."""
    sink.answer = told("old q", "old a")

    def request(at):
        mine(sink).put(said("user", f"q{at}"))
        mine(sink).get()

    threads = [threading.Thread(target=request, args=(at,)) for at in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [text for _, text in words(mine(sink).get())]
    assert (found[:2], sorted(found[2:])) == (["old q", "old a"], sorted(f"q{at}" for at in range(16)))


def test_a_question_that_a_mask_changed(sink):
    """The question that is being answered comes back masked, and is not taken for an earlier one."""
    memory = mine(sink)
    memory.put(said("user", "my card is 4111"))
    sink.answer = told("old q", "old a", "my card is [CARD]", at=datetime.now(UTC) + timedelta(seconds=1))
    assert words(memory.get()) == [("user", "old q"), ("assistant", "old a"), ("user", "my card is 4111")]


# --- what was reset ----------------------------------------------------------------------------------------------


def test_s18_a_reset_is_of_one_conversation(sink):
    """One memory for many people: resetting Ana's conversation leaves Ben's as it is."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    sink.answer = told("old q", "old a", at=yesterday)
    memory = SynapMemory(sink)
    with synap_integrations.context(user_id="ana", conversation_id="of ana"):
        memory.reset()
        assert memory.get() == []
    with synap_integrations.context(user_id="ben", conversation_id="of ben"):
        assert words(memory.get()) == [("user", "old q"), ("assistant", "old a")]


PROGRAM = """
import json, sys
from llama_index.core.chat_engine import SimpleChatEngine
from llamaindex_models import ScriptedLLM
from synap_integrations import flush
from synap_integrations.context.render import without_context
from synap_integrations.llamaindex import SynapMemory

prompts = []
for user, *said in json.loads(sys.argv[1]):
    llm = ScriptedLLM("answer to " + "".join(said))
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=SynapMemory(user_id=user, conversation_id="trip"))
    if said:
        engine.chat(said[0])
    else:
        engine.reset()
    assert flush(60)
    prompts += [[without_context(content or "").strip() for _, content in prompt] for prompt in llm.asked]
print(json.dumps(prompts))
"""


def process(*deeds, **variables):
    """The prompts of another process, in which users say something, or nothing: a reset."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, json.dumps(deeds)],
        env=os.environ | {"PYTHONPATH": str(EQUIPMENT), "SYNAP_LOOKUP_TIMEOUT_S": "30"} | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(400)
@pytest.mark.parametrize("platform", ["pushes nothing", "is local"])
def test_s18_what_was_reset_stays_so_in_the_next_process(platform, synap_platform):
    """Three processes: what was said before a reset comes back in none of them, what was said after it does, and the
    conversations of others are whole.
    """
    address = synap_platform.address
    variables = {
        "SYNAP_API_KEY": address["api_key"],
        "SYNAP_BASE_URL": address["base_url"],
        "SYNAP_GRPC_HOST": address["grpc_host"],
        "SYNAP_GRPC_PORT": str(address["grpc_port"]),
        "SYNAP_GRPC_USE_TLS": "0",
    }
    variables = variables if platform == "pushes nothing" else {}
    process(["ana", "before"], ["ben", "ben before"], ["ana"], **variables)
    assert process(["ana", "after"], **variables) == [["after"]]
    assert process(["ana", "and now?"], ["ben", "hi"], **variables) == [
        ["after", "answer to after", "and now?"],
        ["ben before", "answer to ben before", "hi"],
    ]


def test_a_reset_in_another_process_is_seen(tmp_path):
    """A process that goes on with a conversation lets go of what another one has reset, and keeps its own question."""
    with (
        Synap(base_url="local", storage_path=tmp_path) as here,
        Synap(base_url="local", storage_path=tmp_path) as there,
    ):
        memory, other = mine(here), mine(there)
        memory.set([said("user", "old q"), said("assistant", "old a")])
        other.reset()
        simple(llm := ScriptedLLM("a"), memory).chat("q")
        assert texts(llm.asked[-1]) == ["q"]


def test_what_was_said_after_a_reset_stays(tmp_path):
    """A reset in this process happens once: messages put after it are not taken for older ones."""
    with Synap(base_url="local", storage_path=tmp_path) as synap:
        memory = mine(synap)
        memory.reset()
        memory.put_messages([said("user", "q"), said("assistant", "a"), said("user", "r")])
        assert [text for _, text in words(memory.get())] == ["q", "a", "r"]


def test_what_was_forgotten_is_no_history(tmp_path):
    """Forgetting a user reaches the histories of this process, too."""
    with Synap(base_url="local", storage_path=tmp_path) as synap:
        simple(ScriptedLLM("a"), mine(synap)).chat("my secret")
        simple(ScriptedLLM("a"), mine(synap, user_id="ben")).chat("mine")
        assert synap.flush(20)
        synap.forget(Scope(user_id="ana"))
        for user, known in (("ana", ["q"]), ("ben", ["mine", "a", "q"])):
            simple(llm := ScriptedLLM("b"), mine(synap, user_id=user)).chat("q")
            assert texts(llm.asked[-1]) == known


def test_reset_without_a_disk(tmp_path):
    """Where the folder cannot be written, a reset holds in this process and nothing is raised."""
    (tmp_path / "integrations").write_text("in the way")
    with Synap(base_url="local", storage_path=tmp_path) as synap:
        memory = mine(synap)
        memory.put(said("user", "q"))
        memory.reset()
        assert memory.get() == []
    incidents.clear()


def test_questions_for_a_history_bring_turns_only(sink):
    """What is asked for is the turns, which are shown whatever ``SYNAP_CONTEXT`` says."""
    mine(sink).get()
    assert sink.asked == [(ReadConversation(turns_only=True), Scope("trip", "ana"))]
