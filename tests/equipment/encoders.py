"""Real encoders that need no model: small, deterministic, and blind to everything but a few meanings.

`SENSES` says which words mean the same; a text's vector counts its senses. That is enough to find by meaning what
shares no word with the question.
"""

from __future__ import annotations

import re
from zlib import crc32

from langchain_core.embeddings import Embeddings
from llama_index.core.base.embeddings.base import BaseEmbedding

SENSES = (
    ("dog", "puppy", "hound", "canine", "biscuit"),
    ("car", "automobile", "vehicle", "cabriolet"),
    ("doctor", "physician", "dentist", "clinic"),
    ("happy", "glad", "joyful", "delighted"),
    ("food", "meal", "dinner", "supper"),
)


def senses(text: str) -> list[float]:
    """How often each meaning is in the text, and a little of each other word, wherever its checksum puts it."""
    words = re.findall(r"\w+", text.lower())
    others = [0.0] * 32
    for word in words:
        others[crc32(word.encode()) % len(others)] += 0.2
    return [float(sum(word in sense for word in words)) for sense in SENSES] + others


class SenseEmbeddings(Embeddings):
    """LangChain's verbs. ``fails`` many calls raise first; every call is kept."""

    def __init__(self, *, model: str = "senses-1", fails: int = 0, refuses: str = "") -> None:
        self.model = model
        self.fails = fails
        self.refuses = refuses
        self.documents: list[str] = []
        self.queries: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector for each text."""
        self._may_fail(texts)
        self.documents += texts
        return [senses(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        self._may_fail([text])
        self.queries.append(text)
        return senses(text)

    def _may_fail(self, texts: list[str]) -> None:
        if self.fails:
            self.fails -= 1
            raise ConnectionError("the encoder is away")
        if self.refuses and any(self.refuses in text for text in texts):
            raise ValueError("too long")


class LongerEmbeddings(SenseEmbeddings):
    """Another model under the same class: its vectors have one more number."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector for each text."""
        return [[*vector, 0.0] for vector in super().embed_documents(texts)]

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        return [*super().embed_query(text), 0.0]


class SenseEmbedding(BaseEmbedding):
    """LlamaIndex's verbs."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return senses(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return senses(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return senses(query)
