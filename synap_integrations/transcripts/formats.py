"""The formats that can be read: recognised by what they hold, in this order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from synap_integrations.errors import InvalidInputError

from . import langchain_dump, openai, own
from .exports import chatgpt, langfuse, langsmith, mem0, zep
from .messages import Document, Past, Read, read_messages

_LOOKED_AT: Final = 20


class Reading(Protocol):
    """How a format is read."""

    def __call__(self, documents: Sequence[Document], *, name: str) -> Iterator[Read]:
        """Everything in the documents, in order; ``name`` stands for conversations that have none."""
        ...


@dataclass(frozen=True, slots=True)
class Reader:
    """One format. ``sniff`` is true for a JSON value that only this format, or one further down, has."""

    name: str
    title: str
    sniff: Callable[[object], bool]
    read: Reading


def _exported(documents: Sequence[Document], *, name: str, read: Callable[[object], Iterator[Past]]) -> Iterator[Read]:  # noqa: ARG001 - `Reading`; exports name their conversations
    """All documents together: what is on lines of their own may belong together."""
    values = [document.value for document in documents]
    yield from read(values[0] if len(values) == 1 else values)


READERS: Final = (
    Reader("synap", "what `synap export` has written", own.is_line, own.read),
    Reader("chatgpt", "conversations.json of ChatGPT", chatgpt.recognizes, partial(_exported, read=chatgpt.read)),
    Reader("zep", "Zep's threads or sessions with messages", zep.recognizes, partial(_exported, read=zep.read)),
    Reader("langsmith", "LangSmith's runs", langsmith.recognizes, partial(_exported, read=langsmith.read)),
    Reader("langfuse", "Langfuse's traces", langfuse.recognizes, partial(_exported, read=langfuse.read)),
    Reader("mem0", "mem0's memories", mem0.recognizes, partial(_exported, read=mem0.read)),
    Reader(
        "langchain",
        "LangChain messages: messages_to_dict, dumpd, FileChatMessageHistory",
        langchain_dump.is_message,
        partial(read_messages, parse=langchain_dump.parse),
    ),
    Reader(
        "openai",
        "OpenAI-style messages, alone or in conversations",
        openai.is_message,
        partial(read_messages, parse=openai.parse),
    ),
)


def documents_in(path: Path) -> list[Document]:
    """The JSON values of a file: of each line, or the whole of it.

    Raises: InvalidInputError, naming the line that is no JSON; OSError.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{path} is not UTF-8 text (byte {error.start})"
        raise InvalidInputError(message) from None
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        message = f"{path} is empty"
        raise InvalidInputError(message)
    if len(lines) > 1 and not _is_json(lines[0][1]):
        return [Document(1, _parsed(text, path, 1))]
    return [Document(number, _parsed(line, path, number)) for number, line in lines]


def reader_for(documents: Sequence[Document], *, name: str | None) -> Reader:
    """The reader of this name; without one, the first that recognises something.

    Raises: InvalidInputError, if there is none.
    """
    for reader in READERS:
        if name in (None, reader.name) and (name or any(map(reader.sniff, _samples(documents)))):
            return reader
    known = "; ".join(f"{reader.name} ({reader.title})" for reader in READERS)
    message = f"{f'{name!r} is no format' if name else 'the format is not known'}; these are: {known}"
    raise InvalidInputError(message)


def _samples(documents: Sequence[Document]) -> Iterator[object]:
    for document in documents[:_LOOKED_AT]:
        value = document.value
        yield value
        inner = value.get("messages") if isinstance(value, dict) else value
        yield from inner[:_LOOKED_AT] if isinstance(inner, list) else ()


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _parsed(text: str, path: Path, line: int) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        at = getattr(error, "lineno", 1) + line - 1
        message = f"{path}, line {at}: not JSON ({getattr(error, 'msg', type(error).__name__)})"
        raise InvalidInputError(message) from None
