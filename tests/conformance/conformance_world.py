"""What the conformance run has around it: a server process to start, kill and look into. Standard library only."""

import asyncio
import http.client
import json
import re
import signal
import socket
import sqlite3
import subprocess
import time
import uuid
from contextlib import closing
from pathlib import Path

KEY = "synap_test_key_for_conformance"
LISTEN = "/synap.v1.SynapService/Listen"


class World:
    """One `synap dev` process over one file; ``folder`` is for whatever a client keeps."""

    def __init__(self, python: str, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "synap.db"
        self._python = python
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it, on the ports it had before."""
        command = [self._python, "-m", "synap_integrations.cli", "dev", "--json", "--db", str(self.file)]
        command += ["--api-key", KEY, "--port", str(self.port)]
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        said = json.loads(self.process.stdout.readline())
        self.port = int(said["url"].rpartition(":")[2])
        self.url, self.grpc_port = said["url"], int(said["grpc"].rpartition(":")[2])

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """End it as Ctrl-C would."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(10)

    def call(self, method: str, path: str, body: object = None) -> tuple[int, dict, object]:
        """Status, headers and answer of a request that no client touches."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            sent = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
            line.request(method, path, None if body is None else json.dumps(body), sent)
            answer = line.getresponse()
            return answer.status, dict(answer.getheaders()), json.loads(answer.read() or b"null")
        finally:
            line.close()

    def rows(self, query: str, *parameters: object) -> list[tuple]:
        """What the file holds."""
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=10)) as db:
            return db.execute(query, parameters).fetchall()

    def turns(self, conversation: str) -> list[str]:
        """The contents of a conversation's turns."""
        query = "SELECT content FROM owned_turn WHERE conversation_id = ? OR own_name = ? ORDER BY position"
        return [row[0] for row in self.rows(query, conversation, conversation)]

    def locked(self) -> sqlite3.Connection:
        """Nobody writes until this connection is closed."""
        db = sqlite3.connect(self.file, isolation_level=None, timeout=10)
        db.execute("BEGIN IMMEDIATE")
        return db


def name() -> str:
    """An id that nobody else has."""
    return str(uuid.uuid4())


async def until(condition, *, within_s: float = 20.0) -> bool:
    """True as soon as the condition holds; False if it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True


def is_a(error: BaseException | None, kind: str) -> bool:
    """True for an error of this class or of one below it, whoever defines them."""
    return kind in {known.__name__ for known in type(error).__mro__}


async def error_of(call) -> BaseException | None:
    """What the call raises, None if nothing."""
    try:
        await call
    except Exception as error:  # noqa: BLE001 - the error is the answer
        return error
    return None


class LossyWay:
    """A way to the server on which the answer to the first request with this in it is lost, after it was answered."""

    def __init__(self, world: World, marked: bytes) -> None:
        self._world = world
        self._marked = marked
        self.lost = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self.folder, self.grpc_port = self._world.folder, self._world.grpc_port
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _carry(self, reader, writer) -> None:
        """One connection, one request at a time, as the client sends them."""
        try:
            while request := await _whole(reader):
                answer = await asyncio.to_thread(self._asked, request)
                if self._marked in request and not self.lost:
                    self.lost += 1
                    return
                writer.write(answer)
                await writer.drain()
        finally:
            writer.close()

    def _asked(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self._world.port)) as line:
            port = self.url.rpartition(":")[2].encode()
            request = request.replace(b"127.0.0.1:" + port, f"127.0.0.1:{self._world.port}".encode(), 1)
            line.sendall(re.sub(rb"(?i)connection: keep-alive", b"connection: close", request, count=1))
            return b"".join(iter(lambda: line.recv(65536), b""))


async def _whole(reader) -> bytes:
    """A request with its body; empty when the client is gone."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return head + await reader.readexactly(int(length[1])) if length else head


class RawLine:
    """A stream without a client: the messages alone. ``messages`` is whoever's generated module."""

    def __init__(self, world: World, messages, *, key: str = KEY) -> None:
        import grpc  # noqa: PLC0415 - the driver's own

        self.messages = messages
        self.heard = []
        self.ended = None
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{world.grpc_port}")
        listen = self._channel.stream_stream(
            LISTEN,
            request_serializer=messages.StreamEvent.SerializeToString,
            response_deserializer=messages.StreamResponse.FromString,
        )
        self._call = listen(metadata=(("authorization", f"Bearer {key}"),))
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for message in self._call:
                self.heard.append(message)
        finally:
            self.ended = await self._call.code()

    async def event(self, event_type: str, **fields: object) -> None:
        """Say what happened."""
        event = self.messages.ConversationEvent(event_type=event_type, **fields)
        await self._call.write(self.messages.StreamEvent(conversation_event=event))

    async def ping(self) -> None:
        """Say that we are there."""
        ping = self.messages.HeartbeatPing(timestamp_ms=7)
        await self._call.write(self.messages.StreamEvent(heartbeat_ping=ping))

    @property
    def kinds(self) -> list[str]:
        """What kind each answer was."""
        return [message.WhichOneof("payload") for message in self.heard]

    @property
    def acknowledged(self) -> list[str]:
        """The event ids that were acknowledged."""
        return [event_id for message in self.heard for event_id in message.event_ack.event_ids]

    @property
    def bundles(self) -> list:
        """What was pushed."""
        return [message.context_bundle for message in self.heard if message.WhichOneof("payload") == "context_bundle"]

    async def half_close(self) -> None:
        """Nothing more to say; what is still to be heard is heard."""
        await self._call.done_writing()

    async def close(self) -> None:
        """Say goodbye and hang up."""
        if not self._reader.done():
            await self.half_close()
        await asyncio.wait({self._reader}, timeout=3)
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._channel.close()
