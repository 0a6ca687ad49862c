"""Contract suites: subclass one, give it the fixtures it asks for, and pytest runs it on your implementation."""

from __future__ import annotations

from typing import Protocol

from synap_integrations.model import AssistantMessage, Envelope, Scope, ToolCall, UserMessage
from synap_integrations.outbox import Counts
from synap_integrations.ports import OutboxStore


class Clock(Protocol):
    """A monotonic clock that a test moves by hand."""

    def advance(self, seconds: float) -> None:
        """Let time pass."""


class CountingStore(OutboxStore, Protocol):
    """An `OutboxStore` that shows all of its figures."""

    def counts(self) -> Counts:
        """What became of what was captured."""
        ...


def an_envelope(text: str = "hello", *, conversation: str = "c-1") -> Envelope:
    """A user's turn under a new id."""
    return Envelope.seal(Scope(conversation, "ana"), UserMessage(text))


class OutboxStoreContract:
    """What delivery relies on, whatever keeps the envelopes.

    Fixtures: ``clock`` (see `Clock`), and ``store``, an empty store of at most 20 rows that goes by that clock.
    """

    def test_what_was_appended_is_claimed_in_order_and_unchanged(self, store: CountingStore) -> None:
        """Envelopes come back as they were, oldest first, and no more than asked for."""
        appended = [an_envelope(f"turn {n}") for n in range(5)]
        for envelope in appended:
            store.append(envelope)
        assert [*store.claim(2), *store.claim(10)] == appended
        assert store.counts().waiting == 5

    def test_a_claimed_envelope_is_not_claimed_again(self, store: CountingStore) -> None:
        """Nothing is sent twice while it is under way."""
        store.append(an_envelope())
        assert len(store.claim(10)) == 1
        assert not store.claim(10)

    def test_an_acknowledged_envelope_is_gone(self, store: CountingStore) -> None:
        """Delivered is delivered; acknowledging again, or what nobody knows, changes nothing."""
        envelope = an_envelope()
        store.append(envelope)
        store.claim(1)
        for ids in ([envelope.event_id], [envelope.event_id], ["never seen"], []):
            store.acknowledge(ids)
        assert (store.counts().delivered, store.counts().waiting) == (1, 0)
        store.put_all_back()
        assert not store.claim(10)

    def test_a_released_envelope_waits_its_time(self, store: CountingStore, clock: Clock) -> None:
        """It may be claimed again after the wait, not before."""
        envelope = an_envelope()
        store.append(envelope)
        store.claim(1)
        store.release([envelope.event_id], retry_after_s=30)
        assert not store.claim(1)
        clock.advance(29)
        assert not store.claim(1)
        assert 0 < (store.next_due_s() or 0) <= 1
        clock.advance(2)
        assert list(store.claim(1)) == [envelope]

    def test_a_conversation_that_waits_stays_in_order_and_others_go_on(
        self, store: CountingStore, clock: Clock
    ) -> None:
        """What follows a released envelope in its conversation waits with it; other conversations do not."""
        first, second = an_envelope("1", conversation="a"), an_envelope("2", conversation="a")
        other = an_envelope("1", conversation="b")
        store.append(first)
        store.append(second)
        assert list(store.claim(1)) == [first]
        store.release([first.event_id], retry_after_s=10)
        store.append(other)
        assert list(store.claim(10)) == [other]
        clock.advance(11)
        assert list(store.claim(10)) == [first, second]

    def test_waits_end_when_somebody_is_in_a_hurry(self, store: CountingStore) -> None:
        """A flush does not sit out a backoff."""
        envelope = an_envelope()
        store.append(envelope)
        store.claim(1)
        store.release([envelope.event_id], retry_after_s=900)
        store.expedite()
        assert list(store.claim(1)) == [envelope]

    def test_kinds_that_cannot_go_now_are_left_where_they_are(self, store: CountingStore) -> None:
        """Skipped events are claimed, in order, as soon as their kind is wanted again."""
        call = Envelope.seal(Scope("c-1", "ana"), ToolCall("search", {"q": "x"}, "call-1"))
        answer = Envelope.seal(Scope("c-1", "ana"), AssistantMessage("found"))
        store.append(call)
        store.append(answer)
        assert list(store.claim(10, skip={"ToolCall"})) == [answer]
        assert list(store.claim(10)) == [call]

    def test_a_dead_letter_is_kept_and_never_claimed(self, store: CountingStore) -> None:
        """It counts as dead, its conversation goes on, and burying it twice changes nothing."""
        bad, good = an_envelope("bad"), an_envelope("good")
        store.append(bad)
        store.append(good)
        store.claim(1)
        store.bury(bad.event_id, "refused")
        store.bury(bad.event_id, "refused")
        store.bury("never seen", "refused")
        store.put_all_back()
        assert list(store.claim(10)) == [good]
        assert (store.counts().dead_letters, store.counts().waiting) == (1, 1)

    def test_what_is_held_is_kept_and_never_claimed(self, store: CountingStore) -> None:
        """Somebody has to decide: it counts as dead, and only a waiting envelope can be held."""
        doubtful, good = an_envelope("doubtful"), an_envelope("good")
        store.append(doubtful)
        store.append(good)
        store.claim(1)
        store.hold(doubtful.event_id, "unknown")
        store.hold("never seen", "unknown")
        store.put_all_back()
        assert list(store.claim(10)) == [good]
        assert (store.counts().dead_letters, store.counts().waiting) == (1, 1)

    def test_one_id_is_one_turn(self, store: CountingStore) -> None:
        """Captured twice under the same id, before or after delivery, it is kept once and counted once."""
        envelope = an_envelope()
        store.append(envelope)
        store.append(envelope)
        assert list(store.claim(10)) == [envelope]
        store.acknowledge([envelope.event_id])
        store.append(envelope)
        assert not store.claim(10)
        assert (store.counts().captured, store.counts().repeats) == (1, 2)

    def test_two_turns_with_the_same_words_are_two_turns(self, store: CountingStore) -> None:
        """Text is no part of identity."""
        store.append(an_envelope("yes"))
        store.append(an_envelope("yes"))
        assert len(store.claim(10)) == 2

    def test_whoever_claimed_may_be_gone(self, store: CountingStore) -> None:
        """What was under way when delivery broke is claimed again, in order."""
        appended = [an_envelope(str(n)) for n in range(3)]
        for envelope in appended:
            store.append(envelope)
        store.claim(2)
        store.put_all_back()
        assert list(store.claim(10)) == appended

    def test_a_mark_is_passed_when_all_before_it_is_settled(self, store: CountingStore) -> None:
        """`flush` waits for what came before it, and for nothing that came later."""
        first, second, later = an_envelope("1"), an_envelope("2"), an_envelope("3")
        store.append(first)
        store.append(second)
        mark = store.mark()
        store.append(later)
        store.claim(10)
        store.acknowledge([first.event_id])
        assert not store.passed(mark)
        store.bury(second.event_id, "refused")
        assert store.passed(mark)
        assert not store.passed(store.mark())

    def test_beyond_its_cap_it_refuses_and_counts(self, store: CountingStore) -> None:
        """What was accepted stays; there is room again after a delivery."""
        appended = [an_envelope(str(n)) for n in range(25)]
        for envelope in appended:
            store.append(envelope)
        assert (store.counts().waiting, store.counts().refused) == (20, 5)
        assert list(store.claim(100)) == appended[:20]
        store.acknowledge([appended[0].event_id])
        store.append(an_envelope("room again"))
        assert (store.counts().waiting, store.counts().refused) == (20, 5)

    def test_the_figures_add_up_at_every_moment(self, store: CountingStore) -> None:
        """The sum: captured + adopted = delivered + waiting + refused + dead letters."""
        for n in range(22):
            store.append(an_envelope(str(n)))
            assert store.counts().add_up
        claimed = store.claim(10)
        store.acknowledge([envelope.event_id for envelope in claimed[:4]])
        store.bury(claimed[4].event_id, "refused")
        store.release([claimed[5].event_id], retry_after_s=5)
        counts = store.counts()
        assert counts.add_up
        assert (counts.captured, counts.delivered, counts.waiting, counts.refused, counts.dead_letters) == (
            22, 4, 15, 2, 1,
        )  # fmt: skip

    def test_closing_twice_is_closing_once(self, store: CountingStore) -> None:
        """And what is captured afterwards is still kept."""
        store.close()
        store.close()
        store.append(an_envelope())
        assert store.counts().waiting == 1
        store.close()
