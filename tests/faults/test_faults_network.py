"""Networks that cut, swallow, drip, freeze and flip bits: the chain does not notice, and every turn arrives once."""

import asyncio
import statistics
import time

import pytest
from faultproxy import BLACK_HOLE, REFUSE, Fate, FaultProxy
from history import assert_accounted
from socket_platform import Answer, SocketPlatform
from waiting import until

from synap_integrations import Scope, Synap
from synap_integrations.client import SynapClient
from synap_integrations.client.line import Timing
from synap_integrations.client.remote import RemotePlatform
from synap_integrations.client.retry import Backoff
from synap_integrations.model import ToolCall, UserMessage
from synap_integrations.settings import Settings

SCOPE = Scope("2f0f8d3c-4f0e-4e0a-9a63-1b6a39d6b6a1", "ana")


@pytest.fixture
def rest(synap_platform):
    """A proxy before the platform's REST surface."""
    with FaultProxy(synap_platform.rest_port) as proxy:
        yield proxy


def synap_behind(proxy: FaultProxy, platform: SocketPlatform, **settings: object) -> Synap:
    """A Synap whose REST calls go through the proxy."""
    address = platform.address | {"base_url": f"http://127.0.0.1:{proxy.port}"}
    return Synap(**address, **({"request_timeout_s": 2.0} | settings))


def say(synap: Synap, *texts: str) -> None:
    """Record turns of one conversation."""
    for text in texts:
        synap.record(UserMessage(text), scope=SCOPE)


def assert_all_arrived(synap: Synap, platform: SocketPlatform, texts: list[str]) -> None:
    """Each once, in order, and the figures say so."""
    assert synap.flush(30)
    assert platform.contents() == texts
    assert_accounted(synap._outbox.counts(), captured=len(texts), delivered=len(texts), waiting=0)


@pytest.mark.parametrize("after", [0, 1, 90, 300, 420, 470, 520])
def test_a_connection_cut_anywhere_in_a_request(synap_platform, rest, after) -> None:
    """Reset after so many bytes of it: sent again, stored once, in order."""
    rest.script += [Fate(), Fate(cut_after=after), Fate(cut_after=after)]
    with synap_behind(rest, synap_platform) as synap:
        say(synap, "one")
        assert synap.flush(10)
        rest.script.clear()
        rest.script += [Fate(cut_after=after)] * 2
        say(synap, "two", "three")
        assert_all_arrived(synap, synap_platform, ["one", "two", "three"])


def test_a_refused_connection_is_tried_until_it_is_accepted(synap_platform, rest) -> None:
    """Down at the start, up a second later."""
    rest.usual = REFUSE
    with synap_behind(rest, synap_platform) as synap:
        say(synap, "one", "two")
        assert not synap.flush(0.7)
        rest.usual = Fate()
        assert_all_arrived(synap, synap_platform, ["one", "two"])


def test_a_black_hole_costs_the_chain_nothing(synap_platform, rest) -> None:
    """Connections are accepted and nothing ever comes back: capture is as fast as before, and everything is kept."""
    rest.usual = BLACK_HOLE
    with synap_behind(rest, synap_platform, shutdown_timeout_s=0.2) as synap:
        say(synap, "first")
        took = []
        for number in range(200):
            began = time.perf_counter()
            say(synap, str(number))
            took.append(time.perf_counter() - began)
            time.sleep(0.002)
        assert statistics.median(took) < 0.02
        assert max(took) < 2
        assert synap.status().waiting == 201


def test_an_answer_that_drips_has_a_deadline_as_a_whole(synap_platform, rest) -> None:
    """A few bytes a second, for ever: given up in time, and sent again on another connection."""
    with synap_behind(rest, synap_platform, request_timeout_s=1.0) as synap:
        rest.script += [Fate(), Fate(drip=3)]
        say(synap, "one", "two")
        assert_all_arrived(synap, synap_platform, ["one", "two"])


def test_a_platform_that_restarts_loses_no_turn(synap_platform, rest) -> None:
    """Gone for a moment again and again while turns are captured; what it had it keeps."""
    texts = [f"turn {number}" for number in range(60)]
    with synap_behind(rest, synap_platform) as synap:
        for number, text in enumerate(texts):
            rest.usual = REFUSE if number % 20 < 5 else Fate()
            if number % 20 == 0:
                rest.freeze()
            say(synap, text)
            time.sleep(0.01)
        rest.usual = Fate()
        assert_all_arrived(synap, synap_platform, texts)


def test_a_frozen_stream_is_replaced_and_what_it_took_is_sent_again(synap_platform) -> None:
    """The peer vanished without a word: no answer to a heartbeat, a new connection, nothing lost, order kept."""
    timing = Timing(heartbeat_s=0.2, answer_s=0.2, quiet_s=0.1, first_sign_s=0.2)
    with FaultProxy(synap_platform.grpc_port) as stream:
        address = synap_platform.address | {"grpc_port": stream.port}
        client = SynapClient(**address, inline=True, timing=timing, backoff=Backoff(first_s=0.02, longest_s=0.05))
        with Synap(client) as synap:
            for number in range(30):
                synap.record(ToolCall("search", {}, f"call-{number}"), scope=SCOPE)
                if number == 15:
                    assert synap.flush(10)
                    stream.freeze()
            assert synap.flush(20)
        first = dict.fromkeys(event.tool_call_id for event in synap_platform.events)
        assert list(first) == [f"call-{number}" for number in range(30)]
        assert stream.connections >= 2


