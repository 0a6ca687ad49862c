"""Which requests a local Synap lets in: a table of what a browser, a rebound name or a smuggler may send."""

import base64
import hmac
import os

import pytest

from synap_integrations.errors import InvalidInputError
from synap_integrations.secret import Secret
from synap_integrations.server.serving.access import Access, kept_key, new_key
from synap_integrations.server.serving.gate import LOOPBACK_NAMES, Gate, Head
from synap_integrations.server.serving.limits import Limits

KEY = "synap_test_key"
GATE = Gate(
    access=Access(Secret(KEY)), port=8787, limits=Limits(), public=frozenset({"/health", "/"}), basic=("/read/",)
)
BEARER = ("Authorization", f"Bearer {KEY}")
HOST = ("Host", "127.0.0.1:8787")
JSON = ("Content-Type", "application/json")
ELSEWHERE = "http://evil.example"


def basic(password: str, user: str = "") -> tuple[str, str]:
    """What a browser sends after it asked for the key."""
    return "Authorization", f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def status(method: str, path: str, *headers: tuple[str, str], gate: Gate = GATE) -> int:
    """What the gate answers; 200 where it lets in."""
    refused = gate.refusal(Head(method, path, headers))
    return 200 if refused is None else refused.status


HOSTS = {
    "127.0.0.1:8787": 200,
    "localhost:8787": 200,
    "[::1]:8787": 200,
    "127.0.0.1": 421,
    "localhost": 421,
    "127.0.0.1:80": 421,
    "127.0.0.1:8788": 421,
    "127.0.0.1:08787": 421,
    "127.0.0.1:8787 ": 421,
    " 127.0.0.1:8787": 421,
    "127.0.0.1:8787,evil.example": 421,
    "127.0.0.2:8787": 421,
    "127.1:8787": 421,
    "2130706433:8787": 421,
    "0x7f.0.0.1:8787": 421,
    "0.0.0.0:8787": 421,
    "[::]:8787": 421,
    "[::ffff:127.0.0.1]:8787": 421,
    "::1:8787": 421,
    "LOCALHOST:8787": 421,
    "localhost.:8787": 421,
    "localhost.evil.example:8787": 421,
    "evil.example:8787": 421,
    "evil.example": 421,
    "127.0.0.1.nip.example:8787": 421,
    "user@127.0.0.1:8787": 421,
    "127.0.0.1:8787@evil.example": 421,
    "127.0.0.1:8787/": 421,
    "http://127.0.0.1:8787": 421,
    "127.0.0.1:8787#": 421,
    "192.168.1.7:8787": 421,
    ":8787": 421,
    "": 421,
}


@pytest.mark.parametrize(("host", "expected"), HOSTS.items(), ids=[host or "empty" for host in HOSTS])
def test_only_a_name_of_this_machine_with_our_port_is_answered(host, expected) -> None:
    """A name that somebody made resolve to this machine gets nothing, even with the key."""
    assert status("GET", "/v1/credits/balance", ("Host", host), BEARER) == expected


def test_a_request_without_a_host_is_not_for_us() -> None:
    """HTTP/1.0 can leave the Host out; nobody who means us does."""
    assert status("GET", "/health") == 421


ORIGINS = {
    "http://127.0.0.1:8787": 200,
    "http://localhost:8787": 403,
    "http://[::1]:8787": 403,
    "https://127.0.0.1:8787": 403,
    "http://127.0.0.1": 403,
    "http://127.0.0.1:8788": 403,
    "http://127.0.0.1:8787/": 403,
    "http://127.0.0.1:8787.evil.example": 403,
    "http://evil.example": 403,
    "http://evil.example:8787": 403,
    "HTTP://127.0.0.1:8787": 403,
    "null": 403,
    "": 403,
    "file://": 403,
    "chrome-extension://abcdefghijklmnop": 403,
}


