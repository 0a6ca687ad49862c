"""`synap dev` as a person has it: ready at once, says where it is, stops when told, and never takes another's port."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from dev_server import KEY, dev_server, start_dev_server

from synap_integrations import SynapClient
from synap_integrations.cli.dev import command as dev

PAGE = Path(__file__).parents[2] / "docs" / "local-server.md"
READY_CPU_S = 0.5
RESIDENT_MB = 70
STOP_S = 1.5
TURN = '{"conversation_id": "c-1", "user_id": "ana", "role": "user", "content": "I moved to Lisbon"}\n'


def synap_dev(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `synap dev` to its end."""
    command = [sys.executable, "-m", "synap_integrations.cli", "dev", *arguments]
    return subprocess.run(
        command, input=stdin, env=os.environ | environ, capture_output=True, text=True, timeout=60, check=False
    )


def banner(*arguments: str) -> str:
    """What `synap dev` says when it is ready."""
    command = [sys.executable, "-m", "synap_integrations.cli", "dev", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said = ""
    while "Ctrl-C" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    process.stdout.close()
    return said


def used_cpu_s(pid: int) -> float:
    """Processor time of a process so far, which other processes of the machine cannot add to."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_it_is_ready_at_once_and_small() -> None:
    """Under half a second of work until both ports answer, and under 70 MB with a turn and a fetch behind it."""
    worked = []
    for _ in range(4):  # other processes push ours out of the caches; one start in four is left alone
        with dev_server() as server:
            worked.append(used_cpu_s(server.process.pid))
            server.say("I moved to Lisbon")
            assert server.found("Where do I live, Lisbon?") == ["I moved to Lisbon"]
            assert server.resident_mb() < RESIDENT_MB
        if worked[-1] < READY_CPU_S:
            break
    assert min(worked) < READY_CPU_S


async def test_it_stops_at_once_with_open_streams_and_tabs() -> None:
    """Ctrl-C with streams, a page that follows a conversation, and half requests: gone within 1.5 s, code 0."""
    server = start_dev_server()
    server.say("hello")
    tabs = [socket.create_connection(("127.0.0.1", server.http_port)) for _ in range(6)]
    head = f"Host: 127.0.0.1:{server.http_port}\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json"
    try:
        tabs[0].sendall(b"GET /v1/credits/balance HT")
        tabs[1].sendall(f"POST /v1/telemetry/batch HTTP/1.1\r\n{head}\r\nContent-Length: 100\r\n\r\n{{".encode())
        tabs[2].sendall(f"GET /read/conversations/1/live HTTP/1.1\r\n{head}\r\n\r\n".encode())
        assert b"text/event-stream" in tabs[2].recv(4096)
        async with AsyncExitStack() as stack:
            for _ in range(3):
                client = await stack.enter_async_context(SynapClient(**server.address))
                await client.instance.listen()
            assert await asyncio.to_thread(server.stop) < STOP_S
    finally:
        for tab in tabs:
            tab.close()
    assert server.process.returncode == 0
    assert server.process.communicate()[1] == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_it_stops_when_its_terminal_or_its_supervisor_says_so(number) -> None:
    """SIGTERM and SIGHUP are as good as Ctrl-C."""
    server = start_dev_server()
    assert server.stop(number) < STOP_S
    assert server.process.returncode == 0
    assert server.process.communicate()[1] == ""


def test_what_it_says_is_enough_to_use_it(tmp_path) -> None:
    """The banner names addresses, file and whether it lasts; its three exports are all that a client needs."""
    said = banner("--db", str(tmp_path / "dev.db"))
    assert f"{tmp_path}/dev.db, kept when this stops" in said
    exports = dict(line.removeprefix("  export ").split("=", 1) for line in said.splitlines() if "export " in line)
    assert sorted(exports) == ["SYNAP_API_KEY", "SYNAP_BASE_URL", "SYNAP_GRPC_PORT"]
    port = exports["SYNAP_BASE_URL"].rpartition(":")[2]
    program = (
        "import asyncio\n"
        "from synap_integrations import SynapClient\n"
        "async def main():\n"
        "    async with SynapClient() as client:\n"
        "        await client.conversation.record_message('c', 'user', 'hello', user_id='ana')\n"
        "        await client.instance.listen()\n"
        "        print(client.instance.is_listening)\n"
        "asyncio.run(main())\n"
    )
    with dev_server(
        tmp_path / "dev.db", "--port", port, "--grpc-port", exports["SYNAP_GRPC_PORT"], key=exports["SYNAP_API_KEY"]
    ) as server:
        out = subprocess.run(
            [sys.executable, "-c", program], env=os.environ | exports, capture_output=True, text=True, check=True
        )
        assert out.stdout == "True\n"
        assert server.found("hello") == ["hello"]


def test_the_key_that_was_made_stays_the_same_for_the_file(tmp_path) -> None:
    """What was exported once stays right, and only its user can read key and file."""
    first, again = (banner("--db", str(tmp_path / "a")).split("SYNAP_API_KEY=")[1].split()[0] for _ in range(2))
    assert first == again == (tmp_path / "a.key").read_text().strip()
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_in_memory_it_says_that_nothing_is_kept() -> None:
    """Nobody is to be surprised by what is gone, and two servers never have the same key."""
    first, second = (banner("--db", ":memory:") for _ in range(2))
    assert "in memory, gone when this stops" in first
    assert first.split("SYNAP_API_KEY=")[1].split()[0] not in second


def test_without_a_file_it_serves_what_the_embedded_synap_remembers(own_storage) -> None:
    """The default file is the one that applications without a key use, so that nothing has to be moved."""
    program = (
        "from synap_integrations import Scope, Synap\n"
        "from synap_integrations.model import UserMessage\n"
        "with Synap() as synap:\n"
        "    synap.record(UserMessage('said without a server'), scope=Scope('c', 'ana'))\n"
        "    assert synap.flush(30)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    said = banner()
    assert "1 turn of 1 user" in said
    assert "local.db" in said


def taken_port(address: str, *, with_a_free_one_below: bool) -> socket.socket:
    """A socket that listens there."""
    while True:
        other = socket.create_server((address, 0))
        with suppress(OSError), socket.socket() as below:
            if with_a_free_one_below:
                below.bind((address, other.getsockname()[1] - 1))
            return other
        other.close()


@pytest.mark.parametrize("taken", ["http", "grpc", "everywhere"])
def test_a_port_that_is_taken_is_an_error_that_says_what_to_do(taken) -> None:
    """Never two servers on one port: the second one ends with the port and the option in one line."""
    address = "0.0.0.0" if taken == "everywhere" else "127.0.0.1"
    with taken_port(address, with_a_free_one_below=taken == "grpc") as other:
        port = other.getsockname()[1]
        wanted = ("--port", str(port - 1)) if taken == "grpc" else ("--port", str(port))
        ended = synap_dev("--db", ":memory:", *wanted)
    assert ended.returncode == 2
    option = "--grpc-port" if taken == "grpc" else "--port"
    assert ended.stderr.startswith(f"synap dev: port {port} is taken by another program: pass {option}")
    assert ended.stderr.count("\n") == 1


def test_a_second_server_never_shares_a_port(tmp_path) -> None:
    """Streams can only land on the server that was called: the ports of a running one are refused, both of them."""
    with dev_server() as server:
        for wanted in (("--port", str(server.http_port)), ("--port", "0", "--grpc-port", str(server.grpc_port))):
            assert "is taken" in synap_dev("--db", ":memory:", *wanted).stderr
        server.say("still here")
        assert server.turns() == ["still here"]


def test_a_port_is_free_again_when_its_server_has_stopped(tmp_path) -> None:
    """Stop and start at once on the same ports and the same file: both are there, with what was said."""
    with dev_server(tmp_path / "dev.db") as first:
        first.say("before")
    with dev_server(tmp_path / "dev.db", "--port", str(first.http_port), "--grpc-port", str(first.grpc_port)) as second:
        second.say("after")
        assert second.turns() == ["before", "after"]


def test_it_is_reached_from_this_machine_alone() -> None:
    """Both ports listen on loopback and on no other address."""
    with dev_server() as server:
        for port in (server.http_port, server.grpc_port):
            assert {address for address, at in listening(server.process.pid) if at == port} <= {"127.0.0.1", "::1"}
            with pytest.raises(ConnectionRefusedError), socket.create_connection((own_address(), port), 2):
                pass


def test_more_than_this_machine_is_served_only_with_a_key_that_was_chosen() -> None:
    """`--unsafe-bind` without a long key is refused; with one it warns, and asks for the key as ever."""
    for key in ((), ("--api-key", "short")):
        ended = synap_dev("--db", ":memory:", "--port", "0", "--unsafe-bind", "0.0.0.0", *key)
        assert ended.returncode == 2
        assert "--api-key" in ended.stderr
    server = start_dev_server(":memory:", "--unsafe-bind", "0.0.0.0", key="k" * 32)
    try:
        assert server.get("/v1/credits/balance")[0] == 200
        assert server.get("/v1/credits/balance", Authorization="Bearer wrong")[0] == 401
        assert server.get("/health", Host=f"evil.example:{server.http_port}")[0] == 421
        with socket.create_connection((own_address(), server.http_port), 2):
            pass
    finally:
        server.stop()
        assert "no TLS" in server.process.communicate()[1]


def test_turns_can_be_there_from_the_start_and_only_once(tmp_path) -> None:
    """`--seed` records the turns of a file; the same file again changes nothing."""
    seed = tmp_path / "seed.jsonl"
    seed.write_text(TURN + "\n" + TURN.replace('"user"', '"assistant"', 1).replace("I moved", "You moved"))
    for _ in range(2):
        with dev_server(tmp_path / "dev.db", "--seed", str(seed)) as server:
            assert server.turns(conversation="c-1") == ["I moved to Lisbon", "You moved to Lisbon"]


BAD_SEEDS = {
    "no JSON": ("{", "line 2: the body must be a JSON object"),
    "no object": ("[1]", "line 2: the body must be a JSON object"),
    "no UTF-8": (b"\xff\xfe", "line 2: the body must be a JSON object"),
    "no user": ('{"conversation_id": "c", "role": "user", "content": "x"}', "line 2: user_id is required"),
    "no role": ('{"conversation_id": "c", "user_id": "u", "role": "x", "content": "x"}', "line 2: role must be one of"),
}


@pytest.mark.parametrize("bad", BAD_SEEDS)
def test_a_seed_with_a_fault_is_refused_by_line_and_nothing_of_it_is_kept(tmp_path, bad) -> None:
    """The error names file, line and fault; half a seed never stays."""
    line, fault = BAD_SEEDS[bad]
    seed = tmp_path / "seed.jsonl"
    seed.write_bytes(TURN.encode() + (line if isinstance(line, bytes) else line.encode()))
    ended = synap_dev("--db", str(tmp_path / "dev.db"), "--port", "0", "--seed", str(seed))
    assert ended.returncode == 2
    assert f"{seed}, {fault}" in ended.stderr
    with dev_server(tmp_path / "dev.db") as server:
        assert server.turns(conversation="c-1") == []


def test_a_reset_needs_a_yes_and_leaves_no_word(tmp_path) -> None:
    """Without a terminal and without --yes nothing is forgotten; with it, no byte of what was said is left."""
    path = tmp_path / "dev.db"
    with dev_server(path) as server:
        server.say("canary-5f3a9c in a turn")
        server.say("I live in canarytown-77b1", conversation="another")
    refused = synap_dev("--db", str(path), "--port", "0", "--reset")
    assert refused.returncode == 2
    assert "2 turns of 1 users" in refused.stderr
    assert "--yes" in refused.stderr
    with dev_server(path, "--reset", "--yes") as server:
        assert server.turns() == []
        assert server.found("canary-5f3a9c") == []
        assert not any(b"canary" in file.read_bytes() for file in tmp_path.glob("dev.db*"))
        server.say("a new beginning")
        assert server.found("beginning") == ["a new beginning"]


def test_a_reset_can_happen_under_a_running_server(tmp_path) -> None:
    """Whoever has the file open goes on with an empty one."""
    path = tmp_path / "dev.db"
    with dev_server(path) as server:
        server.say("before")
        with dev_server(path, "--reset", "--yes"):
            assert server.turns() == []
            server.say("after")
            assert server.found("after") == ["after"]


def test_a_command_runs_against_a_fresh_server() -> None:
    """`synap dev exec` gives the command what it needs to find the server, and nothing of the user's own."""
    program = (
        "import asyncio, os\n"
        "from synap_integrations import SynapClient\n"
        "async def main():\n"
        "    async with SynapClient() as client:\n"
        "        await client.conversation.record_message('c', 'user', 'hello', user_id='ana')\n"
        "        await client.instance.listen()\n"
        "    print(os.environ['SYNAP_BASE_URL'], os.environ['SYNAP_STORAGE_PATH'])\n"
        "asyncio.run(main())\n"
        "raise SystemExit(7)\n"
    )
    environ = {name: value for name, value in os.environ.items() if name != "SYNAP_STORAGE_PATH"}
    command = [sys.executable, "-m", "synap_integrations.cli", "dev", "exec", "--", sys.executable, "-c", program]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 7, ended.stderr
    url, storage = ended.stdout.split()
    assert not Path(storage).exists()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 2):
        pass


