"""What a server on loopback must withstand: smugglers, slow readers, floods, and whoever has no key."""

import http.client
import json
import re
import socket
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import unquote

import pytest
from dev_server import KEY, Reached, server_in_process
from waiting import until

from synap_integrations.server.inspector import assets

ROOT_FILE = b"root:"


@pytest.fixture(scope="module")
def server():
    """One server in memory for all tests that leave it as it was."""
    with server_in_process() as reached:
        yield reached


def exchange(port: int, *data: bytes, pause_s: float = 0.0, timeout_s: float = 5.0) -> bytes:
    """Everything that comes back until the server closes, or says nothing more for a moment."""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as line:
        heard = b""
        try:
            for part in data:
                line.sendall(part)
                time.sleep(pause_s)
            line.settimeout(timeout_s)
            while more := line.recv(65536):
                heard += more
                line.settimeout(0.25 if timeout_s == 5.0 else timeout_s)
        except (TimeoutError, ConnectionError):
            pass
        return heard


def seconds_until_closed(port: int, *, first: bytes = b"", again: bytes = b"", every_s: float = 0.05) -> float:
    """How long a client is kept that sends ``first`` and then ``again`` and again."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 10) as line:
        try:
            line.sendall(first)
            line.settimeout(every_s)
            while time.monotonic() - started < 10:
                try:
                    if not line.recv(4096):
                        break
                except TimeoutError:
                    line.sendall(again)
        except ConnectionError:
            pass
    return time.monotonic() - started


def head(server: Reached, *more: str, method: str = "POST", path: str = "/v1/conversations/messages") -> bytes:
    """The head of a request with everything it needs, and ``more``."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: 127.0.0.1:{server.http_port}",
        f"Authorization: Bearer {KEY}",
        "Content-Type: application/json",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def turn(content: str) -> bytes:
    """The body of a request that records a turn."""
    return json.dumps({"conversation_id": "c", "user_id": "smuggler", "role": "user", "content": content}).encode()


def smuggled(server: Reached) -> bytes:
    """A request that must never be read as one."""
    body = turn("smuggled")
    return head(server, f"Content-Length: {len(body)}") + body


# --- framing -----------------------------------------------------------------------------------------------------

LINES = {
    "chunked and a length": ("Transfer-Encoding: chunked", "Content-Length: 4"),
    "a length and chunked": ("Content-Length: 4", "Transfer-Encoding: chunked"),
    "two lengths": ("Content-Length: 4", "Content-Length: 40"),
    "the same length twice, once with a plus": ("Content-Length: 4", "Content-Length: +4"),
    "two lengths in one line": ("Content-Length: 4, 40",),
    "a negative length": ("Content-Length: -1",),
    "a length in hexadecimal": ("Content-Length: 0x4",),
    "a length with a space in it": ("Content-Length: 1 0",),
    "an endless length": ("Content-Length: " + "9" * 30,),
    "chunked twice": ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "chunked after identity": ("Transfer-Encoding: identity, chunked",),
    "chunked, misspelt": ("Transfer-Encoding: xchunked",),
    "chunked after a vertical tab": ("Transfer-Encoding: \x0bchunked",),
    "gzip": ("Transfer-Encoding: gzip",),
    "a space before the colon": ("Content-Length : 4",),
    "a folded line": ("X-Folded: a", " Content-Length: 4"),
    "a line without a colon": ("Content-Length 4",),
    "a NUL in a value": ("X-Nul: a\x00b", "Content-Length: 0"),
    "a second Host": ("Host: evil.example", "Content-Length: 0"),
    "a second key": ("Authorization: Bearer other", "Content-Length: 0"),
    "an empty name": (": x", "Content-Length: 0"),
}


@pytest.mark.parametrize("lines", LINES.values(), ids=LINES)
def test_a_request_that_two_programs_could_read_differently_is_none(server, lines) -> None:
    """Refused and closed, with a word or without; what follows on the connection is never read as another request."""
    heard = exchange(server.http_port, head(server, *lines) + b"0\r\n\r\n" + smuggled(server))
    assert set(re.findall(rb"HTTP/1.1 (\d+)", heard)) <= {b"400", b"413", b"422", b"501"}, heard
    assert server.turns(user="smuggler", conversation="c") == []


