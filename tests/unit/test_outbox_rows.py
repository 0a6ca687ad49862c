"""An envelope at rest: what goes in comes out, whatever it was."""

import dataclasses
import json
import math
from datetime import UTC, datetime

import pytest

from synap_integrations.model import (
    Assembly,
    AssistantMessage,
    ContextRequest,
    ContextUsed,
    Envelope,
    Scope,
    Thinking,
    ToolCall,
    ToolResult,
    UserMessage,
)
from synap_integrations.outbox import rows
from synap_integrations.outbox.rows import UnreadableRowError

SCOPE = Scope("c-1", "ana", customer_id="acme", session_id="s-1")

EVENTS = [
    UserMessage("hello"),
    UserMessage('quotes " and \\ and \n and \x01'),
    UserMessage("سلام ‌ नमस्ते 👩‍👩‍👧"),
    UserMessage("look", attachments=("image_url",), edited=True),
    AssistantMessage("hi"),
    AssistantMessage("hi, and", incomplete=True),
    ToolCall("search", {"q": "flights", "n": 3, "deep": {"a": [1, None, True, 0.5]}}, "call-1"),
    ToolCall("search", {}, "call-1", search_queries=("flights",), context_types=("facts",)),
    ToolResult("search", "found", "call-1"),
    ToolResult("search", {"rows": [{"id": 1}]}, "call-1", is_error=True),
    Thinking("hm"),
    Thinking("hm", step_index=2, thought_type="plan"),
    ContextRequest(("what?",), context_types=("facts",)),
    ContextUsed(("b-1",), ("i-1", "i-2")),
    ContextUsed(("b-1",), ("i-1",), assembly=Assembly(source="pushed", why="x", tokens=7, waited_ms=0)),
    ContextUsed(
        ("b-1",), ("i-1",), assembly=Assembly(source="fetched", token_budget=800, dropped={"budget": 2, "weak": 1})
    ),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_comes_back_as_it_was(event) -> None:
    """Scope, time to the microsecond, framework and event survive the disk."""
    envelope = dataclasses.replace(Envelope.seal(SCOPE, event), framework="langchain")
    assert rows.decode(rows.encode(envelope)) == envelope


@pytest.mark.parametrize("scope", [Scope(), Scope("c"), Scope(None, "u"), Scope("c", customer_id="x"), SCOPE])
def test_absent_ids_stay_absent(scope) -> None:
    """None is None, not an empty string."""
    assert rows.decode(rows.encode(Envelope.seal(scope, UserMessage("x")))).scope == scope


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
        ("nul \0", "nul \u2400"),
        (None, "null"),
        ({"not": "text"}, '{"not":"text"}'),
    ],
)
def test_content_that_cannot_travel_is_kept_in_a_form_that_can(content, kept) -> None:
    """Nothing an application hands over makes us raise or lose the turn."""
    assert rows.decode(rows.encode(Envelope.seal(SCOPE, UserMessage(content)))).event == UserMessage(kept)


def test_content_beyond_eight_megabytes_says_how_long_it_was() -> None:
    """The start is kept, with the length and the hash of the whole."""
    event = rows.decode(rows.encode(Envelope.seal(SCOPE, UserMessage("x" * 9_000_000)))).event
    assert isinstance(event, UserMessage)
    assert len(event.content) < 8_001_000
    assert "9000000 characters, sha256" in event.content


def test_arguments_that_are_not_json_are_described() -> None:
    """Bytes, objects, dates and numbers that JSON cannot carry do not lose the tool call."""
    args = {"b": b"\0\1", "o": object(), "t": datetime.now(UTC), "n": math.nan, "k": {1: 2}, "s": {3}}
    event = rows.decode(rows.encode(Envelope.seal(SCOPE, ToolCall("t", args, "c")))).event
    assert isinstance(event, ToolCall)
    assert event.tool_args.keys() == args.keys()
    assert event.tool_args["n"] == "nan" or event.tool_args["n"] == "NaN"


def test_a_body_is_json_that_people_can_read() -> None:
    """UTF-8, not escaped, no class names of ours inside."""
    row = rows.encode(Envelope.seal(SCOPE, UserMessage("é")))
    assert row.body == '{"content":"é"}'.encode()
    assert json.loads(row.scope) == ["c-1", "ana", "acme", "s-1"]


@pytest.mark.parametrize("field", rows.Row._fields)
def test_a_change_to_any_column_is_noticed(field) -> None:
    """The checksum covers all that matters, the place in the order included."""
    row = rows.encode(Envelope.seal(SCOPE, UserMessage("x")))
    old = getattr(row, field)
    new = old + 1 if isinstance(old, int) else "x" if old is None else old[:-1]
    assert row._replace(**{field: new}).checksum(7) != row.checksum(7)
    assert row.checksum(8) != row.checksum(7)


@pytest.mark.parametrize(
    "changes",
    [
        {"body": b""},
        {"body": b"[]"},
        {"body": b"{}"},
        {"body": b"\xff"},
        {"body": b'{"content":' + b"[" * 100_000},
        {"scope": "{}"},
        {"scope": "["},
        {"kind": "Later"},
        {"captured_at": 10**30},
    ],
    ids=lambda changes: f"{next(iter(changes))}={str(next(iter(changes.values())))[:20]}",
)
def test_a_row_that_is_something_else_is_one_error(changes) -> None:
    """Whatever is in the file, decoding fails with a name."""
    row = rows.encode(Envelope.seal(SCOPE, UserMessage("x")))
    with pytest.raises(UnreadableRowError):
        rows.decode(row._replace(**changes))


def test_conversations_of_two_customers_are_two_conversations() -> None:
    """The order of one tenant does not depend on another's ids; users of one conversation share its order."""

    def place(scope: Scope) -> int:
        return rows.encode(Envelope.seal(scope, UserMessage("x"))).conversation

    assert place(Scope("c", "u", customer_id="a")) != place(Scope("c", "u", customer_id="b"))
    assert place(Scope("c", "u", customer_id="a")) == place(Scope("c", "v", customer_id="a"))
