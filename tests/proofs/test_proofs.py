"""The lines of `make prove`, in short; and without a protection each of them is red."""

import json

import pytest
from programs import ROOT, python
from proof_lines import LINES
from proof_report import HEADING, Outcome, row
from proof_run import outcome_of
from sabotage import PROTECTIONS

QUICK = {"clock", "corruption", "disk", "isolation", "render"}
"""Lines whose sabotage takes a few seconds, and is tried with every run of the tests."""


@pytest.mark.parametrize("name", list(LINES))
def test_a_promise_is_kept(name: str) -> None:
    """The short form of a line keeps all its bounds."""
    assert outcome_of(name, short=True, within_s=100).broken == []


@pytest.mark.soak
@pytest.mark.timeout(2_500)
@pytest.mark.parametrize("name", list(LINES))
def test_a_promise_is_kept_at_full_length(name: str) -> None:
    """As `make prove` measures it."""
    assert outcome_of(name, short=False).broken == []


@pytest.mark.timeout(320)
@pytest.mark.parametrize(
    ("name", "protection"),
    [
        pytest.param(name, protection, marks=() if name in QUICK else pytest.mark.soak)
        for name, line in LINES.items()
        for protection in line.without
    ],
)
def test_without_its_protection_a_line_is_red(name: str, protection: str) -> None:
    """Figures beyond what is promised: the line measures what the protection does."""
    outcome = outcome_of(name, short=True, without=protection, within_s=300)
    assert outcome.fault == ""  # a measurement that dies shows nothing
    assert any(outcome.figures[figure] > most for figure, most in outcome.line.most.items())


def test_every_line_names_protections_that_exist() -> None:
    """And at least one."""
    for name, line in LINES.items():
        assert line.without, name
        assert set(line.without) <= PROTECTIONS.keys()


def test_a_figure_beyond_its_bound_is_named() -> None:
    """One that is too high, one that is too low to prove anything, and a measurement that did not end."""
    line = LINES["kills"]
    figures = {"told": 5, "lost": 2, "doubled": 0, "inversions": 0, "repeats": 0, "unaccounted": 0}
    outcome = Outcome("kills", line, figures, 1.0, short=True)
    assert outcome.broken == ["lost 2 > 0", "told 5 < 300"]
    assert "BROKEN: lost 2 > 0" in row(outcome)
    assert row(outcome).count("|") == HEADING.splitlines()[0].count("|")
    assert Outcome("kills", line, {}, 1.0, "ended with 1", short=True).broken == ["ended with 1"]


def test_the_program_prints_a_table_and_writes_figures(tmp_path) -> None:
    """With --only, --json; the exit code is 1 if a promise is not kept."""
    command = [str(ROOT / "tests" / "proofs"), "--short", "--only", "clock", "--json", str(tmp_path / "figures.json")]
    done = python(*command)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 of 1 kept" in done.stdout
    (figures,) = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert (figures["line"], figures["broken"], figures["figures"]["lost"]) == ("clock", [], 0)
    assert python(*command, "--sabotage", "monotonic-pauses").returncode == 1
