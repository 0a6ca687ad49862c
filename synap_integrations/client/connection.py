"""What the parts of a client share: the platform, who we are to it, and the names of conversations."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass, replace
from typing import Final
from weakref import WeakKeyDictionary

from synap_integrations import scoping
from synap_integrations.errors import InvalidInputError, SynapTransientError
from synap_integrations.model import Scope
from synap_integrations.ports import Lent
from synap_integrations.settings import Settings
from synap_integrations.wire.conversation_ids import ConversationIds
from synap_integrations.wire.rest_schema import Whoami

from . import calls
from .platform import Platform, platform_of
from .rest import Rest

_log = logging.getLogger(__name__)

UNKNOWN: Final = Whoami()
ASK_AGAIN_AFTER_S: Final = 60.0
ATTEMPTS: Final = 3
ORIGINAL_ID: Final = "synap_conversation_id"
"""Metadata key for the caller's name of a conversation whose id on the platform is another."""


@dataclass(slots=True)
class _Identity:
    whoami: Whoami
    known: bool
    asked_at: float


class Connection:
    """Opens nothing before it is used, and keeps one HTTP client for each event loop that uses it.

    ``inline``: whoever uses it owns its loop and its retries, as delivery does. The embedded Synap then answers on that
    loop's thread, no call is repeated here, and a setting that cannot be used is an error of the first call, where it
    can be held against a call, and not of the construction.

    ``platform`` takes the place of the one that the settings name.
    """

    def __init__(
        self, settings: Settings, *, inline: bool, lent: Lent | None = None, platform: Platform | None = None
    ) -> None:
        self.settings = settings
        self._inline = inline
        self._lent = lent
        self._platform = platform or (None if inline else platform_of(settings, inline=False, lent=lent))
        self.ids = ConversationIds()
        self.introduction = {"x-client-id": "", "x-instance-id": ""}
        """Goes with every request; filled in when the platform has said who we are."""
        self._attempts = 1 if inline else ATTEMPTS
        self._pid = os.getpid()
        self._rest: WeakKeyDictionary[asyncio.AbstractEventLoop, Rest] = WeakKeyDictionary()
        self._identity: _Identity | None = None

    @property
    def platform(self) -> Platform:
        """Where the bytes go."""
        if self._platform is None:
            self._platform = platform_of(self.settings, inline=self._inline, lent=self._lent)
        return self._platform

    @property
    def rest(self) -> Rest:
        """The REST surface, for the running event loop."""
        if self._pid != os.getpid():
            # The sockets are the parent's.
            self._pid, self._rest = os.getpid(), WeakKeyDictionary()
        loop = asyncio.get_running_loop()
        if loop not in self._rest:
            timeout_s = self.settings.request_timeout_s
            self._rest[loop] = Rest(
                self.platform.http(), introduction=self.introduction, timeout_s=timeout_s, attempts=self._attempts
            )
        return self._rest[loop]

    async def whoami(self) -> Whoami:
        """Who the platform says we are; asked once. Empty while it cannot say, so that a call is not held up by it.

        Raises: AuthenticationError, if the key is refused.
        """
        now = time.monotonic()
        if self._identity is None or not (self._identity.known or now - self._identity.asked_at < ASK_AGAIN_AFTER_S):
            try:
                async with asyncio.timeout(self.settings.connect_timeout_s):
                    whoami = await self.rest.send(calls.whoami())
                self._identity = _Identity(whoami, known=True, asked_at=now)
                self.introduction["x-client-id"] = whoami.client_id or ""
                self.introduction["x-instance-id"] = whoami.instance_id or ""
            except (SynapTransientError, TimeoutError) as error:
                _log.info("synap: the platform does not say who we are (%s)", type(error).__name__)
                self._identity = _Identity(UNKNOWN, known=False, asked_at=now)
        return self._identity.whoami

    async def admitted(self, scope: Scope, *, must_name_customer: bool) -> Scope:
        """The scope, if the platform takes it from us.

        Raises: InvalidInputError, if a customer is named where the user is the whole identity, or none is named where
        one must be.
        """
        whoami = await self.whoami()
        isolation = whoami.user_context_isolation
        fault = None
        if isolation == "equals_customer" and scope.customer_id is not None:
            fault = "customer_id is not accepted by this instance, where the user is the whole identity: leave it out"
        elif must_name_customer and scope.customer_id is None and whoami.instance_id and isolation not in _FREE:
            fault = "customer_id is missing: pass the id of the customer (tenant) that the user belongs to"
        if fault:
            raise InvalidInputError(fault, details={"argument": "customer_id"})
        return scope

    def owned(self, scope: Scope) -> Scope:
        """The scope of a conversation that was used before, with the owner it had then where none is named now.

        Raises: InvalidInputError, if more than one owner is possible.
        """
        if scope.conversation_id is None:
            return scope
        known = self.ids.known(scope.conversation_id, user_id=scope.user_id, customer_id=scope.customer_id)
        if len(known) > 1:
            message = "conversation_id is used by several users: pass user_id (and customer_id)"
            raise InvalidInputError(message, details={"argument": "user_id"})
        return replace(known[0], session_id=scope.session_id) if known else scope

    def addressed(self, scope: Scope) -> tuple[Scope, dict[str, str]]:
        """The scope under the platform's id of the conversation, and as metadata the caller's where it is another."""
        return addressed(self.ids, scope)

    async def close(self) -> None:
        """Let go of everything that belongs to the running loop, and of the platform."""
        rest = self._rest.pop(asyncio.get_running_loop(), None)
        if rest is not None and self._pid == os.getpid():
            await rest.close()
        if self._platform is not None:
            self._platform.close()


_FREE: Final = frozenset({"equals_customer", "optional"})


def addressed(ids: ConversationIds, scope: Scope) -> tuple[Scope, dict[str, str]]:
    """See `Connection.addressed`."""
    caller = scope.conversation_id
    if caller is None:
        return scope, {}
    found = ids.to_platform(caller, user_id=scope.user_id, customer_id=scope.customer_id)
    return replace(scope, conversation_id=found), {} if found == caller else {ORIGINAL_ID: caller}


def identified(*, required: tuple[str, ...], **ids: str | None) -> Scope:
    """The ids as a scope.

    Raises: InvalidInputError, naming the id that is missing or cannot be used, and the fix.
    """
    for name in required:
        if ids.get(name) is None:
            message = f"{name} is missing: pass {name}=… (any non-empty string up to {scoping.MAX_ID_CHARS} characters)"
            raise InvalidInputError(message, details={"argument": name})
    return scoping.checked(
        Scope(
            ids.get("conversation_id"),
            ids.get("user_id"),
            customer_id=ids.get("customer_id"),
            session_id=ids.get("session_id"),
        )
    )
