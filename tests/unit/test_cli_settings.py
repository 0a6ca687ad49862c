"""The command line, and `synap settings`."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from synap_integrations.cli import COMMANDS, main
from synap_integrations.settings import Settings

KEY = "synap_canary_5f3a"


def synap(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does, with these variables and no other of ours."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SYNAP_")}
    command = [sys.executable, "-m", "synap_integrations.cli", *arguments]
    return subprocess.run(command, env=clean | environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of ours is set."""
    for row in dataclasses.fields(Settings):
        monkeypatch.delenv(row.metadata["variable"], raising=False)


def rows(text: str) -> dict[str, dict[str, object]]:
    """The settings of ``--json`` by name."""
    return {row["name"]: row for row in json.loads(text)["settings"]}


def test_every_setting_is_shown_with_its_origin(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    """`synap settings --json` has a row for each setting, and says which came from where."""
    monkeypatch.setenv("SYNAP_USER_ID", "ana")
    assert main(["settings", "turns=stream", "--json"]) == 0
    shown = rows(capsys.readouterr().out)
    assert set(shown) == {row.name for row in dataclasses.fields(Settings)}
    assert (shown["turns"]["value"], shown["turns"]["origin"]) == ("stream", "argument")
    assert (shown["user_id"]["value"], shown["user_id"]["origin"]) == ("ana", "environment")
    assert (shown["recall_timeout_s"]["value"], shown["recall_timeout_s"]["origin"]) == (0.15, "default")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_key_is_never_shown(capsys: pytest.CaptureFixture[str], monkeypatch, form: list[str]) -> None:
    """Whoever looks over a shoulder sees that there is a key, not which."""
    monkeypatch.setenv("SYNAP_API_KEY", KEY)
    assert main(["settings", *form]) == 0
    out = capsys.readouterr().out
    assert KEY not in out
    assert "set (fingerprint " in out


@pytest.mark.parametrize(
    ("environ", "platform"),
    [
        ({}, "embedded"),
        ({"SYNAP_API_KEY": KEY}, "https://"),
        ({"SYNAP_API_KEY": KEY, "SYNAP_BASE_URL": "local"}, "embedded"),
    ],
)
def test_what_the_settings_come_to_is_said_first(capsys, monkeypatch, environ: dict[str, str], platform: str) -> None:
    """The first line names the platform that would be used."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main(["settings"]) == 0
    assert platform in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["settings", "turns=pigeon"], "turns"),
        (["settings", "colour=red"], "colour"),
        (["settings", "turns"], "name=value"),
        (["settings", "--pretty"], "--pretty"),
        (["nonsense"], "nonsense"),
        ([], "command"),
        (["demo", "--sessions", "none"], "--sessions"),
        (["demo", "--sessions", "0"], "--sessions"),
        (["demo", "--data", "no-such-file.json"], "no-such-file.json"),
        (["demo", "--model", "gpt"], "gpt"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, arguments: list[str], named: str) -> None:
    """What is wrong is named in one line on stderr, with no traceback and nothing on stdout."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert named in err
    assert err.count("\n") == 1


def test_a_bad_variable_is_named(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    """The message says which variable, and what it accepts."""
    monkeypatch.setenv("SYNAP_GRPC_PORT", "many")
    assert main(["settings"]) == 2
    assert "SYNAP_GRPC_PORT" in capsys.readouterr().err


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_is_there(capsys: pytest.CaptureFixture[str], command: str | None) -> None:
    """`--help` explains the program and each of its commands."""
    assert main([command, "--help"] if command else ["--help"]) == 0
    assert (command or "settings") in capsys.readouterr().out


def test_help_loads_no_framework() -> None:
    """`synap --help` is instant: it loads none of what the commands need."""
    code = "import sys; from synap_integrations.cli import main; main(['--help']); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert not {"langchain", "langchain_core", "rich", "httpx", "grpc", "pydantic", "sqlite3"} & set(out.split())


def test_a_reader_that_leaves_is_no_error() -> None:
    """`synap settings | head -1` ends quietly."""
    pipe = f"{sys.executable} -m synap_integrations.cli settings | head -1"
    ended = subprocess.run(["/bin/sh", "-c", pipe], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_python_dash_m_is_the_command() -> None:
    """`python -m synap_integrations.cli` works where the script is not on the path."""
    ended = synap("settings", SYNAP_USER_ID="ana")
    assert ended.returncode == 0
    assert ended.stderr == ""
    assert "ana" in ended.stdout
