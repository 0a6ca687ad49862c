"""`synap run --inject`: context is in what a real client of a provider sent, and nowhere else."""

import json
from itertools import pairwise

import pytest
from provider_stand_in import ANSWER, provider
from waiting import until
from zero_code import delivered, say, synap_run, transcripts

from synap_integrations import Scope
from synap_integrations.model import AssistantMessage, UserMessage

MARK = "[synap-context "
FACT = "I moved to Lisbon in May"
HELLO = "Good morning"
QUESTION = "In which month did I move to Lisbon?"
PATIENT = {"SYNAP_INJECT_TIMEOUT_MS": "8000", "SYNAP_USER_ID": "ana"}


def prompt_of(body) -> list[str]:
    """The messages of a request, each as text."""
    return [json.dumps(message, sort_keys=True, ensure_ascii=False) for message in body["messages"]]


def check_prompts(bodies, *, laps: int) -> None:
    """The last turn's laps: the fact is beside the last thing the user said, the same in each, and what was sent
    before comes first in what is sent next, as a prompt cache wants it.
    """
    turn = [prompt_of(body) for body in bodies[-laps:]]
    for messages in turn:
        marked = [at for at, text in enumerate(messages) if MARK in text]
        users = [at for at, text in enumerate(messages) if QUESTION in text and '"role": "user"' in text]
        assert marked == users[-1:], messages
        assert FACT in messages[marked[0]]
    for before, after in pairwise(turn):
        assert after[: len(before)] == before
    systems = [json.dumps(body.get("system", body["messages"][0])) for body in bodies]
    assert len(set(systems)) == 1
    assert MARK not in systems[0]
    assert "You are Robin." in systems[0]


AGENTS = {
    "openai": ["agent_of_langchain.py", "openai", "invoke"],
    "openai, streamed": ["agent_of_langchain.py", "openai", "stream"],
    "anthropic, async": ["agent_of_langchain.py", "anthropic", "ainvoke"],
    "anthropic, streamed": ["agent_of_langchain.py", "anthropic", "stream"],
    "llamaindex": ["agent_of_llamaindex.py", "agent"],
}
SLOW = {"openai, streamed", "anthropic, streamed"}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.soak if kind in SLOW else ()) for kind in AGENTS], ids=list(AGENTS)
)
def test_an_agent_is_shown_what_was_said_another_day(kind: str, own_storage) -> None:
    """Monday's words are in Tuesday's prompts, in every lap; the provider refuses nothing; history and transcript hold
    only what was said.
    """
    say(own_storage, UserMessage(FACT), AssistantMessage(ANSWER), scope=Scope("monday", "ana"))
    with provider() as seen:
        more = PATIENT | {"PROVIDER_URL": f"http://127.0.0.1:{seen.port}"}
        seen.thinks = lambda: until(lambda: "tuesday" in transcripts(own_storage), what="the first turn's delivery")
        tuesday = synap_run("--inject", *AGENTS[kind], "tuesday", HELLO, QUESTION, storage=own_storage, **more)
        assert tuesday.returncode == 0, tuesday.stderr
        assert tuesday.stderr == ""
        assert seen.refused == []
        assert len(seen.bodies) == 4
        check_prompts(seen.bodies, laps=2)
    assert MARK not in tuesday.stdout
    assert QUESTION in tuesday.stdout
    assert ANSWER in tuesday.stdout
    expected = {
        "monday": [("user", FACT), ("assistant", ANSWER)],
        "tuesday": [("user", HELLO), ("assistant", ANSWER), ("user", QUESTION), ("assistant", ANSWER)],
    }
    assert delivered(own_storage) == expected


@pytest.mark.parametrize("way", ["chat", pytest.param("stream_chat", marks=pytest.mark.soak)])
def test_a_chat_engine_of_llamaindex(way: str, own_storage) -> None:
    """An engine with a memory of its own: two turns, context beside the newest, never in the older one."""
    say(own_storage, UserMessage(FACT), AssistantMessage(ANSWER), scope=Scope("monday", "ana"))
    with provider() as seen:
        more = PATIENT | {"PROVIDER_URL": f"http://127.0.0.1:{seen.port}"}
        words = ["agent_of_llamaindex.py", way]
        seen.thinks = lambda: until(lambda: "tuesday" in transcripts(own_storage), what="the first turn's delivery")
        tuesday = synap_run("--inject", *words, "tuesday", HELLO, QUESTION, storage=own_storage, **more)
        assert tuesday.stderr == ""
        assert (len(seen.bodies), seen.refused) == (2, [])
        check_prompts(seen.bodies, laps=1)
        assert MARK not in prompt_of(seen.bodies[-1])[1]
    assert MARK not in tuesday.stdout
    assert delivered(own_storage)["tuesday"] == [
        ("user", HELLO),
        ("assistant", ANSWER),
        ("user", QUESTION),
        ("assistant", ANSWER),
    ]
