"""The pages as Markdown: what they link to is there, tables are whole, headings have something under them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted(path.name for path in ROOT.glob("*.md")),
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
]
# `text` is what is not run: output, trees, shortened tokens.
LANGUAGES = {"python", "sh", "json", "text", "mermaid"}


def lines(page: str) -> list[str]:
    return (ROOT / page).read_text(encoding="utf-8").splitlines()


def prose(page: str) -> list[str]:
    """The lines that are not code; those are left empty."""
    out, inside = [], False
    for line in lines(page):
        fence = line.startswith("```")
        out.append("" if inside or fence or line.startswith("    ") else line)
        inside ^= fence
    return out


def headings(page: str) -> list[tuple[int, int, str]]:
    """Number of the line, level and text of each."""
    found = ((number, re.match(r"(#+) (.+)", line)) for number, line in enumerate(prose(page)))
    return [(number, len(match[1]), match[2]) for number, match in found if match]


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", "\n".join(prose(page))):
        if "://" in target:
            continue
        path, _, part = target.partition("#")
        where = (ROOT / page).parent / path if path else ROOT / page
        assert where.exists(), f"{page} links to {target}"
        if part:
            there = {anchor(text) for _, _, text in headings(where.resolve().relative_to(ROOT).as_posix())}
            assert part in there, f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_tables_are_whole(page: str) -> None:
    width, before = 0, ""
    for line in prose(page):
        if not line.startswith("|"):
            width = 0
        else:
            cells = len(re.findall(r"(?<!\\)\|", line)) - 1
            if not width:
                assert before == "", f"{page}: no empty line before {line}"
                width = cells
            assert cells == width, f"{page}: {line}"
            assert line.endswith("|"), f"{page}: {line}"
        before = line


@pytest.mark.parametrize("page", PAGES)
def test_headings(page: str) -> None:
    found, text = headings(page), lines(page)
    assert [level for _, level, _ in found].count(1) == 1, f"{page} has not one title"
    names = [anchor(name) for _, level, name in found]
    assert len(set(names)) == len(names), f"{page} has a heading twice"
    for (number, level, name), (end, next_level, _) in zip(found, [*found[1:], (len(text), 0, "")], strict=True):
        assert next_level <= level + 1, f"{page}: a level is left out after {name}"
        assert next_level > level or any(text[number + 1 : end]), f"{page}: nothing under {name}"


@pytest.mark.parametrize("page", PAGES)
def test_blocks_say_their_language(page: str) -> None:
    fences = [line for line in lines(page) if line.startswith("```")]
    assert len(fences) % 2 == 0
    assert {fence[3:] for fence in fences[::2]} <= LANGUAGES
    assert set(fences[1::2]) <= {"```"}


def test_the_files_that_the_architecture_names_exist() -> None:
    """Paths are relative to the repository or to the package."""
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    paths = re.findall(r"`([\w./]+/|[\w./]+\.(?:py|yaml|toml|json|md))`", page)
    assert len(paths) > 20
    for path in paths:
        assert (ROOT / path).exists() or (ROOT / "cybersource_flex" / path).exists(), f"ARCHITECTURE.md names {path}"
