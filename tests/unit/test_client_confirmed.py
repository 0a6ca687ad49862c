"""What a platform has confirmed, and a turn whose answer was lost: read back, not guessed."""

import pytest

from synap_integrations.client.confirmed import Confirmed
from synap_integrations.errors import (
    NetworkError,
    NetworkTimeoutError,
    RateLimitError,
    ServiceUnavailableError,
    SynapPermanentError,
)
from synap_integrations.model import Scope
from synap_integrations.wire.rest_schema import ListedTurn

SCOPE = Scope("c-1", "ana")
LOST = NetworkTimeoutError("not answered in time", details={"sent": True})


class Shelf:
    """A platform's turns of one conversation, all of the user; counts how often they are asked for."""

    def __init__(self, *said: str, fault: Exception | None = None) -> None:
        self.said, self.fault, self.asked = list(said), fault, 0

    async def turns(self, conversation_id, *, user_id, customer_id, start, limit):
        """A page, in the platform's words."""
        self.asked += 1
        if self.fault:
            raise self.fault
        page = list(enumerate(self.said, 1))[start - 1 : start - 1 + limit]
        return [ListedTurn(role="user", content=text, position=position) for position, text in page]


def confirmed_up_to(shelf: Shelf, count: int) -> Confirmed:
    """So many turns were confirmed before."""
    confirmed = Confirmed(shelf.turns)
    confirmed.answered("before", SCOPE, {"conversation_message_count": count})
    return confirmed


async def test_a_turn_whose_answer_was_lost_is_found() -> None:
    """It stands behind the last confirmed one: it has arrived."""
    confirmed = confirmed_up_to(shelf := Shelf("hello", "yes"), 1)
    confirmed.failed("e-2", LOST)
    assert await confirmed.holds("e-2", SCOPE, role="user", content="yes")
    assert shelf.asked == 1


async def test_the_same_words_said_earlier_do_not_count() -> None:
    """Two turns with the same words are two turns."""
    confirmed = confirmed_up_to(Shelf("yes"), 1)
    confirmed.failed("e-2", LOST)
    assert not await confirmed.holds("e-2", SCOPE, role="user", content="yes")


async def test_each_turn_found_stands_for_one_of_ours() -> None:
    """Two doubtful turns with the same words are not both found in one."""
    confirmed = confirmed_up_to(Shelf("hello", "yes"), 1)
    confirmed.failed("e-2", LOST)
    confirmed.failed("e-3", LOST)
    found = [await confirmed.holds(event_id, SCOPE, role="user", content="yes") for event_id in ("e-2", "e-3")]
    assert found == [True, False]


@pytest.mark.parametrize(
    ("error", "doubt"),
    [
        (LOST, True),
        (NetworkError("reset"), True),
        (NetworkError("refused", details={"sent": False}), False),
        (ServiceUnavailableError("oops", details={"status": 500}), True),
        (ServiceUnavailableError("busy", details={"status": 503}), False),
        (RateLimitError("slow down"), False),
        (SynapPermanentError("no"), False),
    ],
    ids=["timeout", "reset", "connection-refused", "500", "503", "429", "400"],
)
async def test_only_an_unknown_outcome_is_looked_up(error, doubt) -> None:
    """What certainly did not arrive costs no request."""
    confirmed = confirmed_up_to(shelf := Shelf("hello", "yes"), 1)
    confirmed.failed("e-2", error)
    assert await confirmed.holds("e-2", SCOPE, role="user", content="yes") is doubt
    assert shelf.asked == int(doubt)


@pytest.mark.parametrize("shelf", [Shelf("hello", "yes", fault=NetworkError("down")), None], ids=["down", "unable"])
async def test_what_cannot_be_read_back_is_sent_again(shelf) -> None:
    """At least once, where nobody can tell."""
    confirmed = confirmed_up_to(shelf, 1) if shelf else Confirmed(None)
    confirmed.failed("e-2", LOST)
    assert not await confirmed.holds("e-2", SCOPE, role="user", content="yes")


async def test_without_a_confirmed_turn_nothing_is_guessed() -> None:
    """Where the conversation stood is unknown: the same words may be old ones."""
    confirmed = Confirmed(Shelf("yes").turns)
    confirmed.failed("e-1", LOST)
    assert not await confirmed.holds("e-1", SCOPE, role="user", content="yes")


async def test_two_users_of_one_name_are_two_conversations() -> None:
    """What was confirmed for one says nothing about the other."""
    confirmed = confirmed_up_to(shelf := Shelf("hello", "yes"), 1)
    confirmed.failed("e-2", LOST)
    assert not await confirmed.holds("e-2", Scope("c-1", "bob"), role="user", content="yes")
    assert shelf.asked == 0


@pytest.mark.parametrize("answer", [None, "html", {}, {"conversation_message_count": True}], ids=str)
def test_an_answer_without_a_count_is_an_answer(answer) -> None:
    """A platform need not say how many there are."""
    confirmed = Confirmed(None)
    confirmed.answered("e-1", SCOPE, answer)
    assert not confirmed._ends


def test_a_platform_that_has_forgotten_is_reported(caplog) -> None:
    """Fewer turns than it had confirmed: that can be told, not repaired."""
    confirmed = confirmed_up_to(Shelf(), 9)
    confirmed.answered("e-2", SCOPE, {"conversation_message_count": 4})
    assert "lost turns that it had acknowledged: 9 were, 4 are" in caplog.text
    assert confirmed._ends == {("c-1", "ana", None): 4}
