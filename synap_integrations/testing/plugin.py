"""The pytest plugin: a Synap for each test, in this process (`synap`) or behind real sockets (`synap_server`).

From the start of the run, what the application captures stays in memory: nothing is written below the user's home and
nothing is sent, whatever the environment says. ``synap_real = true`` in pytest's configuration leaves it alone, and so
does a run that `synap run` or `synap dev exec` has started.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from .rig import Place, Rig
    from .served import SharedServer

_IN_MEMORY: Final = {"SYNAP_BASE_URL": "local", "SYNAP_STORAGE_PATH": ":memory:"}
_MARK: Final = "synap(**settings): settings of the test's Synap, as `Settings` names them"
_surroundings: Final = pytest.StashKey[pytest.MonkeyPatch]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``synap_real``."""
    parser.addini(
        "synap_real", "leave the SYNAP_ variables alone: tests may reach a real platform", "bool", default=False
    )


def pytest_configure(config: pytest.Config) -> None:
    """Nothing that is captured during the run leaves the process."""
    config.addinivalue_line("markers", _MARK)
    if config.getini("synap_real") or _started_by_synap_run() or _started_by_dev_exec():
        return
    config.stash[_surroundings] = patch = pytest.MonkeyPatch()
    for name, value in _IN_MEMORY.items():
        patch.setenv(name, value)


def _started_by_synap_run() -> bool:
    """True under ``synap run -- pytest``: who starts the tests that way wants to see what they said."""
    return "synap_integrations.auto.start" in sys.modules


def _started_by_dev_exec() -> bool:
    """True under ``synap dev exec -- pytest``: its server is there for these tests."""
    from synap_integrations.settings import by_dev_exec  # noqa: PLC0415 - loads the model

    return by_dev_exec()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the environment as it was."""
    if (patch := config.stash.get(_surroundings, None)) is not None:
        patch.undo()


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Two transcripts that should be equal, as a dialogue with the differences marked."""
    named = "Transcript" in {type(left).__name__, type(right).__name__}
    if op != "==" or not named:
        return None
    from .transcript import difference  # noqa: PLC0415 - not loaded unless there is a transcript

    return difference(left, right)


@pytest.fixture
def synap(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A Synap in memory, for this test alone: handlers that are given none use it."""
    from .clock import VirtualClock  # noqa: PLC0415 - a run that uses no fixture loads none of this
    from .in_process import InProcess  # noqa: PLC0415

    clock = VirtualClock()
    with _rigged(request, InProcess(clock), clock) as rig:
        yield rig


@pytest.fixture
def synap_server(request: pytest.FixtureRequest, _synap_test_server: SharedServer) -> Iterator[Rig]:
    """A Synap behind real sockets with a key and a memory for this test alone: handlers that are given none use it."""
    from .clock import VirtualClock  # noqa: PLC0415 - see above

    clock = VirtualClock()
    with _rigged(request, _synap_test_server.open(request.node.nodeid, clock), clock) as rig:
        yield rig


@pytest.fixture(scope="session")
def _synap_test_server() -> Iterator[SharedServer]:
    from .served import SharedServer  # noqa: PLC0415 - loads grpc, starlette and uvicorn

    with SharedServer() as server:
        yield server


@contextmanager
def _rigged(request: pytest.FixtureRequest, place: Place, clock: Any) -> Iterator[Rig]:  # noqa: ANN401 - see `synap`
    """The rig, as the process-wide Synap, in an environment that says nothing else."""
    from dataclasses import fields  # noqa: PLC0415 - see above

    from synap_integrations import runtime  # noqa: PLC0415 - see above
    from synap_integrations.settings import Settings  # noqa: PLC0415 - see above

    from .rig import Rig  # noqa: PLC0415 - see above

    chosen: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("synap"))):
        chosen |= mark.kwargs
    with pytest.MonkeyPatch.context() as patch:
        for row in fields(Settings):
            patch.delenv(row.metadata["variable"], raising=False)
        for name, value in place.environment.items():
            patch.setenv(name, value)
        rig = Rig(place, clock, **chosen)
        before = runtime.use_default(rig.memory)
        try:
            yield rig
        finally:
            runtime.use_default(before)
            rig.close()
