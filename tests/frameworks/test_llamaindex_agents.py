"""Agents of LlamaIndex: every call, result and thought stands in the transcript, also when the run does not succeed."""

import asyncio
import base64
import hashlib

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from llama_index.core.agent.workflow import AgentWorkflow, CodeActAgent, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage, CitableBlock, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool, ToolSelection
from llamaindex_models import Say, ScriptedLLM
from llamaindex_world import transcript

from synap_integrations.llamaindex import SynapMemory
from synap_integrations.llamaindex.translate import arguments_of, events_of
from synap_integrations.model import AssistantMessage, ToolResult, UserMessage
from synap_integrations.testing import FakeMemory

# LlamaIndex itself uses what pydantic has deprecated.
pytestmark = [pytest.mark.usefixtures("no_turn_left"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def sink():
    return FakeMemory()


@pytest.fixture
def memory(sink):
    return SynapMemory(sink, user_id="ana", conversation_id="c1")


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def explode(what: str) -> str:
    """Break down."""
    raise ValueError(f"tool exploded: {what}")


async def slow(seconds: float) -> str:
    """Take a while."""
    await asyncio.sleep(seconds)
    return "slept"


def calls(*given, text="", thinking=""):
    """A model's wish for tools."""
    return Say(text, thinking, list(given))


def stream(agent, streaming):
    """Switch streaming on or off where the version lets one choose."""
    if "streaming" in type(agent).model_fields:
        agent.streaming = streaming


ADD = ("call_1", "add", {"a": 2, "b": 3})
IT_IS_5 = ["U 2+3?", "C call_1 add {'a': 2, 'b': 3}", "T call_1 5", "A it is 5"]


@pytest.mark.parametrize("streaming", [True, False])
async def test_s20_an_answer_without_tools(streaming, sink, memory):
    """Question, reasoning, answer; streamed or not."""
    agent = FunctionAgent(llm=ScriptedLLM(Say("hi there", thinking="greet back")), tools=[add])
    stream(agent, streaming)
    assert str(await agent.run("hello", memory=memory)) == "hi there"
    assert transcript(sink) == ["U hello", "R greet back", "A hi there"]


async def test_s21_a_tool_is_called(sink, memory):
    """Text beside a tool call is narration and no answer; call and result share their id."""
    llm = ScriptedLLM(calls(ADD, text="let me add", thinking="need the tool"), Say("it is 5", thinking="done"))
    await FunctionAgent(llm=llm, tools=[add]).run("2+3?", memory=memory)
    assert transcript(sink) == [
        "U 2+3?", "R need the tool", "N let me add", "C call_1 add {'a': 2, 'b': 3}", "T call_1 5", "R done",
        "A it is 5",
    ]  # fmt: skip


async def test_s22_two_tools_at_once(sink, memory):
    """Both calls come before both results, and the results come as they are ready."""
    both = calls(("call_2", "slow_add", {"a": 1, "b": 1}), ("call_3", "add", {"a": 2, "b": 2}))

    async def slow_add(a: int, b: int) -> int:
        """Add slowly."""
        await asyncio.sleep(0.05)
        return a + b

    async def quick_add(a: int, b: int) -> int:
        """Add."""
        await asyncio.sleep(0.01)
        return a + b

    tools = [slow_add, FunctionTool.from_defaults(async_fn=quick_add, name="add")]
    await FunctionAgent(llm=ScriptedLLM(both, "2 and 4"), tools=tools).run("both?", memory=memory)
    lines = transcript(sink)
    assert sorted(lines[1:3]) == ["C call_2 slow_add {'a': 1, 'b': 1}", "C call_3 add {'a': 2, 'b': 2}"]
    assert [lines[0], *lines[3:]] == ["U both?", "T call_3 4", "T call_2 2", "A 2 and 4"]


@pytest.mark.parametrize(
    ("call", "result"),
    [
        (("call_4", "explode", {"what": "y"}), "T call_4 tool exploded: y !"),
        (("call_5", "nope", {}), "T call_5 Tool nope not found. Please select a tool that is available. !"),
    ],
)
async def test_s23_s24_a_tool_that_fails(call, result, sink, memory):
    """A tool that raises, or that does not exist, leaves its call and an error as result; the agent goes on."""
    llm = ScriptedLLM(calls(call), "sorry it failed")
    await FunctionAgent(llm=llm, tools=[explode]).run("go", memory=memory)
    call_id, name, arguments = call
    assert transcript(sink) == ["U go", f"C {call_id} {name} {arguments}", result, "A sorry it failed"]


async def test_s25_a_tool_that_answers(sink, memory):
    """A tool whose result is the answer leaves one answer."""
    tool = FunctionTool.from_defaults(lambda: "DIRECT now", name="direct", return_direct=True)
    await FunctionAgent(llm=ScriptedLLM(calls(("c", "direct", {}))), tools=[tool]).run("go", memory=memory)
    assert transcript(sink) == ["U go", "C c direct {}", "T c DIRECT now", "A DIRECT now"]


@pytest.mark.parametrize("streaming", [True, False])
async def test_s26_the_model_fails_after_a_tool(streaming, sink, memory):
    """The tool's call and result are there although the run failed; its exception is the model's."""
    llm = ScriptedLLM(calls(("call_7", "add", {"a": 7, "b": 7})), Say("never", fails_after=0))
    agent = FunctionAgent(llm=llm, tools=[add])
    stream(agent, streaming)
    with pytest.raises(Exception, match="model broke down"):
        await agent.run("go", memory=memory)
    assert transcript(sink) == ["U go", "C call_7 add {'a': 7, 'b': 7}", "T call_7 14"]


async def test_s27_too_many_rounds(sink, memory):
    """What happened in each round is there when the agent gives up."""
    agent = FunctionAgent(llm=ScriptedLLM(calls(ADD)), tools=[add])
    with pytest.raises(Exception, match="Max iterations"):
        await agent.run("go", memory=memory, max_iterations=3)
    assert transcript(sink) == ["U go", *IT_IS_5[1:3] * 2]


@pytest.mark.skipif("early_stopping_method" not in FunctionAgent.model_fields, reason="no early stopping here")
async def test_s27_too_many_rounds_with_a_last_word(sink, memory):
    """An agent that is told to sum up after too many rounds leaves its last word as the answer."""
    agent = FunctionAgent(llm=ScriptedLLM(calls(ADD), calls(ADD), "final"), tools=[add])
    await agent.run("go", memory=memory, max_iterations=2, early_stopping_method="generate")
    assert transcript(sink) == ["U go", *IT_IS_5[1:3], "A final"]


@pytest.mark.parametrize("call_id", ["", "same"])
async def test_s28_s29_tools_without_ids_of_their_own(call_id, sink, memory):
    """Empty ids are replaced by distinct ones, repeated ids keep both calls; each result has its call's id."""
    llm = ScriptedLLM(calls((call_id, "add", {"a": 1, "b": 1})), calls((call_id, "add", {"a": 2, "b": 2})), "done")
    await FunctionAgent(llm=llm, tools=[add]).run("go", memory=memory)
    lines = [row.split() for row in transcript(sink)[1:5]]
    assert [row[0] for row in lines] == ["C", "T", "C", "T"]
    assert lines[0][1] == lines[1][1]
    assert lines[2][1] == lines[3][1]
    assert (lines[0][1] == lines[2][1]) is bool(call_id)


JSON_TEXT = '{"a": 2, "b": 3}'


@pytest.mark.parametrize(
    "carried",
    [
        ToolSelection.model_construct(tool_id="c1", tool_name="add", tool_kwargs=JSON_TEXT),
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": JSON_TEXT}},
        "block",
    ],
    ids=["selection", "openai", "block"],
)
def test_s30_arguments_as_json_text(carried, sink, memory):
    """A stored call whose arguments are JSON text, in whichever of three shapes, is recorded with the object."""
    asks = ChatMessage(role="assistant", content=None, additional_kwargs={"tool_calls": [carried]})
    if carried == "block":
        types = pytest.importorskip("llama_index.core.base.llms.types")
        if not hasattr(types, "ToolCallBlock"):
            pytest.skip("this version has no blocks for tool calls")
        block = types.ToolCallBlock(tool_call_id="c1", tool_name="add", tool_kwargs=JSON_TEXT)
        asks = ChatMessage(role="assistant", blocks=[block])
    memory.put(asks)
    memory.put(ChatMessage(role="tool", content="5", additional_kwargs={"tool_call_id": "c1", "name": "add"}))
    assert transcript(sink) == ["C c1 add {'a': 2, 'b': 3}", "T c1 5"]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (JSON_TEXT, {"a": 2, "b": 3}),
        ("not json", {"input": "not json"}),
        ("[1]", {"input": [1]}),
        (None, {}),
    ],
)
def test_s30_arguments_of_any_kind(given, read):
    """Whatever stands where arguments should becomes a mapping."""
    assert arguments_of(given) == read


