"""The documentation site in Chromium: every page fits, loads nothing from elsewhere and has no serious axe finding."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.paths import ROOT
from support.requirements import require_module

# A page of each kind, for the checks that take seconds.
KINDS = [
    "",
    "quickstart/",
    "errors/",
    "FlexAPIApi/",
    "models/CardFields/",
    "reference/cards/",
    "project/results/",
]
WIDTHS = (1280, 360)
# Whether the page fits into the window with these colours, and whether all pictures are shown.
CHECK = """(scheme) => {
    document.body.setAttribute("data-md-color-scheme", scheme);
    const root = document.documentElement;
    const pictures = [...document.querySelectorAll("article img")];
    return [root.scrollWidth <= root.clientWidth, pictures.every((each) => each.naturalWidth > 0)];
}"""


class Site(NamedTuple):
    """The built site and the address of its server."""

    folder: Path
    url: str

    @property
    def pages(self) -> list[str]:
        """The paths of all pages; "" is the home page."""
        folders = (path.parent.relative_to(self.folder).as_posix() for path in self.folder.rglob("index.html"))
        return sorted("" if folder == "." else f"{folder}/" for folder in folders)


class Handler(SimpleHTTPRequestHandler):
    """Serves files, which the browser may keep, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "max-age=600")
        super().end_headers()


class Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """The browser ends connections whose content it does not need when it opens the next page."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    for module in ("zensical", "griffe"):
        require_module(module, package="-r tools/requirements-site.txt", not_tested="the site")
    folder = tmp_path_factory.mktemp("site")
    build = subprocess.run(
        [sys.executable, ROOT / "tools" / "build_site.py", "build", "--folder", folder],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    assert build.returncode == 0, build.stdout + build.stderr
    server = Server(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder / "site")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Site(folder / "site", f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()
    server.server_close()


def test_every_page_fits_and_loads_nothing_from_elsewhere(page: Any, site: Site, console: Any) -> None:
    foreign: list[str] = []
    page.on("request", lambda request: None if request.url.startswith(site.url) else foreign.append(request.url))
    wide = []
    widths = WIDTHS
    for path in site.pages:
        # A change of the width takes longer than anything else here, so a page begins with the width of the last one.
        page.set_viewport_size({"width": widths[0], "height": 900})
        assert page.goto(site.url + path).status == 200
        for width, scheme in zip(widths, ("default", "slate"), strict=True):
            page.set_viewport_size({"width": width, "height": 900})
            fits, pictures = page.evaluate(CHECK, scheme)
            assert pictures, f"{path}: a picture cannot be shown"
            if not fits:
                wide.append(f"{path} at {width} px")
        widths = widths[::-1]
    assert wide == []
    assert foreign == []
    assert console.warnings == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_no_page_has_a_serious_accessibility_problem(
    sized_page: Any, site: Site, width: int, scheme: str, screenshots: Path | None, accessibility_problems: Any
) -> None:
    page, serious = sized_page, {}
    for path in KINDS:
        page.goto(site.url + path)
        page.wait_for_function("document.querySelectorAll('article table:not([class])').length === "
                               "document.querySelectorAll('.md-typeset__scrollwrap').length")  # fmt: skip
        # The browser's setting chooses the colours.
        assert (
            page.locator("body").get_attribute("data-md-color-scheme") == {"light": "default", "dark": "slate"}[scheme]
        )
        if screenshots is not None:
            page.screenshot(path=screenshots / f"site-{path.strip('/').replace('/', '-')}-{width}-{scheme}.png")
        if problems := accessibility_problems(page):
            serious[path] = problems
    assert serious == {}


def test_the_colours_can_be_switched(page: Any, site: Site, console: Any) -> None:
    page.goto(site.url)
    assert page.locator("body").get_attribute("data-md-color-scheme") == "default"
    page.get_by_title("Switch to dark mode").click()
    assert page.locator("body").get_attribute("data-md-color-scheme") == "slate"
    page.goto(f"{site.url}quickstart/")
    assert page.locator("body").get_attribute("data-md-color-scheme") == "slate"


def test_search_finds_names_and_words(page: Any, site: Site, console: Any) -> None:
    page.goto(site.url)
    page.get_by_role("button", name="Search").first.click()
    field = page.locator("input:focus")
    for query, target in (
        ("verify_posted_token", "reference/client/"),
        ("UnknownKeyError", "reference/errors/"),
        ("CYBERSOURCE_PROXY", "configuration/"),
        ("rotate", "rotate-keys/"),
    ):
        field.fill(query)
        page.locator(f"a[href^='{site.url}{target}?h={query}']").first.wait_for()


def test_a_table_that_scrolls_can_be_reached_with_the_keyboard(page: Any, site: Site, console: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 900})
    page.goto(f"{site.url}trust/")
    box = page.locator(".md-typeset__scrollwrap[tabindex='0']").first
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")
