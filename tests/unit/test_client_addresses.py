"""A key goes over TLS anywhere, and in clear text only to this machine."""

import pytest

from synap_integrations.client import SynapClient
from synap_integrations.client.addresses import (
    ensure_here,
    is_loopback,
    rest_address,
    say_once_where_it_goes,
    stream_target,
)
from synap_integrations.errors import AuthenticationError, InvalidInputError
from synap_integrations.runtime import Synap

KEY = "synap_canary_5f2c"

ACCEPTED = [
    "https://synap-cloud-prod.maximem.ai",
    "https://synap.example.com:8443",
    "https://synap.example.com/prefix/v2",
    "https://synap.example.com/",
    "https://10.0.0.7",
    "https://[2001:db8::1]:8443",
    "https://127.1",
    "http://127.0.0.1",
    "http://127.0.0.1:8080",
    "http://127.8.8.8:8080/prefix",
    "http://localhost:8080",
    "http://LOCALHOST:8080",
    "http://[::1]:8080",
]

REFUSED = [
    # clear text to another machine, or to what only some readers take for this one
    "http://synap.example.com",
    "http://10.0.0.7",
    "http://192.168.1.1:8080",
    "http://0.0.0.0:8080",
    "http://0",
    "http://127.1",
    "http://127.0.1",
    "http://2130706433",
    "http://0x7f000001",
    "http://0x7f.0.0.1",
    "http://0177.0.0.1",
    "http://127.0.0.1.",
    "http://localhost.",
    "http://localhost.evil.com",
    "http://localhost.localdomain",
    "http://127.0.0.1.evil.com",
    "http://127.0.0.1.nip.io",
    "http://127-0-0-1.evil.com",
    "http://evil-localhost",
    "http://128.0.0.1",
    "http://126.255.255.255",
    "http://127.0.0.256",
    "http://[::]",
    "http://[::ffff:127.0.0.1]",
    "http://[::ffff:7f00:1]",
    "http://[::127.0.0.1]",
    "http://[0:0:0:0:0:0:0:2]",
    "http://[fe80::1]",
    "http://[::1%25eth0]",
    "http://\u2460\u2461\u2466.0.0.1",
    "http://\uff11\uff12\uff17.0.0.1",
    "http://loc\u0430lhost",
    "http://localhost\u3002",
    # a key, or a second host, inside the address
    "https://user:pass@synap.example.com",
    "https://user@synap.example.com",
    "http://127.0.0.1@evil.com",
    "http://evil.com@127.0.0.1",
    "http://127.0.0.1:80@evil.com",
    "http://127.0.0.1\\@evil.com",
    "http://127.0.0.1#@evil.com",
    "http://127.0.0.1?@evil.com",
    "http://127.0.0.1%2f@evil.com",
    f"https://synap.example.com?api_key={KEY}",
    f"https://synap.example.com/#api_key={KEY}",
    # no address, or one that two readers would read in two ways
    "",
    "synap.example.com",
    "//synap.example.com",
    "ftp://synap.example.com",
    "file:///etc/passwd",
    "HTTP:/127.0.0.1",
    "https:///path",
    "https://",
    "https://:8443",
    "https://synap.example.com:99999",
    "https://synap.example.com:port",
    "https://synap.example.com:",
    "https://synap example.com",
    "https://synap.example.com\n.evil.com",
    "https://synap.example.com\\evil",
    "https://synap.example.com/a b",
    "https://synap.example.com//evil.com",
    "https://synap.example.com/%2e%2e",
    " https://synap.example.com",
    "https://-synap.example.com",
    "https://[synap.example.com]",
    "https://\u202ecom.evil",
]


@pytest.mark.parametrize("url", ACCEPTED)
def test_an_address_that_is_safe_is_accepted(url):
    """TLS to any host, clear text to the three spellings of this machine."""
    assert rest_address(url) == url.rstrip("/")


@pytest.mark.parametrize("url", REFUSED)
def test_an_address_that_is_not_is_refused(url):
    """With the argument's name, and without repeating what may be a key."""
    with pytest.raises(InvalidInputError) as refused:
        rest_address(url)
    assert refused.value.details["argument"] == "base_url"
    assert KEY not in str(refused.value)
    assert "pass@" not in str(refused.value)


@pytest.mark.parametrize("url", [url for url in REFUSED if url])
def test_a_client_is_not_even_made_for_it(url):
    """Construction refuses, so nothing can be sent by mistake."""
    with pytest.raises(InvalidInputError):
        SynapClient(KEY, base_url=url)


