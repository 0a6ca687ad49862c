"""`synap doctor`: what is wrong is found, in the environment where it is wrong, with what to type."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from dev_server import KEY, dev_server
from one_turn_sent import sent_to_a_server

from synap_integrations import Scope, Settings, Synap
from synap_integrations.cli.checks.installed import scripted_turn
from synap_integrations.model import Envelope, UserMessage
from synap_integrations.outbox import SqliteOutbox
from synap_integrations.secret import Secret

FRAMEWORKS = {"langchain", "llamaindex"}
MASK = "def mask(text):\n    return text.replace('flight', 'XXXXXX')\n"


def doctor(*words: str, path: Path | None = None, **environ: str) -> tuple[int, dict]:
    """Exit code and what `synap doctor --json` says."""
    more = {"PYTHONPATH": str(path)} if path else {}
    command = [sys.executable, "-m", "synap_integrations.cli", "doctor", "--json", *words]
    ended = subprocess.run(
        command, env=os.environ | environ | more, capture_output=True, text=True, timeout=150, check=False
    )
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def synap(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Any command, to its end."""
    command = [sys.executable, "-m", "synap_integrations.cli", *words]
    return subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, timeout=150, check=False)


def leave(text: str, storage: Path | None = None) -> None:
    """A turn that nobody delivers."""
    with Synap(**({"storage_path": storage} if storage else {}), shutdown_timeout_s=0.1) as synap:
        synap.record(UserMessage(text), scope=Scope("c", "ana"))


def at_a_glance(**environ: str) -> tuple[int, dict]:
    """The same without the scripted turns."""
    return doctor("--quick", **environ)


def findings(said: dict, about: str) -> list[dict]:
    """The findings about one thing."""
    return [finding for finding in said["findings"] if finding["about"] == about]


def test_where_nothing_was_done_yet_everything_is_fine(own_storage: Path) -> None:
    """No problem, one scripted turn through each framework, settings with their origins; and nothing is made."""
    code, said = doctor()
    assert (code, said["problems"]) == (0, 0)
    for name in FRAMEWORKS:
        (turn,) = findings(said, name)
        assert turn["level"] == "fine"
        assert turn["details"]["events"] == ["UserMessage", "ToolCall", "ToolResult", "AssistantMessage"]
        assert turn["details"]["status"]["delivered"] == 4
    assert {row["name"]: row["origin"] for row in said["settings"]}["storage_path"] == "environment"
    assert not own_storage.exists()


def test_a_server_that_answers_is_fine_and_nothing_is_recorded_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key, REST and stream are tried for real; the scripted turns stay in memory."""
    with dev_server() as server:
        code, said = at_a_glance(**server.environment)
        assert code == 0
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        assert scripted_turn("langchain")["status"]["delivered"] == 4
        assert findings(said, "platform")[0]["level"] == "fine"
        assert findings(said, "stream")[0]["level"] == "fine"
        assert server.turns(user="synap-doctor", conversation="synap-doctor") == []
        assert KEY not in json.dumps(said)


def unreachable() -> dict[str, str]:
    """An address at which nobody answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"SYNAP_BASE_URL": f"http://127.0.0.1:{free.getsockname()[1]}", "SYNAP_API_KEY": KEY}


def test_a_platform_that_is_down_or_refuses_is_a_problem_with_a_command() -> None:
    """Nobody there, a wrong key, no key, an address that a key must not go to: each has its own sentence and fix."""
    with dev_server() as server:
        cases = {
            "cannot be reached; is it running?": unreachable(),
            "SYNAP_API_KEY": server.environment | {"SYNAP_API_KEY": "wrong"},
            "no key": {"SYNAP_BASE_URL": "cloud"},
            "http": {"SYNAP_BASE_URL": "http://example.com", "SYNAP_API_KEY": KEY},
        }
        for words, environ in cases.items():
            code, said = at_a_glance(**environ)
            (problem,) = findings(said, "platform")
            assert (code, problem["level"]) == (1, "problem")
            assert words in problem["says"] + problem["fix"]
            assert problem["fix"]


