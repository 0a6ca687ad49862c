"""What looks like an object that LangChain has serialised is a text or a dict like any other: nothing revives it."""

import json

import pytest
from langchain_core.load import dumps, loads
from langchain_core.messages import HumanMessage
from langchain_models import WholeModel

from synap_integrations import Scope, Synap
from synap_integrations.langchain import SynapCallbackHandler, with_synap_memory
from synap_integrations.model import Context, ContextItem, ToolCall, ToolResult, UserMessage
from synap_integrations.testing import FakeMemory

SHAPES = {
    "secret": {"lc": 1, "type": "secret", "id": ["LOCKER"]},
    "constructor": {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain_core", "messages", "HumanMessage"],
        "kwargs": {"content": "revived"},
    },
    "nested": {"filter": [{"lc": 1, "type": "secret", "id": ["LOCKER"]}]},
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@pytest.fixture(autouse=True)
def secret(monkeypatch):
    """A secret of the process, under the name that the shapes ask for."""
    monkeypatch.setenv("LOCKER", "4711-of-the-locker")


@every_shape
def test_a_serialised_shape_reaches_the_platform_as_it_was(shape, synap_platform) -> None:
    """In the text of a turn, in the arguments of a tool and in its result: data as it was, and no secret with it."""
    scope = Scope("c-1", "ana")
    with Synap(**synap_platform.address) as synap:
        synap.record(UserMessage(json.dumps(shape)), scope=scope)
        synap.record(ToolCall("search", {"where": shape}, "call-1"), scope=scope)
        synap.record(ToolResult("search", shape, "call-1"), scope=scope)
        assert synap.flush(30)
    assert synap_platform.contents() == [json.dumps(shape)]
    called, returned = synap_platform.events
    assert json.loads(called.tool_args_json) == {"where": shape}
    assert json.loads(returned.tool_result_json) == shape
    received = f"{synap_platform.requests} {synap_platform.events}"
    assert "4711-of-the-locker" not in received
    assert "revived" not in received or shape is SHAPES["constructor"]


@every_shape
def test_a_serialised_shape_in_metadata_changes_nothing(shape) -> None:
    """In the metadata of a run it is nobody's id and nobody's secret; the turn is captured all the same."""
    memory = FakeMemory()
    metadata = {"conversation_id": "c-1", "user_id": "ana", "extra": shape}
    WholeModel().invoke([HumanMessage("hi")], {"callbacks": [SynapCallbackHandler(memory)], "metadata": metadata})
    assert [turn.content for turn in memory.turns] == ["hi", "re: hi"]
    assert {entry.scope.conversation_id for entry in memory.recorded} == {"c-1"}
    assert "4711-of-the-locker" not in repr(memory.recorded)


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta", "ignore:The default value of `allowed_objects`")
@every_shape
def test_a_prompt_with_a_serialised_shape_can_be_serialised(shape) -> None:
    """Shown in a prompt and sent through LangChain's own serialiser and back, it is the same text."""
    known = FakeMemory(Context((ContextItem("item-1", "facts", text=json.dumps(shape)),), source="pushed"))
    model = WholeModel()
    with_synap_memory(model, known, conversation_id="c-1", user_id="ana").invoke([HumanMessage("what is it?")])
    (prompt,) = model.seen
    assert '"lc"' in str(prompt[-1].content)
    revived = [loads(dumps(message)) for message in prompt]
    assert [message.content for message in revived] == [message.content for message in prompt]
    assert "4711-of-the-locker" not in str(revived)