def test_tests_run_against_the_server_that_was_started_for_them(tmp_path) -> None:
    """`synap dev exec -- pytest`: what a test's application records is at the server, plugin or not."""
    (tmp_path / "test_theirs.py").write_text(
        "import asyncio\n"
        "from synap_integrations import Scope, Synap, SynapClient\n"
        "from synap_integrations.model import UserMessage\n"
        "async def turns():\n"
        "    async with SynapClient() as client:\n"
        "        return await client.conversation.turns('c-1', user_id='ana')\n"
        "def test_at_the_server():\n"
        "    with Synap() as synap:\n"
        "        synap.record(UserMessage('hello'), scope=Scope('c-1', 'ana'))\n"
        "        assert synap.flush(20)\n"
        "        assert synap.status().platform.startswith('http://127.0.0.1:')\n"
        "    assert [turn.content for turn in asyncio.run(turns())] == ['hello']\n",
        encoding="utf-8",
    )
    plugin = ("-p", "synap_integrations.testing.plugin", "-p", "no:cacheprovider")
    tests = (sys.executable, "-m", "pytest", "-q", *plugin, str(tmp_path))
    ended = synap_dev("exec", "--", *tests, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert ended.returncode == 0, ended.stdout
    assert "1 passed" in ended.stdout


@pytest.mark.parametrize(("words", "code"), [("exit 3", 3), ("kill -KILL $$", 137)], ids=["a code", "a signal"])
def test_a_command_ends_as_a_shell_would_say_it(words, code) -> None:
    """Its code is ours; a signal is 128 and its number."""
    assert synap_dev("exec", "--", "sh", "-c", words).returncode == code


def test_a_command_that_cannot_be_run_is_named() -> None:
    """One line says which."""
    ended = synap_dev("exec", "--", "no-such-command")
    assert ended.returncode == 2
    assert "cannot run 'no-such-command': command not found" in ended.stderr


def test_a_command_is_told_when_we_are() -> None:
    """SIGTERM to `synap dev exec` ends its command, and then the server."""
    waiting = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        "print('here', flush=True)\ntime.sleep(60)\n"
    )
    command = [sys.executable, "-m", "synap_integrations.cli", "dev", "exec", "--", sys.executable, "-c", waiting]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "here\n"
    started = time.monotonic()
    process.terminate()
    assert process.wait(10) == 9
    assert time.monotonic() - started < 2 * STOP_S
    process.stdout.close()


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path) -> None:
    """Without the extra, one line says what to install."""
    (tmp_path / "starlette.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'starlette'\", name='starlette')"
    )
    ended = synap_dev("--db", ":memory:", PYTHONPATH=str(tmp_path))
    assert ended.returncode == 2
    assert ended.stderr == (
        "synap dev: the package starlette is missing: run pip install 'synap-integrations[server]'\n"
    )


