"""Scenarios 61 to 65: conversations that end badly end with what was really said."""

import asyncio
import gc
import threading
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import create_react_agent
from scripted_models import Scripted, Streamed, calls, transcript

from synap_integrations.langchain import SynapCallbackHandler
from synap_integrations.testing import FakeMemory

try:
    from langchain.agents import create_agent
except ImportError:
    create_agent = None  # type: ignore[assignment]

pytestmark = [
    pytest.mark.usefixtures("strict_guard"),
    pytest.mark.filterwarnings("ignore:.*create_react_agent.*"),
]
STORY = ChatPromptTemplate.from_messages([("human", "{question}")])


@pytest.fixture
def memory() -> FakeMemory:
    return FakeMemory()


@pytest.fixture
def handler(memory: FakeMemory) -> SynapCallbackHandler:
    return SynapCallbackHandler(memory, conversation_id="c")


def teller(*, endless: bool = False) -> Any:
    """A chain that tells a story; an endless one waits for ever after two words."""

    class Teller(Streamed):
        async def _astream(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            count = 0
            async for chunk in super()._astream(messages, *args, **kwargs):
                yield chunk
                count += 1
                if endless and count == 2:
                    await asyncio.sleep(3600)

    return STORY | Teller(answers=["once upon a time there was"]) | StrOutputParser()


def assert_partial(memory: FakeMemory) -> None:
    """One question and one answer, which is marked as cut off and is the beginning of the story."""
    question, answer = transcript(memory)
    assert question == "U tell me a story"
    assert answer.startswith("A~ once")
    assert "once upon a time there was".startswith(answer[3:].strip())


ASK = {"question": "tell me a story"}


def test_s61_the_consumer_closes_the_stream(memory, handler) -> None:
    """The user saw two words; two words are kept, once, as cut off."""
    stream = teller().stream(ASK, config={"callbacks": [handler]})
    next(stream), next(stream)
    stream.close()
    gc.collect()
    assert_partial(memory)


def test_s61_the_generator_is_abandoned(memory, handler) -> None:
    """Nobody closes it; the collector does."""
    stream = teller().stream(ASK, config={"callbacks": [handler]})
    next(stream), next(stream)
    del stream
    gc.collect()
    assert_partial(memory)


def test_s61_the_asynchronous_consumer_closes_the_stream(memory, handler) -> None:
    """The same on an event loop."""

    async def consume() -> None:
        stream = teller().astream(ASK, config={"callbacks": [handler]})
        await anext(stream), await anext(stream)
        await stream.aclose()

    asyncio.run(consume())
    assert_partial(memory)


def test_s61_the_task_is_cancelled(memory, handler) -> None:
    """A request that was aborted keeps what had been told."""

    async def consume() -> None:
        async def read() -> None:
            async for _ in teller(endless=True).astream(ASK, config={"callbacks": [handler]}):
                pass

        task = asyncio.create_task(read())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(consume())
    assert_partial(memory)


def test_s61_the_stream_breaks(memory, handler) -> None:
    """The provider hangs up in the middle."""

    class Broken(Streamed):
        def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            for count, chunk in enumerate(super()._stream(messages, *args, **kwargs)):
                if count == 2:
                    raise ConnectionError("hung up")
                yield chunk

    chain = STORY | Broken(answers=["once upon a time there was"]) | StrOutputParser()
    with pytest.raises(ConnectionError):
        list(chain.stream(ASK, config={"callbacks": [handler]}))
    assert_partial(memory)


def test_s62_cancelled_before_an_answer(memory, handler) -> None:
    """The question stands alone."""

    class Slow(Scripted):
        async def _agenerate(self, *_: Any, **__: Any) -> Any:
            await asyncio.sleep(3600)

    async def ask() -> None:
        task = asyncio.create_task(Slow().ainvoke("hi", config={"callbacks": [handler]}))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask())
    assert transcript(memory) == ["U hi"]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def test_s63_an_agent_closed_after_its_tools(memory, handler) -> None:
    """What the tools did is kept; there is no answer."""
    model = Scripted(answers=[calls(("add", {"a": 1, "b": 2}, "t1"), text="Let me add."), "3"])
    stream = (create_agent or create_react_agent)(model, [add]).stream(
        {"messages": [HumanMessage("1+2?")]}, config={"callbacks": [handler]}, stream_mode="updates"
    )
    next(stream), next(stream)
    stream.close()
    assert transcript(memory) == ["U 1+2?", "T Let me add.", 'C add({"a":1,"b":2})', "R add=3"]


def test_s64_the_recursion_limit(memory, handler) -> None:
    """A loop that never ends leaves its calls and no answer."""
    model = Scripted(answers=[calls(("add", {"a": 1, "b": 2}, f"t{n}")) for n in range(20)])
    if create_agent is None:
        pytest.skip("the prebuilt agent of langgraph 0.6 apologises in words instead of failing")
    with pytest.raises(GraphRecursionError):
        create_agent(model, [add]).invoke(
            {"messages": [HumanMessage("go")]}, config={"callbacks": [handler], "recursion_limit": 4}
        )
    rows = transcript(memory)
    assert rows[0] == "U go"
    assert {row[0] for row in rows[1:]} == {"C", "R"}


def test_s65_work_that_outlives_the_turn_adds_nothing(memory, handler) -> None:
    """A background model call started by a node is not a turn of anybody."""
    begin, ended = threading.Event(), threading.Event()

    def node(_: MessagesState) -> dict[str, Any]:
        def later() -> None:
            begin.wait(5)
            Scripted(answers=["a title"]).invoke("make a title", config={"callbacks": [handler]})
            ended.set()

        import contextvars  # noqa: PLC0415 - what a framework's executor would do

        threading.Thread(target=contextvars.copy_context().run, args=(later,)).start()
        return {"messages": [("ai", "answer")]}

    builder = StateGraph(MessagesState)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    builder.compile().invoke({"messages": [HumanMessage("hi")]}, config={"callbacks": [handler]})
    begin.set()
    assert ended.wait(5)
    assert transcript(memory) == ["U hi", "A answer"]
