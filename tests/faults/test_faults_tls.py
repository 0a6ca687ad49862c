"""TLS: what travels over it, and whom it refuses. Turns that cannot be sent are kept, and somebody says what to do."""

import asyncio
import logging
import socket
import ssl
import time
from pathlib import Path

import pytest
from history import assert_accounted
from socket_platform import KEY, SocketPlatform

from synap_integrations import InvalidInputError, Scope, Settings, Synap, SynapClient, TlsHandshakeError
from synap_integrations.cli.checks import reachable
from synap_integrations.client import trust
from synap_integrations.model import ContextBundle, ToolCall, UserMessage
from synap_integrations.rate_limited_log import RateLimitedLog
from synap_integrations.wire.handshakes import handshake_fault
from synap_integrations.wire.proto import ContextBundleProto, ContextItemList, ContextItemProto

pytest.importorskip("cryptography.x509")
from certificates import Authority, TlsServer, old_only

# A loop that ends in the middle of a handshake leaves its transport to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

SCOPE = Scope("2f0f8d3c-4f0e-4e0a-9a63-1b6a39d6b6a1", "ana")


@pytest.fixture(autouse=True)
def no_authorities_of_the_machine(monkeypatch):
    """Whom the machine of the tests trusts is nobody's business here; each test may be told once a minute."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(trust, "_said", RateLimitedLog(logging.getLogger(trust.__name__)))


@pytest.fixture
def company(tmp_path) -> Authority:
    """The authority of a company, which the public does not know."""
    return Authority(tmp_path)


@pytest.fixture
def platform(company):
    """A platform that this company has certified."""
    with SocketPlatform(company.issued()) as platform:
        yield platform


def pushed(text: str) -> ContextBundleProto:
    """A bundle for Ana."""
    items = {"facts": ContextItemList(items=[ContextItemProto(item_id="i", content=text, confidence=0.9)])}
    return ContextBundleProto(bundle_id="b", items_by_type=items, anticipation_user_id="ana")


async def assert_everything_travels(platform: SocketPlatform, **settings: object) -> None:
    """A turn over REST; a tool call out, and a bundle in, over the stream."""
    synap = Synap(**platform.address, **settings)
    try:
        synap.record(UserMessage("hello"), scope=SCOPE)
        synap.record(ToolCall("search", {}, "call-1"), scope=SCOPE)
        assert await asyncio.to_thread(synap.flush, 30)
        platform.push(pushed("lives in Lisbon"))
        await platform.until(lambda: synap.status().bundles == 1, 30)
        assert_accounted(synap._outbox.counts(), captured=2, delivered=2, waiting=0)
    finally:
        await asyncio.to_thread(synap.close, 5)
    assert platform.contents() == ["hello"]
    assert {event.tool_call_id for event in platform.events} == {"call-1"}  # written twice if acknowledged late
    assert platform.opened[0]["authorization"] == f"Bearer {KEY}"


async def test_turn_event_and_bundle_travel_over_tls(platform, company) -> None:
    """With the company's authority in the settings, REST and stream complete their handshakes and carry everything."""
    await assert_everything_travels(platform, ca_file=company.file)


async def test_the_variable_of_openssl_counts_for_both(platform, company, monkeypatch) -> None:
    """Whoever has told Python whom to trust need not tell us, nor gRPC, again."""
    monkeypatch.setenv("SSL_CERT_FILE", str(company.file))
    await assert_everything_travels(platform)


async def test_the_setting_beats_the_variable(platform, company, tmp_path, monkeypatch) -> None:
    """As every setting of ours does what is set for everybody."""
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path, "other").file))
    monkeypatch.setenv("SYNAP_CA_FILE", str(company.file))
    await assert_everything_travels(platform)


async def test_the_client_hears_over_tls(platform, company) -> None:
    """Also without delivery: the verbs of the client, with the file as an argument of its own."""
    heard: list = []
    async with SynapClient(**platform.address, ca_file=str(company.file)) as client:
        await client.conversation.record_message(
            conversation_id=SCOPE.conversation_id, role="user", content="hi", user_id="ana"
        )
        await client.instance.listen(on_inbound=heard.append)
        platform.push(pushed("likes tea"))
        (bundle,) = await platform.until(lambda: [one for one in heard if isinstance(one, ContextBundle)])
    assert [item.text for item in bundle.items] == ["likes tea"]
    assert platform.contents() == ["hi"]


