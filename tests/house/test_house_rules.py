"""The rules of the house, held by tests: sizes, names, imports, documentation."""

import ast
import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

import synap_integrations
from synap_integrations.settings import Settings

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "synap_integrations"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "proto" not in path.parts)
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def named(path: Path) -> str:
    """How a file is called in a test's id."""
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_modules_and_functions_stay_small(path: Path) -> None:
    """A module has at most 400 lines and a function at most 50."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    long = {
        node.name: length
        for node in ast.walk(tree_of(path))
        if isinstance(node, FUNCTIONS) and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > 50
    }
    assert not long


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_nothing_is_called_by_a_word_that_says_nothing(path: Path) -> None:
    """No module or folder is a utils, helpers, common, manager, base or core."""
    names = {*path.relative_to(PACKAGE).parent.parts, path.stem}
    assert not names & {"utils", "helpers", "common", "manager", "base", "core", "misc"}


def broad_handlers(path: Path) -> list[int]:
    """Lines of ``except`` clauses that catch everything."""
    broad = {"Exception", "BaseException"}
    return [
        node.lineno
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or any(isinstance(part, ast.Name) and part.id in broad for part in ast.walk(node.type)))
    ]


def test_faults_are_swallowed_in_one_place() -> None:
    """Only ``guard`` catches broadly."""
    assert {named(path): lines for path in MODULES if path.name != "guard.py" and (lines := broad_handlers(path))} == {}


READERS = {"settings.py", "auto/launch.py", "auto/boot/sitecustomize.py"}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_only_settings_reads_the_environment(path: Path) -> None:
    """A variable that is not a setting cannot change what the package does."""
    if path.relative_to(PACKAGE).as_posix() in READERS:
        pytest.skip("the one place that reads it, or hands it on to the program that `synap run` starts")
    assert not re.search(r"os\.environ|os\.getenv", path.read_text(encoding="utf-8"))


DANGEROUS_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
DANGEROUS_CALLS = {"eval", "exec"}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_stored_data_is_never_executed(path: Path) -> None:
    """No pickle, marshal, shelve, eval or exec, and no shell."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            assert not DANGEROUS_MODULES & {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.module not in DANGEROUS_MODULES
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in DANGEROUS_CALLS
        if isinstance(node, ast.keyword) and node.arg == "shell":
            assert not (isinstance(node.value, ast.Constant) and node.value.value)


@pytest.mark.parametrize("path", TESTS, ids=named)
def test_every_test_says_what_it_proves(path: Path) -> None:
    """A test function has a docstring; a fixture or a helper need not."""
    silent = [
        node.name
        for node in ast.walk(tree_of(path))
        if isinstance(node, FUNCTIONS) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert not silent


JUDGES = {"fnmatch_lines", "re_match_lines", "raises", "warns", "fail"}
"""Functions of pytest's that fail a test, beside whatever is called ``assert_…``."""


def judges(test: ast.AST) -> bool:
    """Whether a test says itself what must be so: a wait that ends, or a call that does not raise, is not enough."""
    called = {
        node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        for node in ast.walk(test)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)
    }
    asserts = any(isinstance(node, ast.Assert) for node in ast.walk(test))
    return asserts or bool(called & JUDGES) or any(name.startswith("assert_") for name in called)


@pytest.mark.parametrize("path", TESTS, ids=named)
def test_every_test_says_what_must_be_so(path: Path) -> None:
    """An ``assert``, an expected error, or a function whose name begins with ``assert_``, in the test itself."""
    tests = [node for node in ast.walk(tree_of(path)) if isinstance(node, FUNCTIONS) and node.name.startswith("test_")]
    assert [test.name for test in tests if not judges(test)] == []


@pytest.mark.parametrize(
    ("body", "does"),
    [
        ("wait(lambda: arrived)", False),
        ("subprocess.run([], check=True)", False),
        ("assert arrived", True),
        ("with pytest.raises(KeyError): look_up()", True),
        ("assert_delivered(sent, arrived)", True),
        ("run().assert_outcomes(passed=1)", True),
    ],
)
def test_a_wait_is_no_judgement(body: str, does: bool) -> None:
    """The rule above, on the bodies of tests that keep it and that break it."""
    assert judges(ast.parse(body)) is does


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after the statement."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(out.stdout.split())


HEAVY = {"pydantic", "httpx", "grpc", "google", "langchain", "langchain_core", "langgraph", "llama_index", "asyncio"}


def test_importing_the_package_loads_nothing_heavy() -> None:
    """``import synap_integrations`` costs a few milliseconds: no framework, no pydantic, no httpx, no grpc."""
    assert not HEAVY & loaded_by("import synap_integrations")


def test_recording_needs_no_network_library() -> None:
    """The capture side (words, identity, settings) loads no network library either."""
    statement = "from synap_integrations import Scope, Settings, context, errors, model, ports, guard"
    assert not HEAVY & loaded_by(statement)


def test_every_public_name_is_there() -> None:
    """Each name of ``__all__`` resolves, and ``dir`` shows it."""
    for name in synap_integrations.__all__:
        assert getattr(synap_integrations, name) is not None
        assert name in dir(synap_integrations)


def test_every_setting_is_documented() -> None:
    """The settings page names every variable, and no variable that does not exist."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    variables = {row.metadata["variable"] for row in dataclasses.fields(Settings)}
    assert set(re.findall(r"`(SYNAP_[A-Z_]+)`", page)) == variables


def test_the_project_speaks_of_itself_alone() -> None:
    """No tracked file names a machine path or a package registry."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    banned = re.compile(
        "|".join(("/ro" + "ot/", "/ho" + "me/[a-z]", "/wo" + "rk/", "pypi" + r"\.", "regis" + "try" + r"\.npm"))
    )
    found = {
        name: hit.group()
        for name in tracked
        if (ROOT / name).is_file()
        and (hit := banned.search((ROOT / name).read_text(encoding="utf-8", errors="replace")))
    }
    assert found == {}
