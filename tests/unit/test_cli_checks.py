"""What the doctor knows of versions that do not go together, and of what attaches."""

import json
import os
import subprocess
import sys

import pytest

from synap_integrations.auto import launch
from synap_integrations.cli.checks.pairs import BAD_PAIRS, bad_pairs

CASES = [
    ({"pydantic": "2.14.3", "llama-index-core": "0.14.25"}, ["pip install 'pydantic<2.14'"]),
    ({"pydantic": "2.14.0rc1", "llama-index-core": "0.12.52"}, ["pip install 'pydantic<2.14'"]),
    ({"pydantic": "2.13.5", "llama-index-core": "0.14.25"}, []),
    ({"pydantic": "2.14.3", "llama-index-core": "0.14.26"}, []),
    ({"pydantic": "2.14.3"}, []),
    ({"anthropic": "2.11.0", "llama-index-llms-anthropic": "0.12.3"}, ["pip install 'anthropic<2'"]),
    ({"anthropic": "1.17.0", "llama-index-llms-anthropic": "0.12.3"}, []),
    ({"anthropic": "2.11"}, []),
    ({}, []),
]


@pytest.mark.parametrize(("installed", "fixes"), CASES, ids=lambda case: " ".join(map(str, case)) or "none")
def test_a_pair_is_found_where_both_of_it_are_installed(installed, fixes) -> None:
    """In the versions that were tried, and no others; each with the command that mends it."""
    found = list(bad_pairs(installed.get))
    assert [finding.fix for finding in found] == fixes
    assert all(finding.level == "warning" for finding in found)


def test_the_pair_that_is_installed_here_is_as_bad_as_the_table_says() -> None:
    """The table is tried against the frameworks of this environment: what it accuses does break, what not does not."""
    chat_store = pytest.importorskip("llama_index.core.storage.chat_store")
    llms = pytest.importorskip("llama_index.core.llms")
    from synap_integrations.cli.checks.installed import _version  # noqa: PLC0415 - loads little; here only

    accused = any("pydantic" in finding.says for finding in bad_pairs(_version))
    store = chat_store.SimpleChatStore()
    store.add_message("key", llms.ChatMessage(role="user", content="hi"))
    try:
        kept = "hi" in str(store.model_dump())
    except Exception:  # noqa: BLE001 - pydantic's or a TypeError: it breaks
        kept = False
    assert kept is not accused


def test_every_pair_says_what_breaks_and_names_what_to_install() -> None:
    """A fix that names neither of the two would mend nothing."""
    for pair in BAD_PAIRS:
        assert pair.breaks
        assert pair.one.distribution in pair.fix or pair.other.distribution in pair.fix


def attached(*before: str) -> dict:
    """What a doctor in a process of its own says about what attaches."""
    doctor = [sys.executable, "-m", "synap_integrations.cli", "doctor", "--quick", "--json"]
    ended = subprocess.run([*before, *doctor], capture_output=True, text=True, timeout=120, check=False, env=os.environ)
    (finding,) = [one for one in json.loads(ended.stdout)["findings"] if one["about"] == "attached"]
    return finding


def test_the_doctor_says_what_attaches() -> None:
    """By itself nothing does; under the launcher it is the launcher, from its folder, on its terms."""
    by_itself = attached()
    assert (by_itself["level"], by_itself["details"]["by"]) == ("note", None)
    assert "synap run -- synap doctor" in by_itself["fix"]
    run = [sys.executable, "-m", "synap_integrations.cli", "run", "--inject", "--identify", "headers", "--"]
    launched = attached(*run)
    assert (launched["level"], launched["details"]["by"], launched["details"]["from"]) == (
        "fine",
        "synap run",
        launch.BOOT,
    )
    assert "with context in prompts, users by headers, no children" in launched["says"]
    assert launched["details"]["frameworks"] == by_itself["details"]["frameworks"] != []
