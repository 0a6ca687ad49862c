"""A pytest plugin: what a test leaves to the garbage collector is collected before the next one, and fails it.

A socket, file or loop that nobody closed is a warning when it is collected, and a warning is an error. Without this,
the error is that of whoever happens to be running then.
"""

import gc
import time

import pytest

_LONG_S = 0.02


def pytest_collection_finish() -> None:
    """What is loaded by now stays, and is not looked at again: a collection then takes milliseconds."""
    gc.collect()
    gc.freeze()


def _collected() -> None:
    began = time.thread_time()
    gc.collect()
    if time.thread_time() - began > _LONG_S:  # a test has loaded a framework
        gc.freeze()


@pytest.fixture(autouse=True)
def own_garbage():
    """The first of all fixtures, so that it ends as the last one."""
    yield
    _collected()


@pytest.fixture(scope="module", autouse=True)
def own_garbage_of_a_module():
    """The same, for what the last test of a module leaves with its fixtures."""
    yield
    _collected()
