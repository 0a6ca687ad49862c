"""What turns a text into a vector: an object of the application's, from LangChain, LlamaIndex or its own making.

Told apart by their verbs, so that no framework has to be imported.

Source: langchain_core 1.7, embeddings/embeddings.py, ``Embeddings``; llama_index.core 0.14,
base/embeddings/base.py, ``BaseEmbedding``.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

from synap_integrations.errors import InvalidInputError

Vectors = Sequence[Sequence[float]]


@runtime_checkable
class LangChainEmbeddings(Protocol):
    """``langchain_core.embeddings.Embeddings``, or anything with its verbs."""

    def embed_documents(self, texts: list[str], /) -> Vectors:
        """One vector for each text."""
        ...

    def embed_query(self, text: str, /) -> Sequence[float]:
        """The vector of a question."""
        ...


@runtime_checkable
class LlamaIndexEmbedding(Protocol):
    """``llama_index.core.embeddings.BaseEmbedding``, or anything with its verbs."""

    def get_text_embedding_batch(self, texts: list[str], /) -> Vectors:
        """One vector for each text."""
        ...

    def get_query_embedding(self, query: str, /) -> Sequence[float]:
        """The vector of a question."""
        ...


Embeddings = LangChainEmbeddings | LlamaIndexEmbedding


@dataclass(frozen=True, slots=True)
class Encoder:
    """Texts and questions to vectors. ``name`` tells encoders apart whose vectors do not compare."""

    name: str
    of_texts: Callable[[list[str]], Vectors]
    of_query: Callable[[str], Sequence[float]]


def encoder_of(given: object) -> Encoder:
    """The encoder that this object is.

    Raises: InvalidInputError, if it has the verbs of neither framework.
    """
    if isinstance(given, LangChainEmbeddings):
        return Encoder(_name(given), given.embed_documents, given.embed_query)
    if isinstance(given, LlamaIndexEmbedding):
        return Encoder(_name(given), given.get_text_embedding_batch, given.get_query_embedding)
    message = (
        f"embeddings: {type(given).__name__} has neither embed_documents and embed_query (LangChain) "
        "nor get_text_embedding_batch and get_query_embedding (LlamaIndex)"
    )
    raise InvalidInputError(message, details={"argument": "embeddings"})


def _name(given: object) -> str:
    """The class, and the model that it says it uses."""
    said = (getattr(given, attribute, None) for attribute in ("model_name", "model", "model_id", "deployment"))
    model = next((name for name in said if isinstance(name, str) and name), "")
    return f"{type(given).__module__}.{type(given).__qualname__} {model}".strip()


def unit(vector: Iterable[Any]) -> array[float]:
    """The vector at length 1, as float32; numbers of any kind are taken.

    Raises: ValueError, if something in it is no finite number.
    """
    found = [float(number) for number in cast("Iterable[float]", vector)]
    length = math.sqrt(math.fsum(number * number for number in found))
    if not math.isfinite(length):
        message = "an embedding holds a number that is not finite"
        raise ValueError(message)
    return array("f", found if length == 0 else [number / length for number in found])
