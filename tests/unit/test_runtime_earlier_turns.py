"""When a Synap is asked for a conversation's earlier turns again, and which of them are not here already."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from synap_integrations import InvalidInputError, NetworkTimeoutError
from synap_integrations.model import RecentTurn
from synap_integrations.ports import Answer
from synap_integrations.runtime import earlier_turns
from synap_integrations.runtime.earlier_turns import FirstReads, first_reads_of, not_here_yet
from synap_integrations.testing import FakeMemory

DOWN = Answer(fault=NetworkTimeoutError("down"))
T0 = datetime(2026, 3, 1, tzinfo=UTC)


def told(*words: str, at: datetime | None = None, later_from: int = 0) -> list[RecentTurn]:
    """Turns of a user (in small letters) and of an assistant (in capitals), a minute apart if dated; from
    ``later_from`` on, an hour later.
    """
    return [
        RecentTurn(
            "assistant" if word.isupper() else "user",
            word,
            at and at + timedelta(minutes=number, hours=number >= later_from > 0),
        )
        for number, word in enumerate(words)
    ]


def test_the_pause_doubles_up_to_five_minutes_and_an_answer_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked while it lasts; after an answer the next failure begins with the shortest again."""
    now = [100.0]
    monkeypatch.setattr(earlier_turns, "time", SimpleNamespace(monotonic=lambda: now[0]))
    memory, reads = FakeMemory(), FirstReads()
    for pause_s in (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0):
        assert reads.lookup(memory) is memory
        assert not reads.concluded(DOWN)
        now[0] += pause_s - 0.1
        assert reads.lookup(memory) is None
        now[0] += 0.2
    assert reads.concluded(Answer())
    assert not reads.concluded(DOWN)
    now[0] += 5.1
    assert reads.lookup(memory) is memory


def test_an_answer_that_will_not_change_is_final() -> None:
    """A refusal is no outage: it is not asked again, and nobody else waits for it."""
    reads = FirstReads()
    assert reads.concluded(Answer(fault=InvalidInputError("never")))
    assert reads.lookup(memory := FakeMemory()) is memory


def test_a_fork_does_not_inherit_the_pause() -> None:
    """The child asks for itself."""
    memory, reads = FakeMemory(), FirstReads()
    reads.concluded(DOWN)
    assert reads.lookup(memory) is None
    reads.after_fork_in_child()
    assert reads.lookup(memory) is memory


def test_histories_over_one_synap_share_the_pause() -> None:
    """Whichever framework's they are; another Synap has its own, and so has one that nothing can be kept for."""
    one, other = FakeMemory(), FakeMemory()
    first_reads_of(one).concluded(DOWN)
    assert first_reads_of(one).lookup(one) is None
    assert first_reads_of(other).lookup(other) is other

    class Unhashable(FakeMemory):
        __hash__ = None  # type: ignore[assignment]

    first_reads_of(alone := Unhashable()).concluded(DOWN)
    assert first_reads_of(alone).lookup(alone) is alone


@pytest.mark.parametrize(
    ("there", "here", "left"),
    [
        ("a A b B", "", "a A b B"),
        ("a A b B", "b", "a A"),
        ("a A b B", "b c", "a A"),
        ("a A b B c", "b c", "a A"),
        ("a A b B", "c", "a A b B"),
        ("a A a A", "a", "a A"),
        ("", "a", ""),
    ],
)
def test_what_both_have_stands_once(there: str, here: str, left: str) -> None:
    """Where the last questions told are the first ones here, they are the same ones."""
    kept = not_here_yet(told(*there.split()), here.split(), answered_since=None)
    assert [turn.content for turn in kept] == left.split()


def test_where_a_mask_changed_the_words_the_time_tells() -> None:
    """What was said since this process takes part is here already; without dates nothing is taken away."""
    since = T0 + timedelta(minutes=30)
    masked = told("a", "A", "[b]", "B", at=T0, later_from=2)
    assert [turn.content for turn in not_here_yet(masked, ["b"], answered_since=since)] == ["a", "A"]
    assert [turn.content for turn in not_here_yet(masked, ["b"], answered_since=None)] == ["a", "A", "[b]", "B"]
    undated = told("a", "A", "[b]", "B")
    assert list(not_here_yet(undated, ["b"], answered_since=since)) == undated
