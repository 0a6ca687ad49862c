"""Since when conversations are what they are: shared by the processes of a machine, per conversation and owner."""

import os
import threading
from pathlib import Path

import pytest

from synap_integrations.model import Scope
from synap_integrations.runtime import beginnings
from synap_integrations.runtime.beginnings import Beginnings
from synap_integrations.settings import Settings

TRIP = Scope("trip", "ana")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "storage" / "beginnings.jsonl"


def test_what_one_process_notes_another_sees(file):
    """A conversation that was begun anew is so for whoever shares the file, then and later; nothing else is."""
    here, there = Beginnings(file, "cloud-k"), Beginnings(file, "cloud-k")
    assert there.begun_at(TRIP) is None
    here.begin_anew(TRIP)
    first = there.begun_at(TRIP)
    assert first == here.begun_at(TRIP) == Beginnings(file, "cloud-k").begun_at(TRIP)
    there.begin_anew(TRIP)
    assert here.begun_at(TRIP) > first
    for other in (Scope("trip", "ben"), Scope("trip", "ana", customer_id="acme"), Scope("work", "ana"), Scope("trip")):
        assert here.begun_at(other) is None
    assert Beginnings(file, "cloud-other").begun_at(TRIP) is None


@pytest.mark.parametrize(
    "forgotten",
    [Scope(user_id="ana"), Scope(customer_id="acme"), Scope("trip"), Scope("trip", "ana", customer_id="acme")],
    ids=str,
)
def test_whoever_was_forgotten_begins_anew(file, forgotten):
    """Forgetting a user, a customer or a conversation is the beginning of all it names, and of nothing else."""
    kept = Beginnings(file, "cloud-k")
    kept.forget(forgotten)
    assert Beginnings(file, "cloud-k").begun_at(Scope("trip", "ana", customer_id="acme")) is not None
    assert kept.begun_at(Scope("work", "ben", customer_id="other")) is None


def test_no_id_is_in_the_file(file):
    """What is kept are fingerprints, in a file of this user alone."""
    Beginnings(file, "cloud-k").begin_anew(Scope("trip-of-ana", "ana@example.org", customer_id="acme"))
    text = file.read_text()
    assert not any(word in text for word in ("trip", "ana", "acme", "cloud"))
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_not_finished_is_left_out(file):
    """A process that is killed while it writes spoils its own line only."""
    Beginnings(file, "k").begin_anew(TRIP)
    with file.open("a") as torn:
        torn.write('["half of a fingerprint')
    Beginnings(file, "k").begin_anew(Scope("work", "ana"))
    later = Beginnings(file, "k")
    assert None not in (later.begun_at(TRIP), later.begun_at(Scope("work", "ana")))


def test_the_file_is_bounded(file, monkeypatch):
    """A long file is rewritten with the newest conversations; other processes go on with it."""
    monkeypatch.setattr(beginnings, "_LONG_BYTES", 4_000)
    monkeypatch.setattr(beginnings, "_KEPT", 10)
    here, there = Beginnings(file, "k"), Beginnings(file, "k")
    for at in range(500):
        (here if at % 2 else there).begin_anew(Scope(f"c{at}", "ana"))
    assert file.stat().st_size < 8_000
    assert list(file.parent.iterdir()) == [file]
    assert Beginnings(file, "k").begun_at(Scope("c499", "ana")) is not None
    assert Beginnings(file, "k").begun_at(Scope("c0", "ana")) is None


def test_without_a_disk_it_holds_in_this_process(tmp_path):
    """In memory nothing is written; where the disk refuses, that is raised and the beginning holds here."""
    in_memory = Beginnings.of(Settings.read(storage_path=Path(":memory:")))
    in_memory.begin_anew(TRIP)
    assert in_memory.begun_at(TRIP) is not None
    (tmp_path / "file").write_text("in the way")
    refused = Beginnings(tmp_path / "file" / "beginnings.jsonl", "k")
    with pytest.raises(OSError, match="file"):
        refused.begin_anew(TRIP)
    assert refused.begun_at(TRIP) is not None


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_can_go_on(file):
    """A lock that another thread held during the fork does not hold up the child."""
    kept = Beginnings(file, "k")
    kept._lock.acquire()
    try:
        child = os.fork()
        if child == 0:
            noting = threading.Thread(target=kept.begin_anew, args=(TRIP,), daemon=True)
            noting.start()
            noting.join(20)
            os._exit(noting.is_alive())
        assert os.waitpid(child, 0)[1] == 0
    finally:
        kept._lock.release()
    assert kept.begun_at(TRIP) is not None
