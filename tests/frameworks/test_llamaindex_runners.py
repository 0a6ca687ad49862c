"""The runners of LlamaIndex 0.12, which later versions have not: their turns are recorded like any other."""

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from llama_index.core import agent as agents
from llama_index.core.tools import FunctionTool
from llamaindex_models import Say, ScriptedLLM
from llamaindex_world import ask, settled, transcript

from synap_integrations.llamaindex import SynapMemory
from synap_integrations.testing import FakeMemory

pytestmark = [
    pytest.mark.skipif(not hasattr(agents, "FunctionCallingAgent"), reason="the older runners are gone since 0.13"),
    pytest.mark.usefixtures("no_turn_left"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
every_way = pytest.mark.parametrize("how", ["chat", "achat", "stream_chat", "astream_chat"])
WISH = 'Thought: I need a tool\nAction: add\nAction Input: {"a": 2, "b": 3}'
FINAL = "Thought: I know\nAnswer: it is 5"


@pytest.fixture
def sink():
    return FakeMemory()


@pytest.fixture
def memory(sink):
    return SynapMemory(sink, user_id="ana", conversation_id="c1")


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def called(sink):
    """The call and its result as they must stand there, under the id that the call was given."""
    call_id = next(row.split()[1] for row in transcript(sink) if row.startswith("C "))
    return [f"C {call_id} add {{'a': 2, 'b': 3}}", f"T {call_id} 5"]


@pytest.mark.parametrize("how", ["chat", "achat"])
async def test_s48_function_calling(how, sink, memory):
    """The turn is recorded once, although it reaches the memory as a whole."""
    llm = ScriptedLLM(Say("", calls=[("call_1", "add", {"a": 2, "b": 3})]), "it is 5")
    agent = agents.FunctionCallingAgent.from_tools([FunctionTool.from_defaults(add)], llm=llm, memory=memory)
    assert await ask(agent, how, "2+3?") == "it is 5"
    assert transcript(sink) == ["U 2+3?", *called(sink), "A it is 5"]


@pytest.mark.parametrize("at_once", [False, True], ids=["in pieces", "at once"])
@every_way
async def test_s48_react(how, at_once, sink, memory):
    """Nothing of a ReAct runner's scratchpad is in the answer, streamed or not.

    A stream's last thought is shown to nobody: the runner cuts it off before it hands the stream out.
    """
    llm = ScriptedLLM(Say(WISH, at_once=at_once), Say(FINAL, at_once=at_once), "Thought: more\nAnswer: again")
    agent = agents.ReActAgent.from_tools([FunctionTool.from_defaults(add)], llm=llm, memory=memory)
    await ask(agent, how, "2+3?")
    assert settled()
    thoughts = [] if "stream" in how else ["R I know"]
    assert transcript(sink) == ["U 2+3?", "R I need a tool", *called(sink), *thoughts, "A it is 5"]
    await ask(agent, how, "and?")
    assert settled()
    assert [row for row in transcript(sink) if row[0] in "UA"] == ["U 2+3?", "A it is 5", "U and?", "A again"]
