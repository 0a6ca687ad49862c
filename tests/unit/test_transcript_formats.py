"""Conversations of the past, read from files of other programs."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage, messages_to_dict

from synap_integrations.errors import InvalidInputError
from synap_integrations.model import AssistantMessage, Scope, Thinking, ToolCall, ToolResult, UserMessage
from synap_integrations.transcripts.formats import READERS, documents_in, reader_for
from synap_integrations.transcripts.messages import Past, Skipped

WITH_A_TOOL = [
    UserMessage("When is my flight?"),
    ToolCall("flights", {"query": "my flight"}, "t-1"),
    ToolResult("flights", "LIS 09:40", "t-1"),
    AssistantMessage("At 09:40."),
]
OPENAI = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "When is my flight?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "t-1", "type": "function", "function": {"name": "flights", "arguments": '{"query": "my flight"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "t-1", "content": "LIS 09:40"},
    {"role": "assistant", "content": "At 09:40."},
]
LANGCHAIN = [
    SystemMessage("Be brief."),
    HumanMessage("When is my flight?"),
    AIMessage("", tool_calls=[{"name": "flights", "args": {"query": "my flight"}, "id": "t-1", "type": "tool_call"}]),
    ToolMessage("LIS 09:40", tool_call_id="t-1"),
    AIMessage("At 09:40."),
]


@pytest.fixture
def read(tmp_path: Path):
    """What is read from a file that holds this text, and by which reader."""

    def reading(text: str, *, name: str | None = None) -> tuple[str, list[Past | Skipped]]:
        file = tmp_path / "history.json"
        file.write_text(text, encoding="utf-8")
        documents = documents_in(file)
        reader = reader_for(documents, name=name)
        return reader.name, list(reader.read(documents, name=file.stem))

    return reading


def events(found: list[Past | Skipped]) -> list[object]:
    """The events, without what was skipped."""
    return [one.event for one in found if isinstance(one, Past)]


FORMS = {
    "openai, one conversation": ("openai", json.dumps({"messages": OPENAI})),
    "openai, a list": ("openai", json.dumps(OPENAI)),
    "openai, a message on each line": ("openai", "\n".join(map(json.dumps, OPENAI))),
    "openai, over several lines": ("openai", json.dumps({"messages": OPENAI}, indent=2)),
    "langchain, messages_to_dict": ("langchain", json.dumps(messages_to_dict(LANGCHAIN))),
    "langchain, dumpd": ("langchain", json.dumps([dumpd(message) for message in LANGCHAIN])),
    "langchain, in a container": ("langchain", json.dumps({"messages": messages_to_dict(LANGCHAIN)})),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_same_events(read, form: str) -> None:
    """Question, call, result and answer, whatever the file looks like; instructions are counted as skipped."""
    reader, text = FORMS[form]
    name, found = read(text)
    assert name == reader
    assert events(found) == WITH_A_TOOL
    assert [one for one in found if isinstance(one, Skipped)] == [Skipped("system messages")]


def test_who_is_talking_comes_from_the_names_that_frameworks_use(read) -> None:
    """A message's own ids win over those of its conversation; the file's name stands for what has none."""
    text = json.dumps(
        {
            "thread_id": "t-7",
            "metadata": {"user_id": "ana"},
            "messages": [{"role": "user", "content": "hi"}, {"role": "user", "content": "ho", "user_id": "ben"}],
        }
    )
    _, found = read(text)
    assert [one.scope for one in found] == [Scope("t-7", "ana"), Scope("t-7", "ben")]
    _, found = read('{"role": "user", "content": "hi"}')
    assert found[0].scope == Scope("history")


def test_conversations_without_names_stay_apart(read) -> None:
    """A file with a conversation on each line: each is one of its own, and the same the next time."""
    line = json.dumps({"messages": [{"role": "user", "content": "hi"}]})
    _, found = read(f"{line}\n\n{line}\n")
    assert [one.scope.conversation_id for one in found] == ["history:1", "history:3"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"timestamp": 1767225600}, datetime(2026, 1, 1, tzinfo=UTC)),
        ({"created_at": 1767225600000}, datetime(2026, 1, 1, tzinfo=UTC)),
        ({"date": "2026-01-01T01:00:00+01:00"}, datetime(2026, 1, 1, tzinfo=UTC)),
        ({"said_at": "2026-01-01"}, datetime(2026, 1, 1, tzinfo=UTC)),
        ({"timestamp": "yesterday"}, None),
        ({"timestamp": 1e300}, None),
        ({}, None),
    ],
    ids=["seconds", "milliseconds", "with a zone", "a day", "words", "nonsense", "nothing"],
)
def test_times_are_read_where_they_are_clear(read, said, expected) -> None:
    """Seconds, milliseconds and ISO times; anything else is no time, and no error."""
    _, found = read(json.dumps({"role": "user", "content": "hi"} | said))
    assert found[0].occurred_at == expected


def test_parts_of_a_content_find_their_places(read) -> None:
    """Texts are joined, pictures are named, reasoning is a thought, and text beside calls is one too."""
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:…"}}, "here"]
    thought = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Nice."}]
    beside = {"role": "assistant", "content": "Let me see", "function_call": {"name": "f", "arguments": "no JSON"}}
    result = {"role": "function", "name": "f", "content": "1"}
    messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": thought}, beside, result]
    _, found = read(json.dumps(messages))
    assert events(found) == [
        UserMessage("look\nhere", attachments=("image_url",)),
        Thinking("hm"),
        AssistantMessage("Nice."),
        Thinking("Let me see"),
        ToolCall("f", {"value": "no JSON"}, "function:f"),
        ToolResult("f", "1", "function:f"),
    ]


@pytest.mark.parametrize("text", ["[]", "17", '{"hello": "world"}', '[{"role": "owner"}]'])
def test_what_no_reader_knows_is_an_error_that_names_them_all(read, text: str) -> None:
    """Nothing is imported by a guess; the message lists what can be read."""
    with pytest.raises(InvalidInputError) as refused:
        read(text)
    assert all(reader.name in str(refused.value) for reader in READERS)


def test_an_empty_file_is_called_empty(read) -> None:
    """Not a file of an unknown format."""
    with pytest.raises(InvalidInputError, match="is empty"):
        read(" \n")


def test_a_line_that_is_no_json_is_named(read) -> None:
    """The message says file and line."""
    with pytest.raises(InvalidInputError, match="line 2: not JSON"):
        read('{"role": "user", "content": "hi"}\n{"role": ')


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1e"])
def test_only_a_line_feed_ends_a_line(read, separator: str) -> None:
    """JSON Lines whose texts hold other separators, as they stand or escaped as JSON demands, are read whole."""
    said = [f"one{separator}two", "three"]
    lines = [json.dumps({"role": "user", "content": words}, ensure_ascii=False) for words in said]
    _, found = read("\r\n".join(lines))
    assert [event.content for event in events(found)] == said


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    """A file in another encoding is refused, not guessed."""
    file = tmp_path / "latin.json"
    file.write_bytes('{"role": "user", "content": "é"}'.encode("latin-1"))
    with pytest.raises(InvalidInputError, match="not UTF-8"):
        documents_in(file)
