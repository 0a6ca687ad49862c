"""Ranking: words, neighbours, recency."""

import pytest

from synap_integrations.server.records import Hit, Place
from synap_integrations.server.retrieval.ranking import (
    HALF_LIFE_US,
    MAX_TERMS,
    RECENCY,
    coverage,
    expression,
    indexed,
    interleaved,
    spread,
    telling,
    terms,
)

LONG_AGO = -1000 * HALF_LIFE_US


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("Where did she go on holiday?", ["go", "holiday"]),
        ("Lisbon, lisbon, LISBON!", ["lisbon"]),
        ("what is it", ["what", "is", "it"]),
        ('body:"x" OR NEAR(a b) -c*', ["body", "x", "near", "b", "c"]),
        ("?!", []),
        ("", []),
        ("東京タワー", ["東京", "京タ", "タワ", "ワー"]),
        ("naïve café", ["naïve", "café"]),
    ],
)
def test_the_words_of_a_query_are_those_that_say_something(query, found) -> None:
    """Stop words and repetitions are dropped, syntax is no syntax, unspaced scripts are read in pairs."""
    assert terms(query) == found


def test_a_pasted_page_is_not_looked_up_word_by_word() -> None:
    """However long the query, a bounded number of words is searched."""
    assert len(terms(" ".join(f"word{n}" for n in range(1000)))) == MAX_TERMS


@pytest.mark.parametrize(("said", "tells"), [("ok, thanks!", False), ("", False), ("…", False), ("ok, Lisbon", True)])
def test_small_talk_asks_for_nothing(said, tells) -> None:
    """A message without a word that says something is no question."""
    assert telling(said) is tells


def test_every_word_of_the_expression_is_quoted() -> None:
    """The owner and the conversation are filters, the words are strings."""
    assert expression(["or", "near"], owner=7) == 'owner:"7" AND {speaker body}:("or" OR "near")'
    assert expression(["東京"], owner=7, conversation=9).startswith('owner:"7" AND conversation:"9" AND ')
    assert '" 東 京 "' in expression(["東京"], owner=7)


@pytest.mark.parametrize(
    ("content", "speaker", "found"),
    [
        ("Ana: hello", None, ("Ana", "hello")),
        ("Ana Maria: hello", None, ("Ana Maria", "hello")),
        ("note: hello", None, ("", "note: hello")),
        ("Ana: hello", "Bob", ("Bob", "Ana: hello")),
        ("https://example.com", None, ("", "https://example.com")),
    ],
)
def test_the_speaker_is_indexed_apart(content, speaker, found) -> None:
    """A name in front of what was said is a speaker, not a word of the turn."""
    assert indexed(content, speaker) == found


def hit(conversation: int, position: int, said_at: int = LONG_AGO, score: float = 1.0, *, last: int = 20) -> Hit:
    """A turn that was found."""
    return Hit(conversation, position, said_at, score, last)


def test_a_hit_gives_its_neighbours_their_share() -> None:
    """The turn after a hit gets half of its score, the second after it 0.35, those before it 0.25 and 0.1."""
    found = dict(spread([hit(1, 3, LONG_AGO, 10.0)], now_us=0))
    assert found == {Place(1, 3): 10, Place(1, 4): 5, Place(1, 5): 3.5, Place(1, 2): 2.5, Place(1, 1): 1}


def test_shares_stay_inside_the_conversation() -> None:
    """There is no turn before the first one, and none after the last."""
    assert [place.position for place, _ in spread([hit(1, 1, last=2)], now_us=0)] == [1, 2]


def test_newer_turns_count_a_little_more() -> None:
    """Of two equal hits the newer is first, by a quarter at most, and half of that after a half-life."""
    hits = [hit(1, 10), hit(2, 10, 0), hit(3, 10, -HALF_LIFE_US)]
    found = dict(spread(hits, now_us=0))
    assert found[Place(2, 10)] == pytest.approx(1 + RECENCY)
    assert found[Place(3, 10)] == pytest.approx(1 + RECENCY / 2)
    assert found[Place(1, 10)] == pytest.approx(1)


def test_what_is_left_out_neither_gives_nor_gets() -> None:
    """A turn that the prompt holds anyway does not lift its neighbours."""
    hits = [hit(1, 5, LONG_AGO, 9.0), hit(1, 8, LONG_AGO, 2.0)]
    found = dict(spread(hits, now_us=0, without=frozenset({Place(1, 5)})))
    assert Place(1, 5) not in found
    assert found[Place(1, 6)] == pytest.approx(0.2)


def test_equal_scores_come_in_the_same_order_every_time() -> None:
    """Ties are broken by place."""
    hits = [hit(number, 1) for number in (5, 3, 4)]
    assert [place.conversation for place, _ in spread(hits, now_us=0)][:3] == [3, 4, 5]


def test_several_queries_take_turns() -> None:
    """The best of each comes first, relative to its own ranking."""
    first, second = [(Place(1, 1), 8.0), (Place(1, 2), 4.0)], [(Place(2, 1), 0.2), (Place(1, 2), 0.1)]
    assert interleaved([first, second]) == [(Place(1, 1), 1.0), (Place(2, 1), 1.0), (Place(1, 2), 0.5)]
    assert interleaved([]) == interleaved([[], []]) == []


def test_coverage_is_the_share_of_words_that_are_there() -> None:
    """Endings do not matter; a text without any of the words covers nothing."""
    assert coverage(["adopted", "dog"], "She adopts dogs") == 1.0
    assert coverage(["weather", "berlin", "today"], "today I slept") == pytest.approx(1 / 3)
    assert coverage([], "anything") == 0.0
