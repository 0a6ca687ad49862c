"""What tests of processes, servers and senders rely on: kills that kill, children that tell, platforms that obey."""

import socket
import ssl

import pytest
import zygote
from certificates import TlsServer, written
from delivery_world import DELIVERED, DOWN, WRITTEN, call, play, turn
from dev_server import dev_server, server_in_process
from killpoints import POINTS
from platform_apart import KEPT, platform_apart
from programs import EQUIPMENT, python
from transports import ScriptedTransport, first_then, texts

from synap_integrations.client import SynapClient
from synap_integrations.errors import AuthenticationError, ListeningNotActiveError


def test_a_receiver_keeps_whole_lines_and_knows_half_of_one(tmp_path) -> None:
    """What a sender wrote in part before it died is nobody's turn; what it wrote whole stays."""
    receiver = zygote.FileReceiver(tmp_path / "received")
    receiver.write(f"\nid-1 c-1 hello there{zygote.END}".encode())
    receiver.write(b"\nid-2 c-1 hel")
    receiver.write(f"\nid-3 c-1 again{zygote.END}".encode())
    assert zygote.received(tmp_path) == [("id-1", "c-1", "hello there"), ("id-3", "c-1", "again")]


def test_the_zygote_kills_children_that_were_capturing(tmp_path) -> None:
    """Every child tells of turns before it dies, none of them ends by itself, and what they wrote is there."""
    done = python(str(EQUIPMENT / "zygote.py"), str(tmp_path), "5", "1")
    assert (done.returncode, done.stderr) == (0, "")
    children = {turn.partition("-")[0] for turn in done.stdout.split()}
    assert children == {"0", "1", "2", "3", "4"}
    assert list((tmp_path / "outbox").glob("ob-*.db"))  # nobody has closed it


def test_a_process_dies_at_the_point_that_is_named_and_only_there(tmp_path) -> None:
    """At K5 what was committed is not told; a point that no function leads to is missed, and said to be."""
    done = python(str(EQUIPMENT / "killpoints.py"), str(tmp_path), "1", "K5", "K6")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.startswith("told")] == ["reached K5", "reached K6"]
    never = "import killpoints as k; k.POINTS['never'] = k.Point('never', 'killpoints:main', 'before', 1); k.main()"
    done = python("-c", never, str(tmp_path / "other"), "1", "never")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "missed never"), done.stderr
    assert len(done.stdout.splitlines()) == 31  # all of its turns, and this line


def test_every_point_names_a_function_that_exists() -> None:
    """A renamed function is no point that is never reached."""
    import importlib  # noqa: PLC0415 - only here

    for name, point in POINTS.items():
        module, _, path = point.target.partition(":")
        found: object = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
        assert callable(found), name
        assert point.when in {"before", "after", "half", "inside"}


@pytest.mark.parametrize("fault", ["expired", "wrong-host", "unknown"])
def test_a_certificate_is_wrong_for_the_reason_that_is_named(fault, tmp_path) -> None:
    """Trusted as it is, the one of an unknown issuer is fine; the other two are refused for their own reasons."""
    with TlsServer(written(tmp_path, fault)) as server:
        context = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
            if fault == "unknown":
                with context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
                    secured.sendall(b"hello")
            else:
                why = {"expired": "expired", "wrong-host": "IP address mismatch"}[fault]
                with pytest.raises(ssl.SSLCertVerificationError, match=why):
                    context.wrap_socket(plain, server_hostname="127.0.0.1")
    assert server.handshakes == 1
    assert server.received == (b"hello" if fault == "unknown" else b"")


def test_a_scripted_platform_fails_as_often_as_told_and_counts_it() -> None:
    """Two failures, then everything; attempts, what was received, and how many were under way at once are noted."""

    async def scene(world) -> None:
        world.append(turn("one"), turn("two"), turn("other", "c-2"))
        await world.drained()

    world = play(scene, first_then([DOWN, DOWN]), takes_s=0.5)
    assert sorted(texts(world.transport.received)) == ["one", "other", "two"]
    assert len(world.transport.attempts) == 5
    assert world.transport.most_at_once <= 2
    assert world.transport.opened == world.transport.closed == 1
    assert world.loop.time() < 3_600


async def test_a_scripted_platform_has_a_stream_that_can_be_missing() -> None:
    """What needs the stream is refused without one; turns go."""
    heard = []
    platform = ScriptedTransport(stream=OSError("no"), needs_stream=True)
    with pytest.raises(OSError, match="no"):
        await platform.open(heard.append)
    with pytest.raises(ListeningNotActiveError):
        await platform.send(call())
    assert await platform.send(turn("hello")) == DELIVERED
    platform.stream, platform.script = None, lambda _: WRITTEN
    await platform.open(heard.append)
    said = call()
    assert await platform.send(said) == WRITTEN
    platform.acknowledge(said)
    assert [getattr(inbound, "kind", None) or inbound.event_ids for inbound in heard] == ["connected", (said.event_id,)]


def test_a_world_that_does_not_add_up_is_no_success() -> None:
    """A scene in which something waits too long fails, and so does one whose platform never answers."""

    async def scene(world) -> None:
        world.append(turn("hello"))
        await world.drained(within_s=5)

    with pytest.raises(TimeoutError):
        play(scene, lambda _: None)


@pytest.mark.parametrize("start", [dev_server, server_in_process])
def test_a_server_of_the_tests_takes_turns_and_its_own_key_alone(start) -> None:
    """The one that is a process, and the one on a thread."""
    with start() as server:
        server.say("hello")
        assert server.turns() == ["hello"]
        status, _ = server.get("/v1/conversations/chat/messages?user_id=ana", Authorization="Bearer another")
        assert status == 401


async def test_a_server_of_the_tests_is_gone_afterwards(tmp_path) -> None:
    """Also when it was killed; its file is there for the next one."""
    with dev_server(tmp_path / "synap.db") as server:
        server.say("hello")
        server.kill()
    assert server.process.returncode == -9
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.http_port), timeout=5)
    with dev_server(tmp_path / "synap.db") as server:
        assert server.turns() == ["hello"]


async def test_the_platform_apart_answers_and_keeps_little() -> None:
    """Of a long conversation it knows the last turns only; it takes no key but its own."""
    with platform_apart() as address:
        async with SynapClient(**address) as client:
            for number in range(KEPT + 3):
                last = await client.conversation.record_message("c-1", "assistant", f"turn {number}", "ana")
        assert last["conversation_message_count"] == KEPT
        async with SynapClient(**address | {"api_key": "synap_another_key_than_its_own"}) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.initialize()
