"""How a turn begins and ends: what the user says in inputs, what the assistant answers in outputs. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from langchain_core.messages import BaseMessage
from langchain_core.utils.json import parse_json_markdown
from pydantic import BaseModel

from synap_integrations.langchain import graph, messages
from synap_integrations.langchain.messages import Spoken
from synap_integrations.langchain.options import Key
from synap_integrations.plain import Plain, plain

_QUESTIONS: Final = (
    "input", "question", "query", "user_input", "human_input", "prompt", "text", "message",
)  # fmt: skip
_HISTORIES: Final = frozenset({"chat_history", "history", "context", "memory", "summary", "agent_scratchpad"})
_ANSWERS: Final = ("output", "answer", "result", "response", "text", "output_text", "content", "final_answer")


# --- what the user says ----------------------------------------------------------------------------------------------


def is_placeholder(inputs: object) -> bool:
    """True for the inputs under which a streamed chain starts; its real ones are not known yet.

    Source: langchain_core 1.7.2, runnables/base.py, _transform_stream_with_config
    """
    return isinstance(inputs, dict) and len(inputs) == 1 and inputs.get("input") == ""


class Opening(NamedTuple):
    """How a turn begins: the user's words, and the messages they came in. ``resumes``: an interrupted turn goes on,
    with answers to the questions of these ids (``answered``), or to all.
    """

    spoken: Sequence[Spoken] = ()
    messages: Sequence[object] = ()
    resumes: bool = False
    answered: frozenset[str] = frozenset()


def opening_of(inputs: object, key: Key | None = None) -> Opening | None:
    """What the inputs of a run say; None if they do not tell which part of them the user said."""
    if key is not None and (chosen := _chosen(inputs, key)) is not None:
        return _opening(chosen)
    if inputs is None:
        return Opening(resumes=True)
    if (found := _opening(inputs)) is not None:
        return found
    if graph.is_command(inputs):
        return _opening_of_command(inputs)
    fields = fields_of(inputs)
    return None if fields is None else _opening_of_fields(fields)


def _opening(value: object) -> Opening | None:
    if isinstance(value, str):
        return Opening(messages.spoken_text(value))
    found = messages.as_messages(value)
    return None if found is None else Opening(messages.last_words(found), found)


def _opening_of_command(command: object) -> Opening:
    words, answered = graph.resumed_with(command)
    if words:
        spoken = [one for text in words for one in messages.spoken_text(text)]
        return Opening(spoken, resumes=True, answered=answered)
    update = graph.update_of(command)
    found = messages.messages_field(update.get("messages")) if isinstance(update, Mapping) else None
    return Opening(messages.last_words(found), found, resumes=True) if found else Opening(resumes=True)


def _opening_of_fields(fields: Mapping[str, object]) -> Opening | None:
    if (history := fields.get("messages")) and (history := messages.messages_field(history)):
        return Opening(messages.last_words(history), history)
    for name in _QUESTIONS:
        if (value := fields.get(name)) and (found := _opening(value)) is not None:
            return found
    texts = [value for name, value in fields.items() if isinstance(value, str) and value and name not in _HISTORIES]
    return Opening(messages.spoken_text(texts[0])) if len(texts) == 1 else None


def fields_of(value: object) -> Mapping[str, object] | None:
    """The named parts of a dictionary, dataclass or pydantic object; None for anything else."""
    if isinstance(value, dict | Mapping):
        return value
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {row.name: getattr(value, row.name) for row in dataclasses.fields(value)}
    return None


def _chosen(value: object, key: Key) -> object:
    if callable(key):
        return key(value)
    fields = fields_of(value)
    return None if fields is None else fields.get(key)


# --- what the assistant answers --------------------------------------------------------------------------------------


class Ending(NamedTuple):
    """How a turn ends.

    ``answer``: the words, None if the outputs hold none. ``messages``: those since the user's last words.
    ``structured``: an answer in fields. ``silent``: there is a last message, and it says nothing.
    """

    answer: str | None = None
    messages: Sequence[object] = ()
    structured: object = None
    silent: bool = False


def ending_of(outputs: object, key: Key | None = None) -> Ending:
    """What the outputs of a run say in messages or in words; dictionaries without messages are `answer_in_fields`."""
    if key is not None and (chosen := _chosen(outputs, key)) is not None:
        return Ending(legible(chosen))
    if isinstance(outputs, str):
        return Ending(messages.cleaned(outputs), silent=not outputs.strip())
    if isinstance(outputs, Mapping):
        found, structured = messages.messages_field(outputs.get("messages")), outputs.get("structured_response")
    else:
        found, structured = messages.as_messages(outputs), None
    if not found:
        return Ending(structured=structured)
    ended = _ending_of_messages(messages.since_last_words(found), structured)
    if isinstance(outputs, Mapping) and ended.answer and (parsed := outputs.get("output")):
        # A streamed AgentExecutor gives the last message as the model wrote it beside what it was parsed to.
        return ended._replace(answer=parsed) if isinstance(parsed, str) and parsed in ended.answer else ended
    return ended


def _ending_of_messages(tail: Sequence[object], structured: object) -> Ending:
    if not tail:
        return Ending(structured=structured)
    last = tail[-1]
    role = messages.role_of(last)
    if role == "assistant" and not messages.has_calls(last):
        text = messages.said_by(last)
        return Ending(text, tail, structured, silent=not text.strip() and structured is None)
    if role == "tool" and structured is None:
        return Ending(messages.text_of(last), tail)
    return Ending(None, tail, structured, silent=structured is None)


def answer_in_fields(outputs: object, *, inputs: frozenset[object], said: Sequence[str]) -> tuple[str | None, bool]:
    """The answer among named outputs, and whether a name or being alone says that it is the answer.

    ``inputs`` are the names that went in, ``said`` the user's words: a state carries both through.
    """
    if not isinstance(outputs, Mapping):
        return (None if outputs is None else legible(outputs)), True
    fields = {name: value for name, value in outputs.items() if name not in ("messages", "structured_response")}
    for name in _ANSWERS:
        value = fields.get(name)
        if value and not isinstance(value, Mapping | list) and value not in said:
            return legible(value), True
    fresh = {name: value for name, value in fields.items() if name not in inputs} or fields
    texts = [value for value in fresh.values() if isinstance(value, str | BaseMessage) and value not in said]
    if len(texts) == 1:
        return legible(texts[0]), True
    return (legible(fresh) if fresh else None), not inputs.intersection(fields)


def legible(value: object) -> str:
    """Text as it is, a message's words, anything else as JSON."""
    if isinstance(value, str):
        return messages.cleaned(value)
    if isinstance(value, BaseMessage):
        return messages.text_of(value)
    return as_json(value)


def as_json(value: object) -> str:
    """The value as JSON, messages in it as their words."""
    return json.dumps(_worded(value), ensure_ascii=False)


def _worded(value: object) -> Plain:
    if isinstance(value, BaseMessage):
        return messages.text_of(value)
    if isinstance(value, Mapping):
        return {str(name): _worded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_worded(item) for item in value]
    return plain(value)


def json_in(text: str) -> object:
    """The JSON that a text consists of, also between code fences; None if it is no JSON."""
    try:
        return parse_json_markdown(text)
    except ValueError:
        return None
