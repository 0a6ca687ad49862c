"""kill -9, os._exit, fork and the end of the interpreter: what was captured is delivered."""

import re
import subprocess
import sys
import textwrap
import time

import pytest
import zygote
from programs import EQUIPMENT, assert_each_turn_once, drain, environment, python


def complaints(printed: str) -> list[str]:
    """Lines of stderr, but those in which asyncio, with -X dev, names what took longer than 0.1 s: on a busy machine,
    that may be anything.
    """
    return [line for line in printed.splitlines() if not re.match(r"Executing <.* took [\d.]+ seconds$", line)]


def test_two_hundred_kills_lose_and_double_nothing(tmp_path) -> None:
    """Killed at random moments, while capturing, delivering, adopting: 0 lost, 0 doubled, in order."""
    done = python(str(EQUIPMENT / "zygote.py"), str(tmp_path), "200", "7")
    assert (done.returncode, done.stderr) == (0, "")
    told = set(done.stdout.split())
    assert len(told) > 1_000
    drain(tmp_path)
    assert_each_turn_once(tmp_path, told)


def test_a_process_that_ends_by_os_exit_loses_nothing(tmp_path) -> None:
    """As workers of job queues do: no cleanup of any kind, and every turn is delivered by a sibling."""
    code = """
    import os, sys
    from pathlib import Path
    import zygote
    from synap_integrations.model import Envelope, Scope, UserMessage
    for child in range(20):
        if not (pid := os.fork()):
            outbox, worker = zygote.desk(Path(sys.argv[1]))
            outbox.append(Envelope.seal(Scope(f"c-{child}", "ana"), UserMessage(f"{child}-0")))
            worker.wake()
            os._exit(0)
        os.waitpid(pid, 0)
    """
    assert python("-c", textwrap.dedent(code), str(tmp_path)).stderr == ""
    drain(tmp_path)
    assert_each_turn_once(tmp_path, {f"{child}-0" for child in range(20)})


FORK_WHILE_WRITING = """
import os, sys, threading
from pathlib import Path
import zygote
from synap_integrations.model import Envelope, Scope, UserMessage

folder, ending = Path(sys.argv[1]), sys.argv[2]
outbox, worker = zygote.desk(folder)

def write(name, count):
    for number in range(count):
        outbox.append(Envelope.seal(Scope(f"c-{name}", "ana"), UserMessage(f"{name}-{number}")))
        worker.wake()

writers = [threading.Thread(target=write, args=(f"parent{n}", 1500)) for n in range(3)]
for writer in writers: writer.start()
children = []
for child in range(20):
    if not (pid := os.fork()):
        write(f"child{child}", 10)
        if ending == "os._exit":
            os._exit(0)
        sys.exit(0)
    children.append(pid)
for pid in children:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
for writer in writers: writer.join()
assert worker.flush(60)
assert outbox.counts().add_up and outbox.counts().captured == 4500, outbox.counts()
assert worker.close(10)
"""


@pytest.mark.parametrize("ending", ["os._exit", "sys.exit"])
def test_forks_while_threads_write_harm_neither_side(tmp_path, ending) -> None:
    """Parent and children each have their own file; a child's end leaves the parent's alone."""
    done = python("-W", "ignore::DeprecationWarning", "-c", FORK_WHILE_WRITING, str(tmp_path), ending)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    drain(tmp_path)
    told = {f"parent{n}-{number}" for n in range(3) for number in range(1_500)}
    told |= {f"child{child}-{number}" for child in range(20) for number in range(10)}
    assert_each_turn_once(tmp_path, told)


def test_the_end_of_a_child_does_not_tidy_up_its_parents_file(tmp_path) -> None:
    """What the parent captures after a forked child has ended in the normal way survives a kill too."""
    code = """
    import os, signal, sys
    from pathlib import Path
    import zygote
    from synap_integrations.model import Envelope, Scope, UserMessage
    outbox, _ = zygote.desk(Path(sys.argv[1]))
    def write(name):
        for number in range(20):
            outbox.append(Envelope.seal(Scope(f"c-{name}", "ana"), UserMessage(f"{name}-{number}")))
    write("before")
    if not (pid := os.fork()):
        sys.exit(0)
    os.waitpid(pid, 0)
    write("after")
    os.kill(os.getpid(), signal.SIGKILL)
    """
    done = python("-c", textwrap.dedent(code), str(tmp_path))
    assert (done.returncode, done.stderr) == (-9, "")
    drain(tmp_path)
    assert_each_turn_once(tmp_path, {f"{name}-{number}" for name in ("before", "after") for number in range(20)})


