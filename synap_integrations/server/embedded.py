"""A Synap inside this process: the handlers of the wire called directly, no port, no account.

Everybody in the process who opens the same file shares one of it, with its streams: a turn that one client records is
pushed to the stream of every other. In memory each opening is a Synap of its own.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Final

from synap_integrations import after_fork
from synap_integrations.guard import contained
from synap_integrations.ports import Lent, LocalStream
from synap_integrations.settings import Settings
from synap_integrations.wire.proto import DecodeError, StreamEvent, StreamResponse

from .compaction import Compaction
from .database import Database
from .engine import Engine
from .push.anticipation import Cause, Pattern
from .push.pusher import USUAL, Pusher, causes
from .records import Owner, Recorded
from .rest.answers import refusal
from .rest.api import Answer, RestApi
from .stream.session import ListenSession

_log = logging.getLogger(__name__)

IN_MEMORY: Final = Path(":memory:")
FILE_NAME: Final = "local.db"
_ANSWER: Final = contained("embedded answer")
_STREAM: Final = contained("embedded stream")
_FAULT: Final[Answer] = (
    500,
    {"content-type": "application/json"},
    json.dumps(refusal("INTERNAL", "a fault of the local Synap")).encode(),
)


class LocalSynap:
    """Engine, REST and pushes over one database. Thread-safe. ``patterns`` are the causes that push."""

    def __init__(
        self, database: Database, name: str, *, engine: Engine | None = None, patterns: frozenset[Pattern] = USUAL
    ) -> None:
        self.name = name
        self.engine = engine or Engine(database)
        self.pusher = Pusher(self.engine, patterns=patterns)
        self.rest = RestApi(self.engine, on_turn=self._pushed_for, on_compaction=self._compacted)

    def _pushed_for(self, recorded: Recorded) -> None:
        turn = recorded.turn
        if recorded.fresh and turn.role == "user":
            self.pusher.request(
                Cause(
                    pattern="user_message",
                    owner=turn.owner,
                    decision_id=turn.event_id,
                    conversation_id=turn.conversation_id,
                    queries=(turn.content,),
                )
            )

    def _compacted(self, owner: Owner, made: Compaction) -> None:
        self.pusher.request(
            Cause(
                pattern="compaction",
                owner=owner,
                decision_id=made.compaction_id,
                conversation_id=made.conversation_id,
            )
        )

    def answer(self, method: str, path: str, *, query: str, headers: dict[str, str], body: bytes) -> Answer:
        """One REST request: status, headers, body. Never raises."""
        with _ANSWER:
            return self.rest.answer(method, path, query=query, headers=headers, body=body)
        return _FAULT

    def close(self) -> None:
        """Stop pushing and let go of the file."""
        self.pusher.close()
        self.engine.close()


class EmbeddedSynap:
    """`ports.LocalPlatform` in this process; made by `open_embedded`. ``synap`` is what is behind it."""

    def __init__(self, synap: LocalSynap, release: Callable[[], None]) -> None:
        self.synap = synap
        self.name = synap.name
        self._release = release
        self._streams: weakref.WeakSet[_EmbeddedStream] = weakref.WeakSet()
        self._closed = False

    @property
    def engine(self) -> Engine:
        """What is remembered, to look at."""
        return self.synap.engine

    def answer(
        self, method: str, path: str, *, query: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """One REST request: status, headers, body. Never raises."""
        return self.synap.answer(method, path, query=query, headers=headers, body=body)

    def listen(self, emit: Callable[[bytes], None], *, metadata: dict[str, str]) -> LocalStream:  # noqa: ARG002 - nobody has to prove who they are to their own process
        """One ``Listen`` call; each serialized ``StreamResponse`` goes to ``emit``, on any thread.

        It lasts until its half-close, or until nobody holds it.
        """
        stream = _EmbeddedStream(self.synap, emit)
        self._streams.add(stream)
        return stream

    def drain(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything that is to be pushed is pushed. False if ``timeout_s`` seconds were not enough."""
        return self.synap.pusher.drain(timeout_s)

    def close(self) -> None:
        """Let go of the file, if nobody else in the process uses it. Idempotent."""
        if not self._closed:
            self._closed = True
            for stream in list(self._streams):
                stream.half_close()
            self._release()


