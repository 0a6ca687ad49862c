"""What other tools export, read as turns: one file for each kind of export, pure functions and no I/O.

Each module has ``recognizes(document) -> bool`` and ``read(document) -> Iterator[ImportedTurn]``; a document is parsed
JSON, or the list of the lines of a JSON-lines file. What has no speaker, no words or no place in a conversation is left
out. Recognition looks at names that only this tool uses, so that no document is claimed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from . import chatgpt, langfuse, langsmith, mem0, zep
from .turns import ImportedTurn


@dataclass(frozen=True, slots=True)
class ExportReader:
    """One kind of export."""

    title: str
    recognizes: Callable[[object], bool]
    read: Callable[[object], Iterator[ImportedTurn]]


EXPORTS: Final = {
    "chatgpt": ExportReader("ChatGPT: conversations.json", chatgpt.recognizes, chatgpt.read),
    "zep": ExportReader("Zep: threads or sessions with their messages", zep.recognizes, zep.read),
    "langsmith": ExportReader("LangSmith: runs", langsmith.recognizes, langsmith.read),
    "langfuse": ExportReader("Langfuse: traces", langfuse.recognizes, langfuse.read),
    "mem0": ExportReader("mem0: memories", mem0.recognizes, mem0.read),
}
"""By the name that says on the command line what a file is."""


def recognized(document: object) -> str | None:
    """The name of the export that this document is, None if it is none of them."""
    return next((name for name, reader in EXPORTS.items() if reader.recognizes(document)), None)
