"""One user, two frameworks: what LangChain's part learned about Ana is in the prompt of LlamaIndex's part.

Run:     python examples/13_llamaindex_and_langchain.py
Prints:  both conversations, and the line of the second prompt that comes from the first.
"""

import tempfile

from langchain_core.language_models import FakeListChatModel
from llama_index.core.base.llms.types import CompletionResponse, CompletionResponseGen, LLMMetadata
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import CustomLLM

import synap_integrations
from synap_integrations import Synap
from synap_integrations.langchain import SynapCallbackHandler
from synap_integrations.llamaindex import SynapMemory


class Scripted(CustomLLM):
    """A model that says what it is told to, and shows what it was asked; use your own."""

    says: str

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True)

    def complete(self, prompt: str, formatted: bool = False, **_: object) -> CompletionResponse:
        print(*[f"prompt     {line}" for line in prompt.splitlines() if line.startswith("| ")], sep="\n")
        return CompletionResponse(text=self.says)

    def stream_complete(self, prompt: str, formatted: bool = False, **_: object) -> CompletionResponseGen:
        yield self.complete(prompt, formatted)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Synap(base_url="local", storage_path=folder) as synap:
        with synap_integrations.context(user_id="ana", conversation_id="in LangChain"):
            model = FakeListChatModel(responses=["I'll remember that."])
            said = model.invoke("I'm allergic to shellfish.", config={"callbacks": [SynapCallbackHandler(synap)]})
            print(f"LangChain  {said.content}")
        synap.flush()  # only so that this short program sees it at once; an application need not

        with synap_integrations.context(user_id="ana", conversation_id="in LlamaIndex"):
            llm = Scripted(says="Not the stew: it is made with shellfish.")
            engine = SimpleChatEngine.from_defaults(llm=llm, memory=SynapMemory(synap))
            print(f"LlamaIndex {engine.chat('Is there shellfish I could eat?')}")


if __name__ == "__main__":
    main()
