"""Synap, wired: what is recorded arrives, what was said comes back, nothing gets in the way."""

import asyncio
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from socket_platform import CUT, KEY, Answer

import synap_integrations
from synap_integrations import InvalidInputError, NetworkError, Scope, Synap
from synap_integrations.guard import quiet
from synap_integrations.model import AssistantMessage, Thinking, ToolCall, ToolResult, UserMessage
from synap_integrations.ports import ReadConversation, Search
from synap_integrations.runtime import default_synap, use_default

ANA = Scope("c-1", "ana")


class Surface:
    """The documented surface of a client, and nothing more: remembers each call as the application made it."""

    def __init__(self, *, fault: Exception | None = None) -> None:
        self.calls: list[tuple[str, dict[str, object]]] = []
        self.fault = fault
        self.initialized = 0
        self.conversation = self
        self.instance = self

    async def initialize(self) -> None:
        """As the platform's SDK object has it."""
        self.initialized += 1

    async def record_message(  # noqa: PLR0917 - the documented signature
        self, conversation_id, role, content, user_id, customer_id=None, session_id=None, metadata=None
    ) -> dict[str, object]:
        """REST."""
        if self.fault:
            raise self.fault
        self.calls.append(("record_message", {"role": role, "content": content, "user_id": user_id}))
        return {"message_id": "m", "conversation_id": conversation_id, "session_id": "s", "recorded_at": "now"}

    async def listen(self, on_reconnect=None, on_disconnect=None, on_context=None) -> None:
        """The stream."""

    async def send_message(  # noqa: PLR0917 - the documented signature
        self,
        content,
        role="user",
        conversation_id=None,
        user_id=None,
        customer_id=None,
        session_id=None,
        event_type="user_message",
        metadata=None,
        tool_name=None,
        tool_args=None,
        search_queries=None,
        context_types=None,
    ) -> None:
        """An event on the stream."""
        if self.fault:
            raise self.fault
        self.calls.append((event_type, {"content": content, "tool_name": tool_name, "tool_args": tool_args}))

    async def stop_listening(self) -> None:
        """The end of the stream."""


def assert_accounted(synap: Synap) -> None:
    """Nothing is silently lost."""
    status = synap.status()
    assert status.captured + status.adopted == (
        status.delivered + status.waiting + status.refused + status.dead_letters
    ), status


def test_turns_and_tool_events_reach_the_documented_calls_in_order() -> None:
    """User and assistant turns are record_message; tool calls are send_message with the tool's name and arguments."""
    surface = Surface()
    with Synap(client=surface) as synap:
        synap.record(UserMessage("1+2?"), scope=ANA)
        synap.record(ToolCall("add", {"a": 1, "b": 2}, "call-1"), scope=ANA)
        synap.record(ToolResult("add", 3, "call-1"), scope=ANA)
        synap.record(Thinking("three, then"), scope=ANA)
        synap.record(AssistantMessage("3"), scope=ANA)
        assert synap.flush(10)
        assert_accounted(synap)
        assert synap.status().delivered == 5
    assert [name for name, _ in surface.calls] == [
        "record_message", "tool_call", "tool_result", "agent_thinking", "record_message",
    ]  # fmt: skip
    assert surface.calls[0][1] == {"role": "user", "content": "1+2?", "user_id": "ana"}
    assert surface.calls[1][1]["tool_name"] == "add"
    assert surface.calls[1][1]["tool_args"] == {"a": 1, "b": 2}
    assert surface.initialized == 1


def test_one_turn_never_goes_both_ways() -> None:
    """With turns on the stream, record_message is not called."""
    surface = Surface()
    with Synap(client=surface, turns="stream") as synap:
        synap.record(UserMessage("hi"), scope=ANA)
        synap.record(AssistantMessage("hello"), scope=ANA)
        assert synap.flush(10)
    assert [name for name, _ in surface.calls] == ["user_message", "assistant_message"]


