"""What chains and agents of LangChain look up among what was pushed: the platform learns which of it was used."""

import pytest

pytest.importorskip("langchain_core", reason="LangChain is not installed in this environment")

from langchain_models import run
from used import assert_a_push_is_used

from synap_integrations.langchain import SynapRetriever, SynapSearchTool, create_synap_node
from synap_integrations.model import ContextItem, ContextUsed
from synap_integrations.ports import Answer
from synap_integrations.testing import FakeMemory

BOTH = pytest.mark.parametrize("mode", ["invoke", "ainvoke"])
ANA = {"metadata": {"user_id": "ana", "thread_id": "tuesday"}}
QUESTION = "What may I cook with shellfish?"
LOOKED_UP = {
    "retriever": lambda mode, memory: run(mode, SynapRetriever(memory), QUESTION, ANA),
    "tool": lambda mode, memory: run(mode, SynapSearchTool(memory), {"query": QUESTION}, ANA),
    "node": lambda mode, memory: run(mode, create_synap_node(memory), {"messages": [("user", QUESTION)]}, ANA),
}
WAYS = pytest.mark.parametrize("look_up", LOOKED_UP.values(), ids=LOOKED_UP)
ITEMS = (ContextItem("i1", "facts", text="Ana is allergic."), ContextItem("i2", "facts", text="Ana likes stew."))


@BOTH
@WAYS
def test_the_platform_learns_that_its_bundle_was_shown(look_up, mode, synap, strict_guard):
    """A bundle that was pushed for a question and answers it counts as used, with the items that were shown."""
    assert_a_push_is_used(synap, QUESTION, lambda: look_up(mode, synap.memory))


@BOTH
@WAYS
def test_what_was_pushed_and_shown_is_recorded_once(look_up, mode, strict_guard):
    """One event, with the bundle and the items that were handed over, for the user and conversation of the run."""
    memory = FakeMemory(answer=Answer(items=ITEMS, bundle_ids=("b",), source="pushed"))
    look_up(mode, memory)
    (entry,) = memory.recorded
    assert entry.event == ContextUsed(("b",), ("i1", "i2"), assembly=entry.event.assembly)
    assert entry.event.assembly.source == "pushed"
    assert (entry.scope.user_id, entry.scope.conversation_id) == ("ana", "tuesday")


@BOTH
@WAYS
@pytest.mark.parametrize(
    "answer", [Answer(items=ITEMS, source="fetched"), Answer(bundle_ids=("b",), source="pushed")], ids=["asked", "none"]
)
def test_nothing_is_recorded_where_no_bundle_was_shown(look_up, mode, answer, strict_guard):
    """What was asked for is no bundle, and a bundle of which nothing is shown is not used."""
    memory = FakeMemory(answer=answer)
    look_up(mode, memory)
    assert memory.recorded == []


class Broken(FakeMemory):
    """A memory of somebody else's that cannot record."""

    def record(self, event, *, scope):
        raise OSError("full")


@BOTH
@WAYS
def test_a_memory_that_cannot_record_is_looked_up_all_the_same(look_up, mode):
    """Saying what was used is no reason for an answer to be lost."""
    memory = Broken(answer=Answer(items=ITEMS, bundle_ids=("b",), source="pushed"))
    assert "Ana is allergic." in str(look_up(mode, memory))
