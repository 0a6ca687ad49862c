"""Programs under `synap run`, as processes of their own, and what was captured of them."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.parse
import urllib.request
from collections import defaultdict
from contextlib import closing, contextmanager
from pathlib import Path

from waiting import until

from synap_integrations import Scope, Settings, Synap
from synap_integrations.model import AssistantMessage, UserMessage

APPS = Path(__file__).parents[1] / "zero_code" / "apps"
BIN = Path(sys.executable).parent


def environment(storage: Path, **more: str) -> dict[str, str]:
    """What a user's shell has, without settings and tracers of whoever runs the tests."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SYNAP_", "LANGSMITH_", "LANGCHAIN_", "PYTEST_", "PYTHON", "OPENAI_", "ANTHROPIC_"))
    }
    clean |= {"PATH": f"{BIN}{os.pathsep}{clean['PATH']}", "HOME": str(storage.parent)}
    return clean | {"SYNAP_STORAGE_PATH": str(storage)} | more


def synap_run(*words: str, storage: Path, cwd: Path = APPS, **more: str) -> subprocess.CompletedProcess[str]:
    """``synap run`` with these words, to its end."""
    command = [str(BIN / "synap"), "run", *words]
    env = environment(storage, **more)
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=100, check=False)


@contextmanager
def serving(*words: str, storage: Path, port: int, log: Path, **more: str):
    """``synap run`` with these words, answering on the port until the end of the block; yields the process."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(BIN / "synap"), "run", *words],
            env=environment(storage, **more),
            cwd=APPS,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            until(lambda: process.poll() is not None or answers(port), what=f"an answer; see {log}")
            assert process.poll() is None, log.read_text()
            yield process
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # nothing but what was started here is in this group
                process.wait(10)


def asked_of_celery(*options: str, storage: Path, folder: Path) -> str:
    """What a Celery worker under ``synap run`` with these options has said, once it has answered four tasks."""
    broker, log = folder / "broker", folder / "log"
    for name in ("queue", "control", "results"):
        (broker / name).mkdir(parents=True)
    env = environment(storage, BROKER_FOLDER=str(broker))
    words = ["synap", "run", "--", "celery", "-A", "in_celery", "worker", *options, "--without-mingle"]
    with log.open("wb") as output:
        worker = subprocess.Popen(words, env=env, cwd=APPS, stdout=output, stderr=subprocess.STDOUT)
        try:
            ask = "from in_celery import talk\nasked = [talk.delay(f'task-{n}', 'hello') for n in range(4)]\n"
            ask += "print([one.get(timeout=60) for one in asked])"
            asked = subprocess.run(
                [sys.executable, "-c", ask], env=env, cwd=APPS, capture_output=True, text=True, timeout=100, check=False
            )
            assert asked.stdout.count("You said: hello") == 4, asked.stderr + log.read_text()
        finally:
            worker.send_signal(signal.SIGTERM)
            try:
                worker.wait(40)
            finally:
                worker.kill()
    return log.read_text()


def free_port() -> int:
    """A port that nobody uses now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    """True if somebody listens there."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def get(port: int, *, headers: dict[str, str] | None = None, **asked: str) -> str:
    """The answer of a web application."""
    url = f"http://127.0.0.1:{port}/?{urllib.parse.urlencode(asked)}"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=30) as answer:
        return answer.read().decode()


def delivered(storage: Path) -> dict[str, list[tuple[str, str]]]:
    """Conversation → (role, words) of each turn, after the next start has delivered what was left behind."""
    with next_start(storage):
        return transcripts(storage)


@contextmanager
def next_start(storage: Path):
    """A Synap in this process that has taken over and delivered what the programs before it left behind."""
    with Synap(settings=Settings.read(storage_path=storage)) as synap:
        synap.recall(None, scope=Scope("nobody"))  # wakes delivery
        outbox = storage / "integrations" / "v1" / "local-nokey"
        until(lambda: synap.flush(1) and len(list(outbox.glob("ob-*.db"))) <= 1, what=f"an empty {outbox}")
        yield synap


def say(storage: Path, *turns: UserMessage | AssistantMessage, scope: Scope) -> None:
    """What was said another day."""
    with next_start(storage) as synap:
        for turn in turns:
            synap.record(turn, scope=scope)
        assert synap.flush(30)


def transcripts(storage: Path) -> dict[str, list[tuple[str, str]]]:
    """Conversation → (role, words) of each turn, in order."""
    found = defaultdict(list)
    for name, _, role, words in rows(storage):
        found[name].append((role, words))
    return dict(found)


def users(storage: Path) -> dict[str, str]:
    """Conversation → the user it belongs to."""
    return {name: user for name, user, _, _ in rows(storage)}


def rows(storage: Path) -> list[tuple[str, str, str, str]]:
    """(conversation, user, role, words) of every turn that the embedded Synap has, as they were said.

    Turns that different processes have captured arrive in any order; each carries when it was said.
    """
    path = storage / "integrations" / "v1" / "local.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        if not db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'turn'").fetchone()[0]:
            return []  # it is being made at this moment
        return db.execute(
            "SELECT coalesce(c.own_name, c.conversation_id), o.user_id, t.role, t.content FROM turn t"
            " JOIN conversation c ON c.id = t.conversation JOIN owner o ON o.id = t.owner"
            " ORDER BY t.conversation, t.said_at, t.position"
        ).fetchall()


def parroted(*said: str) -> list[tuple[str, str]]:
    """The transcript of a conversation with a parrot."""
    return [turn for words in said for turn in (("user", words), ("assistant", f"You said: {words}"))]
