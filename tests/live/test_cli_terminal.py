"""Every command around the main job, on a terminal: colours, prompts, Ctrl-C and little room."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from terminal_session import Terminal

from synap_integrations import Scope, Settings, Synap
from synap_integrations.model import AssistantMessage, Envelope, ToolCall, ToolResult, UserMessage
from synap_integrations.outbox import SqliteOutbox

ANA = Scope("c-42", "ana")
LONG = "I moved to Lisbon, and this sentence is long enough to need a second line wherever there is little room for it."
ATTACK = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202egnp.exe"


@pytest.fixture
def remembered() -> None:
    """Two conversations in the embedded Synap."""
    with Synap() as synap:
        synap.record(UserMessage(LONG), scope=ANA)
        synap.record(ToolCall("flights", {"query": "my flight"}, "t-1"), scope=ANA)
        synap.record(ToolResult("flights", "LIS 09:40", "t-1"), scope=ANA)
        synap.record(AssistantMessage("At 09:40. 🎉 日本語"), scope=ANA)
        synap.record(UserMessage(ATTACK), scope=Scope("c-43", "ben", customer_id="acme"))
        assert synap.flush(10)


@pytest.fixture
def waiting() -> list[Envelope]:
    """Four turns that wait in the outbox of a process that has ended, and a dead letter."""
    outbox = SqliteOutbox(Settings.read().root / "local-nokey")
    envelopes = [Envelope.seal(ANA, UserMessage(f"waiting turn {n}")) for n in range(5)]
    for envelope in envelopes:
        outbox.append(envelope)
    outbox.bury(envelopes[1].event_id, "422: too long")
    outbox.close()
    return envelopes


def plain(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The same command without a terminal."""
    command = [sys.executable, "-m", "synap_integrations.cli", *words]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=90, check=False)


# --- show --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [34, 60, 120])
def test_a_conversation_is_shown_in_any_width(remembered, width: int) -> None:
    """Who speaks has a colour, no word is lost or cut off, and no line is broken by the terminal."""
    with Terminal("show", "c-42", width=width) as terminal:
        assert terminal.code() == 0
        assert terminal.colour_of("user") == "cyan"
        assert terminal.colour_of("assistant") == "green"
        words = " ".join(terminal.text.split())
        assert LONG in words
        assert 'flights({"query":"my flight"})' in words
        assert "At 09:40. 🎉" in words
        assert all(len(line) <= width for line in terminal.lines)


def test_what_somebody_said_cannot_command_the_terminal(remembered) -> None:
    """No escape sequence, C1 control or mark of direction of a stored text reaches the terminal, or a pipe."""
    with Terminal("show", "c-43") as terminal:
        assert terminal.code() == 0
        assert "␛]0;owned␇␛[31mred" in terminal.text
        assert terminal.colour_of("owned") == "default"
        for said in (terminal.raw, plain("show", "c-43").stdout, plain("show", "c-43", "--json").stdout):
            assert not {"\x1b]", "\x07", "\x9b", "\u202e"} & {
                said[n : n + size] for n in range(len(said)) for size in (1, 2)
            }


def test_a_pipe_gets_plain_text(remembered) -> None:
    """Without a terminal there is no escape sequence, and each turn begins on a line of its own."""
    said = plain("show", "c-42").stdout
    assert "\x1b" not in said
    assert any(LONG in line for line in said.splitlines())


# --- tail --------------------------------------------------------------------------------------------------------


def test_what_is_said_appears_at_once_and_ctrl_c_ends_it(remembered) -> None:
    """`synap tail` shows what was there, then what comes in, in colour; Ctrl-C ends it with 130 and no traceback."""
    with Terminal("tail", "--kind", "user", "--kind", "assistant") as terminal:
        terminal.until("At 09:40.")
        assert "flights" not in terminal.text
        with Synap() as synap:
            synap.record(UserMessage("And when do I land?"), scope=ANA)
            assert synap.flush(10)
        terminal.until("And when do I land?")
        assert terminal.colour_of("user") == "cyan"
        terminal.type("\x03")
        assert terminal.code() == 130
        assert "Traceback" not in terminal.text


def test_tail_waits_for_the_first_turn() -> None:
    """Started before the application, it says that it waits, and shows what comes."""
    with Terminal("tail") as terminal:
        terminal.until("waiting for it")
        with Synap() as synap:
            synap.record(UserMessage("the very first"), scope=ANA)
            assert synap.flush(10)
        terminal.until("the very first")


