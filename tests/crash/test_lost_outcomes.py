"""Killed between the sending of a turn and its answer, at a platform that keeps whatever comes: who sends it again?"""

import contextlib
import json
import random
import subprocess
import sys
import time

import pytest
from programs import environment
from socket_platform import HANG, KEEP, Answer, SocketPlatform
from waiting import until

from synap_integrations import Synap

CONVERSATION = "2f0f8d3c-4f0e-4e0a-9a63-1b6a39d6b6a1"
SAYS = """
import json, sys
from synap_integrations import Scope, Synap
from synap_integrations.model import AssistantMessage, UserMessage
address, settings, conversation = (json.loads(argument) for argument in sys.argv[1:])
synap = Synap(**address, **settings)
print("ready", flush=True)
for line in sys.stdin:
    for at, text in enumerate(json.loads(line)):
        kind = UserMessage if at % 2 == 0 else AssistantMessage
        synap.record(kind(text), scope=Scope(conversation, "ana"))
    print("told", flush=True)
"""
"""Records what it is told to, alternating between user and assistant, and says when that has returned."""


class Speaker:
    """A process that records what the test says."""

    def __init__(self, platform: SocketPlatform, **settings: object) -> None:
        arguments = [json.dumps(value) for value in (platform.address, settings, CONVERSATION)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", SAYS, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert self._process.stdout.readline() == "ready\n"

    def say(self, *texts: str) -> None:
        """Returns when they are recorded."""
        self._process.stdin.write(json.dumps(texts) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "told\n"

    def kill(self) -> None:
        """With -9."""
        self._process.kill()
        self._process.wait(10)
        self._process.stdin.close()
        self._process.stdout.close()


@pytest.fixture
def settings(tmp_path) -> dict[str, object]:
    """Of all processes of a test: one folder, and patience with a platform that does not answer."""
    return {"storage_path": str(tmp_path / "synap"), "request_timeout_s": 60.0}


@pytest.fixture
def platform(synap_platform) -> SocketPlatform:
    """It keeps repeats, and lists turns without our ids."""
    synap_platform.dedupes = False
    return synap_platform


@pytest.fixture
def speaker(platform, settings):
    """Start one after the other; none outlives the test."""
    with contextlib.ExitStack() as started:

        def start() -> Speaker:
            one = Speaker(platform, **settings)
            started.callback(one.kill)
            return one

        yield start


def deliver_the_rest(platform: SocketPlatform, settings: dict[str, object]) -> None:
    """The next start."""
    with contextlib.closing(Synap(**platform.address, **settings)) as synap:
        assert synap.flush(30)
        assert synap.status().waiting == 0


@pytest.mark.parametrize("fate", [KEEP, HANG], ids=["arrived", "did-not-arrive"])
@pytest.mark.parametrize("before", [(), ("yes", "really?")], ids=["first-turn", "said-before"])
def test_a_turn_that_was_under_way_arrives_once(platform, settings, speaker, before, fate) -> None:
    """The process dies while it waits for the answer; the next one looks whether the turn is there, and does not guess.

    The same words earlier in the conversation do not count.
    """
    speaking = speaker()
    if before:
        speaking.say(*before)
        until(lambda: platform.contents() == list(before))
        time.sleep(0.2)  # until it is deleted
    platform.rest_script += [fate]
    asked = len(platform.requests)
    speaking.say("yes", "so be it", "yes")
    until(lambda: len(platform.requests) > asked and not platform.rest_script)
    time.sleep(0.1)
    assert platform.contents() == [*before, *(["yes"] if fate is KEEP else [])]
    speaking.kill()
    deliver_the_rest(platform, settings)
    assert platform.contents() == [*before, "yes", "so be it", "yes"]
    listed = [request for request in platform.requests if request.method == "GET" and "/messages" in request.path]
    assert len(listed) == 1


def test_turns_that_were_answered_and_not_deleted_yet_are_not_sent_again(platform, settings, speaker) -> None:
    """Killed at random moments while it sends: whatever had arrived is recognised, all of it with one look."""
    rng, expected = random.Random(5), []
    for life in range(3):
        speaking = speaker()
        said = [f"{life}-{number // 2 % 3}" for number in range(40)]
        speaking.say(*said)
        expected += said
        arrived = len(platform.contents())
        until(lambda arrived=arrived: len(platform.contents()) > arrived)
        time.sleep(rng.uniform(0, 0.1))
        speaking.kill()
    deliver_the_rest(platform, settings)
    assert platform.contents() == expected


def test_what_cannot_be_read_back_is_sent_again(platform, settings, speaker) -> None:
    """A platform that lists nothing gets the turn a second time: rather twice than never."""
    platform.answers[f"/v1/conversations/{CONVERSATION}/messages"] = Answer(404, body={"detail": "no such page"})
    speaking = speaker()
    platform.rest_script += [KEEP]
    speaking.say("yes")
    until(lambda: platform.contents() == ["yes"])
    speaking.kill()
    deliver_the_rest(platform, settings)
    assert platform.contents() == ["yes", "yes"]


@pytest.mark.parametrize("horizon_s", [0.0, 86_400.0], ids=["long-ago", "just-now"])
def test_a_turn_that_a_stream_took_and_nobody_acknowledged_is_one_turn(platform, settings, speaker, horizon_s) -> None:
    """While the platform is relied on to know its id it may be written again; after that, it is looked for instead."""
    settings |= {"turns": "stream", "dedupe_horizon_s": horizon_s}
    speaking = speaker()
    speaking.say("hello")
    until(lambda: platform.contents() == ["hello"] and bool(platform.opened))
    time.sleep(0.2)
    platform.acks = False
    speaking.say("yes")
    until(lambda: [event.content for event in platform.events][-1:] == ["yes"])
    time.sleep(0.1)
    speaking.kill()
    platform.acks = True
    deliver_the_rest(platform, settings)
    assert platform.contents() == ["hello", "yes"]
    written = [event.content for event in platform.events].count("yes")
    assert written == 1 if horizon_s == 0 else written >= 1