@pytest.mark.parametrize(("origin", "expected"), ORIGINS.items(), ids=[origin or "empty" for origin in ORIGINS])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_of_another_origin_may_not_ask(method, origin, expected) -> None:
    """An Origin must be the very address that was called, for reading as for writing, key or not."""
    assert status(method, "/v1/conversations/messages", HOST, ("Origin", origin), BEARER, JSON) == expected


SITES = {"same-origin": 200, "none": 200, "same-site": 403, "cross-site": 403, "": 403, "Same-Origin": 403, "evil": 403}


@pytest.mark.parametrize(("site", "expected"), SITES.items(), ids=[site or "empty" for site in SITES])
def test_a_page_of_another_site_may_not_ask(site, expected) -> None:
    """A browser says where a request comes from; another port of this machine is another site's page, too."""
    assert status("GET", "/", HOST, ("Sec-Fetch-Site", site)) == expected


CONTENT_TYPES = {
    "application/json": 200,
    "application/json; charset=utf-8": 200,
    "Application/JSON": 200,
    "text/plain": 415,
    "application/x-www-form-urlencoded": 415,
    "multipart/form-data; boundary=x": 415,
    "text/plain; application/json": 415,
    "application/json-seq": 415,
    "": 415,
}


@pytest.mark.parametrize(
    ("content_type", "expected"), CONTENT_TYPES.items(), ids=[kind or "empty" for kind in CONTENT_TYPES]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_changes_something_is_json(method, content_type, expected) -> None:
    """A form, which any page can send without being asked, changes nothing."""
    assert status(method, "/v1/data/delete", HOST, BEARER, ("Content-Type", content_type)) == expected


def test_a_post_without_a_content_type_changes_nothing_and_a_delete_needs_none() -> None:
    """A browser asks before it sends a DELETE elsewhere, but not before a POST."""
    assert status("POST", "/v1/data/delete", HOST, BEARER) == 415
    assert status("DELETE", "/api/v1/memories/m-1", HOST, BEARER) == 200


FORMS = {"multipart/form-data; boundary=x": 200, "application/x-www-form-urlencoded": 200, "text/plain": 415, "": 415}


@pytest.mark.parametrize(("content_type", "expected"), FORMS.items(), ids=["parts", "fields", "text", "nothing"])
def test_a_file_comes_as_a_form_to_one_path_with_the_key_in_a_header(content_type, expected) -> None:
    """A page elsewhere can send a form, but neither the key nor an origin of ours with it."""
    form = ("Content-Type", content_type)
    assert status("POST", "/api/v1/memories/upload", HOST, BEARER, form) == expected
    assert status("POST", "/api/v1/memories/create", HOST, BEARER, form) == 415
    assert status("POST", "/api/v1/memories/upload", HOST, BEARER, form, ("Origin", ELSEWHERE)) == 403
    assert status("POST", "/api/v1/memories/upload", HOST, basic(KEY), JSON) == 401


METHODS = {"OPTIONS": 405, "TRACE": 405, "CONNECT": 405, "PROPFIND": 405, "get": 405, "": 405, "HEAD": 200}


@pytest.mark.parametrize(("method", "expected"), METHODS.items(), ids=[method or "empty" for method in METHODS])
def test_nobody_is_told_that_they_may_ask_from_elsewhere(method, expected) -> None:
    """A preflight is refused like any other method that is not there; there is no CORS answer."""
    assert status(method, "/health", HOST) == expected


KEYS = {
    f"Bearer {KEY}": 200,
    f"bearer {KEY}": 200,
    f"Bearer  {KEY} ": 200,
    f"Bearer {KEY}x": 401,
    f"Bearer {KEY[:-1]}": 401,
    f"Bearer {KEY.upper()}": 401,
    "Bearer ": 401,
    "Bearer": 401,
    "": 401,
    KEY: 401,
    f"Token {KEY}": 401,
    f"Bearer {KEY} {KEY}": 401,
    "Bearer sch\u00fcssel": 401,
    f"Basic {KEY}": 401,
}


@pytest.mark.parametrize(("authorization", "expected"), KEYS.items(), ids=[str(at) for at in range(len(KEYS))])
def test_only_the_key_itself_opens(authorization, expected) -> None:
    """Whoever has no key, part of it, or something like it, is refused by name of the variable to set."""
    assert status("GET", "/v1/credits/balance", HOST, ("Authorization", authorization)) == expected


def test_the_key_is_asked_of_every_path_that_is_not_named_public() -> None:
    """A path that nobody thought of needs the key; what is public is listed and holds no data."""
    for path in ("/v1/anything", "/read/", "/x", "//", "/health/", "/HEALTH", "/health/../v1/x", "/%2e/"):
        assert status("GET", path, HOST) == 401, path
    for path in ("/health", "/"):
        assert status("GET", path, HOST) == 200, path


def test_a_browser_without_scripts_may_ask_for_the_key_but_only_to_read() -> None:
    """Basic with the key as password opens the pages that can be read, and nothing that changes something."""
    assert status("GET", "/read/", HOST, basic(KEY)) == 200
    assert status("GET", "/read/conversations/1", HOST, basic(KEY, user="anybody")) == 200
    assert status("GET", "/read/", HOST, basic("wrong")) == 401
    assert status("GET", "/v1/credits/balance", HOST, basic(KEY)) == 401
    assert status("GET", "/readable", HOST, basic(KEY)) == 401
    assert status("POST", "/read/", HOST, basic(KEY), JSON) == 401
    for broken in ("Basic", "Basic !!!", "Basic /w==", "Basic " + "A" * 999):
        assert status("GET", "/read/", HOST, ("Authorization", broken)) == 401
    refused = GATE.refusal(Head("GET", "/read/", (HOST,)))
    assert refused is not None
    assert refused.headers["www-authenticate"].startswith("Basic")


HTML = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        ("GET", "/v1/x", (HTML,), True),
        ("HEAD", "/read/x", (HTML,), True),
        ("GET", "/read/x", (("Accept", "TEXT/HTML"),), True),
        ("GET", "/read/x", (), False),
        ("GET", "/read/x", (("Accept", "*/*"),), False),
        ("GET", "/read/x", (("Accept", "text/html, application/json"),), False),
        ("POST", "/v1/x", (HTML, JSON), False),
    ],
)
def test_a_reader_is_a_browser_that_asks_for_html_by_name(method, path, headers, expected) -> None:
    """Only a browser that opens an address is answered as a person; a program never is, nor what changes something."""
    refused = GATE.refusal(Head(method, path, (HOST, *headers)))
    assert refused is not None
    assert refused.status == 401
    assert refused.to_reader is expected


