"""Forgetting somebody everywhere this machine reaches: outboxes, the embedded Synap, the platform. With a receipt."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Final

from synap_integrations.errors import InvalidInputError, SynapError
from synap_integrations.model import Scope, new_id
from synap_integrations.outbox import SqliteOutbox
from synap_integrations.outbox.erasure import ids_of
from synap_integrations.outbox.files import outbox_files
from synap_integrations.outbox.inspect_files import StoredRow, damaged_files, is_in_use, outbox_folders, user_of
from synap_integrations.outbox.operations import all_stored_rows
from synap_integrations.outbox.sealing import Sealing
from synap_integrations.ports import Answer, Erase
from synap_integrations.server.database import Database
from synap_integrations.server.embedded import FILE_NAME
from synap_integrations.server.engine import Engine
from synap_integrations.server.store.forgetting import Target
from synap_integrations.settings import Settings

from .beginnings import Beginnings
from .reports import Reached
from .runs import FILE_NAME as RUNS

_OWNERS: Final = "SELECT customer_id, user_id FROM owner"


class Erasure:
    """Forgets what a scope names: a conversation, a user, a customer, or one within the other.

    Raises: InvalidInputError, if the scope names nobody, or several people who have the same id.
    """

    def __init__(self, settings: Settings, scope: Scope) -> None:
        self._settings = settings
        self._root = settings.root
        self._file = settings.root / FILE_NAME
        self._sealing = Sealing.of(settings)
        self.scope = self._unambiguous(scope)

    def preview(self) -> dict[str, dict[str, int]]:
        """What would be forgotten, by place."""
        rows = self._rows()
        found = {"outboxes": {"waiting": sum(not row.dead for row in rows), "dead letters": sum(map(_dead, rows))}}
        if self._file.exists():
            with closing(Database(self._file)) as database:
                forgetting = Engine(database).forgetting
                counts = [forgetting.preview(target).counts for target in _targets(database, self.scope)]
            found["memory"] = {kind: sum(count[kind] for count in counts) for kind in (counts[0] if counts else ())}
        return found

    def run(self) -> list[Reached]:
        """Forget it, and say what was reached and what not."""
        (self._root / RUNS).unlink(missing_ok=True)
        Beginnings.of(self._settings).forget(self.scope)
        reached = [*self._outboxes(), *self._put_aside()]
        if self._file.exists():
            reached.append(self._memory())
        if not self._settings.embedded:
            reached.append(asyncio.run(self._platform()))
        return [*reached, *self._other_platforms()]

    # --- whom ------------------------------------------------------------------------------------------------

    def _unambiguous(self, scope: Scope) -> Scope:
        """The scope, with the customer of the one user who is meant.

        Two customers may each have a user ``ana``: nobody is forgotten by a slip.
        """
        if scope.conversation_id is None and scope.user_id is None and scope.customer_id is None:
            message = "say whom to forget: --user, --customer or --conversation"
            raise InvalidInputError(message)
        if scope.conversation_id is not None and scope.user_id is None and self._file.exists():
            with closing(Database(self._file)) as database:
                users = {target.user_id for target in _targets(database, scope)}
            if len(users) > 1:
                message = f"several users have a conversation {scope.conversation_id}: pass --user"
                raise InvalidInputError(message)
        if scope.user_id is None or scope.customer_id is not None:
            return scope
        customers = {row.customer_id or "" for row in self._matching(scope)}
        if self._file.exists():
            with closing(Database(self._file)) as database, database.read() as db:
                if scope.conversation_id is None:
                    customers |= {row[0] for row in db.execute(f"{_OWNERS} WHERE user_id = ?", (scope.user_id,))}
                else:
                    customers |= {target.customer_id for target in _targets(database, scope)}
        if len(customers) > 1:
            named = ", ".join(sorted(customer or "none" for customer in customers))
            message = f"several customers have a user {scope.user_id} ({named}): pass --customer"
            raise InvalidInputError(message)
        (customer,) = customers or {""}
        return replace(scope, customer_id=customer or None)

    def _matching(self, scope: Scope) -> list[StoredRow]:
        wanted = ids_of(scope)[:3]
        rows, _ = all_stored_rows(self._root, self._sealing)
        return [
            row
            for row in rows
            if all(
                name in (None, held)
                for name, held in zip(wanted, (row.conversation_id, row.user_id, row.customer_id), strict=True)
            )
        ]

    def _rows(self) -> list[StoredRow]:
        return self._matching(self.scope)

    # --- the places ------------------------------------------------------------------------------------------

    def _outboxes(self) -> Iterator[Reached]:
        for name in sorted({folder.name for folder in outbox_folders(self._root)}):
            before = [row for row in self._rows() if row.path.parent.name == name]
            outbox = SqliteOutbox(self._root / name, sealing=self._sealing)
            try:
                _, erased = outbox.forget(self.scope)
                # A file that this outbox made for what it keeps of others is not one of another process.
                held = [path for folder in outbox.folders for path in outbox_files(folder) if is_in_use(path)]
                others = [path for path in held if str(path) != outbox.where]
            except OSError as error:
                yield Reached(f"outbox {name}", "not reached", why=str(error), fix="make the folder writable")
                continue
            finally:
                outbox.close()
            counts = {"waiting": erased.waiting, "dead letters": erased.dead_letters}
            if erased.files_locked:
                why = f"{erased.files_locked} files are sealed with a key that was not given: nothing is sent from them"
                fix = "name that key in SYNAP_OUTBOX_KEY, after a comma, and forget again"
                yield Reached(f"outbox {name}", "not reached", counts, why, fix)
            elif erased.not_deleted:
                why = f"the disk is full or fails: {erased.not_deleted} of it could not be deleted"
                yield Reached(f"outbox {name}", "not reached", counts, why, fix="make room, and forget again")
            elif others:
                processes = ", ".join(str(user_of(path)) for path in others)
                left = sum(row.path in others for row in before)
                why = f"in use by process {processes}, with {left} of it; what it captures may be sent"
                fix = "end that process, and forget again"
                yield Reached(f"outbox {name}", "not reached", counts, why, fix)
            else:
                yield Reached(f"outbox {name}", "forgotten" if any(counts.values()) else "nothing there", counts)

    def _put_aside(self) -> Iterator[Reached]:
        """Damaged files that were kept for somebody to look at: nobody can tell what is in them."""
        for path in damaged_files(self._root):
            yield Reached(str(path), "not reached", why="damaged, and kept", fix="look at it, and delete it")

    def _memory(self) -> Reached:
        place = f"memory {self._file}"
        try:
            with closing(Database(self._file)) as database:
                engine, counts, left = Engine(database), dict[str, int](), set[str]()
                for target in _targets(database, self.scope):
                    forgotten = engine.forgetting.forget(target)
                    left |= set(forgotten.still_present_in)
                    counts = {kind: counts.get(kind, 0) + number for kind, number in forgotten.counts.items()}
                report: dict[str, object] = {"counts": counts, "still_present_in": sorted(left)}
                engine.forgetting.note(new_id(), report, now=engine.now())
        except (OSError, sqlite3.Error) as error:
            return Reached(place, "not reached", why=str(error), fix="end the process that uses it, and forget again")
        if left:
            why, fix = f"still in the {', '.join(sorted(left))}", "end the process that reads it, and forget again"
            return Reached(place, "not reached", counts, why, fix)
        return Reached(place, "forgotten" if any(counts.values()) else "nothing there", counts)

    async def _platform(self) -> Reached:
        from synap_integrations.client import Route, SynapClient  # noqa: PLC0415 - only where there is a platform

        try:
            async with SynapClient(settings=self._settings) as client:
                answer = await Route(client).ask(Erase(), self.scope)
        except SynapError as error:
            answer = Answer(fault=error)
        return Reached.platform(f"platform {self._settings.rest_url}", answer)

    def _other_platforms(self) -> Iterator[Reached]:
        """Platforms that were used from here under another key: what they were given is theirs to delete."""
        key = self._settings.api_key
        ours = f"cloud-{key.fingerprint() if key else 'nokey'}"
        for folder in sorted(self._root.glob("cloud-*")):
            if folder.is_dir() and (self._settings.embedded or folder.name != ours):
                why = f"used with the key {folder.name.removeprefix('cloud-')}, which is not set now"
                yield Reached(f"the platform of {folder.name}", "not reached", why=why, fix=_ANOTHER_KEY)


_ANOTHER_KEY: Final = "set SYNAP_API_KEY (and SYNAP_BASE_URL) as they were then, and forget again"


def _targets(database: Database, scope: Scope) -> list[Target]:
    """What of a file is meant."""
    if scope.conversation_id is None:
        return [Target(customer_id=scope.customer_id or "", user_id=scope.user_id)]
    return [
        Target(customer_id=owner.customer_id, user_id=owner.user_id, conversation_id=conversation_id)
        for owner, conversation_id in Engine(database).store.called(scope.conversation_id)
        if scope.user_id in (None, owner.user_id) and scope.customer_id in (None, owner.customer_id)
    ]


def _dead(row: StoredRow) -> bool:
    return row.dead
