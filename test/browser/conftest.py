"""Chromium for browser tests, a shop's web server, and pages that report every console error and policy violation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.microform_page import MicroformPage
from support.requirements import require_module, require_program
from support.shop_server import ShopServer

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# Milliseconds, after which a test that hangs fails.
_TIMEOUT = 30_000


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser. Without one, the tests are skipped and say so."""
    path = require_program("chromium", package="chromium", not_tested="pages in a browser")
    sync_api = require_module("playwright.sync_api", package="playwright", not_tested="pages in a browser")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=_ARGUMENTS)
        yield browser
        browser.close()


class ConsoleLog:
    """What browser pages reported.

    Attributes:
        errors: console errors, uncaught exceptions and policy violations. The test must remove those that it expects.
        warnings: the messages of console warnings.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def watch(self, page: Any) -> None:
        page.on("console", self._add_message)
        page.on("pageerror", self._add_exception)

    def unwatch(self, page: Any) -> None:
        page.remove_listener("console", self._add_message)
        page.remove_listener("pageerror", self._add_exception)

    def _add_message(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)
        elif message.type == "warning":
            self.warnings.append(message.text)

    def _add_exception(self, error: Any) -> None:
        self.errors.append(str(error))

    def take_errors(self) -> str:
        """All errors so far, which the test expects, as one string."""
        errors, self.errors = self.errors, []
        return "\n".join(errors)


@pytest.fixture
def console() -> Iterator[ConsoleLog]:
    """The messages of `page`. Errors that the test does not take fail it."""
    log = ConsoleLog()
    yield log
    assert not log.errors


@pytest.fixture
def page(chromium: Any, console: ConsoleLog) -> Iterator[Any]:
    """A page in a new browser profile."""
    context = chromium.new_context()
    context.set_default_timeout(_TIMEOUT)
    new = context.new_page()
    console.watch(new)
    yield new
    context.close()


@pytest.fixture(scope="module")
def shop() -> Iterator[ShopServer]:
    """The shop's web server."""
    server = ShopServer()
    yield server
    server.close()


@pytest.fixture
def client(emulator: Any) -> Iterator[Any]:
    """The shop's client."""
    from cybersource_flex import FlexClient
    from cybersource_flex.auth import JwtSharedSecret

    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as flex_client:
        yield flex_client


@pytest.fixture
def screenshots() -> Path | None:
    """The folder for screenshots, if the test run asks for them."""
    import os

    folder = os.environ.get("CYBERSOURCE_FLEX_SCREENSHOTS")
    return Path(folder) if folder else None


@pytest.fixture(scope="module")
def shared_page(chromium: Any) -> Iterator[Any]:
    """A page for all tests of a file, because the processes of a new one take most of a test's time to start."""
    context = chromium.new_context()
    context.set_default_timeout(_TIMEOUT)
    yield context.new_page()
    context.close()


@pytest.fixture
def form(request: pytest.FixtureRequest, console: ConsoleLog, shop: ShopServer) -> Iterator[MicroformPage]:
    """A page of the shop with Microform. A test that changes the page's clock or network also requests `page`."""
    if "page" in request.fixturenames:
        yield MicroformPage(request.getfixturevalue("page"), shop)
        return
    page = request.getfixturevalue("shared_page")
    console.watch(page)
    yield MicroformPage(page, shop)
    page.goto("about:blank")
    console.unwatch(page)


@pytest.fixture
def sized_page(chromium: Any, width: int, scheme: str) -> Iterator[Any]:
    """A page with the width and the colour scheme that are parameters of the test, in a new browser profile."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    yield context.new_page()
    context.close()


FindProblems = Callable[[Any], list[tuple[str, list[Any]]]]


@pytest.fixture
def accessibility_problems() -> FindProblems:
    """Finds a page's serious accessibility problems: for each, axe's rule, and the selectors of the elements."""
    axe = require_module(
        "axe_playwright_python.sync_playwright", package="axe-playwright-python", not_tested="accessibility"
    )

    def find(page: Any) -> list[tuple[str, list[Any]]]:
        return [
            (violation["id"], [node["target"] for node in violation["nodes"]])
            for violation in axe.Axe().run(page).response["violations"]
            if violation["impact"] in ("serious", "critical")
        ]

    return find


MakeContext = Callable[..., Any]


@pytest.fixture
def make_context(client: Any, shop: ShopServer) -> MakeContext:
    """Creates a capture context for the shop's pages."""

    def make(networks: list[str] | None = None, types: list[str] | None = None, **more: Any) -> Any:
        if networks is None and types != ["CHECK"]:
            networks = ["VISA", "MASTERCARD", "AMEX", "DISCOVER", "MAESTRO"]
        more.setdefault("target_origins", [shop.url])
        if types is not None:
            more["allowed_payment_types"] = types
        return client.create_microform_context(allowed_card_networks=networks or [], **more)

    return make