async def test_s30_an_agent_that_refuses_such_arguments(sink, memory):
    """LlamaIndex's agents refuse arguments as text: the question is there, and the exception is theirs."""
    agent = FunctionAgent(llm=ScriptedLLM(calls(("c1", "add", JSON_TEXT))), tools=[add])
    with pytest.raises(Exception, match="valid dictionary"):
        await agent.run("go", memory=memory)
    assert transcript(sink) == ["U go"]


async def test_s31_react(sink, memory):
    """A ReAct agent's scratchpad becomes reasoning, call, result and answer; none of its labels is left."""
    llm = ScriptedLLM(
        'Thought: I need a tool\nAction: add\nAction Input: {"a": 2, "b": 3}', "Thought: I know\nAnswer: it is 5"
    )
    await ReActAgent(llm=llm, tools=[add]).run("2+3?", memory=memory)
    call_id = transcript(sink)[2].split()[1]
    assert transcript(sink) == [
        "U 2+3?", "R I need a tool", f"C {call_id} add {{'a': 2, 'b': 3}}", f"T {call_id} 5", "R I know", "A it is 5"
    ]  # fmt: skip


async def test_s32_code_act(sink, memory):
    """A CodeAct agent's code is narration and a call; what it prints is a result and no user's message."""
    code = "<execute>\nprint(2+3)\n</execute>"
    agent = CodeActAgent(code_execute_fn=lambda code: "5", llm=ScriptedLLM(code, "The answer is 5"))
    await agent.run("2+3?", memory=memory)
    call_id = transcript(sink)[2].split()[1]
    assert transcript(sink) == [
        "U 2+3?", f"N {code}", f"C {call_id} execute {{'code': 'print(2+3)'}}", f"T {call_id} 5", "A The answer is 5"
    ]  # fmt: skip


