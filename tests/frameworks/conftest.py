"""What tests of frameworks share: a memory, and no fault of ours that a framework could swallow."""

import pytest

from synap_integrations.guard import incidents
from synap_integrations.testing import FakeMemory


@pytest.fixture
def memory():
    """Where everything goes."""
    return FakeMemory()


@pytest.fixture
def no_incidents():
    """The test fails if a fault of ours was contained, also where the framework logs and swallows what hooks raise."""
    incidents.clear()
    yield incidents
    found = incidents.counts()
    incidents.clear()
    assert found == {}
