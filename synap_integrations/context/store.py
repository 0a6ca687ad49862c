"""The bundles that the platform pushed, kept for those they belong to and for nobody else.

Whose a bundle is, is one tuple: customer, user, conversation, rung. The narrowest stamp gives its level: a bundle
stamped with a conversation answers in that conversation only, one stamped with a user in all conversations of the
user, one stamped with a customer for all of its users. At its level and above, every field must equal the request's,
and an absent field equals only an absent one: the users ``"ana"`` of two customers are strangers. What has no stamp is
refused, because it would belong to everybody.

The store is made for one instance of the platform; what arrives on its stream is filed here, whatever it claims.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Self

from synap_integrations import after_fork
from synap_integrations.context.selection import Pushed, index
from synap_integrations.model import ContextBundle, ContextItem, Scope

LIFE_S: Final = 1800.0
MAX_LIFE_S: Final = 3600.0
_FIELD_OF_LEVEL: Final = {"user": "user_id", "customer": "customer_id", "conversation": "conversation_id"}
_ITEM_COST: Final = 500
"""Bytes that an item takes beside its text, about."""


class Owner(NamedTuple):
    """Whose a bundle is. Below the level of the bundle, fields are None."""

    customer_id: str | None
    user_id: str | None
    conversation_id: str | None
    rung: str

    @classmethod
    def of(cls, scope: Scope, *, rung: str = "") -> Self:
        """The narrowest owner of what is said in this scope."""
        return cls(scope.customer_id or None, scope.user_id or None, scope.conversation_id or None, rung)

    @property
    def is_nobody(self) -> bool:
        """True if no id says whose it is."""
        return self[:3] == (None, None, None)

    def is_named_by(self, scope: Scope) -> bool:
        """True if this owner has all the ids that the scope names; an empty scope names nobody."""
        wanted = Owner.of(scope)
        named = [want is None or want == have for want, have in zip(wanted[:3], self[:3], strict=True)]
        return all(named) and not wanted.is_nobody


@dataclass(frozen=True, slots=True)
class _Filed:
    owner: Owner
    pushed: Pushed
    expires_s: float
    size: int


class Expectation:
    """A bundle that somebody waits for: the one that answers an event. Made by `ContextStore.expect`."""

    __slots__ = ("_arrived", "_bundle", "_forget", "_wakers", "answers", "owners")

    def __init__(self, answers: str, owners: tuple[Owner, ...], forget: Callable[[Expectation], None]) -> None:
        self.answers = answers
        self.owners = owners
        self._forget = forget
        self._bundle: ContextBundle | None = None
        self._arrived = threading.Event()
        self._wakers: list[Callable[[], object]] = []

    def wait(self, timeout_s: float) -> ContextBundle | None:
        """The bundle, or None if it did not come within ``timeout_s`` seconds. Waits once."""
        try:
            self._arrived.wait(timeout_s)
        finally:
            self._forget(self)
        return self._bundle

    async def await_(self, timeout_s: float) -> ContextBundle | None:
        """`wait` that lets the event loop go on."""
        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()
        self._wakers.append(functools.partial(loop.call_soon_threadsafe, arrived.set))
        try:
            if not self._arrived.is_set():
                async with asyncio.timeout(timeout_s):
                    await arrived.wait()
        except TimeoutError:
            pass
        finally:
            self._forget(self)
        return self._bundle

    def fulfil(self, bundle: ContextBundle) -> None:
        """The bundle is here. Called on the thread that delivers."""
        self._bundle = bundle
        self._arrived.set()
        for wake in tuple(self._wakers):
            try:
                wake()
            except RuntimeError:  # the loop that waited is closed
                continue


class ContextStore:
    """Keeps bundles until they expire. Thread-safe; what it hands out is frozen.

    Bounded by bundles for each owner, by bundles and by bytes; the oldest goes first. ``clock`` is monotonic, in
    seconds: a bundle lives ``ttl_s``, half an hour where it does not say, and never longer than an hour.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_bundles: int = 20_000,
        max_bundles_per_owner: int = 100,
        max_bytes: int = 64_000_000,
    ) -> None:
        self._clock = clock
        self._max_bundles = max_bundles
        self._max_per_owner = max_bundles_per_owner
        self._max_bytes = max_bytes
        self._start_empty()
        after_fork.watch(self)

    def after_fork_in_child(self) -> None:
        """A lock that another thread held is never released here; and the child has a stream of its own."""
        self._start_empty()

    def _start_empty(self) -> None:
        self._lock = threading.Lock()
        self._filed: dict[str, _Filed] = {}  # by bundle id, the oldest first
        self._shelves: dict[Owner, dict[str, _Filed]] = {}
        self._expected: dict[str, list[Expectation]] = {}
        self._bytes = 0
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        """Bundles held, expired ones that nobody has asked for since included."""
        return len(self._filed)

    def counts(self) -> dict[str, int]:
        """What became of bundles and items so far: stored, evicted, expired, and ``refused: <why>``."""
        with self._lock:
            return dict(self._counts)

    # --- in --------------------------------------------------------------------------------------------------

    def apply(self, bundle: ContextBundle) -> bool:
        """File the bundle under its owner and wake who waits for it. False if it is refused; `counts` says why."""
        owner = Owner.of(bundle.scope, rung=bundle.rung)
        own = tuple(item for item in bundle.items if _belongs(item, bundle.scope))
        foreign = len(bundle.items) - len(own)
        if foreign:
            bundle = replace(bundle, items=own)
        now = self._clock()
        size = sum(_ITEM_COST + 4 * len(item.text) for item in own) + _ITEM_COST
        filed = _Filed(owner, index(bundle, arrived_s=now), now + _life(bundle.ttl_s), size)
        with self._lock:
            if foreign:
                self._counts["refused: item of somebody else"] += foreign
            if (fault := self._fault(filed, now)) is not None:
                self._counts[f"refused: {fault}"] += 1
                return False
            self._remove(bundle.bundle_id)
            self._filed[bundle.bundle_id] = filed
            self._shelves.setdefault(owner, {})[bundle.bundle_id] = filed
            self._bytes += size
            self._counts["stored"] += 1
            self._make_room(owner)
            waiting = [one for one in self._expected.get(bundle.answers or "", ()) if owner in one.owners]
        for expectation in waiting:
            expectation.fulfil(bundle)
        return True

    def _fault(self, filed: _Filed, now: float) -> str | None:
        owner, bundle_id = filed.owner, filed.pushed.bundle.bundle_id
        if owner.is_nobody:
            return "no owner"
        if not bundle_id:
            return "no id"
        if filed.expires_s <= now:
            return "expired"
        if filed.size > self._max_bytes // 8:
            return "too large"
        held = self._filed.get(bundle_id)
        if held is not None and held.owner != owner:
            return "id of another owner"
        return None

    def _make_room(self, owner: Owner) -> None:
        shelf = self._shelves[owner]
        while len(shelf) > self._max_per_owner:
            self._remove(next(iter(shelf)), counted="evicted")
        while len(self._filed) > self._max_bundles or self._bytes > self._max_bytes:
            self._remove(next(iter(self._filed)), counted="evicted")

    def _remove(self, bundle_id: str, *, counted: str | None = None) -> None:
        filed = self._filed.pop(bundle_id, None)
        if filed is None:
            return
        shelf = self._shelves[filed.owner]
        del shelf[bundle_id]
        if not shelf:
            del self._shelves[filed.owner]
        self._bytes -= filed.size
        if counted:
            self._counts[counted] += 1

    # --- out -------------------------------------------------------------------------------------------------

    def lookup(self, scope: Scope, *, rung: str = "") -> tuple[Pushed, ...]:
        """The live bundles that may answer a request of this scope, those of the conversation first."""
        now = self._clock()
        found: list[Pushed] = []
        with self._lock:
            for owner in owners_for(scope, rung=rung):
                for filed in tuple(self._shelves.get(owner, {}).values()):
                    if filed.expires_s > now:
                        found.append(filed.pushed)
                    else:
                        self._remove(filed.pushed.bundle.bundle_id, counted="expired")
        return tuple(found)

    def expect(self, scope: Scope, *, answers: str, rung: str = "") -> Expectation:
        """Wait for the bundle that answers this event, if it may answer this scope; it may be here already."""
        expectation = Expectation(answers, owners_for(scope, rung=rung), self._forget_expectation)
        with self._lock:
            self._expected.setdefault(answers, []).append(expectation)
        for pushed in self.lookup(scope, rung=rung):
            if pushed.bundle.answers == answers:
                expectation.fulfil(pushed.bundle)
        return expectation

    def _forget_expectation(self, expectation: Expectation) -> None:
        with self._lock:
            waiting = self._expected.get(expectation.answers, [])
            if expectation in waiting:
                waiting.remove(expectation)
            if not waiting:
                self._expected.pop(expectation.answers, None)

    # --- forget ----------------------------------------------------------------------------------------------

    def forget(self, scope: Scope) -> int:
        """Drop every bundle stamped with all the ids that the scope names; how many. An empty scope names nobody."""
        with self._lock:
            going = [
                bundle_id for owner, shelf in self._shelves.items() if owner.is_named_by(scope) for bundle_id in shelf
            ]
            for bundle_id in going:
                self._remove(bundle_id)
        return len(going)

    def clear(self) -> None:
        """Drop everything: the key changed, was refused, or we close."""
        with self._lock:
            self._filed.clear()
            self._shelves.clear()
            self._bytes = 0


def owners_for(scope: Scope, *, rung: str = "") -> tuple[Owner, ...]:
    """Whose bundles may answer a request of this scope: its conversation's, its user's, its customer's."""
    narrowest = Owner.of(scope, rung=rung)
    of_user = narrowest._replace(conversation_id=None)
    levels = dict.fromkeys((narrowest, of_user, of_user._replace(user_id=None)))
    return tuple(owner for owner in levels if not owner.is_nobody)


def _belongs(item: ContextItem, stamp: Scope) -> bool:
    """True unless the item itself says that it is somebody else's, or belongs to a level that we do not know."""
    if item.level == "client":
        return True
    if not item.level:
        return not item.entity_id or item.entity_id in (stamp.user_id, stamp.customer_id, stamp.conversation_id)
    name = _FIELD_OF_LEVEL.get(item.level)
    whose = getattr(stamp, name) if name else None
    return bool(whose) and item.entity_id in (whose, None, "")


def _life(ttl_s: float | None) -> float:
    """Seconds a bundle lives; a value that makes no sense is no life at all."""
    if ttl_s is None:
        return LIFE_S
    return min(ttl_s, MAX_LIFE_S) if ttl_s > 0 else 0.0
