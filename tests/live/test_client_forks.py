"""A client belongs to whoever uses it: another process, another loop, another thread."""

import asyncio
import subprocess
import sys
import threading

import pytest

from synap_integrations import errors
from synap_integrations.client import SynapClient

ANA = {"conversation_id": "chat", "user_id": "ana"}

FORKING = """
import asyncio, os, sys
from synap_integrations import SynapClient

client = SynapClient({arguments})

async def turn(content):
    await client.conversation.record_message("chat", "user", content, "ana")

asyncio.run(turn("parent"))
if (child := os.fork()) == 0:
    asyncio.run(turn("child"))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
asyncio.run(turn("parent again"))
"""


def test_a_forked_child_opens_connections_of_its_own(synap_platform):
    """What the parent opened stays the parent's, and both go on."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in synap_platform.address.items())
    subprocess.run([sys.executable, "-c", FORKING.format(arguments=arguments)], check=True)
    assert synap_platform.contents() == ["parent", "child", "parent again"]


async def test_a_forked_child_opens_the_embedded_synap_anew(own_storage):
    """One file, two processes, no turn lost."""
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", FORKING.format(arguments="")], check=True)
    async with SynapClient() as client:
        found = str(await client.conversation.context_for_prompt("chat", user_id="ana"))
    assert "parent again" in found
    assert "child" in found


async def test_a_stream_belongs_to_its_loop(synap_platform):
    """Another loop is told so; when the stream's own loop has ended, a new one can be opened."""
    client = SynapClient(**synap_platform.address)
    outcome = []

    def elsewhere():
        async def listen_and_send():
            await client.instance.listen()
            started.set()
            await asyncio.to_thread(done.wait)
            await client.close()

        asyncio.run(listen_and_send())
        outcome.append("closed")

    started, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(started.wait, 10)
    with pytest.raises(errors.ListeningAlreadyActiveError):
        await client.instance.listen()
    with pytest.raises(errors.ListeningNotActiveError, match="this event loop"):
        await client.instance.send_message("hi", **ANA)
    done.set()
    await asyncio.to_thread(thread.join)
    assert outcome == ["closed"]
    await client.instance.listen()
    await client.instance.send_message("hi", **ANA)
    await client.close()
