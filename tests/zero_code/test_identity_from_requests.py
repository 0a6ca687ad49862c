"""``--identify``: who is talking, according to the request that is being answered."""

import asyncio
import threading

import pytest
from zero_code import delivered, free_port, get, serving, synap_run, users

from synap_integrations.auto.headers import AsgiHeaders, WsgiHeaders, headers_scope
from synap_integrations.model import Scope
from synap_integrations.scoping import NOWHERE

ANA = {"X-User-Id": "ana@example.org", "X-Conversation-Id": "ana-1", "X-Tenant-Id": "acme"}
BEN = {"X-User-Id": "ben", "X-Conversation-Id": "ben-1"}
SERVERS = {
    "uvicorn": ["--", "uvicorn", "in_asgi:app", "--port", "{port}"],
    "gunicorn": ["--", "gunicorn", "--preload", "-w", "2", "-b", "127.0.0.1:{port}", "in_wsgi:app"],
    "flask": ["--", "flask", "--app", "in_flask", "run", "--port", "{port}"],
    "hypercorn": ["--", "hypercorn", "-w", "0", "-b", "127.0.0.1:{port}", "in_asgi:app"],
    "granian": ["--", "granian", "--interface", "asgi", "--port", "{port}", "in_asgi:app"],
    "wsgiref": ["--", "python", "in_wsgiref.py", "{port}"],
}
MORE_SERVERS = {
    "uvicorn, two workers": ["--follow-children", "--", "uvicorn", "in_asgi:app", "--workers", "2", "--port", "{port}"],
    "hypercorn, two workers": [
        "--follow-children",
        "--",
        "hypercorn",
        "-w",
        "2",
        "-b",
        "127.0.0.1:{port}",
        "in_asgi:app",
    ],
    "hypercorn, wsgi": ["--", "hypercorn", "-w", "0", "-b", "127.0.0.1:{port}", "wsgi:in_wsgi:app"],
    "granian, wsgi": ["--", "granian", "--interface", "wsgi", "--workers", "2", "--port", "{port}", "in_wsgi:app"],
    "daphne": ["--", "daphne", "-p", "{port}", "in_asgi:app"],
    "django": ["--", "python", "in_django.py", "runserver", "--noreload", "{port}"],
    "django, reloading": ["--follow-children", "--", "python", "in_django.py", "runserver", "{port}"],
}
NAMED = SERVERS | MORE_SERVERS


@pytest.mark.parametrize("server", [*SERVERS, *(pytest.param(name, marks=pytest.mark.soak) for name in MORE_SERVERS)])
def test_headers_say_who_is_talking(server: str, own_storage, tmp_path) -> None:
    """An application that carries no ids, behind a gateway that sets headers: each request's turn is its user's; ids of
    the application's own go first.
    """
    pytest.importorskip(server.partition(",")[0])
    port, log = free_port(), tmp_path / "log"
    words = [word.format(port=port) for word in NAMED[server]]
    with serving("--identify", "headers", *words, storage=own_storage, port=port, log=log):
        get(port, headers=ANA, said="I am Ana")
        get(port, headers=BEN, said="I am Ben")
        get(port, headers=BEN, said="By name", conversation="named")
        get(port, said="Nobody")
    assert "not captured" not in log.read_text()
    assert "not read" not in log.read_text()
    turns = delivered(own_storage)
    assert {name: words[0][1] for name, words in turns.items() if words[0][1] != "Nobody"} == {
        "ana-1": "I am Ana",
        "ben-1": "I am Ben",
        "named": "By name",
    }
    (nobody,) = turns.keys() - {"ana-1", "ben-1", "named"}
    assert users(own_storage) == {
        "ana-1": "ana@example.org",
        "ben-1": "ben",
        "named": "ana",
        nobody: users(own_storage)[nobody],
    }
    assert users(own_storage)[nobody].startswith("anonymous:")


