"""The documentation site: every link leads somewhere, and no page loads anything from another host."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / ".site" / "site"
# Elements and attributes that make a browser load a file.
LOADS = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """The ids of a page, its links, and the files that it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attributes}
        self.ids.update(value for name, value in named.items() if name in ("id", "name"))
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        if named.get("rel") not in ("canonical", "prev", "next"):
            self.loaded += [named[name] for element, name in LOADS if element == tag and name in named]


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    """The pages of a new build, by their address."""
    build = subprocess.run(
        [sys.executable, ROOT / "tools" / "build_site.py", "build"],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    assert build.returncode == 0, build.stdout + build.stderr
    return {f"/{path.relative_to(SITE).as_posix()}": Page(path) for path in SITE.rglob("*.html")}


def page_at(address: str) -> str:
    path = unquote(urlsplit(address).path)
    return f"{path}index.html" if path.endswith("/") else path


def test_every_page_of_the_repository_is_on_the_site(pages: dict[str, Page]) -> None:
    names = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert {f"/{name}/index.html" for name in names} <= set(pages)
    assert "/index.html" in pages


def test_links_lead_to_pages_and_anchors(pages: dict[str, Page]) -> None:
    broken = []
    for address, page in pages.items():
        # The page for unknown addresses has absolute links.
        for link in page.links if address != "/404.html" else ():
            if urlsplit(link).scheme or link.startswith("//"):
                continue
            target = urljoin(address, link)
            name = page_at(target)
            anchor = unquote(urlsplit(target).fragment)
            if name not in pages:
                if not (SITE / name.lstrip("/")).is_file():
                    broken.append(f"{address}: {link}")
            elif anchor and anchor not in pages[name].ids:
                broken.append(f"{address}: {link}")
    assert broken == []


def test_nothing_is_loaded_from_another_host(pages: dict[str, Page]) -> None:
    for address, page in pages.items():
        assert [each for each in page.loaded if urlsplit(each).netloc] == [], address
        assert all((SITE / page_at(urljoin(address, each)).lstrip("/")).is_file() for each in page.loaded), address
    # Zensical would load the library that draws diagrams from another host.
    assert not any('class="mermaid"' in (SITE / name.lstrip("/")).read_text("utf-8") for name in pages)


def test_the_files_for_assistants(pages: dict[str, Page]) -> None:
    listed = re.findall(r"\]\(([^)]+)\): \S", (SITE / "llms.txt").read_text("utf-8"))
    assert len(listed) == len(set(listed)) == len(pages) - 1
    for path in listed:
        assert (SITE / path).read_text("utf-8").startswith(("#", "<"))
    assert "def " in (SITE / "llms-full.txt").read_text("utf-8")


def test_the_search_index_has_every_page(pages: dict[str, Page]) -> None:
    index = (SITE / "search.json").read_text("utf-8")
    locations = {urlsplit(item["location"]).path for item in json.loads(index)["items"]}
    assert {page_at(f"/{path}") for path in locations} == set(pages) - {"/404.html"}
    for word in ("create_capture_context", "verify_posted_token", "for_merchant"):
        assert word in index


def test_the_reference_describes_every_public_name(pages: dict[str, Page]) -> None:
    """Names, methods, parameters and errors come from the source, so single ones show that all of it was read."""
    exported = {
        path.parent.name: re.findall(
            r'"(\w+)"', re.search(r"__all__ = \[(.*?)\]", path.read_text("utf-8"), re.DOTALL)[1]
        )  # type: ignore[index]
        for path in (ROOT / "cybersource_flex").glob("*/__init__.py")
        if "__all__" in path.read_text("utf-8")
    }
    described = {"auth", "cards", "client", "emulator", "jose", "testing", "transport"}
    for name in described:
        ids = pages[f"/reference/{name}/index.html"].ids
        assert {each.lower() for each in exported[name]} <= ids, name
    client = (SITE / "reference" / "client" / "index.html").read_text("utf-8")
    assert {"flexclientfor_merchant", "flexclientfrom_env", "asyncflexclienttokenize"} <= pages[
        "/reference/client/index.html"
    ].ids
    for phrase in ("seconds for each attempt", "a required field is missing", "target_origins"):
        # In the sync and in the async client.
        assert client.count(phrase) >= 2
    errors = pages["/reference/errors/index.html"].ids
    assert {"apiexception", "outcome", "flexerror", "responsedecodingerror"} <= errors


def test_a_folder_with_other_files_is_not_emptied(tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("mine", "utf-8")
    build = subprocess.run(
        [sys.executable, ROOT / "tools" / "build_site.py", "build", "--folder", tmp_path],
        capture_output=True,
        encoding="utf-8",
    )
    assert build.returncode == 2
    assert "contains something else than a site" in build.stderr
    assert own.read_text("utf-8") == "mine"
