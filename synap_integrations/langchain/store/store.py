"""`SynapStore`: LangGraph's long-term store, on a Synap."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Self

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)

from synap_integrations.errors import InvalidInputError
from synap_integrations.model import Scope
from synap_integrations.runtime import Synap, memory_over
from synap_integrations.runtime.journal import Journals
from synap_integrations.scoping import checked

from .entries import Directory, Kept, Namespace, NamespaceItems, gone_line, put_line, renewed_line
from .filters import matches
from .namespaces import APPLICATION, OWNERS, checked_owners, directory, journal_of, listed

_MOST_NAMESPACES: Final = 1_000
_AT_ONCE: Final = 8
_ROOM: Final = 4
"""How many more lines than items are asked for: some are of values that were replaced since."""


def _begins(namespace: Namespace, prefix: Namespace) -> bool:
    return namespace[: len(prefix)] == tuple(prefix)


def _now() -> datetime:
    return datetime.now(UTC)


class SynapStore(BaseStore):
    """Long-term memory for LangGraph graphs: ``graph.compile(store=SynapStore())``. Thread-safe, usable from any loop.

    Items lie where turns lie: in the embedded Synap, a server, or the cloud. ``sdk`` is a `Synap`, whose settings say
    where, or the platform's SDK object; by default the environment says it. In memory
    (``storage_path=":memory:"``) each store is on its own.

    A namespace belongs to the user it names, by the patterns of ``owners``. One that names nobody belongs to
    ``user_id``, by default the application, and one that names no tenant to ``customer_id``.

    A put is there when it returns. Within one batch, reads see what was there before its puts. ``ttl`` is LangGraph's:
    items whose time is over are not shown, and `sweep_ttl` deletes them.

    The mask of the `Synap`, or of ``SYNAP_MASK``, sees every text of a value and every query, so that what is got may
    not be what was put; if it fails, nothing is put. Keys and namespaces are ids, and stay.

    Raises: InvalidInputError for what cannot be kept; a `SynapError`, if the platform cannot be had.
    """

    supports_ttl = True
    __slots__ = ("_by_namespace", "_directory", "_journals", "_nobody", "_now", "_owners", "ttl_config")

    def __init__(  # noqa: PLR0913 - each by name
        self,
        sdk: object | None = None,
        user_id: str | None = None,
        customer_id: str | None = None,
        *,
        owners: Sequence[Sequence[str]] = OWNERS,
        ttl: TTLConfig | None = None,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self.ttl_config = ttl
        synap = memory_over(sdk)
        self._journals = Journals(synap if isinstance(synap, Synap) else None)
        self._owners = checked_owners(owners)
        self._nobody = checked(Scope(None, user_id or APPLICATION, customer_id=customer_id))
        self._now = now
        self._directory = Directory()
        self._by_namespace: OrderedDict[Namespace, NamespaceItems] = OrderedDict()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do all of it; the answers in the order of the operations."""
        return self._journals.wait(self._do(list(ops)))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """`batch` that does not block the event loop."""
        return await self._journals.await_(self._do(list(ops)))

    def sweep_ttl(self) -> int:
        """Delete the items whose time is over; how many there were."""
        return self._journals.wait(self._sweep())

    def close(self) -> None:
        """Let go of thread, sockets and file. Idempotent."""
        self._journals.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- on the journals' loop ---------------------------------------------------------------------------------------

    async def _do(self, ops: list[Op]) -> list[Result]:
        now = self._now()
        if any(isinstance(op, SearchOp | ListNamespacesOp) for op in ops):
            await self._read_directory()
        named = {op.namespace for op in ops if isinstance(op, GetOp) or (isinstance(op, PutOp) and op.value is None)}
        searched = {
            space
            for op in ops
            if isinstance(op, SearchOp)
            for space in self._directory.namespaces
            if _begins(space, op.namespace_prefix)
        }
        by_namespace = await self._read(named | searched)
        results: list[Result] = []
        renewed: dict[tuple[Namespace, str], None] = {}
        for op in ops:
            found: Sequence[Item] = ()
            if isinstance(op, GetOp):
                kept = by_namespace[op.namespace].items.get(op.key)
                results.append(kept.item(op.namespace) if kept and not kept.expired(now) else None)
                found = (results[-1],) if isinstance(results[-1], Item) else ()
            elif isinstance(op, SearchOp):
                found = await self._search(op, by_namespace, now)
                results.append(list(found))
            elif isinstance(op, ListNamespacesOp):
                results.append(await self._list(op, now))
            elif isinstance(op, PutOp):
                results.append(None)
            else:
                message = f"{type(op).__name__} is no operation of a store"
                raise InvalidInputError(message)
            if isinstance(op, GetOp | SearchOp) and op.refresh_ttl:
                for item in found:
                    kept = by_namespace[item.namespace].items.get(item.key)  # another task may have erased it meanwhile
                    if kept is not None and kept.to_renew(now):
                        renewed[item.namespace, item.key] = None
        await self._write([op for op in ops if isinstance(op, PutOp)], renewed, by_namespace, now)
        return results

    def _journal(self, namespace: Namespace) -> Scope:
        return journal_of(namespace, self._owners, nobody=self._nobody)

    async def _read(self, namespaces: Iterable[Namespace]) -> dict[Namespace, NamespaceItems]:
        """Each namespace as it is now."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(namespace: Namespace) -> tuple[Namespace, NamespaceItems]:
            held = self._by_namespace.setdefault(namespace, NamespaceItems())
            self._by_namespace.move_to_end(namespace)
            async with room:
                await self._follow(self._journal(namespace), held)
            return namespace, held

        read = dict(await asyncio.gather(*map(one, namespaces)))
        while len(self._by_namespace) > _MOST_NAMESPACES:
            self._by_namespace.popitem(last=False)
        return read

    async def _read_directory(self) -> None:
        await self._follow(directory(self._nobody), self._directory)

    async def _follow(self, journal: Scope, follower: Directory | NamespaceItems) -> None:
        """Bring it up to date, with one call where all goes on as it was.

        If the last line that is known is not there any more, something was forgotten, and all of it is read anew.
        """
        known = follower.last
        lines = await self._journals.read(journal, after=known.position - 1 if known else 0)
        if known is not None and lines[:1] != [known]:
            lines = await self._journals.read(journal, after=0)
            follower.clear()
        follower.take(lines)

    async def _search(
        self, op: SearchOp, by_namespace: Mapping[Namespace, NamespaceItems], now: datetime
    ) -> list[SearchItem]:
        """Ranked first, where there is a query, then the newest."""
        wanted: list[tuple[Namespace, Kept]] = [
            (namespace, kept)
            for namespace, held in by_namespace.items()  # what was read: the directory may have grown since
            if _begins(namespace, op.namespace_prefix)
            for kept in held.alive(now).values()
            if not op.filter or matches(kept.value(), op.filter)
        ]
        wanted.sort(key=lambda found: found[1].updated_at, reverse=True)
        scores: dict[str, float] = {}
        if op.query:
            spaces = dict.fromkeys(namespace for namespace, kept in wanted if kept.indexed)
            limit = _ROOM * (op.offset + op.limit)
            asked = (self._journals.ranked(self._journal(space), op.query, limit=limit) for space in spaces)
            ranked = await asyncio.gather(*asked)
            scores = {line_id: score for ranking in ranked for line_id, score in ranking.items()}
        scored = [
            (scores.get(kept.line_ids[-1]) if kept.indexed else None, namespace, kept) for namespace, kept in wanted
        ]
        # Stable: what has no score stays in its order, behind everything that has one.
        scored.sort(key=lambda found: -1.0 if found[0] is None else found[0], reverse=True)
        return [kept.found(space, score) for score, space, kept in scored[op.offset : op.offset + op.limit]]

    async def _list(self, op: ListNamespacesOp, now: datetime) -> list[Namespace]:
        meant = [space for space in self._directory.namespaces if listed(space, op.match_conditions or ())]
        by_namespace = await self._read(meant)
        there = {space[: op.max_depth] for space in meant if by_namespace[space].alive(now)}
        return sorted(there)[op.offset : op.offset + op.limit]

    async def _write(
        self,
        puts: Sequence[PutOp],
        renewed: Collection[tuple[Namespace, str]],
        by_namespace: Mapping[Namespace, NamespaceItems],
        now: datetime,
    ) -> None:
        """What the batch changes, in one call; of several puts under one key the last counts."""
        last = {(op.namespace, op.key): op for op in puts}
        journals = {namespace: self._journal(namespace) for namespace in {at[0] for at in [*last, *renewed]}}
        lines: list[tuple[Scope, str]] = []
        erased: list[str] = []
        for (namespace, key), op in last.items():
            if op.value is not None:
                kept = op._replace(value=self._journals.masked(dict(op.value)))
                lines.append((journals[namespace], put_line(kept, at=now)))
            elif (gone := by_namespace[namespace].items.get(key)) is not None:
                lines.append((journals[namespace], gone_line(key, at=now)))
                erased += gone.line_ids
        lines += [
            (journals[namespace], renewed_line(key, at=now))
            for namespace, key in renewed
            if (namespace, key) not in last
        ]
        new = {op.namespace for op in last.values() if op.value is not None} - self._directory.namespaces.keys()
        if new:
            await self._read_directory()
        directed = directory(self._nobody)
        entries = [(directed, json.dumps({"namespace": space})) for space in new - self._directory.namespaces.keys()]
        if entries or lines:
            await self._journals.add([*entries, *lines])
        await self._journals.erase(erased)

    async def _sweep(self) -> int:
        await self._read_directory()
        now = self._now()
        by_namespace = await self._read(list(self._directory.namespaces))
        over = [
            PutOp(namespace, key, None)
            for namespace, held in by_namespace.items()
            for key, kept in held.items.items()
            if kept.expired(now)
        ]
        await self._write(over, (), by_namespace, now)
        return len(over)