def test_a_function_of_the_applications(own_storage, tmp_path) -> None:
    """``module:function``, found on the program's own path and not imported before it is needed."""
    code = "import who, chat; assert who.asked == 0; chat.chain.invoke({'said': 'hello'}); assert who.asked > 0"
    (tmp_path / "who.py").write_text(
        "asked = 0\ndef talks():\n    global asked; asked += 1\n    return {'user_id': 'eva'}\n"
    )
    ran = synap_run("--identify", "who:talks", "-c", code, storage=own_storage, PYTHONPATH=str(tmp_path))
    assert (ran.returncode, ran.stderr) == (0, "")
    delivered(own_storage)
    assert set(users(own_storage).values()) == {"eva"}


CHANGED = {
    "daphne.server": "the headers of daphne.server are not read: AttributeError",
    "hypercorn.utils": "the headers of hypercorn are not read: AttributeError",
}


@pytest.mark.parametrize("server", CHANGED)
def test_a_server_that_changed_serves_as_ever(server: str, own_storage, tmp_path) -> None:
    """Where its application is not taken up as it was, one line says so, and the program runs."""
    package, _, module = server.partition(".")
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / f"{module}.py").write_text(
        "class ASGIWrapper: pass\ndef wrap_app(app): return app\n" if package == "hypercorn" else ""
    )
    code = f"from {package} import {module}\nprint(getattr({module}, 'wrap_app', str)('served'))"
    ran = synap_run("--identify", "headers", "-c", code, storage=own_storage, PYTHONPATH=str(tmp_path))
    assert (ran.returncode, ran.stdout) == (0, "served\n")
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"synap: {CHANGED[server]}")


def test_asgi_requests_do_not_mix() -> None:
    """Many at once on one loop, with pauses: each sees its own headers, and nothing is left afterwards."""
    seen: dict[str, Scope] = {}

    async def app(scope, receive, send):
        for _ in range(3):
            await asyncio.sleep(0)
        seen[scope["path"]] = await asyncio.to_thread(headers_scope)

    async def main():
        wrapped = AsgiHeaders(app)
        requests = [{"path": str(n), "headers": [(b"x-user-id", f"u-{n}".encode())]} for n in range(50)]
        await asyncio.gather(*(wrapped(request, None, None) for request in requests))
        await wrapped({"type": "lifespan", "path": "life"}, None, None)
        return headers_scope()

    assert asyncio.run(main()) is NOWHERE
    assert seen == {str(n): Scope(None, f"u-{n}") for n in range(50)} | {"life": NOWHERE}


def test_wsgi_answers_are_made_on_behalf_of_who_asked() -> None:
    """Also while they are read later; between the pieces, and after them, the thread is nobody's."""
    seen, closed = [], threading.Event()

    class Body:
        def __iter__(self):
            seen.append(headers_scope().user_id)
            yield b"a"
            seen.append(headers_scope().user_id)
            yield b"b"

        def close(self):
            closed.set()

    answer = WsgiHeaders(lambda environ, start_response: Body())({"HTTP_X_USER_ID": "ana", "PATH_INFO": "/"}, None)
    pieces = [(piece, headers_scope()) for piece in answer]
    answer.close()
    assert pieces == [(b"a", NOWHERE), (b"b", NOWHERE)]
    assert seen == ["ana", "ana"]
    assert closed.is_set()


@pytest.mark.parametrize("value", ["", "x" * 600, "a\x07b"], ids=["empty", "long", "bell"])
def test_a_header_that_is_no_id_says_nothing(value: str) -> None:
    """What cannot be an id identifies nobody."""
    seen = []

    def app(environ, start_response):
        seen.append(headers_scope())
        return []

    WsgiHeaders(app)({"HTTP_X_USER_ID": value, "HTTP_X_CUSTOMER_ID": "acme"}, None)
    assert seen == [Scope(customer_id="acme")]
