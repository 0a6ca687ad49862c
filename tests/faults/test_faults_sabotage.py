"""Without its protection, each promise is broken, and its tests say so."""

import subprocess
import sys
from pathlib import Path

import pytest
from programs import ROOT, environment
from sabotage import PROTECTIONS

TEST_FAILED = 1


def run_without(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The tests that are named for a protection, in a run of their own, without it."""
    options = [
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--timeout",
        "60",
        f"--basetemp={folder}/without",
    ]
    command = [sys.executable, "-m", "pytest", "--sabotage", name, *options, *PROTECTIONS[name].tests]
    return subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )


def lane(name: str) -> object:
    """The quick ones run always."""
    return pytest.param(name, marks=() if PROTECTIONS[name].quick else pytest.mark.soak)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [lane(name) for name in PROTECTIONS])
def test_without_a_protection_its_tests_fail(name, tmp_path) -> None:
    """A failed test, not an error: the run works, and the promise does not hold."""
    done = run_without(name, tmp_path)
    assert done.returncode == TEST_FAILED, done.stdout[-2_000:] + done.stderr[-2_000:]
    assert " failed" in done.stdout.splitlines()[-1]


def test_every_protection_names_its_promise_and_tests_that_exist() -> None:
    """Each says what it protects; some are quick."""
    assert len(PROTECTIONS) >= 30
    for name, protection in PROTECTIONS.items():
        assert protection.promise.endswith("."), name
        for test in protection.tests:
            path, _, function = test.partition("::")
            assert function.partition("::")[0].partition("[")[0] in (ROOT / path).read_text(encoding="utf-8"), test
    assert sum(protection.quick for protection in PROTECTIONS.values()) >= 6
