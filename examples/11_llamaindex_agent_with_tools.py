"""LlamaIndex: an agent with tools; call, result, reasoning and answer are kept.

Run:     python examples/11_llamaindex_agent_with_tools.py
Prints:  the answer, and what became of the turn's events.
"""

import asyncio
import tempfile

from llama_index.core.agent.workflow import ReActAgent
from llama_index.core.base.llms.types import CompletionResponse, CompletionResponseGen, LLMMetadata
from llama_index.core.llms import CustomLLM

from synap_integrations import Synap
from synap_integrations.llamaindex import SynapMemory

SCRIPT = [
    'Thought: I need the booking.\nAction: flight_of\nAction Input: {"name": "Ana"}',
    "Thought: I know it now.\nAnswer: You fly on 14 June at 6:40.",
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


def flight_of(name: str) -> str:
    """Look up a booking."""
    return f"{name}: TP 1363, 14 June, 6:40"


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Synap(base_url="local", storage_path=folder) as synap:
        agent = ReActAgent(llm=Scripted(says=list(SCRIPT)), tools=[flight_of])
        memory = SynapMemory(synap, user_id="ana", conversation_id="trip-1")
        print("agent", await agent.run("When is my flight?", memory=memory))
        synap.flush()
        status = synap.status()
        print(f"captured {status.captured} events, delivered {status.delivered}, waiting {status.waiting}")


if __name__ == "__main__":
    asyncio.run(main())