def test_what_waits_and_why_is_said(own_storage: Path) -> None:
    """Left-behind turns, dead letters with their reason, and a damaged file are warnings with commands."""
    folder = Settings.read().root / "local-nokey"
    outbox = SqliteOutbox(folder)
    envelopes = [Envelope.seal(Scope("c", "ana"), UserMessage(f"turn {n}")) for n in range(3)]
    for envelope in envelopes:
        outbox.append(envelope)
    outbox.bury(envelopes[0].event_id, "422: too long")
    outbox.close()
    (folder / "ob-1-2-3.corrupt").write_bytes(b"damaged")
    code, said = at_a_glance()
    assert code == 0, said
    fixes = {finding["fix"].split("  ")[0] for finding in findings(said, "outbox")}
    assert {"synap outbox flush", "synap outbox ls --dead"} < fixes
    assert any("ob-1-2-3.corrupt" in fix for fix in fixes)
    assert "422: too long" in findings(said, "last error")[0]["says"]


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in its place, and a folder where nobody may write: what happens instead is said, and what to type."""
    taken = tmp_path / "taken"
    taken.write_text("a shopping list", encoding="utf-8")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for place in (str(taken), "/proc/synap"):
        code, said = at_a_glance(SYNAP_STORAGE_PATH=place)
        (finding,) = findings(said, "storage")
        assert (code, finding["level"]) == (1, "problem")
        assert str(tmp_path / "state" / "synap" / "outbox") in finding["says"]
        assert finding["fix"].startswith("export SYNAP_STORAGE_PATH=")
        assert "cannot be written" in synap("status", SYNAP_STORAGE_PATH=place).stdout
    assert taken.read_text(encoding="utf-8") == "a shopping list"


def test_what_waits_in_a_fallback_folder_is_found_and_labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns of a process that could not write its storage path, and of one that could: every command finds both, says
    which are which, and changes what was named; nothing of another application's fallback is touched.
    """
    place, other = tmp_path / "taken", tmp_path / "other"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SYNAP_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SYNAP_API_KEY", "key")
    leave("in its place", storage=place)
    put_aside = place.rename(tmp_path / "put aside")  # or the next process would take over what it finds there
    for text, path in (("mine", place), ("somebody's", other)):
        path.write_text("a shopping list", encoding="utf-8")
        monkeypatch.setenv("SYNAP_STORAGE_PATH", str(path))
        leave(text)
    place.unlink()
    put_aside.rename(place)
    monkeypatch.setenv("SYNAP_STORAGE_PATH", str(place))
    said = synap("outbox", "ls").stdout
    assert said.count("(fallback: the storage path could not be written)") == 1, said
    assert said.index("in its place") < said.index("(fallback") < said.index("mine")
    for command in (("ls", "--json"), ("export",)):
        rows = [json.loads(line) for line in synap("outbox", *command).stdout.splitlines()]
        assert [(row["event"]["content"], row["fallback"]) for row in rows] == [("in its place", False), ("mine", True)]
    assert [box["fallback"] for box in json.loads(synap("status", "--json").stdout)["outboxes"]] == [False, True]
    kept_elsewhere = Path(rows[1]["file"]).parent
    (kept_elsewhere / "ob-1-2-3.corrupt").write_bytes(b"damaged")
    found = findings(at_a_glance()[1], "outbox")
    assert sum(f"1 wait in {kept_elsewhere} (fallback" in finding["says"] for finding in found) == 1
    assert any("ob-1-2-3.corrupt" in finding["says"] for finding in found)
    assert "1 of 1 dropped" in synap("outbox", "drop", rows[1]["event_id"], "--yes").stdout
    assert "(fallback" not in synap("outbox", "ls").stdout
    monkeypatch.setenv("SYNAP_STORAGE_PATH", str(other))
    assert "1 of them in " in (said := synap("outbox", "flush", "--timeout", "1").stdout)
    assert "(fallback" in said


def test_a_folder_that_can_be_written_is_left_as_it_was(own_storage: Path) -> None:
    """The trial leaves no file and makes no folder."""
    Settings.read().root.mkdir(parents=True)
    before = sorted(own_storage.rglob("*"))
    _, said = at_a_glance()
    assert [finding for finding in findings(said, "storage") if finding["level"] != "note"] == []
    assert sorted(own_storage.rglob("*")) == before


def test_what_waits_under_another_key_has_a_way_out() -> None:
    """Flushing with this key does nothing for it: the doctor and the flush say what does, and that works."""
    outbox = SqliteOutbox(Settings.read().root / "cloud-nokey")
    for number in range(2):
        outbox.append(Envelope.seal(Scope("c", "ana"), UserMessage(f"turn {number}")))
    outbox.close()
    with dev_server() as server:
        present = f"cloud-{Secret(server.environment['SYNAP_API_KEY']).fingerprint()}"
        way_out = f"synap reassign cloud-nokey {present}"
        _, said = at_a_glance(**server.environment)
        (finding,) = findings(said, "outbox")
        assert finding["fix"].startswith("export SYNAP_API_KEY=")
        assert way_out in finding["fix"]
        flushed = synap("outbox", "flush", "--timeout", "1", **server.environment)
        assert flushed.returncode == 1
        assert "2 of them in cloud-nokey, under other settings than these." in flushed.stdout
        assert way_out in flushed.stdout
        assert synap(*way_out.split()[1:], **server.environment).returncode == 0
        again = synap("outbox", "flush", "--json", **server.environment)
        expected = {"delivered": 2, "refused_for_good": 0, "waiting": 0, "of_other_settings": {}}
        assert (again.returncode, json.loads(again.stdout)) == (0, expected)


