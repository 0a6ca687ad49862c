"""A platform on two real loopback ports, in a thread, for tests.

It answers the REST calls and the ``Listen`` stream as the wire says, keeps a ledger of everything it received, and
misbehaves on demand:

    platform.rest_script += [Answer(503), HANG, CUT, LOSE, KEEP]   # one entry per request, then normal again
    platform.refuse_stream = "UNAUTHENTICATED"               # end each new stream with this status
    platform.acks = platform.pongs = platform.greets = False  # say nothing
    platform.poison.add("call-7")                            # end the stream when this text or call arrives on it
    platform.dedupes = False                                 # store whatever comes, as often as it comes
    platform.push(bundle); platform.say(response); platform.drop_streams()
"""

import asyncio
import json
import ssl
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final, Self

import grpc
from connections import answered_by

from synap_integrations.wire.proto import (
    ContextBundleProto,
    ConversationEvent,
    ConversationState,
    EventAck,
    HeartbeatPong,
    SessionControl,
    StreamEvent,
    StreamResponse,
    StreamSignal,
)

KEY: Final = "synap_test_key"
TURNS: Final = ("user_message", "assistant_message")


@dataclass
class Answer:
    """What a REST request gets instead of the usual."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | dict = b"{}"


HANG: Final = "hang"  # never answer
CUT: Final = "cut"  # close the connection without an answer, nothing stored
LOSE: Final = "lose"  # store, then close the connection without an answer
KEEP: Final = "keep"  # store, then never answer


@dataclass
class Request:
    """One REST request as it was received."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: dict


@dataclass(eq=False)
class _Stream:
    """One open ``Listen`` call."""

    context: grpc.aio.ServicerContext
    over: asyncio.Event = field(default_factory=asyncio.Event)
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def write(self, data: StreamResponse | bytes) -> None:
        async with self.writing:
            if not self.over.is_set():
                await self.context.write(data if isinstance(data, bytes) else data.SerializeToString())


