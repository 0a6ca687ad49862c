"""Agents: tool calls and their results, paired, once each, and the words on the way."""

from typing import Annotated

import langgraph.prebuilt
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import InjectedToolCallId, tool
from langchain_models import ScriptedModel, add, asking, boom, calculator, call, echo, pairs, run, transcript
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from langgraph_agents import ADDED, GRAPH_MODES, ask, every_mode, make_agent, needs, saver

from synap_integrations.langchain import SynapCallbackHandler
from synap_integrations.model import Thinking, ToolCall

pytestmark = pytest.mark.usefixtures("no_incidents")


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
@pytest.mark.parametrize("mode", [*GRAPH_MODES, pytest.param("astream_events v3", marks=needs("v3 events"))])
def test_s29_agent_with_one_tool(mode, memory, config):
    """An agent's turn is the same story however it is run or streamed."""
    run(mode, make_agent(calculator(), [add]), ask("1+2?"), config)
    assert transcript(memory) == ADDED
    assert pairs(memory) == [("C", "call-1"), ("R", "call-1")]


@every_mode
@pytest.mark.parametrize("second", [{"a": 3, "b": 4}, {"a": 1, "b": 2}], ids=["different", "identical"])
def test_s30_parallel_calls_are_paired_by_id(second, mode, memory, config):
    """Two calls at once get two results, each under its own id, also if they look the same."""
    model = ScriptedModel(
        answers=[asking("", call("add", {"a": 1, "b": 2}, "x"), call("add", second, "y")), AIMessage("done")]
    )
    run(mode, make_agent(model, [add]), ask(), config)
    results = {event.tool_call_id: event.tool_result for event in memory.events if hasattr(event, "tool_result")}
    assert sorted(pairs(memory)) == [("C", "x"), ("C", "y"), ("R", "x"), ("R", "y")]
    assert results == {"x": "3", "y": str(second["a"] + second["b"])}
    assert transcript(memory)[0] == "U go"
    assert transcript(memory)[-1] == "A done"


@every_mode
def test_s30_calls_that_look_the_same_may_run_in_any_order(mode, memory, config):
    """A loop that runs the second of two identical calls first still gets each result under its own id."""
    model = ScriptedModel(
        answers=[asking("", call("add", {"a": 1, "b": 2}, "x"), call("add", {"a": 1, "b": 2}, "y")), AIMessage("done")]
    )

    def loop(inputs, config):
        asked = model.invoke(inputs["messages"], config)
        results = [add.invoke(one, config) for one in reversed(asked.tool_calls)]
        return model.invoke([*inputs["messages"], asked, *results], config)

    run(mode, RunnableLambda(loop), {"messages": [HumanMessage("go")]}, config)
    assert sorted(pairs(memory)) == [("C", "x"), ("C", "y"), ("R", "x"), ("R", "y")]
    assert [told for told in transcript(memory) if told[0] == "R"] == ["R add=3", "R add=3"]


@tool
def careful(x: int = 0) -> str:
    """Fail politely."""
    raise ValueError("kaput now")


careful.handle_tool_error = True


@every_mode
def test_s31_a_handled_tool_error_is_what_the_model_saw(mode, memory, config):
    """The result of a tool that failed is the text that was given to the model, marked as an error."""
    node = langgraph.prebuilt.ToolNode([boom], handle_tool_errors="no luck: try later")
    model = ScriptedModel(answers=[asking("", call("boom", {"x": 1})), AIMessage("sorry")])
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", node)
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", langgraph.prebuilt.tools_condition)
    graph.add_edge("tools", "model")
    run(mode, graph.compile(), ask(), config)
    assert transcript(memory) == ["U go", 'C boom({"x": 1})', "R! boom=no luck: try later", "A sorry"]


@every_mode
def test_s32_an_unhandled_tool_error_is_a_result(mode, memory, config):
    """A tool that brings the agent down leaves its error as its result, and no answer."""
    model = ScriptedModel(answers=[asking("", call("boom", {"x": 1}))])
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", langgraph.prebuilt.ToolNode([boom], handle_tool_errors=False))
    graph.add_edge(START, "model")
    graph.add_edge("model", "tools")
    with pytest.raises(ValueError, match="kaput"):
        run(mode, graph.compile(), ask(), config)
    assert transcript(memory) == ["U go", 'C boom({"x": 1})', "R! boom=ValueError('kaput now')"]