def test_conversations_of_nobody_and_look_alike_users_are_named() -> None:
    """Whose identity is missing is listed; ids that a person would take for the same are pointed out."""
    with Synap() as synap:
        synap.record(UserMessage("who am I?"), scope=Scope("c-nobody"))
        for user in ("Ana@x.org", "ana@x.org "):
            synap.record(UserMessage("hi"), scope=Scope(f"c-{user}", user))
        assert synap.flush(10)
    _, said = at_a_glance()
    nobody, alike = findings(said, "identity")
    assert nobody["details"]["unattributed"] == ["c-nobody"]
    assert "Ana@x.org" in alike["says"]
    (runs,) = findings(said, "runs")
    assert [run["user_from"] for run in runs["details"]["runs"]] == ["nobody", "run", "run"]
    assert runs["level"] == "warning"


def test_a_package_that_records_the_same_turns_is_a_problem(tmp_path: Path) -> None:
    """The platform's own integration beside ours would record everything twice: say so, and what to remove."""
    info = tmp_path / "maximem_synap_langchain-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: maximem-synap-langchain\nVersion: 1.2\n")
    code, said = doctor("--quick", path=tmp_path)
    (problem,) = findings(said, "double capture")
    assert code == 1
    assert problem["fix"] == "pip uninstall maximem-synap-langchain"


def test_a_framework_that_cannot_be_used_is_a_problem_with_its_reason(tmp_path: Path) -> None:
    """The turn runs in the user's own environment: what breaks it there is found, and the other one still runs."""
    broken = tmp_path / "llama_index" / "core"
    broken.mkdir(parents=True)
    for folder in (broken, broken.parent):
        (folder / "__init__.py").write_text("raise ImportError('a broken installation')\n")
    code, said = doctor(path=tmp_path)
    assert code == 1
    assert "a broken installation" in findings(said, "llamaindex")[0]["says"]
    assert findings(said, "langchain")[0]["level"] == "fine"


@pytest.mark.parametrize(
    ("environ", "about", "words"),
    [
        ({"SYNAP_USERID": "ana"}, "settings", "SYNAP_USER_ID"),
        ({"SYNAP_CAPTURE": "0"}, "capture", "unset SYNAP_CAPTURE"),
        ({"SYNAP_MASK": "no_such_module:mask"}, "mask", "no_such_module"),
    ],
    ids=["a misspelt variable", "capture off", "a mask that is not there"],
)
def test_settings_that_do_not_do_what_they_seem_to_are_warnings(environ, about: str, words: str) -> None:
    """Nobody has to find out from what is missing."""
    _, said = at_a_glance(**environ)
    warnings = [finding for finding in findings(said, about) if finding["level"] == "warning"]
    assert any(words in finding["says"] + finding["fix"] for finding in warnings)


def test_the_bytes_that_would_leave_have_the_mask_applied_and_no_key(tmp_path: Path) -> None:
    """Every request and stream message of a turn is there, addressed to the platform; no raw word, no key."""
    (tmp_path / "privacy.py").write_text(MASK)
    environ = {"SYNAP_API_KEY": KEY, "SYNAP_MASK": "privacy:mask", "SYNAP_BASE_URL": "https://synap.example"}
    code, said = doctor("--bytes", path=tmp_path, **environ)
    assert code == 0
    assert said["leaves"] is True
    text = json.dumps(said)
    assert KEY not in text
    assert "flight leave" not in text
    assert b"flight leave".hex() not in text
    for turn in said["turns"].values():
        requests = [one for one in turn["sent"] if one["over"] == "rest" and "messages" in one["line"]]
        assert [json.loads(one["body"])["content"] for one in requests] == [
            "When does my XXXXXX leave?",
            "Your XXXXXX leaves at 09:40.",
        ]
        assert {one["to"] for one in requests} == {"https://synap.example"}
        messages = [one["message"] for one in turn["sent"] if one["over"] == "stream"]
        assert any('event_type: "tool_call"' in message and "my XXXXXX" in message for message in messages)


def test_what_is_printed_is_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The requests that `--bytes` prints are, line and fields, those that a server receives from such a turn."""
    received, environ = sent_to_a_server()
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    turn = scripted_turn("langchain")
    printed = [(one["line"], sorted(json.loads(one["body"] or "{}"))) for one in turn["sent"] if one["over"] == "rest"]
    # Who we are is asked again while there is no stream, as here.
    assert {line for line, _ in printed} == {line for line, _ in received}
    assert [sent for sent in printed if sent[1]] == [sent for sent in received if sent[1]]
