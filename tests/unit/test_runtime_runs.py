"""Where the identity of the last runs came from is known to a process that comes later."""

import os
import subprocess
import sys
from pathlib import Path

from synap_integrations import Scope, Settings, Synap, context
from synap_integrations.model import UserMessage
from synap_integrations.runtime.runs import FILE_NAME, RunLog, fingerprint, last_runs
from synap_integrations.scoping import Attribution

PROGRAM = """
from synap_integrations import Scope, Synap
from synap_integrations.model import UserMessage

synap = Synap()
synap.record(UserMessage("named by the environment"), scope=Scope("c-1", "ana"))
synap.record(UserMessage("named by nobody"), scope=Scope("c-2"))
synap.record(UserMessage("named by the run"), scope=Scope("c-3", "ben"))
"""


def test_a_program_that_closes_nothing_leaves_its_runs() -> None:
    """At the exit of an ordinary program the sources are in the file, in order, without any id."""
    subprocess.run([sys.executable, "-c", PROGRAM], env=os.environ | {"SYNAP_USER_ID": "ana"}, check=True, timeout=60)
    file = Settings.read().root / FILE_NAME
    runs = last_runs(file, 10)
    assert [run.user_from for run in runs] == ["environment", "nobody", "run"]
    assert [run.conversation for run in runs] == [fingerprint(f"c-{n}") for n in (1, 2, 3)]
    assert not {"ana", "ben", "c-1"} & set(file.read_text().replace('"', " ").split())
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_block_around_a_request_is_told_apart() -> None:
    """A user named by ``with context(…)`` is one named by the code."""
    with Synap() as synap, context(user_id="ana") as scope:
        synap.record(UserMessage("hi"), scope=Scope("c-1", scope.user_id))
        assert synap.flush(10)
    assert [run.user_from for run in last_runs(Settings.read().root / FILE_NAME, 10)] == ["context"]


def test_the_file_stays_small_and_keeps_the_newest(tmp_path: Path) -> None:
    """Thousands of turns leave a file of some hundred lines; what cannot be read in it is skipped."""
    file = tmp_path / FILE_NAME
    file.write_text("no JSON\n[1]\n")
    log = RunLog(file)
    for number in range(5_000):
        log.note(Attribution(f"c-{number}", "run", "run"))
        if number % 50 == 49:
            log.save()
    assert file.stat().st_size < 150_000
    assert last_runs(file, 1)[0].conversation == fingerprint("c-4999")
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_folder_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    """No folder, no file: nothing is raised, and nothing is made."""
    log = RunLog(tmp_path / "missing" / FILE_NAME)
    log.note(Attribution("c", "run", "run"))
    log.save()
    assert list(tmp_path.iterdir()) == []
