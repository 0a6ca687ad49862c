"""The page about tests: its programs run, and what it shows is what happens."""

import re
from pathlib import Path

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
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
