"""`synap status`: what this machine holds, read without disturbing whoever is at work."""

import json
from pathlib import Path
from typing import Any

import pytest

from synap_integrations import Scope, Settings, Synap
from synap_integrations.cli import main
from synap_integrations.model import Envelope, UserMessage
from synap_integrations.outbox import SqliteOutbox

ANA = Scope("c-1", "ana")


@pytest.fixture
def root() -> Path:
    """The folder of everything of ours, in this test's storage."""
    return Settings.read().root


@pytest.fixture
def status(capsys: pytest.CaptureFixture[str]):
    """What `synap status --json` says."""

    def read() -> dict[str, Any]:
        assert main(["status", "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return read


def filled(folder: Path, turns: int) -> tuple[SqliteOutbox, list[Envelope]]:
    """An outbox of this process in which turns wait."""
    outbox = SqliteOutbox(folder)
    envelopes = [Envelope.seal(ANA, UserMessage(f"turn {n}")) for n in range(turns)]
    for envelope in envelopes:
        outbox.append(envelope)
    return outbox, envelopes


def test_a_machine_that_never_ran_synap_holds_nothing(status, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is there, and looking makes nothing."""
    found = status()
    assert (found["outboxes"], found["embedded"], found["platform"]) == ([], None, "embedded")
    assert main(["status"]) == 0
    assert "nothing waits" in capsys.readouterr().out
    assert not root.exists()


def test_what_waits_is_seen_while_its_process_works(status, root: Path) -> None:
    """Waiting turns and dead letters of a live outbox are counted, and the outbox notices nothing."""
    outbox, envelopes = filled(root / "cloud-0123abcd", 20)
    outbox.bury(envelopes[0].event_id, "refused")
    (box,) = status()["outboxes"]
    assert (box["files"], box["in_use"], box["waiting"], box["dead_letters"]) == (1, 1, 19, 1)
    assert box["oldest"] == envelopes[1].occurred_at.isoformat(timespec="seconds")
    outbox.append(Envelope.seal(ANA, UserMessage("one more")))
    outbox.acknowledge([envelopes[1].event_id])
    assert outbox.counts().waiting == status()["outboxes"][0]["waiting"] == 19
    outbox.close()


def test_what_a_process_left_behind_is_seen(status, root: Path) -> None:
    """After its process has gone, an outbox is in use by nobody, and still waits."""
    outbox, _ = filled(root / "local-nokey", 3)
    outbox.close()
    (box,) = status()["outboxes"]
    assert (box["in_use"], box["waiting"]) == (0, 3)
    again, _ = filled(root / "local-nokey", 0)
    assert again.has_orphans()
    again.close()


def test_a_file_that_is_no_outbox_is_named(status, root: Path) -> None:
    """What cannot be read is said, not skipped and not repaired."""
    folder = root / "local-nokey"
    folder.mkdir(parents=True)
    (folder / "ob-1-2-3.db").write_bytes(b"no database at all, but long enough to be looked into" * 40)
    (box,) = status()["outboxes"]
    assert box["unreadable"] == ["ob-1-2-3.db"]
    assert [path.name for path in folder.iterdir()] == ["ob-1-2-3.db"]


def test_what_the_embedded_synap_remembers_is_counted(status, capsys: pytest.CaptureFixture[str]) -> None:
    """Turns, conversations and users of the embedded Synap, also while it is open."""
    with Synap() as synap:
        synap.record(UserMessage("hi"), scope=ANA)
        synap.record(UserMessage("hello"), scope=Scope("c-2", "ben"))
        assert synap.flush(10)
        found = status()["embedded"]
        assert (found["turns"], found["conversations"], found["users"]) == (2, 2, 2)
    assert main(["status"]) == 0
    assert "2 turns in 2 conversations of 2 users" in capsys.readouterr().out


def test_capture_that_is_switched_off_is_shown(status, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wonders why nothing arrives sees it here."""
    monkeypatch.setenv("SYNAP_CAPTURE", "0")
    assert status()["capture"] is False
