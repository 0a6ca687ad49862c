"""LlamaIndex: one query over documents and memory, fused by LlamaIndex's own retriever.

Run:     python examples/14_llamaindex_memory_and_documents.py
Prints:  what was found in both, best first.
"""

import tempfile

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from synap_integrations import Scope, Synap, context
from synap_integrations.llamaindex import SynapRetriever
from synap_integrations.model import UserMessage

MENU = ("The stew has mussels in it.", "The rice is all vegetables.")


class Menu(BaseRetriever):
    """Finds the whole menu. Put your index's retriever here."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(text=line), score=0.5) for line in MENU]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Synap(base_url="local", storage_path=folder) as synap:
        synap.record(UserMessage("I'm allergic to shellfish."), scope=Scope("monday", "ana"))
        synap.flush()  # only so that this short program finds it at once
        both = QueryFusionRetriever(
            [SynapRetriever(synap), Menu()], llm=MockLLM(), num_queries=1, use_async=False, mode="reciprocal_rerank"
        )
        with context(user_id="ana"):
            for found in both.retrieve("Am I allergic to anything in the stew?"):
                print(f"found {found.node.get_content()}")


if __name__ == "__main__":
    main()
