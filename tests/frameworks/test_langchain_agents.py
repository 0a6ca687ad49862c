"""Scenarios 29 to 44 and 53: agents and tools; each call with its result, text beside calls as reasoning."""

import asyncio
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, ToolException, tool
from langgraph.prebuilt import InjectedState, create_react_agent
from langgraph.types import Command
from pydantic import BaseModel
from scripted_models import MODES, Scripted, Streamed, calls, run, transcript

from synap_integrations.langchain import SynapCallbackHandler
from synap_integrations.testing import FakeMemory

agents = pytest.importorskip("langchain.agents", reason="langchain is not installed")
create_agent = getattr(agents, "create_agent", None)
needs_create_agent = pytest.mark.skipif(create_agent is None, reason="create_agent needs langchain 1.0")

pytestmark = [
    pytest.mark.usefixtures("strict_guard"),
    pytest.mark.filterwarnings("ignore:.*create_react_agent.*"),
]


@pytest.fixture
def memory() -> FakeMemory:
    return FakeMemory()


@pytest.fixture
def handler(memory: FakeMemory) -> SynapCallbackHandler:
    return SynapCallbackHandler(memory, conversation_id="c")


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def boom(x: int = 0) -> str:
    """Fail."""
    raise ValueError("kaput now")


@tool
def city(place: str) -> str:
    """Where a place is."""
    return f"{place} is in Portugal"


def agent(model: Scripted, *tools: Any, **options: Any) -> Any:
    """An agent of the installed generation: ``create_agent``, else ``create_react_agent``."""
    return (create_agent or create_react_agent)(model, list(tools), **options)


