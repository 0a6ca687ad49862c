"""`synap run --inject` where one process talks to many users at once: each prompt has the memory of its own user only.

Everybody asks the same question at the same moment: the first prompt of each turn is held back until those of all
users have come. So whatever is kept for one user and read for another would show.
"""

import json
import re
import threading
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from provider_stand_in import Seen, first_lap, provider
from zero_code import delivered, free_port, next_start, serving, synap_run, until, users

from synap_integrations import Scope
from synap_integrations.model import AssistantMessage, UserMessage

MARK = "[synap-context "
KINDS = ("openai", "anthropic", "llamaindex")
TURNS = ("What is my code word?", "And what was my code word again?")
PATIENT = {"SYNAP_INJECT_TIMEOUT_MS": "20000", "NO_PROXY": "127.0.0.1"}
CANARY = re.compile(r"canary-\w+-end")
WARM = tuple(f"warm-{number}" for number in range(12))


def canary(user: str) -> str:
    """A word that only this user has said."""
    return f"canary-{user.replace('-', '')}-end"


def learn(storage, names) -> None:
    """What each of them said another day."""
    with next_start(storage) as synap:
        for user in names:
            scope = Scope(f"before-{user}", user)
            synap.record(UserMessage(f"My code word is {canary(user)}"), scope=scope)
            synap.record(AssistantMessage("Noted."), scope=scope)
        assert synap.flush(60)


def before(names) -> dict[str, list[tuple[str, str]]]:
    """What `learn` leaves."""
    return {f"before-{user}": [("user", f"My code word is {canary(user)}"), ("assistant", "Noted.")] for user in names}


class Crowd:
    """A provider that answers nobody before everybody has asked, and says the number of the prompt it answers."""

    def __init__(self, seen: Seen, users: int) -> None:
        self._seen = seen
        self._all_here = threading.Barrier(users, timeout=60)
        seen.says = self._says

    def _says(self, number: int, body: dict) -> str:
        text = json.dumps(body)
        if first_lap(body) and any(said in text for said in TURNS):
            self._all_here.wait()
        known = any(canary(name) in text for name in WARM)
        return f"Answer {number}: welcome back." if known else f"Answer {number}."

    def check(self, told: dict[str, str], question: str) -> None:
        """Of the prompts behind these answers, by user: own canary, beside the question, and nobody else's."""
        for user, answer in told.items():
            body = self._seen.bodies[int(re.fullmatch(r"Answer (\d+)\.", answer).group(1))]
            messages = [json.dumps(message) for message in body["messages"]]
            (marked,) = [message for message in messages if MARK in message]
            assert question in marked
            assert '"role": "user"' in marked
            assert set(CANARY.findall(json.dumps(body))) == {canary(user)}, user

    def check_all(self) -> None:
        """No prompt has two users' words; none was refused; system messages are free of them, and everyone's same."""
        assert self._seen.refused == []
        for body in self._seen.bodies:
            assert len(set(CANARY.findall(json.dumps(body)))) <= 1
            system = body["system"] if "system" in body else body["messages"][0]["content"]
            assert "You are Robin." in json.dumps(system)
            assert "canary" not in json.dumps(system)


def ask(port: int, user: str, kind: str, said: str) -> tuple[str, str]:
    """What the application answers, and which of its processes."""
    url = f"http://127.0.0.1:{port}/?{urllib.parse.urlencode({'kind': kind, 'said': said})}"
    headers = {"X-User-Id": user, "X-Conversation-Id": f"today-{user}"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=100) as answer:
        return answer.read().decode(), answer.headers["X-Pid"]


def warm_up(port: int, processes: int) -> None:
    """Until each process of the server has shown that it remembers."""
    warmed: set[str] = set()

    def once(number: int) -> None:
        answer, pid = ask(port, WARM[number], KINDS[number % 3], "Good morning")
        if "welcome back" in answer:
            warmed.add(pid)

    def everywhere() -> bool:
        with ThreadPoolExecutor(len(WARM)) as pool:
            list(pool.map(once, range(len(WARM))))
        return len(warmed) == processes

    until(everywhere, what=f"memory in {processes} processes", within_s=60)


