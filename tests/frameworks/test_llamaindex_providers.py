"""Scenario 63: what the adapters of providers make of messages with context, without any network."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")
pytest.importorskip("llama_index.llms.anthropic.utils", reason="no adapter for Anthropic here")
pytest.importorskip("llama_index.llms.openai.utils", reason="no adapter for OpenAI here")
pytest.importorskip("llama_index.llms.google_genai.utils", reason="no adapter for Gemini here")

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.llms.anthropic import utils as anthropic
from llama_index.llms.google_genai import utils as gemini
from llama_index.llms.openai import utils as openai
from llamaindex_models import ScriptedLLM
from llamaindex_world import known

from synap_integrations.context.render import has_context
from synap_integrations.llamaindex import SynapMemory
from synap_integrations.testing import FakeMemory

pytestmark = [pytest.mark.usefixtures("no_turn_left"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]
OLD = [("user", "old q"), ("assistant", "old a")]


class Converting(ScriptedLLM):
    """Hands the messages it is called with to an adapter, the very objects, as that provider's model would."""

    _adapter: Any = PrivateAttr()
    _converted: list = PrivateAttr(default_factory=list)

    def __init__(self, adapter):
        super().__init__("fine")
        self._adapter = adapter

    @property
    def converted(self):
        """What the adapter has made of each prompt."""
        return self._converted

    def _next(self, messages):
        self._converted.append(self._adapter(messages))
        return super()._next(messages)


@pytest.fixture
def memory():
    """A memory with an old turn, whose user likes tea."""
    memory = SynapMemory(FakeMemory(known("Ana likes tea")), user_id="ana", conversation_id="c1")
    memory.set([ChatMessage(role=role, content=text) for role, text in OLD])
    return memory


async def two_turns(adapter, memory):
    """What the adapter made of the prompts of two turns, with the same history object behind both."""
    model = Converting(adapter)
    agent = FunctionAgent(llm=model, tools=[], system_prompt="SYS")
    await agent.run("q1", memory=memory)
    await agent.run("q2", memory=memory)
    assert [(m.role.value, m.content) for m in memory.get_all()] == [
        *OLD, ("user", "q1"), ("assistant", "fine"), ("user", "q2"), ("assistant", "fine")
    ]  # fmt: skip
    assert all(message.additional_kwargs == {} for message in memory.get_all())
    return model.converted


def texts(content):
    """The texts of a message as the provider gets them."""
    return [content] if isinstance(content, str) else [part["text"] for part in content]


def as_said(messages):
    """Role and text of the messages, their parts joined as the provider joins them."""
    return [(message["role"], "".join(texts(message["content"]))) for message in messages]


def with_the_block_last(told, question):
    """The block stands in the last message only, before the question, with a blank line between."""
    *before, (role, last) = told
    assert not any(has_context(text) for _, text in before)
    assert role == "user"
    assert has_context(last)
    assert "Ana likes tea" in last
    assert last.endswith(f"]\n\n{question}")
    return before


async def test_s63_anthropic(memory):
    """``system`` is the system prompt alone; the block is in the newest message of the user, the old ones are bare."""
    first, second = await two_turns(lambda m: anthropic.messages_to_anthropic_messages(m, cache_idx=2), memory)
    for (messages, system), question in ((first, "q1"), (second, "q2")):
        assert texts(system) == ["SYS"]
        before = with_the_block_last(as_said(messages), question)
        assert before[:2] == OLD


async def test_s63_openai(memory):
    """One system message, old turns as they were, the block before the question with a blank line between."""
    first, second = await two_turns(openai.to_openai_message_dicts, memory)
    for messages, question in ((first, "q1"), (second, "q2")):
        before = with_the_block_last(as_said(messages), question)
        assert before[:3] == [("system", "SYS"), *OLD]


async def test_s63_gemini(memory):
    """The instruction is the system prompt alone; neighbours are merged in place, and old turns stay the same."""

    def convert(messages):
        with ThreadPoolExecutor(1) as own_loop:
            preparing = gemini.prepare_chat_params("gemini-2.5-flash", messages)
            newest, given, _ = own_loop.submit(asyncio.run, preparing).result()
        instruction = given["config"].system_instruction
        return instruction, [
            (one.role, "".join(part.text for part in one.parts)) for one in [*given["history"], newest]
        ]

    for (instruction, told), question in zip(await two_turns(convert, memory), ("q1", "q2"), strict=True):
        assert instruction == "SYS"
        before = with_the_block_last(told, question)
        assert before[:2] == [("user", "old q"), ("model", "old a")]
