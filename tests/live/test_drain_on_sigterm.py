"""``SYNAP_DRAIN_ON_SIGTERM``: a container that is stopped delivers what waits, and ends as it would have ended."""

import signal
import socket
import subprocess
import sys
import textwrap

import pytest
from zero_code import delivered, environment, free_port, get, parroted, serving, synap_run, transcripts

TURNS = 300
START = f"""
import logging, os, signal, sys, threading
from synap_integrations import Scope, Synap
from synap_integrations.model import UserMessage
logging.basicConfig()

def burst(synap):
    for number in range({TURNS}):
        synap.record(UserMessage(f"turn {{number}}"), scope=Scope("c", "ana"))
    return synap

def stop(*_):
    os.kill(os.getpid(), signal.SIGTERM)
"""
ALL = {"c": [("user", f"turn {number}") for number in range(TURNS)]}


def run(code: str, storage, **more: str) -> subprocess.CompletedProcess[str]:
    """A worker of somebody's, with a burst of turns behind it."""
    env = environment(storage, **more)
    words = [sys.executable, "-c", START + textwrap.dedent(code)]
    return subprocess.run(words, env=env, capture_output=True, text=True, timeout=100, check=False)


def test_what_waits_is_delivered_before_the_process_ends(own_storage) -> None:
    """A burst, then SIGTERM: all of it has arrived when the process is gone, and the signal is what it died of."""
    ended = run("burst(Synap()); stop(); print('not reached')", own_storage, SYNAP_DRAIN_ON_SIGTERM="60")
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGTERM, "", "")
    assert transcripts(own_storage) == ALL


def test_without_it_nothing_changes(own_storage) -> None:
    """No handler is put in place; the process is gone at once, and what waited is delivered by the next start."""
    code = "synap = burst(Synap()); assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL; stop()"
    ended = run(code, own_storage)
    assert (ended.returncode, ended.stderr) == (-signal.SIGTERM, "")
    assert len(transcripts(own_storage).get("c", ())) < TURNS
    assert delivered(own_storage) == ALL


def test_the_handler_that_was_there_is_called_afterwards(own_storage) -> None:
    """It finds everything delivered, and decides how the process ends; the argument does what the variable does."""
    code = """
    signal.signal(signal.SIGTERM, lambda *got: (print(len(got), synap.status().waiting), sys.exit(5)))
    synap = burst(Synap(drain_on_sigterm_s=60.0))
    stop()
    """
    ended = run(code, own_storage)
    assert (ended.returncode, ended.stdout, ended.stderr) == (5, "2 0\n", "")
    assert transcripts(own_storage) == ALL


def test_an_application_that_goes_on_is_captured_further(own_storage) -> None:
    """Its handler only takes note: nothing was closed, and a later SIGTERM waits again."""
    code = """
    signal.signal(signal.SIGTERM, lambda *_: print("noted"))
    synap = Synap()
    stop(); burst(synap); stop()
    print(synap.status().waiting, flush=True)
    os._exit(0)
    """
    ended = run(code, own_storage, SYNAP_DRAIN_ON_SIGTERM="60")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "noted\nnoted\n0\n", "")
    assert transcripts(own_storage) == ALL


def test_a_handler_that_comes_later_is_left_alone(own_storage) -> None:
    """Whoever is installed over ours keeps the signal, also when another Synap is made."""
    code = """
    Synap(); signal.signal(signal.SIGTERM, lambda *_: sys.exit(6)); burst(Synap()); stop()
    """
    assert run(code, own_storage, SYNAP_DRAIN_ON_SIGTERM="60").returncode == 6
    assert delivered(own_storage) == ALL


def test_a_signal_that_is_ignored_stays_ignored(own_storage) -> None:
    """``SIG_IGN`` is a decision of the application's."""
    code = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); Synap(); stop(); print(signal.getsignal(signal.SIGTERM).name)"
    )
    ended = run(code, own_storage, SYNAP_DRAIN_ON_SIGTERM="60")
    assert (ended.returncode, ended.stdout) == (0, "SIG_IGN\n")


