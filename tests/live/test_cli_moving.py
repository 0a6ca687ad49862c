"""`synap export` and `synap import`: conversations move without loss, as often as one likes."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from dev_server import dev_server

from synap_integrations import Scope, Settings, Synap
from synap_integrations.model import AssistantMessage, Thinking, ToolCall, ToolResult, UserMessage

ANA = Scope("c-42", "ana", customer_id="acme")
THEN = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
HISTORY = [
    {"role": "user", "content": "I moved to Lisbon", "timestamp": THEN.isoformat()},
    {"role": "assistant", "content": "Noted.", "timestamp": THEN.isoformat()},
    {"role": "user", "content": "I moved to Lisbon", "timestamp": THEN.isoformat()},
]


def synap(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    command = [sys.executable, "-m", "synap_integrations.cli", *words]
    return subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, timeout=90, check=False)


def test_a_file_that_cannot_be_read_is_one_line() -> None:
    """One that fails when it is read, as on a broken disk: exit code 2, and nothing is recorded."""
    ended = synap("import", "/proc/self/mem")
    assert ended.returncode == 2
    assert ended.stderr.startswith("synap import: /proc/self/mem cannot be read (")
    assert ended.stderr.count("\n") == 1


def turns_in(storage: Path) -> list[tuple[str, str, str, str, int]]:
    """Customer, user, role, content and time of every turn in an embedded Synap's file, in order."""
    with closing(sqlite3.connect(storage / "integrations" / "v1" / "local.db")) as db:
        asked = "SELECT customer_id, user_id, role, content, said_at FROM owned_turn ORDER BY conversation_id, position"
        return db.execute(asked).fetchall()


def events_in(storage: Path) -> list[tuple[str, str]]:
    """Kind and id of everything else."""
    with closing(sqlite3.connect(storage / "integrations" / "v1" / "local.db")) as db:
        kinds = "('tool_call', 'tool_result', 'agent_thinking')"
        return db.execute(f"SELECT kind, event_id FROM event WHERE kind IN {kinds} ORDER BY id").fetchall()


def test_everything_comes_over_once_however_often(own_storage: Path, tmp_path: Path) -> None:
    """Turns, dates, tools and thoughts are the same elsewhere, also after the same import three times."""
    with Synap() as here:
        here.record(UserMessage("When is my flight?"), scope=ANA, occurred_at=THEN)
        here.record(Thinking("look it up"), scope=ANA)
        here.record(ToolCall("flights", {"query": "my flight"}, "t-1"), scope=ANA)
        here.record(ToolResult("flights", {"found": ["LIS 09:40"]}, "t-1"), scope=ANA)
        here.record(AssistantMessage("At 09:40."), scope=ANA)
        here.record(UserMessage("hi"), scope=Scope("c-43", "ben"))
        assert here.flush(10)
    file, there = tmp_path / "all.jsonl", tmp_path / "there"
    assert synap("export", "--output", str(file)).returncode == 0
    for _ in range(3):
        ended = synap("import", str(file), SYNAP_STORAGE_PATH=str(there))
        assert ended.returncode == 0, ended.stderr
    assert turns_in(there) == turns_in(own_storage)
    assert events_in(there) == events_in(own_storage)
    assert len(events_in(there)) == 3


def test_an_export_can_be_of_one_user(own_storage: Path) -> None:
    """Lines of other users are not in it, and an export of nobody says so with its exit code."""
    with Synap() as here:
        here.record(UserMessage("mine"), scope=ANA)
        here.record(UserMessage("theirs"), scope=Scope("c-43", "ben"))
        assert here.flush(10)
    said = [json.loads(line) for line in synap("export", "--user", "ana", "--customer", "acme").stdout.splitlines()]
    assert {line["user_id"] for line in said} == {"ana"}
    assert "theirs" not in json.dumps(said)
    assert synap("export", "--user", "nobody").returncode == 1


