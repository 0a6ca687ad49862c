"""What the client of a stream was sent and keeps, and so what it may be sent now."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from synap_integrations.server.push.anticipation import ANSWERED
from synap_integrations.server.records import Bundle, Item, Owner

AGAIN_S: Final = 25 * 60
"""How long an item that was pushed unasked is not pushed unasked again; the client keeps it that long."""
MOST_LIVE: Final = 150
"""Items that a stream's client may be keeping before bundles bring one new item each: the platform's SDK ranks all that
it keeps whenever one is added, on the application's loop. 200 items take it 46 ms, 1,000 half a second."""
_MAX_CONVERSATIONS: Final = 10_000


class Sent:
    """The items and conversations that one client was sent. Thread-safe.

    ``most_live`` None is for clients that find their way in any number of items.
    """

    def __init__(self, *, most_live: int | None, clock: Callable[[], float]) -> None:
        self._most_live = most_live
        self._clock = clock
        self._items: dict[str, float] = {}
        self._conversations: dict[tuple[Owner, str], None] = {}
        self._lock = threading.Lock()

    def affordable(self, bundle: Bundle) -> tuple[Item, ...]:
        """The items of the bundle that are to be sent; they count as sent from now on."""
        now = self._clock()
        with self._lock:
            self._items = {item_id: at for item_id, at in self._items.items() if now - at < AGAIN_S}
            room = len(bundle.items)
            if self._most_live is not None and bundle.pattern != "context_request":
                room = max(self._most_live - len(self._items), 1)
            new = [item for item in bundle.items if item.item_id not in self._items][:room]
            self._items.update((item.item_id, now) for item in new)
            if bundle.pattern not in ANSWERED:
                return tuple(new)
            # Of an answer, what the client keeps already is a part.
            return tuple(item for item in bundle.items if item.item_id in self._items)

    def first_of(self, owner: Owner, conversation_id: str) -> bool:
        """True once for each conversation."""
        conversation = owner, conversation_id
        with self._lock:
            if conversation in self._conversations:
                return False
            self._conversations[conversation] = None
            if len(self._conversations) > _MAX_CONVERSATIONS:
                del self._conversations[next(iter(self._conversations))]
            return True
