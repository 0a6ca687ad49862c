"""A platform behind two sockets: httpx for REST, grpc.aio for the stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, cast

import grpc
import httpx

from synap_integrations import thread_starts
from synap_integrations.errors import AuthenticationError, NetworkError, NetworkTimeoutError, SynapError
from synap_integrations.settings import Settings
from synap_integrations.wire.faults import stream_fault
from synap_integrations.wire.grpc_codec import LISTEN, MAX_RECEIVED_BYTES

from . import trust
from .addresses import ensure_here, is_loopback, rest_address, say_once_where_it_goes, stream_target
from .platform import Duplex
from .rest import Bearer

_log = logging.getLogger(__name__)

_POOL: Final = httpx.Limits(max_connections=20, max_keepalive_connections=10, keepalive_expiry=60.0)


class RemotePlatform:
    """A platform behind two sockets. No redirects, no proxy on the way to this machine."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.where = rest_address(settings.rest_url)
        host, port, self._tls = settings.stream_address
        self._target = stream_target(host, port, tls=self._tls)
        rest_host = httpx.URL(self.where).host
        self._rest_is_here = is_loopback(rest_host)
        self._stream_is_here = is_loopback(host)
        for name in (rest_host, host):
            ensure_here(name)
        named = Settings.addresses_of_the_environment()
        if settings.base_url in named:
            say_once_where_it_goes(rest_host)
        if settings.grpc_host in named:
            say_once_where_it_goes(host)
        if settings.api_key is None and not (self._rest_is_here and self._stream_is_here):
            message = "there is no key for the platform: set SYNAP_API_KEY, or SYNAP_BASE_URL=local to need none"
            raise AuthenticationError(message)

    def http(self) -> httpx.AsyncClient:
        """A client for the REST surface. Raises: TlsHandshakeError, if the file of authorities cannot be used."""
        # A transport of our own switches the proxies of the environment off.
        verify = trust.verification(self._settings)
        transport = httpx.AsyncHTTPTransport(verify=verify, limits=_POOL) if self._rest_is_here else None
        return httpx.AsyncClient(
            base_url=self.where,
            auth=Bearer(self._settings.api_key),
            verify=verify,
            transport=transport,
            limits=_POOL,
            follow_redirects=False,
            timeout=httpx.Timeout(self._settings.request_timeout_s, connect=self._settings.connect_timeout_s),
        )

    async def listen(self, metadata: Mapping[str, str]) -> Duplex:
        """Open the stream, and wait until its channel is up."""
        # gRPC polls on a thread of its own, and ends the process if it cannot start it.
        # Source: grpcio 1.85.1, _cython/_cygrpc/aio/completion_queue.pyx.pxi, PollerCompletionQueue
        if not thread_starts.possible():
            message = "the stream cannot be opened any more: the process is ending, and no thread can be started"
            raise NetworkError(message)
        duplex = _GrpcDuplex(self._channel(), self._target, tls=self._tls)
        fault: SynapError | None = None
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await duplex.open({**metadata, **self._authorization()})
        except TimeoutError:
            fault = NetworkTimeoutError(f"the stream at {self._target} could not be reached in time")
        except SynapError as error:
            fault = error.with_traceback(None)
        except asyncio.CancelledError:
            await duplex.close()
            raise
        if fault is not None:
            await duplex.close()
            # Outside of the handler: the frames of the gRPC library hold the key.
            raise fault
        return duplex

    def _authorization(self) -> dict[str, str]:
        key = self._settings.api_key
        return {"authorization": f"Bearer {key.reveal()}"} if key else {}

    def _channel(self) -> grpc.aio.Channel:
        options = [
            ("grpc.max_receive_message_length", MAX_RECEIVED_BYTES),
            ("grpc.max_send_message_length", -1),
            # Channels to one address share a connection otherwise: the one that replaces a stream whose peer has
            # vanished would get the same dead connection again.
            ("grpc.use_local_subchannel_pool", 1),
            # Heartbeats are messages of our own; pings below them only rarely, for servers that count them.
            ("grpc.keepalive_time_ms", 300_000),
            ("grpc.enable_http_proxy", 0 if self._stream_is_here else 1),
        ]
        if self._tls:
            credentials = grpc.ssl_channel_credentials(trust.roots(self._settings))
            return grpc.aio.secure_channel(self._target, credentials, options=options)
        return grpc.aio.insecure_channel(self._target, options=options)

    def close(self) -> None:
        """Nothing here outlives an event loop."""


class _GrpcDuplex:
    """One ``Listen`` call over gRPC."""

    def __init__(self, channel: grpc.aio.Channel, target: str, *, tls: bool) -> None:
        self._channel = channel
        self._target = target
        self._tls = tls
        self._call: Any = None

    async def open(self, metadata: Mapping[str, str]) -> None:
        """Connect and make the call."""
        state = self._channel.get_state(try_to_connect=True)
        while state is not grpc.ChannelConnectivity.READY:
            if state in {grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN}:
                raise await self._why_not()
            await self._channel.wait_for_state_change(state)
            state = self._channel.get_state(try_to_connect=True)
        self._call = self._channel.stream_stream(LISTEN)(metadata=tuple(metadata.items()))

    async def _why_not(self) -> SynapError:
        """Why there is no connection. Of a handshake that failed only a call learns what was wrong: one without a key,
        which fails at once.
        """
        if self._tls:
            call = self._channel.stream_stream(LISTEN)()
            said = await call.details()
            call.cancel()
            if (fault := trust.refused(said or "", self._target.removeprefix("dns:///"))) is not None:
                return fault
        return NetworkError(
            "the stream's address refuses connections: check the platform, the network and SYNAP_GRPC_HOST"
        )

    async def accepted(self) -> bool:
        """When the headers of the answer are there, unless they came together with its end."""
        try:
            await self._call.initial_metadata()
        except grpc.RpcError:
            return False
        return not self._call.done()

    async def write(self, message: bytes) -> None:
        """Send one message."""
        fault: SynapError | None = None
        try:
            await self._call.write(message)
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            fault = _fault(error)
        if fault is not None:
            raise fault

    async def read(self) -> bytes | None:
        """The next message, None at the end."""
        fault: SynapError | None = None
        try:
            message = await self._call.read()
            if message is not grpc.aio.EOF:
                return cast("bytes", message)
            if await self._call.code() is grpc.StatusCode.OK:
                return None
            fault = stream_fault(
                (await self._call.code()).name,
                await self._call.details() or "",
                _texts(await self._call.trailing_metadata()),
            )
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            fault = _fault(error)
        raise fault

    async def half_close(self) -> None:
        """Nothing more will be written."""
        try:
            await self._call.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError):
            _log.debug("synap: the stream was gone before it was closed")

    async def close(self) -> None:
        """End the call and the channel."""
        if self._call is not None:
            self._call.cancel()
        await self._channel.close()


def _fault(error: Exception) -> SynapError:
    if isinstance(error, grpc.aio.AioRpcError):
        return stream_fault(error.code().name, error.details() or "", _texts(error.trailing_metadata()))
    return stream_fault("UNAVAILABLE", "the stream is closed")


def _texts(metadata: Any) -> dict[str, str]:  # noqa: ANN401 - grpc is untyped
    return {key: value for key, value in metadata or () if isinstance(value, str)}