def test_outside_the_main_thread_one_line_says_what_is_missing(own_storage) -> None:
    """Python allows no handler there: the log says so once, and the signal does what it always did."""
    code = """
    thread = threading.Thread(target=lambda: (Synap(), burst(Synap())))
    thread.start(); thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    stop()
    """
    ended = run(code, own_storage, SYNAP_DRAIN_ON_SIGTERM="60")
    assert ended.returncode == -signal.SIGTERM
    (line,) = ended.stderr.splitlines()
    assert "SIGTERM does not wait for delivery: signal only works in main thread" in line


def test_a_lock_of_ours_that_was_held_costs_the_time_and_no_more(own_storage) -> None:
    """The signal arrives in the middle of a commit: the process ends, and what it wrote is delivered later."""
    code = "synap = burst(Synap())\nwith synap._outbox._lock: stop()"
    ended = run(code, own_storage, SYNAP_DRAIN_ON_SIGTERM="0.5")
    assert (ended.returncode, ended.stderr) == (-signal.SIGTERM, "")
    assert delivered(own_storage) == ALL


def test_who_sends_it_twice_does_not_wait(own_storage) -> None:
    """A platform that accepts connections and says nothing: the second SIGTERM ends what the first one waits for."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        more = {"SYNAP_BASE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}", "SYNAP_API_KEY": "synap_k"}
        code = "synap = burst(Synap()); threading.Timer(1.0, stop).start(); stop()"
        ended = run(code, own_storage, SYNAP_DRAIN_ON_SIGTERM="1000", **more)
    assert (ended.returncode, ended.stderr) == (-signal.SIGTERM, "")


def test_a_forked_child_drains_its_own(own_storage) -> None:
    """The handler is inherited; what the child has captured is delivered by the child."""
    code = """
    synap = Synap()
    if not (child := os.fork()):
        burst(synap); stop()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    os._exit(0)
    """
    ended = run(code, own_storage, SYNAP_DRAIN_ON_SIGTERM="60")
    assert ended.stdout == "-15\n"
    assert transcripts(own_storage) == ALL


STOPPED = """
import chat, os, signal
for number in range(20):
    chat.ask('c', f'hello {number}')
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.parametrize("seconds", ["60", "soon"])
def test_a_program_that_nobody_changed(seconds: str, own_storage) -> None:
    """Under `synap run`; a value that is no number costs one line, as with every setting."""
    ended = synap_run("-c", STOPPED, storage=own_storage, SYNAP_DRAIN_ON_SIGTERM=seconds)
    assert ended.returncode == -signal.SIGTERM
    if seconds == "60":
        assert ended.stderr == ""
        assert transcripts(own_storage) == {"c": parroted(*(f"hello {number}" for number in range(20)))}
    else:
        assert ended.stderr.startswith("synap: not captured: InvalidInputError: SYNAP_DRAIN_ON_SIGTERM: 'soon'")
        assert ended.stderr.count("\n") == 1


SERVERS = {
    "uvicorn": ["uvicorn", "in_asgi:app", "--port", "{port}"],
    "gunicorn": ["gunicorn", "--preload", "-w", "2", "-b", "127.0.0.1:{port}", "in_wsgi:app"],
}


@pytest.mark.parametrize("server", SERVERS)
def test_servers_end_as_ever(server: str, own_storage, tmp_path) -> None:
    """A server with handlers of its own shuts down in its own way, with its own exit code, and all has arrived."""
    codes = []
    for name, more in (("without", {}), ("with", {"SYNAP_DRAIN_ON_SIGTERM": "60", "SYNAP_SHUTDOWN_TIMEOUT_S": "60"})):
        port, log = free_port(), tmp_path / f"log-{name}"
        words = [word.format(port=port) for word in SERVERS[server]]
        with serving("--", *words, storage=own_storage, port=port, log=log, **more) as process:
            for number in range(10):
                get(port, conversation=f"{name}-{number}", said="hello")
        codes.append(process.returncode)
        assert "Traceback" not in log.read_text()
    assert codes[0] == codes[1]
    found = transcripts(own_storage)
    assert {name: turns for name, turns in found.items() if name.startswith("with-")} == {
        f"with-{number}": parroted("hello") for number in range(10)
    }
