"""Where the identity of the last runs came from, kept for `synap doctor`, which is another process.

Written by the delivery thread and at exit, never by the application's threads; what cannot be written is left out. Of a
conversation only a fingerprint is kept, by which whoever knows its id finds it again.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
import time
from collections import deque
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from synap_integrations.scoping import Attribution

FILE_NAME: Final = "runs.jsonl"
_KEPT: Final = 200
_LONG_BYTES: Final = 100_000
_EVERY_S: Final = 1.0


class Run(NamedTuple):
    """One turn of a user: when, in which process, and who named its user and its conversation."""

    at: float
    pid: int
    conversation: str
    user_from: str
    conversation_from: str


class RunLog:
    """The runs of one Synap on their way into ``file``; None keeps nothing."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._new: deque[tuple[float, Attribution]] = deque(maxlen=_KEPT)
        self._pid = 0
        self._saved_at = 0.0
        self._lock = threading.Lock()

    def note(self, found: Attribution) -> None:
        """Remember a run; writes nothing."""
        if self._file is None:
            return
        if self._pid != (pid := os.getpid()):
            # After a fork, what is not written yet is the parent's.
            self._pid, self._lock = pid, threading.Lock()
            self._new.clear()
            atexit.register(self.save)
        self._new.append((time.time(), found))

    def save_now_and_then(self) -> None:
        """Write what is new, at most once a second."""
        if self._new and time.monotonic() - self._saved_at >= _EVERY_S:
            self.save()

    def save(self) -> None:
        """Write what is new."""
        if self._file is None or self._pid != os.getpid():
            return
        with self._lock, suppress(OSError):
            self._saved_at = time.monotonic()
            lines = "".join(f"{json.dumps(self._run(*self._new.popleft()))}\n" for _ in range(len(self._new)))
            if lines and self._file.parent.is_dir():
                handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
                with os.fdopen(handle, "ab") as file:
                    file.write(lines.encode())
                self._shorten(self._file)

    def _run(self, at: float, found: Attribution) -> Run:
        return Run(at, self._pid, fingerprint(found.conversation_id), found.user, found.conversation)

    def _shorten(self, file: Path) -> None:
        if file.stat().st_size > _LONG_BYTES:
            shorter = file.with_suffix(f".{self._pid}")
            handle = os.open(shorter, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as kept:
                kept.writelines(file.read_bytes().splitlines(keepends=True)[-_KEPT:])
            shorter.replace(file)


def last_runs(file: Path, number: int) -> list[Run]:
    """The newest runs in a file, oldest first. What cannot be read is left out."""
    found: list[Run] = []
    with suppress(OSError):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError):
                at, pid, *words = json.loads(line)
                found.append(Run(float(at), int(pid), *map(str, words)))
    return sorted(found)[-number:]


def fingerprint(conversation_id: str | None) -> str:
    """Stands for a conversation."""
    return blake2b((conversation_id or "").encode("utf-8", "replace"), digest_size=8).hexdigest()
