"""Chat engines of LlamaIndex: what was said stands in the transcript once, whatever becomes of the answer."""

import asyncio
import contextlib
import gc

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import SimpleChatEngine
from llamaindex_models import Say, ScriptedLLM
from llamaindex_world import (
    CONDENSING,
    ENGINES,
    STREAMS_HAVE_A_WRITER,
    STREAMS_MAY_THINK,
    WITH_DOCUMENTS,
    ask,
    settled,
    transcript,
)

from synap_integrations import NetworkTimeoutError
from synap_integrations.llamaindex import SynapMemory
from synap_integrations.model import Context, RecentTurn
from synap_integrations.ports import Answer
from synap_integrations.testing import FakeMemory

pytestmark = pytest.mark.usefixtures("no_turn_left")
HOW = ["chat", "achat", "stream_chat", "astream_chat"]
every_engine = pytest.mark.parametrize("name", ENGINES)
every_way = pytest.mark.parametrize("how", HOW)


@pytest.fixture
def sink():
    return FakeMemory()


@pytest.fixture
def memory(sink):
    return SynapMemory(sink, user_id="ana", conversation_id="c1")


@every_way
@every_engine
async def test_s01_s02_s03_s04_s05_two_questions_are_two_turns(name, how, sink, memory):
    """Each question and each answer stands there once, in every engine and every way to ask; no condensed question."""
    answers = ["fine answer", "condensed", "fine answer"] if name in CONDENSING else ["fine answer"]
    engine = ENGINES[name](ScriptedLLM(*answers), memory)
    assert (await ask(engine, how, "q1")).strip() == "fine answer"
    assert (await ask(engine, how, "q2")).strip() == "fine answer"
    assert settled()
    assert transcript(sink) == ["U q1", "A fine answer", "U q2", "A fine answer"]
    assert {(e.scope.conversation_id, e.scope.user_id) for e in sink.recorded} == {("c1", "ana")}
    assert [(m.role.value, m.content) for m in memory.get_all()] == [
        ("user", "q1"), ("assistant", "fine answer"), ("user", "q2"), ("assistant", "fine answer")
    ]  # fmt: skip


def test_s06_a_dropped_stream_is_read_to_its_end(sink, memory):
    """A consumer that leaves after one word leaves the whole answer in the transcript: a thread reads the rest."""
    stream = ENGINES["simple"](ScriptedLLM("one two three"), memory).stream_chat("q").response_gen
    assert next(stream) == "one "
    stream.close()
    assert settled()
    assert transcript(sink) == ["U q", "A one two three"]


@pytest.mark.parametrize("name", WITH_DOCUMENTS)
def test_s07_a_dropped_stream_over_documents(name, sink, memory):
    """The same over documents; where nobody reads the rest, what was said stands there as a part."""
    response = ENGINES[name](ScriptedLLM("one two three"), memory).stream_chat("q")
    stream = response.response_gen
    assert next(stream) == "one "
    stream.close()
    del stream, response
    gc.collect()
    assert settled()
    assert transcript(sink) == ["U q", "A one two three" if STREAMS_HAVE_A_WRITER else "P one "]


@pytest.mark.parametrize("name", WITH_DOCUMENTS)
async def test_s07_a_dropped_stream_without_blocking(name, sink, memory):
    """The same on an event loop, which goes on: a task of the framework's reads the rest, if the version has one."""
    response = await ENGINES[name](ScriptedLLM(Say("one two three", pause_s=0.01)), memory).astream_chat("q")
    stream = response.async_response_gen()
    assert await anext(stream) == "one "
    await stream.aclose()
    del stream, response
    for _ in range(100):
        gc.collect()
        await asyncio.sleep(0.01)
        if len(sink.recorded) == 2:
            break
    assert transcript(sink) == ["U q", "A one two three" if STREAMS_HAVE_A_WRITER else "P one "]


@pytest.mark.parametrize("name", WITH_DOCUMENTS)
def test_s08_a_stream_that_nobody_reads(name, sink, memory):
    """A stream that is thrown away unread leaves the question, and the answer where somebody reads it anyway."""
    ENGINES[name](ScriptedLLM("full answer"), memory).stream_chat("q")
    gc.collect()
    assert settled()
    assert transcript(sink) == (["U q", "A full answer"] if STREAMS_HAVE_A_WRITER else ["U q"])


def test_s09_a_loop_that_ends_mid_stream(sink, memory):
    """A program that ends after one word of an asynchronous stream leaves that word, marked as a part."""
    engine = ENGINES["simple"](ScriptedLLM(Say("one two three", pause_s=0.02)), memory)

    async def program():
        response = await engine.astream_chat("q")
        async for _ in response.async_response_gen():
            return

    asyncio.run(program())
    gc.collect()
    assert settled()
    assert transcript(sink) == ["U q", "P one "]


@every_way
@every_engine
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_s10_a_failing_model(name, how, sink, memory):
    """The question stays, nothing is answered, and the caller gets the model's own exception."""
    engine = ENGINES[name](ScriptedLLM(Say("never said", fails_after=0)), memory)
    with pytest.raises(RuntimeError, match="model broke down"):
        await ask(engine, how, "q")
    gc.collect()
    assert settled()
    assert transcript(sink) == ["U q"]


@every_way
@pytest.mark.parametrize("name", sorted(CONDENSING))
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_s10_a_model_that_fails_to_condense(name, how, sink, memory):
    """The same where the model fails at the step before the answer, in a later turn."""
    engine = ENGINES[name](ScriptedLLM("fine", Say("never said", fails_after=0)), memory)
    await ask(engine, how, "q1")
    with pytest.raises(RuntimeError, match="model broke down"):
        await ask(engine, how, "q2")
    gc.collect()
    assert settled()
    assert transcript(sink) == ["U q1", "A fine", "U q2"]


