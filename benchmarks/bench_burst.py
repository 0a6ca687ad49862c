"""20,000 turns as fast as a process can, then exit: how many a second are accepted, and does every one arrive?

Three processes: the first captures and ends, the next one delivers what was left on disk, the last one reads the
platform's store and compares it, message by message. The peers capture a tenth of the turns, each in a process.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from uuid import UUID

from applications import ANSWER, chain
from langchain_core.callbacks import BaseCallbackHandler
from loopback import sink
from measuring import Effort, Figure, Report, python

from synap_integrations import Settings, Synap
from synap_integrations.langchain import SynapCallbackHandler
from synap_integrations.ports import LocalPlatform

TARGET_A_SECOND = 1_000.0
TURNS, PEER_TURNS, CONVERSATIONS = 20_000, 2_000, 20
DELIVERY_S = 120.0
OK = 200


def measure(effort: Effort) -> Report:
    from contenders import installed_peers

    turns, peer_turns = effort.of(TURNS, least=40), effort.of(PEER_TURNS, least=10)
    with tempfile.TemporaryDirectory(prefix="synap-bench-", ignore_cleanup_errors=True) as folder:
        captured = _process("capture", folder, turns)
        left = _process("compare", folder, turns)["missing"]
        delivery = _process("deliver", folder, int(left))
        wrong = _process("compare", folder, turns)["wrong"]
    note = f"{turns:,} turns, {captured['cores']:.0%} of a core; the process ended {captured['exit_s']:.1f} s later"
    late = f"{left:,} of {2 * turns:,} were left to the next start, delivered in {delivery['seconds']:.1f} s"
    report = Report(
        [
            Figure("turns accepted", captured["a_second"], "turns/s", TARGET_A_SECOND, at_least=True, note=note),
            Figure("messages lost, repeated or out of order", wrong, "", 0.0, note=late),
        ]
    )
    for peer in installed_peers():
        found = _process("peer", peer, peer_turns)
        note = f"{peer_turns:,} turns; the process ended {found['exit_s']:.1f} s later"
        report.figures.append(Figure(f"turns accepted by {peer}", found["a_second"], "turns/s", note=note))
    return report


def _process(verb: str, subject: str, turns: int) -> dict[str, float]:
    """What the verb found in a process of its own, and how long that process lived on after it."""
    found: dict[str, float] = json.loads(python(__file__, verb, subject, str(turns)))
    return {**found, "exit_s": time.time() - found["ended"]}


# --- in the processes ---------------------------------------------------------------------------------------


def _conversation(number: int) -> str:
    """A UUID, which travels as it is."""
    return str(UUID(int=number % CONVERSATIONS + 1, version=4))


def _run(turns: int, handler: BaseCallbackHandler) -> dict[str, float]:
    turn = chain()
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(turns):
        metadata = {"thread_id": _conversation(number), "user_id": "ana"}
        turn.invoke({"question": f"question {number}"}, {"callbacks": [handler], "metadata": metadata})
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {"a_second": turns / seconds, "cores": cpu / seconds, "ended": time.time()}


def _capture(folder: str, turns: int) -> dict[str, float]:
    return _run(turns, SynapCallbackHandler(Synap(base_url="local", storage_path=Path(folder))))


def _peer(name: str, turns: int) -> dict[str, float]:
    from contenders import PEERS

    with sink() as url, ExitStack() as stack:
        return _run(turns, PEERS[name].handler(f"{url}/{name}", stack))


def _deliver(folder: str, left: int) -> dict[str, float]:
    """Start anew, and wait until as many messages are delivered as were left."""
    began = time.perf_counter()
    with Synap(base_url="local", storage_path=Path(folder)) as synap:
        synap.flush(DELIVERY_S)  # starts what finds the files of earlier processes
        while synap.status().delivered < left and time.perf_counter() - began < DELIVERY_S:
            time.sleep(0.05)
    return {"seconds": time.perf_counter() - began, "ended": time.time()}


def _compare(folder: str, turns: int) -> dict[str, float]:
    """How many messages are missing in the embedded store, and at how many places another one stands than should."""
    from synap_integrations.server.embedded import open_embedded

    platform = open_embedded(Settings.read(base_url="local", storage_path=Path(folder)))
    missing, wrong = 2 * turns, 0
    for first in range(CONVERSATIONS):
        said = [text for n in range(first, turns, CONVERSATIONS) for text in (f"question {n}", ANSWER)]
        stored = list(_stored(platform, _conversation(first)))
        missing -= len(stored)
        wrong += sum(one != other for one, other in zip_longest(said, stored))
    return {"missing": missing, "wrong": wrong, "ended": time.time()}


def _stored(platform: LocalPlatform, conversation: str) -> Iterator[str]:
    """What was said in a conversation, in the platform's order, page by page."""
    path, start = f"/v1/conversations/{conversation}/messages", 1
    while True:
        status, _, body = platform.answer("GET", path, query=f"start={start}&limit=500", headers={}, body=b"")
        turns = json.loads(body).get("turns", []) if status == OK else []
        if not turns:
            return
        yield from (turn["content"] for turn in turns)
        start += len(turns)


if __name__ == "__main__":
    verb, subject, turns = sys.argv[1:]
    verbs = {"capture": _capture, "deliver": _deliver, "compare": _compare, "peer": _peer}
    print(json.dumps(verbs[verb](subject, int(turns))))
