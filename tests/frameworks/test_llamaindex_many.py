"""Many turns of LlamaIndex, at once and one after another: each is complete, none is mixed, nothing grows."""

import asyncio
import gc
import threading
import tracemalloc

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.callbacks import CallbackManager
from llamaindex_models import Say, ScriptedLLM
from llamaindex_world import ENGINES, ask, read, settled, simple, transcript

from synap_integrations.llamaindex import SynapMemory
from synap_integrations.llamaindex.listener import capture
from synap_integrations.testing import FakeMemory

pytestmark = [pytest.mark.usefixtures("no_turn_left"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def sink():
    return FakeMemory()


def memory_of(sink, name):
    """The memory of this person's conversation."""
    return SynapMemory(sink, user_id=f"user of {name}", conversation_id=name)


def successor(n: int) -> int:
    """Add one."""
    return n + 1


def reply(messages):
    """Ask for the successor of the number that was said, then tell it."""
    last = messages[-1]
    if last.role.value == "tool":
        return Say(f"it is {last.content}", thinking="done")
    n = int(last.content)
    return Say("let me see", thinking=f"think of {n}", calls=[(f"call-{n}", "successor", {"n": n})])


def turn(n):
    """The transcript of a turn about this number."""
    return [
        f"U {n}", f"R think of {n}", "N let me see", f"C call-{n} successor {{'n': {n}}}", f"T call-{n} {n + 1}",
        "R done", f"A it is {n + 1}",
    ]  # fmt: skip


@pytest.mark.parametrize("started", ["in thirty tasks", "in one task"])
async def test_s46_thirty_runs_of_one_agent(started, sink):
    """Thirty runs at once, each with a tool: every turn is complete, of its own conversation and of its own user."""
    agent = FunctionAgent(llm=ScriptedLLM(reply), tools=[successor])

    async def one(n):
        await agent.run(str(n), memory=memory_of(sink, f"c{n}"))

    if started == "in one task":
        await asyncio.gather(*[agent.run(str(n), memory=memory_of(sink, f"c{n}")) for n in range(30)])
    else:
        await asyncio.gather(*[one(n) for n in range(30)])
    for n in range(30):
        assert transcript(sink, f"c{n}") == turn(n)
        assert {e.scope.user_id for e in sink.recorded if e.scope.conversation_id == f"c{n}"} == {f"user of c{n}"}
    assert capture.open_turns == 0


async def test_s46_many_threads(sink):
    """Twenty threads that chat and stream at once: every turn is complete and none is mixed."""

    def work(at):
        engine = simple(ScriptedLLM("one two"), memory_of(sink, f"c{at}"))
        engine.chat(f"q{at}")
        read(engine.stream_chat(f"s{at}"))

    await asyncio.gather(*[asyncio.to_thread(work, at) for at in range(20)])
    assert settled()
    for at in range(20):
        assert transcript(sink, f"c{at}") == [f"U q{at}", "A one two", f"U s{at}", "A one two"]


class Forgetful(FakeMemory):
    """A Synap that counts and keeps nothing, so that only what capture and memory keep can grow."""

    count = 0

    def record(self, event, *, scope):
        self.count += 1

    def recall(self, query, *, scope):
        return self.context


def held():
    """Bytes that are held by whoever has them."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def grown(say, *, warm_up, turns):
    """Bytes that these turns leave behind, beyond what the turns before them did."""
    tracemalloc.start()
    try:
        for _ in range(warm_up):
            say()
        before = held()
        for _ in range(turns):
            say()
            assert capture.open_turns == 0
        return held() - before
    finally:
        tracemalloc.stop()


def talk(turns):
    """Bytes left by this many turns, half of which fail, of a memory whose history is full."""
    sink = Forgetful()
    memory = SynapMemory(sink, user_id="ana", conversation_id="c1")
    models = ScriptedLLM("fine"), ScriptedLLM(Say("never said", fails_after=0))
    engine, broken = [simple(model, memory) for model in models]

    def say():
        engine.chat("q")
        with pytest.raises(RuntimeError, match="model broke down"):
            broken.chat("q")
        memory.set(memory.get_all()[-20:])
        for model in models:
            # The script keeps each prompt, and LlamaIndex's callback manager an id of each call: neither is ours.
            model.asked.clear()
            model.callback_manager = CallbackManager()

    bytes_left = grown(say, warm_up=50, turns=turns // 2)
    assert sink.count == 3 * (turns // 2 + 50)
    assert capture._places == {}
    assert capture._turns == {}
    return bytes_left


def test_s67_hundreds_of_turns_leave_nothing():
    """Four hundred turns leave no open turn, no span, no thread, and less than 20 bytes each."""
    threads = threading.active_count()
    assert talk(400) < 400 * 20
    assert threading.active_count() <= threads


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_s67_ten_thousand_turns_leave_nothing():
    """Ten thousand turns leave no open turn after each, and memory stays flat: less than 2 bytes for each turn."""
    assert talk(10_000) < 10_000 * 2


@pytest.mark.parametrize("how", ["chat", "achat", "stream_chat", "astream_chat"])
@pytest.mark.parametrize("name", ENGINES)
async def test_s67_no_place_is_kept(name, how, sink):
    """After a turn of any engine, asked in any way, no turn and no span is remembered."""
    await ask(ENGINES[name](ScriptedLLM("fine"), memory_of(sink, "c1")), how, "q")
    assert settled()
    assert (capture._turns, capture._places) == ({}, {})
