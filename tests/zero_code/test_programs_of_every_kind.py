"""Unmodified programs under `synap run`: the transcript is exact, and the program does not notice."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import until
from zero_code import (
    APPS,
    asked_of_celery,
    delivered,
    free_port,
    get,
    parroted,
    serving,
    synap_run,
    users,
)


def test_a_script_is_captured_and_behaves_as_ever(own_storage) -> None:
    """Its words, arguments, output and exit code are its own; both turns are there, and nothing is on stderr."""
    ended = synap_run("in_a_script.py", "--inject", "x", storage=own_storage)
    assert ended.stderr == ""
    assert ended.stdout.splitlines()[:2] == ["You said: one", "You said: two"]
    assert ended.stdout.splitlines()[2].startswith("__main__ ['--inject', 'x'] ")
    assert ended.returncode == 7
    assert delivered(own_storage) == {"script": parroted("one", "two")}
    assert users(own_storage) == {"script": "ana"}


KINDS = {
    "a script": ["in_a_script.py"],
    "a module": ["-m", "in_a_script"],
    "python": ["--", "python", "in_a_script.py"],
    "python -m": ["--", sys.executable, "-X", "utf8", "-m", "in_a_script"],
    "a shell that starts python": ["--", "sh", "-c", "python in_a_script.py"],
}


SLOW = pytest.mark.soak
FAST = {"a module", "a shell that starts python"}


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind, marks=() if kind in FAST else SLOW) for kind in KINDS])
def test_however_a_program_is_named(kind: str, own_storage) -> None:
    """Scripts, modules, interpreters and what is between us and the interpreter: one transcript."""
    assert synap_run(*KINDS[kind], storage=own_storage).returncode == 7
    assert delivered(own_storage) == {"script": parroted("one", "two")}


def test_threads(own_storage) -> None:
    """Four conversations at once, each in order."""
    assert synap_run("in_threads.py", storage=own_storage).stderr == ""
    expected = {f"thread-{number}": parroted(f"one {number}", f"two {number}") for number in range(4)}
    assert delivered(own_storage) == expected


def test_asyncio(own_storage) -> None:
    """Tasks of one loop at once, and a second loop after it."""
    assert synap_run("in_tasks.py", storage=own_storage).stderr == ""
    expected = {f"task-{number}": parroted(f"one {number}", f"two {number}") for number in range(4)}
    assert delivered(own_storage) == expected


PARENT = {"parent": parroted("before", "after")}
CHILDREN = {f"child-{number}": parroted(f"hello from {number}") for number in range(2)}


@pytest.mark.parametrize(
    ("options", "method", "expected"),
    [
        ([], "fork", PARENT | CHILDREN),
        ([], "spawn", PARENT),
        (["--follow-children"], "spawn", PARENT | CHILDREN),
        pytest.param(["--follow-children"], "forkserver", PARENT | CHILDREN, marks=SLOW),
    ],
    ids=["fork", "spawn is another program", "spawn, followed", "forkserver, followed"],
)
def test_multiprocessing(options, method, expected, own_storage) -> None:
    """A fork is the same program; a new interpreter is captured only if children are followed."""
    ended = synap_run(*options, "in_processes.py", method, storage=own_storage)
    assert ended.returncode == 0, ended.stderr
    assert delivered(own_storage) == expected


CHILDREN_ONLY = """
import multiprocessing, chat
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(chat.ask, ("child", "hello")))
"""
MISSED = "synap: nothing was captured: this program talks in other Python processes"


def test_a_program_that_only_its_children_talk_in(own_storage, tmp_path) -> None:
    """One line names the option that was missing; with it there is none, and the turn is there."""
    (tmp_path / "app.py").write_text(CHILDREN_ONLY, encoding="utf-8")
    words, more = [str(tmp_path / "app.py")], {"PYTHONPATH": str(APPS)}
    alone = synap_run(*words, storage=own_storage, **more)
    assert (alone.stdout, alone.returncode) == ("You said: hello\n", 0)
    assert alone.stderr.startswith(MISSED)
    assert alone.stderr.endswith("`synap run --follow-children`\n")
    assert alone.stderr.count("\n") == 1
    assert delivered(own_storage) == {}
    followed = synap_run("--follow-children", *words, storage=own_storage, **more)
    assert (followed.stdout, followed.stderr) == ("You said: hello\n", "")
    assert delivered(own_storage) == {"child": parroted("hello")}


@pytest.mark.parametrize("way", [["--workers", "2"], ["--reload"]], ids=["workers", "reload"])
def test_uvicorn_whose_workers_are_missed(way, own_storage, tmp_path) -> None:
    """The same line where a server ends that was started without the option."""
    port, log = free_port(), tmp_path / "log"
    words = ["uvicorn", "in_asgi:app", "--port", str(port), *way]
    with serving("--", *words, storage=own_storage, port=port, log=log):
        assert get(port, conversation="web", said="one") == "You said: one"
    assert log.read_text().count(MISSED) == 1
    assert delivered(own_storage) == {}


def test_pytest(own_storage) -> None:
    """An application's own tests, with pytest's import hooks beside ours."""
    words = ["--", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", "-c", "/dev/null", "checks_of_an_app.py"]
    ended = synap_run(*words, storage=own_storage)
    assert "2 passed" in ended.stdout
    assert delivered(own_storage) == {f"checked-{number}": parroted("hello") for number in range(2)}


def test_uvicorn(own_storage, tmp_path) -> None:
    """A server that is stopped by a signal, as servers are."""
    port, log = free_port(), tmp_path / "log"
    with serving("--", "uvicorn", "in_asgi:app", "--port", str(port), storage=own_storage, port=port, log=log):
        for said in ("one", "two"):
            assert get(port, conversation="web", said=said) == f"You said: {said}"
    assert "synap" not in log.read_text()
    assert delivered(own_storage) == {"web": parroted("one", "two")}


def test_uvicorn_with_reload(own_storage, tmp_path) -> None:
    """The reloader's server is a child: with --follow-children its turns are captured, before and after a reload."""
    port, log, app = free_port(), tmp_path / "log", tmp_path / "app"
    app.mkdir()
    for name in ("chat.py", "in_asgi.py"):
        (app / name).write_text((APPS / name).read_text())
    words = ["uvicorn", "in_asgi:app", "--port", str(port), "--app-dir", str(app), "--reload", "--reload-dir", str(app)]
    with serving("--follow-children", "--", *words, storage=own_storage, port=port, log=log):
        assert get(port, conversation="web", said="one") == "You said: one"
        (app / "chat.py").write_text((app / "chat.py").read_text().replace("You said", "You have said"))
        until(lambda: log.read_text().count("Started server process") == 2, what=f"a reload; see {log}")
        until(lambda: log.read_text().count("startup complete") == 2, what=f"a restart; see {log}")
        assert get(port, conversation="web", said="two") == "You have said: two"
    turns = delivered(own_storage)["web"]
    assert turns == [*parroted("one"), ("user", "two"), ("assistant", "You have said: two")]


