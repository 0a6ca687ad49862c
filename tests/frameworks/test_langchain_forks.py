"""A program that forks in the middle of its turns: no child waits for a lock that nobody in it holds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def ran(program: str, *, storage: Path) -> subprocess.CompletedProcess[str]:
    """The program, to its end, with no settings but where things are kept."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SYNAP_")}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**environment, "SYNAP_STORAGE_PATH": str(storage)},
    )


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
    done = ran(PROGRAM, storage=tmp_path)
    assert done.returncode == 0, done.stderr[-2_000:]
    child, parent = [json.loads(line) for line in done.stdout.splitlines()]
    assert child == "[0, 1]"
    assert parent == ["UserMessage", "AssistantMessage"]


HELD = """
import json, os, select, signal, threading

from synap_integrations.langchain import attach as langchain_attach
from synap_integrations.langchain.prompts import auto_inject as langchain_inject
from synap_integrations.llamaindex import auto_inject as llamaindex_inject, listener
from synap_integrations.llamaindex.attach import attach as attach_llamaindex
from synap_integrations.testing import FakeMemory

memory = FakeMemory()
stops = [langchain_inject.inject(memory), llamaindex_inject.inject(memory)]
overlays = langchain_inject._AutoInject.overlay, llamaindex_inject._AutoInject.overlay
held, done = threading.Event(), threading.Event()


def hold():
    with langchain_attach._lock, langchain_inject._lock, llamaindex_inject._lock, listener._lock:
        with listener.attachments._lock, overlays[0]._lock, overlays[1]._lock:
            held.set()
            done.wait()


threading.Thread(target=hold, daemon=True).start()
held.wait()
reads, writes = os.pipe()
child = os.fork()
if child == 0:
    for stop in stops:
        stop()
    for detach in (langchain_attach.attach(memory), attach_llamaindex(memory)):
        detach()
    for inject in (langchain_inject.inject, llamaindex_inject.inject):
        inject(memory)()
    os.write(writes, b"went on")
    os._exit(0)
ready, _, _ = select.select([reads], [], [], 60)
print(os.read(reads, 100).decode() if ready else "the child waits for ever", flush=True)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
done.set()
"""


def test_a_child_forked_while_others_attach_can_attach_and_let_go(tmp_path) -> None:
    """Whoever holds the locks of both frameworks' attachments in the parent holds none in the child."""
    pytest.importorskip("llama_index.core")
    done = ran(HELD, storage=tmp_path)
    assert done.stdout.split("\n")[:1] == ["went on"], done.stderr[-2_000:]
