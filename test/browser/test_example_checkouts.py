"""The shops in examples/ with Flask, FastAPI and Django, in Chromium. Their servers run as separate processes."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlencode

import pytest

from cybersource_flex.emulator import Emulator
from support.paths import ROOT
from support.requirements import require_module
from support.tokens import decode_jwt

NUMBER = "4111111111111111"
PAYMENTS = "/pts/v2/payments"
HTTPS_ORIGIN = "https://shop.example.com"
# Seconds after which a server that does not start or stop fails the test.
TIMEOUT = 60


@dataclass(frozen=True)
class Example:
    """A shop, and how it differs from the others.

    Attributes:
        name: its folder in examples/.
        command: the module that starts its server, and the arguments. The server chooses the port.
        static: the folder with the files of the page.
        csrf_field: the name of the form's field with the CSRF token.
        csrf_status: the status of the response to a wrong CSRF token.
        modules: the modules that it needs.
    """

    name: str
    command: tuple[str, ...]
    static: str
    csrf_field: str
    csrf_status: int
    modules: tuple[str, ...]


EXAMPLES = [
    Example("flask_checkout", ("flask", "run", "--port=0"), "static", "csrf", 400, ("flask",)),
    Example(
        "fastapi_checkout",
        ("uvicorn", "app:app", "--port=0"),
        "static",
        "csrf",
        400,
        ("aiohttp", "fastapi", "itsdangerous", "jinja2", "python_multipart", "uvicorn"),
    ),
    Example(
        "django_checkout",
        ("manage", "runserver", "--noreload", "0"),
        "shop/static",
        "csrfmiddlewaretoken",
        403,
        ("django", "whitenoise"),
    ),
]


class Shop:
    """The running server of an example.

    Attributes:
        example: the example.
        output: what the server has written.
        port: the server's port.
    """

    def __init__(self, example: Example, environ: dict[str, str]) -> None:
        self.example = example
        self.output = ""
        self.port = 0
        own = {name: value for name, value in os.environ.items() if not name.startswith(("CYBERSOURCE_", "SHOP_"))}
        self._started = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", *example.command],
            cwd=ROOT / "examples" / example.name,
            env={**own, **environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read_output, daemon=True)
        self._reader.start()

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.output += line
                if not self.port and (match := re.search(r"http://127\.0\.0\.1:(\d+)", line)):
                    self.port = int(match[1])
                    self._started.set()
        self._started.set()

    def wait_until_started(self) -> Shop:
        self._started.wait(TIMEOUT)
        assert self.port, f"{self.example.name} did not start:\n{self.output}"
        return self

    @property
    def url(self) -> str:
        """The origin of the pages."""
        return f"http://localhost:{self.port}"

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(TIMEOUT)
        finally:
            self._process.kill()
        self._reader.join(TIMEOUT)

    def request(
        self, path: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str, HTTPMessage]:
        """The status, body and headers of a response. A request with a form is a POST."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        sent = {"Host": f"localhost:{self.port}", **(headers or {})}
        if form is None:
            connection.request("GET", path, headers=sent)
        else:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
            connection.request("POST", path, urlencode(form), headers=sent)
        response = connection.getresponse()
        body = html.unescape(response.read().decode("utf-8"))
        connection.close()
        return response.status, body, response.headers


@pytest.fixture(scope="module")
def servers(emulator: Emulator) -> Iterator[dict[tuple[str, str], Shop]]:
    """The servers of all examples by name and origin. They start at the same time, which is faster.

    They are configured with the variables of the emulator only, except that some have the origin ``HTTPS_ORIGIN``.
    """
    running = {
        (example.name, origin): Shop(example, {**emulator.environ, "SHOP_ORIGIN": origin})
        for origin in ("", HTTPS_ORIGIN)
        for example in EXAMPLES
        if all(find_spec(module) for module in example.modules)
    }
    yield running
    for shop in running.values():
        shop.stop()
    for shop in running.values():
        assert NUMBER not in shop.output
        # No JWT: neither a context nor a token.
        assert "eyJ" not in shop.output


@pytest.fixture(scope="module", params=EXAMPLES, ids=lambda example: example.name)
def example(request: pytest.FixtureRequest) -> Example:
    chosen: Example = request.param
    for module in chosen.modules:
        require_module(module, package=module, not_tested=f"the example {chosen.name}")
    return chosen


@pytest.fixture
def shop(example: Example, servers: dict[tuple[str, str], Shop]) -> Shop:
    return servers[example.name, ""].wait_until_started()


@pytest.fixture
def https_shop(example: Example, servers: dict[tuple[str, str], Shop]) -> Shop:
    return servers[example.name, HTTPS_ORIGIN].wait_until_started()


@pytest.fixture
def page(shared_page: Any, console: Any) -> Iterator[Any]:
    """The page of all tests of this file, as in a new browser profile."""
    shared_page.context.clear_cookies()
    console.watch(shared_page)
    yield shared_page
    shared_page.goto("about:blank")
    console.unwatch(shared_page)


def fill(page: Any) -> None:
    page.frame_locator("#number-container iframe").get_by_label("Card number").press_sequentially(NUMBER)
    page.frame_locator("#code-container iframe").locator("#securityCode").press_sequentially("837")
    page.fill("#month", "12")
    page.fill("#year", "2031")


def count_payments(emulator: Emulator) -> int:
    return sum(request.path == PAYMENTS for request in emulator.requests)


