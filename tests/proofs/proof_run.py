"""Lines, each measured in a process of its own, so that none profits or suffers from another."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import programs
from proof_lines import LINES
from proof_report import Outcome

PROGRAM = Path(__file__).with_name("measure_one.py")
LONGEST_S = 3_600.0


def outcome_of(name: str, *, short: bool, without: str | None = None, within_s: float = LONGEST_S) -> Outcome:
    """Measure one line, if need be without one of the protections."""
    line, began = LINES[name], time.monotonic()
    more = {"SABOTAGE": without} if without else {}
    with tempfile.TemporaryDirectory(prefix="prove-", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-W", "ignore::DeprecationWarning", str(PROGRAM)]
        command += [name, "short" if short else "full", folder]
        env = programs.environment(HOME=folder, XDG_STATE_HOME=f"{folder}/state", TMPDIR=folder, **more)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=within_s, env=env, check=False)
        except subprocess.TimeoutExpired:
            return Outcome(name, line, {}, time.monotonic() - began, f"not done within {within_s:g} s", short)
    took_s = time.monotonic() - began
    if done.returncode:
        why = (done.stderr.strip() or "nothing was said").splitlines()[-1][:200]
        return Outcome(name, line, {}, took_s, f"ended with {done.returncode}: {why}", short)
    return Outcome(name, line, json.loads(done.stdout.splitlines()[-1]), took_s, short=short)


def outcomes_of(names: list[str], *, short: bool, jobs: int, without: str | None = None) -> Iterator[Outcome]:
    """All of them as they come, first those that must be alone, then ``jobs`` at a time."""
    for name in (name for name in names if LINES[name].alone):
        yield outcome_of(name, short=short, without=without)
    with ThreadPoolExecutor(jobs) as pool:
        together = [name for name in names if not LINES[name].alone]
        under_way = [pool.submit(outcome_of, name, short=short, without=without) for name in together]
        for done in as_completed(under_way):
            yield done.result()
