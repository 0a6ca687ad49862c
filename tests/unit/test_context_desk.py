"""The policy of a recall: what is fresh, when to wait, when to ask, and what the receipt says."""

import asyncio
import itertools
import threading

import pytest

from synap_integrations.context.desk import ContextDesk
from synap_integrations.model import (
    Context,
    ContextBundle,
    ContextItem,
    ContextRequest,
    Conversation,
    Dropped,
    Envelope,
    RecentTurn,
    Scope,
    UserMessage,
)

ANA = Scope("conv-1", "ana", customer_id="acme")
OWN = Scope(None, "ana", customer_id="acme")
QUESTION = "Where did I park the red car?"


class Clock:
    """A monotonic clock that is moved by hand."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


class Platform:
    """Answers requests as the test says, and remembers them."""

    def __init__(self, desk, *, answers=None, listening=True):
        self.asked = []
        self._desk, self._answers, self._listening = desk, answers, listening

    def __call__(self, request):
        self.asked.append(request)
        if not self._listening:
            return None
        event_id = f"request-{len(self.asked)}"
        if self._answers is not None:
            self._desk.apply(bundle_of("b-asked", *self._answers, answers=event_id))
        return event_id


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def desk(clock):
    return ContextDesk(clock=clock)


def bundle_of(bundle_id, *texts, scope=OWN, **fields):
    """A bundle of items with these texts."""
    items = tuple(ContextItem(f"{bundle_id}-{at}", "facts", text=text) for at, text in enumerate(texts))
    return ContextBundle(bundle_id, "anticipation", scope=scope, items=items, **fields)


def turn(desk, text=QUESTION, scope=ANA):
    """A user's turn that was just recorded."""
    envelope = Envelope.seal(scope, UserMessage(text))
    desk.turn_recorded(envelope)
    return envelope.event_id


def texts(context):
    """What the model would read."""
    return [item.text for item in context.items]


def test_bundle_that_answers_the_turn_is_used_at_once(desk, clock):
    """With the turn's own bundle there, nothing is asked and nothing is waited for; the receipt says it all."""
    desk.apply(bundle_of("b1", "Melanie bakes bread", "on level 3", answers=turn(desk)))
    platform = Platform(desk)
    clock.now += 2
    context = desk.recall(QUESTION, scope=ANA, ask=platform, timeout_s=9)
    assert texts(context) == ["Melanie bakes bread", "on level 3"]
    assert (context.source, platform.asked) == ("pushed", [])
    receipt = context.receipt
    assert (receipt.query, receipt.bundle_ids, receipt.chosen) == (QUESTION, ("b1",), ("b1-0", "b1-1"))
    assert (receipt.age_s, receipt.waited_s, receipt.token_budget) == (2.0, 0.0, 800)
    assert 0 < receipt.tokens < 60
    assert receipt.why == "the platform answered this"


def test_without_a_query_the_last_turn_is_the_query(desk):
    """Whoever cannot know the question gets what helps with the turn that was recorded last."""
    desk.apply(bundle_of("b1", "on level 3", answers=turn(desk)))
    context = desk.recall(None, scope=ANA, ask=Platform(desk), timeout_s=0)
    assert texts(context) == ["on level 3"]
    assert context.receipt.query == QUESTION


def test_what_is_held_can_cover_the_question(desk):
    """An earlier push that holds nearly all that is asked spares a request."""
    desk.apply(bundle_of("b1", "I always park the red car on level 3", "Melanie bakes bread"))
    platform = Platform(desk)
    context = desk.recall(QUESTION, scope=ANA, ask=platform, timeout_s=9)
    assert texts(context) == ["I always park the red car on level 3"]
    assert platform.asked == []
    assert context.receipt.dropped == (Dropped("b1-1", "weak"),)


