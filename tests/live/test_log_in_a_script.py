"""Where nobody configures logging: warnings are on stderr, and nothing else of ours."""

import os
import subprocess
import sys

import pytest
from zero_code import synap_run

HANDLER = """
from langchain_core.language_models import FakeListChatModel
from synap_integrations.langchain import SynapCallbackHandler

model = FakeListChatModel(responses=["At 17:40."] * 2)
for _ in range(2):
    model.invoke("When is my flight?", config={"callbacks": [SynapCallbackHandler(%s)]})
"""
CONFIGURED = "import logging\nlogging.basicConfig(filename=%r)\n"


def said(program: str, storage) -> str:
    """What the program says on stderr."""
    environ = os.environ | {"SYNAP_STORAGE_PATH": str(storage), "SYNAP_BASE_URL": "local"}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=True).stderr


def test_a_warning_is_seen_in_a_script(tmp_path) -> None:
    """A handler whose runs name no conversation: one line says so, once."""
    stderr = said(HANDLER % "", tmp_path)
    assert stderr.count("\n") == 1
    assert stderr.startswith("synap: a run names no conversation")


def test_a_script_in_normal_operation_hears_nothing(tmp_path) -> None:
    """Every id is there and delivery works: not a line."""
    assert said(HANDLER % "conversation_id='c-1', user_id='ana'", tmp_path) == ""


def test_an_application_that_configures_logging_has_the_line_where_it_wants_it(tmp_path) -> None:
    """In its file, and not on stderr."""
    path = tmp_path / "app.log"
    assert said(CONFIGURED % str(path) + HANDLER % "", tmp_path) == ""
    assert path.read_text(encoding="utf-8").count("a run names no conversation") == 1


@pytest.mark.parametrize("door", ["callbacks", "record"])
def test_a_contained_fault_is_seen_once(tmp_path, door) -> None:
    """The application goes on, and one line says what was kept from it."""
    program = (
        f"from synap_integrations.guard import contained\nfor _ in range(3):\n    with contained({door!r}): 1 / 0\n"
    )
    assert said(program, tmp_path) == (
        f"synap: a fault was contained at {door}: ZeroDivisionError (1 so far); the application is not affected\n"
    )


def test_a_program_without_code_hears_nothing_in_normal_operation(own_storage) -> None:
    """Under `synap run` it cannot name a conversation, so it is not told to."""
    program = (HANDLER % "").replace("from synap_integrations.langchain import SynapCallbackHandler", "")
    ran = synap_run("-c", program.replace(', config={"callbacks": [SynapCallbackHandler()]}', ""), storage=own_storage)
    assert (ran.returncode, ran.stderr) == (0, "")