def test_other_refusals_are_for_nobody_to_read() -> None:
    """A request that is not for us learns nothing but that, also as a browser."""
    for headers in ((HTML,), (("Host", "evil.example:8787"), HTML), (HOST, ("Origin", ELSEWHERE), HTML)):
        refused = GATE.refusal(Head("GET", "/read/x", headers))
        assert refused is not None
        assert refused.status in {421, 403}
        assert not refused.to_reader


@pytest.mark.parametrize(
    "name", ["Host", "Origin", "Authorization", "Content-Type", "Content-Length", "Sec-Fetch-Site"]
)
def test_a_header_that_decides_is_not_there_twice(name) -> None:
    """Where two programs could take a different one of two values, there is no request."""
    given = {"Content-Length": "2", "Origin": "http://127.0.0.1:8787", "Sec-Fetch-Site": "none"}
    given |= dict([HOST, BEARER, JSON])
    headers = (*given.items(), (name.lower(), given[name]))
    assert status("POST", "/v1/conversations/messages", *headers) == 400


def test_two_lengths_of_one_body_are_none() -> None:
    """Chunks and a length contradict each other: whoever is in between may read another request than we do."""
    both = (("Content-Length", "4"), ("Transfer-Encoding", "chunked"))
    assert status("POST", "/v1/conversations/messages", HOST, BEARER, JSON, *both) == 400


