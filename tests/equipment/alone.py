"""A pytest plugin: what is marked ``alone`` runs in a process of its own, which the test waits for.

For libraries that keep something for a whole process: what one test does to them must not decide about another one.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSIDE = "A_TEST_IS_ALONE"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the test elsewhere, unless this is elsewhere."""
    if pyfuncitem.get_closest_marker("alone") is None or os.environ.get(INSIDE):
        return None
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", pyfuncitem.nodeid],
        cwd=ROOT, env=clean | {INSIDE: "1"}, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return True
