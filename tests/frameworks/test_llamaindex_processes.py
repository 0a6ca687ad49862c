"""Agents of LlamaIndex that go on in another process: same person, same conversation, nothing told twice.

Each process is a real one; what lies between two of them is a Context as JSON.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent
from llamaindex_models import Say, ScriptedLLM
from llamaindex_world import WORKFLOWS, transcript

from synap_integrations.llamaindex import SynapMemory
from synap_integrations.testing import FakeMemory

pytestmark = [pytest.mark.usefixtures("no_turn_left"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]
EQUIPMENT = Path(__file__).parents[1] / "equipment"


@pytest.fixture
def sink():
    return FakeMemory()


@pytest.fixture
def memory(sink):
    return SynapMemory(sink, user_id="ana", conversation_id="c1")


PROGRAM = """
import asyncio, json, sys
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent
from llamaindex_models import Say, ScriptedLLM
from llamaindex_world import transcript
from synap_integrations.llamaindex import SynapMemory
from synap_integrations.runtime import use_default
from synap_integrations.testing import FakeMemory

async def confirm(ctx: Context) -> str:
    "Ask the human."
    asked = InputRequiredEvent(prefix="sure?")
    answer = await ctx.wait_for_event(HumanResponseEvent, waiter_id="w", waiter_event=asked)
    return f"human said {answer.response}"

def context_of(agent, written):
    return Context.from_dict(agent, written) if written else Context(agent)

async def say(words, answer, written):
    use_default(sink := FakeMemory())
    agent = FunctionAgent(llm=ScriptedLLM(answer), tools=[confirm])
    context = context_of(agent, written)
    await agent.run(words, ctx=context, **({} if written else {"memory": SynapMemory(user_id="ana")}))
    [scope] = {entry.scope for entry in sink.recorded}
    whose = [scope.conversation_id, scope.user_id]
    return {"context": context.to_dict(), "transcript": transcript(sink), "whose": whose}

async def wait_for_the_human(written):
    use_default(sink := FakeMemory())
    agent = FunctionAgent(llm=ScriptedLLM(Say("", calls=[("w1", "confirm", {})])), tools=[confirm])
    context = context_of(agent, written)
    handler = agent.run("go", ctx=context, memory=SynapMemory(user_id="ana", conversation_id="c1"))
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            break
    written = handler.ctx.to_dict()
    await handler.cancel_run()
    await asyncio.gather(handler, return_exceptions=True)
    return {"context": written, "transcript": transcript(sink, "c1")}

async def answer(words, written):
    use_default(sink := FakeMemory())
    agent = FunctionAgent(llm=ScriptedLLM("done"), tools=[confirm])
    context = context_of(agent, written)
    handler = agent.run(ctx=context)
    context.send_event(HumanResponseEvent(response=words))
    await handler
    return {"transcript": transcript(sink, "c1")}

given = json.loads(sys.stdin.read() or "null")
print(json.dumps(asyncio.run(globals()[sys.argv[1]](*sys.argv[2:], given))))
"""


def process(*what, written=None):
    """What a process of its own says at its end, given a Context that another one wrote."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, *what],
        input=json.dumps(written),
        env=os.environ | {"PYTHONPATH": str(EQUIPMENT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_s38_a_context_goes_on_in_another_process():
    """A Context that was written down keeps its conversation: the next process records its turn under it."""
    first = process("say", "one", "first answer")
    second = process("say", "two", "second answer", written=first["context"])
    third = process("say", "three", "third answer", written=second["context"])
    assert first["whose"] == second["whose"] == third["whose"]
    assert first["whose"][1] == "ana"
    assert [one["transcript"] for one in (first, second, third)] == [
        ["U one", "A first answer"], ["U two", "A second answer"], ["U three", "A third answer"]
    ]  # fmt: skip


def test_s42_a_human_answers_in_another_process():
    """A run that waits is written down and resumed elsewhere: question and call stay told once, the answer follows.

    Workflows 2.14 and 2.15 begin the run before they read the memory from the Context: in a process where nobody was
    listening before, the call is told again, under the id it had.
    """
    waiting = process("wait_for_the_human")
    assert waiting["transcript"] == ["U go", "C w1 confirm {}", "A sure?"]
    resumed = process("answer", "yes", written=waiting["context"])
    again = ["C w1 confirm {}"] if WORKFLOWS in ((2, 14), (2, 15)) else []
    assert resumed["transcript"] == [*again, "U yes", "T w1 human said yes", "A done"]


async def confirm(ctx: Context) -> str:
    """Ask the human."""
    asked = InputRequiredEvent(prefix="sure?")
    answer = await ctx.wait_for_event(HumanResponseEvent, waiter_id="w", waiter_event=asked)
    return f"human said {answer.response}"


def an_agent(*script):
    """An agent with a tool that waits for a human."""
    return FunctionAgent(llm=ScriptedLLM(*script), tools=[confirm])


ASK = Say("", calls=[("w1", "confirm", {})])
TOLD_ONCE = ["U go", "C w1 confirm {}", "A sure?", "U yes", "T w1 human said yes", "A done"]


async def test_s42_a_human_answers_while_the_run_waits(sink, memory):
    """A tool that asks a human and waits is one call with one result."""
    handler = an_agent(ASK, "done").run("go", memory=memory)
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            handler.ctx.send_event(HumanResponseEvent(response="yes"))
    await handler
    assert transcript(sink) == TOLD_ONCE


async def test_s42_a_human_answers_in_a_later_run(sink, memory):
    """A run that waits is written down, given up, and continued by another agent of this process: told once."""
    handler, written = an_agent(ASK, "done").run("go", memory=memory), ""
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            written = json.dumps(handler.ctx.to_dict())
            await handler.cancel_run()
            break
    with pytest.raises(BaseException):  # noqa: B017, PT011 - its class differs between versions
        await handler
    await asyncio.sleep(0.1)
    elsewhere = an_agent("done")
    context = Context.from_dict(elsewhere, json.loads(written))
    handler = elsewhere.run(ctx=context)
    context.send_event(HumanResponseEvent(response="yes"))
    await handler
    assert transcript(sink) == TOLD_ONCE