@pytest.mark.parametrize("how", ["stream_chat", "astream_chat"])
@every_engine
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_s11_a_stream_that_dies(name, how, sink, memory):
    """What was said before the model broke down stands there as a part of an answer."""
    engine = ENGINES[name](ScriptedLLM(Say("a b c", fails_after=2)), memory)
    with pytest.raises(RuntimeError, match="model broke down"):
        await ask(engine, how, "q")
    gc.collect()
    assert settled()
    assert transcript(sink) == ["U q", "P a b "]


@every_way
@pytest.mark.parametrize("name", ["simple", "context"])
async def test_s12_reasoning_stands_before_the_answer(name, how, sink, memory):
    """A model that thinks aloud leaves its reasoning once, before its answer, streamed or not."""
    if "stream" in how and not STREAMS_MAY_THINK:
        pytest.skip("llama-index-core before 0.14.24 raises when a thinking model is streamed")
    await ask(ENGINES[name](ScriptedLLM(Say("fine answer", thinking="hmm")), memory), how, "q")
    assert settled()
    assert transcript(sink) == ["U q", "R hmm", "A fine answer"]


@every_way
@pytest.mark.parametrize("text", ["", "   ", None])
async def test_s13_an_empty_answer_is_no_answer(text, how, sink, memory):
    """An empty reply leaves the question only."""
    await ask(ENGINES["simple"](ScriptedLLM(Say(text)), memory), how, "q")
    assert settled()
    assert transcript(sink) == ["U q"]


@every_way
@every_engine
async def test_s14_history_that_is_handed_over_is_not_new(name, how, sink, memory):
    """Earlier turns that an application passes along are not recorded again."""
    old = [ChatMessage(role="user", content="old q"), ChatMessage(role="assistant", content="old a")]
    engine = ENGINES[name](ScriptedLLM("hello"), memory)
    await ask(engine, how, "hi", chat_history=old)
    assert settled()
    assert transcript(sink) == ["U hi", "A hello"]


COMPACTED = (RecentTurn("user", "q1"), RecentTurn("assistant", "a1"))


@pytest.mark.parametrize("platform", ["whole", "compacted", "failing"])
def test_s15_a_fresh_memory_per_request(platform):
    """Three requests, each with a new memory and the whole history, are three turns, also after the platform has cut
    the conversation short, and while it cannot be read; Synap is not asked for history.
    """
    fault = NetworkTimeoutError("down") if platform == "failing" else None
    turns = COMPACTED if platform == "compacted" else ()
    sink = FakeMemory(Context(recent_turns=turns), Answer(turns=turns, fault=fault))
    history = []
    for at in range(3):
        memory = SynapMemory(sink, user_id="ana", conversation_id="c1")
        engine = ENGINES["simple"](llm := ScriptedLLM(f"a{at}"), memory)
        engine.chat(f"q{at}", chat_history=list(history))
        assert len(llm.asked[0]) == len(history) + 1
        history += [ChatMessage(role="user", content=f"q{at}"), ChatMessage(role="assistant", content=f"a{at}")]
    assert transcript(sink) == ["U q0", "A a0", "U q1", "A a1", "U q2", "A a2"]
    assert sink.asked == []


def test_s16_saying_the_same_twice_is_two_turns(sink, memory):
    """Turns are not told apart by their words."""
    engine = ENGINES["simple"](ScriptedLLM("yes"), memory)
    engine.chat("ok?")
    engine.chat("ok?")
    assert transcript(sink) == ["U ok?", "A yes", "U ok?", "A yes"]


LOOPS = {"asyncio": asyncio.new_event_loop}
with contextlib.suppress(ImportError):
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("how", HOW)
@every_engine
def test_s17_every_way_on_any_running_loop(name, how, loop, sink, memory):
    """``chat`` may be called inside a coroutine, on uvloop too; the loop is neither patched nor replaced."""
    seen = []

    async def request():
        before = asyncio.get_running_loop()
        methods = type(before).run_until_complete, type(before).run_forever
        await ask(ENGINES[name](ScriptedLLM("fine"), memory), how, "q")
        after = asyncio.get_running_loop()
        seen.append(after is before and (type(after).run_until_complete, type(after).run_forever) == methods)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(request())
    assert settled()
    assert seen == [True]
    assert transcript(sink) == ["U q", "A fine"]


def test_s18_reset_starts_over(sink, memory):
    """After a reset the prompt knows nothing of before, and the transcript goes on."""
    engine = ENGINES["simple"](llm := ScriptedLLM("fine"), memory)
    engine.chat("secret")
    engine.reset()
    engine.chat("x")
    assert llm.asked[-1] == [("user", "x")]
    assert transcript(sink) == ["U secret", "A fine", "U x", "A fine"]


class Own(SimpleChatEngine):
    """An engine that does its part and leaves the rest to its parent."""

    async def achat(self, message, chat_history=None):
        return await super().achat(message, chat_history)

    def stream_chat(self, message, chat_history=None):
        return super().stream_chat(message, chat_history)


@pytest.mark.parametrize("how", ["achat", "stream_chat"])
async def test_s19_an_engine_that_calls_its_parent(how, sink, memory):
    """A subclass that calls ``super().achat()`` makes one turn, not two."""
    engine = Own(ScriptedLLM("fine"), memory, [])
    await ask(engine, how, "q")
    assert settled()
    assert transcript(sink) == ["U q", "A fine"]
