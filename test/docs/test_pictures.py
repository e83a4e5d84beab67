"""The pictures of the pages: they load nothing, have a text alternative, and show what the programs do today."""

from __future__ import annotations

import re
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from click.testing import CliRunner

from cybersource_flex.cli.commands import cli
from support.paths import ROOT

FOLDER = ROOT / "docs" / "pictures"
DRAWINGS = sorted(FOLDER.glob("*.svg"))
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
SVG = "{http://www.w3.org/2000/svg}"


def words(path: Path) -> list[str]:
    """The labels of a drawing in the order of the file, with ordinary spaces."""
    elements = ElementTree.parse(path).iter(f"{SVG}text")  # noqa: S314
    return [(each.text or "").replace("\N{NO-BREAK SPACE}", " ") for each in elements]


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda path: path.name)
def test_drawings_load_nothing(path: Path) -> None:
    assert not re.search(r"@font-face|@import|<script|<image|href=|src=|url\((?!#)", path.read_text("utf-8"))


@pytest.mark.parametrize("path", [each for each in DRAWINGS if each.name != "demo.svg"], ids=lambda path: path.name)
def test_drawings_have_a_description_and_colours_for_dark_pages(path: Path) -> None:
    root = ElementTree.parse(path).getroot()  # noqa: S314
    assert len(root.get("aria-label", "")) > 40
    assert "prefers-color-scheme: dark" in path.read_text("utf-8")


def test_every_picture_is_on_a_page_and_has_a_text_alternative() -> None:
    alternatives: dict[str, str] = {}
    for page in PAGES:
        for label, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text("utf-8")):
            alternatives[(page.parent / target).resolve().name] = label
    assert {path.name for path in FOLDER.iterdir()} <= set(alternatives)
    assert all(len(label) > 20 for label in alternatives.values()), alternatives


def test_pictures_are_small() -> None:
    assert max(path.stat().st_size for path in FOLDER.iterdir()) < 120_000


def without_values(output: str) -> str:
    """The output of the demo without what differs in each run: white space, ids, times and tokens."""
    return re.sub(r'"[\w…-]{15,}(\(\d+characters\))?"|\d{3,}', "*", re.sub(r"\s", "", output))


def test_the_picture_of_the_demo_shows_its_present_output() -> None:
    result = CliRunner().invoke(cli, ["demo"])
    assert result.exit_code == 0
    output = re.search(r"^4\. .*?(?=^7\. )", result.output, re.MULTILINE | re.DOTALL)
    assert output is not None
    title, *drawn = words(FOLDER / "demo.svg")
    assert title == "cybersource-flex demo"
    assert without_values("".join(drawn)) == without_values(output[0])


def test_the_layers_of_the_architecture_are_those_that_are_enforced() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    layers = [set(re.findall(r"\w+", layer)) for layer in linter["contracts"][0]["layers"]]
    elements = ElementTree.parse(FOLDER / "architecture.svg").iter(f"{SVG}text")  # noqa: S314
    names = sorted(
        (each for each in elements if each.get("class") == "name"), key=lambda each: float(each.get("y", ""))
    )
    parts = [set(re.findall(r"\w+", each.text or "")) for each in names]
    depth = {name: number for number, layer in enumerate(layers) for name in layer}
    from_top = [max(depth[name] for name in part) for part in parts]
    assert from_top == sorted(from_top)
    public = {path.name for path in (ROOT / "cybersource_flex").iterdir() if (path / "__init__.py").exists()}
    assert {name for name in public if not name.startswith("_")} <= set().union(*parts)
