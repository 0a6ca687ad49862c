"""What every framework's folder owes, run over each ``integration.toml``: add a folder and it is tested here."""

import importlib
import pkgutil
import re
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import synap_integrations
from synap_integrations.errors import InvalidInputError
from synap_integrations.guard import incidents
from synap_integrations.model import AssistantMessage, ToolCall, ToolResult, UserMessage
from synap_integrations.ports import Detach
from synap_integrations.runtime import Synap
from synap_integrations.supported import refuse_unsupported
from synap_integrations.testing import FakeMemory

MANIFESTS = sorted(Path(synap_integrations.__file__).parent.glob("*/integration.toml"))


class Island:
    """One framework's folder, known only by its manifest."""

    def __init__(self, manifest: Path) -> None:
        self.manifest = tomllib.loads(manifest.read_text(encoding="utf-8"))
        self.name: str = self.manifest["name"]
        self.attach: Callable[[Any], Detach] = pkgutil.resolve_name(self.manifest["attach"])
        self.probe = importlib.import_module(self.manifest["probe"].partition(":")[0])

    def turn(self, **how: Any) -> str:
        """One scripted turn: a question, a tool, an answer."""
        return self.probe.run_one_turn(**how)


@pytest.fixture(params=MANIFESTS, ids=lambda path: path.parent.name)
def island(request: pytest.FixtureRequest) -> Island:
    trigger = tomllib.loads(request.param.read_text(encoding="utf-8"))["trigger"]
    pytest.importorskip(trigger.partition(".")[0], reason=f"{request.param.parent.name} is not installed here")
    return Island(request.param)


@pytest.fixture
def memory() -> FakeMemory:
    return FakeMemory()


@pytest.fixture
def attached(island: Island, memory: FakeMemory):
    detach = island.attach(memory)
    yield memory
    detach()


def shape(memory: FakeMemory, conversation: str | None = None) -> list[type]:
    """The kinds of events, in order, of one conversation or of all."""
    return [type(entry.event) for entry in memory.recorded if conversation in (None, entry.scope.conversation_id)]


ONE_TURN = [UserMessage, ToolCall, ToolResult, AssistantMessage]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.usefixtures("strict_guard")
def test_one_question_one_tool_one_answer(island, attached, stream) -> None:
    """One user and one assistant event for a turn; a tool lap is not a turn; streaming equals not streaming."""
    answer = island.turn(stream=stream)
    assert shape(attached) == ONE_TURN
    question, call, result, said = attached.events
    assert (question.content, said.content, answer) == (island.probe.QUESTION, island.probe.ANSWER, island.probe.ANSWER)
    assert call.tool_name == result.tool_name == island.probe.TOOL
    assert call.tool_call_id == result.tool_call_id


class Told:
    """A platform of the documented verbs, which keeps what travels with each event."""

    def __init__(self) -> None:
        self.conversation = self.instance = self
        self.metadata: list[dict[str, Any]] = []

    async def record_message(self, *_: Any, metadata: dict[str, Any], **__: Any) -> dict[str, str]:
        self.metadata.append(metadata)
        return {"message_id": "m"}

    async def send_message(self, *_: Any, metadata: dict[str, Any], **__: Any) -> None:
        self.metadata.append(metadata)

    async def listen(self, **_: Any) -> None: ...

    async def stop_listening(self) -> None: ...


def test_every_event_says_which_framework_it_is_from(island, tmp_path) -> None:
    """A platform can tell what was said through which framework."""
    platform = Told()
    with Synap(platform, storage_path=tmp_path) as synap:
        detach = island.attach(synap)
        island.turn()
        detach()
        assert synap.flush(20)
    assert [one["synap_framework"] for one in platform.metadata] == [island.name] * len(ONE_TURN)


def test_a_model_that_fails_leaves_the_question(island, attached) -> None:
    """What the user said is kept whatever becomes of the answer."""
    with pytest.raises(ConnectionError):
        island.turn(fail=True)
    assert shape(attached) == [UserMessage]