def test_turn_on_its_way_is_waited_for_and_not_asked_again(desk):
    """The platform answers the turn itself; asking besides would be asking twice."""
    platform, event_id = Platform(desk), turn(desk)
    push = threading.Timer(0.01, lambda: desk.apply(bundle_of("b1", "on level 3", answers=event_id)))
    push.start()
    context = desk.recall(QUESTION, scope=ANA, ask=platform, timeout_s=5)
    push.join()
    assert (texts(context), context.source, platform.asked) == (["on level 3"], "pushed", [])
    assert context.receipt.why == "the platform answered while we waited"


def test_a_recall_says_that_it_is_about_to_wait(clock):
    """Whoever delivers hears of it once for each wait, before it begins, and of no recall that does not wait."""
    waits = []
    desk = ContextDesk(
        clock=clock, on_wait=lambda: waits.append(desk.apply(bundle_of("b1", "level 3", answers=event_id)))
    )
    event_id = turn(desk)
    assert texts(desk.recall(QUESTION, scope=ANA, ask=Platform(desk), timeout_s=0)) == []
    assert waits == []
    waited = desk.recall(QUESTION, scope=ANA, ask=Platform(desk), timeout_s=5)
    assert (texts(waited), waits) == (["level 3"], [True])
    assert texts(desk.recall(QUESTION, scope=ANA, ask=Platform(desk), timeout_s=5)) == ["level 3"]
    assert waits == [True]


async def test_waiting_lets_the_event_loop_go_on(desk):
    """The async recall waits for the same bundle by the same policy, on the loop."""
    event_id = turn(desk)
    recalling = asyncio.create_task(desk.arecall(QUESTION, scope=ANA, ask=Platform(desk), timeout_s=5))
    await asyncio.sleep(0)
    assert not recalling.done()
    await asyncio.to_thread(desk.apply, bundle_of("b1", "on level 3", answers=event_id))
    assert texts(await recalling) == ["on level 3"]


def test_platform_is_asked_once_for_a_question_of_a_conversation(desk):
    """Without a turn to wait for, one request goes out; the second recall uses the answer of the first."""
    platform = Platform(desk, answers=["on level 3"])
    contexts = [desk.recall(QUESTION, scope=ANA, ask=platform, timeout_s=5) for _ in range(3)]
    assert [texts(context) for context in contexts] == [["on level 3"]] * 3
    assert {context.source for context in contexts} == {"fetched"}
    assert platform.asked == [ContextRequest((QUESTION,))]
    desk.recall(QUESTION, scope=Scope("conv-2", "ana", customer_id="acme"), ask=platform, timeout_s=0)
    assert len(platform.asked) == 2


def test_answer_with_nothing_in_it_ends_the_wait(desk):
    """A platform that knows nothing says so, and is neither waited for nor asked again."""
    platform = Platform(desk, answers=[])
    context = desk.recall(QUESTION, scope=ANA, ask=platform, timeout_s=60)
    assert context == Context(receipt=context.receipt)
    assert not desk.recall(QUESTION, scope=ANA, ask=platform, timeout_s=60)
    assert len(platform.asked) == 1


def test_nobody_listening_is_not_waited_for(desk):
    """With the platform known to be down, recall answers at once with what is relevant, or with nothing."""
    platform = Platform(desk, listening=False)
    context = desk.recall(QUESTION, scope=ANA, ask=platform, timeout_s=60)
    assert (context.source, context.receipt.why, context.receipt.waited_s) == ("none", "nobody to ask", 0.0)
    turn(desk)
    assert not desk.recall(QUESTION, scope=ANA, ask=platform, timeout_s=60, reachable=lambda: False)


def test_timeout_of_zero_never_waits(desk):
    """The question still goes out, so that the next recall may find the answer."""
    platform = Platform(desk)
    assert not desk.recall(QUESTION, scope=ANA, ask=platform, timeout_s=0)
    assert len(platform.asked) == 1


