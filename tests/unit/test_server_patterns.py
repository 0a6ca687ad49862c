"""What is known of a user without a model: only what they said in so many words."""

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from said_about_themselves import SAYS, SAYS_NOTHING

from synap_integrations.server.statements.patterns import CONFIDENCE, stated

SAID_AT = datetime(2026, 3, 4, 12, tzinfo=UTC)


def told(sentence: str) -> list[tuple[str, str, str]]:
    """Kind, slot and value of everything that the turn says."""
    return [(found.kind, found.slot, found.value) for found in stated(sentence, said_at=SAID_AT)]


def test_what_is_found_is_right_and_most_is_found() -> None:
    """Of the hand-judged sentences nothing is read wrongly, and at least six in seven are read."""
    right = [sentence for sentence, *said in SAYS if told(sentence) == [tuple(said)]]
    wrong = [sentence for sentence, *said in SAYS if told(sentence) not in ([tuple(said)], [])]
    assert wrong == []
    assert len(SAYS) + len(SAYS_NOTHING) >= 120
    assert len(right) / len(SAYS) >= 6 / 7


@pytest.mark.parametrize("sentence", SAYS_NOTHING, ids=range(len(SAYS_NOTHING)))
def test_what_only_looks_like_it_is_left_alone(sentence) -> None:
    """Questions, wishes, quotations, other people and half sentences become nobody's facts."""
    assert told(sentence) == []


def test_a_turn_is_read_sentence_by_sentence() -> None:
    """What cannot be read does not hide what can."""
    said = "Hi! My name is Ana. Do you know jazz? I love it. I'm allergic to peanuts, by the way I think.\nI'm a nurse."
    assert told(said) == [("facts", "name", "Ana"), ("facts", "work", "nurse")]


def test_every_statement_is_marked_as_a_guess() -> None:
    """How it was found, and that it is no certainty."""
    (found,) = stated("I live in Lisbon.", said_at=SAID_AT)
    assert (found.extraction, found.confidence, found.content) == ("pattern", CONFIDENCE, "I live in Lisbon.")
    assert CONFIDENCE == 0.6


def test_a_speaker_in_front_of_the_turn_is_no_part_of_it() -> None:
    """Transcripts put names in front of what was said."""
    assert told("Melanie: I love pottery.") == [("preferences", "likes", "pottery")]


WORDS = """
I I'm my name is Ana live in Lisbon love like hate work as a nurse on 7 May 2026-02-30 last next Friday ago 3 days no
yes . , ! ? : - ' we went to Rome yesterday allergic dog favourite am not the
"""


@given(st.lists(st.sampled_from([*WORDS.split(), "\n"]), max_size=60).map(" ".join))
def test_nothing_is_invented(said) -> None:
    """Whatever a turn says, each statement is a piece of it, word for word."""
    for found in stated(said, said_at=SAID_AT):
        assert found.content in said
        assert found.value in found.content


@given(st.text(max_size=1_200))
def test_any_text_can_be_read(said) -> None:
    """No text makes reading it fail."""
    assert isinstance(stated(said, said_at=SAID_AT), list)


@pytest.mark.parametrize(
    "said",
    [
        "no " * 333,
        "no, " * 250,
        "I love " + "a " * 490,
        "I am " * 200,
        "I have a " * 110,
        "my " + "is " * 330,
        "3 " * 500,
    ],
    ids=range(7),
)
def test_no_turn_takes_long_to_read(said) -> None:
    """Reading is part of recording: repetitions do not make it slow."""
    started = time.perf_counter()
    stated(said, said_at=SAID_AT)
    assert time.perf_counter() - started < 0.5
