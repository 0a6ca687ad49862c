"""What engines and agents of LlamaIndex look up among what was pushed: the platform learns which of it was used."""

import asyncio

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import Memory
from used import assert_a_push_is_used

from synap_integrations.llamaindex import SynapMemoryBlock, SynapRetriever, SynapSearchTool
from synap_integrations.model import Context, ContextItem, ContextUsed, Receipt
from synap_integrations.ports import Answer
from synap_integrations.testing import FakeMemory

# LlamaIndex itself uses what pydantic has deprecated.
pytestmark = [pytest.mark.usefixtures("no_turn_left"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

QUESTION = "What may I cook with shellfish?"
ANA = {"user_id": "ana", "conversation_id": "tuesday"}
ITEMS = (ContextItem("i1", "facts", text="Ana is allergic."), ContextItem("i2", "facts", text="Ana likes stew."))


async def block_in_memory(memory, times=1):
    """The messages that LlamaIndex's memory with our block gives for a question, asked for so many times."""
    kept = Memory.from_defaults(session_id="s", memory_blocks=[SynapMemoryBlock(memory, **ANA)], insert_method="user")
    await kept.aput(ChatMessage(role="user", content=QUESTION))
    found = [await kept.aget() for _ in range(times)]
    await kept.sql_store._async_engine.dispose()  # LlamaIndex leaves it to the garbage collector
    return found[-1]


LOOKED_UP = {
    "retriever": lambda memory: SynapRetriever(memory, **ANA).retrieve(QUESTION),
    "retriever-async": lambda memory: asyncio.run(SynapRetriever(memory, **ANA).aretrieve(QUESTION)),
    "tool": lambda memory: SynapSearchTool(memory, **ANA).call(query=QUESTION),
    "tool-async": lambda memory: asyncio.run(SynapSearchTool(memory, **ANA).acall(query=QUESTION)),
    "block": lambda memory: asyncio.run(block_in_memory(memory)),
    "block-again": lambda memory: asyncio.run(block_in_memory(memory, times=3)),
}
WAYS = pytest.mark.parametrize("look_up", LOOKED_UP.values(), ids=LOOKED_UP)


def knowing(items=ITEMS, bundle_ids=("b",)):
    """A memory that recalls and finds these."""
    receipt = Receipt(QUESTION, bundle_ids=bundle_ids)
    source = "pushed" if bundle_ids else "fetched"
    return FakeMemory(Context(items, source=source, receipt=receipt), Answer(items=items, bundle_ids=bundle_ids))


@WAYS
def test_the_platform_learns_that_its_bundle_was_shown(look_up, synap):
    """A bundle that was pushed for a question and answers it counts as used, with the items that were shown."""
    assert_a_push_is_used(synap, QUESTION, lambda: look_up(synap.memory))


@WAYS
def test_what_was_pushed_and_shown_is_recorded_once(look_up):
    """One event, with the bundle and the items that were handed over, for the user and conversation that was named."""
    memory = knowing()
    look_up(memory)
    (entry,) = memory.recorded
    assert entry.event == ContextUsed(("b",), ("i1", "i2"), assembly=entry.event.assembly)
    assert (entry.scope.user_id, entry.scope.conversation_id) == ("ana", "tuesday")


@WAYS
@pytest.mark.parametrize("memory", [lambda: knowing(bundle_ids=()), lambda: knowing(items=())], ids=["asked", "none"])
def test_nothing_is_recorded_where_no_bundle_was_shown(look_up, memory):
    """What was asked for is no bundle, and a bundle of which nothing is shown is not used."""
    known = memory()
    look_up(known)
    assert known.recorded == []


async def test_calls_of_one_turn_at_once_report_the_block_once():
    """Two calls that ask for a block at the same time are given the same text, and it is reported once."""

    class Slow(FakeMemory):
        """Answers both calls after both have asked."""

        async def arecall(self, query, *, scope):
            found = self.recall(query, scope=scope)
            while len(self.recalled) < 2:  # noqa: ASYNC110 - the other one is about to ask
                await asyncio.sleep(0)
            return found

    memory = Slow(knowing().context)
    block = SynapMemoryBlock(memory, **ANA)
    asked = [ChatMessage(role="user", content=QUESTION)]
    first, second = await asyncio.gather(block.aget(asked), block.aget(asked))
    assert first == second != ""
    (event,) = memory.events
    assert (event.bundle_ids, event.item_ids) == (("b",), ("i1", "i2"))
