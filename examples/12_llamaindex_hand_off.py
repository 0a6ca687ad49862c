"""LlamaIndex: two agents, one hands over to the other, and the user has one turn with one answer.

Run:     python examples/12_llamaindex_hand_off.py
Prints:  the turn as it was kept: question, reasoning, hand-off, tool, answer.
"""

import asyncio

from llama_index.core.agent.workflow import AgentWorkflow, ReActAgent
from llama_index.core.base.llms.types import CompletionResponse, CompletionResponseGen, LLMMetadata
from llama_index.core.llms import CustomLLM

import synap_integrations
from synap_integrations.llamaindex import SynapCallbackHandler
from synap_integrations.testing import FakeMemory

DESK = ['Thought: Numbers are for B.\nAction: handoff\nAction Input: {"to_agent": "B", "reason": "numbers"}']
CALCULATOR = [
    'Thought: I add.\nAction: add\nAction Input: {"a": 2, "b": 3}',
    "Thought: I know.\nAnswer: It is 5.",
]


class Scripted(CustomLLM):
    """A model that says what it is told to; use your own."""

    says: list[str]

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True)

    def complete(self, prompt: str, formatted: bool = False, **_: object) -> CompletionResponse:
        return CompletionResponse(text=self.says.pop(0))

    def stream_complete(self, prompt: str, formatted: bool = False, **_: object) -> CompletionResponseGen:
        text = self.says.pop(0)
        yield CompletionResponse(text=text, delta=text)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def main() -> None:
    kept = FakeMemory()  # a Synap that only remembers, to look at; leave it out to use yours
    SynapCallbackHandler(kept)
    desk = ReActAgent(name="A", description="desk", llm=Scripted(says=DESK), can_handoff_to=["B"])
    calculator = ReActAgent(name="B", description="numbers", llm=Scripted(says=CALCULATOR), tools=[add])
    with synap_integrations.context(user_id="ana", conversation_id="sums"):
        await AgentWorkflow(agents=[desk, calculator], root_agent="A").run("What is 2 + 3?")
    for event in kept.events_of("sums"):
        print(event)


if __name__ == "__main__":
    asyncio.run(main())
