"""The pages lead to each other, and name what is there."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "synap_integrations"
MAPPED = [
    "outbox",
    "client",
    "context",
    "langchain",
    "langchain/capture",
    "langchain/prompts",
    "langchain/lookup",
    "langchain/history",
    "langchain/store",
    "llamaindex",
]
"""Folders that docs/architecture.md explains module by module."""


@pytest.mark.parametrize("folder", [DOCS, DOCS / "decisions"], ids=["docs", "decisions"])
def test_every_page_is_linked_from_the_index_of_its_folder(folder: Path) -> None:
    """Each once in a line of its own, and no link leads nowhere."""
    linked = re.findall(r"\]\(([^)#]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert [name for name in linked if not (folder / name).is_file()] == []
    assert {path.name for path in folder.glob("*.md")} - {"README.md"} == {name for name in linked if "/" not in name}
    assert len(linked) == len(set(linked))


@pytest.mark.parametrize("folder", MAPPED)
def test_every_module_has_its_line_on_the_page_of_the_architecture(folder: str) -> None:
    """And none is named that is gone."""
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rows = page.partition(f"**`{folder}/`**\n")[2].partition("\n\n**")[0].partition("\n## ")[0]
    made = {path.name for path in (PACKAGE / folder).glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"^\| `(\w+\.py)` \|", rows, re.MULTILINE)) == made


@pytest.mark.parametrize("contract", ["An island asks for two verbs", "An arrow only points down"])
def test_every_island_is_under_the_contracts_that_list_them_by_hand(contract: str) -> None:
    """A folder with a manifest is in the list of each, or the rule does not hold for it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (found,) = [one for one in project["tool"]["importlinter"]["contracts"] if one["name"] == contract]
    listed = {name.rpartition(".")[2] for name in found.get("source_modules", [])}
    listed |= {name for layer in found.get("layers", []) for name in layer.split(" | ")}
    assert {path.parent.name for path in PACKAGE.glob("*/integration.toml")} <= listed


def test_a_framework_is_forbidden_wherever_it_does_not_live() -> None:
    """Each floor below the islands is named, and the package of each framework is what it may not import."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (lives,) = [one for one in contracts if one["name"] == "Frameworks live on their islands"]
    manifests = [tomllib.loads(path.read_text(encoding="utf-8")) for path in PACKAGE.glob("*/integration.toml")]
    assert {one["trigger"].partition(".")[0] for one in manifests} <= set(lives["forbidden_modules"])
    (layered,) = [one for one in contracts if one["name"] == "An arrow only points down"]
    floors = [layer.split(" | ") for layer in layered["layers"]]
    (at,) = [at for at, names in enumerate(floors) if "langchain" in names]
    below = {f"synap_integrations.{name}" for names in floors[at + 1 :] for name in names}
    assert below == set(lives["source_modules"])


def test_an_island_imports_what_its_page_lists() -> None:
    """The list in docs/adding-a-framework.md is what the islands of today use, by module."""
    page = (DOCS / "adding-a-framework.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`([\w.]+)`", page.partition("## What it may import")[2].partition("Never")[0]))
    islands = {path.parent.name for path in PACKAGE.glob("*/integration.toml")}
    used = {
        module
        for island in islands
        for path in (PACKAGE / island).rglob("*.py")
        for module in re.findall(
            r"^\s*from synap_integrations\.([\w.]+) import", path.read_text(encoding="utf-8"), re.MULTILINE
        )
        if module.partition(".")[0] not in {*islands, "runtime"}
    }
    assert used <= listed
