"""All 67 acceptance scenarios of LlamaIndex have a test: each test says in its name which of them it proves.

``test_s27_…`` proves scenario 27, ``test_s23_s24_…`` two of them.
"""

import ast
import re
from pathlib import Path

ELSEWHERE = {
    52: "tests/zero_code: starting with no line of code is not an island's",
}
"""Scenarios whose main proof is in another folder, and why."""


def named_scenarios(path):
    """The scenarios that the tests of a file name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    tests = [name for name in names if name.startswith("test_")]
    return {int(number) for name in tests for number in re.findall(r"(?<=_)s(\d\d)(?=_)", name)}


def test_every_scenario_has_a_test():
    """No number between 1 and 67 is missing, and none is named that does not exist."""
    here = Path(__file__).parent
    found = set().union(*[named_scenarios(path) for path in here.glob("test_llamaindex_*.py")])
    assert found | ELSEWHERE.keys() == set(range(1, 68))
