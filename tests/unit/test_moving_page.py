"""The page about moving says what is true: its imports work, its commands and formats exist."""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from synap_integrations.cli.table import synap
from synap_integrations.transcripts.formats import READERS

PAGE = (Path(__file__).parents[2] / "docs" / "moving.md").read_text(encoding="utf-8")
IMPORTS = re.findall(r"^\+from (synap_integrations\S+) import (.+)$", PAGE, re.MULTILINE)
COMMANDS = re.findall(r"^\$ synap (\S+)(.*)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("module", "names"), IMPORTS, ids=lambda part: part.replace(" ", ""))
def test_every_name_that_replaces_another_is_there(module, names) -> None:
    """Whoever follows a diff of the page has an import that works."""
    framework = {"langchain": "langgraph", "llamaindex": "llama_index"}[module.rpartition(".")[2]]
    if find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    home = import_module(module)
    assert [name for name in names.split(", ") if getattr(home, name, None) is None] == []


def test_every_command_of_the_page_has_the_options_it_is_shown_with() -> None:
    """Each is one of synap's commands, with options it knows."""
    assert len(COMMANDS) > 5
    context = synap.make_context("synap", ["status"])
    for name, rest in COMMANDS:
        command = synap.get_command(context, name)
        assert command is not None, name
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--\S+", rest)) <= known, (name, rest)


def test_every_tool_of_the_page_can_be_imported_from() -> None:
    """For each way in there is a reader, and each reader of another tool's export is named on the page."""
    named = {reader.name for reader in READERS} - {"synap", "langchain", "openai"}
    assert named == {"mem0", "zep", "langfuse", "langsmith", "chatgpt"}
    assert [name for name in named if name not in PAGE.lower()] == []
