"""The examples, run as a newcomer runs them: as programs, offline, with storage of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
CASES = {
    "01_chain_with_handler.py": ([], ["agent The early one, then: 6:40.", "captured 4 turns, delivered 4, waiting 0"]),
    "02_agent_with_middleware.py": ([], ["remember that I'm allergic to shellfish", "[synap-context "]),
    "03_langgraph_thread_id.py": (
        [],
        ["thread-a of ana:", "  user      When is my lesson?", "  assistant Tuesday at six."],
    ),
    "04_fastapi_chat.py": (["--once"], ["agent Good morning, Ana. The ferry leaves at nine.", "delivered 2"]),
    "05_bare_client.py": (
        [],
        ["recorded  user: I moved to Lisbon in May. (c-1)", "pushed    ", "found     ", "listening False"],
    ),
    "07_agent_with_memory_tools.py": (
        [],
        ["allergic to shellfish.\nagent Not the stew", "found I'm allergic to shellfish.\nfound The stew"],
    ),
    "06_switch_to_cloud.py": ([], ["platform  embedded, in ", "agent     Happy to meet you.", "delivered"]),
}


def run(name: str, *arguments: str, storage: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """The example in a process of its own, with no setting but these, and every warning shown."""
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("SYNAP_", "LANGSMITH_", "LANGCHAIN_"))
    }
    env = clean | {"SYNAP_STORAGE_PATH": str(storage), "HOME": str(storage / "home")} | environ
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=90, check=False)


def test_every_example_is_run_by_a_test_and_listed_in_the_readme() -> None:
    """Nobody finds an example that nobody runs."""
    tests = "".join(path.read_text(encoding="utf-8") for path in EXAMPLES.with_name("tests").rglob("test_*.py"))
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    found = {path.name for path in EXAMPLES.glob("*.py") if "llamaindex" not in path.name}  # run where it is installed
    assert found >= CASES.keys()
    assert {name for name in found if name not in tests or name not in readme} == set()


def test_a_program_that_takes_words_says_which(tmp_path: Path) -> None:
    """Started without any, it shows how it is started, and no traceback."""
    ended = run("20_unchanged_chat.py", storage=tmp_path / "storage")
    assert ended.returncode == 1
    assert "synap run examples/20_unchanged_chat.py monday" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", CASES)
def test_an_example_runs_as_printed(name: str, tmp_path: Path) -> None:
    """It ends well, prints what its docstring promises, and says nothing on stderr."""
    arguments, expected = CASES[name]
    ended = run(name, *arguments, storage=tmp_path / "storage")
    assert ended.stderr == ""
    assert ended.returncode == 0
    assert [line for line in expected if line not in ended.stdout] == []
    assert not (tmp_path / "storage" / "home").exists()


@pytest.mark.parametrize("name", CASES)
def test_an_example_is_short_and_explains_itself(name: str) -> None:
    """At most 60 lines, beginning with what it shows, how it is run and what it prints."""
    source = (EXAMPLES / name).read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 60
    assert source.startswith('"""')
    assert f"python examples/{name}" in source
    assert "Prints:" in source


def test_the_switch_to_the_cloud_needs_a_key(tmp_path: Path) -> None:
    """`SYNAP_BASE_URL=cloud` without a key is an error that names what is missing, before anything is said."""
    ended = run("06_switch_to_cloud.py", storage=tmp_path / "storage", SYNAP_BASE_URL="cloud")
    assert ended.returncode == 1
    assert "platform  https://" in ended.stdout
    assert "SYNAP_BASE_URL=cloud needs SYNAP_API_KEY" in ended.stderr