@pytest.mark.parametrize(
    ("host", "tls", "target"),
    [
        ("synap.example.com", True, "dns:///synap.example.com:443"),
        ("10.0.0.7", True, "dns:///10.0.0.7:443"),
        ("2001:db8::1", True, "dns:///[2001:db8::1]:443"),
        ("unix", True, "dns:///unix:443"),
        ("127.0.0.1", False, "dns:///127.0.0.1:443"),
        ("localhost", False, "dns:///localhost:443"),
        ("::1", False, "dns:///[::1]:443"),
        ("[::1]", False, "dns:///[::1]:443"),
        ("synap.example.com", False, None),
        ("127.1", False, None),
        ("localhost.evil.com", False, None),
        ("::ffff:127.0.0.1", False, None),
        ("unix:/tmp/socket", True, None),
        ("dns:///evil.com", True, None),
        ("evil.com:1/x", True, None),
        ("user@evil.com", True, None),
        ("", True, None),
    ],
)
def test_the_stream_follows_the_same_rule(host, tls, target):
    """A host and nothing else; without TLS only this machine; never one of gRPC's own schemes."""
    if target is None:
        with pytest.raises(InvalidInputError):
            stream_target(host, 443, tls=tls)
    else:
        assert stream_target(host, 443, tls=tls) == target


def test_a_plain_stream_beside_a_safe_rest_address_is_refused():
    """Switching TLS off for the stream alone would send the key and the turns in clear text."""
    with pytest.raises(InvalidInputError, match="grpc_host"):
        SynapClient(KEY, base_url="https://synap.example.com", grpc_use_tls=False)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.255.255.255", "::1", "[::1]"])
def test_this_machine_has_three_spellings(host):
    """Dotted loopback, ``::1`` and ``localhost``."""
    assert is_loopback(host)


@pytest.mark.parametrize("arguments", [{"base_url": "cloud"}, {"base_url": "https://synap.example.com"}])
def test_another_machine_needs_a_key(arguments):
    """The cloud without a key fails at once, with the two ways out."""
    with pytest.raises(AuthenticationError, match="SYNAP_API_KEY"):
        SynapClient(**arguments)


def test_localhost_must_be_this_machine_for_the_resolver_too():
    """A hosts file that sends localhost elsewhere is found before anything is sent in clear text."""

    def elsewhere(name, port):
        return [(2, 1, 6, "", ("127.0.0.1", 0)), (2, 1, 6, "", ("203.0.113.7", 0))]

    with pytest.raises(InvalidInputError, match=r"203\.0\.113\.7"):
        ensure_here("localhost", resolve=elsewhere)
    ensure_here("synap.example.com", resolve=elsewhere)
    ensure_here("localhost")


def warnings_of(caplog) -> list[str]:
    """The warnings about where transcripts go."""
    return [record.getMessage() for record in caplog.records if "sends transcripts" in record.getMessage()]


@pytest.mark.parametrize(
    ("address", "warned"),
    [
        ("https://collector.example.com", True),
        ("https://maximem.ai.example.com", True),
        ("https://staging.maximem.ai", False),
        ("http://127.0.0.1:8787", False),
        ("cloud", False),
    ],
)
def test_a_host_that_only_the_environment_names_is_said_once(monkeypatch, caplog, address, warned):
    """Who redirects an application by a variable leaves a line in its log; the platform and this machine need none."""
    say_once_where_it_goes.cache_clear()
    monkeypatch.setenv("SYNAP_BASE_URL", address)
    for _ in range(3):
        SynapClient(KEY)
    assert len(warnings_of(caplog)) == warned
    assert KEY not in caplog.text


def test_a_host_that_the_code_names_is_meant(monkeypatch, caplog):
    """An address in the code wins over the environment, and is not warned about."""
    say_once_where_it_goes.cache_clear()
    monkeypatch.setenv("SYNAP_BASE_URL", "https://collector.example.com")
    SynapClient(KEY, base_url="https://synap.example.com")
    assert warnings_of(caplog) == []


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"SYNAP_BASE_URL": "htps://foo"}, "SYNAP_BASE_URL is not of the form"),
        ({"SYNAP_BASE_URL": "x"}, "SYNAP_BASE_URL is no address"),
        ({"SYNAP_API_KEY": KEY, "SYNAP_GRPC_HOST": "https://x"}, "SYNAP_GRPC_HOST is no host name"),
        ({"SYNAP_BASE_URL": "cloud"}, "SYNAP_BASE_URL=cloud needs SYNAP_API_KEY"),
        ({"SYNAP_BASE_URL": "https://synap.example.com"}, "SYNAP_BASE_URL=.* needs SYNAP_API_KEY"),
    ],
)
def test_a_synap_is_not_made_for_an_address_where_nothing_may_go(monkeypatch, variables, says):
    """The variable is named at once: delivery would find out on its own thread, where nobody hears of it."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInputError, match=says):
        Synap()


def test_an_address_in_the_code_is_refused_by_its_argument():
    """What the code says is not blamed on the environment."""
    with pytest.raises(InvalidInputError, match=r"^base_url is not of the form"):
        Synap(base_url="htps://foo", api_key=KEY)


@pytest.mark.parametrize("variables", [{}, {"SYNAP_BASE_URL": "http://127.0.0.1:8787"}, {"SYNAP_API_KEY": KEY}])
def test_a_synap_is_made_for_every_other(monkeypatch, variables):
    """The embedded Synap, a server on this machine, the cloud with a key."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with Synap(storage_path=":memory:") as synap:
        assert synap.status().captured == 0
