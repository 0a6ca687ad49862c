"""Items as lines of a journal, and the items that the lines of one namespace make. Pure.

A put is a line with the whole item; a later one under the same key stands for it. A deletion, and the renewal of an
item's time, name the key by a digest, because their lines stay when the item is erased.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

from langgraph.store.base import Item, PutOp, SearchItem

from synap_integrations.errors import InvalidInputError
from synap_integrations.runtime.journal import Line

Namespace = tuple[str, ...]
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_RENEW_FROM: Final = 0.01
"""Share of its time that has to be over before a read renews it: not every read is a write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An item. ``text`` is the line that put it, ``line_ids`` are all its lines; ``ttl`` is in minutes."""

    key: str
    text: str
    created_at: datetime
    updated_at: datetime
    ttl: float | None
    expires_at: datetime
    indexed: bool
    line_ids: tuple[str, ...]

    def value(self) -> dict[str, Any]:
        """The value, nobody else's object."""
        value: dict[str, Any] = json.loads(self.text)["value"]
        return value

    def expired(self, now: datetime) -> bool:
        """True if its time is over."""
        return now >= self.expires_at

    def to_renew(self, now: datetime) -> bool:
        """True if reading it now gives it noticeably more time."""
        if self.ttl is None:
            return False
        return now + timedelta(minutes=self.ttl * (1 - _RENEW_FROM)) >= self.expires_at

    def item(self, namespace: Namespace) -> Item:
        """For LangGraph."""
        return Item(
            value=self.value(),
            key=self.key,
            namespace=namespace,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )

    def found(self, namespace: Namespace, score: float | None) -> SearchItem:
        """For LangGraph, as the result of a search."""
        return SearchItem(namespace, self.key, self.value(), self.created_at, self.updated_at, score)


@dataclass(slots=True)
class NamespaceItems:
    """The items of one namespace, as the lines up to ``last`` have left them."""

    last: Line | None = None
    items: dict[str, Kept] = field(default_factory=dict[str, Kept])
    _keys: dict[str, str] = field(default_factory=dict[str, str])
    """The items' keys by their digests."""

    def take(self, lines: Iterable[Line]) -> None:
        """Follow these lines; those that were followed before change nothing, and those that are none of ours."""
        for line in lines:
            if self.last is None or line.position > self.last.position:
                self.last = line
                self._follow(line)

    def clear(self) -> None:
        """Know nothing: the journal is read anew."""
        self.last = None
        self.items.clear()
        self._keys.clear()

    def alive(self, now: datetime) -> dict[str, Kept]:
        """The items whose time is not over."""
        return {key: kept for key, kept in self.items.items() if not kept.expired(now)}

    def _follow(self, line: Line) -> None:
        try:
            entry = json.loads(line.text)
        except (ValueError, RecursionError):
            return
        at = _time(entry.get("at")) if isinstance(entry, dict) else None
        if at is None:
            return
        if isinstance(key := entry.get("item"), str) and isinstance(entry.get("value"), dict):
            self._put(key, entry, at, line)
            return
        named = self._keys.get(str(entry.get("gone") or entry.get("renewed")))
        if named is not None and "gone" in entry:
            del self.items[named], self._keys[digest(named)]
        elif named is not None:
            kept = self.items[named]
            self.items[named] = replace(kept, expires_at=_end(at, kept.ttl), line_ids=(*kept.line_ids, line.line_id))

    def _put(self, key: str, entry: Mapping[str, Any], at: datetime, line: Line) -> None:
        before = self.items.pop(key, None)
        ttl = entry.get("ttl")
        ttl = float(ttl) if isinstance(ttl, int | float) else None
        self._keys[digest(key)] = key
        self.items[key] = Kept(
            key=key,
            text=line.text,
            created_at=before.created_at if before and not before.expired(at) else at,
            updated_at=at,
            ttl=ttl,
            expires_at=_end(at, ttl),
            indexed=entry.get("index") is not False,
            line_ids=(*(before.line_ids if before else ()), line.line_id),
        )


@dataclass(slots=True)
class Directory:
    """The namespaces that were ever put into, as the lines up to ``last`` name them."""

    last: Line | None = None
    namespaces: dict[Namespace, None] = field(default_factory=dict[Namespace, None])

    def take(self, lines: Iterable[Line]) -> None:
        """Follow these lines; those that are none of ours change nothing."""
        for line in lines:
            if self.last is None or line.position > self.last.position:
                self.last = line
            try:
                entry = json.loads(line.text)
            except (ValueError, RecursionError):
                continue
            labels = entry.get("namespace") if isinstance(entry, dict) else None
            if isinstance(labels, list) and labels and all(isinstance(label, str) for label in labels):
                self.namespaces[tuple(labels)] = None

    def clear(self) -> None:
        """Know nothing: the journal is read anew."""
        self.last = None
        self.namespaces.clear()


def put_line(op: PutOp, *, at: datetime) -> str:
    """The line that puts an item.

    Raises: InvalidInputError, if the value is nothing that JSON can hold.
    """
    entry: dict[str, Any] = {"item": op.key, "value": dict(op.value or {}), "namespace": op.namespace}
    entry |= {"at": at.isoformat()}
    entry |= {} if op.ttl is None else {"ttl": op.ttl}
    entry |= {"index": False} if op.index is False else {}
    try:
        text = json.dumps(entry, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        message = f"the value of {op.key!r} cannot be kept as JSON ({error}): pass text, numbers, lists and dicts"
        raise InvalidInputError(message, details={"argument": "value"}) from None
    return text


def gone_line(key: str, *, at: datetime) -> str:
    """The line that deletes an item."""
    return json.dumps({"gone": digest(key), "at": at.isoformat()})


def renewed_line(key: str, *, at: datetime) -> str:
    """The line that gives an item its time again."""
    return json.dumps({"renewed": digest(key), "at": at.isoformat()})


def digest(key: str) -> str:
    """The key in a form that says nothing."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _time(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo else None


def _end(at: datetime, ttl: float | None) -> datetime:
    if ttl is None:
        return _NEVER
    try:
        return at + timedelta(minutes=ttl)
    except OverflowError:
        return _NEVER
