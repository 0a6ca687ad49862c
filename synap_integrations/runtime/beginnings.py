"""Since when conversations are what they are: when each was begun anew, and when its past was forgotten.

The platform keeps earlier turns of a conversation that was begun anew, as memories; here is known that they are not
its history any more. Kept in a file beside the outboxes, for the other processes of this machine and for later ones.
Ids are kept as fingerprints.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Final, Self

from synap_integrations import after_fork
from synap_integrations.model import Scope
from synap_integrations.outbox.files import OURS_ALONE, make_private
from synap_integrations.settings import Settings

FILE_NAME: Final = "beginnings.jsonl"
_LONG_BYTES: Final = 1_000_000
_KEPT: Final = 5_000
_Seen = tuple[int, int, int]


class Beginnings:
    """When conversations of one ``owner`` (of outboxes) began, also according to ``file``; without one, only here.

    Thread-safe. What cannot be read is left out.
    """

    def __init__(self, file: Path | None, owner: str) -> None:
        self._file = file
        self._owner = owner
        self._known: dict[str, float] = {}
        self._seen: _Seen = (0, 0, 0)
        self._lock = threading.Lock()
        after_fork.watch(self)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those that the processes with these settings share."""
        in_memory = settings.storage_path == Path(":memory:")
        return cls(None if in_memory else settings.root / FILE_NAME, owner_of(settings))

    def begin_anew(self, scope: Scope) -> None:
        """From now on, what was said in this very conversation is not its history.

        Raises: OSError, if that cannot be written; in this process it holds all the same.
        """
        self._note(self._fingerprint("this", scope.customer_id, scope.user_id, scope.conversation_id))

    def forget(self, scope: Scope) -> None:
        """The same, for every conversation of whom the scope names.

        Raises: OSError, see `begin_anew`.
        """
        self._note(self._fingerprint("all", scope.customer_id, scope.user_id, scope.conversation_id))

    def begun_at(self, scope: Scope) -> datetime | None:
        """When this conversation was begun anew last, None if it never was. Cheap, if nothing was begun since."""
        with self._lock:
            self._look()
            if not self._known:
                return None
            ids = scope.customer_id, scope.user_id, scope.conversation_id
            named = itertools.product(*[(None, one) if one else (None,) for one in ids])
            prints = [self._fingerprint("this", *ids), *[self._fingerprint("all", *some) for some in named]]
            times = [at for one in prints if (at := self._known.get(one)) is not None]
        return datetime.fromtimestamp(max(times), UTC) if times else None

    def _note(self, fingerprint: str) -> None:
        now = datetime.now(UTC).timestamp()
        with self._lock:
            self._known[fingerprint] = now
            if self._file is None:
                return
            make_private(self._file.parent)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(self._file, flags, OURS_ALONE), "ab", buffering=0) as file:
                # The line break in front ends what a process that was killed left unfinished.
                file.write(f"\n{json.dumps([fingerprint, now])}\n".encode())
            self._look()
            if self._seen[1] > _LONG_BYTES:
                self._shorten(self._file)

    def _look(self) -> None:
        """Read the file, if it has changed."""
        if self._file is None:
            return
        with suppress(OSError):
            found = self._file.stat()
            seen = found.st_mtime_ns, found.st_size, found.st_ino
            if seen != self._seen:
                for line in self._file.read_bytes().splitlines():
                    with suppress(ValueError, TypeError):
                        fingerprint, at = json.loads(line)
                        self._known[str(fingerprint)] = max(float(at), self._known.get(str(fingerprint), 0.0))
                self._seen = seen

    def _shorten(self, file: Path) -> None:
        """Keep the newest. What another process adds in these microseconds holds in that process only."""
        newest = sorted(self._known.items(), key=lambda known: known[1])[-_KEPT:]
        self._known = dict(newest)
        shorter = file.with_suffix(f".{os.getpid()}")
        handle = os.open(shorter, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, OURS_ALONE)
        with os.fdopen(handle, "wb") as kept:
            kept.writelines(f"{json.dumps(known)}\n".encode() for known in newest)
        shorter.replace(file)

    def _fingerprint(self, reach: str, *ids: str | None) -> str:
        whose = json.dumps([self._owner, reach, *[one or None for one in ids]])
        return blake2b(whose.encode("utf-8", "replace"), digest_size=16).hexdigest()

    def after_fork_in_child(self) -> None:
        """In a forked process: a lock that another thread held is never released here."""
        self._lock = threading.Lock()


def owner_of(settings: Settings) -> str:
    """Who owns what is kept on this machine: an account, with the cloud or with a local Synap."""
    key = settings.api_key.fingerprint() if settings.api_key else "nokey"
    return f"{'local' if settings.embedded else 'cloud'}-{key}"
