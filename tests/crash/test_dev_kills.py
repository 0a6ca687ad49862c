"""kill -9 of a local server at random moments: what it acknowledged is there, once and in order."""

import asyncio
import random
import signal
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import grpc
import pytest
from dev_server import KEY, Served, start_dev_server

from synap_integrations import SynapClient
from synap_integrations.wire.proto import ConversationEvent, StreamEvent, StreamResponse

LISTEN = "/synap.v1.SynapService/Listen"


@dataclass
class Victim:
    """A server that is killed and started again, on the same ports over the same file."""

    db: Path
    seed: int
    server: Served = field(init=False)
    kills: int = 0

    def __post_init__(self) -> None:
        self.server = start_dev_server(self.db)

    def restart(self) -> None:
        """The next one, where the last one was."""
        ports = ("--port", str(self.server.http_port), "--grpc-port", str(self.server.grpc_port))
        self.server = start_dev_server(self.db, *ports)

    def kill(self) -> None:
        """No goodbye."""
        self.server.kill()
        assert self.server.process.returncode == -signal.SIGKILL
        self.server.process.communicate()
        self.kills += 1

    async def die(self, times: int, over: asyncio.Event) -> None:
        """Be killed so many times, each time at a random moment of whatever is going on."""
        chance = random.Random(self.seed)
        for _ in range(times):
            await asyncio.sleep(chance.uniform(0.02, 0.4))
            await asyncio.to_thread(self.kill)
            await asyncio.to_thread(self.restart)
        over.set()


async def by_rest(victim: Victim, name: str, acknowledged: list[str], over: asyncio.Event) -> None:
    """Record turn after turn, each until it is confirmed, with one idempotency key each."""
    while not over.is_set() or len(acknowledged) < 20:
        content = f"{name}-{len(acknowledged)}"
        body = {"conversation_id": name, "user_id": "ana", "role": "user", "content": content}
        with suppress(OSError, HTTPException):
            status, _ = await asyncio.to_thread(
                victim.server.post, "/v1/conversations/messages", body, Idempotency_Key=content
            )
            if status == 200:
                acknowledged.append(content)


async def by_stream(victim: Victim, name: str, acknowledged: list[str], over: asyncio.Event) -> None:
    """Send turn after turn, each until it is acknowledged, with one event id each."""
    while not over.is_set() or len(acknowledged) < 20:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{victim.server.grpc_port}") as channel:
            call = channel.stream_stream(LISTEN)(metadata=(("authorization", f"Bearer {KEY}"),))
            with suppress(grpc.aio.AioRpcError, TimeoutError):
                while not over.is_set() or len(acknowledged) < 20:
                    content = f"{name}-{len(acknowledged)}"
                    async with asyncio.timeout(5):
                        await call.write(turn(name, content))
                        while content not in await acknowledged_by(call):
                            pass
                    acknowledged.append(content)
            call.cancel()
        await asyncio.sleep(0.02)


def turn(conversation: str, content: str) -> bytes:
    """A user's turn whose event id is its content."""
    event = ConversationEvent(
        event_type="user_message", conversation_id=conversation, user_id="ana", content=content, event_id=content
    )
    return StreamEvent(conversation_event=event).SerializeToString()


async def acknowledged_by(call) -> list[str]:
    """The event ids of the next message, if it is an acknowledgement."""
    data = await call.read()
    if data is grpc.aio.EOF:
        raise TimeoutError
    return list(StreamResponse.FromString(data).event_ack.event_ids)


async def assert_nothing_acknowledged_is_lost(db: Path, *, times: int, seed: int) -> None:
    """Two writers each way, and a server that dies under them."""
    victim, over = Victim(db, seed), asyncio.Event()
    acknowledged: dict[str, list[str]] = {name: [] for name in ("rest-a", "rest-b", "stream-a", "stream-b")}
    writers = [
        (by_rest if name.startswith("rest") else by_stream)(victim, name, acknowledged[name], over)
        for name in acknowledged
    ]
    async with asyncio.timeout(60 + 3 * times):
        await asyncio.gather(victim.die(times, over), *writers)
    victim.kill()
    assert victim.kills == times + 1
    victim.restart()
    try:
        for name, turns in acknowledged.items():
            stored = everything(victim.server, name)
            assert len(turns) >= 20
            assert stored[: len(turns)] == turns, name
            assert len(stored) == len(set(stored)), name
            assert len(stored) <= len(turns) + 1, "at most the one that was under way"
    finally:
        victim.server.stop()
        victim.server.process.communicate()
    with closing(sqlite3.connect(db)) as check:
        assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def everything(server: Served, conversation: str) -> list[str]:
    """All turns of a conversation, page by page."""
    found: list[str] = []
    while True:
        path = f"/v1/conversations/{conversation}/messages?user_id=ana&start={len(found) + 1}&limit=500"
        page = [entry["content"] for entry in server.get(path)[1]["turns"]]
        if not page:
            return found
        found += page


async def test_what_was_acknowledged_survives_every_kill(tmp_path) -> None:
    """Six kills under four writers: no acknowledged turn is missing, doubled or out of order."""
    await assert_nothing_acknowledged_is_lost(tmp_path / "dev.db", times=6, seed=4)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_what_was_acknowledged_survives_a_hundred_kills(tmp_path) -> None:
    """The same, a hundred times."""
    await assert_nothing_acknowledged_is_lost(tmp_path / "dev.db", times=100, seed=5)


async def test_our_client_finds_the_next_server_by_itself(tmp_path) -> None:
    """A stream that was open goes on with the server that takes the killed one's place; nothing is sent twice."""
    victim = Victim(tmp_path / "dev.db", seed=0)
    reconnected = asyncio.Event()
    try:
        async with SynapClient(**victim.server.address) as client:
            await client.instance.listen(on_reconnect=lambda _: reconnected.set())
            await client.instance.send_message("before the kill", conversation_id="chat", user_id="ana")
            await until(lambda: victim.server.found("kill") == ["before the kill"])
            await asyncio.to_thread(victim.kill)
            waiting = client.instance.send_message("while it is down", conversation_id="chat", user_id="ana")
            await asyncio.gather(waiting, asyncio.to_thread(victim.restart))
            await asyncio.wait_for(reconnected.wait(), 20)
            await client.instance.send_message("after the kill", conversation_id="chat", user_id="ana")
            said = ["after the kill", "before the kill", "while it is down"]
            await until(lambda: sorted(victim.server.found("kill down")) == said)
            await client.instance.stop_listening()
        assert victim.kills == 1
        assert sorted(victim.server.found("kill down")) == said
    finally:
        victim.server.stop()
        victim.server.process.communicate()


async def until(condition, timeout_s: float = 15.0) -> None:
    """Returns when it holds; fails when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)