def test_gunicorn_with_preload_and_four_workers(own_storage, tmp_path) -> None:
    """The application is loaded before the fork; the turns of all workers are there, once, and in order."""
    port, log = free_port(), tmp_path / "log"
    words = ["gunicorn", "--preload", "-w", "4", "-b", f"127.0.0.1:{port}", "in_wsgi:app"]
    with serving("--", *words, storage=own_storage, port=port, log=log):
        for number in range(12):
            for said in ("one", "two"):
                assert get(port, conversation=f"web-{number}", said=said) == f"You said: {said}"
    assert "synap" not in log.read_text()
    assert delivered(own_storage) == {f"web-{number}": parroted("one", "two") for number in range(12)}


@SLOW
@pytest.mark.parametrize("options", [[], ["--follow-children"]], ids=["alone", "followed"])
def test_gunicorn_that_replaces_itself(options, own_storage, tmp_path) -> None:
    """After USR2 a new interpreter serves: a child, captured only if children are followed."""
    port, log, pid = free_port(), tmp_path / "log", tmp_path / "pid"
    words = ["gunicorn", "-w", "1", "-p", str(pid), "-b", f"127.0.0.1:{port}", "in_wsgi:app"]
    with serving(*options, "--", *words, storage=own_storage, port=port, log=log) as process:
        assert get(port, conversation="web", said="one") == "You said: one"
        old = int(pid.read_text())
        os.kill(old, signal.SIGUSR2)
        until(lambda: log.read_text().count("Booting worker") == 2, what=f"another worker; see {log}")
        new = int(until(lambda: pid.with_name("pid.2").exists() and pid.with_name("pid.2").read_text(), what="its id"))
        os.kill(old, signal.SIGTERM)
        process.wait(30)
        try:
            assert get(port, conversation="web", said="two") == "You said: two"
        finally:
            os.kill(new, signal.SIGTERM)
            until(lambda: log.read_text().count("Shutting down: Master") == 2, what=f"its end; see {log}")
    assert delivered(own_storage) == {"web": parroted("one", "two") if options else parroted("one")}


POOLS = [["--pool=prefork", "-c", "2"], ["--pool=threads", "-c", "2"], ["--pool=solo"]]


@pytest.mark.parametrize(
    "pool",
    [pytest.param(pool, marks=SLOW if pool is not POOLS[0] else ()) for pool in POOLS],
    ids=["prefork", "threads", "solo"],
)
def test_celery(pool, own_storage, tmp_path) -> None:
    """A real worker, in each of its pools, and a broker in a folder."""
    asked_of_celery(*pool, "-l", "info", storage=own_storage, folder=tmp_path)
    assert delivered(own_storage) == {f"task-{number}": parroted("hello") for number in range(4)}


@SLOW
def test_streamlit(own_storage, tmp_path) -> None:
    """A page runs in a thread of the server, once for each visit."""
    pytest.importorskip("streamlit")
    pytest.importorskip("websockets")
    port, log = free_port(), tmp_path / "log"
    words = ["streamlit", "run", "in_streamlit.py", "--server.headless", "true", "--server.port", str(port)]
    words += ["--browser.gatherUsageStats", "false"]
    with serving("--", *words, storage=own_storage, port=port, log=log):
        visit = subprocess.run(
            [sys.executable, "streamlit_visit.py", str(port)],
            cwd=APPS,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert visit.returncode == 0, visit.stderr
    assert delivered(own_storage) == {"page": parroted("hello from a page")}


def test_a_handler_of_the_application_goes_first(own_storage) -> None:
    """Runs with a handler of its own are captured once, on its terms; the others without code."""
    ended = synap_run("with_own_handler.py", storage=own_storage)
    assert ended.stderr == ""
    assert delivered(own_storage) == {"own": parroted("one", "two"), "other": parroted("three")}
    assert users(own_storage) == {"own": "ben", "other": "ana"}


def test_every_program_here_is_unmodified() -> None:
    """Only the one that brings a handler of its own names us at all."""
    naming = [path.name for path in APPS.glob("*.py") if "synap_integrations" in Path(path).read_text()]
    assert naming == ["with_own_handler.py"]