RAW = {
    "HTTP/0.9": b"GET /health\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    "a bare line feed": b"GET / HTTP/1.1\nHost: evil.example\n\n",
    "no Host": b"GET /health HTTP/1.1\r\n\r\n",
    "an address as the target": b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "an authority as the target": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
    "a target that is no ASCII": "GET /ü HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "a version of the future": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "a method of 10,000 letters": b"A" * 10_000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
    "nothing but line ends": b"\r\n" * 20_000,
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
def test_what_is_no_request_of_ours_gets_no_answer_that_is_one(server, raw) -> None:
    """Refused with 4xx, or the connection is closed without a word."""
    heard = exchange(server.http_port, raw)
    assert not heard or 400 <= int(heard.split()[1]) < 500


def test_a_body_that_is_shorter_than_it_says_is_never_stored(server) -> None:
    """Half a turn is no turn, and neither is one whose chunks are broken."""
    body = turn("half")
    exchange(server.http_port, head(server, f"Content-Length: {len(body) + 10}") + body, timeout_s=1.0)
    exchange(server.http_port, head(server, "Transfer-Encoding: chunked") + b"%x\r\n" % (len(body) + 5) + body)
    heard = exchange(server.http_port, head(server, "Transfer-Encoding: chunked") + b"zz\r\n" + body + b"\r\n0\r\n\r\n")
    assert b" 400 " in heard
    assert server.turns(user="smuggler", conversation="c") == []


def test_requests_behind_one_another_are_answered_in_order(server) -> None:
    """Pipelined requests that are whole are each answered once; a refused one does not take the next one with it."""
    asked = head(server, method="GET", path="/health")
    refused = asked.replace(b"127.0.0.1", b"evil.example")
    heard = exchange(server.http_port, asked + refused + asked)
    assert re.findall(rb"HTTP/1.1 (\d+)", heard) == [b"200", b"421", b"200"]


# --- time and size -----------------------------------------------------------------------------------------------


def test_whoever_sends_a_head_byte_by_byte_is_not_waited_for() -> None:
    """Time runs from the first byte, so that a byte now and then does not keep a connection for ever."""
    with server_in_process(head_s=0.5) as server:
        assert 0.4 < seconds_until_closed(server.http_port, first=b"GET / HTTP/1.1\r\n", again=b"X") < 3
        assert 0.4 < seconds_until_closed(server.http_port, again=b"") < 3
        after_a_request = head(server, method="GET", path="/health") + b"GET"
        assert 0.4 < seconds_until_closed(server.http_port, first=after_a_request, again=b"X") < 3
        assert server.get("/health")[0] == 200


def test_whoever_sends_a_body_byte_by_byte_is_told_and_then_not_waited_for() -> None:
    """A request has its time in all; then 408, nothing stored, and the connection is closed."""
    with server_in_process(request_s=0.5) as server:
        started = head(server, "Content-Length: 1000") + turn("slow")[:20]
        heard = exchange(server.http_port, started, timeout_s=3.0)
        assert b" 408 " in heard
        assert json.loads(heard.partition(b"\r\n\r\n")[2])["code"] == "TIMEOUT"
        assert seconds_until_closed(server.http_port, first=started, again=b"x") < 4
        assert server.turns(user="smuggler", conversation="c") == []


def test_a_body_above_8_mb_is_refused_however_it_comes(server) -> None:
    """With its length it is refused before it is read, in chunks as soon as it is too much; the size is named."""
    large = turn("x" * (8 << 20))
    status, answer = server.post("/v1/conversations/messages", large)
    assert (status, answer["code"]) == (413, "TOO_LARGE")
    chunks = b"".join(b"10000\r\n" + b"x" * 0x10000 + b"\r\n" for _ in range(129))
    heard = exchange(server.http_port, head(server, "Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n")
    assert b" 413 " in heard
    assert server.turns(user="smuggler", conversation="c") == []


def test_a_turn_of_3_mb_is_kept_whole(server) -> None:
    """What is allowed works to the last letter."""
    content = "wörd " * 600_000
    server.say(content, user="a writer", conversation="a book")
    assert server.turns(user="a%20writer", conversation="a%20book") == [content]


def test_so_many_requests_at_once_and_no_more() -> None:
    """Beyond the limit the answer is 503 and when to come back, at once; afterwards everybody is served again."""
    with server_in_process(requests=3) as server:
        body = turn("later")
        lines = [socket.create_connection(("127.0.0.1", server.http_port), 5) for _ in range(3)]
        for line in lines:
            line.sendall(head(server, f"Content-Length: {len(body)}") + body[:10])
        until(lambda: server.get("/health")[0] == 503)
        heard = exchange(server.http_port, head(server, method="GET", path="/health"))
        assert b"retry-after: 1" in heard.lower()
        for line in lines:
            line.sendall(body[10:])
            assert b" 200 " in line.recv(4096)
            line.close()
        assert server.get("/health")[0] == 200
        assert server.turns(user="smuggler", conversation="c") == ["later"] * 3


def test_a_head_above_32_kb_is_refused(server) -> None:
    """In one piece or in many."""
    long = head(server, *(f"X-{at}: {'x' * 1000}" for at in range(40)), method="GET", path="/health")
    heard = exchange(server.http_port, long)
    assert not heard or int(heard.split()[1]) in {400, 431}
    pieces = [long[at : at + 5000] for at in range(0, len(long), 5000)]
    heard = exchange(server.http_port, *pieces, pause_s=0.01)
    assert not heard or int(heard.split()[1]) in {400, 431}


def test_a_full_file_refuses_turns_by_name_and_goes_on_reading(tmp_path) -> None:
    """The file has a limit, so that the disk of a developer has none to fear; what is there can still be read."""
    with server_in_process(tmp_path / "small.db", file_bytes=1 << 20) as server:
        server.say("the first one")
        for at in range(2000):
            body = {"conversation_id": "c", "user_id": "u", "role": "user", "content": f"{at} {'long ' * 2000}"}
            status, answer = server.post("/v1/conversations/messages", body)
            if status != 200:
                break
        assert (status, answer["code"]) == (503, "UNAVAILABLE")
        assert "full" in answer["detail"]
        assert server.turns() == ["the first one"]
        assert sum(file.stat().st_size for file in tmp_path.glob("small.db")) <= 1 << 20


def test_answers_do_not_wait_for_a_confirmation_of_the_last_packet(server) -> None:
    """Head and body of an answer leave at once: a request on a connection that is kept takes nowhere near 40 ms."""
    asked = head(server, method="GET", path="/health")
    with socket.create_connection(("127.0.0.1", server.http_port), 5) as line:
        took = []
        for _ in range(20):
            started = time.perf_counter()
            line.sendall(asked)
            heard = b""
            while b'"ok"' not in heard:
                heard += line.recv(65536)
            took.append(time.perf_counter() - started)
    assert min(took) < 0.03


# --- what is said back -------------------------------------------------------------------------------------------


def test_every_answer_has_the_safe_headers_and_none_that_lets_others_in(server) -> None:
    """Answers and refusals alike: no sniffing, no referrer, no cache, a policy; never CORS, a cookie or a name."""
    asked = head(server, method="GET", path="/health")
    for raw in (asked, asked.replace(b"Bearer", b"Nobody"), asked.replace(b"127.0.0.1", b"evil.example")):
        heard = exchange(server.http_port, raw.replace(b"/health", b"/v1/credits/balance")).lower()
        fields = heard.partition(b"\r\n\r\n")[0]
        for field in (
            b"x-content-type-options: nosniff",
            b"referrer-policy: no-referrer",
            b"cache-control: no-store",
            b"content-security-policy: default-src 'none'; script-src 'self'",
            b"frame-ancestors 'none'",
            b"require-trusted-types-for 'script'",
        ):
            assert field in fields, field
        for field in (b"access-control-", b"set-cookie", b"\r\nserver:", b"x-powered-by"):
            assert field not in fields, field


def test_a_browser_that_asks_whether_it_may_is_told_no(server) -> None:
    """A preflight of any origin gets 4xx and no permission."""
    for origin in (f"http://127.0.0.1:{server.http_port}", "http://evil.example", "null"):
        lines = (f"Origin: {origin}", "Access-Control-Request-Method: POST")
        heard = exchange(server.http_port, head(server, *lines, method="OPTIONS"))
        assert 400 <= int(heard.split()[1]) < 500
        assert b"access-control" not in heard.lower()


UP = "../" * 20
BACK = "..\\" * 20
PATHS = [
    "/../etc/passwd", f"/{UP}etc/passwd", f"/ui/{UP}etc/passwd", f"/ui/{UP.replace('.', '%2e')}etc/passwd",
    f"/ui/{UP.replace('/', '%2f')}etc/passwd", f"/ui/{UP.replace('/', '%252f')}etc/passwd",
    f"/ui/{UP.replace('../', '%2e%2e%5c')}etc%5cpasswd", "/ui//etc/passwd", "/ui/%2fetc%2fpasswd",
    "/ui/....//....//etc/passwd", "/ui/..;/..;/etc/passwd", "/ui/%c0%ae%c0%ae/etc/passwd", "/ui/%00/etc/passwd",
    "/ui/x%00.js", "/ui/app.js%00", "/ui/app.js/", "/ui", "/ui/", "/ui/.", "/ui/..", "/ui/%2e", "/ui/__init__.py",
    "/ui/../__init__.py", "/ui/../assets.py", "/ui/%2e%2e/assets.py", "/ui/..%2fassets.py", "/ui/..%5cassets.py",
    "/ui/app.js/../../pages.py", "/ui/../templates/shell.html", "/ui/../../schema.sql", "//etc/passwd",
    "/file:///etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/v1/../etc/passwd", f"/read/{UP}etc/passwd",
    f"/read/{UP.replace('.', '%2e')}etc/passwd", "/proc/self/environ", "/etc/passwd", "/.git/config",
    "/ui/" + "../" * 40, "/ui/" + "a" * 5000, "/ui/%f0%28%8c%28", f"/ui/{BACK}etc\\passwd",
    "/ui/~root/.ssh/id_rsa", "/static/app.js", "/static/../assets.py",
]  # fmt: skip
FILES = Path(assets.__file__).parent / "static"


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
def test_no_path_leads_to_a_file(server, path) -> None:
    """What is served comes from a table of names; no spelling of a path reaches anything else."""
    heard = exchange(server.http_port, head(server, method="GET", path=path))
    assert 400 <= int(heard.split()[1]) < 500, heard
    assert ROOT_FILE not in heard
    assert b"import " not in heard


@pytest.mark.parametrize(
    "decoded",
    [str, unquote, lambda path: unquote(unquote(path)), lambda path: unquote(path).replace("\\", "/")],
    ids=["as it is", "decoded", "decoded twice", "backslashes too"],
)
def test_the_paths_would_lead_to_files_if_they_were_joined(decoded) -> None:
    """Behind the address of the pages' files, they reach the system's and the package's own, for who joins paths."""
    reached = b""
    for path in PATHS:
        _, under_ui, name = decoded(path).partition("/ui/")
        with suppress(ValueError, OSError):
            file = FILES / name
            reached += file.read_bytes() if under_ui and file.is_file() else b""
    assert ROOT_FILE in reached
    assert b"import " in reached


def test_the_files_of_the_pages_are_served_where_the_paths_look_for_them(server) -> None:
    """Every file of the table is found below ``/ui/``, beside which the paths above try to go."""
    for path in (path for path in assets.ASSETS if path.startswith("/ui/")):
        line = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=30)
        with closing(line):
            line.request("GET", path)
            answer = line.getresponse()
            assert answer.status == 200
            assert answer.read() == (FILES / path.removeprefix("/ui/")).read_bytes()


def test_the_key_is_in_no_log_and_no_answer(server, caplog) -> None:
    """With everything logged, requests with the key, without it and with a wrong one leave no trace of it."""
    caplog.set_level("DEBUG")
    heard = b""
    for path in ("/health", "/v1/credits/balance", "/v1/nothing", "/"):
        asked = head(server, method="GET", path=path)
        heard += exchange(server.http_port, asked, asked.replace(KEY.encode(), KEY.encode() + b"x"))
    assert KEY.encode() not in heard
    assert KEY not in caplog.text
