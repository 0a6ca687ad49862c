"""Names that are loaded when they are first used."""

import subprocess
import sys

import pytest

HIDDEN = """
import sys
sys.modules[{package!r}] = None
try:
    from synap_integrations.{island} import {name}
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("package", "island", "name", "install"),
    [
        ("langchain_core", "langchain", "SynapCallbackHandler", "'synap-integrations[langchain]'"),
        ("langgraph", "langchain", "SynapStore", "langgraph"),
        ("llama_index", "llamaindex", "SynapMemory", "'synap-integrations[llamaindex]'"),
        ("llama_index", "llamaindex", "SynapCallbackHandler", "'synap-integrations[llamaindex]'"),
    ],
)
def test_a_framework_that_is_missing_is_named_with_what_installs_it(package, island, name, install) -> None:
    """The first import of a newcomer who has not read about the extras."""
    program = HIDDEN.format(package=package, island=island, name=name)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == f"{name} needs {package}, which is not installed: pip install {install}\n"


def test_a_module_of_the_applications_own_that_is_missing_is_not_explained_away() -> None:
    """What is missing inside, and is no framework, is said as Python says it."""
    from synap_integrations.import_strings import lazily  # noqa: PLC0415 - what is tested

    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_module'"):
        lazily("synap_integrations", {"x": "no_such_module"}, {"langgraph": "langgraph"})("x")
