"""Processes that end, split, stop or crash in every way but kill -9: what was captured is delivered."""

import asyncio
import logging
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zygote
from programs import assert_each_turn_once, drain, environment, python

from synap_integrations import Synap
from synap_integrations.model import Envelope, Scope, UserMessage
from synap_integrations.outbox import DeliveryWorker, EphemeralOutbox, SqliteOutbox

PRELUDE = """
import os, signal, sys, time
from pathlib import Path
import zygote
from synap_integrations.model import Envelope, Scope, UserMessage
folder = Path(sys.argv[1])
outbox, worker = zygote.desk(folder)
def say(name, count=10):
    for number in range(count):
        outbox.append(Envelope.seal(Scope(f"c-{name}", "ana"), UserMessage(f"{name}-{number}")))
        worker.wake()
"""


def turns(name: str, count: int = 10) -> set[str]:
    """What `say` says."""
    return {f"{name}-{number}" for number in range(count)}


def script(code: str) -> str:
    """A program that can `say` something."""
    return PRELUDE + textwrap.dedent(code)


ENDINGS = {
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    "exception": ("raise SystemError('of the application')", 1),
    "abort": ("os.abort()", -signal.SIGABRT),
    "segfault": ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV),
    "sys.exit": ("sys.exit(3)", 3),
    "exec": ("os.execv('/bin/true', ['true'])", 0),
    "memory": (
        """
import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
try: bytearray(1 << 30)
except MemoryError: os.kill(os.getpid(), signal.SIGKILL)
""",
        -signal.SIGKILL,
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_however_a_process_ends_its_turns_arrive(tmp_path, ending) -> None:
    """Ten turns, and the end at once; the exit code is the application's."""
    code, status = ENDINGS[ending]
    done = python("-c", script("say('end')\n" + code), str(tmp_path))
    assert done.returncode == status
    drain(tmp_path)
    assert_each_turn_once(tmp_path, turns("end"))


def test_a_handler_that_exits_on_sigterm_drains(tmp_path) -> None:
    """We install no handler; an application's own that calls sys.exit gives delivery its last moments."""
    code = """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    say("term", 40)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)
    """
    done = python("-c", script(code), str(tmp_path))
    assert (done.returncode, done.stderr) == (7, "")
    assert {text for _, _, text in zygote.received(tmp_path)} == turns("term", 40)
    assert list((tmp_path / "outbox").iterdir()) == []


THREADS = {
    "a thread": "threading.Thread(target=work).start()",
    "a thread that starts the next": "threading.Thread(target=lambda: threading.Thread(target=work).start()).start()",
}


@pytest.mark.parametrize("how", THREADS)
def test_threads_that_outlive_the_main_thread_are_captured_to_their_end(tmp_path, how) -> None:
    """The interpreter waits for them, and so does delivery: what they say arrives before the process ends."""
    code = """
    import threading
    from concurrent.futures import ThreadPoolExecutor
    ThreadPoolExecutor(1).submit(int)
    say("main")
    def work():
        threading.main_thread().join(20)
        say("late")
        assert worker.flush(20)
        say("last")
    """
    done = python("-c", script(code) + THREADS[how], str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert {text for _, _, text in zygote.received(tmp_path)} == turns("main") | turns("late") | turns("last")
    assert list((tmp_path / "outbox").iterdir()) == []


def test_a_thread_that_somebody_else_ends_at_the_exit_is_not_waited_for(tmp_path) -> None:
    """Who else is called when the main thread has ended may be who ends it: nobody waits for ever."""
    code = """
    import threading
    over = threading.Event()
    threading._register_atexit(over.set)
    say("main")
    threading.Thread(target=over.wait).start()
    """
    done = python("-c", script(code), str(tmp_path), timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert {text for _, _, text in zygote.received(tmp_path)} == turns("main")


def test_a_child_that_only_executes_a_program_starts_nothing(tmp_path) -> None:
    """Between fork and exec there is no thread, no file and no delivery of ours."""
    code = """
    say("parent")
    for _ in range(5):
        if not (pid := os.fork()):
            os.execv("/bin/true", ["true"])
        assert os.waitpid(pid, 0)[1] == 0
    assert len(list((folder / "outbox").glob("ob-*.db"))) <= 1
    assert worker.close(10)
    """
    # From Python 3.12 on, a fork of a process with threads is a warning.
    done = python("-W", "ignore:This process:DeprecationWarning", "-c", script(code), str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert_each_turn_once(tmp_path, turns("parent"))


PREFORK = """
say("master", 3)
worker.flush(10)
def serve(slot, life):
    say(f"worker{slot}.{life}", 20)
    os._exit(0) if life % 2 else sys.exit(0)
alive = {}
for life in range(3):
    for slot in range(4):
        if not (pid := os.fork()):
            serve(slot, life)
        alive[pid] = slot
    while alive:
        pid, status = os.wait()
        assert status == 0
        del alive[pid]
say("after", 3)
assert worker.close(10)
"""


def test_prefork_workers_that_are_recycled_lose_nothing(tmp_path) -> None:
    """A master that has captured and delivered, four workers at a time, three lives each."""
    done = python("-W", "ignore::DeprecationWarning", "-c", script(PREFORK), str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    drain(tmp_path)
    told = turns("master", 3) | turns("after", 3)
    told |= {turn for slot in range(4) for life in range(3) for turn in turns(f"worker{slot}.{life}", 20)}
    assert_each_turn_once(tmp_path, told)


POOLS = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
import sys
from pathlib import Path
import zygote
from synap_integrations.model import Envelope, Scope, UserMessage

def job(folder, name):
    outbox, worker = zygote.desk(Path(folder))
    for number in range(5):
        outbox.append(Envelope.seal(Scope(f"c-{name}", "ana"), UserMessage(f"{name}-{number}")))
        worker.wake()

if __name__ == "__main__":
    folder, method = sys.argv[1:]
    context = multiprocessing.get_context(method)
    outbox, worker = zygote.desk(Path(folder))
    outbox.append(Envelope.seal(Scope("c", "ana"), UserMessage("parent-0")))
    worker.flush(10)
    processes = [context.Process(target=job, args=(folder, f"process{n}")) for n in range(2)]
    for process in processes: process.start()
    for process in processes: process.join(); assert process.exitcode == 0
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(job, [folder] * 4, [f"pool{n}" for n in range(4)]))
    assert worker.close(10)
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing_in_every_way(tmp_path, method) -> None:
    """Processes and pools, however they are started: each turn once."""
    program = tmp_path / "pools.py"
    program.write_text(POOLS, encoding="utf-8")
    done = python("-W", "ignore::DeprecationWarning", str(program), str(tmp_path), method)
    assert (done.returncode, done.stderr) == (0, "")
    drain(tmp_path)
    told = {"parent-0"} | {turn for n in range(2) for turn in turns(f"process{n}", 5)}
    assert_each_turn_once(tmp_path, told | {turn for n in range(4) for turn in turns(f"pool{n}", 5)})


def test_a_stopped_process_goes_on_where_it_was(tmp_path) -> None:
    """SIGSTOP for a while, then SIGCONT: nothing is dropped for its age, nothing is lost."""
    code = "say('before', 20)\nprint('stop', flush=True)\ntime.sleep(0.3)\nsay('after', 20)\nassert worker.close(10)"
    command = [sys.executable, "-c", script(code), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout.readline() == "stop\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.0)
        process.send_signal(signal.SIGCONT)
        assert process.wait(30) == 0
    assert_each_turn_once(tmp_path, turns("before", 20) | turns("after", 20))


def test_a_loop_for_every_turn_leaves_no_task_behind(tmp_path) -> None:
    """Three hundred ``asyncio.run``, one turn in each: every loop ends empty, also if it is closed at once."""
    outbox, worker = zygote.desk(tmp_path)

    async def turn(number: int) -> None:
        outbox.append(Envelope.seal(Scope("c", "ana"), UserMessage(f"loop-{number}")))
        worker.wake()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    for number in range(300):
        asyncio.run(turn(number))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(turn(300))
    loop.close()
    assert worker.flush(10)
    assert worker.close(5)
    assert_each_turn_once(tmp_path, turns("loop", 301))


def test_an_interrupt_anywhere_in_capture_leaves_a_turn_known(tmp_path) -> None:
    """Ctrl-C at random moments inside `append`: what it returned from is kept, nothing is kept twice, no lock stays."""
    outbox = SqliteOutbox(tmp_path, capture_wait_s=30)
    outbox.append(Envelope.seal(Scope("c", "ana"), UserMessage("opens the file")))
    told, begun, armed = set(), 1, False

    def interrupt(*_: object) -> None:
        if armed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(400):
            signal.setitimer(signal.ITIMER_REAL, 0.00002 + number % 23 * 0.00001)
            try:
                begun, armed = begun + 1, True
                envelope = Envelope.seal(Scope("c", "ana"), UserMessage(str(number)))
                outbox.append(envelope)
                told.add(envelope.event_id)
                armed = False
            except KeyboardInterrupt:
                armed = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    kept = [envelope.event_id for envelope in outbox.claim(1_000)]
    kept += [envelope.event_id for envelope in outbox.claim(1_000)]
    assert len(told) < begun
    assert told <= set(kept)
    assert len(kept) == len(set(kept)) <= begun
    assert outbox.counts().add_up
    outbox.close()


def test_a_log_handler_that_captures_does_not_feed_itself(tmp_path) -> None:
    """What delivery logs and somebody's handler records is no turn: it would be logged and recorded again."""

    class Recording(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            synap.record(UserMessage(record.getMessage()), scope=Scope("log", "ana"))

    class Breaking(zygote.FileReceiver):
        def __init__(self) -> None:
            self.conversation = self.instance = self

        async def listen(self, **_: object) -> None:
            logging.getLogger("synap_integrations.test").warning("a line from inside delivery")

        async def record_message(self, **_: object) -> dict:
            logging.getLogger("synap_integrations.test").warning("another line")
            return {}

        async def stop_listening(self) -> None: ...

    synap = Synap(Breaking())
    logger, handler = logging.getLogger("synap_integrations.test"), Recording()
    logger.addHandler(handler)
    try:
        synap.record(UserMessage("hello"), scope=Scope("c", "ana"))
        assert synap.flush(10)
    finally:
        logger.removeHandler(handler)
    assert synap.status().captured == 1
    synap.close()


def test_two_farewells_at_once_are_one(tmp_path) -> None:
    """`close` from several threads and twice in each: everything delivered, nothing raised."""
    outbox = EphemeralOutbox()
    worker = DeliveryWorker(outbox, lambda: zygote.FileReceiver(tmp_path / "received"))
    for number in range(50):
        outbox.append(Envelope.seal(Scope("c", "ana"), UserMessage(f"close-{number}")))
        worker.wake()
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(worker.close, [10.0] * 4))
    assert worker.close(1)
    assert_each_turn_once(tmp_path, turns("close", 50))


def test_a_program_without_network_or_writable_disk_can_import_us(tmp_path: Path) -> None:
    """No file, thread or socket at import: a read-only place is none of our business before the first turn."""
    code = """
import socket, threading, os
socket.socket = None
import synap_integrations, synap_integrations.outbox
assert threading.active_count() == 1
assert os.listdir('.') == []
"""
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["-O", "-OO"])
def test_without_assertions_and_docstrings_a_program_captures_and_delivers(tmp_path, option) -> None:
    """Nothing that has to happen stands in an assertion, nothing is read from a docstring."""
    code = """
from synap_integrations import Scope, Synap
from synap_integrations.langchain import SynapCallbackHandler
from synap_integrations.model import ToolCall, UserMessage
with Synap() as synap:
    SynapCallbackHandler(synap)
    synap.record(UserMessage("I moved to Lisbon"), scope=Scope("c-1", "ana"))
    synap.record(ToolCall("search", {"city": "Lisbon"}, "call-1"), scope=Scope("c-1", "ana"))
    flushed = synap.flush(60)
    found = synap.recall("where did I move?", scope=Scope("c-2", "ana"), timeout_s=30)
    print(flushed, synap.status().delivered, [item.text for item in found.items], __debug__)
"""
    done = python(option, "-B", "-c", code, SYNAP_STORAGE_PATH=str(tmp_path / "synap"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("True 2 [")
    assert "I moved to Lisbon" in done.stdout
    assert done.stdout.endswith("False\n")