def test_what_was_said_comes_back_in_another_conversation_of_the_same_user() -> None:
    """The main job: said in one conversation, recalled in the next, by nobody else."""
    with Synap() as synap:
        synap.record(UserMessage("I moved to Lisbon in March and adopted a cat named Figo"), scope=ANA)
        synap.record(AssistantMessage("Lovely! Lisbon suits you."), scope=ANA)
        assert synap.flush(10)
        later = Scope("c-2", "ana")
        question = "What is the name of my cat?"
        synap.record(UserMessage(question), scope=later)
        context = synap.recall(question, scope=later)
        assert "Figo" in " ".join(item.text for item in context.items)
        assert context.source in {"pushed", "fetched"}
        assert context.receipt is not None
        stranger = Scope("c-3", "bob")
        synap.record(UserMessage(question), scope=stranger)
        assert not synap.recall(question, scope=stranger).items


async def test_recall_without_blocking_the_loop() -> None:
    """The asynchronous twin gives the same, and leaves no task on the caller's loop."""
    with Synap() as synap:
        synap.record(UserMessage("My daughter Ines plays the cello"), scope=ANA)
        assert await asyncio.to_thread(synap.flush, 10)
        before = asyncio.all_tasks()
        context = await synap.arecall("What does Ines play?", scope=Scope("c-2", "ana"))
        assert "cello" in " ".join(item.text for item in context.items)
        assert asyncio.all_tasks() == before


def test_an_unreachable_platform_costs_a_counter() -> None:
    """Nothing is raised, nothing waits, nothing is lost."""
    with Synap(base_url="http://127.0.0.1:9", api_key="synap_test") as synap:
        started = time.monotonic()
        for n in range(50):
            synap.record(UserMessage(f"turn {n}"), scope=ANA)
        assert time.monotonic() - started < 2
        assert not synap.flush(0.3)
        assert synap.status().waiting == 50
        assert_accounted(synap)
        assert not synap.recall("anything", scope=ANA)


def test_turns_wait_for_the_platform_and_go_out_once(synap_platform) -> None:
    """What was captured while the platform refused is delivered, in order, when it is back."""
    synap_platform.rest_script += [Answer(503), Answer(503), CUT]
    with Synap(**synap_platform.address) as synap:
        for n in range(5):
            synap.record(UserMessage(f"turn {n}"), scope=ANA)
        assert synap.flush(20)
        assert synap_platform.contents() == [f"turn {n}" for n in range(5)]
        assert_accounted(synap)


def test_a_refused_turn_becomes_a_dead_letter_and_the_next_goes_on() -> None:
    """A fault that trying again does not change does not block the conversation."""
    surface = Surface(fault=InvalidInputError("customer_id is required"))
    with Synap(client=surface) as synap:
        synap.record(UserMessage("refused"), scope=ANA)
        assert synap.flush(10)
        assert synap.status().dead_letters == 1
        surface.fault = None
        synap.record(UserMessage("accepted"), scope=ANA)
        assert synap.flush(10)
        assert [call["content"] for _, call in surface.calls] == ["accepted"]
        assert_accounted(synap)


def test_a_client_that_fails_for_a_while_gets_its_turn_once() -> None:
    """A transient error is tried again until it is not one."""
    surface = Surface(fault=NetworkError("no route"))
    with Synap(client=surface) as synap:
        synap.record(UserMessage("hi"), scope=ANA)
        assert not synap.flush(0.2)
        surface.fault = None
        assert synap.flush(20)
        assert len(surface.calls) == 1


def test_capture_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """SYNAP_CAPTURE=0 stops it at once, for the whole process."""
    surface = Surface()
    with Synap(client=surface) as synap:
        monkeypatch.setenv("SYNAP_CAPTURE", "0")
        synap.record(UserMessage("private"), scope=ANA)
        monkeypatch.delenv("SYNAP_CAPTURE")
        synap.record(UserMessage("public"), scope=ANA)
        assert synap.flush(10)
    assert [call["content"] for _, call in surface.calls] == ["public"]


def test_delivery_never_captures_itself() -> None:
    """What runs inside delivery is not recorded again."""
    surface = Surface()
    with Synap(client=surface) as synap, quiet():
        synap.record(UserMessage("hi"), scope=ANA)
        assert synap.status().captured == 0