def test_without_the_file_nothing_is_sent_and_nothing_lost(platform, company, caplog) -> None:
    """Refused on both surfaces; the turn waits, the log says once what to do, and it goes out when that is done."""
    with Synap(**platform.address) as synap:
        for text in ("one", "two"):
            synap.record(UserMessage(text), scope=SCOPE)
        deadline = time.monotonic() + 60
        while synap.status().state != "held: tls_handshake":
            assert not synap.flush(1)
            assert time.monotonic() < deadline
        assert_accounted(synap._outbox.counts(), captured=2, waiting=2, dead_letters=0)
    assert (platform.requests, platform.opened) == ([], [])
    rest, _stream = sorted({line for line in caplog.messages if "no TLS" in line}, key=lambda line: "https" not in line)
    assert "set SYNAP_CA_FILE to your company's authorities (PEM)" in rest
    assert len([line for line in caplog.messages if "no TLS" in line]) == 2
    with Synap(**platform.address, ca_file=company.file) as synap:
        assert synap.flush(30)
    assert platform.contents() == ["one", "two"]


REFUSED = {
    "another authority": ("authority", "export SYNAP_CA_FILE="),
    "another name": ("name", "export SYNAP_BASE_URL="),
    "out of date": ("time", "date "),
    "TLS 1.1": ("version", "TLS 1.2 or later"),
    "no TLS": ("no_tls", "synap settings"),
}


def served(what: str, company: Authority, folder: Path) -> SocketPlatform | TlsServer:
    """Something at an address that must not be talked to."""
    if what == "no TLS":
        return SocketPlatform()
    certificates = {
        "another authority": lambda: Authority(folder, "other").issued(),
        "another name": lambda: company.issued(address="10.0.0.1"),
        "out of date": lambda: company.issued(days_left=-1),
        "TLS 1.1": company.issued,
    }
    return TlsServer(certificates[what](), old=what == "TLS 1.1")


@pytest.mark.parametrize("what", REFUSED)
async def test_who_cannot_prove_who_he_is_gets_nothing(what, company, tmp_path) -> None:
    """On the stream and on REST, each for its own reason, which is named; not a byte of ours is sent."""
    reason, _ = REFUSED[what]
    with served(what, company, tmp_path) as server:
        port = server.grpc_port if isinstance(server, SocketPlatform) else server.port
        address = {"base_url": f"https://127.0.0.1:{port}", "grpc_host": "127.0.0.1", "grpc_port": port}
        async with SynapClient(KEY, **address, ca_file=company.file) as client:
            with pytest.raises(TlsHandshakeError) as on_the_stream:
                await client.instance.listen()
            if what != "no TLS":  # a server of HTTP/2 without TLS lets a handshake over HTTP/1.1 wait
                with pytest.raises(TlsHandshakeError) as on_rest:
                    await client._connection.rest.send(_whoami())
                assert on_rest.value.details["reason"] == reason
        assert on_the_stream.value.details["reason"] == reason
        if isinstance(server, TlsServer):
            assert server.handshakes >= 2
            assert server.received == b""


async def test_a_proxy_without_http2_keeps_the_stream_away_and_says_so(company) -> None:
    """The certificate is right, and yet there is no stream: another reason, with another fix."""
    with TlsServer(company.issued(), protocols=("http/1.1",)) as server:
        address = {"base_url": "https://127.0.0.1:9", "grpc_host": "127.0.0.1", "grpc_port": server.port}
        async with SynapClient(KEY, **address, ca_file=company.file) as client:
            with pytest.raises(TlsHandshakeError, match="no HTTP/2"):
                await client.instance.listen()
    assert KEY.encode() not in server.received


def test_the_old_server_would_talk_to_whoever_is_old_enough(company) -> None:
    """The control of the test above: it does complete a handshake of TLS 1.1."""
    context = ssl.create_default_context(cafile=company.file)
    old_only(context)
    with (
        TlsServer(company.issued(), old=True) as server,
        socket.create_connection(("127.0.0.1", server.port)) as plain,
    ):
        try:
            secured = context.wrap_socket(plain, server_hostname="127.0.0.1")
        except ssl.SSLError as error:
            pytest.skip(f"this OpenSSL has no TLS 1.1 any more: {error}")
        assert secured.version() == "TLSv1.1"
        secured.close()


