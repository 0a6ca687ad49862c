"""`synap run` from the outside: what the program gets, what it never notices, what happens when something is wrong."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from zero_code import APPS, BIN, delivered, environment, parroted, synap_run

import synap_integrations
from synap_integrations.auto import launch
from synap_integrations.auto.islands import islands
from synap_integrations.auto.run_options import HEADERS, SERVERS, Terms

PACKAGE = Path(synap_integrations.__file__).parent
ASK = "import chat\nprint(chat.ask('c', 'hello'))\n"
TOLD = {"c": parroted("hello")}


def run_code(code: str, *options: str, storage: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """A program of one line or more, which may use the applications of the tests."""
    return synap_run(*options, "-c", code, storage=storage, **more)


def test_the_lines_that_start_up_reads_say_what_the_manifests_say() -> None:
    """Start-up has no time for a TOML parser; it reads the same as one."""
    found = {island.name: island for island in islands()}
    manifests = [tomllib.loads(path.read_text()) for path in PACKAGE.glob("*/integration.toml")]
    assert found.keys() == {said["name"] for said in manifests}
    assert len(found) >= 2
    for said in manifests:
        island = found[said["name"]]
        told = (island.trigger, island.attach, island.inject, island.inject_trigger)
        inject = said.get("inject", "")
        assert told == (
            said["trigger"],
            said["attach"],
            inject,
            said.get("inject_trigger", said["trigger"] * bool(inject)),
        )


@pytest.mark.parametrize(
    "terms",
    [Terms(), Terms(inject=True), Terms(follow=True, identify="a.b:c"), Terms(identify=HEADERS, drain="2.5")],
    ids=str,
)
def test_terms_survive_the_environment(terms: Terms) -> None:
    """What is handed over is what arrives; words of a later version are skipped."""
    assert Terms.read(str(terms)) == terms
    assert Terms.read(f"{terms};something=new") == terms


HEAVY = {
    "asyncio", "click", "dataclasses", "google", "grpc", "httpx", "inspect", "langchain", "langchain_core",
    "llama_index", "logging", "pathlib", "pydantic", "re", "sqlite3", "tomllib", "typing",
}  # fmt: skip


def test_nothing_is_imported_that_the_program_does_not_import(own_storage) -> None:
    """Before a framework is imported, not even what the standard library has for convenience is loaded."""
    code = "import sys; print(*sorted(set(sys.modules)))"
    bare = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=APPS)
    loaded = set(run_code(code, storage=own_storage).stdout.split()) - set(bare.stdout.split())
    allowed = {"synap_integrations", "importlib", "warnings", "__future__", "atexit"}  # the last has no file to load
    assert {name.partition(".")[0] for name in loaded} <= allowed
    assert not HEAVY & loaded
    assert len(loaded) <= 12


def test_the_launcher_itself_loads_next_to_nothing() -> None:
    """`synap run` is dispatched before click; nothing is loaded that the program would wait for."""
    code = "import sys; import synap_integrations.cli.run; print(*sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(ran.stdout.split())


LEFT = """
import json, os, subprocess, sys
import chat
chat.ask('c', 'hello')
show = "import json, os, sys; print(json.dumps([dict(os.environ), sys.path, 'chat' in sys.modules]))"
print(json.dumps([dict(os.environ), sys.path]))
print(subprocess.run([sys.executable, '-c', show], capture_output=True, text=True, check=True).stdout)
import chat
"""


def test_nothing_of_ours_is_left_in_the_environment(own_storage, tmp_path) -> None:
    """The program and its children have the environment and the path of the user's shell, to the letter."""
    (tmp_path / "own").mkdir()
    own = {"PYTHONPATH": str(tmp_path / "own")}
    ran = run_code(LEFT, storage=own_storage, **own)
    assert ran.stderr == ""
    here, child, *_ = [json.loads(line) for line in ran.stdout.splitlines() if line]
    expected = environment(own_storage, **own)
    shell = {name: value for name, value in expected.items() if name not in ("_", "PWD", "SHLVL", "OLDPWD")}
    assert {name: here[0].get(name) for name in shell} == shell
    assert child[0] == here[0]
    assert "SYNAP_RUN" not in here[0]
    for path in (here[1], child[1]):
        assert str(tmp_path / "own") in path
        assert not [place for place in path if "auto" in place]


NOT_THE_LAUNCHER = "import sys\nif not sys.orig_argv[1].endswith('/synap'): "
"""The launcher is a Python, too, and has the same path."""