@needs("create_agent")
@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_s33_a_retried_tool_has_one_call_and_one_result(mode, memory, config):
    """Two failed attempts before the third are not told."""
    from langchain.agents.middleware import ToolRetryMiddleware  # noqa: PLC0415 - only in newer versions

    attempts = []

    @tool
    def flaky(x: int) -> str:
        """Fail twice."""
        attempts.append(x)
        if len(attempts) < 3:
            raise ConnectionError("not yet")
        return "fine"

    model = ScriptedModel(answers=[asking("", call("flaky", {"x": 1})), AIMessage("ok")])
    retry = ToolRetryMiddleware(max_retries=3, initial_delay=0.0, jitter=False)
    run(mode, make_agent(model, [flaky], middleware=[retry]), ask(), config)
    assert len(attempts) == 3
    assert transcript(memory) == ["U go", 'C flaky({"x": 1})', "R flaky=fine", "A ok"]


@every_mode
def test_s34_an_unknown_tool_is_a_call_with_an_error(mode, memory, config):
    """A tool that does not exist never starts; its call and the model's rebuke are told."""
    model = ScriptedModel(answers=[asking("", call("nope", {"x": 1})), AIMessage("sorry")])
    run(mode, make_agent(model, [add]), ask(), config)
    told = transcript(memory)
    assert told[:2] == ["U go", 'C nope({"x": 1})']
    assert told[2].startswith("R! nope=Error: nope is not a valid tool")
    assert told[3:] == ["A sorry"]


def agent_with_inner(inner, memory, config, mode, **options):
    """Run an agent whose only tool does what ``inner`` does."""

    @tool
    def research(topic: str) -> str:
        """Look into it."""
        return inner(topic)

    model = ScriptedModel(answers=[asking("", call("research", {"topic": "x"})), AIMessage("done")])
    config = {**config, "callbacks": [SynapCallbackHandler(memory, **options)]}
    run(mode, make_agent(model, [research]), ask(), config)


def inner_agent(topic, **config):
    """A sub-agent that uses a tool of its own."""
    return make_agent(calculator(), [add]).invoke(ask(topic), config or None)["messages"][-1].content


@every_mode
@pytest.mark.parametrize("kind", ["model", "model with the handler", "agent", "agent with its own thread"])
def test_s35_what_happens_inside_a_tool_is_the_tools_business(kind, mode, memory, config):
    """Models and agents that a tool uses say nothing to the user."""
    own = {"callbacks": [SynapCallbackHandler(memory)]}
    inner = {
        "model": lambda topic: echo().invoke(topic).content,
        "model with the handler": lambda topic: echo().invoke(topic, own).content,
        "agent": inner_agent,
        "agent with its own thread": lambda topic: inner_agent(topic, configurable={"thread_id": "inner"}, **own),
    }[kind]
    agent_with_inner(inner, memory, config, mode)
    result = "sum is 3" if "agent" in kind else "re: x"
    assert transcript(memory) == ["U go", 'C research({"topic": "x"})', f"R research={result}", "A done"]
    assert {entry.scope.conversation_id for entry in memory.recorded} == {"t"}


@every_mode
def test_s35_nested_tools_are_told_on_request(mode, memory, config):
    """With ``nested_tools`` the tools of a sub-agent appear between call and result of the tool that runs it."""
    agent_with_inner(inner_agent, memory, config, mode, nested_tools=True)
    assert transcript(memory) == [
        "U go",
        'C research({"topic": "x"})',
        'C add({"a": 1, "b": 2})',
        "R add=3",
        "R research=sum is 3",
        "A done",
    ]


