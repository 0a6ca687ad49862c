"""`synap reassign`: turns of one key are given to another, in order, and never those of a living process."""

import json

import pytest

from synap_integrations.cli import main
from synap_integrations.model import Envelope, Scope, UserMessage
from synap_integrations.outbox import SqliteOutbox
from synap_integrations.settings import Settings


def outbox_of(owner: str) -> SqliteOutbox:
    """The outbox of a key."""
    return SqliteOutbox(Settings.read().root / owner, capture_wait_s=30)


def keep(owner: str, *texts: str) -> SqliteOutbox:
    """Turns that wait there."""
    outbox = outbox_of(owner)
    for text in texts:
        outbox.append(Envelope.seal(Scope("c", "ana"), UserMessage(text)))
    return outbox


def test_what_waits_moves_and_is_adopted_in_order(capsys) -> None:
    """Two processes captured without a key; the next one with a key delivers their turns first."""
    for text in ("one", "two"):
        keep("cloud-nokey", text).close()
    assert main(["reassign", "cloud-nokey", "cloud-1a2b"]) == 0
    assert capsys.readouterr().out == "moved 2 files from cloud-nokey to cloud-1a2b\n"
    outbox = keep("cloud-1a2b", "three")
    while outbox.adopt():
        pass
    assert [envelope.event.content for envelope in outbox.claim(10)] == ["one", "two", "three"]
    assert not list((Settings.read().root / "cloud-nokey").iterdir())
    outbox.close()


def test_a_file_in_use_stays(capsys) -> None:
    """Exit code 1 says so; nothing of it is touched."""
    outbox = keep("cloud-nokey", "ours")
    assert main(["reassign", "cloud-nokey", "cloud-1a2b", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"moved": 0, "in_use": 1}
    assert [envelope.event.content for envelope in outbox.claim(10)] == ["ours"]
    outbox.close()


@pytest.mark.parametrize(
    ("source", "target"), [("../etc", "cloud-1"), ("cloud-1", ".."), ("nowhere", "cloud-1"), ("cloud-1", "cloud-1")]
)
def test_a_folder_that_is_none_is_named(source, target, capsys) -> None:
    """One line, exit code 2, and nothing is made."""
    assert main(["reassign", source, target]) == 2
    assert capsys.readouterr().err.startswith("synap reassign: ")
    assert not (Settings.read().root / "nowhere").exists()
