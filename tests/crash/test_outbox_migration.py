"""Killed while a file of the version before is taken over (K16): nothing is lost, nothing is there twice."""

import base64
import shutil
import signal
from pathlib import Path

import pytest
from programs import EQUIPMENT, python

from synap_integrations.model import Envelope
from synap_integrations.outbox import SqliteOutbox
from synap_integrations.outbox.sealing import Sealing
from synap_integrations.settings import Settings

KEY = base64.b64encode(b"k" * 32).decode()
OUTBOX = "synap_integrations.outbox"
PLACES = {
    "the file locked": (f"{OUTBOX}.adoption:Adoption._adopt", "before"),
    "the file read": (f"{OUTBOX}.takeover:AdoptionTarget.take_in", "before"),
    "half of it written": (f"{OUTBOX}.row_table:RowTable.insert", "inside"),
    "a part of it written": (f"{OUTBOX}.takeover:AdoptionTarget.take_in", "after"),
    "all of it written": (f"{OUTBOX}.takeover:AdoptionTarget.admit", "before"),
    "inside the step that makes it wait": (f"{OUTBOX}.row_table:RowTable.admit", "inside"),
    "taken over, the old file not deleted": (f"{OUTBOX}.takeover:AdoptionTarget.admit", "after"),
    "the old file deleted": (f"{OUTBOX}.files:OutboxFile.discard", "after"),
}
DYING = """
import sys
from pathlib import Path
import killpoints, zygote
from synap_integrations.outbox import adoption

folder, target, when = Path(sys.argv[1]), *sys.argv[2:]
adoption._CHUNK = 2
outbox, _ = zygote.desk(folder)
killpoints.arm(killpoints.Point("", target, when), 1, folder)
outbox.adopt()
print("survived")
"""


def an_old_file(folder: Path) -> None:
    """Written by version 1: six turns wait, one is a dead letter, one was delivered."""
    folder.mkdir(mode=0o700)
    for suffix in (".db", ".lock"):
        shutil.copy(EQUIPMENT / "golden" / f"outbox-version-1{suffix}", folder / f"ob-golden-1-aa{suffix}")


def taken_over(folder: Path, key: str) -> list[Envelope]:
    """What the next process would deliver."""
    outbox = SqliteOutbox(folder, capture_wait_s=30, sealing=Sealing.of(Settings.read({"SYNAP_OUTBOX_KEY": key})))
    outbox.adopt()
    found = outbox.claim(100)
    counts = outbox.counts()
    assert (counts.add_up, counts.waiting, counts.dead_letters) == (True, 6, 1)
    assert [path.name for path in folder.glob("ob-*.db")] == [Path(outbox.where).name]
    outbox.close()
    return found


@pytest.mark.parametrize("key", ["", KEY], ids=["clear", "sealed"])
@pytest.mark.parametrize("place", PLACES)
def test_killed_inside_a_migration_everything_is_there_once(tmp_path, place, key) -> None:
    """Wherever it dies: the next process has each turn of the old file once, in its order, and no file besides."""
    an_old_file(tmp_path / "outbox")
    done = python("-c", DYING, str(tmp_path), *PLACES[place], SYNAP_OUTBOX_KEY=key)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGKILL, "", "")
    found = taken_over(tmp_path / "outbox", key)
    assert [envelope.event_id for envelope in found] == [f"golden-{number}" for number in (0, 1, 2, 3, 6, 7)]
    assert found[0].event.content == "I moved to Lisbon"
