"""What every test gets: storage of its own, no settings from outside, and the equipment on the path."""

import os
import sys
from pathlib import Path

import pytest

from synap_integrations.guard import incidents

# At the end, so that nothing there can shadow a module of the standard library.
HERE = Path(__file__).parent
sys.path += [str(HERE / "equipment"), str(HERE / "proofs")]


def pytest_addoption(parser):
    """``--sabotage NAME``: run without one protection; the tests that are named for it must fail."""
    parser.addoption("--sabotage", metavar="NAME", help="switch a protection off (tests/equipment/sabotage.py)")


def pytest_configure(config):
    """Before anything is collected, so that nothing holds on to what is replaced."""
    import own_garbage  # noqa: PLC0415 - found through the path above

    config.pluginmanager.register(own_garbage)
    if name := config.getoption("--sabotage"):
        import sabotage  # noqa: PLC0415 - loads the package, which most runs do later

        os.environ["SABOTAGE"] = name
        sabotage.switch_off(name)


@pytest.fixture(autouse=True)
def own_storage(tmp_path, monkeypatch):
    """A folder of its own for outbox and embedded Synap, and no SYNAP_* variable of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("SYNAP_")]:
        monkeypatch.delenv(name)
    storage = tmp_path / "synap"
    monkeypatch.setenv("SYNAP_STORAGE_PATH", str(storage))
    return storage


@pytest.fixture
def strict_guard():
    """A fault of ours that is normally contained and counted fails the test instead."""
    incidents.clear()
    incidents.strict = True
    yield incidents
    incidents.strict = False
    incidents.clear()


@pytest.fixture
def synap_platform():
    """A platform on two loopback ports, with a ledger of what it received and a script of misbehaviour."""
    from socket_platform import SocketPlatform  # noqa: PLC0415 - loads grpc, which most tests do without

    with SocketPlatform() as platform:
        yield platform