def test_the_process_wide_synap_is_made_once_and_shows_its_figures() -> None:
    """`flush` and `status` at the top of the package belong to it; before it exists they say nothing happened."""
    use_default(None)
    assert synap_integrations.flush()
    assert synap_integrations.status().captured == 0
    synap = default_synap()
    try:
        assert default_synap() is synap
        synap.record(UserMessage("hi"), scope=ANA)
        assert synap_integrations.flush(10)
        assert synap_integrations.status().delivered == 1
        assert "delivered" in str(synap_integrations.status())
    finally:
        synap.close()
        use_default(None)


def run(code: str, storage: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own, with its own storage."""
    env = {"PATH": "/usr/bin:/bin", "SYNAP_STORAGE_PATH": str(storage), **environ}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=env, timeout=60, check=False
    )


RECORD_AND_DIE = f"""
import os, signal
from synap_integrations import Synap, Scope
from synap_integrations.model import UserMessage
synap = Synap(base_url="http://127.0.0.1:9", api_key="{KEY}")
for n in range(20):
    synap.record(UserMessage(f"turn {{n}}"), scope=Scope("c-1", "ana"))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_loses_nothing(synap_platform, tmp_path: Path) -> None:
    """`kill -9` right after the callback returned; the next start delivers every turn once, in order."""
    storage = tmp_path / "storage"
    assert run(RECORD_AND_DIE, storage).returncode == -9
    assert synap_platform.contents() == []
    next_start = f"""
    from synap_integrations import Synap, Scope
    from synap_integrations.model import UserMessage
    with Synap(**{synap_platform.address!r}) as synap:
        synap.record(UserMessage("turn 20"), scope=Scope("c-1", "ana"))
        assert synap.flush(30), synap.status()
    """
    done = run(next_start, storage)
    assert (done.returncode, done.stderr) == (0, "")
    assert synap_platform.contents() == [f"turn {n}" for n in range(21)]


def test_a_script_that_ends_at_once_has_delivered(tmp_path: Path) -> None:
    """No flush is needed at the end of a short program: the exit waits, for a moment."""
    code = """
    from synap_integrations import Synap, Scope
    from synap_integrations.model import UserMessage
    Synap().record(UserMessage("I moved to Lisbon"), scope=Scope("c-1", "ana"))
    """
    first = run(code, tmp_path)
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    second = run(
        """
        from synap_integrations import Synap, Scope
        with Synap() as synap:
            print(synap.recall("Where did I move?", scope=Scope("c-2", "ana")).items[0].text)
        """,
        tmp_path,
    )
    assert "Lisbon" in second.stdout, second.stderr


def test_an_exit_with_the_platform_down_is_short_and_keeps_the_turn(tmp_path: Path) -> None:
    """At most the two seconds of the shutdown; no more is said than that delivery is held, if it was tried so often."""
    code = """
    from synap_integrations import Synap, Scope
    from synap_integrations.model import UserMessage
    Synap(base_url="http://127.0.0.1:9", api_key="k").record(UserMessage("hi"), scope=Scope("c", "u", customer_id="a"))
    """
    started = time.monotonic()
    done = run(code, tmp_path)
    assert time.monotonic() - started < 6
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr in {"", "synap: delivery is held by: network; nothing is lost, it goes on by itself\n"}
    assert list(tmp_path.rglob("ob-*.db"))


@pytest.mark.parametrize(
    "question", [ReadConversation(), ReadConversation(turns_only=True), Search("code")], ids=["told", "turns", "search"]
)
def test_a_user_of_no_customer_is_nobody_elses(question):
    """A user whose customer is not named does not read what a user of the same id said at some customer."""
    with Synap(base_url="local", storage_path=Path(":memory:")) as synap:
        synap.record(UserMessage("My code is 4711."), scope=Scope("trip", "ana", customer_id="acme"))
        assert synap.flush(20)
        answer = synap.ask(question, scope=Scope("trip", "ana"), timeout_s=30.0)
        assert (answer.turns, answer.items, answer.text, answer.fault) == ((), (), "", None)
        answer = synap.ask(question, scope=Scope("trip", "ana", customer_id="acme"), timeout_s=30.0)
        assert "4711" in str(answer)
