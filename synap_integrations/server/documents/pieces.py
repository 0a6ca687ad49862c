"""Documents and transcripts in pieces that are turns: utterances where there are speakers, else paragraphs.

Pure functions. Every piece is word for word what was handed over; nothing is summarised and nothing is guessed about
who spoke.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from synap_integrations.wire.items import moment

DOCUMENT_ROLE: Final = "document"
"""The role of a piece that nobody in a conversation said."""
CONVERSATIONS: Final = frozenset({"ai-chat-conversation", "meeting-transcript", "transcript"})
KINDS: Final = CONVERSATIONS | {"document", "email", "pdf", "image", "audio"}
MOST_CHARS: Final = 1500
"""Longest piece of running text: what comes back into a prompt should be the passage and not the book."""

_LABEL: Final = re.compile(r"^(?P<who>[^\W\d_][\w .'-]{0,39}):[ \t]+", re.MULTILINE)
_PARAGRAPH: Final = re.compile(r"\n\s*\n")
_SENTENCE: Final = re.compile(r"(?<=[.!?…。！？])\s+")  # noqa: RUF001 - full-width marks end sentences too
_USERS: Final = frozenset({"user", "human"})
_ROLE_NAMES: Final = _USERS | {"assistant", "ai", "agent", "bot", "system"}
_LISTS: Final = ("messages", "turns", "transcript")


@dataclass(frozen=True, slots=True)
class Piece:
    """One turn of a document."""

    role: str
    content: str
    speaker: str | None = None
    said_at: datetime | None = None
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])


def pieces_of(document: object, kind: str) -> list[Piece]:
    """The document in pieces; empty if there is nothing in it."""
    if kind in CONVERSATIONS and (entries := _entries(document)) is not None:
        return [piece for entry in entries if (piece := _utterance(entry))]
    text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    if kind in CONVERSATIONS and _LABEL.search(text):
        return list(_labelled(text))
    return [Piece(DOCUMENT_ROLE, passage) for passage in _passages(text)]


def _entries(document: object) -> list[Any] | None:
    """The list of utterances in a document, None if it has none."""
    if isinstance(document, Mapping):
        document = next((document[name] for name in _LISTS if isinstance(document.get(name), list)), None)
    return document if isinstance(document, list) else None


def _utterance(entry: object) -> Piece | None:
    if not isinstance(entry, Mapping) or not isinstance(content := entry.get("content"), str) or not content:
        return None
    speaker, metadata = entry.get("speaker"), entry.get("metadata")
    return Piece(
        role=_role(str(entry.get("role") or speaker or "")),
        content=content,
        speaker=speaker if isinstance(speaker, str) and speaker else None,
        said_at=moment(entry.get("timestamp")),
        metadata=metadata if isinstance(metadata, Mapping) else {},
    )


def _labelled(text: str) -> Iterator[Piece]:
    """``Ana: hello`` line by line; lines without a label belong to the one before."""
    labels = list(_LABEL.finditer(text))
    if opening := text[: labels[0].start()].strip():
        yield Piece(DOCUMENT_ROLE, opening)
    ends = [label.start() for label in labels[1:]] + [len(text)]
    for label, end in zip(labels, ends, strict=True):
        if content := text[label.end() : end].strip():
            who = label["who"]
            yield Piece(_role(who), content, None if who.lower() in _ROLE_NAMES else who)


def _role(label: str) -> str:
    return "user" if label.strip().lower() in _USERS else "assistant"


def _passages(text: str) -> Iterator[str]:
    """Paragraphs, and the sentences of those that are too long, put together up to `MOST_CHARS`."""
    for paragraph in _PARAGRAPH.split(text):
        held = ""
        for sentence in _SENTENCE.split(paragraph.strip()):
            if held and len(held) + len(sentence) >= MOST_CHARS:
                yield held
                held = ""
            held = f"{held} {sentence}" if held else sentence
        while held:
            passage, held = held[: 2 * MOST_CHARS], held[2 * MOST_CHARS :]
            yield passage
