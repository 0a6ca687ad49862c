"""Whoever leaves something open fails, and nobody else."""

import re

from programs import EQUIPMENT, python

LEAKS = """
import asyncio, socket, subprocess
import pytest

LEAKS = {
    "socket": socket.socket,
    "file": lambda: open(__file__),
    "loop": asyncio.new_event_loop,
    "pipe": lambda: subprocess.Popen(["true"], stdout=subprocess.PIPE),
}

class Held: pass

@pytest.mark.parametrize("leak", LEAKS)
def test_that_leaks(leak):
    held = Held()
    held.itself, held.thing = held, LEAKS[leak]()

@pytest.fixture(scope="module")
def everybody():
    yield
    held = Held()
    held.itself, held.thing = held, socket.socket()

def test_of_a_neighbour(everybody):
    pass

def test_that_comes_last():
    pass
"""
OPTIONS = (
    "-q",
    "-rA",
    "-W",
    "error",
    *(part for name in ("cacheprovider", "asyncio", "synap") for part in ("-p", f"no:{name}")),
)


def test_what_is_left_open_fails_who_left_it(tmp_path) -> None:
    """Also if only the garbage collector finds it; what a module's fixture leaves fails the module's last test."""
    (tmp_path / "test_leaks.py").write_text(LEAKS, encoding="utf-8")
    here = ("-p", "own_garbage", f"--rootdir={tmp_path}", str(tmp_path))
    done = python("-m", "pytest", *OPTIONS, *here, PYTHONPATH=str(EQUIPMENT))
    found = re.findall(r"^ERROR .*test_leaks.py::(\S+)", done.stdout, re.MULTILINE)
    leaks = [f"test_that_leaks[{what}]" for what in ("socket", "file", "loop", "pipe")]
    assert found == [*leaks, "test_that_comes_last"], done.stdout + done.stderr
