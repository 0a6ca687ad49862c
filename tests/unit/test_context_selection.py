"""Which items are chosen, in what order, and what is said of those that are not."""

from datetime import UTC, datetime

import pytest

from synap_integrations.context.selection import choose, covers, estimate_tokens, index, same_question
from synap_integrations.model import ContextBundle, ContextItem, Dropped, Scope

NOW = datetime(2025, 6, 1, tzinfo=UTC)
QUERY = "Which support group did Caroline visit?"


def pushed(*items, bundle_id="b1", kind="anticipation", at=0.0):
    """A bundle as it lies in the store, of (id, text) pairs or items."""
    made = tuple(
        item if isinstance(item, ContextItem) else ContextItem(item[0], "facts", text=item[1]) for item in items
    )
    return index(ContextBundle(bundle_id, kind, scope=Scope(None, "u"), items=made), arrived_s=at)


def chosen_ids(chosen):
    """Ids in the order the model gets them."""
    return [item.item_id for item in chosen.items]


def test_bundle_that_answers_is_used_whole():
    """What was pushed for this very turn is shown although it shares no word with the question."""
    chosen = choose([pushed(("a", "nothing in common"))], QUERY, budget_tokens=800, now=NOW, answering={"b1"})
    assert chosen_ids(chosen) == ["a"]
    assert chosen.bundle_ids == ("b1",)


def test_other_bundles_earn_their_place():
    """Items of earlier pushes are shown if they share words with the question, and dropped as weak if not."""
    held = pushed(("a", "Caroline went to a support group"), ("b", "Melanie bakes bread"))
    chosen = choose([held], QUERY, budget_tokens=800, now=NOW)
    assert chosen_ids(chosen) == ["a"]
    assert chosen.dropped == (Dropped("b", "weak"),)


def test_profile_is_shown_with_any_question():
    """What the platform says about the user as a whole needs no word in common, but comes after what has."""
    held = [pushed(("p", "likes tea"), kind="user_summary"), pushed(("a", "Caroline's support group"), bundle_id="b2")]
    assert chosen_ids(choose(held, QUERY, budget_tokens=800, now=NOW)) == ["a", "p"]
    tight = choose(held, QUERY, budget_tokens=1, now=NOW, token_counter=lambda _: 1)
    assert chosen_ids(tight) == ["a"]


def test_budget_cuts_on_item_borders():
    """Items go in whole while they fit, and the rest is reported as over budget; a smaller one may still fit."""
    held = pushed(("a", "x " * 100), ("b", "y " * 100), ("c", "z"))
    chosen = choose([held], None, budget_tokens=115, now=NOW, token_counter=lambda text: len(text.split()))
    assert chosen_ids(chosen) == ["a", "c"]
    assert chosen.dropped == (Dropped("b", "budget"),)
    assert chosen.tokens <= 115


def test_at_most_forty_items():
    """However small they are."""
    held = pushed(*[(f"i{at}", f"text {at}") for at in range(60)])
    chosen = choose([held], None, budget_tokens=10_000, now=NOW)
    assert len(chosen.items) == 40
    assert {entry.reason for entry in chosen.dropped} == {"budget"}


def test_duplicates_and_the_question_itself_are_dropped():
    """The same text twice, but for case and spaces, is shown once; the question tells the model nothing."""
    held = pushed(("a", "I live in Oslo"), ("b", "i live  in oslo"), ("q", QUERY))
    chosen = choose([held], QUERY, budget_tokens=800, now=NOW, answering={"b1"})
    assert chosen_ids(chosen) == ["a"]
    assert chosen.dropped == (Dropped("b", "duplicate"), Dropped("q", "duplicate"))


def test_what_is_no_longer_valid_is_dropped():
    """An item with an end date in the past is not shown."""
    item = ContextItem("a", "facts", text="on holiday", valid_until=datetime(2025, 5, 1, tzinfo=UTC))
    chosen = choose([pushed(item)], None, budget_tokens=800, now=NOW)
    assert chosen.dropped == (Dropped("a", "expired"),)


def test_items_are_handed_over_in_time_order():
    """Older before newer, undated first, whatever their rank: dates in order settle contradictions."""
    items = [
        ContextItem("new", "facts", text="moved to Kyoto", score=0.9, said_at=datetime(2025, 1, 1, tzinfo=UTC)),
        ContextItem("old", "facts", text="lives in Oslo", score=0.8, said_at=datetime(2024, 1, 1, tzinfo=UTC)),
        ContextItem("undated", "facts", text="likes tea", score=0.7),
    ]
    assert chosen_ids(choose([pushed(*items)], None, budget_tokens=800, now=NOW)) == ["undated", "old", "new"]


@pytest.mark.parametrize(
    ("query", "text", "covered"),
    [
        ("When did Caroline visit the support group?", "Caroline: I visit a support group on Mondays", True),
        ("When did Caroline visit the support group?", "Caroline likes tea", False),
        ("When did Caroline visit the support group?", "when did  Caroline visit the support group?", False),
        ("and you?", "and you", False),
    ],
)
def test_covering_takes_most_words_of_the_question(query, text, covered):
    """A held item spares the platform a question only if it holds nearly all that is asked, and is not the question."""
    assert covers([pushed(("a", text))], query) is covered


@pytest.mark.parametrize(
    ("query", "turn", "same"),
    [
        ("why?", "why?", True),
        ("Q: why?", "why?", True),
        ("Answer briefly.\nQuestion: Where is the red car parked?", "Where is the red car parked?", True),
        ("weather in Paris", "Where is the red car parked?", False),
        ("anything", "", False),
        ("質問: 赤い車はどこ", "赤い車はどこ", True),
    ],
)
def test_a_turn_is_recognised_through_a_template(query, turn, same):
    """A question is the turn that was recorded if it holds it, or most of its words."""
    assert same_question(query, turn) is same


def test_estimate_is_for_every_script():
    """One token for four bytes: a quarter of the letters of English, most of the signs of Chinese."""
    assert [estimate_tokens(text) for text in ("", "abcd", "abcde", "汉字汉字", "🙂")] == [0, 1, 2, 3, 1]


def test_a_window_around_the_question_does_not_cover_it() -> None:
    """What was just asked elsewhere comes back as part of an item; that is no answer to it."""
    question = "When does the ferry to Cacilhas leave?"
    assert not covers([pushed(("a", f"user: {question}\nassistant: Let me look."))], question)
    assert covers([pushed(("a", "The ferry to Cacilhas does leave at nine, when it is calm"))], question)
