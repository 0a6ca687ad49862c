"""What every export is read into, and how the JSON of strangers is looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from synap_integrations.model import AssistantMessage, Event, Scope, UserMessage
from synap_integrations.transcripts.messages import Past, when

_IDS: Final = UUID("0d6f2f4c-7a55-5b0e-8c39-5f2a9d3f0b61")
NO_OBJECT: Final[Mapping[str, Any]] = {}
_USERS: Final = frozenset({"user", "human", "HumanMessage", "HumanMessageChunk"})
_ASSISTANTS: Final = frozenset({"assistant", "ai", "AIMessage", "AIMessageChunk", "model"})
_TEXTS: Final = frozenset({"text", "input_text", "output_text"})
_FIELDS: Final = {
    "user": ("messages", "input", "question", "query", "prompt", "human_input", "content", "text"),
    "assistant": ("messages", "output", "answer", "response", "generations", "result", "content", "text"),
}
"""Under which names what went in, and what came out, stands in a trace."""


def past(key: str, scope: Scope, event: Event, at: datetime | None) -> Past:
    """Something that happened; ``key`` names it within its export, also in a later one, and becomes its id."""
    return Past(scope=scope, event=event, occurred_at=at, event_id=str(uuid5(_IDS, key)))


@dataclass(frozen=True, slots=True)
class Said:
    """A message, in whatever shape it was: who spoke, and the words."""

    role: str
    text: str

    def event(self) -> Event:
        """As an event; ``role`` is user or assistant."""
        return UserMessage(self.text) if self.role == "user" else AssistantMessage(self.text)


def an_object(value: object) -> Mapping[str, Any]:
    """The value, if it is an object; else one with nothing in it."""
    return value if isinstance(value, Mapping) else NO_OBJECT


def a_list(value: object) -> Sequence[Any]:
    """The value, if it is a list; else an empty one."""
    return value if isinstance(value, list) else ()


def objects_of(document: object, *names: str) -> list[Mapping[str, Any]]:
    """The objects of a document: of the list that it is, or has under one of these names; else itself."""
    if isinstance(document, Mapping):
        document = next((document[name] for name in names if isinstance(document.get(name), list)), [document])
    return [entry for entry in a_list(document) if isinstance(entry, Mapping)]


def text_at(value: Mapping[str, Any], *names: str) -> str | None:
    """The first of these fields that holds text or a number, as text."""
    for name in names:
        found = value.get(name)
        if isinstance(found, str | int) and not isinstance(found, bool) and str(found).strip():
            return str(found)
    return None


def time_at(value: Mapping[str, Any], *names: str) -> datetime | None:
    """The first of these fields that holds a time: ISO text, or seconds since 1970."""
    return next((found for name in names if (found := when({"time": value.get(name)})) is not None), None)


def unfolded(value: object) -> object:
    """The JSON in a text, if it is an object or a list: some tools export structure as text."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def words_of(content: object) -> str:
    """The words of a content: a text, or the text blocks of a list."""
    if isinstance(content, str):
        return content
    blocks = [
        block if isinstance(block, str) else block.get("text")
        for block in a_list(content)
        if isinstance(block, str) or (isinstance(block, Mapping) and str(block.get("type", "text")) in _TEXTS)
    ]
    return "\n".join(block for block in blocks if isinstance(block, str) and block)


def said_in(message: object) -> Said | None:
    """What a user or an assistant said in a message of OpenAI's, LangChain's or LlamaIndex's form; None if neither."""
    if isinstance(message, list | tuple) and len(message) == 2 and isinstance(message[0], str):
        message = {"role": message[0], "content": message[1]}
    given = an_object(message)
    # LangChain writes a message as its class and the arguments that make it.
    kwargs = given.get("kwargs")
    if isinstance(kwargs, Mapping):
        kind = str((list(a_list(given.get("id"))) or [""])[-1])
        given = kwargs
    else:
        kind = str(given.get("role") or given.get("type") or "")
        given = given["data"] if isinstance(given.get("data"), Mapping) else given
    text = words_of(given.get("content") if given.get("content") is not None else given.get("blocks"))
    role = "user" if kind in _USERS else "assistant" if kind in _ASSISTANTS else None
    return Said(role, text) if role and text.strip() else None


def question_and_answer(given: object, answered: object) -> Iterator[Said]:
    """The last thing that the user said in what went in, and the last that the assistant said in what came out.

    What went in holds the whole history again in each trace; only its end is new.
    """
    for said in (_last("user", given), _last("assistant", answered)):
        if said is not None:
            yield said


def _last(role: str, value: object) -> Said | None:
    value = unfolded(value)
    if isinstance(value, str):
        return Said(role, value) if value.strip() else None
    if isinstance(value, list):
        # Generations come as a list for each prompt.
        found = [said_in(entry) or (_last(role, entry) if isinstance(entry, list) else None) for entry in value]
        found += [_generated(entry) for entry in value if isinstance(entry, Mapping) and role == "assistant"]
        return next((said for said in reversed(found) if said and said.role == role), None)
    held = an_object(value)
    whole = said_in(held)
    if whole is not None and whole.role == role:
        return whole
    return next((said for name in _FIELDS[role] if name in held and (said := _last(role, held[name]))), None)


def _generated(entry: Mapping[str, Any]) -> Said | None:
    text = entry.get("text")
    return said_in(entry.get("message")) or (Said("assistant", text) if isinstance(text, str) and text else None)