def check_turns(storage, told: list[dict[str, str]]) -> None:
    """Exactly what was said is captured: no injected byte, no turn of somebody else's."""
    names = told[0]
    found = delivered(storage)
    today = {
        f"today-{user}": [
            turn
            for said, answers in zip(TURNS, told, strict=True)
            for turn in (("user", said), ("assistant", answers[user]))
        ]
        for user in names
    }
    warm = {name: found.pop(name) for name in list(found) if name.startswith("today-warm")}
    assert found == today | before([*names, *WARM])
    assert {words for turns in warm.values() for role, words in turns if role == "user"} == {"Good morning"}
    assert "canary" not in str(warm)
    assert MARK not in str(warm)
    owners = users(storage)
    assert all(owners[f"today-{user}"] == user for user in names)


SERVERS = {
    "uvicorn": (1, ["--", "uvicorn", "advisor_in_asgi:app", "--port", "{port}"]),
    "gunicorn, four workers": (
        4,
        # Its workers wait for threads of the clients at their end, without us too; after that time they are killed.
        [
            *("--", "gunicorn", "--preload", "-w", "4", "--threads", "20", "--graceful-timeout", "5"),
            *("-b", "127.0.0.1:{port}", "advisor_in_wsgi:app"),
        ],
    ),
}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.timeout(400)
def test_a_server_shows_each_user_their_own(server: str, own_storage, tmp_path) -> None:
    """Twenty users, whom only headers name, ask the same at once, over OpenAI's and Anthropic's clients of LangChain
    and LlamaIndex's of OpenAI: in each prompt that left, the asker's word from another day and nobody else's.
    """
    names = [f"u-{number}" for number in range(20)]
    processes, words = SERVERS[server]
    port, log = free_port(), tmp_path / "log"
    learn(own_storage, [*names, *WARM])
    told: list[dict[str, str]] = []
    with provider() as seen:
        crowd = Crowd(seen, len(names))
        more = PATIENT | {"PROVIDER_URL": f"http://127.0.0.1:{seen.port}"}
        command = ["--inject", "--identify", "headers", *[word.format(port=port) for word in words]]
        with serving(*command, storage=own_storage, port=port, log=log, **more):
            warm_up(port, processes)
            for lap, said in enumerate(TURNS):

                def turn(number: int, lap: int = lap, said: str = said) -> tuple[str, str]:
                    return names[number], ask(port, names[number], KINDS[(number + lap) % 3], said)[0]

                with ThreadPoolExecutor(len(names)) as pool:
                    told.append(dict(pool.map(turn, range(len(names)))))
                crowd.check(told[-1], said)
        crowd.check_all()
    assert "synap" not in log.read_text()
    check_turns(own_storage, told)


@pytest.mark.parametrize("way", ["threads", "tasks"])
@pytest.mark.timeout(400)
def test_a_script_shows_each_user_their_own(way: str, own_storage) -> None:
    """The same in threads and in tasks of one loop, where a function of the application's says who is talking."""
    names = [f"u-{number}" for number in range(9)]
    learn(own_storage, [*names, *WARM])
    with provider() as seen:
        crowd = Crowd(seen, len(names))
        more = PATIENT | {"PROVIDER_URL": f"http://127.0.0.1:{seen.port}"}
        command = ["--inject", "--identify", "advisor_users:talks", "advisor_in_a_script.py", way, str(len(names))]
        ran = synap_run(*command, *TURNS, storage=own_storage, **more)
        assert (ran.returncode, ran.stderr) == (0, "")
        told = [json.loads(line) for line in ran.stdout.splitlines()]
        for answers, said in zip(told, TURNS, strict=True):
            assert list(answers) == names
            crowd.check(answers, said)
        crowd.check_all()
    check_turns(own_storage, told)