def test_two_processes_in_one_folder_do_not_meet(tmp_path) -> None:
    """Each delivers its own turns, once."""
    code = """
    import sys
    from pathlib import Path
    import zygote
    from synap_integrations.model import Envelope, Scope, UserMessage
    outbox, worker = zygote.desk(Path(sys.argv[1]))
    for number in range(500):
        outbox.append(Envelope.seal(Scope(f"c-{sys.argv[2]}", "ana"), UserMessage(f"{sys.argv[2]}-{number}")))
        worker.wake()
    assert worker.close(30)
    """
    both = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(tmp_path), name], env=environment())
        for name in "ab"
    ]
    assert [process.wait(60) for process in both] == [0, 0]
    assert_each_turn_once(tmp_path, {f"{name}-{number}" for name in "ab" for number in range(500)})
    assert len(zygote.received(tmp_path)) == 1_000


ONE_TURN = """
import sys
from pathlib import Path
import zygote
from synap_integrations.errors import NetworkError
from synap_integrations.model import Envelope, Scope, UserMessage
from synap_integrations.outbox import DeliveryWorker
outbox, worker = zygote.desk(Path(sys.argv[1]))
if sys.argv[2] != "up":
    class Down(zygote.FileReceiver):
        async def open(self, on_inbound):
            raise NetworkError("down")
        async def send(self, envelope):
            if sys.argv[2] == "silent":
                import asyncio
                await asyncio.Event().wait()
            raise NetworkError("down")
    worker = DeliveryWorker(outbox, lambda: Down(Path(sys.argv[1]) / "received"))
outbox.append(Envelope.seal(Scope("c", "ana"), UserMessage("script-0")))
worker.wake()
"""


@pytest.mark.parametrize("platform", ["up", "down", "silent"])
def test_a_plain_script_ends_quietly_and_in_time(tmp_path, platform) -> None:
    """No flush, no close: what can be delivered at the exit is, the rest at the next start.

    Nothing is printed, but that delivery is held up.
    """
    began = time.monotonic()
    done = python("-X", "dev", "-W", "error", "-c", ONE_TURN, str(tmp_path), platform)
    said = [
        line for line in complaints(done.stderr) if platform != "down" or "delivery is held by: network" not in line
    ]
    assert (done.returncode, done.stdout, said) == (0, "", [])
    assert time.monotonic() - began < 30
    if platform == "up":
        assert len(zygote.received(tmp_path)) == 1
        assert list((tmp_path / "outbox").iterdir()) == []
    drain(tmp_path)
    assert_each_turn_once(tmp_path, {"script-0"})


def test_capture_after_the_exit_has_begun_is_still_kept(tmp_path) -> None:
    """A turn recorded by somebody's atexit function is on disk, although no thread can be started any more.

    The file is closed all the same, whether that function was registered after we were loaded or before: one that is
    not is a ResourceWarning from Python 3.13 on.
    """
    code = """
    import atexit, sys
    from pathlib import Path
    if sys.argv[2] == "early":
        atexit.register(lambda: [record(number) for number in (1, 2)])
    import zygote
    from synap_integrations.model import Envelope, Scope, UserMessage
    outbox, worker = zygote.desk(Path(sys.argv[1]))
    def record(number):
        outbox.append(Envelope.seal(Scope("c", "ana"), UserMessage(f"late-{number}")))
        worker.wake()
    if sys.argv[2] != "early":
        atexit.register(record, 1)
    if sys.argv[2] == "used":
        record(0)
    """
    for used in ("used", "unused", "early"):
        folder = tmp_path / used
        folder.mkdir()
        done = python("-X", "dev", "-W", "error", "-c", textwrap.dedent(code), str(folder), used)
        assert (done.returncode, done.stdout, complaints(done.stderr)) == (0, "", [])
        drain(folder)
        assert_each_turn_once(folder, {"late-1"} | {"used": {"late-0"}, "early": {"late-2"}}.get(used, set()))
