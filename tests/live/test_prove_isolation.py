"""`synap prove-isolation`: finds the mistakes by which applications mix up their users, and only those."""

import json
import os
import subprocess
import sys
from pathlib import Path

import isolated_agents
import pytest

from synap_integrations import InvalidInputError
from synap_integrations.runtime import default_synap
from synap_integrations.testing import prove_isolation

EQUIPMENT = Path(isolated_agents.__file__).parent


@pytest.mark.parametrize("name", ["sound", "sound_and_async"])
def test_a_sound_agent_is_proved(name):
    """Thirty users at once: each is reminded of their own word, nobody sees another's."""
    report = prove_isolation(getattr(isolated_agents, name)(), users=30)
    assert report.crossings == []
    assert report.proved
    assert report.remembered == 30
    assert (report.turns, report.recorded_turns) == (90, 180)


@pytest.mark.parametrize(("name", "where"), [("one_user_for_all", "context"), ("history_in_a_global", "answer")])
def test_a_mistake_is_found_and_named(name, where):
    """A user who is not passed on, and a history that everybody shares."""
    report = prove_isolation(getattr(isolated_agents, name)(), users=12)
    assert not report.proved
    assert where in {crossing.where for crossing in report.crossings}
    assert all(crossing.user_id != crossing.of_user_id for crossing in report.crossings)


def test_an_agent_that_remembers_nothing_proves_nothing():
    """No crossing is no proof where no word ever comes back."""
    report = prove_isolation(isolated_agents.without_memory(), users=4)
    assert (report.crossings, report.remembered, report.proved) == ([], 0, False)


def test_the_synap_of_the_process_is_what_it_was(synap, own_storage):
    """The trial leaves neither its Synap nor a file behind."""
    prove_isolation(isolated_agents.without_memory(), users=2)
    assert default_synap() is synap.memory
    assert not own_storage.exists()


def test_one_user_is_refused():
    """One person cannot be mixed up with anybody."""
    with pytest.raises(InvalidInputError, match="users"):
        prove_isolation(isolated_agents.without_memory(), users=1)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, where the agents can be imported."""
    line = [sys.executable, "-m", "synap_integrations.cli", "prove-isolation", *arguments]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SYNAP_")}
    return subprocess.run(line, cwd=EQUIPMENT, env=environ, capture_output=True, text=True, timeout=90, check=False)


def test_the_command_says_what_was_searched_and_ends_with_0():
    """`synap prove-isolation --users 20 module:factory` on a sound agent."""
    ended = command("--users", "20", "isolated_agents:sound")
    assert ended.returncode == 0, ended.stderr
    assert "20 users got their own word back" in ended.stdout
    assert "0  crossings" in ended.stdout


def test_the_command_names_a_crossing_and_ends_with_1():
    """The report says where, whose, and who saw it."""
    ended = command("--users", "6", "--json", "isolated_agents:one_user_for_all")
    assert ended.returncode == 1
    report = json.loads(ended.stdout)
    assert not report["proved"]
    assert {"where", "user_id", "of_user_id"} == set(report["crossings"][0])


@pytest.mark.parametrize(
    ("factory", "named"),
    [
        ("isolated_agents", "module:factory"),
        ("no_such_module:x", "no_such_module"),
        ("isolated_agents:nothing", "nothing"),
        ("builtins:int", "it returned int, and not ask(text, *, user_id, conversation_id)"),
    ],
)
def test_a_factory_that_is_not_there_is_one_line(factory, named):
    """What is wrong with the argument is said in one line, with exit code 2."""
    ended = command(factory)
    assert ended.returncode == 2
    assert named in ended.stderr
    assert ended.stderr.count("prove-isolation") == 1
    assert ended.stderr.count("\n") == 1


def test_an_agent_that_fails_is_no_crossing():
    """Its traceback is shown, and the exit code is not that of a crossing."""
    ended = command("--users", "2", "isolated_agents:failing")
    assert ended.returncode == 2
    assert "RuntimeError: the model is down" in ended.stderr
    assert "nothing was proved" in ended.stderr
