"""Scenarios 77, 78, 80 and 82 with the real Synap behind the handler: never in the way, nothing lost, nothing kept."""

import asyncio
import logging
import os
import subprocess
import sys
import textwrap
import time

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_models import MODES, echo, run

from synap_integrations import Synap
from synap_integrations.langchain import SynapCallbackHandler
from synap_integrations.langchain.capture.tracker import TRACKER

pytestmark = pytest.mark.usefixtures("no_incidents")
CHAIN = ChatPromptTemplate.from_messages([("human", "{question}")]) | echo() | StrOutputParser()
WHO = {"conversation_id": "c", "user_id": "u"}


@pytest.mark.parametrize("mode", MODES)
def test_s77_a_platform_that_is_down_is_not_noticed(mode, caplog):
    """The answer comes, nothing is raised, the turns wait; at most a line says so."""
    with Synap(base_url="http://127.0.0.1:9", api_key="synap_test") as synap:
        config = {"callbacks": [SynapCallbackHandler(synap, **WHO)]}
        started = time.monotonic()
        with caplog.at_level(logging.WARNING, logger="synap_integrations"):
            for _ in range(10):
                run(mode, CHAIN, {"question": "hi"}, config)
        assert time.monotonic() - started < 5
        assert synap.status().waiting == synap.status().captured == 20
        assert len(caplog.records) <= 1


@pytest.mark.parametrize("inside_a_loop", [False, True])
def test_s78_a_sync_call_returns_while_the_stream_is_open(inside_a_loop, synap):
    """The connection in the background keeps no ``invoke`` and no ``stream`` from returning."""
    config = {"callbacks": [SynapCallbackHandler(**WHO)]}
    CHAIN.invoke({"question": "one"}, config)
    assert len(synap.transcript("c")) == 2
    assert synap.memory.status().state == "delivering"

    def call() -> tuple[str, str]:
        return CHAIN.invoke({"question": "two"}, config), "".join(CHAIN.stream({"question": "three"}, config))

    async def view() -> tuple[str, str]:
        return call()

    assert (asyncio.run(view()) if inside_a_loop else call()) == ("re: two", "re: three")
    assert synap.transcript("c").texts()[2:] == ["two", "re: two", "three", "re: three"]


def test_s80_finished_turns_leave_nothing_behind():
    """Two thousand turns later the books hold no run more than before; cancelled runs of others may be among them."""
    before = len(TRACKER._runs._runs)
    with Synap() as synap:
        config = {"callbacks": [SynapCallbackHandler(synap, **WHO)]}
        for _ in range(2_000):
            CHAIN.invoke({"question": "hi"}, config)
        assert len(TRACKER._runs._runs) <= before
        assert synap.status().captured == 4_000


def test_s82_everything_queued_is_delivered_by_a_flush(synap):
    """`flush` waits for what was captured, and for nothing else."""
    CHAIN.batch([{"question": str(n)} for n in range(50)], {"callbacks": [SynapCallbackHandler(**WHO)]})
    assert synap.memory.flush(30)
    assert synap.memory.status().delivered == len(synap.transcript("c")) == 100
    synap.assert_no_leak()


PROGRAM = """
import os
from langchain_core.language_models import FakeListChatModel
from synap_integrations.langchain import SynapCallbackHandler
from synap_integrations import flush

config = {"callbacks": [SynapCallbackHandler(conversation_id="c", user_id="u")]}
FakeListChatModel(responses=["before"]).invoke("before", config)
child = os.fork()
name = "child" if child == 0 else "parent"
FakeListChatModel(responses=[name]).invoke(name, config)
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


def test_s82_exit_and_fork_lose_and_double_nothing(own_storage):
    """A program with no flush, that forks in the middle: each turn is in the store once."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(PROGRAM)],
        env={**os.environ, "SYNAP_STORAGE_PATH": str(own_storage)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with Synap(storage_path=own_storage) as synap:
        assert synap.flush(20)
    from synap_integrations.server.embedded import open_embedded  # noqa: PLC0415 - after the writers are gone

    platform = open_embedded(synap.settings)
    said = sorted(turn.content for turn in platform.engine.transcript("c"))
    platform.close()
    assert said == sorted(["before", "before", "child", "child", "parent", "parent"])
