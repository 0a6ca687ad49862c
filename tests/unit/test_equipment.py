"""What the other tests rely on does what it says: proxies cut, disks fail, clocks jump, checkers find what is wrong."""

import asyncio
import socket
import sqlite3
import time

import pytest
from clocks import in_virtual_time
from connections import answered_by
from faultproxy import BLACK_HOLE, REFUSE, Fate, FaultProxy
from faulty_disk import FULL, OK, FaultyDisk
from history import assert_accounted, assert_delivered
from killpoints import POINTS
from power_loss import recorded, states
from sabotage import PROTECTIONS, found, switch_off
from socket_platform import LOSE

from synap_integrations.client import SynapClient
from synap_integrations.errors import NetworkError
from synap_integrations.model import Envelope, Scope, UserMessage
from synap_integrations.outbox import Counts


def turn(text: str) -> Envelope:
    """A user's turn."""
    return Envelope.seal(Scope("c", "ana"), UserMessage(text))


@pytest.fixture
def echo():
    """A server on loopback that sends back what it gets."""

    async def answer(reader, writer) -> None:
        while data := await reader.read(1_000):
            writer.write(data)
            await writer.drain()
        writer.close()

    import threading  # noqa: PLC0415 - only here

    loop, ready = asyncio.new_event_loop(), threading.Event()
    ports: list[int] = []
    over = asyncio.Event()

    async def serve() -> None:
        async with answered_by(answer) as port:
            ports.append(port)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(5)
    yield ports[0]
    loop.call_soon_threadsafe(over.set)
    thread.join(5)
    loop.close()


def said_back(port: int, data: bytes, timeout_s: float = 0.5) -> bytes:
    """What comes back for these bytes until the connection ends, or nothing comes any more."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        try:
            connection.sendall(data)
            while len(heard) < len(data) and (more := connection.recv(1_000)):
                heard += more
        except OSError:
            return heard
    return heard


def test_the_proxy_passes_refuses_swallows_and_cuts(echo) -> None:
    """One fate for each connection of the script, then the usual one."""
    with FaultProxy(echo) as proxy:
        proxy.script += [Fate(), REFUSE, BLACK_HOLE, Fate(cut_after=3), Fate(corrupt=1.0)]
        assert said_back(proxy.port, b"hello") == b"hello"
        assert said_back(proxy.port, b"hello") == b""
        assert said_back(proxy.port, b"hello") == b""
        assert len(said_back(proxy.port, b"hello")) <= 3
        assert said_back(proxy.port, b"hello") not in (b"hello", b"")
        assert said_back(proxy.port, b"hello") == b"hello"
        assert proxy.connections == 6


def test_the_proxy_drips_and_freezes(echo) -> None:
    """Some bytes a second; and silence without an end."""
    with FaultProxy(echo) as proxy:
        proxy.script += [Fate(drip=2)]
        began = time.monotonic()
        assert said_back(proxy.port, b"1234", timeout_s=5) == b"1234"
        assert time.monotonic() - began >= 0.9
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=0.3) as connection:
            connection.sendall(b"a")
            assert connection.recv(1) == b"a"
            proxy.freeze()
            connection.sendall(b"b")
            with pytest.raises(TimeoutError):
                connection.recv(1)


def test_the_disk_writes_down_what_happens_and_fails_when_told(tmp_path) -> None:
    """SQLite's own writes, in their order; files elsewhere are left alone."""
    with FaultyDisk(tmp_path / "watched") as disk:
        (tmp_path / "watched").mkdir()
        watched = sqlite3.connect(tmp_path / "watched" / "a.db", isolation_level=None)
        watched.execute("PRAGMA journal_mode = WAL").close()
        watched.execute("CREATE TABLE t(x)")
        other = sqlite3.connect(tmp_path / "b.db", isolation_level=None)
        other.execute("CREATE TABLE t(x)")
        assert {op.path.rpartition("/")[2] for op in disk.log} == {"a.db", "a.db-journal", "a.db-wal"}
        assert {"write", "sync", "delete"} <= {op.kind for op in disk.log}
        assert (tmp_path / "watched" / "a.db-shm").exists()
        disk.on_write = lambda path, nth: FULL
        with pytest.raises(sqlite3.OperationalError, match="full"):
            watched.execute("INSERT INTO t VALUES (1)")
        disk.on_write = lambda path, nth: OK
        watched.execute("INSERT INTO t VALUES (2)")
        assert watched.execute("SELECT x FROM t").fetchall() == [(2,)]
        watched.close()
        other.close()


def test_power_can_go_at_every_moment_and_leave_anything(tmp_path) -> None:
    """States before the first promise and after the last, some with writes missing that others have."""
    run = recorded(tmp_path / "run", durability="power", turns=5)
    found = list(states(run, each=3))
    assert len(found) == 3 * len(run.log)
    assert (found[0].promised, found[-1].promised != frozenset()) == (frozenset(), True)
    assert len({tuple(sorted(state.files.items())) for state in found}) > 20


def test_a_virtual_hour_takes_no_time() -> None:
    """The loop's clock goes on when there is nothing to do."""

    async def main(loop) -> float:
        await asyncio.sleep(3_600)
        return loop.time()

    began = time.monotonic()
    assert in_virtual_time(main) >= 3_600
    assert time.monotonic() - began < 60


def test_the_checker_finds_what_is_lost_doubled_or_out_of_order() -> None:
    """And figures that do not add up."""
    one, two = turn("one"), turn("two")
    assert_delivered([one, two], [one, two])
    for received in ([one], [two, one], [one, two, two], [one, two, turn("three")]):
        with pytest.raises(AssertionError):
            assert_delivered([one, two], received)
    assert_delivered([one, two], [one, one, two], once=False)
    with pytest.raises(AssertionError):
        assert_accounted(Counts(captured=2, delivered=1))


async def test_the_platform_can_lose_an_answer_and_keep_the_turn(synap_platform) -> None:
    """Its ledger has the request, its store the turn, and the client an error."""
    client = SynapClient(**synap_platform.address)
    synap_platform.rest_script.append(LOSE)
    with pytest.raises(NetworkError):
        await client.conversation.record_message("c-1", "user", "hello", "ana")
    assert synap_platform.contents() == ["hello"]
    assert synap_platform.paths() == ["/v1/conversations/messages"]
    await client.close()


@pytest.mark.parametrize("name", PROTECTIONS)
def test_what_can_be_switched_off_is_there(name) -> None:
    """A function that was moved or renamed is noticed here, and not only by the long run that switches it off."""
    holder, last = found(PROTECTIONS[name].target)
    assert hasattr(holder, last)


def test_what_is_switched_off_is_named() -> None:
    """An unknown name is an error, not a run that proves nothing; a kill point says what it is."""
    with pytest.raises(KeyError):
        switch_off("no such protection")
    assert all(protection.tests for protection in PROTECTIONS.values())
    assert all(point.what and ":" in point.target for point in POINTS.values())
