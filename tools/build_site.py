"""Build the documentation site in ``.site/site/``, or serve it locally.

    python tools/build_site.py build
    python tools/build_site.py serve

The pages are the Markdown files of the repository. README.md is the home page, the pages of ``docs/`` keep their names,
and the files in `OTHER_PAGES` come after them. `api_reference` writes the pages about the Python API. Links are
rewritten to the pages of the site. Zensical builds the pages.
"""

from __future__ import annotations

import argparse
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

from page_content import api_reference

ROOT = Path(__file__).resolve().parents[1]
STAGE = ROOT / ".site"
# The name of the file with the configuration of Zensical.
CONFIGURATION = "zensical.toml"
ASSETS = [ROOT / "tools" / "site" / name for name in ("site.css", "tables.js")]

# Titles of the sections, with their pages below `docs/`. Other pages of `docs/` come last, in "Reference".
SECTIONS = {
    "Start": ("quickstart", "assistants", "migration"),
    "Connect": ("authentication", "configuration", "encryption", "merchants"),
    "Capture, verify and pay": ("microform", "tokenize", "cards", "bulk", "verify", "sessions", "payments"),
    "Handle failures": ("errors", "telemetry"),
    "Test": ("testing", "emulator", "containers", "cli"),
    "Operate": ("production", "rotate-keys", "async", "scaling", "performance"),
    "Explanation": ("trust", "threats", "assumptions", "coverage"),
    "Reference": ("FlexAPIApi", "MicroformIntegrationApi", "models", "versions", "dependencies"),
}
# Pages outside of `docs/`, by their path on the site.
OTHER_PAGES = {
    "examples/flask.md": "examples/flask_checkout/README.md",
    "examples/fastapi.md": "examples/fastapi_checkout/README.md",
    "examples/django.md": "examples/django_checkout/README.md",
    "examples/bulk.md": "examples/bulk_distributed/README.md",
    "project/changelog.md": "CHANGELOG.md",
    "project/architecture.md": "ARCHITECTURE.md",
    "project/contributing.md": "CONTRIBUTING.md",
    "project/security.md": "SECURITY.md",
    "project/benchmarks.md": "bench/README.md",
    "project/results.md": "bench/results/latest.md",
}
# Pictures of the pages, by their path in the repository.
PICTURES = {
    **{f"bench/results/{name}": f"pictures/{name}" for name in ("latest.svg", "merchants.svg")},
    **{f"docs/pictures/{path.name}": f"pictures/{path.name}" for path in (ROOT / "docs" / "pictures").iterdir()},
}

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s#]*)(#[^()\s]*)?\)")
_FENCE = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)


def pages() -> dict[str, str]:
    """Path in the repository of each page, by its path on the site, in the order of the navigation."""
    names = [f"{name}.md" for section in SECTIONS.values() for name in section]
    rest = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))
    result = {"index.md": "README.md", **{name: f"docs/{name}" for name in [*names, *rest]}}
    return {**result, **OTHER_PAGES}


def rewrite(content: str, page: str, source: str, site_paths: dict[str, str]) -> str:
    """Point the links of a page to pages of the site. A link to a file that is not on the site loses its target."""

    def link(match: re.Match[str]) -> str:
        mark, label, target, anchor = match[1], match[2], match[3], match[4] or ""
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path not in site_paths:
            return label
        here = posixpath.relpath(site_paths[path], posixpath.dirname(page) or ".")
        # On a narrow screen, a picture is too small to read. As a link, it opens alone and can be enlarged.
        return f"[![{label}]({here})]({here})" if mark else f"[{label}]({here}{anchor})"

    parts = _FENCE.split(content)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)


def title_of(content: str) -> str:
    """The first heading of a page."""
    match = re.search(r"^# (.+)$", content, re.MULTILINE)
    if match is None:
        raise ValueError("the page has no heading of the first level")
    return match[1].replace("`", "")


def first_sentence(content: str) -> str:
    """The first sentence of the first paragraph of a page, on one line."""
    paragraphs = _FENCE.sub("", content).split("\n\n")
    prose = next((each for each in paragraphs[1:] if each.strip() and not each.startswith(("#", "|", "<", "!"))), "")
    return re.split(r"(?<=[.:]) ", " ".join(_LINK.sub(r"\2", prose).split()), maxsplit=1)[0]


