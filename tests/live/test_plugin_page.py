"""The page about tests: its programs run, and what it shows is what happens."""

import re
from pathlib import Path

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "testing.md"
EXAMPLE = ROOT / "examples" / "30_tests_of_an_agent.py"
FILES = re.compile(r"```python\n# (test_\w+\.py)\n(.*?)```", re.DOTALL)


def test_every_program_of_the_page_does_what_the_page_says(pytester, monkeypatch) -> None:
    """All files of the page, together, as a reader has them: the one that is to fail fails as shown, the rest pass."""
    page = PAGE.read_text(encoding="utf-8")
    files = dict(FILES.findall(page))
    assert len(files) == page.count("```python") == 5
    for name, source in files.items():
        (pytester.path / name).write_text(source, encoding="utf-8")
    monkeypatch.setenv("HOME", str(pytester.mkdir("home")))
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    ran = pytester.runpytest_subprocess("-v", "-p", "no:cacheprovider")
    ran.assert_outcomes(passed=7, failed=1)
    (shown,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    ran.stdout.fnmatch_lines([line.rstrip().replace("[", "[[]") + "*" for line in shown.splitlines()])
    assert not list((pytester.path / "home").rglob("*synap*"))


def test_the_example_does_what_it_says(pytester, monkeypatch) -> None:
    """Run as its first lines say, without the plugins of this checkout: 3 passed, and nothing below the home."""
    monkeypatch.setenv("HOME", str(pytester.mkdir("home")))
    ran = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:timeout", str(EXAMPLE))
    ran.assert_outcomes(passed=3)
    assert not list((pytester.path / "home").rglob("*synap*"))
    said = EXAMPLE.read_text(encoding="utf-8")
    assert "Run:     pytest examples/30_tests_of_an_agent.py\nPrints:  3 passed." in said
    assert len(said.splitlines()) <= 60