def test_the_users_own_sitecustomize_runs_once(own_storage, tmp_path) -> None:
    """It runs as if we were not there, is the module of that name, and may fail as it ever did."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "sitecustomize.py").write_text(
        NOT_THE_LAUNCHER + "print('mine', __file__ == sys.modules[__name__].__file__)"
    )
    code = f"import sys, sitecustomize\nprint(sitecustomize.__file__)\n{ASK}"
    ran = run_code(code, storage=own_storage, PYTHONPATH=str(mine))
    assert ran.stdout.splitlines() == ["mine True", str(mine / "sitecustomize.py"), "You said: hello"]
    assert delivered(own_storage) == TOLD
    (mine / "sitecustomize.py").write_text(NOT_THE_LAUNCHER + "raise RuntimeError('mine is broken')")
    broken = run_code("print('on')", storage=own_storage, PYTHONPATH=str(mine))
    bare = subprocess.run(
        [sys.executable, "-c", "print('on')"],
        env=environment(own_storage, PYTHONPATH=str(mine)),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (broken.stdout, broken.stderr, broken.returncode) == (bare.stdout, bare.stderr, bare.returncode)
    assert "mine is broken" in broken.stderr


def test_capture_off_means_off(own_storage) -> None:
    """``SYNAP_CAPTURE=0`` wins over everything: nothing is captured, nothing even loaded."""
    code = f"{ASK}import sys; print([name for name in sys.modules if 'synap' in name])"
    ran = run_code(code, "--inject", "--follow-children", storage=own_storage, SYNAP_CAPTURE="0", SYNAP_INJECT="1")
    assert (ran.stdout, ran.stderr) == ("You said: hello\n[]\n", "")
    assert not own_storage.exists()


CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"


@pytest.mark.parametrize(("options", "expected"), [([], {}), (["--follow-children"], TOLD)], ids=["not", "followed"])
def test_children_only_if_they_are_to_be_followed(options, expected, own_storage) -> None:
    """A Python started by the program is another program."""
    ran = synap_run(*options, "-c", CHILD, ASK, storage=own_storage)
    assert ran.stdout == "You said: hello\n"
    assert delivered(own_storage) == expected


@pytest.mark.parametrize("option", ["-I", "-E", "-S", "-sE"])
def test_an_interpreter_that_is_to_be_left_alone_is(option: str, own_storage) -> None:
    """Under options that shut out PYTHONPATH the program runs untouched, and one line says so."""
    ran = synap_run(
        "--",
        "python",
        option,
        "-c",
        "import sys; print('on', 'synap_integrations' in sys.modules)",
        storage=own_storage,
    )
    assert ran.stdout == "on False\n"
    assert ran.stderr == f"synap: not captured: Python reads no PYTHONPATH under {option}; the program runs as it is\n"


def test_a_safe_path_is_no_obstacle(own_storage) -> None:
    """``-P`` keeps the program's folder off the path, not what the user has asked for by name."""
    ran = synap_run("--", "python", "-P", "-c", ASK, storage=own_storage, PYTHONPATH=str(APPS))
    assert (ran.stdout, ran.stderr) == ("You said: hello\n", "")
    assert delivered(own_storage) == TOLD