@pytest.mark.parametrize("status", [402, 403, 401])
def test_an_account_that_may_not_holds_everything_and_loses_nothing(synap_platform, rest, status) -> None:
    """No credit, no right, no key: one try, a state that says so, and the turns stay."""
    synap_platform.answers["/v1/conversations/messages"] = Answer(status, body={"detail": "no"})
    with synap_behind(rest, synap_platform, shutdown_timeout_s=0.5) as synap:
        say(synap, "one", "two")
        assert not synap.flush(1.0)
        until(lambda: synap.status().state.startswith("held: "))
        assert (synap.status().waiting, len(synap_platform.paths())) == (2, 1)


@pytest.mark.parametrize("status", [400, 404, 405, 413, 415, 422])
def test_a_turn_that_is_refused_for_good_does_not_stop_its_neighbours(synap_platform, rest, status) -> None:
    """It becomes a dead letter, with the platform's reason."""
    with synap_behind(rest, synap_platform) as synap:
        say(synap, "one")
        assert synap.flush(10)
        synap_platform.rest_script += [Answer(status, body={"detail": "not this one"})]
        say(synap, "two", "three")
        assert synap.flush(10)
        assert synap_platform.contents() == ["one", "three"]
        assert_accounted(synap._outbox.counts(), captured=3, delivered=2, dead_letters=1)


@pytest.mark.parametrize("where", ["nowhere.invalid", "[::1]"], ids=["no-such-name", "nobody-there-on-ipv6"])
def test_an_address_that_leads_nowhere_is_tried_in_the_background(tmp_path, where) -> None:
    """A name that does not exist, an address where nobody listens: capture does not wait, nothing is raised."""
    began = time.monotonic()
    address = {
        "base_url": f"http://{where}:9" if "::1" in where else f"https://{where}",
        "grpc_host": where.strip("[]"),
    }
    tls = "::1" not in where
    synap = Synap(api_key="synap_test_key", **address, grpc_port=9, grpc_use_tls=tls, connect_timeout_s=0.5)
    say(synap, "one")
    assert time.monotonic() - began < 1.0
    assert not synap.flush(0.5)
    assert synap.status().waiting == 1
    synap.close(0.5)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # a loop that ends in the middle of a handshake
@pytest.mark.parametrize("fault", ["self-signed", "expired", "wrong-host"])
def test_a_certificate_that_cannot_be_trusted_is_refused(tmp_path, synap_platform, fault) -> None:
    """The turn is kept, the key is not sent, and there is no switch that turns the check off."""
    x509 = pytest.importorskip("cryptography.x509")
    from certificates import TlsServer, written  # noqa: PLC0415 - needs cryptography

    assert x509
    with TlsServer(written(tmp_path, fault)) as server:
        address = {"base_url": f"https://127.0.0.1:{server.port}", "grpc_host": "127.0.0.1", "grpc_port": server.port}
        synap = Synap(api_key="synap_test_key", **address, grpc_use_tls=True, connect_timeout_s=1.0)
        say(synap, "one")
        assert not synap.flush(1.5)
        assert synap.status().waiting == 1
        synap.close(0.5)
        assert server.handshakes >= 1
        assert server.received == b""


def test_pings_on_the_connection_are_rare(monkeypatch) -> None:
    """A platform with stock settings counts them, and ends a stream that pings more often than every five minutes."""
    import grpc  # noqa: PLC0415 - only here

    platform = RemotePlatform(Settings.read(api_key="synap_test_key", base_url="http://127.0.0.1:1"))
    seen = {}
    insecure = grpc.aio.insecure_channel

    def watched(target, options):
        seen.update(options)
        return insecure(target, options=options)

    async def make() -> None:
        await platform._channel().close()

    monkeypatch.setattr(grpc.aio, "insecure_channel", watched)
    asyncio.run(make())
    assert seen["grpc.keepalive_time_ms"] >= 300_000


@pytest.mark.soak
def test_a_line_of_a_kilobyte_per_second_makes_progress(synap_platform, rest) -> None:
    """Slow is not broken: no storm of repeats, everything arrives."""
    rest.usual = Fate(drip=1_000)
    with synap_behind(rest, synap_platform, request_timeout_s=10.0) as synap:
        texts = [f"turn {number}" for number in range(10)]
        say(synap, *texts)
        assert_all_arrived(synap, synap_platform, texts)
        assert len(synap_platform.paths()) <= 12


@pytest.mark.soak
def test_bits_that_flip_on_the_way_never_break_us(synap_platform) -> None:
    """On a plain connection nothing finds them all; nothing crashes, and every turn is accounted for."""
    with FaultProxy(synap_platform.rest_port) as rest, FaultProxy(synap_platform.grpc_port) as stream:
        rest.usual = stream.usual = Fate(corrupt=0.05)
        address = synap_platform.address | {"base_url": f"http://127.0.0.1:{rest.port}", "grpc_port": stream.port}
        with Synap(**address, request_timeout_s=1.0) as synap:
            for number in range(100):
                say(synap, str(number))
                synap.record(ToolCall("search", {}, f"call-{number}"), scope=SCOPE)
            synap.flush(20)
            rest.usual = stream.usual = Fate()
            stream.freeze()
            synap.flush(60)
            counts = synap._outbox.counts()
        assert counts.captured == 200
        assert counts.add_up
