"""What LlamaIndex's capture and context leave alone: a run that is tagged off, and what runs while Synap is paused.

And what handlers cost that nobody lets go of.
"""

import asyncio

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.memory import ChatMemoryBuffer
from llamaindex_models import Say, ScriptedLLM
from llamaindex_world import ask, conversations, known, simple, transcript

import synap_integrations
from synap_integrations.llamaindex import SynapCallbackHandler, SynapMemory, auto_inject, listener
from synap_integrations.testing import FakeMemory

pytestmark = [pytest.mark.usefixtures("no_turn_left"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]
TEA = "Ana likes tea"
BOTH = pytest.mark.parametrize("off", ["paused", "tagged"])


def left_out(off):
    """A block in which a run is left out."""
    return synap_integrations.pause() if off == "paused" else instrument_tags({"synap": "off"})


@pytest.fixture
def sink():
    return FakeMemory(known(TEA))


@pytest.fixture
def memory(sink):
    return SynapMemory(sink, user_id="ana", conversation_id="c1")


@pytest.fixture
def nobody_attached():
    """The test begins and ends without handlers."""
    assert len(listener.attachments) == 0
    yield
    for attachment in list(listener.attachments._all.values()):
        attachment.holders = 1
        listener.remove(attachment)


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


# --- one run that is left out -----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("how", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_an_engines_run_is_left_out(off, how, sink, memory):
    """Nothing of it is recorded, recalled or shown, its history goes on; the run after it is captured whole."""
    engine = simple(llm := ScriptedLLM("secret answer", "second answer"), memory)
    with left_out(off):
        assert await ask(engine, how, "secret") == "secret answer"
    assert (sink.recorded, sink.recalled, llm.asked) == ([], [], [[("user", "secret")]])
    assert await ask(engine, how, "hello") == "second answer"
    assert transcript(sink) == ["U hello", "A second answer"]
    assert [len(llm.asked[-1]), TEA in str(llm.asked[-1])] == [3, True]


@BOTH
async def test_an_agents_run_is_left_out(off, sink, memory):
    """The same for an agent with a tool, whose steps run in tasks of their own."""
    script = Say("", calls=[("c1", "add", {"a": 2, "b": 3})]), "secret five", "second answer"
    agent = FunctionAgent(llm=ScriptedLLM(*script), tools=[add])
    with left_out(off):
        assert str(await agent.run("secret", memory=memory)) == "secret five"
    assert (sink.recorded, sink.recalled) == ([], [])
    assert TEA not in str(agent.llm.asked)
    await agent.run("hello", memory=memory)
    assert transcript(sink) == ["U hello", "A second answer"]


@BOTH
async def test_a_handlers_run_is_left_out(off, sink, nobody_attached):
    """Where a handler listens, and context comes without code, as well; and by hand."""
    handler, stop = SynapCallbackHandler(sink), auto_inject.inject(sink)
    engine = simple(llm := ScriptedLLM("fine"), ChatMemoryBuffer.from_defaults())
    with left_out(off):
        await engine.achat("secret")
        SynapMemory(sink, user_id="ana").put(ChatMessage(role="user", content="secret"))
    assert (sink.recorded, sink.recalled, TEA in str(llm.asked)) == ([], [], False)
    await engine.achat("hello")
    assert transcript(sink) == ["U hello", "A fine"]
    assert TEA in str(llm.asked[-1])
    stop()
    handler.detach()


async def test_a_pause_is_of_its_own_task(sink, memory):
    """Two tasks at once: what one pauses, the other records."""
    paused, told = asyncio.Event(), asyncio.Event()

    async def one():
        with synap_integrations.pause():
            paused.set()
            await told.wait()
            await simple(ScriptedLLM("x"), memory).achat("secret")

    task = asyncio.create_task(one())
    await paused.wait()
    await simple(ScriptedLLM("fine"), SynapMemory(sink, user_id="ben")).achat("hello")
    told.set()
    await task
    assert transcript(sink) == ["U hello", "A fine"]


def test_a_model_that_a_tool_asks_in_a_pause(sink, memory):
    """A pause within a turn: the turn is captured, what is asked within the pause is not shown context."""
    aside = ScriptedLLM("a title")

    class Titled(ScriptedLLM):
        def chat(self, messages, **kwargs):
            with synap_integrations.pause():
                aside.chat([ChatMessage(role="user", content="title for q")])
            return super().chat(messages, **kwargs)

    simple(llm := Titled("fine"), memory).chat("q")
    assert (TEA in str(llm.asked), TEA in str(aside.asked)) == (True, False)
    assert transcript(sink) == ["U q", "A fine"]


# --- handlers that nobody lets go of ------------------------------------------------------------------------------


def test_a_handler_for_each_request(sink, nobody_attached):
    """A thousand handlers for one person are one, and each turn is recorded once."""
    handlers = [SynapCallbackHandler(sink, user_id="ana", conversation_id="c1") for _ in range(1_000)]
    assert len(listener.attachments) == 1
    simple(ScriptedLLM("fine"), ChatMemoryBuffer.from_defaults()).chat("q")
    assert transcript(sink) == ["U q", "A fine"]
    for handler in handlers:
        assert len(listener.attachments) == 1
        handler.detach()
        handler.detach()
    assert len(listener.attachments) == 0


def test_handlers_of_a_thousand_people(sink, nobody_attached):
    """Handlers of different people are bounded; each request's turn is its own, once, whoever attached meanwhile."""

    def request(at):
        SynapCallbackHandler(sink, user_id=f"user{at}", conversation_id=f"c{at}")
        for other in range(2 * listener.MAX_ATTACHMENTS if at == 0 else 0):
            asyncio.run(_attached_elsewhere(sink, other))
        simple(ScriptedLLM(f"a{at}"), ChatMemoryBuffer.from_defaults()).chat(f"q{at}")

    for at in range(1_000):
        if at < 3 or at > 997:
            asyncio.run(_in_a_context(request, at))
        else:
            asyncio.run(_attached_elsewhere(sink, at))
    assert len(listener.attachments) == listener.MAX_ATTACHMENTS
    asked = [0, 1, 2, 998, 999]
    assert transcript(sink) == [line for at in asked for line in (f"U q{at}", f"A a{at}")]
    assert conversations(sink) == [f"c{at}" for at in asked]
    simple(ScriptedLLM("x"), ChatMemoryBuffer.from_defaults()).chat("whose is this?")
    assert sink.recorded[-1].scope.user_id is None


async def _in_a_context(request, at):
    await asyncio.to_thread(request, at)


async def _attached_elsewhere(sink, at):
    SynapCallbackHandler(sink, user_id=f"other{at}")


def test_a_handler_in_a_callback_manager_that_gave_way(sink, nobody_attached):
    """An engine that has a handler of its own keeps it, however many attached later."""
    from llama_index.core.callbacks import CallbackManager  # noqa: PLC0415 - of this test only

    mine = SynapCallbackHandler(sink, conversation_id="mine")
    engine = simple(ScriptedLLM("fine"), ChatMemoryBuffer.from_defaults())
    engine.callback_manager = CallbackManager([mine])
    for at in range(2 * listener.MAX_ATTACHMENTS):
        SynapCallbackHandler(FakeMemory(), conversation_id=f"c{at}")
    engine.chat("q")
    assert transcript(sink, "mine") == ["U q", "A fine"]
    mine.detach()
    engine.chat("r")
    assert transcript(sink) == ["U q", "A fine"]
