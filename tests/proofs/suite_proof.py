"""Promises that tests of their own hold: how many cases there are, and how many of them fail."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from programs import ROOT, python

OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout", "120")


@dataclass(frozen=True)
class Figures:
    """``failed`` includes errors; ``left_out`` were skipped, because what they need is not here."""

    cases: int
    failed: int
    left_out: int


def measure(folder: Path, *, tests: list[str], chosen: str = "") -> Figures:
    """Run the tests; ``chosen`` is an expression as of ``pytest -k``."""
    sabotage = ["--sabotage", os.environ["SABOTAGE"]] if "SABOTAGE" in os.environ else []
    which = ["-k", chosen] if chosen else []
    paths = [str(ROOT / "tests" / test) for test in tests]
    rest = [f"--basetemp={folder / 'tests'}", f"--rootdir={ROOT}", "-m", "not soak"]
    done = python("-m", "pytest", *OPTIONS, *rest, *which, *sabotage, *paths, timeout=1_200, HOME=str(folder))
    if done.returncode not in {0, 1}:
        sys.stderr.write(done.stdout[-2_000:])
        raise RuntimeError(done.stdout.splitlines()[-1] if done.stdout else done.stderr)
    said = dict.fromkeys(("passed", "failed", "error", "skipped"), 0)
    said |= {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|error|skipped)", done.stdout)}
    failed = said["failed"] + said["error"]
    return Figures(said["passed"] + failed, failed, said["skipped"])
