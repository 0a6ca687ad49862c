"""What tests of frameworks share: a memory, and no fault of ours that a framework could swallow."""

from pathlib import Path

import pytest

from synap_integrations import Scope, Synap
from synap_integrations.guard import incidents
from synap_integrations.model import UserMessage
from synap_integrations.testing import FakeMemory


@pytest.fixture
def memory():
    """Where everything goes."""
    return FakeMemory()


@pytest.fixture
def config(memory):
    """A config of LangChain with the handler and one conversation."""
    from synap_integrations.langchain import SynapCallbackHandler  # noqa: PLC0415 - needs LangChain

    return {"callbacks": [SynapCallbackHandler(memory)], "configurable": {"thread_id": "t"}}


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


@pytest.fixture
def remembered():
    """An embedded Synap in which two users have said something, in one conversation each."""
    with Synap(base_url="local", storage_path=Path(":memory:")) as synap:
        for user, said in REMEMBERED.items():
            synap.record(UserMessage(said), scope=Scope(f"monday-{user}", user))
        assert synap.flush()
        yield synap


REMEMBERED = {
    "ana": "I'm allergic to shellfish and I live in Lisbon.",
    "ben": "I'm allergic to peanuts and I live in Porto.",
}
