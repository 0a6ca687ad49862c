"""`synap push` against a real `synap dev`: everything arrives once, in order, whatever happens on the way."""

import json
import os
import pty
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dev_server import dev_server

from synap_integrations.server.database import Database
from synap_integrations.server.documents.intake import Intakes, Offered
from synap_integrations.server.documents.pieces import Piece
from synap_integrations.server.engine import Engine
from synap_integrations.server.inspector.queries import Reading
from synap_integrations.server.records import Happening, NewTurn, Owner

ANA, MATEO = Owner("acme", "ana"), Owner("", "mateo")
LONG_AGO = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def a_store(path: Path, *, turns: int = 40) -> Path:
    """Two users' conversations, a tool call and its result, reasoning, and a document."""
    engine = Engine(Database(path))
    for number in range(turns):
        for owner in (ANA, MATEO):
            engine.record(
                NewTurn(
                    owner=owner,
                    conversation_id="7c1f8f0e-2a55-4c0e-9f0b-5a9d0a6e51d7" if owner == ANA else "support/ü",
                    role="user" if number % 2 == 0 else "assistant",
                    content=f"{owner.user_id} says thing number {number}",
                    event_id=f"{owner.user_id}-{number}",
                    said_at=LONG_AGO + timedelta(minutes=number),
                    metadata={"channel": "web"},
                )
            )
        if number == 3:
            called = {"tool_name": "kiln", "tool_args_json": '{"heat":3}', "tool_call_id": "c1", "role": "assistant"}
            came = {"tool_name": "kiln", "tool_result_json": '["hot"]', "tool_call_id": "c1", "role": "tool"}
            for kind, body in (("tool_call", called), ("tool_result", came), ("agent_thinking", {"content": "Hm."})):
                chat = "7c1f8f0e-2a55-4c0e-9f0b-5a9d0a6e51d7"
                engine.keep(Happening(owner=ANA, kind=kind, conversation_id=chat, event_id=f"e-{kind}", body=body))
    pieces = [Piece("document", "Glazes need copper."), Piece("document", "Copper turns green.")]
    Intakes(engine).take(Offered(owner=Owner("acme", ""), kind="document", name="glazes", pieces=pieces, metadata={}))
    engine.close()
    return path


def held(path: str | Path) -> dict:
    """What a store holds, by conversation, without what each store gives out itself."""
    database = Database(Path(path))
    reading = Reading(database)
    found = {}
    for chat in reading.chats(limit=-1):
        turns = [numbered.turn for numbered in reading.turns(chat, first=1, last=1 << 62)]
        events = reading.events(chat, start_us=0, end_us=1 << 62)
        name = chat.own_name or chat.conversation_id
        found[chat.owner, name] = (
            [(turn.role, turn.content, turn.metadata.get("channel")) for turn in turns],
            [turn.said_at for turn in turns if turn.role != "document"],
            [(event.kind, event.event_id, event.body.get("tool_args_json")) for event in events],
        )
    database.close()
    return found


def push(source: Path, server, home: Path, *options: str, wait: bool = True, stderr: int = subprocess.PIPE):
    """Start `synap push`; wait for its end unless told otherwise."""
    command = [
        sys.executable,
        "-m",
        "synap_integrations.cli",
        "push",
        "--db",
        str(source),
        "--to",
        server.url,
        *options,
    ]
    environment = os.environ | {
        "SYNAP_API_KEY": server.key,
        "SYNAP_GRPC_PORT": str(server.grpc_port),
        "SYNAP_STORAGE_PATH": str(home),
    }
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)
    if not wait:
        return process
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_everything_arrives_once_with_its_time_and_its_id(tmp_path) -> None:
    """Turns, tools, reasoning and documents are there as they were; a second push adds only what is new."""
    source = a_store(tmp_path / "mine.db")
    with dev_server(tmp_path / "theirs.db") as server:
        code, out, err = push(source, server, tmp_path / "home", "--json")
        assert (code, err) == (0, "")
        assert json.loads(out) == {
            "to": server.url,
            "turns": 80,
            "events": 3,
            "documents": 1,
            "before": 0,
            "refused": [],
        }
        assert held(server.file) == held(source)
        # Another machine's notes know nothing: the ids alone keep it from being there twice.
        code, out, _ = push(source, server, tmp_path / "another home", "--json")
        assert (code, json.loads(out)["turns"]) == (0, 80)
        assert held(server.file) == held(source)
        engine = Engine(Database(source))
        engine.record(NewTurn(owner=MATEO, conversation_id="support/ü", role="user", content="One more thing"))
        engine.close()
        code, out, _ = push(source, server, tmp_path / "home")
        assert (code, out) == (0, f"pushed 1 turn, 0 events, 0 documents to {server.url}; 84 were there already\n")
        assert held(server.file)[MATEO, "support/ü"] == held(source)[MATEO, "support/ü"]


