"""The power goes: what a disk may hold then, in every moment of a recorded run."""

import pytest
from power_loss_proof import measure


def test_a_power_failure_takes_nothing_with_durability_power(tmp_path) -> None:
    """Unsynced writes lost, kept, reordered or torn: every turn whose capture had returned is there, unaltered."""
    figures = measure(tmp_path, durability="power", turns=15, each=3)
    assert figures.states > 500
    assert (figures.lost, figures.altered, figures.broken) == (0, 0, 0)


def test_a_power_failure_takes_at_most_what_was_not_brought_to_disk(tmp_path) -> None:
    """By default the log is brought to disk about once a second: what was captured before that is there."""
    figures = measure(tmp_path, durability="process", turns=15, each=3)
    assert figures.states > 400
    assert (figures.lost, figures.altered, figures.broken) == (0, 0, 0)


def test_the_simulation_finds_a_disk_that_does_not_sync(tmp_path) -> None:
    """A control: on a disk whose syncs do nothing, turns are lost in many of the same states."""
    assert measure(tmp_path, durability="power", turns=15, each=3, syncs_count=False).lost > 50


@pytest.mark.soak
@pytest.mark.parametrize("durability", ["power", "process"])
def test_thousands_of_states_after_a_power_failure_lose_nothing(tmp_path, durability) -> None:
    """The same with more turns and more states of each moment."""
    figures = measure(tmp_path, durability=durability, turns=60, each=8)
    assert figures.states > 4_000
    assert (figures.lost, figures.altered, figures.broken) == (0, 0, 0)
