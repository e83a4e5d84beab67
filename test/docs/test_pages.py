"""Checks of the pages as Markdown: links, tables, headings, code blocks."""

from __future__ import annotations

import re

import pytest

from cybersource_flex import FlexClient
from support.pages import SKILL
from support.paths import ROOT

PAGES = [
    *sorted(path.name for path in ROOT.glob("*.md")),
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("examples/*/*.md")),
    SKILL,
]
# `text` marks what is not run: output, trees, shortened tokens.
# `py`: examples that need other files or a third-party tool; test/ecosystem and test/examples run them.
LANGUAGES = {"python", "py", "sh", "json", "yaml", "dockerfile", "text"}


def lines(page: str) -> list[str]:
    return (ROOT / page).read_text(encoding="utf-8").splitlines()


def prose(page: str) -> list[str]:
    """The lines of the page, with lines of code replaced by empty lines."""
    out, inside = [], False
    for line in lines(page):
        fence = line.startswith("```")
        out.append("" if inside or fence or line.startswith("    ") else line)
        inside ^= fence
    return out


def headings(page: str) -> list[tuple[int, int, str]]:
    """Line number, level and title of each heading."""
    matches = ((number, re.match(r"(#+) (.+)", line)) for number, line in enumerate(prose(page)))
    return [(number, len(match[1]), match[2]) for number, match in matches if match]


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_link_targets_exist(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", "\n".join(prose(page))):
        if "://" in target:
            continue
        path, _, part = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page} links to {target}"
        if part:
            anchors = {anchor(title) for _, _, title in headings(file.resolve().relative_to(ROOT).as_posix())}
            assert part in anchors, f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_table_rows_have_the_same_number_of_cells(page: str) -> None:
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
def test_headings_are_unique_nested_and_not_empty(page: str) -> None:
    page_headings, page_lines = headings(page), lines(page)
    assert [level for _, level, _ in page_headings].count(1) == 1, f"{page} must have exactly one title"
    names = [anchor(name) for _, level, name in page_headings]
    assert len(set(names)) == len(names), f"{page} has a duplicate heading"
    following = [*page_headings[1:], (len(page_lines), 0, "")]
    for (number, level, name), (end, next_level, _) in zip(page_headings, following, strict=True):
        assert next_level <= level + 1, f"{page}: a heading level is missing after {name}"
        assert next_level > level or any(page_lines[number + 1 : end]), f"{page}: nothing under {name}"


@pytest.mark.parametrize("page", PAGES)
def test_code_blocks_name_their_language(page: str) -> None:
    fences = [line for line in lines(page) if line.startswith("```")]
    assert len(fences) % 2 == 0
    assert {fence[3:] for fence in fences[::2]} <= LANGUAGES
    assert set(fences[1::2]) <= {"```"}


def test_the_files_that_the_architecture_names_exist() -> None:
    """Paths are relative to the repository or to the package."""
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    paths = re.findall(r"`([\w./]+/|[\w./]+\.(?:py|yaml|toml|json|md|mustache))`", page)
    assert len(paths) > 20
    for path in paths:
        assert (ROOT / path).exists() or (ROOT / "cybersource_flex" / path).exists(), f"ARCHITECTURE.md names {path}"


def test_the_skill_has_the_header_that_assistants_read() -> None:
    """The format of Agent Skills: the name is that of the folder, and the description says when to use the skill."""
    head = re.match(r"---\n(.*?)\n---\n\n# ", (ROOT / SKILL).read_text("utf-8"), re.DOTALL)
    assert head is not None
    members = dict(line.split(": ", 1) for line in head[1].splitlines())
    assert members.keys() == {"name", "description", "license"}
    assert members["name"] == (ROOT / SKILL).parent.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", members["name"])
    assert len(members["description"]) <= 1024
    # Such a character ends or begins a value in YAML.
    assert not re.search(r": | #|^[\"'&*!|>%@`\[{-]", members["description"])


def test_names_in_the_skill_exist() -> None:
    content = (ROOT / SKILL).read_text("utf-8")
    methods = set(re.findall(r"\b((?:create|verify|store|tokenize)_\w+)\b", content))
    assert methods >= {"verify_posted_token", "verify_transient_token", "create_microform_context"}
    for method in methods - {"verify_signature"}:
        assert hasattr(FlexClient, method), method
    assert len(content.splitlines()) <= 160
