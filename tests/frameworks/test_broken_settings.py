"""What cannot be used among the settings is said where a handler is made, because nobody hears of it later."""

import base64
import pickle
import sys

import pytest

from synap_integrations import InvalidInputError, runtime, status
from synap_integrations.guard import incidents
from synap_integrations.langchain import SynapCallbackHandler as LangChainHandler
from synap_integrations.llamaindex import SynapCallbackHandler as LlamaIndexHandler
from synap_integrations.testing import FakeMemory

BROKEN = {
    "SYNAP_CAPTURE": "nope",
    "SYNAP_OUTBOX_KEY": "abc",
    "SYNAP_RECALL_TIMEOUT_S": "soon",
    "SYNAP_BASE_URL": "htps://foo",
}


@pytest.fixture(autouse=True)
def no_synap_yet():
    """A process in which nothing was captured so far."""
    before = runtime.use_default(None)
    yield
    runtime.use_default(before)


@pytest.fixture(params=[LangChainHandler, LlamaIndexHandler], ids=["langchain", "llamaindex"])
def handler(request):
    """The handlers of both frameworks, as an application makes them; LlamaIndex's is let go."""
    made = []

    def make(*given, **named):
        made.append(request.param(*given, **named))
        return made[-1]

    yield make
    for one in made:
        getattr(one, "detach", lambda: None)()


@pytest.mark.parametrize(("variable", "value"), BROKEN.items())
def test_a_handler_is_not_made_with_a_setting_that_cannot_be_used(monkeypatch, handler, variable, value) -> None:
    """The error names the variable."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidInputError, match=variable):
        handler()


def test_a_key_whose_package_is_missing_is_said_at_once(monkeypatch, handler) -> None:
    """`SYNAP_OUTBOX_KEY` without the extra names the extra."""
    monkeypatch.setenv("SYNAP_OUTBOX_KEY", base64.b64encode(bytes(32)).decode())
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(InvalidInputError, match="encrypt"):
        handler()


def test_who_brings_a_memory_needs_no_settings(monkeypatch, handler) -> None:
    """The environment is the affair of the process-wide Synap."""
    monkeypatch.setenv("SYNAP_BASE_URL", "htps://foo")
    assert handler(FakeMemory()) is not None


def test_where_nothing_is_captured_nothing_is_checked(monkeypatch, handler) -> None:
    """SYNAP_CAPTURE=0 leaves the application alone."""
    monkeypatch.setenv("SYNAP_CAPTURE", "0")
    monkeypatch.setenv("SYNAP_BASE_URL", "htps://foo")
    assert handler() is not None


def test_a_handler_that_comes_out_of_a_pickle_never_raises(monkeypatch) -> None:
    """A queue's worker that unpickles a chain with a handler in it goes on, whatever its own settings are."""
    handler = LangChainHandler(user_id="ana")
    pickled = pickle.dumps(handler)
    del handler
    monkeypatch.setenv("SYNAP_BASE_URL", "htps://foo")
    revived = pickle.loads(pickled)
    assert revived.options.scope.user_id == "ana"
    assert pickle.loads(pickle.dumps(revived)) is revived


def test_incidents_are_shown_before_there_is_a_synap() -> None:
    """What was contained while no Synap could be made is in `status` all the same."""
    incidents.note("callbacks", ValueError("no Synap could be made"))
    try:
        assert status().incidents == {"callbacks: ValueError": 1}
    finally:
        incidents.clear()
