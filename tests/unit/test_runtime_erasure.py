"""Forgetting somebody everywhere: nothing of theirs is left, others keep theirs, and what was not reached is said."""

import subprocess
import sys
from pathlib import Path

import pytest
from dev_server import dev_server

from synap_integrations import Scope, Settings, Synap
from synap_integrations.errors import InvalidInputError
from synap_integrations.model import Envelope, UserMessage
from synap_integrations.outbox import SqliteOutbox
from synap_integrations.outbox.operations import all_stored_rows
from synap_integrations.runtime.erasure import Erasure, Reached

ANA, BEN = Scope("c-1", "ana"), Scope("c-2", "ben")
CANARY = "canary-77b1"
HOLDS_A_FILE = """
import sys
from synap_integrations import Scope, Settings
from synap_integrations.model import Envelope, UserMessage
from synap_integrations.outbox import SqliteOutbox

outbox = SqliteOutbox(Settings.read().root / "local-nokey")
outbox.append(Envelope.seal(Scope("c-1", "ana"), UserMessage("held")))
print("ready", flush=True)
sys.stdin.read()
"""


def remembered(*said: tuple[Scope, str]) -> None:
    """Turns in the embedded Synap."""
    with Synap() as synap:
        for scope, text in said:
            synap.record(UserMessage(text), scope=scope)
        assert synap.flush(10)


def waiting(folder: str, *said: tuple[Scope, str]) -> None:
    """Turns that wait in the outbox of a process that has ended."""
    outbox = SqliteOutbox(Settings.read().root / folder)
    for scope, text in said:
        outbox.append(Envelope.seal(scope, UserMessage(text)))
    outbox.close()


def forgotten(scope: Scope) -> list[Reached]:
    """The receipt of forgetting."""
    return Erasure(Settings.read(), scope).run()


def files_with(text: str) -> list[Path]:
    """Files below our folder that hold the text."""
    return [path for path in Settings.read().root.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_no_byte_is_left_anywhere_and_others_keep_everything() -> None:
    """Outboxes of all platforms and the memory: the user's words are in no file, the other user's wait and stay."""
    remembered((ANA, f"{CANARY} remembered"), (BEN, "ben remembered"))
    for folder in ("local-nokey", "local-0123abcd"):
        waiting(folder, (ANA, f"{CANARY} waits"), (BEN, "ben waits"))
    assert files_with(CANARY)
    receipt = forgotten(Scope(None, "ana"))
    assert {reached.outcome for reached in receipt} == {"forgotten"}
    assert files_with(CANARY) == []
    rows, _ = all_stored_rows(Settings.read().root)
    assert [row.text for row in rows] == ["ben waits", "ben waits"]
    assert files_with("ben remembered")
    assert {reached.outcome for reached in forgotten(Scope(None, "ana"))} == {"nothing there"}


@pytest.mark.parametrize("kept_in", ["memory", "outbox"])
def test_two_people_with_one_id_are_never_both_forgotten_by_a_slip(kept_in: str) -> None:
    """The same user id at two customers: nothing is done until the customer is named, and then only there."""
    keep = remembered if kept_in == "memory" else lambda *said: waiting("local-nokey", *said)
    acme, globex = (Scope(f"c-{name}", "ana", customer_id=name) for name in ("acme", "globex"))
    keep((acme, "of acme"), (globex, "of globex"))
    with pytest.raises(InvalidInputError, match="acme, globex"):
        Erasure(Settings.read(), Scope(None, "ana"))
    forgotten(Scope("c-acme", "ana"))
    assert (files_with("of acme"), bool(files_with("of globex"))) == ([], True)
    keep((acme, "of acme"))
    forgotten(Scope(None, "ana", customer_id="acme"))
    assert files_with("of acme") == []
    assert files_with("of globex")


def test_one_conversation_or_a_whole_customer_can_be_forgotten() -> None:
    """A conversation goes alone; a customer goes with all users."""
    acme = [Scope(f"c-{user}", user, customer_id="acme") for user in ("ana", "ben")]
    remembered((acme[0], "said-in-one"), (acme[1], "said-in-two"), (Scope("c-9", "cat"), "said-in-three"))
    forgotten(Scope("c-ana"))
    assert (files_with("said-in-one"), bool(files_with("said-in-two"))) == ([], True)
    forgotten(Scope(customer_id="acme"))
    assert (files_with("said-in-two"), bool(files_with("said-in-three"))) == ([], True)


def test_a_conversation_of_two_users_needs_the_user() -> None:
    """The application's name for a conversation may be used for several users."""
    remembered((Scope("main", "ana"), "said-in-one"), (Scope("main", "ben"), "said-in-two"))
    with pytest.raises(InvalidInputError, match="--user"):
        Erasure(Settings.read(), Scope("main"))
    forgotten(Scope("main", "ana"))
    assert (files_with("said-in-one"), bool(files_with("said-in-two"))) == ([], True)


def test_nobody_named_is_nobody_forgotten() -> None:
    """An empty scope is an error, not everybody."""
    with pytest.raises(InvalidInputError, match="whom"):
        Erasure(Settings.read(), Scope())


def test_a_preview_counts_and_changes_nothing() -> None:
    """The counts are those of the places, and everything is still there."""
    remembered((ANA, "remembered"))
    waiting("local-nokey", (ANA, "waits"), (BEN, "other"))
    found = Erasure(Settings.read(), Scope(None, "ana")).preview()
    assert found["outboxes"] == {"waiting": 1, "dead letters": 0}
    assert found["memory"]["turns"] == 1
    assert files_with("waits")


def test_a_file_of_a_running_process_is_named_with_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be opened is not reached; the receipt says which process to end, and then all of it goes."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS_A_FILE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    (reached,) = [one for one in forgotten(Scope(None, "ana")) if one.place == "outbox local-nokey"]
    assert reached.outcome == "not reached"
    assert f"process {process.pid}" in reached.why
    process.kill()
    process.communicate()
    forgotten(Scope(None, "ana"))
    assert all_stored_rows(Settings.read().root)[0] == []


def test_a_damaged_file_that_was_kept_is_not_reached() -> None:
    """Nobody can tell whose words are in it: it is named, with what to do."""
    waiting("local-nokey", (BEN, "other"))
    (Settings.read().root / "local-nokey" / "ob-1-2-3.corrupt").write_bytes(b"?")
    (aside,) = [one for one in forgotten(Scope(None, "ana")) if one.outcome == "not reached"]
    assert aside.place.endswith("ob-1-2-3.corrupt")


def test_the_platform_is_asked_and_what_it_does_not_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server forgets the user; one that is down is not reached; one of another key is named."""
    with dev_server() as server:
        server.say("I live in Lisbon")
        server.say("I live in Porto", user="ben")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        (reached,) = forgotten(Scope(None, "ana"))
        assert (reached.outcome, reached.counts["turns"]) == ("forgotten", 1)
        assert server.turns() == []
        assert server.turns(user="ben") == ["I live in Porto"]
    waiting("cloud-0123abcd", (BEN, "under another key"))
    places = {reached.place: reached.outcome for reached in forgotten(Scope(None, "ana"))}
    assert places[f"platform {server.url}"] == "not reached"
    assert places["the platform of cloud-0123abcd"] == "not reached"