def write(target: Path) -> None:
    """Write the pages, the configuration, and `llms.txt` with `llms-full.txt` (llmstxt.org) to a folder."""
    shutil.rmtree(target, ignore_errors=True)
    folder = target / "docs"
    sources = pages()
    site_paths = {**{source: page for page, source in sources.items()}, **PICTURES}
    contents = {page: (ROOT / source).read_text("utf-8") for page, source in sources.items()}
    staged = {page: rewrite(contents[page], page, source, site_paths) for page, source in sources.items()}
    reference = api_reference.pages()
    contents |= reference
    for page, content in (staged | reference).items():
        path = folder / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8", newline="\n")
    for source, picture in PICTURES.items():
        path = folder / picture
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, path)
    for asset in ASSETS:
        shutil.copyfile(asset, folder / asset.name)
    listed = []
    for page, content in contents.items():
        # Assistants read the Markdown. Its name does not end in `.md`, because Zensical would make a page of it.
        copy = f"markdown/{page}.txt"
        path = folder / copy
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8", newline="\n")
        listed.append(f"- [{title_of(content)}]({copy}): {first_sentence(content)}\n")
    home = contents["index.md"]
    llms = f"# {title_of(home)}\n\n> {first_sentence(home)}\n\n## Pages\n\n{''.join(listed)}"
    (folder / "llms.txt").write_text(llms, "utf-8", newline="\n")
    (folder / "llms-full.txt").write_text("\n\n".join(contents.values()), "utf-8", newline="\n")
    (target / CONFIGURATION).write_text(configuration(contents), "utf-8", newline="\n")


def configuration(contents: dict[str, str]) -> str:
    """The configuration of Zensical."""

    def entry(page: str) -> str:
        return f'{{ "{title_of(contents[page])}" = "{page}" }}'

    sections = {title: [f"{name}.md" for name in names] for title, names in SECTIONS.items()}
    reference = [page for page in contents if page.startswith(f"{api_reference.FOLDER}/")]
    sections["Reference"] = [*reference, *sections["Reference"]]
    listed = {page for names in sections.values() for page in names}
    sections["Reference"] += [page for page in contents if page not in listed | {"index.md"} | set(OTHER_PAGES)]
    models = [page for page in sections["Reference"] if page.startswith("models")]
    sections["Reference"] = [page for page in sections["Reference"] if page not in models]
    sections["Models"] = models
    sections["Examples"] = [page for page in OTHER_PAGES if page.startswith("examples/")]
    sections["Project"] = [page for page in OTHER_PAGES if page.startswith("project/")]
    lines = ['  { "Home" = "index.md" },']
    for title, names in sections.items():
        lines.append(f'  {{ "{title}" = [{", ".join(map(entry, names))}] }},')
    navigation = "\n".join(lines)
    return f"""[project]
site_name = "cybersource_flex"
site_description = "A Python SDK for CyberSource's Flex API"
docs_dir = "docs"
site_dir = "site"
extra_css = ["site.css"]
extra_javascript = ["tables.js"]
nav = [
{navigation}
]

[project.markdown_extensions.toc]
permalink = true

[project.markdown_extensions.pymdownx.superfences]

# Without `anchor_linenums`, which puts a link without a name before each line.
[project.markdown_extensions.pymdownx.highlight]
line_spans = "__span"
pygments_lang_class = true

[project.theme]
# No file is loaded from elsewhere.
font = false
features = ["navigation.sections", "navigation.top", "content.code.copy", "search.highlight"]

[[project.theme.palette]]
media = "(prefers-color-scheme: light)"
scheme = "default"
toggle.icon = "lucide/sun"
toggle.name = "Switch to dark mode"

[[project.theme.palette]]
media = "(prefers-color-scheme: dark)"
scheme = "slate"
toggle.icon = "lucide/moon"
toggle.name = "Switch to light mode"
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=["build", "serve"])
    parser.add_argument(
        "--folder", type=Path, default=STAGE, help="where to write, instead of .site/; is emptied first"
    )
    arguments = parser.parse_args()
    command, folder = arguments.command, arguments.folder
    if folder != STAGE and folder.is_dir() and any(folder.iterdir()) and not (folder / CONFIGURATION).is_file():
        parser.error(f"{folder} would be emptied, but contains something else than a site")
    write(folder)
    options = ["--strict", "--clean"] if command == "build" else []
    zensical = [sys.executable, "-m", "zensical", command, *options]
    return subprocess.run(zensical, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main())
