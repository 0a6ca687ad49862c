"""What the commands say of turns that are sealed with a key: with it everything, without it how many and what to do."""

import base64
import json
from pathlib import Path

import pytest

from synap_integrations import Scope, Settings
from synap_integrations.cli import main
from synap_integrations.model import Envelope, UserMessage
from synap_integrations.outbox import SqliteOutbox
from synap_integrations.outbox.sealing import Sealing
from synap_integrations.runtime.erasure import Erasure

KEY, OTHER = (base64.b64encode(bytes([number]) * 32).decode() for number in (3, 4))


@pytest.fixture(autouse=True)
def left_behind(monkeypatch) -> Path:
    """Two turns of an ended process, sealed with a key that is not in the environment."""
    settings = Settings.read({"SYNAP_OUTBOX_KEY": KEY, "SYNAP_STORAGE_PATH": str(Settings.read().storage_path)})
    folder = settings.root / "local-nokey"
    outbox = SqliteOutbox(folder, capture_wait_s=30, sealing=Sealing.of(settings))
    for number in range(2):
        outbox.append(Envelope.seal(Scope("c-1", "ana"), UserMessage(f"turn {number}")))
    outbox.close()
    monkeypatch.setenv("SYNAP_OUTBOX_KEY", OTHER)
    return folder


def said(capsys, *words: str) -> str:
    """What a command prints, wherever."""
    main(list(words))
    printed = capsys.readouterr()
    return printed.out + printed.err


def test_without_the_key_they_are_counted_and_the_fix_is_named(capsys) -> None:
    """`status`, `outbox ls` and `doctor` agree, and show no word of them."""
    status = said(capsys, "status")
    listed = said(capsys, "outbox", "ls")
    doctor = said(capsys, "doctor")
    assert "2 of them are sealed with a key that SYNAP_OUTBOX_KEY does not name" in " ".join(status.split())
    assert listed.count("sealed with the key") == 2
    assert "export SYNAP_OUTBOX_KEY=<the present key>,<that key>" in doctor
    assert not any(word in status + listed + doctor for word in ("turn 0", "ana", KEY, OTHER))
    assert json.loads(said(capsys, "status", "--json"))["outboxes"][0]["locked"] == 2


def test_with_the_key_they_are_shown_as_any_other(capsys, monkeypatch) -> None:
    """By user, in full; and nothing is locked."""
    monkeypatch.setenv("SYNAP_OUTBOX_KEY", f"{OTHER},{KEY}")
    found = [json.loads(line) for line in said(capsys, "outbox", "export", "--user", "ana").splitlines()]
    assert [(row["event"]["content"], row["intact"], row["locked"]) for row in found] == [
        ("turn 0", True, False),
        ("turn 1", True, False),
    ]
    assert json.loads(said(capsys, "status", "--json"))["outboxes"][0]["locked"] == 0


def test_who_asks_for_a_user_is_told_what_could_not_be_looked_at(capsys) -> None:
    """A filter by user does not pass locked turns over in silence."""
    assert "2 are sealed with a key" in said(capsys, "outbox", "ls", "--user", "ana")


def test_a_flush_leaves_them_and_says_why(capsys, left_behind) -> None:
    """Nothing of them is delivered; they still wait, and the reason stands beside the number."""
    assert main(["outbox", "flush", "--timeout", "5"]) == 1
    printed = capsys.readouterr().out
    assert "2 still wait (sealed with a key that SYNAP_OUTBOX_KEY does not name)" in " ".join(printed.split())
    assert len(list(left_behind.glob("ob-*.db"))) == 1


def test_they_move_between_keys_of_the_platform_and_can_be_dropped_without_being_read(capsys, left_behind) -> None:
    """`reassign` and `drop` need no key of ours."""
    assert main(["reassign", "local-nokey", "cloud-0123abcd"]) == 0
    assert main(["outbox", "drop", "--waiting", "--yes"]) == 0
    assert "2 of 2 dropped" in capsys.readouterr().out


def test_forgetting_says_that_it_could_not_look_into_them(left_behind) -> None:
    """The receipt names the folder, the reason and the fix; with the key, nothing of it comes back."""
    settings = Settings.read()
    (reached,) = [place for place in Erasure(settings, Scope(None, "ana")).run() if "local-nokey" in place.place]
    assert (reached.outcome, "SYNAP_OUTBOX_KEY" in reached.fix) == ("not reached", True)
    places = Erasure(Settings.read(outbox_key=f"{OTHER},{KEY}"), Scope(None, "ana")).run()
    assert not any(place.outcome == "not reached" for place in places)
    assert not list(left_behind.glob("ob-*.db"))


def test_settings_show_that_there_are_keys_and_never_the_keys(capsys, monkeypatch) -> None:
    """Fingerprints only, as rows and log lines name them."""
    monkeypatch.setenv("SYNAP_OUTBOX_KEY", f"{OTHER},{KEY}")
    printed = said(capsys, "settings")
    keys = Settings.read().outbox_key
    assert all(key.fingerprint() in printed for key in keys)
    assert KEY not in printed
    assert OTHER not in printed
