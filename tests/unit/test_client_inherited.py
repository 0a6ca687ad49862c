"""Which of the turns that an earlier process may have sent a conversation has: by id, by place, or by its end."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synap_integrations.client.inherited import arrived
from synap_integrations.model import AssistantMessage, Envelope, Scope, UserMessage
from synap_integrations.wire.rest_schema import ListedTurn

NOW = datetime(2026, 5, 16, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=1)
WORDS = st.lists(st.sampled_from(["yes", "no"]), max_size=8)


def said(*texts: str) -> list[Envelope]:
    """Turns of users and assistants, one after the other."""
    kinds = (UserMessage, AssistantMessage)
    return [
        Envelope.seal(Scope("c", "ana"), kinds[at % 2](text), occurred_at=NOW, event_id=f"id-{at}")
        for at, text in enumerate(texts)
    ]


def listed(turns: list[Envelope], at: datetime = NOW, *, with_ids: bool = False) -> list[ListedTurn]:
    """As the platform has them."""
    return [
        ListedTurn(
            role="user" if isinstance(turn.event, UserMessage) else "assistant",
            content=turn.event.content,
            timestamp=at.isoformat(),
            message_id=turn.event_id if with_ids else None,
        )
        for turn in turns
    ]


@given(before=WORDS, ours=WORDS.filter(bool), data=st.data())
def test_behind_the_confirmed_turns_all_that_arrived_is_found_and_nothing_else(before, ours, data) -> None:
    """However alike the turns are: what was said before does not count, and what follows is ours."""
    count = data.draw(st.integers(0, len(ours)))
    turns = said(*ours)
    conversation = listed(said(*before)) + listed(turns[:count])
    assert len(arrived(turns, conversation, behind=len(before), since=NOW)) == count


@given(before=WORDS, ours=WORDS.filter(bool), data=st.data())
def test_without_a_count_the_end_that_tells_of_everything_since_is_ours(before, ours, data) -> None:
    """However alike the turns are: what was there before has its date, and nobody else has said anything since."""
    count = data.draw(st.integers(0, len(ours)))
    turns = said(*ours)
    conversation = listed(said(*before), LONG_AGO) + listed(turns[:count])
    assert len(arrived(turns, conversation, behind=None, since=NOW)) == count


def test_without_a_count_and_with_turns_of_somebody_else_nothing_is_guessed() -> None:
    """Where the words fit in two ways, and another one has spoken too, they are sent again: rather twice than never."""
    turns = said("yes", "no", "yes", "no")
    for others in (["what?", "why?"], ["yes", "no", "what?", "why?"]):
        conversation = listed(said(*others)) + listed(turns)
        assert arrived(turns, conversation, behind=None, since=NOW) == frozenset()


def test_without_a_count_an_end_that_fits_once_is_recognised() -> None:
    """The usual case: people do not say the same things in the same order."""
    turns = said("I moved to Lisbon", "Noted.", "and I have a dog")
    conversation = listed(said("hello", "hi"), LONG_AGO) + listed(turns[:2])
    assert arrived(turns, conversation, behind=None, since=NOW) == {"id-0", "id-1"}


@pytest.mark.parametrize("behind", [None, 0, 5])
def test_an_id_decides_wherever_it_stands(behind) -> None:
    """A platform that lists turns under our ids needs no guess."""
    turns = said("yes", "no", "yes")
    conversation = listed([turns[0], turns[2]], with_ids=True) + listed(said("later", "more"))
    assert arrived(turns, conversation, behind=behind, since=NOW) == {"id-0", "id-2"}
