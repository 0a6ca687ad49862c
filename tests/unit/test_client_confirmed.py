"""What a platform has confirmed, and a turn whose answer was lost: read back, not guessed."""

import pytest

from synap_integrations.client.confirmed import Arrival, Confirmed
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
        return [
            ListedTurn(role="user", content=text, position=position, message_id=f"id-of-{position}")
            for position, text in page
        ]


def confirmed_up_to(shelf: Shelf, count: int) -> Confirmed:
    """So many turns were confirmed before."""
    confirmed = Confirmed(shelf.turns)
    confirmed.answered("before", SCOPE, {"conversation_message_count": count})
    return confirmed


async def test_a_turn_whose_answer_was_lost_is_found() -> None:
    """It stands behind the last confirmed one: it has arrived."""
    confirmed = confirmed_up_to(shelf := Shelf("hello", "yes"), 1)
    confirmed.failed("e-2", LOST)
    assert await confirmed.holds("e-2", SCOPE, role="user", content="yes") is Arrival.ARRIVED
    assert shelf.asked == 1


async def test_the_same_words_said_earlier_do_not_count() -> None:
    """Two turns with the same words are two turns."""
    confirmed = confirmed_up_to(Shelf("yes"), 1)
    confirmed.failed("e-2", LOST)
    assert await confirmed.holds("e-2", SCOPE, role="user", content="yes") is Arrival.ABSENT


async def test_each_turn_found_stands_for_one_of_ours() -> None:
    """Two doubtful turns with the same words are not both found in one."""
    confirmed = confirmed_up_to(Shelf("hello", "yes"), 1)
    confirmed.failed("e-2", LOST)
    confirmed.failed("e-3", LOST)
    found = [await confirmed.holds(event_id, SCOPE, role="user", content="yes") for event_id in ("e-2", "e-3")]
    assert found == [Arrival.ARRIVED, Arrival.ABSENT]


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
    assert await confirmed.holds("e-2", SCOPE, role="user", content="yes") is (
        Arrival.ARRIVED if doubt else Arrival.ABSENT
    )
    assert shelf.asked == int(doubt)


async def test_what_cannot_be_read_back_is_unknown() -> None:
    """A client that cannot list tells nothing; a platform that is down says so."""
    unable = Confirmed(None)
    unable.failed("e-2", LOST)
    assert await unable.holds("e-2", SCOPE, role="user", content="yes") is Arrival.UNKNOWN
    down = confirmed_up_to(Shelf("hello", "yes", fault=NetworkError("down")), 1)
    down.failed("e-2", LOST)
    with pytest.raises(NetworkError, match="down"):
        await down.holds("e-2", SCOPE, role="user", content="yes")


async def test_without_a_confirmed_turn_nothing_is_guessed() -> None:
    """Where the conversation stood is unknown: the same words may be old ones. Its id would tell."""
    confirmed = Confirmed(Shelf("yes").turns)
    confirmed.failed("e-1", LOST)
    assert await confirmed.holds("e-1", SCOPE, role="user", content="yes") is Arrival.UNKNOWN
    confirmed.failed("id-of-1", LOST)
    assert await confirmed.holds("id-of-1", SCOPE, role="user", content="no matter") is Arrival.ARRIVED


async def test_a_turn_of_a_stream_is_looked_for_behind_the_place_where_it_was_written() -> None:
    """What was confirmed since then does not hide it, and what was recorded since then is not taken for it."""
    confirmed = confirmed_up_to(Shelf("hello", "yes", "no"), 1)
    behind = confirmed.end(SCOPE)
    confirmed.counted("c-1", 3)
    confirmed.unacknowledged("e-2", behind)
    assert await confirmed.holds("e-2", SCOPE, role="user", content="yes") is Arrival.ARRIVED
    confirmed.unacknowledged("e-3", behind)
    confirmed.answered("e-4", SCOPE, {"conversation_message_count": 3})
    assert await confirmed.holds("e-3", SCOPE, role="user", content="no") is Arrival.ABSENT


async def test_one_name_of_two_users_says_nothing_on_the_stream() -> None:
    """Its count could be the other one's."""
    confirmed = Confirmed(None)
    assert confirmed.end(SCOPE) is None
    confirmed.counted("c-1", 4)
    assert confirmed.end(SCOPE) == 4
    assert confirmed.end(Scope("c-1", "bob")) is None
    confirmed.counted("c-1", 9)
    assert confirmed.end(SCOPE) == 4


async def test_two_users_of_one_name_are_two_conversations() -> None:
    """What was confirmed for one says nothing about the other."""
    confirmed = confirmed_up_to(shelf := Shelf("hello", "yes"), 1)
    confirmed.failed("e-2", LOST)
    assert await confirmed.holds("e-2", Scope("c-1", "bob"), role="user", content="yes") is Arrival.UNKNOWN
    assert shelf.asked == 1


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