@every_mode
def test_s36_injected_arguments_stay_inside(mode, memory, config):
    """Graph state and call id that the framework adds to a tool's arguments are not recorded."""

    @tool
    def peek(
        x: int, state: Annotated[dict, langgraph.prebuilt.InjectedState], call_id: Annotated[str, InjectedToolCallId]
    ) -> str:
        """Look at the state."""
        return f"{len(state['messages'])} {call_id}"

    model = ScriptedModel(answers=[asking("", call("peek", {"x": 1}, "c9")), AIMessage("ok")])
    run(mode, make_agent(model, [peek]), ask(), config)
    assert transcript(memory) == ["U go", 'C peek({"x": 1})', "R peek=2 c9", "A ok"]


@needs("create_agent")
@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
def test_s36_the_runtime_stays_inside(mode, memory, config):
    """A ``ToolRuntime`` is not an argument that the model wrote."""
    from langchain.tools import ToolRuntime  # noqa: PLC0415 - only in newer versions

    def peek(x: int, runtime: ToolRuntime) -> str:
        """Look at the state."""
        return f"{x} {len(runtime.state['messages'])}"

    model = ScriptedModel(answers=[asking("", call("peek", {"x": 1})), AIMessage("ok")])
    run(mode, make_agent(model, [tool(peek)]), ask(), config)
    assert transcript(memory) == ["U go", 'C peek({"x": 1})', "R peek=1 2", "A ok"]


@tool
def commanding(call_id: Annotated[str, InjectedToolCallId]) -> Command:
    """Answer with a Command."""
    return Command(update={"messages": [ToolMessage("by command", tool_call_id=call_id)]})


@tool(response_format="content_and_artifact")
def with_artifact() -> tuple[str, list[int]]:
    """Answer with more than the model sees."""
    return "the content", [1, 2, 3]


@tool
def dictionary() -> dict:
    """Answer with data."""
    return {"a": 1}


@every_mode
@pytest.mark.parametrize(
    ("made", "result"), [(commanding, "by command"), (with_artifact, "the content"), (dictionary, '{"a": 1}')]
)
def test_s37_a_result_is_what_the_model_sees(made, result, mode, memory, config):
    """Commands, artifacts and data come down to the text of the tool message."""
    model = ScriptedModel(answers=[asking("", call(made.name, {})), AIMessage("ok")])
    run(mode, make_agent(model, [made]), ask(), config)
    assert transcript(memory) == ["U go", f"C {made.name}({{}})", f"R {made.name}={result}", "A ok"]


@tool(return_direct=True)
def direct(x: str) -> str:
    """Answer the user."""
    return f"direct {x}"


@every_mode
def test_s38_a_direct_result_is_also_the_answer(mode, memory, config):
    """A tool that answers the user by itself gives result and answer in one."""
    model = ScriptedModel(answers=[asking("", call("direct", {"x": "x"}))])
    run(mode, make_agent(model, [direct]), ask(), config)
    assert transcript(memory) == ["U go", 'C direct({"x": "x"})', "R direct=direct x", "A direct x"]


@needs("create_agent")
@every_mode
@pytest.mark.parametrize("strategy", ["tool", "provider"])
@pytest.mark.parametrize("as_class", [True, False], ids=["class", "schema"])
def test_s39_a_structured_response_is_the_answer(as_class, strategy, mode, memory, config):
    """Whether by a pseudo tool or by the provider, the answer is its JSON and there is no tool call."""
    from langchain.agents.structured_output import ProviderStrategy, ToolStrategy  # noqa: PLC0415 - newer versions
    from pydantic import BaseModel  # noqa: PLC0415 - used here only

    class Person(BaseModel):
        """Somebody."""

        name: str

    schema = Person if as_class else Person.model_json_schema()
    answers = [asking("", call("Person", {"name": "bob"}))] if strategy == "tool" else ['{"name": "bob"}']
    response_format = (ToolStrategy if strategy == "tool" else ProviderStrategy)(schema)
    run(mode, make_agent(ScriptedModel(answers=answers), [add], response_format=response_format), ask("hi bob"), config)
    assert transcript(memory) == ["U hi bob", 'A {"name": "bob"}']


PROVIDER_BLOCKS = {
    "anthropic": [
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"title": "X"}]},
        {"type": "text", "text": "found"},
    ],
    "standard": [
        {"type": "server_tool_call", "id": "s1", "name": "web_search", "args": {"query": "x"}},
        {"type": "server_tool_result", "tool_call_id": "s1", "status": "success", "output": [{"title": "X"}]},
        {"type": "text", "text": "found"},
    ],
}


@pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
@pytest.mark.parametrize("blocks", PROVIDER_BLOCKS.values(), ids=PROVIDER_BLOCKS)
def test_s40_tools_that_the_provider_ran_are_told(blocks, mode, memory, config):
    """Calls and results inside a model's message are calls and results."""
    run(mode, make_agent(ScriptedModel(answers=[AIMessage(blocks)]), [add]), ask(), config)
    assert transcript(memory) == [
        "U go",
        'C web_search({"query": "x"})',
        "R web_search=[{'title': 'X'}]",
        "A found",
    ]


def test_s40_openai_reports_a_search_as_one_block(memory, config):
    """A search of OpenAI's own has no separate result block."""
    search = {"type": "web_search_call", "id": "ws1", "status": "completed", "action": {"type": "search", "query": "x"}}
    message = AIMessage([search, {"type": "text", "text": "found"}])
    run("invoke", ScriptedModel(answers=[message]), "go", config)
    assert transcript(memory)[1].startswith("C web_search(")
    assert pairs(memory) == [("C", "ws1"), ("R", "ws1")]
    assert memory.events[1].search_queries == ("x",)


@every_mode
@pytest.mark.parametrize("through_tools", [False, True], ids=["by hand", "tool.invoke"])
def test_s41_a_loop_by_hand_is_one_turn(through_tools, mode, memory, config):
    """An application that calls model and tools itself tells one turn over several runs."""
    handler = config["callbacks"]
    config = {"callbacks": handler, "metadata": {"thread_id": "t", "user_id": "u"}}
    model, history = calculator(), [HumanMessage("1+2?")]
    run(mode, model, history, config)
    asked = asking("Let me add.", call("add", {"a": 1, "b": 2}))
    history.append(asked)
    if through_tools:
        history.append(add.invoke(asked.tool_calls[0], config))
    else:
        history.append(ToolMessage("3", tool_call_id="call-1"))
    run(mode, model, history, config)
    assert transcript(memory) == ADDED


@every_mode
def test_s41_a_loop_without_names_still_tells_everything_once(mode, memory):
    """Where nobody says whose conversation it is, nothing is lost and nothing told twice."""
    config = {"callbacks": [SynapCallbackHandler(memory)]}
    model, history = calculator(), [HumanMessage("1+2?")]
    run(mode, model, history, config)
    history += [asking("Let me add.", call("add", {"a": 1, "b": 2})), ToolMessage("3", tool_call_id="call-1")]
    run(mode, model, history, config)
    assert transcript(memory) == ADDED


@every_mode
@pytest.mark.parametrize("checkpointed", [True, False])
def test_s42_a_tool_of_the_client(checkpointed, mode, memory, config):
    """A call that the application answers with its next input is one call with one result."""
    model = ScriptedModel(answers=[asking("", call("geo", {})), AIMessage("you are in Paris")])
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "model")
    app = graph.compile(checkpointer=saver() if checkpointed else None)
    run(mode, app, ask("where am I?"), config)
    assert transcript(memory) == ["U where am I?", "C geo({})"]
    result = ToolMessage("Paris", tool_call_id="call-1")
    history = [HumanMessage("where am I?"), asking("", call("geo", {}))]
    run(mode, app, {"messages": [result] if checkpointed else [*history, result]}, config)
    assert transcript(memory) == ["U where am I?", "C geo({})", "R geo=Paris", "A you are in Paris"]


@every_mode
def test_s43_ids_that_repeat_every_turn(mode, memory, config):
    """A provider that calls every first call ``call_0`` confuses nobody."""
    answers = []
    for n in (1, 2):
        answers += [asking("", call("add", {"a": n, "b": n}, "call_0")), AIMessage(f"done {n}")]
    agent = make_agent(ScriptedModel(answers=answers), [add], checkpointer=saver())
    for n in (1, 2):
        run(mode, agent, ask(f"go {n}"), config)
    assert transcript(memory) == [
        line
        for n in (1, 2)
        for line in (f"U go {n}", f'C add({{"a": {n}, "b": {n}}})', f"R add={2 * n}", f"A done {n}")
    ]


