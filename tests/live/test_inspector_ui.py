"""`synap ui`: the pages on the file of an application, from outside, while it writes and after it has ended."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager

import pytest
from inspected import Site, World, told

from synap_integrations.server.database import Database

SCRIPT = """
import sys, time
from pathlib import Path
from synap_integrations.server.database import Database
from synap_integrations.server.engine import Engine
from synap_integrations.server.records import NewTurn, Owner
engine = Engine(Database(Path(sys.argv[1])))
for number in range(400):
    engine.record(NewTurn(owner=Owner("", "ana"), conversation_id="chat", role="user", content=f"written {number}"))
    print(number, flush=True)
    time.sleep(0.005)
"""


@contextmanager
def ui(*options, **environment):
    """A real `synap ui` process, and what it said when it was ready."""
    command = [sys.executable, "-m", "synap_integrations.cli", "ui", "--json", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )
    try:
        line = process.stdout.readline()
        yield process, json.loads(line) if line else None
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=15)


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path):
    """Without the extra, one line says what to install."""
    missing = "raise ModuleNotFoundError(\"No module named 'starlette'\", name='starlette')"
    (tmp_path / "starlette.py").write_text(missing, encoding="utf-8")
    path = tmp_path / "local.db"
    with closing(Database(path)) as database:
        database.open()
    command = [sys.executable, "-m", "synap_integrations.cli", "ui", "--db", str(path)]
    environ = os.environ | {"PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr == (
        "synap ui: the package starlette is missing: run pip install 'synap-integrations[server]'\n"
    )


def site_of(said):
    """The pages, and the key that opens them."""
    return Site(said["url"], int(said["url"].rpartition(":")[2])), said["pages"].partition("#key=")[2]


@pytest.fixture
def file(tmp_path):
    """The file of an application that has ended."""
    path = tmp_path / "local.db"
    world = World(path)
    world.agent_run()
    world.close()
    return path


def test_the_file_of_a_stopped_application_is_read_and_not_changed(file):
    """Every page is there, nothing can be forgotten, and not one byte of the file is another afterwards."""
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    with ui("--db", str(file)) as (_, said):
        assert said["writable"] is False
        site, key = site_of(said)
        for place in (
            "/read/",
            "/read/conversations/2",
            "/read/events",
            "/read/bundles",
            "/read/users/1?q=lisbon",
            "/read/health",
        ):
            assert site.get(place, key=key)[0] == 200, place
        assert "read only" in site.get("/read/", key=key)[2]
        assert site.call("POST", "/read/users/1/forget", {"confirm": "ana"}, key=key)[0] == 403
        assert site.call("POST", "/v1/conversations/messages", {}, key=key)[0] == 404
        assert site.get("/read/", key="wrong")[0] == 401
        status, _, door = site.get("/read/events", key=None, Accept="text/html")
        assert status == 401
        assert "The key, please" in door
        assert site.get("/read/", key=key, Host="evil.example")[0] == 421
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


def test_the_event_stream_of_a_file_is_followed_from_outside(tmp_path):
    """Stored events are listed, and what the application stores meanwhile comes in, filtered, without writing."""
    world = World(tmp_path / "local.db")
    world.agent_run()
    with ui("--db", str(tmp_path / "local.db")) as (_, said):
        site, key = site_of(said)
        status, _, body = site.get("/read/events?q=flight&direction=in", key=key)
        assert status == 200
        assert "When is my flight to Lisbon?" in body
        (place,) = re.findall(r'data-live="([^"]+)"', body)
        after = re.search(r"after=([\d.]+)", place)[1]
        with site.following(place.replace("&amp;", "&"), after, key=key) as stream:
            world.say("Said in another process.", conversation="flight")
            (row,), _ = told(stream, 1)
    assert "Said in another process." in row
    world.close()


def test_it_shows_what_an_application_writes_meanwhile(tmp_path):
    """While another process records, the pages follow; the process is never held up or refused."""
    path = tmp_path / "local.db"
    writer = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout.readline().strip() == "0"
        with ui("--db", str(path)) as (_, said):
            site, key = site_of(said)
            seen = set()
            deadline = time.monotonic() + 20
            while writer.poll() is None and time.monotonic() < deadline:
                body = site.get("/read/conversations/1", key=key)[2]
                seen.add(max(map(int, re.findall(r"written (\d+)", body))))
            written, _ = writer.communicate(timeout=20)
            body = site.get("/read/conversations/1", key=key)[2]
    finally:
        writer.kill()
        writer.communicate()
    assert written.split()[-1] == "399"
    assert "written 399" in body
    assert len(seen) > 2, "the pages stood still"


def test_with_write_somebody_can_be_forgotten(file):
    """`--write` allows what is refused otherwise."""
    with ui("--db", str(file), "--write") as (_, said):
        site, key = site_of(said)
        status, _, body = site.call("POST", "/read/users/1/forget", {"confirm": "ana"}, key=key)
        assert status == 200
        assert json.loads(body)["forgotten"]["turns"] == 4
    assert b"Lisbon" not in file.read_bytes()


def test_the_default_file_is_the_applications(tmp_path):
    """Without --db it is the file that an application of the same settings uses."""
    root = tmp_path / "store"
    path = root / "integrations" / "v1" / "local.db"
    path.parent.mkdir(parents=True)
    world = World(path)
    world.say("hello from the default file")
    world.close()
    with ui(SYNAP_STORAGE_PATH=str(root)) as (_, said):
        site, key = site_of(said)
        assert said["file"] == str(path)
        assert "hello from the default file" in site.get("/read/", key=key)[2]


@pytest.mark.parametrize("content", [None, b"", b"this is no database" * 100], ids=["missing", "empty", "no-database"])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, content):
    """A file that is not there, or is something else, ends it with exit code 2 and a line that names the option."""
    path = tmp_path / "local.db"
    if content is not None:
        path.write_bytes(content)
    command = [sys.executable, "-m", "synap_integrations.cli", "ui", "--db", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert "local.db" in ended.stderr
    assert "--db" in ended.stderr or "--write" in ended.stderr


def test_a_taken_port_is_one_line(file):
    """Two on one port: the second says which, and what to do."""
    with ui("--db", str(file)) as (_, said):
        port = said["url"].rpartition(":")[2]
        command = [sys.executable, "-m", "synap_integrations.cli", "ui", "--db", str(file), "--port", port]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert port in ended.stderr
    assert "--port" in ended.stderr


def test_it_ends_at_once_with_tabs_open(file):
    """Ctrl-C ends it at once, although a tab still follows a conversation."""
    with ui("--db", str(file)) as (process, said):
        site, key = site_of(said)
        assert site.get("/read/conversations/1/live?after=zero", key=key)[0] == 400
        reader = subprocess.Popen([sys.executable, "-c", FOLLOW, said["url"], key], stdout=subprocess.PIPE, text=True)
        try:
            assert reader.stdout.readline().startswith("200")
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            process.wait(10)
            assert time.monotonic() - started < 3
        finally:
            reader.kill()
            reader.communicate()
    assert process.returncode == 0


FOLLOW = """
import sys, urllib.request
url, key = sys.argv[1:]
request = urllib.request.Request(url + "/read/conversations/1/live", headers={"Authorization": "Bearer " + key})
answer = urllib.request.urlopen(request)
print(answer.status, flush=True)
while answer.readline():
    pass
"""
