"""A real `synap dev` process, for tests that want sockets, signals and kills.

with dev_server(tmp_path / "synap.db") as server:      # or dev_server() for one in memory
    server.address     # arguments for `SynapClient`
    server.environment # variables for a subprocess that is to find it
    server.post("/v1/conversations/messages", {...})   # status and answer
    server.kill()      # -9; start the next one over the same file with the same key

    with server_in_process(head_s=0.3) as server:          # the same on a thread of this process, with other limits
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from synap_integrations.secret import Secret
from synap_integrations.server.database import Database
from synap_integrations.server.embedded import LocalSynap
from synap_integrations.server.serving.dev_server import DevServer, ServerOptions, on_a_thread
from synap_integrations.server.serving.limits import DEFAULT

KEY = "synap_test_key_for_a_local_server"
START_S = 20.0


@dataclass
class Reached:
    """A server, by its ports and its key."""

    http_port: int
    grpc_port: int
    key: str = KEY

    @property
    def url(self) -> str:
        """The address of REST and pages."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def address(self) -> dict:
        """Arguments for `SynapClient`."""
        return {
            "api_key": self.key,
            "base_url": self.url,
            "grpc_host": "127.0.0.1",
            "grpc_port": self.grpc_port,
            "grpc_use_tls": False,
        }

    def call(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict]:
        """Status and answer of one request with the key; a body that is no bytes travels as JSON."""
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        line = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=20)
        try:
            line.request(method, path, raw, sent)
            answer = line.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            line.close()

    def get(self, path: str, **headers: str) -> tuple[int, dict]:
        """Status and answer of a GET."""
        return self.call("GET", path, **headers)

    def post(self, path: str, body: object, **headers: str) -> tuple[int, dict]:
        """Status and answer of a POST."""
        return self.call("POST", path, body, **headers)

    def say(self, content: str, *, user: str = "ana", conversation: str = "chat", role: str = "user", **headers: str):
        """Record a turn; the answer."""
        body = {"conversation_id": conversation, "user_id": user, "role": role, "content": content}
        status, answer = self.post("/v1/conversations/messages", body, **headers)
        assert status == 200, answer
        return answer

    def turns(self, *, user: str = "ana", conversation: str = "chat") -> list[str]:
        """The contents of a conversation's turns, in order."""
        status, answer = self.get(f"/v1/conversations/{conversation}/messages?user_id={user}")
        assert status == 200, answer
        return [turn["content"] for turn in answer["turns"]]

    def found(self, question: str, *, user: str = "ana") -> list[str]:
        """The contents of what a user's fetch finds, best first."""
        body = {"user_id": user, "search_query": [question], "response_shape": "ranked"}
        status, answer = self.post("/v1/context/user/fetch", body)
        assert status == 200, answer
        return [item["content"] for item in answer["context"]["items"]]


@dataclass
class Served(Reached):
    """A server process that is ready."""

    process: subprocess.Popen = None
    file: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    ready_s: float = 0.0
    """From the start of the process to its line."""

    def resident_mb(self) -> float:
        """Resident memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait(10)

    def stop(self, number: int = signal.SIGINT) -> float:
        """End it as Ctrl-C would; seconds until it was gone."""
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(10)
        return time.monotonic() - started


def start_dev_server(
    db: Path | str = ":memory:", *options: str, key: str = KEY, environment: dict[str, str] | None = None
) -> Served:
    """Start one and wait until it is ready. ``options`` come behind `synap dev`; ``--port 0`` unless they say so."""
    ports = () if "--port" in options else ("--port", "0")
    command = [sys.executable, "-m", "synap_integrations.cli", "dev", "--json", "--db", str(db), "--api-key", key]
    started = time.monotonic()
    process = subprocess.Popen(
        [*command, *ports, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | (environment or {}),
    )
    line = process.stdout.readline()
    ready_s = time.monotonic() - started
    if not line:
        _, complaint = process.communicate(timeout=START_S)
        raise AssertionError(f"synap dev ended with {process.returncode}: {complaint}")
    said = json.loads(line)
    return Served(
        int(said["url"].rpartition(":")[2]),
        int(said["grpc"].rpartition(":")[2]),
        said["api_key"],
        process=process,
        file=said["file"],
        environment=said["environment"],
        ready_s=ready_s,
    )


@contextmanager
def dev_server(db: Path | str = ":memory:", *options: str, **more: object) -> Iterator[Served]:
    """A server that is gone at the end, whatever happens."""
    server = start_dev_server(db, *options, **more)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
        server.process.communicate()


@contextmanager
def server_in_process(db: Path | None = None, *, synap: LocalSynap | None = None, **limits: float) -> Iterator[Reached]:
    """The same server on a thread of this process, in memory unless told otherwise, with these limits changed."""
    synap = synap or LocalSynap(Database(db), "test")
    server = DevServer(synap, ServerOptions(key=Secret(KEY), port=0, limits=replace(DEFAULT, **limits)))
    try:
        with on_a_thread(server):
            yield Reached(server.http_port, server.grpc_port)
    finally:
        synap.close()
