"""LlamaIndex: a chat engine over documents, whose memory is Synap.

Run:     python examples/10_llamaindex_documents.py
Prints:  two conversations, and what the prompt of the second one held: of the documents, and of the first one.
"""

import tempfile

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import CompletionResponse, CompletionResponseGen, LLMMetadata
from llama_index.core.chat_engine import CondensePlusContextChatEngine
from llama_index.core.llms import CustomLLM
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from synap_integrations import Synap
from synap_integrations.llamaindex import SynapMemory

PAGES = ["The ferry to Cacilhas leaves every twenty minutes.", "The castle closes at sunset."]
TALKS = {"monday": "I am afraid of bridges.", "friday": "Is there a ferry or a way without bridges?"}


class Scripted(CustomLLM):
    """A model that says what it is told to; use your own."""

    says: list[str]
    asked: list[str]

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True)

    def complete(self, prompt: str, formatted: bool = False, **_: object) -> CompletionResponse:
        self.asked.append(prompt)
        return CompletionResponse(text=self.says.pop(0))

    def stream_complete(self, prompt: str, formatted: bool = False, **_: object) -> CompletionResponseGen:
        yield self.complete(prompt, formatted)


class ByWords(BaseRetriever):
    """Finds the page that shares most words with the question; use your index."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        best = max(PAGES, key=lambda page: sum(word in page for word in query_bundle.query_str.split()))
        return [NodeWithScore(node=TextNode(text=best))]


def main() -> None:
    llm = Scripted(says=["Noted: no bridges.", "By ferry, as you don't like bridges."], asked=[])
    with tempfile.TemporaryDirectory() as folder, Synap(base_url="local", storage_path=folder) as synap:
        for conversation, question in TALKS.items():
            memory = SynapMemory(synap, user_id="ana", conversation_id=conversation)
            engine = CondensePlusContextChatEngine.from_defaults(ByWords(), llm=llm, memory=memory)
            print(f"ana   {question}\nagent {engine.chat(question)}")
            synap.flush()
        print(*[line for line in llm.asked[-1].splitlines() if line.startswith("| ") or "ferry to" in line], sep="\n")


if __name__ == "__main__":
    main()
