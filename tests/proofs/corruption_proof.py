"""Files with flipped bits, and files cut short: what the next process makes of them."""

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from delivery_world import turn

from synap_integrations.model import Envelope
from synap_integrations.outbox import Counts, SqliteOutbox

Image = dict[str, bytes]
"""A file of a dead process by suffix: with its log, or tidied up."""


@dataclass(frozen=True)
class Figures:
    """``altered``: files of which a turn came out that nobody had said.

    ``silent``: turns missing, and no file put aside or left alone. ``rescued`` turns of ``held`` came out.
    """

    flipped: int
    cut: int
    held: int
    rescued: int
    altered: int
    silent: int
    raised: int
    unaccounted: int


def measure(folder: Path, *, flips: int, cuts: int, turns: int = 40, seed: int = 11) -> Figures:
    """One to four bits in each of so many copies, and so many lengths; half of the copies with their log."""
    rng, envelopes = random.Random(seed), [turn(f"turn {number} " + "x" * 100) for number in range(turns)]
    images = _images(folder / "made", envelopes)
    expected = {envelope.event_id: envelope for envelope in envelopes}
    rescued = altered = silent = raised = unaccounted = 0
    for damaged in [*_flipped(images, flips, rng), *_cut(images, cuts)]:
        place = folder / "next"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
        for suffix, data in damaged.items():
            (place / f"ob-bent-1-aa{suffix}").write_bytes(data)
        try:
            found, counts = _adopted(place)
        except Exception:  # noqa: BLE001 - that nothing comes out is what is counted
            raised += 1
            continue
        altered += any(expected.get(envelope.event_id) != envelope for envelope in found)
        known = len(found) + counts.waiting + counts.dead_letters
        silent += known < turns and not list(place.glob("ob-bent-*"))
        rescued += len(found)
        unaccounted += not counts.add_up
    return Figures(flips, cuts, (flips + cuts) * turns, rescued, altered, silent, raised, unaccounted)


def _images(folder: Path, envelopes: list[Envelope]) -> list[Image]:
    outbox = SqliteOutbox(folder, capture_wait_s=30)
    for envelope in envelopes:
        outbox.append(envelope)
    own = Path(outbox.where)
    with_log = {path.name.removeprefix(own.stem): path.read_bytes() for path in folder.glob(f"{own.stem}*")}
    outbox.close()
    tidy = {path.name.removeprefix(own.stem): path.read_bytes() for path in folder.glob(f"{own.stem}*")}
    return [with_log, tidy]


def _flipped(images: list[Image], count: int, rng: random.Random) -> Iterator[Image]:
    for number in range(count):
        image = images[number % 2]
        suffix = ".db-wal" if ".db-wal" in image and rng.random() < 0.8 else ".db"
        bent = bytearray(image[suffix])
        for _ in range(rng.randint(1, 4)):
            bent[rng.randrange(len(bent))] ^= 1 << rng.randrange(8)
        yield image | {suffix: bytes(bent)}


def _cut(images: list[Image], count: int) -> Iterator[Image]:
    for number in range(count):
        image = images[number % 2]
        suffix = ".db-wal" if ".db-wal" in image else ".db"
        yield image | {suffix: image[suffix][: len(image[suffix]) * number // count]}


def _adopted(folder: Path) -> tuple[list[Envelope], Counts]:
    outbox = SqliteOutbox(folder, capture_wait_s=30)
    for _ in range(10):
        if not outbox.adopt():
            break
    found = outbox.claim(1_000)
    outbox.acknowledge([envelope.event_id for envelope in found])
    counts = outbox.counts()
    outbox.close()
    return found, counts
