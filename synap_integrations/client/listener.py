"""What the platform says, handed to whoever listens: the application's callbacks, and ours."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Final

from synap_integrations.guard import contained
from synap_integrations.model import Inbound, Signal
from synap_integrations.wire import grpc_codec
from synap_integrations.wire.bundles import BundleDict, bundle_from_dict, under_callers_names
from synap_integrations.wire.conversation_ids import ConversationIds
from synap_integrations.wire.grpc_codec import Decoded

_CALLBACKS: Final = contained("callbacks")


class Listener:
    """The callbacks of one ``listen``; each may be async, and what they raise is contained."""

    def __init__(
        self,
        ids: ConversationIds,
        *,
        on_reconnect: Callable[[int], object] | None,
        on_disconnect: Callable[[str], object] | None,
        on_context: Callable[[BundleDict], object] | None,
        on_inbound: Callable[[Inbound], object] | None,
    ) -> None:
        self._ids = ids
        self._on_reconnect = on_reconnect
        self._on_disconnect = on_disconnect
        self._on_context = on_context
        self._on_inbound = on_inbound
        self._running: set[asyncio.Task[None]] = set()

    def connected(self) -> None:
        """The stream is open."""
        self._call(self._on_inbound, Signal("connected"))

    def reconnected(self, attempts: int) -> None:
        """The stream is open again."""
        self.connected()
        self._call(self._on_reconnect, attempts)

    def disconnected(self, reason: str) -> None:
        """The stream was lost."""
        self._call(self._on_inbound, Signal("disconnected", reason))
        self._call(self._on_disconnect, reason)

    def heard(self, message: Decoded) -> None:
        """The platform said something."""
        if isinstance(message, dict):
            bundle = under_callers_names(message, self._ids.to_caller)
            self._call(self._on_inbound, bundle_from_dict(bundle))
            self._call(self._on_context, bundle)
        elif message is not grpc_codec.PONG:
            self._call(self._on_inbound, message)

    def _call(self, callback: Callable[[Any], object] | None, argument: object) -> None:
        if callback is None:
            return
        with _CALLBACKS:
            outcome = callback(argument)
            if inspect.isawaitable(outcome):
                task = asyncio.ensure_future(_finish(outcome))
                self._running.add(task)
                task.add_done_callback(self._running.discard)


async def _finish(outcome: Any) -> None:  # noqa: ANN401 - whatever the application's callback awaits
    with _CALLBACKS:
        await outcome
