"""The pytest plugin in runs of its own, as people have it: with and without other plugins, on whatever machine."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TURN = """
from synap_integrations.model import Scope, UserMessage
from synap_integrations.runtime import default_synap

ANA = Scope("c-1", "ana")
"""
PLUGIN = "synap_integrations.testing.plugin"


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs this source as somebody's tests with this plugin and those named, and a home that was empty before."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("HOME", str(pytester.mkdir("home")))

    def run(source: str, *options: str) -> pytest.RunResult:
        (pytester.path / "test_theirs.py").write_text(TURN + source, encoding="utf-8")
        return pytester.runpytest_subprocess("-p", PLUGIN, "-p", "no:cacheprovider", *options)

    return run


BOTH = """
def test_in_process(synap):
    default_synap().record(UserMessage("Hello."), scope=ANA)
    assert synap.transcript("c-1") == [("user", "Hello.")]
    synap.assert_no_leak()

def test_over_sockets(synap_server):
    default_synap().record(UserMessage("Hello."), scope=ANA)
    assert synap_server.transcript("c-1") == [("user", "Hello.")]
    synap_server.assert_no_leak()
"""


def test_without_any_other_plugin(run, pytester) -> None:
    """Neither pytest-asyncio nor xdist nor anything else is needed, and warnings are none."""
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    run(BOTH).assert_outcomes(passed=2)


def test_with_pytest_asyncio(run) -> None:
    """In a coroutine the fixtures are the same, and no loop is held up."""
    source = """
import pytest

@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["synap", "synap_server"])
async def test_from_a_coroutine(request, name):
    rig = request.getfixturevalue(name)
    default_synap().record(UserMessage("Hello."), scope=ANA)
    async with rig.client() as client:
        await client.conversation.record_message("c-1", "assistant", "Hi.", user_id="ana")
    assert rig.transcript("c-1").texts() == ["Hello.", "Hi."]
    rig.assert_no_leak()
"""
    run(source, "-p", "pytest_asyncio.plugin").assert_outcomes(passed=2)


def test_with_xdist(run) -> None:
    """Each worker has its server, and no test sees what another one said."""
    source = """
import pytest

@pytest.mark.parametrize("number", range(8))
def test_alone(synap_server, number):
    synap_server.record(UserMessage(f"Hello {number}."), scope=ANA)
    assert synap_server.transcript("c-1") == [("user", f"Hello {number}.")]
    synap_server.assert_no_leak()
"""
    run(source, "-p", "xdist", "-n", "2").assert_outcomes(passed=8)


def test_nothing_is_written_and_nothing_is_sent(run, monkeypatch) -> None:
    """With a key and an address in the shell, and tests that use no fixture: nobody is called, no file is made."""
    source = """
def test_that_knows_nothing_of_us():
    synap = default_synap()
    synap.record(UserMessage("Hello."), scope=ANA)
    assert synap.flush(10)
    assert synap.status().platform == "embedded"
"""
    with socket.create_server(("127.0.0.1", 0)) as platform:
        platform.settimeout(0)
        monkeypatch.setenv("SYNAP_API_KEY", "a key of somebody")
        monkeypatch.setenv("SYNAP_BASE_URL", f"http://127.0.0.1:{platform.getsockname()[1]}")
        monkeypatch.delenv("SYNAP_STORAGE_PATH")
        run(source + BOTH).assert_outcomes(passed=3)
        with pytest.raises(BlockingIOError):
            platform.accept()
    assert list(Path(os.environ["HOME"]).iterdir()) == []


def test_who_wants_the_real_thing_says_so(run, pytester, monkeypatch) -> None:
    """`synap_real = true` leaves the environment as it is."""
    source = """
import os

def test_environment():
    assert os.environ["SYNAP_BASE_URL"] == "http://127.0.0.1:1"
"""
    monkeypatch.setenv("SYNAP_BASE_URL", "http://127.0.0.1:1")
    run(source).assert_outcomes(failed=1)
    pytester.makeini("[pytest]\nsynap_real = true\n")
    run(source).assert_outcomes(passed=1)


def test_a_run_that_uses_nothing_loads_nothing(run, pytester) -> None:
    """Neither network libraries nor frameworks, and of our package only what the plugin is."""
    source = """
import sys

def test_loaded():
    heavy = {"grpc", "httpx", "pydantic", "starlette", "uvicorn", "langchain_core", "llama_index"}
    assert not heavy & {name.partition(".")[0] for name in LOADED}
    ours = {name for name in LOADED if name.startswith("synap_integrations")}
    assert ours == {"synap_integrations", "synap_integrations.testing", "synap_integrations.testing.plugin"}
"""
    before = "import sys\nLOADED = set(sys.modules)\n"
    (pytester.path / "conftest.py").write_text(before, encoding="utf-8")
    run("from conftest import LOADED" + source).assert_outcomes(passed=1)


def test_what_a_test_left_running_is_named_to_the_next_one(run) -> None:
    """A sender that outlives its test is refused; the running test sees nothing of it, and is told who it is."""
    source = """
from synap_integrations import Synap

LEFT = []

def test_forgets_to_close(synap_server):
    LEFT.append(Synap())
    LEFT[0].record(UserMessage("One."), scope=ANA)
    assert synap_server.transcript is not None and LEFT[0].flush(10)

def test_innocent(synap_server):
    LEFT[0].record(UserMessage("Two."), scope=ANA)
    assert not LEFT[0].flush(1)
    assert synap_server.transcript("c-1") == []
    synap_server.assert_no_leak()
"""
    ran = run(source)
    ran.assert_outcomes(passed=1, failed=1)
    ran.stdout.re_match_lines(
        [r".*test_theirs\.py::test_forgets_to_close is over and still sends: \d+ calls were refu.*"]
    )


def test_a_missing_conversation_is_explained(run) -> None:
    """The failure says which conversations there are."""
    source = """
def test_other_name(synap):
    synap.record(UserMessage("Hello."), scope=ANA)
    assert synap.transcript("c-2") == [("user", "Hello.")]
"""
    ran = run(source)
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["*there is no conversation 'c-2'; there is 'c-1' of 'ana'", "E * + user * Hello."])


def test_the_plugin_costs_a_run_that_does_not_use_it_next_to_nothing() -> None:
    """What it adds to the start of pytest, imports and all, is below a hundredth of a second."""
    code = "import pytest, sys; import synap_integrations.testing.plugin"
    times = []
    for _ in range(5):
        ran = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", code], check=True, capture_output=True, text=True
        )
        (line,) = re.findall(r"\|\s+(\d+) \| synap_integrations\.testing\.plugin", ran.stderr)
        times.append(int(line))
    assert min(times) < 10_000