BROKEN = {
    "an address": (
        {"SYNAP_BASE_URL": "ftp://nowhere"},
        r"synap: not captured: InvalidInputError: SYNAP_BASE_URL is not of the form https://.*\n",
    ),
    "an address in clear text": (
        {"SYNAP_BASE_URL": "http://synap.example.org"},
        r"synap: not captured: InvalidInputError: SYNAP_BASE_URL names another machine .*\n",
    ),
    "a host of the stream": (
        {"SYNAP_API_KEY": "synap_k", "SYNAP_GRPC_HOST": "https://x"},
        r"synap: not captured: InvalidInputError: SYNAP_GRPC_HOST is no host name .*\n",
    ),
    "a setting's form": (
        {"SYNAP_RECALL_TIMEOUT_S": "soon"},
        r"synap: not captured: InvalidInputError: SYNAP_RECALL_TIMEOUT_S: .*\n",
    ),
    "a file": (
        {"SYNAP_CA_FILE": "/nowhere.pem"},
        r"synap: not captured: InvalidInputError: SYNAP_CA_FILE: .*unset it\n",
    ),
    "the cloud without a key": (
        {"SYNAP_BASE_URL": "cloud"},
        r"synap: not captured: InvalidInputError: SYNAP_BASE_URL=cloud needs SYNAP_API_KEY: .*\n",
    ),
    "a port": ({"SYNAP_GRPC_PORT": "0"}, r"synap: not captured: InvalidInputError: SYNAP_GRPC_PORT: .*\n"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_costs_one_line(what: str, own_storage) -> None:
    """A setting that cannot be read, or an address where nothing may go: the program runs as it is, and one line says
    why nothing is captured.
    """
    variables, line = BROKEN[what]
    ran = run_code(ASK, storage=own_storage, **variables)
    assert (ran.stdout, ran.returncode) == ("You said: hello\n", 0)
    assert re.fullmatch(line, ran.stderr)


def test_a_python_without_us_costs_one_line(own_storage, tmp_path) -> None:
    """Another environment's Python, which lacks the package, runs the program and says what to do."""
    home = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True, timeout=60)
    ran = synap_run("--", str(home / "bin" / "python"), "-c", "print('on')", storage=own_storage)
    assert (ran.stdout, ran.returncode) == ("on\n", 0)
    assert ran.stderr.count("\n") == 1
    assert "No module named 'synap_integrations'" in ran.stderr
    assert str(home) in ran.stderr


OLD = "import langchain_core.version as v; v.VERSION = '0.2.0'\n"


def test_an_unsupported_framework_costs_one_line(own_storage) -> None:
    """A version nobody knows is not touched, and the line says which ones work."""
    ran = run_code(OLD + ASK, storage=own_storage)
    assert ran.stdout == "You said: hello\n"
    assert re.fullmatch(
        r"synap: langchain is not captured: InvalidInputError: langchain-core 0\.2\.0 .* install .*\n", ran.stderr
    )
    assert delivered(own_storage) == {}


def test_a_home_that_cannot_be_written_is_no_obstacle(own_storage, tmp_path) -> None:
    """Where nothing can be stored the program does not notice."""
    (tmp_path / "file").write_text("")
    ran = run_code(ASK, storage=tmp_path / "file" / "below")
    assert (ran.stdout, ran.returncode) == ("You said: hello\n", 0)


def test_signals_and_exit_codes_are_the_programs_own(own_storage) -> None:
    """The program takes the place of the launcher: same process, same signals."""
    code = "import os, signal; os.kill(os.getppid(), 0); os.kill(os.getpid(), signal.SIGTERM)"
    assert run_code(code, storage=own_storage).returncode == -15


WRONG = {
    "no program": ([], r"synap run: name the program to start; see `synap run --help`\n"),
    "an unknown option": (["--injekt", "--", "python"], r"synap run: no such option: --injekt; see .*\n"),
    "no such program": (["--", "no-such-program"], r"synap run: no-such-program: No such file or directory; see .*\n"),
    "no identity": (["--identify", "rot13", "--", "python"], r"synap run: --identify takes .*, not 'rot13'; see .*\n"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_started_is_said_in_one_line(what: str, own_storage) -> None:
    """Exit code 2, and where to read on."""
    words, line = WRONG[what]
    ran = synap_run(*words, storage=own_storage)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert re.fullmatch(line, ran.stderr)


def test_a_program_that_is_installed_beside_us_is_found(own_storage) -> None:
    """Nobody has to activate an environment to run one of its servers."""
    env = environment(own_storage) | {"PATH": "/usr/bin:/bin"}
    ran = subprocess.run(
        [str(BIN / "synap"), "run", "--", "uvicorn", "--version"], env=env, capture_output=True, text=True, check=False
    )
    assert "Running uvicorn" in ran.stdout


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (["app.py", "-m"], [sys.executable, "app.py", "-m"]),
        (["-m", "app"], [sys.executable, "-m", "app"]),
        (["python3", "app.py"], ["python3", "app.py"]),
        (["sh", "-c", "true"], ["sh", "-c", "true"]),
        ([os.curdir, "x"], [sys.executable, os.curdir, "x"]),
    ],
    ids=["script", "module", "python", "shell", "folder"],
)
def test_python_is_put_in_front_of_what_only_python_runs(program, words) -> None:
    """Scripts, modules and folders need an interpreter: ours; what can be executed is executed."""
    assert launch.commanded(program) == words


def test_the_help_and_the_table_of_commands_know_it() -> None:
    """`synap run --help` shows examples, `synap --help` lists it."""
    run_help = subprocess.run([str(BIN / "synap"), "run", "--help"], capture_output=True, text=True, check=True).stdout
    assert "synap run --identify headers -- gunicorn" in run_help
    assert "Exit code:" in run_help
    all_help = subprocess.run([str(BIN / "synap"), "--help"], capture_output=True, text=True, check=True).stdout
    assert re.search(r"(?m)^  run ", all_help)


def test_every_server_whose_headers_are_read_is_waited_for() -> None:
    """Start-up waits for the modules that the headers' doors stand at."""
    from synap_integrations.auto.server_hooks import HOOKS  # noqa: PLC0415 - not at start-up

    assert tuple(HOOKS) == SERVERS
