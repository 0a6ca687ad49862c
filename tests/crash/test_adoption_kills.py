"""Killed while it takes over what another process left: who then sends what, how often, and in which order."""

import shutil
import textwrap
from itertools import permutations
from pathlib import Path

import pytest
import zygote
from history import assert_accounted
from programs import assert_each_turn_once, drain, python

from synap_integrations.outbox import SqliteOutbox

LEFT, OWN = 600, 5
"""Turns of the file that is taken over: three chunks; and of the one who takes it over."""

ADOPTS_AND_DIES = """
import os, sys
from pathlib import Path
import killpoints, zygote
from synap_integrations.model import Envelope, Scope, UserMessage

folder, (target, when, nth) = Path(sys.argv[1]), sys.argv[2:]

def captured(outbox, start, count):
    for number in range(start, start + count):
        outbox.append(Envelope.seal(Scope("c", "ana"), UserMessage(f"c-{number}")))

if not (pid := os.fork()):
    captured(zygote.desk(folder)[0], 0, LEFT)
    os._exit(0)
os.waitpid(pid, 0)
if not (pid := os.fork()):
    killpoints.arm(killpoints.Point("", target, when), int(nth), folder)
    outbox, _ = zygote.desk(folder)
    captured(outbox, LEFT, OWN)
    outbox.adopt()
    os._exit(0)
assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == 9, "it was not killed"
"""

OUTBOX = "synap_integrations.outbox"
BEFORE = {
    "first-chunk": (f"{OUTBOX}.row_table:RowTable.insert", "after", OWN + 1),
    "second-chunk": (f"{OUTBOX}.row_table:RowTable.insert", "after", OWN + 2),
    "last-chunk": (f"{OUTBOX}.row_table:RowTable.insert", "after", OWN + 3),
    "inside-the-step": (f"{OUTBOX}.row_table:RowTable.admit", "inside", 1),
}
"""Places up to the one step that makes all of it the adopter's: target, when, which call."""
AFTER = {
    "after-the-step": (f"{OUTBOX}.row_table:RowTable.admit", "after", 1),
    "brought-to-disk": (f"{OUTBOX}.files:OutboxFile.sync", "after", 1),
    "before-the-deletion": (f"{OUTBOX}.files:OutboxFile.discard", "before", 1),
}
"""Places from there to the deletion of the file that was taken over."""


def died(folder: Path, target: str, when: str, nth: int) -> list[Path]:
    """The files that an adopter and the one before it have left, the older one first."""
    program = textwrap.dedent(ADOPTS_AND_DIES).replace("LEFT", str(LEFT)).replace("OWN", str(OWN))
    done = python("-c", program, str(folder), target, when, str(nth))
    assert (done.returncode, done.stderr) == (0, "")
    files = sorted((folder / "outbox").glob("ob-*.db"), key=lambda path: path.stem.rpartition("-")[2])
    assert len(files) == 2
    return files


def sent_from(file: Path, folder: Path) -> list[int]:
    """What a process sends that takes over this file, and no other one."""
    place = folder / "outbox"
    place.mkdir(parents=True, mode=0o700)
    for path in file.parent.glob(f"{file.stem}.*"):
        shutil.copy(path, place)
    outbox = SqliteOutbox(place, capture_wait_s=30)
    outbox.adopt()
    texts = [envelope.event.content for envelope in outbox.claim(10_000)]
    assert_accounted(outbox.counts(), adopted=len(texts), waiting=len(texts))
    outbox.close()
    shutil.rmtree(folder)
    return [int(text.rpartition("-")[2]) for text in texts]


@pytest.mark.parametrize("place", BEFORE)
def test_nobody_sends_a_part_of_a_file_that_somebody_else_sends_too(tmp_path, place) -> None:
    """Killed before it had all of it, the adopter leaves its own turns; the other file has all of its own."""
    older, younger = died(tmp_path, *BEFORE[place])
    assert sent_from(older, tmp_path / "alone") == list(range(LEFT))
    assert sent_from(younger, tmp_path / "alone") == list(range(LEFT, LEFT + OWN))


@pytest.mark.parametrize("place", AFTER)
def test_what_is_in_two_files_is_in_order_whoever_is_first(tmp_path, place) -> None:
    """Killed before the file was deleted: both files have its turns, so some are sent twice, and none too early."""
    files = died(tmp_path, *AFTER[place])
    everything = list(range(LEFT + OWN))
    for order in permutations(files):
        arrived = dict.fromkeys(number for file in order for number in sent_from(file, tmp_path / "alone"))
        assert list(arrived) == everything


@pytest.mark.parametrize("place", [*BEFORE, *AFTER])
def test_the_next_start_delivers_everything_in_order(tmp_path, place) -> None:
    """Whoever finds both files takes over both: each turn once, and nothing is left."""
    died(tmp_path, *(BEFORE | AFTER)[place])
    drain(tmp_path)
    assert_each_turn_once(tmp_path, {f"c-{number}" for number in range(LEFT + OWN)})
    assert len(zygote.received(tmp_path)) == LEFT + OWN