def test_silent_platform_slows_down_three_recalls_not_every_one(desk, clock):
    """After three waits in vain nobody waits until a growing pause is over, or an answer has come in time."""
    silent, asked = Platform(desk), itertools.count()

    def why(timeout_s):
        return desk.recall(f"question {next(asked)}", scope=ANA, ask=silent, timeout_s=timeout_s).receipt.why

    assert [why(0.01) for _ in range(3)] == ["no answer in time"] * 3
    assert [why(60) for _ in range(5)] == ["no answer yet"] * 5
    clock.now += 5
    assert why(0.01) == "no answer in time"
    clock.now += 9
    assert why(60) == "no answer yet"
    clock.now += 1
    assert why(0.01) == "no answer in time"
    desk.apply(bundle_of("b1", "late", answers="request-1"))
    assert why(0.01) == "no answer yet"
    desk.apply(bundle_of("b2", "in time", answers=f"request-{len(silent.asked)}"))
    assert why(0.01) == "no answer in time"


def test_platform_that_is_always_late_slows_down_three_recalls_not_every_one(desk, clock):
    """It answers every turn, half a second after the recall has gone on: such answers end no pause."""
    waited = []
    for number in range(20):
        event_id = turn(desk, f"question {number}")
        receipt = desk.recall(f"question {number}", scope=ANA, ask=Platform(desk), timeout_s=0.01).receipt
        waited.append(receipt.why == "no answer in time")
        clock.now += 0.5
        desk.apply(bundle_of(f"b{number}", answers=event_id))
    assert [at for at, did in enumerate(waited) if did] == [0, 1, 2, 12]


def test_turn_of_long_ago_is_not_waited_for(desk, clock):
    """A turn that had its chance to be answered is answered from what is there."""
    turn(desk)
    clock.now += 30
    assert desk.recall(QUESTION, scope=ANA, ask=Platform(desk), timeout_s=60).receipt.why == "no answer yet"


def test_recent_turns_are_those_of_this_conversation(desk):
    """Turns that a bundle tells of another conversation of the same user do not become this one's."""
    told = (RecentTurn("user", "hi"),)
    desk.apply(bundle_of("b1", conversation=Conversation("conv-2", recent_turns=told)))
    assert desk.recall(None, scope=ANA, ask=Platform(desk), timeout_s=0).recent_turns == ()
    desk.apply(bundle_of("b2", conversation=Conversation("conv-1", recent_turns=told)))
    assert desk.recall(None, scope=ANA, ask=Platform(desk), timeout_s=0).recent_turns == told


def test_what_one_user_has_is_not_recalled_for_another(desk):
    """Neither bundles nor turns cross between users of one customer, or customers of one user id."""
    desk.apply(bundle_of("b1", "I park the red car on level 3", answers=turn(desk)))
    for other in (Scope("conv-1", "bob", customer_id="acme"), Scope("conv-1", "ana", customer_id="other")):
        platform = Platform(desk)
        assert not desk.recall(QUESTION, scope=other, ask=platform, timeout_s=0)
        assert desk.recall(None, scope=other, ask=platform, timeout_s=0).receipt.query is None


def test_forget_drops_turns_and_bundles(desk):
    """Forgetting a user leaves neither the bundles nor the last words of that user."""
    desk.apply(bundle_of("b1", "x", answers=turn(desk)))
    assert desk.forget(Scope(None, "ana")) == 1
    assert desk.recall(None, scope=ANA, ask=Platform(desk), timeout_s=0).receipt.query is None


def test_the_question_is_no_turn_before_itself() -> None:
    """A platform that has stored the question already tells of it; who asks it need not hear it."""
    desk = ContextDesk()
    told = (RecentTurn("user", "hello"), RecentTurn("assistant", "hi"), RecentTurn("user", "where?"))
    state = Conversation("c-1", recent_turns=told)
    desk.apply(ContextBundle("b-h", "anticipation", scope=Scope("c-1", "ana"), items=(), conversation=state))

    def turns(query: str | None) -> list[str]:
        context = desk.recall(query, scope=Scope("c-1", "ana"), ask=lambda _: None, timeout_s=0)
        return [turn.content for turn in context.recent_turns]

    assert turns("where?") == ["hello", "hi"]
    assert turns("something else") == ["hello", "hi", "where?"]