class _EmbeddedStream:
    """One ``Listen`` call without a socket. Never raises."""

    def __init__(self, synap: LocalSynap, emit: Callable[[bytes], None]) -> None:
        def serialized(response: StreamResponse) -> None:
            emit(response.SerializeToString())

        self._session = ListenSession(synap.engine, synap.pusher, serialized, most_live=None)

    def receive(self, message: bytes) -> None:
        """One serialized ``StreamEvent``; bytes that are none are counted as an incident."""
        with _STREAM:
            try:
                event = StreamEvent.FromString(message)
            except DecodeError as error:
                fault = f"{len(message)} bytes that are no StreamEvent"
                raise ValueError(fault) from error
            self._session.receive(event)

    def half_close(self) -> None:
        """The client has nothing more to say."""
        with _STREAM:
            self._session.half_close()


class _Opened:
    """The files that this process has open, each once."""

    def __init__(self) -> None:
        self.after_fork_in_child()
        after_fork.watch(self)

    def after_fork_in_child(self) -> None:
        """In a forked child: nothing is open."""
        self._lock = threading.Lock()
        self._synaps: dict[Path, tuple[LocalSynap, int]] = {}

    def open(self, path: Path, lent: Lent, *, synchronous: str, patterns: frozenset[Pattern]) -> EmbeddedSynap:
        """Raises: OSError or sqlite3.Error, if there is no such file and none can be made."""
        with self._lock:
            synap, users = self._synaps.get(path, (None, 0))
            if synap is None:
                database = Database(path, synchronous=synchronous)
                database.open()
                synap = LocalSynap(database, str(path), patterns=patterns)
            synap.engine.lend(lent)
            self._synaps[path] = synap, users + 1
        return EmbeddedSynap(synap, lambda: self._release(path, synap))

    def _release(self, path: Path, synap: LocalSynap) -> None:
        with self._lock:
            held, users = self._synaps.get(path, (None, 0))
            if held is not synap:
                return  # a handle that was opened before a fork
            if users > 1:
                self._synaps[path] = synap, users - 1
                return
            del self._synaps[path]
        synap.close()


_opened: Final = _Opened()


def open_embedded(settings: Settings, lent: Lent | None = None) -> EmbeddedSynap:
    """The Synap of this process over ``<root>/local.db``, or in memory where the storage path says ``:memory:``.

    Where several open the same file, the models that are ``lent`` first are used, and the first says what causes
    pushes. A file that cannot be used is replaced by memory, and the log says so; nothing is raised.
    """
    lent = lent or Lent()
    patterns = causes(tool_results=settings.push_tool_results)
    if settings.storage_path == IN_MEMORY:
        return _in_memory("memory", lent, patterns)
    path = settings.root / FILE_NAME
    try:
        # The folder may be reached through links, the file may not be one.
        path = settings.root.resolve() / FILE_NAME
        synchronous = "FULL" if settings.durability == "power" else "NORMAL"
        return _opened.open(path, lent, synchronous=synchronous, patterns=patterns)
    except (OSError, sqlite3.Error) as error:
        _log.warning(
            "synap: %s cannot be used (%s): the embedded Synap remembers in memory until the process ends; "
            "set SYNAP_STORAGE_PATH to a folder that can be written",
            path,
            error,
        )
        return _in_memory(f"memory, since {path} cannot be used", lent, patterns)


def _in_memory(name: str, lent: Lent, patterns: frozenset[Pattern]) -> EmbeddedSynap:
    synap = LocalSynap(Database(None), name, patterns=patterns)
    synap.engine.lend(lent)
    return EmbeddedSynap(synap, synap.close)