def test_s43_calls_without_ids(memory, config):
    """A provider that gives no ids gets pairs all the same."""
    config = {"callbacks": config["callbacks"], "metadata": {"thread_id": "t"}}
    model = ScriptedModel(answers=[asking("", call("add", {"a": 1, "b": 2}, None)), AIMessage("done")])
    model.invoke("go", config)
    add.invoke({"a": 1, "b": 2}, config)
    (asked, c_id), (answered, r_id) = pairs(memory)
    assert (asked, answered) == ("C", "R")
    assert c_id == r_id
    assert c_id


@every_mode
def test_s44_two_rounds_keep_their_order(mode, memory, config):
    """Words, call, result; words, call, result; answer."""
    answers = [
        asking("first", call("add", {"a": 1, "b": 1}, "x")),
        asking("second", call("add", {"a": 2, "b": 2}, "y")),
        AIMessage("end"),
    ]
    run(mode, make_agent(ScriptedModel(answers=answers), [add]), ask(), config)
    assert transcript(memory) == [
        "U go",
        "T first",
        'C add({"a": 1, "b": 1})',
        "R add=2",
        "T second",
        'C add({"a": 2, "b": 2})',
        "R add=4",
        "A end",
    ]
    thoughts = [event for event in memory.events if isinstance(event, Thinking)]
    assert [(t.step_index, t.thought_type) for t in thoughts] == [(0, "narration"), (1, "narration")]


REASONING = {
    "anthropic": {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}]},
    "openai": {
        "content": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"type": "text", "text": "yes"},
        ]
    },
    "standard": {"content": [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "yes"}]},
    "bedrock": {
        "content": [{"type": "reasoning_content", "reasoning_content": {"text": "hm"}}, {"type": "text", "text": "yes"}]
    },
    "deepseek": {"content": "yes", "additional_kwargs": {"reasoning_content": "hm"}},
}


@every_mode
@pytest.mark.parametrize("fields", REASONING.values(), ids=REASONING)
def test_reasoning_is_told_as_reasoning(fields, mode, memory, config):
    """What a reasoning model shows of its thoughts comes before its answer, and is no part of it."""
    run(mode, ScriptedModel(answers=[AIMessage(**fields)]), "well?", config)
    assert transcript(memory) == ["U well?", "T hm", "A yes"]
    assert memory.events[1].thought_type == "reasoning"


@pytest.mark.parametrize(
    ("narration", "line"), [("thinking", ["T Let me add."]), ("assistant", ["A Let me add."]), ("drop", [])]
)
def test_words_beside_tool_calls_are_what_the_application_says(narration, line, memory, config):
    """They are reasoning by default; an application may take them for answers, or not keep them."""
    config["callbacks"] = [SynapCallbackHandler(memory, narration=narration)]
    run("invoke", make_agent(calculator(), [add]), ask("1+2?"), config)
    assert transcript(memory) == [ADDED[0], *line, *ADDED[2:]]


def test_a_search_tells_what_it_searches_for(memory, config):
    """The arguments that look like a search are named, so that the platform can anticipate."""

    @tool
    def search(query: str, limit: int = 3) -> str:
        """Search."""
        return "found"

    model = ScriptedModel(
        answers=[asking("", call("search", {"query": "flights to Lisbon", "limit": 1})), AIMessage("ok")]
    )
    run("invoke", make_agent(model, [search]), ask(), config)
    (asked,) = [event for event in memory.events if isinstance(event, ToolCall)]
    assert asked.search_queries == ("flights to Lisbon",)


def test_a_chain_that_asks_for_tools_leaves_the_calls_to_the_application(memory, config):
    """``prompt | model`` that ends in a tool call tells the call, and no answer."""
    model = ScriptedModel(answers=[asking("One moment.", call("add", {"a": 1, "b": 2}))])
    prompt = ChatPromptTemplate.from_messages([("human", "{question}")])
    run("invoke", prompt | model, {"question": "1+2?"}, config)
    assert transcript(memory) == ["U 1+2?", "T One moment.", ADDED[2]]