class SocketPlatform:
    """Start with ``with SocketPlatform() as platform``; all attributes may be read and set from the test's thread.

    ``certificate`` is a file with key and certificate: then both ports speak TLS, and nothing else.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self._certificate = certificate
        self.requests: list[Request] = []
        self.opened: list[dict[str, str]] = []
        self.events: list[ConversationEvent] = []
        self.controls: list[SessionControl] = []
        self.used: list = []
        self.stored: dict[str, dict] = {}
        self.rest_script: deque = deque()
        self.answers: dict[str, Answer] = {}
        self.refuse_stream: str | None = None
        self.trailers: tuple = ()
        self.acks = self.pongs = self.greets = True
        self.poison: set[str] = set()
        self.dedupes = True
        self.isolation: str | None = "optional"
        self._streams: list[_Stream] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    # --- for the test --------------------------------------------------------------------------------------------

    @property
    def address(self) -> dict:
        """Arguments for `SynapClient`."""
        tls = self._certificate is not None
        return {
            "api_key": KEY,
            "base_url": f"{'https' if tls else 'http'}://127.0.0.1:{self.rest_port}",
            "grpc_host": "127.0.0.1",
            "grpc_port": self.grpc_port,
            "grpc_use_tls": tls,
        }

    def paths(self) -> list[str]:
        """What was asked for over REST, in order, without the introduction."""
        return [request.path for request in self.requests if not request.path.endswith("whoami")]

    def contents(self) -> list[str]:
        """The turns that were stored, in order, whichever way they came."""
        return [turn["content"] for turn in self.stored.values()]

    def say(self, response: StreamResponse | bytes) -> None:
        """Send a message, or any bytes, on every open stream."""

        async def to_all() -> None:
            for stream in list(self._streams):
                await stream.write(response)

        asyncio.run_coroutine_threadsafe(to_all(), self._loop).result(10)

    def push(self, bundle: ContextBundleProto) -> None:
        """Push context on every open stream."""
        self.say(StreamResponse(context_bundle=bundle))

    def signal(self, kind: str, **metadata: str) -> None:
        """Send a signal on every open stream."""
        self.say(StreamResponse(signal=StreamSignal(signal_type=kind, metadata=metadata)))

    def acknowledge(self, *event_ids: str) -> None:
        """Acknowledge these events on every open stream."""
        self.say(StreamResponse(event_ack=EventAck(event_ids=event_ids)))

    def drop_streams(self) -> None:
        """End every open stream."""
        for stream in list(self._streams):
            self._loop.call_soon_threadsafe(stream.over.set)

    async def until(self, condition, timeout_s: float = 10.0):
        """Wait until the condition holds."""
        deadline = time.monotonic() + timeout_s
        while not (outcome := condition()):
            assert time.monotonic() < deadline, "it did not happen in time"
            await asyncio.sleep(0.005)
        return outcome

    # --- life ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 4 << 20)])
        method = grpc.stream_stream_rpc_method_handler(self._listen, request_deserializer=StreamEvent.FromString)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("synap.v1.SynapService", {"Listen": method}),)
        )
        tls = None
        if self._certificate is None:
            self.grpc_port = server.add_insecure_port("127.0.0.1:0")
        else:
            pem = self._certificate.read_bytes()
            self.grpc_port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pem, pem)]))
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(self._certificate)
        await server.start()
        async with answered_by(self._http, tls=tls) as self.rest_port:
            self._ready.set()
            await self._stopped.wait()
        for stream in self._streams:
            stream.over.set()
        await server.stop(0.2)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    # --- stream --------------------------------------------------------------------------------------------------

    async def _listen(self, _: object, context) -> None:
        self.opened.append({key: value for key, value in context.invocation_metadata() if isinstance(value, str)})
        if self.refuse_stream:
            await context.abort(getattr(grpc.StatusCode, self.refuse_stream), "refused", self.trailers)
        stream = _Stream(context)
        self._streams.append(stream)
        if self.greets:
            await context.send_initial_metadata(())
        try:
            reader = asyncio.create_task(self._read(stream))
            ended = asyncio.create_task(stream.over.wait())
            await asyncio.wait({reader, ended}, return_when=asyncio.FIRST_COMPLETED)
            if reader.done():
                await asyncio.sleep(0.05)  # an end that comes at once is taken for a loss by the platform's SDK
            reader.cancel()
        finally:
            stream.over.set()
            self._streams.remove(stream)

    async def _read(self, stream: _Stream) -> None:
        while (event := await stream.context.read()) is not grpc.aio.EOF:
            match event.WhichOneof("payload"):
                case "heartbeat_ping" if self.pongs:
                    await stream.write(StreamResponse(heartbeat_pong=HeartbeatPong()))
                case "session_control":
                    self.controls.append(event.session_control)
                case "context_used":
                    self.used.append(event.context_used)
                case "conversation_event":
                    await self._take(event.conversation_event, stream)

    async def _take(self, event: ConversationEvent, stream: _Stream) -> None:
        self.events.append(event)
        if {event.content, event.tool_call_id} & self.poison:
            stream.over.set()
            return
        if event.event_type in TURNS and event.event_id not in self.stored:
            self.stored[event.event_id] = {
                "role": event.role,
                "content": event.content,
                "conversation_id": event.conversation_id,
                "timestamp": _now(),
            }
            state = ConversationState(conversation_id=event.conversation_id, message_count=len(self.stored))
            await stream.write(StreamResponse(conversation_state=state))
        if self.acks:
            # The platform's SDK misses an acknowledgement that overtakes the return of its write.
            await asyncio.sleep(0.005)
            await stream.write(StreamResponse(event_ack=EventAck(event_ids=[event.event_id])))

    # --- REST ----------------------------------------------------------------------------------------------------

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")) != b"":
                first, *lines = head.decode().rstrip("\r\n").split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, target, _ = first.split(" ")
                path, _, query = target.partition("?")
                request = Request(method, path, query, headers, json.loads(body) if body else {})
                self.requests.append(request)
                scripted = not path.endswith(("whoami", "telemetry/batch", "/health")) and bool(self.rest_script)
                answer = self.rest_script.popleft() if scripted else self.answers.get(path) or self._usual(request)
                if answer in (LOSE, KEEP):
                    self._usual(request)
                if answer in (HANG, KEEP):
                    await self._stopped.wait()
                if isinstance(answer, str):
                    return
                content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                fields = {"content-type": "application/json", "content-length": str(len(content)), **answer.headers}
                lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
                lines += [f"{name}: {value}" for name, value in fields.items()]
                writer.write("\r\n".join([*lines, "", ""]).encode() + content)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    def _usual(self, request: Request) -> Answer:  # noqa: PLR0911 - a table of paths
        if request.path == "/api/v1/auth/whoami":
            return self._whoami(request)
        if request.path == "/v1/conversations/messages":
            return Answer(body=self._store(request.body, request.headers.get("idempotency-key")))
        if request.path == "/v1/conversations/messages/batch":
            results = [self._store(entry, None) for entry in request.body["messages"]]
            counts = {"total": len(results), "succeeded": len(results), "failed": 0}
            return Answer(body={**counts, "results": results, "errors": []})
        if request.path.endswith("/messages"):
            return self._listed(request)
        if request.path.endswith("/fetch"):
            item = {"id": "item-1", "content": f"said by {request.body.get('user_id')}", "confidence": 0.9}
            return Answer(body={"context": {"facts": [item], "episodes": None}, "ttl_seconds": -1})
        if request.path.endswith("/context-for-prompt"):
            turns = self._turns_of(request.path.split("/")[3])
            return Answer(body={"formatted_context": "User: hello", "available": True, "recent_messages": turns})
        if request.path == "/v1/telemetry/batch":
            return Answer(202)
        return Answer(404, body={"detail": "there is no such thing"})

    def _whoami(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return Answer(401, body={"detail": "unknown key"})
        ids = {"client_id": "cli_00000000000000aa", "instance_id": "inst_00000000000000aa"}
        return Answer(body={**ids, "user_context_isolation": self.isolation})

    def _store(self, entry: dict, event_id: str | None) -> dict:
        message_id = event_id if event_id and self.dedupes else str(uuid.uuid4())
        self.stored.setdefault(message_id, entry | {"timestamp": _now()})
        return {
            "message_id": message_id,
            "conversation_id": entry["conversation_id"],
            "session_id": entry.get("session_id") or "session-of-the-platform",
            "recorded_at": "2026-05-16T12:00:00+00:00",
            "conversation_message_count": len(self._turns_of(entry["conversation_id"])),
        }

    def _turns_of(self, conversation_id: str) -> list[dict]:
        return [
            {"message_id": message_id} | {name: turn[name] for name in ("role", "content", "timestamp")}
            for message_id, turn in self.stored.items()
            if turn.get("conversation_id") == conversation_id
        ]

    def _listed(self, request: Request) -> Answer:
        turns = self._turns_of(request.path.split("/")[3])
        asked = dict(part.split("=") for part in request.query.split("&"))
        start = int(asked["start"])
        page = enumerate(turns[start - 1 : start - 1 + int(asked["limit"])], start)
        return Answer(body={"turns": [turn | {"position": position} for position, turn in page]})


def _now() -> str:
    """As the wire has it."""
    return datetime.now(UTC).isoformat()