def two_agents(first, second):
    """A front desk that can hand over to a calculator."""
    desk = FunctionAgent(name="A", description="desk", llm=first, tools=[], can_handoff_to=["B"])
    calculator = FunctionAgent(name="B", description="calculator", llm=second, tools=[add])
    return AgentWorkflow(agents=[desk, calculator], root_agent="A")


async def test_s33_a_hand_off(sink, memory):
    """A hand-off is a tool call like any other; the second agent's work belongs to the same turn."""
    first = ScriptedLLM(calls(("h1", "handoff", {"to_agent": "B", "reason": "numbers"})))
    second = ScriptedLLM(calls(("b1", "add", {"a": 2, "b": 3})), "it is 5")
    await two_agents(first, second).run("2+3?", memory=memory)
    lines = transcript(sink)
    assert lines[:2] == ["U 2+3?", "C h1 handoff {'to_agent': 'B', 'reason': 'numbers'}"]
    assert lines[2].startswith("T h1 ")
    assert lines[3:] == ["C b1 add {'a': 2, 'b': 3}", "T b1 5", "A it is 5"]


async def recorded(sink, count):
    """Wait until this much was recorded."""
    for _ in range(200):
        if len(sink.recorded) >= count:
            return
        await asyncio.sleep(0.01)


async def test_s34_a_run_that_nobody_awaits(sink, memory):
    """A run is recorded whether somebody waits for it or not."""
    handler = FunctionAgent(llm=ScriptedLLM(calls(ADD), "it is 5"), tools=[add]).run("2+3?", memory=memory)
    await recorded(sink, 4)
    assert transcript(sink) == IT_IS_5
    await handler  # only so that its end is not a later test's


