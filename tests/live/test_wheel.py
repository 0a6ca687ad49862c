"""The package as it is installed: built as a wheel, in a virtual environment of its own, away from the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "synap_integrations"
NO_BACKEND = ("Could not find a version", "No matching distribution", "ConnectionError", "Failed to establish")
"""What pip says where it cannot get what a build needs."""

APP = """
from langchain_core.language_models import FakeListChatModel
import synap_integrations

FakeListChatModel(responses=["Nice."]).invoke("I moved to Lisbon", {"metadata": {"user_id": "ana", "thread_id": "t"}})
print(synap_integrations.__file__)
"""
VISIT = """
import os, urllib.request

for path in ("/ui/app.js", "/ui/uPlot.iife.min.js", "/ui/style.css", "/", "/read/", "/read/health"):
    asked = urllib.request.Request(os.environ["SYNAP_BASE_URL"] + path)
    asked.add_header("Authorization", "Bearer " + os.environ["SYNAP_API_KEY"])
    with urllib.request.urlopen(asked, timeout=30) as answer:
        print(answer.status, path, len(answer.read()) > 100)
"""


def run(*command, cwd=None, timeout=120, **environ):
    """Run it to its end, with nothing of this checkout on its path."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SYNAP_"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=inherited | environ,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def built(folder):
    """The wheel of this checkout; skips the test where the build backend cannot be had."""
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--wheel-dir", folder)
    done = run(sys.executable, "-m", "pip", "wheel", *options, ROOT)
    if done.returncode and any(said in done.stderr for said in NO_BACKEND):
        pytest.skip(f"the build backend cannot be had here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def installed(wheel, folder):
    """The folder of commands of a new virtual environment: it holds the wheel, and sees what this one has installed."""
    assert run(sys.executable, "-m", "venv", "--without-pip", folder).returncode == 0
    commands = folder / "bin"
    into = ("--python", commands / "python", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index")
    done = run(sys.executable, "-m", "pip", *into[:2], "install", *into[2:], wheel)
    assert done.returncode == 0, done.stderr
    (site,) = folder.glob("lib/python*/site-packages")
    seen = [place for place in sys.path if Path(place).name == "site-packages"]
    (site / "dependencies.pth").write_text("\n".join(seen) + "\n", encoding="utf-8")
    return commands


def files_of_the_package():
    """What lies in the package's folder of this checkout, but for what Python makes."""
    return {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / PACKAGE).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


@pytest.mark.timeout(300)
def test_the_wheel_holds_everything_and_works_without_the_checkout(tmp_path) -> None:
    """All files of the package are in it; installed from it, a program is captured and the pages are served."""
    (tmp_path / "wheel").mkdir()
    wheel = built(tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith(f"{PACKAGE}/")}
    assert held == files_of_the_package()

    commands, elsewhere = installed(wheel, tmp_path / "venv"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "app.py").write_text(APP, encoding="utf-8")
    (elsewhere / "visit.py").write_text(VISIT, encoding="utf-8")
    where = {"cwd": elsewhere, "SYNAP_STORAGE_PATH": str(tmp_path / "storage"), "SYNAP_BASE_URL": "local"}

    captured = run(commands / "synap", "run", "--", commands / "python", "app.py", **where)
    assert captured.returncode == 0, captured.stderr
    assert Path(captured.stdout.strip().splitlines()[-1]).is_relative_to(tmp_path / "venv")

    shown = run(commands / "synap", "show", "t", "--json", **where)
    assert shown.returncode == 0, shown.stderr
    turns = [entry for entry in json.loads(shown.stdout)["entries"] if entry["kind"] == "turn"]
    assert [turn["content"] for turn in turns] == ["I moved to Lisbon", "Nice."]

    visited = run(commands / "synap", "dev", "exec", "--", commands / "python", "visit.py", cwd=elsewhere)
    assert visited.returncode == 0, visited.stderr
    assert [line.split()[::2] for line in visited.stdout.splitlines()] == [["200", "True"]] * 6
