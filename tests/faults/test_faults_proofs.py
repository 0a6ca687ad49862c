"""The proofs whose figures are quoted: in short with every run, at full length as slow proofs."""

import growth_proof
import kill_proof
import outage_proof
import pytest


def test_an_hour_without_a_platform_loses_nothing() -> None:
    """Two thousand turns are captured meanwhile; few attempts are made, and the first delivery follows the return."""
    figures = outage_proof.measure(turns=2_000)
    assert (figures.lost, figures.doubled, figures.inversions) == (0, 0, 0)
    assert figures.attempts < 300
    assert figures.recovered_s <= 60


@pytest.mark.soak
def test_an_hour_without_a_platform_and_ten_thousand_turns() -> None:
    """The same at full length."""
    figures = outage_proof.measure(turns=10_000)
    assert (figures.lost, figures.doubled, figures.inversions) == (0, 0, 0)


def test_memory_does_not_follow_the_number_of_turns(tmp_path) -> None:
    """Twenty thousand turns: at most two megabytes more than after the first tenth."""
    assert growth_proof.measure(tmp_path, turns=20_000).grown_kb < 2_000


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_million_turns_do_not_grow_the_process(tmp_path) -> None:
    """At most five megabytes, and files that stay small."""
    figures = growth_proof.measure(tmp_path, turns=1_000_000)
    assert figures.grown_kb <= 5_000


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_thousand_kills_lose_and_double_nothing(tmp_path) -> None:
    """Killed at random moments while capturing, delivering and adopting."""
    figures = kill_proof.measure(tmp_path, kills=1_000)
    assert figures.told > 5_000
    assert figures.repeats > 0  # else nobody died between a send and its confirmation
    assert (figures.lost, figures.doubled, figures.inversions) == (0, 0, 0)