def test_a_history_keeps_its_dates_and_its_repetitions(own_storage: Path, tmp_path: Path) -> None:
    """The same words twice are two turns, the same file twice is one import, a longer file adds what is new."""
    file = tmp_path / "history.jsonl"
    file.write_text("\n".join(map(json.dumps, HISTORY)))
    for _ in range(2):
        assert synap("import", str(file), "--user", "ana").returncode == 0
    micros = int(THEN.timestamp() * 1e6)
    once = [("", "ana", said["role"], said["content"], micros) for said in HISTORY]
    assert turns_in(own_storage) == once
    with file.open("a") as more:
        more.write('\n{"role": "assistant", "content": "You said so.", "timestamp": "2024-05-06T07:08:10Z"}')
    assert synap("import", str(file), "--user", "ana").returncode == 0
    assert [turn[3] for turn in turns_in(own_storage)] == [*(said["content"] for said in HISTORY), "You said so."]


def test_two_files_into_one_conversation_lose_nothing(own_storage: Path, tmp_path: Path) -> None:
    """Turns that stand at the same place of two files are two turns."""
    for name in ("one", "two"):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps([{"role": "user", "content": f"said in {name}"}]))
        assert synap("import", str(file), "--user", "ana", "--conversation", "c-1").returncode == 0
    assert [turn[3] for turn in turns_in(own_storage)] == ["said in one", "said in two"]


def test_a_dry_run_records_nothing(own_storage: Path, tmp_path: Path) -> None:
    """It counts, says what is missing, and leaves the machine as it was."""
    file = tmp_path / "history.jsonl"
    file.write_text('{"role": "user", "content": "hi"}\n{"role": "system", "content": "Be brief."}')
    said = json.loads(synap("import", str(file), "--dry-run", "--json").stdout)
    assert said["events"] == {"UserMessage": 1}
    assert said["skipped"] == {"system messages": 1}
    assert said["outcome"] is None
    assert not own_storage.exists()
    assert "--user" in synap("import", str(file), "--dry-run").stdout


def test_masks_and_switches_apply_to_an_import(own_storage: Path, tmp_path: Path) -> None:
    """What must not be kept is not kept because it is old; with capture off nothing is, and that is an error."""
    file = tmp_path / "history.jsonl"
    file.write_text(json.dumps(HISTORY[0]))
    assert synap("import", str(file), "--user", "ana", SYNAP_HIDE_INPUTS="1").returncode == 0
    assert [turn[3] for turn in turns_in(own_storage)] == ["[hidden]"]
    ended = synap("import", str(file), SYNAP_CAPTURE="0")
    assert ended.returncode == 2
    assert "SYNAP_CAPTURE" in ended.stderr


def test_an_import_goes_to_the_platform_of_the_settings(tmp_path: Path) -> None:
    """With a server it goes there, once; without one that answers it waits, and the exit code says so."""
    file = tmp_path / "history.jsonl"
    file.write_text("\n".join(map(json.dumps, HISTORY)))
    words = ("import", str(file), "--user", "ana", "--conversation", "chat")
    with dev_server(tmp_path / "dev.db") as server:
        for _ in range(2):
            assert synap(*words, **server.environment).returncode == 0
        shown = json.loads(synap("show", "chat", "--json", "--db", str(tmp_path / "dev.db")).stdout)
        said = [entry["content"] for entry in shown["entries"] if entry["kind"] == "turn"]
        assert said == [turn["content"] for turn in HISTORY]
    ended = synap(*words, "--timeout", "1", "--json", **server.environment)
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["outcome"]["waiting"] == 3


def test_a_thousand_turns_are_imported_in_seconds(own_storage: Path, tmp_path: Path) -> None:
    """A long history is one command, and arrives in order."""
    file = tmp_path / "long.jsonl"
    roles = ("user", "assistant")
    file.write_text("\n".join(json.dumps({"role": roles[n % 2], "content": f"turn {n}"}) for n in range(1500)))
    assert synap("import", str(file), "--user", "ana").returncode == 0
    assert [turn[3] for turn in turns_in(own_storage)] == [f"turn {n}" for n in range(1500)]
    assert Settings.read().root.exists()
