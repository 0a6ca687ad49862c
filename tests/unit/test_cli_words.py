"""The words on the screen: numbers and their nouns, kinds of events, and reasons."""

import pytest

from synap_integrations.cli.terminal import kind_in_words
from synap_integrations.errors import InvalidInputError
from synap_integrations.outbox.verdicts import judge


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("UserMessage", "user turn"),
        ("AssistantMessage", "assistant turn"),
        ("ToolCall", "tool call"),
        ("ContextUsed", "context shown"),
        ("Thinking", "thinking"),
    ],
)
def test_a_kind_of_event_is_shown_in_words(kind: str, words: str) -> None:
    """And not by the name of our class."""
    assert kind_in_words(kind) == words


@pytest.mark.parametrize("said", ["the platform refused it", "it's refused", "x" * 300])
def test_the_reason_of_a_dead_letter_is_what_was_said(said: str) -> None:
    """Without the quotes of Python around it, of a length that a list can show."""
    assert judge(InvalidInputError(said)).detail == said[:200]
