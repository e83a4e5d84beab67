"""``CheckoutPage`` and ``AsyncCheckoutPage`` with a substitute for the browser: results, errors and arguments."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from cybersource_flex.errors import InvalidArgumentError
from cybersource_flex.testing import AsyncCheckoutPage, CheckoutFailed, CheckoutPage

JWT = "eyJraWQiOiIwMCJ9.eyJqdGkiOiIxIn0.c2lnbmF0dXJl"
NUMBER = "4111111111111111"


class StubLocator:
    """Records what is done with it. Its button calls the page's binding with the result."""

    def __init__(self, page: StubPage, selectors: tuple[str, ...]) -> None:
        self.page, self.selectors = page, selectors
        self.first = self

    def locator(self, selector: str) -> StubLocator:
        return StubLocator(self.page, (*self.selectors, selector))

    frame_locator = locator

    def input_value(self) -> str:
        return self.page.content

    def fill(self, value: str) -> None:
        self.page.typed.append(("fill", self.selectors, value))

    def press_sequentially(self, value: str) -> None:
        self.page.typed.append(("type", self.selectors, value))

    def click(self) -> None:
        if self.page.result is not None:
            self.page.binding({"page": self.page}, self.page.result)


class StubPage(StubLocator):
    """The parts of a page of Playwright that are used."""

    def __init__(self, result: Any = None, content: str = "") -> None:
        self.result, self.content = result, content
        self.typed: list[tuple[str, tuple[str, ...], str]] = []
        self.scripts: list[str] = []
        self.binding: Callable[..., None] = lambda *_: None
        super().__init__(self, ())

    def expose_binding(self, name: str, callback: Callable[..., None]) -> None:
        self.name, self.binding = name, callback

    def add_init_script(self, script: str) -> None:
        self.scripts.append(script)

    def wait_for_timeout(self, timeout: float) -> None:
        pass


class AsyncStub:
    """A substitute whose methods are coroutines, except those that return locators."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._stub, name)
        if name == "first":
            return AsyncStub(value)
        if name in ("locator", "frame_locator"):
            return lambda selector: AsyncStub(value(selector))

        async def call(*args: Any) -> Any:
            return value(*args)

        return call


def submit(kind: str, stub: StubPage, **options: Any) -> str:
    """Submit with a ``CheckoutPage``, or with an ``AsyncCheckoutPage``."""
    if kind == "sync":
        return CheckoutPage(stub).submit("#pay", **options)

    async def run() -> str:
        return await (await AsyncCheckoutPage.attach(AsyncStub(stub))).submit("#pay", **options)

    return asyncio.run(run())


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_token_of_the_page_is_returned(kind: str) -> None:
    stub = StubPage({"token": JWT})
    assert submit(kind, stub) == JWT
    (script,) = stub.scripts
    assert f'window["{stub.name}"]' in script


def test_the_reason_of_an_error(kind: str) -> None:
    stub = StubPage({"reason": "CREATE_TOKEN_VALIDATION_FIELDS", "locations": ["number", "securityCode"]})
    with pytest.raises(CheckoutFailed) as caught:
        submit(kind, stub)
    assert str(caught.value) == "createToken failed: CREATE_TOKEN_VALIDATION_FIELDS (number, securityCode)"
    assert caught.value.reason == "CREATE_TOKEN_VALIDATION_FIELDS"
    assert caught.value.locations == ("number", "securityCode")


def test_no_result(kind: str) -> None:
    with pytest.raises(CheckoutFailed, match="no result of createToken within 10 ms") as caught:
        submit(kind, StubPage(), timeout=10)
    assert (caught.value.reason, caught.value.locations) == (None, ())


@pytest.mark.parametrize("content", ["", "1"])
def test_digits_are_typed_into_the_frame_of_each_field(kind: str, content: str) -> None:
    stub = StubPage(content=content)
    values = {"number": NUMBER, "securityCode": "123"}
    if kind == "sync":
        CheckoutPage(stub).fill(values, within="#second")
    else:

        async def run() -> None:
            await (await AsyncCheckoutPage.attach(AsyncStub(stub))).fill(values, within="#second")

        asyncio.run(run())
    assert [value for action, _, value in stub.typed if action == "type"] == [NUMBER, "123"]
    assert [value for action, _, value in stub.typed if action == "fill"] == ["", ""] * bool(content)
    for (_, selectors, _), name in zip(stub.typed[:: len(stub.typed) // 2], values, strict=True):
        form, frame, field = selectors
        assert form == "#second"
        assert frame.startswith(f"iframe[src*='%22fieldType%22%3A%22{name}%22']")
        assert f"input#{name}" in field


@pytest.mark.parametrize(
    "values", [{"cvv": "1"}, {"number": 4}, {1: "1"}, {None: "1"}, "number", [("number", "1")], None, 7, b"x"]
)
def test_wrong_values(values: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        CheckoutPage(StubPage()).fill(values)


@pytest.mark.parametrize("name", ["", "x", None, 1, [], {}, "number'] , iframe[src*='x"])
def test_wrong_names_of_fields(name: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        CheckoutPage(StubPage()).field(name)


def test_playwright_is_not_imported() -> None:
    code = (
        "import sys, cybersource_flex.testing.plugin;"
        "from cybersource_flex.testing import AsyncCheckoutPage, CheckoutPage;"
        "assert not [name for name in sys.modules if name.startswith('playwright')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