def test_two_threads_do_not_mix(island, attached) -> None:
    """Each conversation is whole and of its own user."""

    def talk(name: str) -> None:
        for _ in range(5):
            island.turn(conversation_id=name, user_id=f"user of {name}")

    threads = [threading.Thread(target=talk, args=(name,)) for name in ("x", "y")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("x", "y"):
        assert shape(attached, name) == 5 * ONE_TURN
        users = {entry.scope.user_id for entry in attached.recorded if entry.scope.conversation_id == name}
        assert users == {f"user of {name}"}


def test_the_surrounding_block_says_who_is_talking(island, attached) -> None:
    """``with synap_integrations.context(…)`` works for every framework."""
    with synap_integrations.context(user_id="ana", conversation_id="c-1", customer_id="acme"):
        island.turn()
    scopes = {entry.scope for entry in attached.recorded}
    assert [(s.conversation_id, s.user_id, s.customer_id) for s in scopes] == [("c-1", "ana", "acme")]


def test_attaching_twice_captures_once(island, attached) -> None:
    """The second attachment of the same memory changes nothing, nor does letting go of it."""
    detach = island.attach(attached)
    island.turn()
    assert shape(attached) == ONE_TURN
    detach()
    island.turn()
    assert shape(attached) == ONE_TURN * 2


def test_detached_is_detached(island, memory) -> None:
    """After letting go nothing is recorded; letting go twice is allowed."""
    detach = island.attach(memory)
    detach()
    detach()
    island.turn()
    assert memory.recorded == []


def test_a_memory_that_explodes_is_not_noticed(island) -> None:
    """The answer arrives; the fault is counted."""

    class Exploding(FakeMemory):
        def record(self, event: Any, *, scope: Any) -> None:
            raise RuntimeError("ours")

    incidents.clear()
    detach = island.attach(Exploding())
    try:
        assert island.turn() == island.probe.ANSWER
    finally:
        detach()
    assert any("RuntimeError" in cause for cause in incidents.counts())
    incidents.clear()


def test_paused_is_off(island, attached) -> None:
    """Inside ``pause()`` nothing is captured and nobody is asked; after it, everything is as before."""
    with synap_integrations.pause():
        assert island.turn() == island.probe.ANSWER
    assert (attached.recorded, attached.recalled) == ([], [])
    island.turn()
    assert shape(attached) == ONE_TURN


def test_capture_switched_off_is_off(island, attached, monkeypatch) -> None:
    """``SYNAP_CAPTURE=0`` wins."""
    monkeypatch.setenv("SYNAP_CAPTURE", "0")
    island.turn()
    assert attached.recorded == []


def test_the_manifest_says_what_the_package_says(island) -> None:
    """What an island requires is what its extra installs, and its public names resolve."""
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert extras[island.name] == island.manifest["requires"]
    package = importlib.import_module(f"synap_integrations.{island.name}")
    assert all(hasattr(package, name) for name in package.__all__)


def test_what_is_refused_is_what_the_manifest_does_not_require(island) -> None:
    """The oldest version named is fine; one before it, and the first unknown one, are refused with what to install."""
    (required,) = island.manifest["requires"]
    name, oldest, first_unknown = re.fullmatch(r"(.+)>=(.+),<(.+)", required).groups()
    *front, last = oldest.split(".")
    refuse_unsupported(island.name, oldest)
    for version in (".".join([*front, str(int(last) - 1)]), f"{first_unknown}.0", "0.0.1"):
        with pytest.raises(InvalidInputError) as refused:
            refuse_unsupported(island.name, version)
        assert f"{name} {version} is not supported: install {required}" in str(refused.value)


def test_an_unsupported_version_is_not_attached_to(island, memory, monkeypatch) -> None:
    """Whoever runs a version we do not know is told which ones we do, and nothing is captured."""
    module = importlib.import_module(island.manifest["attach"].partition(":")[0])
    monkeypatch.setattr(module, "refuse_unsupported", lambda name, _version: refuse_unsupported(name, "0.0.1"))
    with pytest.raises(InvalidInputError, match=rf"{re.escape(island.manifest['requires'][0])}"):
        island.attach(memory)
    island.turn()
    assert memory.recorded == []
