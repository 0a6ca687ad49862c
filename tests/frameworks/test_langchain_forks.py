"""A program that forks in the middle of its turns: no child waits for a lock that nobody in it holds."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
PROGRAM = """
import contextvars, json, os, select, signal, sys, threading, uuid

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda

from synap_integrations.guard import incidents
from synap_integrations.langchain import SynapCallbackHandler
from synap_integrations.langchain.capture.tracker import TRACKER
from synap_integrations.langchain.prompts.injection import Injector
from synap_integrations.model import Scope
from synap_integrations.testing import FakeMemory

memory = FakeMemory()
handler = SynapCallbackHandler(memory, user_id="u", conversation_id="c")
injector = Injector(memory, Scope("c", "u"))
held, done = threading.Event(), threading.Event()


def hold():
    with TRACKER._lock, incidents._lock, injector._lock:
        held.set()
        done.wait()


def fork_inside(text, config):
    threading.Thread(target=hold, daemon=True).start()
    held.wait()
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        before = len(memory.recorded)
        incidents.note("callbacks", ValueError())
        injector.into([HumanMessage("hi")], Scope("c", "u"))
        RunnableLambda(lambda x: x).invoke("a part of the parent's turn", config)
        part = len(memory.recorded) - before
        start = lambda: handler.on_chain_start({}, "a turn of the child's", run_id=uuid.uuid4())
        contextvars.Context().run(start)
        os.write(writes, json.dumps([part, len(memory.recorded) - before]).encode())
        os._exit(0)
    ready, _, _ = select.select([reads], [], [], 60)
    found = os.read(reads, 100).decode() if ready else "the child waits for ever"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    done.set()
    print(json.dumps(found), flush=True)
    return "over"


RunnableLambda(fork_inside).invoke("go", {"callbacks": [handler]})
print(json.dumps([type(event).__name__ for event in memory.events]))
"""


def test_a_child_forked_while_others_hold_our_locks_goes_on(tmp_path) -> None:
    """The child records turns of its own and no part of the parent's turn, which is whole in the parent."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SYNAP_")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
        env={**environment, "SYNAP_STORAGE_PATH": str(tmp_path)},
    )
    child, parent = [json.loads(line) for line in done.stdout.splitlines()]
    assert child == "[0, 1]"
    assert parent == ["UserMessage", "AssistantMessage"]
