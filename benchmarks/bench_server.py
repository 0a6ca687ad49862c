"""`synap dev` as a process of its own: start, memory, end, from an event to its bundle, and what REST finds again.

Everything goes over loopback sockets. Recall is judged as in `bench_retrieval`, with ten users in one database: the two
people of the conversations, and four times the same turns under other names.
"""

from __future__ import annotations

import http.client
import json
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from bench_retrieval import DATA, found_again
from measuring import REST_S, Effort, Figure, Report, Spread

from synap_integrations.wire.proto import ConversationEvent, StreamEvent, StreamResponse

KEY = "benchmark-key-of-a-local-server"
USERS = 10
LISTEN = "/synap.v1.SynapService/Listen"
SUBJECTS = ("a flight to Lisbon", "the hotel in Porto", "a table for two", "the train to Faro", "a present for Rui")


@dataclass
class Server:
    """A running `synap dev`, asked over one connection that is kept."""

    process: subprocess.Popen[str]
    ready_s: float
    grpc_target: str
    line: http.client.HTTPConnection

    def answer(
        self, method: str, path: str, *, query: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """One REST request, as `ports.LocalPlatform` has it."""
        sent = {"Authorization": f"Bearer {KEY}", **headers}
        self.line.request(method, f"{path}?{query}" if query else path, body, sent)
        answered = self.line.getresponse()
        return answered.status, dict(answered.getheaders()), answered.read()

    def resident_mb(self) -> float:
        """Memory in RAM, where the system tells."""
        status = Path(f"/proc/{self.process.pid}/status")
        return int(status.read_text().split("VmRSS:")[1].split()[0]) / 1024 if status.exists() else 0.0

    def stop(self) -> float:
        """Seconds from Ctrl-C until it is gone."""
        began = time.perf_counter()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        return time.perf_counter() - began


@contextmanager
def server(db: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "synap_integrations.cli", "dev", "--json", "--port", "0", "--db", db]
    began = time.perf_counter()
    with subprocess.Popen([*command, "--api-key", KEY], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = json.loads(process.stdout.readline())
        ready_s = time.perf_counter() - began
        line = http.client.HTTPConnection("127.0.0.1", int(said["url"].rpartition(":")[2]), timeout=60)
        try:
            yield Server(process, ready_s, said["grpc"], line)
        finally:
            line.close()
            if process.poll() is None:
                process.kill()


def measure(effort: Effort) -> Report:
    """Start and end of several servers, then one that is asked everything."""
    ready, ends = [], []
    for _ in range(effort.of(10)):
        with server(":memory:") as started:
            ready.append(started.ready_s)
            ends.append(started.stop())
    with tempfile.TemporaryDirectory() as folder, server(f"{folder}/bench.db") as asked:
        empty_mb = asked.resident_mb()
        pushes = [
            taken * 1e3 for taken in turns_to_bundles(asked, history=effort.of(200, least=80), turns=effort.of(300))
        ]
        found = recall(asked, effort) if DATA.exists() else None
        full_mb = asked.resident_mb()
    start, cuts = Spread.of(ready), statistics.quantiles(pushes, n=100, method="inclusive")
    return Report(
        [
            Figure("synap dev, start to ready", start.median, "s", 0.5, spread=start),
            Figure("synap dev, resident when ready", empty_mb, "MB", 70.0, note=f"{full_mb:.0f} MB in the end"),
            Figure("synap dev, Ctrl-C to gone", statistics.median(ends), "s", 1.5),
            Figure("event on the stream to its bundle, p50", cuts[49], "ms", spread=Spread.of(pushes)),
            Figure("event on the stream to its bundle, p95", cuts[94], "ms", 20.0),
            *(_found_figures(found) if found else ()),
        ]
    )


def _found_figures(found: dict[str, Any]) -> list[Figure]:
    shares, took = found["recall"]["all"], found["fetch_ms"]
    note = f"{found['questions']} questions; {found['turns']} turns of {found['users']} users in one database"
    return [
        Figure("over REST, evidence among the first 10", 100 * shares["10"], "%", 70.0, at_least=True, note=note),
        Figure("over REST, evidence among the first 25", 100 * shares["25"], "%", 79.0, at_least=True),
        Figure("a fetch over REST, p50", took["p50"], "ms"),
        Figure("a fetch over REST, p99", took["p99"], "ms", 50.0),
        Figure("a turn recorded over REST, p50", found["record_ms"]["p50"], "ms"),
    ]


def recall(asked: Server, effort: Effort) -> dict[str, Any]:
    """What is found again of what the two people said, with eight others beside them."""
    samples = json.loads(DATA.read_text(encoding="utf-8"))
    for sample in samples:
        sample["qa"] = sample["qa"][: effort.of(len(sample["qa"]))]
    others = [
        {**sample, "sample_id": f"{sample['sample_id']}-{copy}", "qa": []}
        for copy in range(effort.of(USERS // len(samples) - 1, least=1))
        for sample in samples
    ]
    return found_again([*others, *samples], asked, anonymous=False)


def turns_to_bundles(asked: Server, *, history: int, turns: int) -> list[float]:
    """Seconds from each of the user's turns being given to gRPC until the bundle that answers it is read."""
    outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    with grpc.insecure_channel(asked.grpc_target) as channel:
        call = channel.stream_stream(LISTEN)(
            iter(outgoing.get, None), metadata=(("authorization", f"Bearer {KEY}"),), timeout=300
        )
        heard = map(StreamResponse.FromString, call)
        for number in range(history):
            outgoing.put(_turn(number))
        while f"turn-{history - 1}" not in next(heard).event_ack.event_ids:
            pass
        taken = []
        for number in range(history, history + turns):
            time.sleep(REST_S)
            began = time.perf_counter()
            outgoing.put(_turn(number))
            while next(heard).context_bundle.decision_id != f"turn-{number}":
                pass
            taken.append(time.perf_counter() - began)
        outgoing.put(None)
    return taken


def _turn(number: int) -> bytes:
    event = ConversationEvent(
        event_type="user_message",
        event_id=f"turn-{number}",
        conversation_id=f"conversation-{number % 5}",
        user_id="ana",
        content=f"Can you arrange {SUBJECTS[number % 5]} for day {number}?",
    )
    return StreamEvent(conversation_event=event).SerializeToString()
