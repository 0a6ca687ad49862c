"""Every fault of the catalogue has a test that exists, in the lane it names, or a reason why it has none."""

import ast
import tomllib
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CATALOGUE = tomllib.loads((Path(__file__).parent / "catalogue.toml").read_text(encoding="utf-8"))
HOW_MANY = {"P": 26, "D": 20, "N": 33, "T": 17, "C": 5, "F": 14}
IDS = [f"{group}{number}" for group, count in HOW_MANY.items() for number in range(1, count + 1)]


@cache
def named_in(path: str) -> dict[str, bool]:
    """Names of the tests of a file, and whether each is marked as a slow proof."""
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = any("mark.soak" in ast.unparse(decorator) for decorator in node.decorator_list)
        elif isinstance(node, ast.Assign):  # a state machine becomes a test case by assignment
            found |= {target.id: False for target in node.targets if isinstance(target, ast.Name)}
    return found


def test_all_115_faults_are_listed() -> None:
    """None is left out, none is invented, none is there twice."""
    assert list(CATALOGUE) == IDS
    assert len(IDS) == 115


@pytest.mark.parametrize("fault", IDS)
def test_a_fault_has_tests_that_exist_or_a_reason(fault: str) -> None:
    """Each named test is there; a fast fault has a test that runs with every `make test`."""
    entry = CATALOGUE[fault]
    assert entry["fault"]
    if "not_here" in entry:
        assert len(entry["not_here"]) > 20
        assert "tests" not in entry
        return
    slow = {}
    for name in entry["tests"]:
        path, _, test = name.partition("::")
        assert test in named_in(path), f"{name} does not exist"
        slow[name] = named_in(path)[test]
    assert entry["lane"] == ("soak" if all(slow.values()) else "fast")