@pytest.mark.parametrize("db", ["folder", "text"], ids=["a folder", "no database"])
def test_a_file_that_cannot_be_used_is_named(tmp_path, db) -> None:
    """A folder, or something that is no database, is one line and never overwritten."""
    path = tmp_path / "dev.db"
    if db == "folder":
        path.mkdir()
    else:
        path.write_text("a shopping list\n" * 100)
        path.chmod(0o600)
    ended = synap_dev("--db", str(path), "--port", "0")
    assert ended.returncode == 2
    assert f"{path} cannot be used" in ended.stderr
    assert path.is_dir() or path.read_text().startswith("a shopping list")


def test_the_page_about_the_server_names_every_option_and_no_other() -> None:
    """What `synap dev` takes is what docs/local-server.md explains."""
    explained = re.findall(r"^\| `(--[a-z-]+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    offered = {name for option in dev.params for name in option.opts}
    assert {*explained, "--yes", "--allow-host"} == offered


def test_the_program_on_the_page_runs() -> None:
    """The Python of docs/local-server.md, word for word."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "http://127.0.0.1:" in ended.stdout
    assert ended.stderr == ""


def listening(pid: int) -> set[tuple[str, int]]:
    """Address and port of every socket of the process that listens."""
    inodes = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            inodes.add(str(handle.readlink()))
    found = set()
    for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        rows = Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        for row in (line.split() for line in rows):
            if row[3] == "0A" and f"socket:[{row[9]}]" in inodes:
                packed, _, port = row[1].partition(":")
                words = [bytes.fromhex(packed[at : at + 8])[::-1] for at in range(0, len(packed), 8)]
                address = socket.inet_ntop(family, b"".join(words)).removeprefix("::ffff:")
                found.add((address, int(port, 16)))
    return found


def own_address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return probe.getsockname()[0]