@pytest.mark.parametrize(
    ("item", "title", "content"),
    [
        ("lamp", "Thank you", "authorised on the card XXXXXXXXXXXX1111"),
        ("gold bar", "Declined", "was declined (INSUFFICIENT_FUND)"),
    ],
)
def test_a_card_is_paid_with(page: Any, shop: Shop, emulator: Emulator, item: str, title: str, content: str) -> None:
    page.goto(shop.url)
    page.get_by_role("link", name=f"Buy {item}").click()
    fill(page)
    page.get_by_role("button", name="Pay").click()
    page.get_by_role("heading", name=title).wait_for()
    assert content in page.inner_text("main")
    assert emulator.requests[-1].path == PAYMENTS
    assert not any(NUMBER.encode() in request.body for request in emulator.requests)
    paid = count_payments(emulator)
    page.reload()
    assert content in page.inner_text("main")
    assert count_payments(emulator) == paid


def test_a_wrong_card_stays_on_the_page(page: Any, shop: Shop) -> None:
    page.goto(f"{shop.url}/checkout/lamp")
    page.frame_locator("#number-container iframe").get_by_label("Card number").press_sequentially("4111")
    page.fill("#month", "12")
    page.fill("#year", "2031")
    page.get_by_role("button", name="Pay").click()
    page.get_by_text("Please check the card.").wait_for()


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ("status-503", "Payments are not available right now. Nothing was charged."),
        # The payment is made, but the shop does not get the response.
        ("reset-after-request", "We do not know yet whether the payment was made."),
        ("empty-200", "We do not know yet whether the payment was made."),
    ],
)
def test_an_outage_is_an_error_page_and_reloading_it_does_not_pay_again(
    page: Any, shop: Shop, emulator: Emulator, console: Any, scenario: str, message: str
) -> None:
    page.goto(f"{shop.url}/checkout/lamp")
    fill(page)
    emulator.queue_scenarios([scenario], PAYMENTS)
    page.get_by_role("button", name="Pay").click()
    page.get_by_text(message).wait_for()
    assert "502" in console.take_errors()
    paid = count_payments(emulator)
    page.reload()
    page.get_by_text("Please start again.").wait_for()
    assert "400" in console.take_errors()
    assert count_payments(emulator) == paid


def test_the_page_has_no_serious_accessibility_problem(page: Any, shop: Shop) -> None:
    axe = require_module(
        "axe_playwright_python.sync_playwright", package="axe-playwright-python", not_tested="accessibility"
    )
    for path in ("/", "/checkout/lamp"):
        page.goto(shop.url + path)
        violations = axe.Axe().run(page).response["violations"]
        assert [each["id"] for each in violations if each["impact"] in ("serious", "critical")] == []


def open_checkout(shop: Shop, headers: dict[str, str] | None = None) -> tuple[dict[str, str], str, str]:
    """Request a checkout page. Returns the form's fields, the cookies as received, and the capture context."""
    status, body, received = shop.request("/checkout/lamp", headers=headers)
    assert status == 200
    csrf = re.search(rf'name="{shop.example.csrf_field}" value="([^"]+)"', body)
    context = re.search(r'data-context="([^"]+)"', body)
    assert csrf is not None
    assert context is not None
    (cookie,) = received.get_all("Set-Cookie", [])
    return {shop.example.csrf_field: csrf[1], "token": ""}, cookie, context[1]


@pytest.mark.parametrize("changed", ["token", "csrf", "session"])
def test_a_forged_form_is_rejected(shop: Shop, emulator: Emulator, changed: str) -> None:
    form, cookie, _ = open_checkout(shop)
    paid = count_payments(emulator)
    expected = 400
    if changed == "token":
        form["token"] = "gefälscht"
    else:
        expected = shop.example.csrf_status
        if changed == "csrf":
            form[shop.example.csrf_field] = "gefälscht"
        else:
            cookie = "none"
    status, body, headers = shop.request("/pay/lamp", form, {"Cookie": cookie.partition(";")[0]})
    assert status == expected
    assert "Something went wrong" in body
    assert "Please start again." in body
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert count_payments(emulator) == paid


@pytest.mark.parametrize("path", ["/nothing", "/checkout/nothing", "/result"])
def test_an_unknown_page_is_an_error_page(shop: Shop, path: str) -> None:
    status, body, headers = shop.request(path)
    assert status == 404
    assert "Something went wrong" in body
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_without_a_capture_context_there_is_no_form(shop: Shop, emulator: Emulator) -> None:
    emulator.queue_scenarios(["html-200"], "/microform/v2/sessions")
    status, body, _ = shop.request("/checkout/lamp")
    assert status == 502
    assert "Payments are not available right now." in body
    assert "<form" not in body


def test_headers_of_a_page(shop: Shop, emulator: Emulator) -> None:
    _, _, headers = shop.request("/checkout/lamp")
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == f"'self' {emulator.url}"
    assert policy["frame-src"] == emulator.url
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    (cookie,) = headers.get_all("Set-Cookie", [])
    assert {"httponly", "samesite=lax"} <= set(cookie.lower().split("; "))


def test_a_shop_with_https_behind_a_proxy(https_shop: Shop) -> None:
    host = {"Host": "shop.example.com"}
    form, cookie, context = open_checkout(https_shop, host)
    assert decode_jwt(context)[1]["ctx"][0]["data"]["targetOrigins"] == [HTTPS_ORIGIN]
    assert "secure" in cookie.lower().split("; ")
    sent = {**host, "Origin": HTTPS_ORIGIN, "Cookie": cookie.partition(";")[0]}
    status, body, _ = https_shop.request("/pay/lamp", form, sent)
    # The CSRF token was accepted. The transient token is missing.
    assert status == 400
    assert "The card could not be verified." in body


@pytest.mark.parametrize("name", ["checkout.js", "shop.css"])
def test_the_shops_have_the_same_files_for_pages(name: str) -> None:
    assert len({(ROOT / "examples" / each.name / each.static / name).read_bytes() for each in EXAMPLES}) == 1