def test_what_is_too_large_is_refused_before_it_is_read() -> None:
    """Bodies above 8 MB and heads above 32 KB."""
    length = ("Content-Length", str((8 << 20) + 1))
    assert status("POST", "/v1/conversations/messages", HOST, BEARER, JSON, length) == 413
    assert status("GET", "/health", HOST, ("X-Long", "x" * (32 << 10))) == 431
    assert status("GET", "/" + "x" * (32 << 10), HOST, BEARER) == 431


def test_where_others_may_ask_an_address_will_do_but_no_foreign_name() -> None:
    """Beyond this machine it is called by an address, which nobody can rebind, or by a name that was allowed."""
    wide = Gate(access=GATE.access, port=8787, limits=Limits(), names=LOOPBACK_NAMES | {"synap"}, any_address=True)
    for host in ("192.168.1.7:8787", "[fe80::1]:8787", "synap:8787", "localhost:8787"):
        assert status("GET", "/health", ("Host", host), gate=wide) == 200, host
    for host in ("evil.example:8787", "192.168.1.7:80", "synap.evil.example:8787", "1.2.3:8787"):
        assert status("GET", "/health", ("Host", host), gate=wide) == 421, host


def test_wrong_keys_are_told_from_the_key_in_constant_time(monkeypatch) -> None:
    """Both ways of giving the key compare it with `hmac.compare_digest`, whole, and with nothing else."""
    compared, real = [], hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    opened = Access(Secret(KEY))
    assert opened.bearer(f"Bearer {KEY}")
    assert not opened.bearer("Bearer x")
    assert not opened.basic(basic("x")[1])
    assert compared == [(given.encode(), KEY.encode()) for given in (KEY, "x", "x")]


def test_a_key_that_is_made_cannot_be_guessed() -> None:
    """256 random bits, another one each time, and whoever holds them does not print them."""
    made = [new_key() for _ in range(100)]
    assert len({key.reveal() for key in made}) == 100
    assert {len(bytes.fromhex(key.reveal().removeprefix("synap_local_"))) for key in made} == {32}
    assert made[0].reveal() not in f"{vars(Access(made[0]))} {GATE} {made[0]!r}"


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777], ids=oct)
def test_a_kept_key_is_for_its_user_alone(tmp_path, umask) -> None:
    """Mode 0600 whatever the umask, and the same key the next time."""
    path = tmp_path / "local.key"
    before = os.umask(umask)
    try:
        key = kept_key(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept_key(path) == key


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o644], ids=oct)
def test_a_key_that_others_can_read_is_not_used(tmp_path, mode) -> None:
    """The error names the file and the command that mends it."""
    path = tmp_path / "local.key"
    kept_key(path)
    path.chmod(mode)
    with pytest.raises(InvalidInputError, match=f"chmod 600 {path}"):
        kept_key(path)


@pytest.mark.parametrize("text", ["", "short", "x" * 100 + " y", "\x00" * 90], ids=["empty", "short", "two", "nul"])
def test_a_file_that_holds_no_key_is_not_one(tmp_path, text) -> None:
    """An empty or broken file never becomes a key that is easy to guess."""
    path = tmp_path / "local.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(InvalidInputError, match="delete it"):
        kept_key(path)


def test_a_link_is_not_followed_to_a_key(tmp_path) -> None:
    """Whoever can put a link there cannot make us read or write elsewhere."""
    kept_key(tmp_path / "other.key")
    (tmp_path / "local.key").symlink_to(tmp_path / "other.key")
    with pytest.raises(OSError, match="Too many levels"):
        kept_key(tmp_path / "local.key")
