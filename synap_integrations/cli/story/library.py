"""The documents that LlamaIndex's part of the story talks about: this project's own pages, found by their words."""

from __future__ import annotations

import re
import sqlite3
import weakref
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Final

from llama_index.core import Document
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.node_parser import MarkdownNodeParser
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle

from synap_integrations.errors import InvalidInputError

PACKAGE: Final = "synap-integrations"
CHECKOUT: Final = Path(__file__).parents[3]
MOST_PASSAGES: Final = 2
_WORD: Final = re.compile(r"\w+")
_QUOTED: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
"""Code and output: some of it is this demo's own, and would answer the questions from the wrong place."""


def pages(checkout: Path = CHECKOUT) -> tuple[str, dict[str, str]]:
    """Where the pages are from, and their text by name: the checkout's README and docs. An installed package has no
    docs beside it; its README came with it.

    Raises: InvalidInputError, if there is neither.
    """
    if (checkout / "docs").is_dir():
        files = [checkout / "README.md", *sorted((checkout / "docs").rglob("*.md"))]
        texts = {str(file.relative_to(checkout)): file.read_text(encoding="utf-8") for file in files if file.is_file()}
        return f"{len(texts)} pages: README.md and docs/ of this checkout", texts
    try:
        readme = metadata(PACKAGE).json.get("description")
    except PackageNotFoundError:
        readme = None
    if not readme:
        message = f"no documents to talk about: run the demo in a checkout, or install the package {PACKAGE}"
        raise InvalidInputError(message)
    return "1 page: the README that came with the package, which is installed without docs/", {"README.md": str(readme)}


class Passages(BaseRetriever):
    """Finds the sections of these pages that share the most telling words with a question: no model, no network.

    SQLite ranks them (BM25 over stemmed words). What the pages quote is left out.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        documents = [Document(text=_QUOTED.sub("", text), metadata={"page": name}) for name, text in texts.items()]
        self._nodes: Sequence[BaseNode] = MarkdownNodeParser().get_nodes_from_documents(documents)
        for node in self._nodes:
            node.excluded_llm_metadata_keys = ["header_path"]
        # Agents call their tools on threads of their own, one at a time.
        self._words = sqlite3.connect(":memory:", check_same_thread=False)
        weakref.finalize(self, self._words.close)
        self._words.execute("CREATE VIRTUAL TABLE section USING fts5(words, tokenize='porter unicode61')")
        rows = [(number, node.get_content(MetadataMode.NONE)) for number, node in enumerate(self._nodes)]
        self._words.executemany("INSERT INTO section(rowid, words) VALUES (?, ?)", rows)
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        asked = " OR ".join(f'"{word}"' for word in _WORD.findall(query_bundle.query_str))
        ranked = "SELECT rowid, -rank FROM section WHERE section MATCH ? ORDER BY rank LIMIT ?"
        found = self._words.execute(ranked, (asked, MOST_PASSAGES)) if asked else ()
        return [NodeWithScore(node=self._nodes[number], score=score) for number, score in found]
