"""Programs for the platform's own LlamaIndex package run with one changed import.

Each is written new, from what the platform's guide documents: names, keywords, and what may be expected.
"""

import asyncio

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from llama_index.core.agent.workflow import ReActAgent
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.chat_engine import CondensePlusContextChatEngine, SimpleChatEngine
from llamaindex_models import ScriptedLLM
from llamaindex_world import OneDocument
from moving import KINDS, holding

from synap_integrations import InvalidInputError, NetworkTimeoutError, Scope, context
from synap_integrations.llamaindex import (
    SynapChatMemory,
    SynapMemory,
    SynapRetriever,
    SynapSearchTool,
    SynapStoreTool,
    synap_st_chat_message,
)
from synap_integrations.model import AssistantMessage, UserMessage
from synap_integrations.ports import Answer
from synap_integrations.testing import FakeMemory

# LlamaIndex itself uses what pydantic has deprecated.
# LlamaIndex's synchronous engines, and the SDK, leave event loops to the garbage collector.
pytestmark = [
    pytest.mark.usefixtures("no_turn_left"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
BOTH = pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])


@pytest.fixture(params=KINDS, ids=["nothing", "synap", "sdk"])
def held(request):
    """What the program passes as ``sdk=``."""
    with holding(request.param) as held:
        yield held


def say(held, *turns):
    """A conversation that took place before."""
    for event in turns:
        held.synap.record(event, scope=Scope("conv-001", "alice", customer_id="acme"))
    held.flush()


@BOTH
def test_a_chat_memory_for_an_engine(sync, held):
    """The guide's engine: what was said in one conversation is known in the next."""

    def engine(conversation, llm):
        memory = SynapChatMemory(sdk=held.sdk, conversation_id=conversation, user_id="alice", customer_id="acme")
        return CondensePlusContextChatEngine.from_defaults(retriever=OneDocument(), memory=memory, llm=llm)

    def ask(engine, text):
        return str(engine.chat(text) if sync else asyncio.run(engine.achat(text)))

    assert ask(engine("conv-001", ScriptedLLM("Noted.")), "My action item is the budget.") == "Noted."
    held.flush()
    retriever = SynapRetriever(sdk=held.sdk, user_id="alice", customer_id="acme", mode="accurate", max_results=20)
    found = retriever.retrieve("action item") if sync else asyncio.run(retriever.aretrieve("action item"))
    assert "My action item is the budget." in [node.node.get_content() for node in found]


def test_a_chat_memory_reads_and_writes_by_hand(held):
    """Messages put are there, for an engine made with the defaults too."""
    memory = SynapChatMemory.from_defaults(sdk=held.sdk, user_id="alice", customer_id="")
    memory.put(ChatMessage(role=MessageRole.USER, content="hello"))
    memory.put(ChatMessage(role=MessageRole.ASSISTANT, content="hi"))
    assert [message.content for message in memory.get_all()] == ["hello", "hi"]
    assert memory._sink() is held.synap
    assert SimpleChatEngine.from_defaults(memory=memory, llm=ScriptedLLM("yes")).chat("ok?").response == "yes"
    assert isinstance(memory, SynapMemory)
    assert SynapChatMemory(held.sdk, "conv-1", "alice").conversation_id == "conv-1"


def test_an_agent_with_memory_and_tools(held):
    """The documented agent, with the tools under their names."""

    async def go():
        llm = ScriptedLLM(
            'Thought: keep it.\nAction: store_memory\nAction Input: {"content": "Alice takes her coffee black."}',
            "Thought: done.\nAnswer: Kept.",
            calling=False,
        )
        memory = SynapChatMemory(sdk=held.sdk, user_id="alice", customer_id="acme")
        tools = [SynapStoreTool(sdk=held.sdk), SynapSearchTool(sdk=held.sdk)]
        return str(await ReActAgent(llm=llm, tools=tools).run("Coffee, black.", memory=memory))

    assert asyncio.run(go()) == "Kept."
    search = SynapSearchTool(sdk=held.sdk, user_id="alice", customer_id="acme", mode="accurate")
    assert "coffee black" in search("coffee").content


async def test_the_conversation_as_a_system_message(held):
    """Above the program's own words; None if there is nothing to say; who is talking may stand around it."""
    say(held, UserMessage("Call me Al."), AssistantMessage("Hello Al."))
    for style in ("structured", "narrative", "bullet_points"):
        with context(user_id="alice", customer_id="acme"):
            message = await synap_st_chat_message(held.sdk, "conv-001", system="Be kind.", style=style)()
        assert message.role == MessageRole.SYSTEM
        assert "Call me Al." in message.content
        assert message.content.startswith("[synap-context ")
        assert message.content.endswith("\n\nBe kind.")
    assert await synap_st_chat_message(held.sdk, "conv-unheard-of", user_id="alice")() is None


async def test_a_platform_that_does_not_answer_is_nothing_or_an_error():
    """As ``on_error`` says; and what cannot be used is named at once."""
    memory = FakeMemory(answer=Answer(fault=NetworkTimeoutError("too late")))
    assert (await synap_st_chat_message(memory, "c", system="Be kind.")()).content == "Be kind."
    with pytest.raises(NetworkTimeoutError, match="too late"):
        await synap_st_chat_message(memory, "c", on_error="raise")()
    for wrong in ({"style": "poem"}, {"on_error": "ignore"}, {"sdk": 7}):
        with pytest.raises(InvalidInputError, match=next(iter(wrong))):
            synap_st_chat_message(**({"sdk": memory} | wrong))
    with pytest.raises(TypeError, match="stile"):
        synap_st_chat_message(memory, stile="narrative")
    with pytest.raises(InvalidInputError, match="sdk"):
        SynapChatMemory(sdk="https://example.org", conversation_id="c")
