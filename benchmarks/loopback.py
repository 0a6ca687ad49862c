"""Loopback servers, each in a process of its own, so that they take no time from the measured one.

    with sink() as url: ...                      # url/NAME/… takes whatever NAME posts and answers 200 at once
    with platform("slow") as settings: ...       # a Synap platform on two ports: settings for `Synap(**settings)`

A platform is the embedded Synap behind sockets; ``slow`` answers after 500 ms, ``mute`` takes everything and never
answers.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

Answer = tuple[int, dict[str, str], bytes]
Answerer = Callable[[str, str, dict[str, str], bytes], Awaitable[Answer]]
SLOW_S = 0.5


@contextmanager
def sink() -> Iterator[str]:
    """The address of a server that swallows; it ends with the block, or with this process."""
    with _process("sink") as (port, _):
        yield f"http://127.0.0.1:{port}"


def received(url: str) -> dict[str, int]:
    """How many posts the sink took, by the first segment of their path."""
    with urlopen(f"{url}/received") as answer:
        return json.load(answer)


@contextmanager
def platform(manner: str) -> Iterator[dict[str, object]]:
    """The settings that lead to a platform which is ``healthy``, ``slow`` or ``mute``."""
    with _process(manner) as (rest_port, grpc_port):
        yield addresses(rest_port, grpc_port)


def addresses(rest_port: int, grpc_port: int) -> dict[str, object]:
    """The settings that lead to two loopback ports."""
    rest = {"api_key": "bench-key", "base_url": f"http://127.0.0.1:{rest_port}"}
    return {**rest, "grpc_host": "127.0.0.1", "grpc_port": grpc_port, "grpc_use_tls": False}


@contextmanager
def _process(manner: str) -> Iterator[tuple[int, int]]:
    command = [sys.executable, __file__, manner]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        try:
            rest_port, grpc_port = map(int, server.stdout.readline().split())
            yield rest_port, grpc_port
        finally:
            server.stdin.close()


# --- inside the process -------------------------------------------------------------------------------------


async def _http(answerer: Answerer) -> int:
    """Serve HTTP/1.1 on a free port."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            method, path, _ = line.decode().split()
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
            status, more, content = await answerer(method, path, headers, await _body(reader, headers))
            more = {"content-type": "application/json", **more, "content-length": str(len(content))}
            head = "".join(f"{name}: {value}\r\n" for name, value in more.items())
            writer.write(f"HTTP/1.1 {status} Answer\r\n{head}\r\n".encode() + content)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    return server.sockets[0].getsockname()[1]


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    content = b""
    while size := int(await reader.readline(), 16):
        content += (await reader.readexactly(size + 2))[:size]
    await reader.readline()
    return content


def _swallow() -> Answerer:
    posts: Counter[str] = Counter()

    async def answer(method: str, path: str, _: dict[str, str], __: bytes) -> Answer:
        posts[path.split("/")[1]] += method == "POST"
        return 200, {}, json.dumps(posts if path == "/received" else {}).encode()

    return answer


async def _platform(manner: str) -> tuple[int, int]:
    """Put the embedded Synap behind two sockets; the ports of REST and stream."""
    import grpc.aio

    from synap_integrations import Settings
    from synap_integrations.server.embedded import open_embedded

    local = open_embedded(Settings.read(base_url="local", storage_path=Path(":memory:")))
    delay_s = SLOW_S if manner == "slow" else 0.0

    async def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        await _patience(manner, delay_s)
        path, _, query = path.partition("?")
        return local.answer(method, path, query=query, headers=headers, body=body)

    async def listen(requests: AsyncIterator[bytes], call: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[bytes]:
        await _patience(manner, delay_s)
        await call.send_initial_metadata(())
        loop, said = asyncio.get_running_loop(), asyncio.Queue[bytes]()

        def emit(message: bytes) -> None:
            loop.call_soon_threadsafe(loop.call_later, delay_s, said.put_nowait, message)

        stream = local.listen(emit, metadata={key: str(value) for key, value in call.invocation_metadata() or ()})

        async def hear() -> None:
            async for message in requests:
                stream.receive(message)
            stream.half_close()

        hearing = loop.create_task(hear())
        while not hearing.done() or not said.empty():
            yield await said.get()

    server = grpc.aio.server()
    handlers = {"Listen": grpc.stream_stream_rpc_method_handler(listen)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("synap.v1.SynapService", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    _kept.append(server)
    return await _http(answer), port


async def _patience(manner: str, delay_s: float) -> None:
    await (asyncio.Event().wait() if manner == "mute" else asyncio.sleep(delay_s))


_kept: list[object] = []


async def _serve(manner: str) -> None:
    ports = (await _http(_swallow()), 0) if manner == "sink" else await _platform(manner)
    print(*ports, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)  # whoever is still connected is waiting for nothing


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
