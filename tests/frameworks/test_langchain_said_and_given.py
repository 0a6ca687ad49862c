"""What is recorded of answers without text, of results that are pictures, and of several questions at once."""

import base64
import hashlib

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_models import ScriptedModel, add, asking, call, transcript
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from langgraph_agents import make_agent, saver

from synap_integrations.guard import quiet
from synap_integrations.langchain import SynapCallbackHandler, with_synap_memory
from synap_integrations.langchain.capture import runs as bounds
from synap_integrations.model import Context, ContextItem, ToolResult
from synap_integrations.testing import FakeMemory

pytestmark = [
    pytest.mark.usefixtures("no_incidents"),
    pytest.mark.filterwarnings("ignore:.*create_react_agent.*"),
]


@pytest.fixture
def config(memory):
    """A config with the handler and one conversation."""
    return {"callbacks": [SynapCallbackHandler(memory)], "metadata": {"conversation_id": "c", "user_id": "u"}}


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (AIMessage([{"type": "refusal", "refusal": "I cannot help."}]), "I cannot help."),
        (AIMessage("", additional_kwargs={"refusal": "I cannot help."}), "I cannot help."),
        (AIMessage([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]), "[image_url]"),
    ],
    ids=["refusal block", "refusal beside", "picture"],
)
def test_an_answer_without_text_is_an_answer(message, words, memory, config) -> None:
    """A model that refuses, or answers with a picture, has answered."""
    GenericFakeChatModel(messages=iter([message])).invoke("draw", config)
    assert transcript(memory) == ["U draw", f"A {words}"]


def test_a_picture_that_a_tool_gives_back_is_named_and_not_kept(memory, config) -> None:
    """Of 200 KB in base64 the record has type, size and hash."""
    data = base64.b64encode(b"x" * 150_000).decode()

    @tool
    def photo(x: int) -> list:
        """Take a picture."""
        return [{"type": "image", "base64": data, "mime_type": "image/png"}]

    make_agent(ScriptedModel(answers=[asking("", call("photo", {"x": 1})), "nice"]), [photo]).invoke(
        {"messages": [HumanMessage("look")]}, config
    )
    assert transcript(memory)[:2] == ["U look", 'C photo({"x": 1})']
    (result,) = [event for event in memory.events if isinstance(event, ToolResult)]
    digest = hashlib.sha256(data.encode()).hexdigest()[:16]
    assert result.tool_result == f"[image/png, 150000 bytes, sha256 {digest}]"


@pytest.mark.parametrize("together", [True, False], ids=["together", "one by one"])
def test_each_question_is_asked_once_and_each_answer_recorded(together, memory, config) -> None:
    """Two nodes ask at once; their answers come by id, in one resume or in two."""
    graph = StateGraph(MessagesState)
    for name in ("one", "two"):
        graph.add_node(name, lambda _, name=name: {"messages": [AIMessage(f"{name}: {interrupt(f'{name}?')}")]})
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    compiled, config = graph.compile(checkpointer=saver()), {**config, "configurable": {"thread_id": "c"}}
    compiled.invoke({"messages": [HumanMessage("hi")]}, config)
    asked = [found for task in compiled.get_state(config).tasks for found in task.interrupts]
    ids = {found.value: getattr(found, "id", None) or found.interrupt_id for found in asked}
    answers = [{ids["one?"]: "yes", ids["two?"]: "no"}] if together else [{ids["one?"]: "yes"}, {ids["two?"]: "no"}]
    for answer in answers:
        compiled.invoke(Command(resume=answer), config)
    rows = transcript(memory)
    assert [rows.count(row) for row in ("U hi", "A one?", "A two?", "U yes", "U no")] == [1] * 5


def test_a_long_turn_keeps_the_parents_that_are_still_open(memory, config, monkeypatch) -> None:
    """Past the bound of one turn the runs that have ended are forgotten: what comes below an open one is recorded."""
    monkeypatch.setattr(bounds, "MAX_RUNS_OF_ROOT", 50)
    step = RunnableLambda(lambda x: x)

    def work(text, config):
        for _ in range(80):
            step.invoke(1, config)
        add.invoke({"a": 1, "b": 2}, config)
        return "done"

    inner = RunnableLambda(work)
    RunnableLambda(lambda text, config: str(inner.invoke(text, config))).invoke("go", config)
    assert [row[0] for row in transcript(memory)] == ["U", "C", "R", "A"]


def test_our_own_model_calls_are_shown_nobodys_memory() -> None:
    """What an extractor or a mask asks its model is not mixed with what is remembered of a user."""

    class Knowing(FakeMemory):
        def recall(self, query, *, scope):
            return Context((ContextItem("1", "facts", text="the PIN is 1111"),))

    shown = []

    class Watched(ScriptedModel):
        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            shown.append(str(messages[-1].content))
            return super()._generate(messages, stop, run_manager, **kwargs)

    model = with_synap_memory(Watched(answers=["a", "b"]), Knowing(), user_id="ana")
    model.invoke("what is known?")
    with quiet():
        model.invoke("what is known?")
    assert ["1111" in prompt for prompt in shown] == [True, False]