def test_a_push_that_is_killed_goes_on_and_loses_and_doubles_nothing(tmp_path) -> None:
    """Killed with -9 again and again at different moments, the next one ends with exactly what is here."""
    source = a_store(tmp_path / "mine.db", turns=120)
    seen = []
    with dev_server(tmp_path / "theirs.db") as server:
        for kill in range(4):
            process = push(source, server, tmp_path / "home", wait=False)
            deadline = time.monotonic() + 20
            goal = 40 * (kill + 1)
            while (count := turns_in(server.file)) < goal and process.poll() is None:
                assert time.monotonic() < deadline, f"{count} turns of {goal}"
                time.sleep(0.005)
            process.kill()
            process.communicate()
            seen.append(turns_in(server.file))
        assert all(goal <= count < 240 for goal, count in zip((40, 80, 120, 160), seen, strict=True)), seen
        code, out, err = push(source, server, tmp_path / "home", "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)["before"] >= seen[-1] - 40
        assert held(server.file) == held(source)


def turns_in(path: str | Path) -> int:
    """How many turns a store holds now."""
    database = Database(Path(path))
    try:
        return Engine(database).stats()["turns"]
    finally:
        database.close()


def test_a_server_that_goes_away_leaves_a_push_that_can_be_repeated(tmp_path) -> None:
    """One line says what happened; after the server is back, the rest is sent."""
    source = a_store(tmp_path / "mine.db", turns=100)
    with dev_server(tmp_path / "theirs.db") as server:
        process = push(source, server, tmp_path / "home", wait=False)
        while turns_in(server.file) < 50:
            time.sleep(0.005)
        server.kill()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert err.startswith("synap push: ")
        assert "Traceback" not in err
    with dev_server(tmp_path / "theirs.db") as server:
        code, _, _ = push(source, server, tmp_path / "home")
        assert code == 0
        assert held(server.file) == held(source)


def test_in_a_terminal_a_bar_shows_how_far_it_is(tmp_path) -> None:
    """The bar goes to its end on stderr; the result is on stdout."""
    source = a_store(tmp_path / "mine.db")
    with dev_server(tmp_path / "theirs.db") as server:
        ours, theirs = pty.openpty()
        process = push(source, server, tmp_path / "home", wait=False, stderr=theirs)
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # the other end of a terminal that is gone cannot be read
            while part := os.read(ours, 4096):
                shown += part
        os.close(ours)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert b"pushing" in shown
        assert b"100%" in shown
        assert out.startswith("pushed 80 turns, 3 events, 1 document")


def test_a_dry_run_counts_and_sends_nothing(tmp_path) -> None:
    """What would be pushed is said, and the server has heard of nothing."""
    source = a_store(tmp_path / "mine.db")
    with dev_server(tmp_path / "theirs.db") as server:
        code, out, _ = push(source, server, tmp_path / "home", "--dry-run")
        assert code == 0
        assert out == f"would push 80 turns, 3 events, 1 document of 3 conversations to {server.url}\n"
        assert turns_in(server.file) == 0


def test_what_the_server_refuses_for_good_is_told(tmp_path) -> None:
    """Another document of the same name is there: the answer is no, with the reason, and the rest has arrived."""
    source = a_store(tmp_path / "mine.db")
    with dev_server(tmp_path / "theirs.db") as server:
        body = {
            "document": "Something else",
            "document_type": "document",
            "document_id": "glazes",
            "customer_id": "acme",
        }
        assert server.post("/api/v1/memories/create", body)[0] == 200
        code, out, _ = push(source, server, tmp_path / "home")
        assert code == 1
        assert "pushed 80 turns, 3 events, 0 documents" in out
        assert "there is something else under the name 'glazes'" in out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ((), "there is nowhere to push to"),
        (("--to", "local"), "there is nowhere to push to"),
        (("--to", "http://127.0.0.1:9", "--db", "nothing.db"), "nothing.db is not there"),
    ],
    ids=["no-target", "to-itself", "no-file"],
)
def test_what_cannot_be_done_is_one_line(tmp_path, options, complaint) -> None:
    """The line says what is missing and how to name it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SYNAP_")}
    done = subprocess.run(
        [sys.executable, "-m", "synap_integrations.cli", "push", *options],
        env=environment | {"SYNAP_STORAGE_PATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
