"""The examples for LlamaIndex, run as a newcomer runs them: as programs, offline, with storage of their own."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed in this environment")

EXAMPLES = Path(__file__).parents[2] / "examples"
CASES = {
    "10_llamaindex_documents.py": [
        "agent By ferry, as you don't like bridges.",
        "The ferry to Cacilhas leaves every twenty minutes.",
        "user: I am afraid of bridges.",
    ],
    "11_llamaindex_agent_with_tools.py": [
        "agent You fly on 14 June at 6:40.",
        "captured 6 events, delivered 6, waiting 0",
    ],
    "12_llamaindex_hand_off.py": ["tool_name='handoff'", "AssistantMessage(content='It is 5.', incomplete=False)"],
    "13_llamaindex_and_langchain.py": ["prompt     | * [said on ", "user: I'm allergic to shellfish."],
    "14_llamaindex_memory_and_documents.py": ["found I'm allergic to shellfish.", "found The stew has mussels in it."],
}


def test_every_example_is_run_here_and_listed_in_the_readme():
    """Nobody finds an example that nobody runs."""
    found = {path.name for path in EXAMPLES.glob("*llamaindex*.py")}
    assert found == CASES.keys()
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(name in readme for name in found)


@pytest.mark.parametrize("name", CASES)
def test_an_example_runs_as_printed(name, tmp_path):
    """It ends well and prints what its docstring promises."""
    if "langchain" in name and find_spec("langchain_core") is None:
        pytest.skip("LangChain is not installed in this environment")
    env = {key: value for key, value in os.environ.items() if not key.startswith("SYNAP_")}
    env |= {"SYNAP_STORAGE_PATH": str(tmp_path / "storage"), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(EXAMPLES / name)]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=90, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line for line in CASES[name] if line not in ended.stdout] == []


@pytest.mark.parametrize("name", CASES)
def test_an_example_is_short_and_explains_itself(name):
    """At most 60 lines, beginning with what it shows, how it is run and what it prints."""
    source = (EXAMPLES / name).read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 60
    assert source.startswith('"""')
    assert f"python examples/{name}" in source
    assert "Prints:" in source