def test_tail_ends_when_its_reader_goes(remembered) -> None:
    """`synap tail --json | head -1` gives one object and ends."""
    pipe = f"{sys.executable} -m synap_integrations.cli tail --json --no-follow | head -1"
    ended = subprocess.run(["/bin/sh", "-c", pipe], capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(ended.stdout)["user_id"] == "ana"
    assert ended.stderr == ""


# --- outbox ------------------------------------------------------------------------------------------------------


def test_what_waits_is_listed_and_dropped_only_after_a_yes(waiting) -> None:
    """`ls` tells dead from waiting by colour; `drop` asks, a no changes nothing, a yes drops what was meant."""
    with Terminal("outbox", "ls") as terminal:
        assert terminal.code() == 0
        assert terminal.colour_of("dead") == "red"
        assert "422: too long" in terminal.text
    for answer, code, left in (("n\r", 1, 1), ("y\r", 0, 0)):
        with Terminal("outbox", "drop", "--dead") as terminal:
            terminal.until("Drop 1 dead letter")
            terminal.type(answer)
            assert terminal.code() == code
        rows = [json.loads(line) for line in plain("outbox", "ls", "--json").stdout.splitlines()]
        assert [row["state"] for row in rows].count("dead") == left
        assert [row["state"] for row in rows].count("waiting") == 4


def test_ctrl_c_at_a_question_is_a_no(waiting) -> None:
    """Nothing is dropped, and the exit code says that it was interrupted."""
    with Terminal("outbox", "drop", "--waiting", "--dead") as terminal:
        terminal.until("for good?")
        terminal.type("\x03")
        assert terminal.code() == 130
    assert len(plain("outbox", "ls", "--json").stdout.splitlines()) == 5


def test_what_was_left_behind_is_delivered_with_its_dead_letters_retried(waiting) -> None:
    """`retry` and `flush` bring all of it to the platform, in the order in which it was said."""
    with Terminal("outbox", "retry", waiting[1].event_id[-12:]) as terminal:
        assert terminal.code() == 0
        assert "5 delivered" in terminal.text
    with Terminal("outbox", "flush") as terminal:
        assert terminal.code() == 0
    said = json.loads(plain("show", "c-42", "--json").stdout)["entries"]
    assert [entry["content"] for entry in said if entry["kind"] == "turn"] == [f"waiting turn {n}" for n in range(5)]


# --- forget ------------------------------------------------------------------------------------------------------


def test_somebody_is_forgotten_after_a_yes_and_nobody_else(remembered, waiting) -> None:
    """The counts are shown first, a no forgets nothing, a yes all of it, and the receipt says where."""
    with Terminal("forget", "--user", "ana") as terminal:
        terminal.until("for good?")
        assert "4 waiting, 1 dead letter" in terminal.text
        terminal.type("\r")
        assert terminal.code() == 1
    assert plain("show", "c-42").returncode == 0
    with Terminal("forget", "--user", "ana", width=70) as terminal:
        terminal.until("for good?")
        terminal.type("y\r")
        assert terminal.code() == 0
        assert terminal.colour_of("forgotten") == "green"
    assert plain("show", "c-42").returncode == 1
    assert plain("show", "c-43").returncode == 0
    root = Settings.read().root
    assert not [path for path in root.rglob("*") if path.is_file() and b"Lisbon" in path.read_bytes()]
    assert not [path for path in root.rglob("*") if path.is_file() and b"waiting turn" in path.read_bytes()]


def test_without_a_terminal_nothing_is_forgotten_by_a_slip(remembered) -> None:
    """Nobody to ask and no --yes: an error, and everything stays."""
    ended = plain("forget", "--user", "ana")
    assert ended.returncode == 2
    assert "--yes" in ended.stderr
    assert plain("show", "c-42").returncode == 0


# --- export, import, doctor --------------------------------------------------------------------------------------


def test_export_and_import_on_a_terminal(remembered, tmp_path) -> None:
    """What is exported can be imported elsewhere; the counts are said, a file that is there is never overwritten."""
    file = tmp_path / "everything.jsonl"
    with Terminal("export", "--output", str(file)) as terminal:
        assert terminal.code() == 0
        assert "entries to" in terminal.text
    assert file.stat().st_mode & 0o777 == 0o600
    assert plain("export", "--output", str(file)).returncode == 2
    with Terminal("import", str(file), SYNAP_STORAGE_PATH=str(tmp_path / "elsewhere"), width=50) as terminal:
        assert terminal.code() == 0
        assert terminal.colour_of("delivered") == "green"
        assert "3 turns and 2 other events" in " ".join(terminal.text.split())


def test_the_doctor_on_a_terminal(remembered) -> None:
    """Each finding has its colour; where all is fine, the last line says so."""
    with Terminal("doctor", "--quick", width=80, SYNAP_MAKS="typo") as terminal:
        assert terminal.code() == 0
        assert terminal.colour_of("fine") == "green"
        assert terminal.colour_of("warning") == "brown"
        assert "SYNAP_MASK" in terminal.text
        assert re.search(r"No problem, \d warnings?", terminal.text)


def test_completion_knows_the_commands() -> None:
    """A shell that asks what may follow `synap out` and `synap outbox f` gets the answer."""
    for words, place, wanted in (("synap out", "1", "outbox"), ("synap outbox f", "2", "flush")):
        asked = {"_SYNAP_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": place}
        code = "from synap_integrations.cli.table import synap; synap(prog_name='synap')"
        out = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | asked,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert wanted in out.stdout


def test_sigterm_ends_tail() -> None:
    """A supervisor that stops it is obeyed at once."""
    process = subprocess.Popen([sys.executable, "-m", "synap_integrations.cli", "tail"], stderr=subprocess.PIPE)
    assert process.stderr.readline()
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(10)
    process.stderr.close()
    assert time.monotonic() - started < 5