@pytest.mark.parametrize("what", [what for what in REFUSED if what != "no TLS"])
async def test_the_doctor_names_the_fix(what, company, tmp_path) -> None:
    """Each reason has a command of its own."""
    _, fix = REFUSED[what]
    with served(what, company, tmp_path) as server:
        address = {"base_url": f"https://127.0.0.1:{server.port}", "grpc_host": "127.0.0.1", "grpc_port": server.port}
        settings = Settings.read(api_key=KEY, **address, ca_file=company.file)
        (finding,) = await reachable.platform_findings(settings)
    assert finding.level == "problem"
    assert fix in finding.fix


async def test_the_doctor_says_whom_is_trusted_and_that_it_works(platform, company) -> None:
    """The file, where its name comes from, and both surfaces open."""
    settings = Settings.read({"SYNAP_CA_FILE": str(company.file)}, **platform.address)
    said = [finding.says for finding in reachable.settings_findings(settings) if finding.about == "certificates"]
    assert said == [f"trusted is who is in {company.file} (SYNAP_CA_FILE), and nobody else"]
    assert [finding.level for finding in await reachable.platform_findings(settings)] == ["fine", "fine"]


def unusable(folder: Path, what: str) -> Path:
    """A path that holds no certificates."""
    path = folder / "ca.pem"
    match what:
        case "text":
            path.write_text("no certificate\n", encoding="utf-8")
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "der":
            path.write_bytes(ssl.PEM_cert_to_DER_cert(Authority(folder, "der").file.read_text(encoding="ascii")))
    return path


@pytest.mark.parametrize("what", ["missing", "text", "folder", "empty", "der"])
def test_a_file_that_cannot_be_used_is_an_error_at_once(tmp_path, what, monkeypatch) -> None:
    """As an argument and as a variable: one sentence that names it, what is wrong, and the fix."""
    path = unusable(tmp_path, what)
    with pytest.raises(InvalidInputError, match="ask for your company's, or unset it") as given:
        Synap(api_key=KEY, ca_file=path)
    assert str(given.value).startswith("ca_file: ")
    monkeypatch.setenv("SYNAP_CA_FILE", str(path))
    with pytest.raises(InvalidInputError, match=f"SYNAP_CA_FILE: '{path}' is no file of certificates") as named:
        SynapClient(KEY)
    assert named.value.details["argument"] == "SYNAP_CA_FILE"


@pytest.mark.parametrize("name", ["SYNAP_CA_FILE", "SSL_CERT_FILE"])
def test_a_file_that_goes_missing_costs_no_turn(platform, company, monkeypatch, name) -> None:
    """Between start and first use, or named by somebody else: turns wait for it, none becomes a dead letter."""
    monkeypatch.setenv(name, str(company.file))
    pem = company.file.read_bytes()
    with Synap(**platform.address) as synap:
        company.file.unlink()
        synap.record(UserMessage("one"), scope=SCOPE)
        synap.record(ToolCall("search", {}, "call-1"), scope=SCOPE)
        assert not synap.flush(3)
        assert_accounted(synap._outbox.counts(), captured=2, waiting=2, dead_letters=0)
        company.file.write_bytes(pem)
        assert synap.flush(30)
    assert platform.contents() == ["one"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("All connection attempts failed", None),
        ("failed to connect to all addresses; last error: UNKNOWN: Failed to connect to remote host: refused", None),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1)", "authority"),
        ("Ssl handshake failed: SSL_ERROR_SSL: OPENSSL_internal:CERTIFICATE_VERIFY_FAILED", "authority"),
        ("Ssl handshake failed: Hostname Verification Check failed.", "name"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1)", "no_tls"),
        ("[SSL] something new", "unknown"),
    ],
)
def test_what_a_library_says_is_told_apart(said, reason) -> None:
    """In the words of OpenSSL and of older and newer gRPC; what is no matter of TLS is none."""
    fault = handshake_fault(said)
    assert (fault and fault.details["reason"]) == reason


def _whoami():
    from synap_integrations.client.calls import whoami  # noqa: PLC0415 - only here

    return whoami()