async def test_s34_the_stream_of_events_stays_the_users(sink, memory):
    """Recording takes nothing from ``stream_events()``; leaving it early changes nothing."""
    agent = FunctionAgent(llm=ScriptedLLM(calls(ADD), "it is 5"), tools=[add])
    handler = agent.run("2+3?", memory=memory)
    names = [type(event).__name__ async for event in handler.stream_events()]
    await handler
    assert {"AgentStream", "ToolCall", "ToolCallResult", "AgentOutput"} <= set(names)
    assert transcript(sink) == IT_IS_5


@pytest.mark.parametrize("awaited", [True, False])
async def test_s34_a_stream_of_events_that_is_left(awaited, sink, memory):
    """Leaving the stream of events after the first one changes nothing, whether the run is awaited or not."""
    handler = FunctionAgent(llm=ScriptedLLM(calls(ADD), "it is 5"), tools=[add]).run("2+3?", memory=memory)
    async for _ in handler.stream_events():
        break
    if awaited:
        await handler
    await recorded(sink, 4)
    assert transcript(sink) == IT_IS_5


async def test_s35_a_cancelled_run(sink, memory):
    """A run that is cancelled within a tool leaves the call without a result."""
    agent = FunctionAgent(llm=ScriptedLLM(calls(("s1", "slow", {"seconds": 30}))), tools=[slow])
    handler = agent.run("go", memory=memory)
    await asyncio.sleep(0.2)
    await handler.cancel_run()
    with pytest.raises(BaseException):  # noqa: B017, PT011 - its class differs between versions
        await handler
    await asyncio.sleep(0.05)
    assert transcript(sink) == ["U go", "C s1 slow {'seconds': 30}"]


async def test_s36_a_run_that_takes_too_long(sink, memory):
    """A run that times out leaves the question and what there was of an answer."""
    agent = FunctionAgent(llm=ScriptedLLM(Say("one two three", pause_s=0.25)), tools=[add], timeout=0.6)
    with pytest.raises(Exception, match="timed out"):
        await agent.run("go", memory=memory)
    await asyncio.sleep(0.05)
    assert transcript(sink)[0] == "U go"
    assert all(row.startswith("P one") for row in transcript(sink)[1:])


async def test_s36_a_caller_that_is_cancelled(sink, memory):
    """Whoever waits for a run is cancelled mid-stream: what was said until then, and nothing of what may still come."""
    agent = FunctionAgent(llm=ScriptedLLM(Say("one two three four", pause_s=0.05)), tools=[add])

    async def request():
        await agent.run("go", memory=memory)

    caller = asyncio.create_task(request())
    await asyncio.sleep(0.13)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.sleep(0.3)
    question, part = transcript(sink)
    assert question == "U go"
    assert part.startswith("P one")
    assert "four" not in part


async def test_s36_a_reader_that_is_cancelled(sink, memory):
    """Whoever reads a run's events is cancelled: the run goes on, and so does the record."""
    agent = FunctionAgent(llm=ScriptedLLM(Say("one two three", pause_s=0.03)), tools=[add])

    async def request(handler):
        async for _ in handler.stream_events():
            pass

    handler = agent.run("go", memory=memory)
    caller = asyncio.create_task(request(handler))
    await asyncio.sleep(0.05)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await recorded(sink, 2)
    assert transcript(sink) == ["U go", "A one two three"]


async def test_s39_a_failed_run_is_started_again(sink, memory):
    """The user's words are recorded for each attempt, and stand in the prompt of the second once."""
    llm = ScriptedLLM(Say("never", fails_after=0), "hello")
    agent = FunctionAgent(llm=llm, tools=[add])
    with pytest.raises(Exception, match="model broke down"):
        await agent.run("hi", memory=memory)
    await agent.run("hi", memory=memory)
    assert transcript(sink) == ["U hi", "U hi", "A hello"]
    assert [text for _, text in llm.asked[-1]] == ["hi"]


