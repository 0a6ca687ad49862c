"""Forgetting somebody: what was reached, and what keeps a file that was out of reach from bringing it back.

A file of another living process cannot be opened. A tombstone beside it makes whoever adopts that file later leave out
what was to be forgotten. It holds a hash, so that it does not itself remember whom we forgot.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final, Self

from synap_integrations.model import Scope
from synap_integrations.plain import text

from .files import make_private, opened
from .rows import Row

_FILE: Final = "forgotten.jsonl"
_KEPT_US: Final = 30 * 86_400 * 1_000_000
"""A process that runs longer than this after the forgetting may bring something back."""

Ids = tuple[str | None, str | None, str | None, str | None]
"""Conversation, user, customer, session, as a row keeps them; None is anybody's."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What `SqliteOutbox.forget` reached on this machine."""

    waiting: int = 0
    """Turns and events that were waiting."""
    dead_letters: int = 0
    under_way: int = 0
    """Of those waiting: handed to delivery already; they may have left the machine, or leave it in this moment."""
    files_in_use: int = 0
    """Files of other living processes: they deliver what they hold; what they leave behind will be left out."""
    files_locked: int = 0
    """Files whose key was not given: nothing is sent from them; what they hold is left out when the key is given."""
    files_put_aside: int = 0
    """Damaged files that were kept for inspection (``*.corrupt``): nobody reads them, so look at them yourself."""
    not_deleted: int = 0
    """Turns and events that a full or failing disk did not let go of: they are still there, and may be sent."""


def ids_of(scope: Scope) -> Ids:
    """The ids that a scope names, as rows keep them."""
    ids = (scope.conversation_id, scope.user_id, scope.customer_id, scope.session_id)
    conversation, user, customer, session = (None if name is None else text(name) for name in ids)
    return conversation, user, customer, session


def concerns(ids: Ids, row: Row) -> bool:
    """True if the row is of these ids."""
    try:
        held = json.loads(row.scope)
        return all(name in (None, held[place]) for place, name in enumerate(ids))
    except (ValueError, IndexError, TypeError, KeyError):
        return False


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Rows of these ids that were captured until ``until_us`` (microseconds since 1970) are gone for good."""

    named: tuple[int, ...]
    digest: str
    until_us: int

    @classmethod
    def of(cls, ids: Ids, until_us: int) -> Self:
        """For the rows that `SqliteOutbox.forget` deletes for the same ids."""
        named = tuple(place for place, name in enumerate(ids) if name is not None)
        return cls(named, _digest(ids, named), until_us)

    def covers(self, row: Row) -> bool:
        """True if the row is to be left out."""
        if row.captured_at > self.until_us:
            return False
        try:
            ids = json.loads(row.scope)
            return _digest(ids, self.named) == self.digest
        except (ValueError, IndexError, TypeError, KeyError):
            return False


def _digest(ids: Sequence[str | None], named: Sequence[int]) -> str:
    values = json.dumps([ids[place] for place in named]).encode()
    return blake2b(values, digest_size=16).hexdigest()


def write_tombstone(folder: Path, tombstone: Tombstone) -> None:
    """Set a tombstone for whoever adopts files in this folder. Raises: OSError."""
    make_private(folder)
    line = json.dumps([tombstone.named, tombstone.digest, tombstone.until_us]) + "\n"
    file = opened(folder / _FILE, os.O_APPEND)
    try:
        os.write(file, line.encode())
        os.fsync(file)
    finally:
        os.close(file)


def tombstones(folder: Path) -> list[Tombstone]:
    """What is to be left out of the files in this folder. A line that cannot be read is skipped."""
    found: list[Tombstone] = []
    with suppress(OSError):
        for line in (folder / _FILE).read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError):
                named, digest, until_us = json.loads(line)
                found.append(Tombstone(tuple(map(int, named)), str(digest), int(until_us)))
    return found


def expire_tombstones(folder: Path, now_us: int) -> None:
    """Remove the tombstones of a folder once all of them have had their time."""
    found = tombstones(folder)
    if found and all(now_us - tombstone.until_us > _KEPT_US for tombstone in found):
        with suppress(OSError):
            (folder / _FILE).unlink()
