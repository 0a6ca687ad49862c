"""The platform's own SDK, unmodified, and our client hold the same conversation with a real `synap dev`.

Each check of `conformance_checks` is a test here, for each of the two clients. A run is one program in the client's own
environment; its verdicts are shared by all workers of the test run.
"""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.append(str(HERE))

from conformance_checks import CHECKS  # noqa: E402 - it lies beside this file

TRAPS = 14
"""How many the contract of the wire lists for the author of a server."""
LONGEST_S = 300
SENTENCES = {check.key: check.sentence for check in CHECKS}


def interpreter_of(client: str) -> str:
    """The Python that has this client; skips where nobody could install the SDK."""
    if client == "own_driver":
        return sys.executable
    for python in (ROOT / ".venv-sdk" / "bin" / "python", Path(sys.executable)):
        if python.exists():
            tried = subprocess.run([python, "-c", "import maximem_synap"], check=False, capture_output=True)
            if tried.returncode == 0:
                return str(python)
    log = ROOT / ".venv-sdk" / ".log"
    reason = log.read_text(encoding="utf-8").strip().splitlines()[-1:] if log.exists() else ["run `make test`"]
    pytest.skip(f"the platform's SDK could not be installed: {''.join(reason)}")


def run_of(client: str, folder: Path) -> dict:
    """The verdicts of a run by their keys."""
    folder.mkdir()
    done = subprocess.run(
        [interpreter_of(client), "-W", "ignore", HERE / "conformance_run.py", client, sys.executable, folder],
        check=False,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        env={name: value for name, value in os.environ.items() if not name.startswith("SYNAP_")},
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr[-2000:]
    return {verdict["key"]: verdict for verdict in said}


@pytest.fixture(scope="session")
def verdicts(tmp_path_factory):
    """What became of each check, by client; whoever asks first runs it, in whichever process."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared

    def of(client):
        kept = shared / f"conformance-{client}.json"
        with (shared / f"conformance-{client}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                kept.write_text(json.dumps(run_of(client, shared / f"conformance-{client}")), encoding="utf-8")
        return json.loads(kept.read_text(encoding="utf-8"))

    return of


@pytest.mark.timeout(LONGEST_S)
@pytest.mark.parametrize("key", SENTENCES)
@pytest.mark.parametrize("client", ["sdk_driver", "own_driver"], ids=["sdk", "own"])
def test_a_client_and_the_local_synap_keep_the_contract(verdicts, client, key) -> None:
    """Each check is a sentence about both of them; its verdict comes from a real conversation over sockets."""
    verdict = verdicts(client)[key]
    assert verdict["fault"] is None, f"{SENTENCES[key]} {verdict['fault']}"


def test_no_trap_is_missing() -> None:
    """Every trap that the contract lists for the author of a server is a check, and each check has its own key."""
    assert {f"trap-{number}" for number in range(1, TRAPS + 1)} <= set(SENTENCES)
    assert len(SENTENCES) == len(CHECKS)


def test_the_sdk_runs_unmodified_and_without_us() -> None:
    """The interpreter of the SDK has the version that the contract describes, as it was published."""
    python = interpreter_of("sdk_driver")
    asked = "from importlib.metadata import version; print(version('maximem-synap'))"
    assert subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout.strip() == "0.6.9"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.key)
def test_every_check_is_a_sentence(check) -> None:
    """The written run can be read: each check says in one sentence what is promised."""
    assert check.sentence
    assert check.sentence.strip().endswith(".")
    assert len(check.sentence) < 160