async def test_s40_history_without_a_message(sink, memory):
    """Without a message of its own the turn's question is the last one of the history."""
    history = [ChatMessage(role="assistant", content="welcome"), ChatMessage(role="user", content="hi")]
    await FunctionAgent(llm=ScriptedLLM("hello"), tools=[add]).run(chat_history=history, memory=memory)
    assert transcript(sink) == ["U hi", "A hello"]


async def test_s41_state_is_not_what_the_user_said(sink, memory):
    """An agent with state wraps the user's words for the model only, not for transcript and history."""
    llm = ScriptedLLM("hello", "again")
    agent = FunctionAgent(llm=llm, tools=[add], initial_state={"mood": "good"})
    await agent.run("hi", memory=memory)
    await agent.run("more", memory=memory)
    assert "mood" in llm.asked[0][-1][1]
    assert transcript(sink) == ["U hi", "A hello", "U more", "A again"]
    assert [m.content for m in memory.get_all()] == ["hi", "hello", "more", "again"]
    assert llm.asked[1][0] == ("user", "hi")


PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 149_992
IN_BASE64 = base64.b64encode(PNG)
IN_BRIEF = f"[image/png, 150000 bytes, sha256 {hashlib.sha256(IN_BASE64).hexdigest()[:16]}]"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (lambda: ImageBlock(image=PNG), IN_BRIEF),
        (lambda: ImageBlock(url=f"data:image/png;base64,{IN_BASE64.decode()}"), IN_BRIEF),
        (lambda: ImageBlock(url="https://example.com/cat.png"), "[image/png, https://example.com/cat.png]"),
        (lambda: [TextBlock(text="a cat"), ImageBlock(image=PNG)], f"a cat\n{IN_BRIEF}"),
        (lambda: CitableBlock(title="t", source="s", content=[ImageBlock(image=PNG)]), IN_BRIEF),
        (lambda: PNG, f"[150000 bytes, sha256 {hashlib.sha256(PNG).hexdigest()}]"),
        (lambda: {"shots": [PNG]}, f"{{'shots': ['[150000 bytes, sha256 {hashlib.sha256(PNG).hexdigest()}]']}}"),
    ],
    ids=["block", "inline url", "url", "beside text", "citable", "bytes", "bytes within"],
)
async def test_s47_a_picture_that_a_tool_gives_back_is_named_and_not_kept(given, kept, sink, memory):
    """Of a picture, in a block or as bytes, the record has type, size and hash, and nothing else."""

    def photo() -> object:
        """Take a picture."""
        return given()

    llm = ScriptedLLM(calls(("c1", "photo", {})), "nice")
    await FunctionAgent(llm=llm, tools=[FunctionTool.from_defaults(photo)]).run("look", memory=memory)
    (result,) = [event for event in sink.events if isinstance(event, ToolResult)]
    assert result.tool_result == kept
    assert not result.is_error


def test_s47_a_picture_in_a_tool_message_is_named_and_not_kept():
    """The same for a result that somebody puts into a memory by hand."""
    message = ChatMessage(role="tool", blocks=[ImageBlock(image=PNG)], additional_kwargs={"tool_call_id": "c1"})
    (result,) = events_of(message)
    assert result.tool_result == IN_BRIEF


async def test_s47_a_message_with_a_picture(sink, memory):
    """The texts of a message are one turn, what else is in it is named, and no byte of it is kept."""
    blocks = [TextBlock(text="look"), ImageBlock(image=b"\x89PNG\r\n\x1a\n"), TextBlock(text="here")]
    agent = FunctionAgent(llm=(llm := ScriptedLLM("a cat")), tools=[add])
    await agent.run(ChatMessage(role="user", blocks=blocks), memory=memory)
    assert sink.turns == [UserMessage("look\nhere", attachments=("image",)), AssistantMessage("a cat")]
    assert [block.block_type for block in memory.get_all()[0].blocks] == ["text", "image", "text"]
    assert llm.asked[0][-1] == ("user", "look\nhere")
