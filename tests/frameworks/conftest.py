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


@pytest.fixture
def no_turn_left(no_incidents):
    """The test fails if LlamaIndex's capture still holds an open turn, or if a fault of ours was contained."""
    yield
    from llamaindex_world import settled  # noqa: PLC0415 - needs LlamaIndex

    assert settled()
