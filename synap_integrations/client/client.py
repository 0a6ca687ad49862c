"""SynapClient: the platform's documented calls, over its own wire."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args
from urllib.parse import urlsplit

from synap_integrations.errors import ContextNotFoundError, InvalidInputError, SynapError
from synap_integrations.plain import text
from synap_integrations.ports import Lent
from synap_integrations.settings import Settings
from synap_integrations.wire.memory_schema import Recap
from synap_integrations.wire.report import CONTEXT_TYPES
from synap_integrations.wire.rest_schema import ContextFetched, FetchContext, FetchedContext, FetchScope, Whoami

from . import calls
from .connection import Connection, identified
from .conversation import Conversation
from .instance import Instance
from .line import Timing
from .memories import Data, Memories
from .platform import Platform
from .retry import Backoff


class SynapClient:
    """Speaks to a Synap platform: the cloud, a server, or the embedded one.

    Async. Construction opens nothing; what belongs to an event loop is made on the loop that uses it. Arguments that
    are not given come from the environment (``SYNAP_API_KEY``, ``SYNAP_BASE_URL``, …). Close it, or use ``async with``.

    ``lent`` is what an embedded Synap may use of the application's models.
    ``inline`` is for callers that own their loop and repeat calls themselves: see `Connection`.
    ``platform`` is where the bytes go, instead of where the settings say: for tests that stand in between.

    Raises: AuthenticationError without a key for another machine; InvalidInputError for a setting that cannot be used,
    or an address to which a key must not go.
    """

    def __init__(  # noqa: PLR0913 - the documented settings
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        grpc_host: str | None = None,
        grpc_port: int | None = None,
        grpc_use_tls: bool | None = None,
        ca_file: str | Path | None = None,
        storage_path: str | Path | None = None,
        settings: Settings | None = None,
        inline: bool = False,
        lent: Lent | None = None,
        timing: Timing | None = None,
        backoff: Backoff | None = None,
        platform: Platform | None = None,
    ) -> None:
        given: dict[str, Any] = {
            "api_key": api_key,
            "base_url": base_url,
            "grpc_host": grpc_host,
            "grpc_port": grpc_port,
            "grpc_use_tls": grpc_use_tls,
            "ca_file": ca_file,
            "storage_path": storage_path,
        }
        given = {name: value for name, value in given.items() if value is not None}
        if settings is not None and given:
            message = f"{min(given)} is given together with settings: put it into the settings"
            raise InvalidInputError(message, details={"argument": min(given)})
        self._connection = Connection(settings or Settings.read(**given), inline=inline, lent=lent, platform=platform)
        self.conversation = Conversation(self._connection)
        """Turns go in, the conversation comes out."""
        self.instance = Instance(self._connection, timing=timing, backoff=backoff)
        """The stream: what the agent does goes out, context comes in."""

        self.memories = Memories(self._connection)
        """Documents go in; memories are read, changed and forgotten."""
        self.data = Data(self._connection)
        """Everything of somebody is deleted."""

    def __repr__(self) -> str:
        settings = self._connection.settings
        # The host alone: whatever else an address may hold is nobody's business.
        return f"SynapClient({'embedded' if settings.embedded else urlsplit(settings.rest_url).hostname})"

    async def initialize(self) -> Whoami:
        """Ask the platform who we are. Optional: the first call does it.

        Raises: AuthenticationError, if the key is refused.
        """
        return await self._connection.whoami()

    async def fetch(  # noqa: PLR0913, PLR0917 - the documented signature
        self,
        conversation_id: str | None = None,
        user_id: str | None = None,
        customer_id: str | None = None,
        search_query: str | Sequence[str] | None = None,
        max_results: int = 20,
        types: Sequence[str] | None = None,
        mode: Literal["fast", "accurate"] = "fast",
        *,
        include_conversation_context: bool = True,
        scopes: Sequence[str] | None = None,
        response_shape: Literal["by_type", "ranked"] = "by_type",
    ) -> FetchedContext:
        """What is remembered of the conversation, the user and the customer that are named, merged.

        ``scopes`` leaves out the levels that it does not name.

        With ``response_shape="ranked"``, ``items`` holds everything best first. Raises: InvalidInputError; a
        `SynapError`, if no level could be read; a level that does not exist is empty.
        """
        kinds = (*CONTEXT_TYPES, "all")
        if types is not None and (isinstance(types, str) or not set(types) <= set(kinds)):
            message = f"types must be a list of {', '.join(kinds)}"
            raise InvalidInputError(message, details={"argument": "types"})
        for name, value, shape in (("mode", mode, ("fast", "accurate")), ("response_shape", response_shape, _SHAPES)):
            if value not in shape:
                message = f"{name} must be one of {', '.join(shape)}, not {value!r}"
                raise InvalidInputError(message, details={"argument": name})
        scope = identified(required=(), conversation_id=conversation_id, user_id=user_id, customer_id=customer_id)
        await self._connection.admitted(scope, must_name_customer=False)
        sent, _ = self._connection.addressed(self._connection.owned(scope))
        wanted = FetchContext(
            user_id=user_id,
            customer_id=customer_id,
            conversation_id=sent.conversation_id,
            search_query=_queries(search_query),
            max_results=max_results,
            types=list(types or ["all"]),
            mode=mode,
            response_shape=response_shape,
        )
        return await self._merged(wanted, scopes=scopes, with_conversation=include_conversation_context)

    async def profile(self, user_id: str, customer_id: str | None = None) -> dict[str, Any] | None:
        """What is known of a user as a person: ``attributes`` and ``overview``; None if nothing is."""
        scope = identified(required=("user_id",), user_id=user_id, customer_id=customer_id)
        await self._connection.admitted(scope, must_name_customer=False)
        try:
            return (await self._connection.rest.send(calls.profile(user_id, customer_id))).profile
        except ContextNotFoundError:
            return None

    async def recap(
        self,
        user_id: str,
        customer_id: str | None = None,
        *,
        conversation_id: str | None = None,
        last_n_conversations: int = 1,
    ) -> Recap:
        """The user's profile and last conversations in short, for one that begins: ``conversation_id`` is not among
        them. ``last_n_conversations`` is 0 to 20. Raises: InvalidInputError.
        """
        ids = {"user_id": user_id, "customer_id": customer_id, "conversation_id": conversation_id}
        scope = identified(required=("user_id",), **ids)
        await self._connection.admitted(scope, must_name_customer=False)
        sent, _ = self._connection.addressed(scope)
        body = {**ids, "conversation_id": sent.conversation_id, "search_query": None, "types": ["all"]}
        return await self._connection.rest.send(calls.recap(body | {"last_n_conversations": last_n_conversations}))

    async def _merged(
        self, wanted: FetchContext, *, scopes: Sequence[str] | None, with_conversation: bool
    ) -> FetchedContext:
        """Every level that is named, asked at the same time; the nearest level first."""
        levels: list[tuple[FetchScope, str | None]] = [
            ("conversation", wanted.conversation_id),
            ("user", wanted.user_id),
            ("customer", wanted.customer_id),
        ]
        named = [level for level, found in levels if found is not None] or [get_args(FetchScope)[2]]
        named = [level for level in named if scopes is None or level in scopes]
        rest = self._connection.rest
        asked: list[Any] = [rest.send(calls.fetch(level, wanted)) for level in named]
        if with_conversation and wanted.conversation_id is not None:
            asked.append(rest.send(calls.context_for_prompt(wanted.conversation_id, "structured")))
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        faults = [fault for fault in outcomes if isinstance(fault, BaseException)]
        serious = [fault for fault in faults if not isinstance(fault, ContextNotFoundError)]
        if serious and (len(faults) == len(outcomes) or not all(isinstance(fault, SynapError) for fault in serious)):
            raise serious[0]
        merged = FetchedContext()
        for outcome in outcomes:
            if isinstance(outcome, ContextFetched):
                merged.add(outcome.context)
            elif not isinstance(outcome, BaseException):
                merged.formatted_context = outcome.formatted_context
                merged.recent_messages = outcome.recent_messages
        return merged

    async def close(self, *, timeout_s: float = 2.0) -> None:
        """Close the stream within ``timeout_s``, and let go of sockets and files. Idempotent."""
        await self.instance.stop_listening(timeout_s=timeout_s)
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


_SHAPES = ("by_type", "ranked")


def _queries(given: str | Sequence[str] | None) -> list[str] | None:
    queries = [given] if isinstance(given, str) else list(given or ())
    return [text(query) for query in queries] or None
