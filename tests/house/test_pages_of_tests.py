"""The pages about the tests name what is there."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_every_module_of_the_equipment_is_named_on_its_page() -> None:
    """And nothing is named that is gone."""
    page = (TESTS / "equipment" / "README.md").read_text(encoding="utf-8")
    rows = "\n".join(line.split("|")[1] for line in page.splitlines() if line.startswith("|"))
    assert set(re.findall(r"`(\w+\.py)`", rows)) == {path.name for path in (TESTS / "equipment").glob("*.py")}


def test_every_folder_of_tests_has_its_question() -> None:
    """And no other."""
    page = (TESTS / "README.md").read_text(encoding="utf-8")
    made = {"__pycache__", "artifacts"}
    folders = {path.name for path in TESTS.iterdir() if path.is_dir()} - made
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == folders


def test_the_tests_that_show_a_module_exist() -> None:
    """The table of modules that are shown by others names files that are there."""
    page = (TESTS / "README.md").read_text(encoding="utf-8")
    rows = [line.split("|")[2] for line in page.splitlines() if re.match(r"\| `\w+/", line)]
    assert rows
    folder = ""
    for row in rows:
        for name in re.findall(r"`([\w/*.]+)`", row):
            folder, name = (name.rsplit("/", 1)) if "/" in name else (folder, name)  # noqa: PLW2901 - its place
            found = list((TESTS / folder).glob(name)) or list(TESTS.glob(name))
            assert found, f"{folder}/{name}"