def asked(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


ONE_TOOL = ["U 1+2?", "T Let me add.", 'C add({"a":1,"b":2})', "R add=3", "A sum is 3"]


def adding() -> list[Any]:
    return [calls(("add", {"a": 1, "b": 2}, "t1"), text="Let me add."), "sum is 3"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("model", [Scripted, Streamed], ids=["whole", "streamed"])
def test_s29_an_agent_with_one_tool(memory, handler, model, mode) -> None:
    """Question, narration, call, result, answer."""
    run(agent(model(answers=adding()), add), asked("1+2?"), mode, callbacks=[handler])
    assert transcript(memory) == ONE_TOOL
    assert memory.events[1].thought_type == "narration"
    assert memory.events[2].tool_call_id == memory.events[3].tool_call_id == "t1"


@pytest.mark.parametrize("stream_mode", ["values", "updates", "messages", "debug", "custom"])
def test_s29_every_stream_mode(memory, handler, stream_mode) -> None:
    """How the application reads the stream changes nothing."""
    graph = agent(Streamed(answers=adding()), add)
    list(graph.stream(asked("1+2?"), config={"callbacks": [handler]}, stream_mode=stream_mode))
    assert transcript(memory) == ONE_TOOL


def test_s29_the_event_stream(memory, handler) -> None:
    """``astream_events`` captures what ``invoke`` captures."""

    async def consume() -> None:
        graph = agent(Streamed(answers=adding()), add)
        async for _ in graph.astream_events(asked("1+2?"), config={"callbacks": [handler]}, version="v2"):
            pass

    asyncio.run(consume())
    assert transcript(memory) == ONE_TOOL


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("second", [{"a": 3, "b": 4}, {"a": 1, "b": 2}], ids=["different", "identical"])
def test_s30_parallel_calls_are_paired_by_id(memory, handler, second, mode) -> None:
    """Two calls at once, even with the same arguments, are two calls and two results."""
    answers = [calls(("add", {"a": 1, "b": 2}, "t1"), ("add", second, "t2")), "done"]
    run(agent(Scripted(answers=answers), add), asked("go"), mode, callbacks=[handler])
    rows = transcript(memory)
    assert (rows[0], rows[-1]) == ("U go", "A done")
    assert sorted(row[0] for row in rows[1:-1]) == ["C", "C", "R", "R"]
    results = {e.tool_call_id: e.tool_result for e in memory.events if hasattr(e, "tool_result")}
    assert {key: str(value) for key, value in results.items()} == {"t1": "3", "t2": str(second["a"] + second["b"])}


def test_s31_a_handled_tool_error_is_the_text_the_model_saw(memory, handler) -> None:
    """The result is marked as an error and reads as the model read it."""

    @tool
    def brittle(x: int) -> str:
        """Fail politely."""
        raise ToolException("out of paper")

    brittle.handle_tool_error = True
    answers = [calls(("brittle", {"x": 1}, "t1")), "sorry"]
    run(agent(Scripted(answers=answers), brittle), asked("go"), "invoke", callbacks=[handler])
    assert transcript(memory) == ["U go", 'C brittle({"x":1})', "R! brittle=out of paper", "A sorry"]


@needs_create_agent
def test_s32_an_unhandled_tool_error_ends_the_turn(memory, handler) -> None:
    """The call and what became of it are kept; there is no answer."""
    answers = [calls(("boom", {"x": 1}, "t1")), "never"]
    with pytest.raises(ValueError, match="kaput"):
        agent(Scripted(answers=answers), boom).invoke(asked("go"), config={"callbacks": [handler]})
    assert transcript(memory) == ["U go", 'C boom({"x":1})', "R! boom=ValueError('kaput now')"]


@needs_create_agent
def test_s33_a_tool_that_is_retried_is_one_call(memory, handler) -> None:
    """Three attempts are one call with one result."""
    from langchain.agents.middleware import ToolRetryMiddleware  # noqa: PLC0415 - langchain 1.0

    tries: list[int] = []

    @tool
    def flaky(x: int) -> str:
        """Work at the third attempt."""
        tries.append(x)
        if len(tries) < 3:
            raise ConnectionError("try again")
        return "fine"

    middleware = ToolRetryMiddleware(max_retries=3, initial_delay=0, jitter=False)
    graph = agent(Scripted(answers=[calls(("flaky", {"x": 1}, "t1")), "done"]), flaky, middleware=[middleware])
    graph.invoke(asked("go"), config={"callbacks": [handler]})
    assert len(tries) == 3
    assert transcript(memory) == ["U go", 'C flaky({"x":1})', "R flaky=fine", "A done"]


@pytest.mark.parametrize("mode", MODES)
def test_s34_an_unknown_tool(memory, handler, mode) -> None:
    """A call of a tool that does not exist is a call, and its refusal a result."""
    answers = [calls(("nope", {"x": 1}, "t1")), "sorry"]
    run(agent(Scripted(answers=answers), add), asked("go"), mode, callbacks=[handler])
    rows = transcript(memory)
    assert rows[:2] == ["U go", 'C nope({"x":1})']
    assert rows[2].startswith("R! nope=")
    assert "not a valid tool" in rows[2]
    assert rows[3:] == ["A sorry"]


@pytest.mark.parametrize("how", ["model", "explicit callbacks", "sub-agent"])
def test_s35_what_a_tool_does_inside_is_its_own_business(memory, handler, how) -> None:
    """Models and agents that run inside a tool add nothing to the conversation."""

    @tool
    def research(topic: str) -> str:
        """Look deeper."""
        if how == "model":
            Scripted(answers=["inner"]).invoke(topic)
        elif how == "explicit callbacks":
            Scripted(answers=["inner"]).invoke(topic, config={"callbacks": [handler]})
        else:
            inner = agent(Scripted(answers=[calls(("add", {"a": 1, "b": 1}, "i1")), "inner"]), add)
            inner.invoke(asked(topic), config={"configurable": {"thread_id": "other"}})
        return "found"

    answers = [calls(("research", {"topic": "cats"}, "t1")), "done"]
    agent(Scripted(answers=answers), research).invoke(asked("go"), config={"callbacks": [handler]})
    assert transcript(memory) == ["U go", 'C research({"topic":"cats"})', "R research=found", "A done"]


def test_s35_inner_tools_can_be_asked_for(memory) -> None:
    """With ``nested_tools`` the tools of a sub-agent appear."""
    handler = SynapCallbackHandler(memory, conversation_id="c", nested_tools=True)

    @tool
    def research(topic: str) -> str:
        """Look deeper."""
        inner = agent(Scripted(answers=[calls(("add", {"a": 1, "b": 1}, "i1")), "inner"]), add)
        inner.invoke(asked(topic))
        return "found"

    answers = [calls(("research", {"topic": "cats"}, "t1")), "done"]
    agent(Scripted(answers=answers), research).invoke(asked("go"), config={"callbacks": [handler]})
    rows = transcript(memory)
    assert 'C add({"a":1,"b":1})' in rows
    assert "R add=2" in rows
    assert [row for row in rows if row[0] in "UA"] == ["U go", "A done"]


def test_s36_injected_arguments_stay_at_home(memory, handler) -> None:
    """Arguments are what the model wrote, not the state that the framework adds."""

    @tool
    def peek(x: int, state: Annotated[dict, InjectedState], call_id: Annotated[str, InjectedToolCallId]) -> str:
        """Look at the state."""
        return f"{x} {len(state['messages'])} {call_id}"

    answers = [calls(("peek", {"x": 1}, "t1")), "done"]
    agent(Scripted(answers=answers), peek).invoke(asked("go"), config={"callbacks": [handler]})
    assert transcript(memory) == ["U go", 'C peek({"x":1})', "R peek=1 2 t1", "A done"]


@pytest.mark.parametrize("kind", ["command", "artifact", "dict"])
def test_s37_what_the_model_got_is_the_result(memory, handler, kind) -> None:
    """A Command counts as its message, an artifact is left out, data is kept as data."""

    @tool
    def by_command(call_id: Annotated[str, InjectedToolCallId]) -> Command:
        """Steer."""
        return Command(update={"messages": [ToolMessage("steered", tool_call_id=call_id)]})

    @tool(response_format="content_and_artifact")
    def by_artifact() -> tuple[str, Any]:
        """Give more than a text."""
        return "content", {"secret": "artifact"}

    @tool
    def by_dict() -> dict[str, int]:
        """Give data."""
        return {"n": 1}

    chosen = {"command": by_command, "artifact": by_artifact, "dict": by_dict}[kind]
    expected = {"command": "steered", "artifact": "content", "dict": '{"n": 1}'}[kind]
    answers = [calls((chosen.name, {}, "t1")), "done"]
    agent(Scripted(answers=answers), chosen).invoke(asked("go"), config={"callbacks": [handler]})
    assert transcript(memory) == ["U go", f"C {chosen.name}({{}})", f"R {chosen.name}={expected}", "A done"]


def test_s38_a_tool_that_answers_directly(memory, handler) -> None:
    """Its result is also the answer."""

    @tool(return_direct=True)
    def direct(x: str) -> str:
        """Answer."""
        return f"direct {x}"

    answers = [calls(("direct", {"x": "x"}, "t1")), "never"]
    agent(Scripted(answers=answers), direct).invoke(asked("go"), config={"callbacks": [handler]})
    assert transcript(memory) == ["U go", 'C direct({"x":"x"})', "R direct=direct x", "A direct x"]


class Person(BaseModel):
    """Somebody."""

    name: str


@needs_create_agent
def test_s39_a_structured_answer_is_no_tool_call(memory, handler) -> None:
    """The tool that carries the structure does not exist for the user."""
    from langchain.agents.structured_output import ToolStrategy  # noqa: PLC0415 - langchain 1.0

    answers = [calls(("Person", {"name": "bob"}, "t1"))]
    graph = agent(Scripted(answers=answers), add, response_format=ToolStrategy(Person))
    graph.invoke(asked("who?"), config={"callbacks": [handler]})
    assert transcript(memory) in (["U who?", 'A {"name": "bob"}'], ["U who?", 'A {"name":"bob"}'])


def test_s40_tools_that_the_provider_runs(memory, handler) -> None:
    """Calls and results inside the message's blocks are calls and results."""
    blocks = [
        {"type": "server_tool_call", "name": "web_search", "args": {"query": "cats"}, "id": "s1"},
        {"type": "server_tool_result", "tool_call_id": "s1", "status": "success", "output": "cats are nice"},
        {"type": "text", "text": "found"},
    ]
    Scripted(answers=[AIMessage(blocks)]).invoke("look", config={"callbacks": [handler]})
    assert transcript(memory) == ["U look", 'C web_search({"query":"cats"})', "R web_search=cats are nice", "A found"]


@pytest.mark.parametrize("how", ["by hand", "tool.invoke"])
def test_s41_a_manual_loop_is_one_turn_over_several_roots(memory, handler, how) -> None:
    """Whoever writes the loop himself gets the same transcript."""
    config = {"callbacks": [handler]}
    model, messages = Scripted(answers=adding()), [HumanMessage("1+2?")]
    messages.append(model.invoke(messages, config=config))
    call = messages[-1].tool_calls[0]
    messages.append(
        ToolMessage("3", tool_call_id="t1", name="add") if how == "by hand" else add.invoke(call, config=config)
    )
    model.invoke(messages, config=config)
    assert transcript(memory) == ONE_TOOL


def test_s42_a_tool_on_the_client(memory, handler) -> None:
    """The graph ends with a call; the next input brings the result; the turn goes on."""
    config = {"callbacks": [handler]}
    model, messages = Scripted(answers=[calls(("geo", {}, "t1")), "You are in Paris"]), [HumanMessage("where am I?")]
    messages.append(model.invoke(messages, config=config))
    messages.append(ToolMessage("Paris", tool_call_id="t1", name="geo"))
    model.invoke(messages, config=config)
    assert transcript(memory) == ["U where am I?", "C geo({})", "R geo=Paris", "A You are in Paris"]


@pytest.mark.parametrize("identifier", ["call_0", None])
def test_s43_ids_that_come_back_or_are_missing(memory, handler, identifier) -> None:
    """A provider that counts from zero every turn, or gives no id, still gets its pairs."""
    if identifier is None and create_agent is not None:
        identifier = ""
    for n in (1, 2):
        answers = [calls(("add", {"a": n, "b": n}, identifier)), f"it is {2 * n}"]
        agent(Scripted(answers=answers), add).invoke(asked(f"{n}+{n}?"), config={"callbacks": [handler]})
    assert transcript(memory) == [
        row for n in (1, 2)
        for row in (f"U {n}+{n}?", f'C add({{"a":{n},"b":{n}}})', f"R add={2 * n}", f"A it is {2 * n}")
    ]  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_s44_two_rounds_in_their_order(memory, handler, mode) -> None:
    """Narration, call and result of each round stay together."""
    answers = [
        calls(("add", {"a": 1, "b": 2}, "t1"), text="first"),
        calls(("city", {"place": "Lisbon"}, "t2"), text="second"),
        "end",
    ]
    run(agent(Streamed(answers=answers), add, city), asked("go"), mode, callbacks=[handler])
    assert transcript(memory) == [
        "U go", "T first", 'C add({"a":1,"b":2})', "R add=3",
        "T second", 'C city({"place":"Lisbon"})', "R city=Lisbon is in Portugal", "A end",
    ]  # fmt: skip


def test_s53_a_handler_on_the_model_alone(memory, handler) -> None:
    """Without seeing the agent, full turns with their tools are captured."""
    history: list[Any] = []
    for n in (1, 2):
        answers = [calls(("add", {"a": n, "b": n}, f"t{n}")), f"it is {2 * n}"]
        graph = agent(Scripted(answers=answers, callbacks=[handler]), add)
        history = graph.invoke({"messages": [*history, HumanMessage(f"{n}+{n}?")]})["messages"]
    assert transcript(memory) == [
        row for n in (1, 2)
        for row in (f"U {n}+{n}?", f'C add({{"a":{n},"b":{n}}})', f"R add={2 * n}", f"A it is {2 * n}")
    ]  # fmt: skip
