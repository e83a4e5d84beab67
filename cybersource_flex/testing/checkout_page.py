"""``CheckoutPage`` and ``AsyncCheckoutPage``: fill in Microform's fields with Playwright, and get the transient token.

Playwright is not imported: the caller passes a page of Playwright's sync or async API.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from .._runtime.event_loop import timeout as timeout_after
from .._runtime.monotonic import monotonic
from ..errors import InvalidArgumentError, InvalidArgumentTypeError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["AsyncCheckoutPage", "CheckoutFailed", "CheckoutPage"]

_FIELDS: Final = ("number", "securityCode", "routingNumber", "accountNumber", "accountNumberConfirm")
# Milliseconds, as in Playwright.
_TIMEOUT: Final = 10_000.0
_POLL_INTERVAL: Final = 20.0
# Runs in the page before its own scripts. When Microform's script sets `window.Flex`, this wraps the class, so that the
# result of each `createToken` is passed to the test too. Reading the response of the Flex host from outside would be
# unreliable, because browsers discard it when the page submits its form.
_SCRIPT: Final = """
(() => {
  const report = (error, token) => {
    const details = Array.isArray(error?.details) ? error.details : [];
    window["%(binding)s"](error
      ? { reason: String(error.reason), locations: details.map((detail) => String(detail?.location)) }
      : { token: String(token) });
  };
  const wrap = (Flex) => new Proxy(Flex, {
    construct(target, parameters, newTarget) {
      const flex = Reflect.construct(target, parameters, newTarget);
      const microform = flex.microform;
      flex.microform = (...options) => {
        const form = microform.apply(flex, options);
        const createToken = form.createToken;
        form.createToken = (settings, callback) => createToken.call(form, settings,
          typeof callback !== "function" ? callback : (error, token) => {
            report(error, token);
            return callback(error, token);
          });
        return form;
      };
      return flex;
    },
  });
  let current;
  Object.defineProperty(window, "Flex", {
    configurable: true,
    enumerable: true,
    get: () => current,
    set: (value) => { current = typeof value === "function" ? wrap(value) : value; },
  });
})();
"""


class CheckoutFailed(AssertionError):
    """The page created no transient token. The message never contains card data.

    Attributes:
        reason: the reason of Microform's error: ``CREATE_TOKEN_VALIDATION_FIELDS``. None if the page did not call
            ``createToken``, or got no result in time.
        locations: the fields and options that the error names.
    """

    def __init__(self, message: str, reason: str | None = None, locations: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.locations = locations


class _BaseCheckoutPage:
    """What both classes share: the script for the page, its results, and the selectors of the fields."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._binding = f"flexCheckoutPage{uuid.uuid4().hex}"
        self._results: list[Mapping[str, Any]] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    @property
    def _script(self) -> str:
        return _SCRIPT % {"binding": self._binding}

    def _record(self, _source: object, result: Mapping[str, Any]) -> None:
        self._results.append(result)

    def field(self, name: str, *, within: str | None = None) -> Any:
        """Return Playwright's locator of the input of a field, which is in a frame of the Flex host.

        Args:
            name: type of the field as in ``createField``: ``number``, ``securityCode``, ``routingNumber``,
                ``accountNumber`` or ``accountNumberConfirm``.
            within: CSS selector of the part of the page with the field, if the page has several forms.
        """
        if name not in _FIELDS:
            raise InvalidArgumentError(f"a field must be one of {', '.join(_FIELDS)}", argument="name")
        if within is not None and not isinstance(within, str):
            raise InvalidArgumentTypeError(f"within must be a string, not {type(within).__name__}", argument="within")
        root = self._page if within is None else self._page.locator(within)
        # The fragment of a frame's address contains the type of its field, as JSON that may be percent-encoded.
        frames = f"iframe[src*='%22fieldType%22%3A%22{name}%22'], iframe[src*='\"fieldType\":\"{name}\"']"
        return root.frame_locator(frames).locator(f"input#{name}, input[name='{name}']").first

    def _button(self, button: Any) -> Any:
        return self._page.locator(button) if isinstance(button, str) else button

    def _result(self) -> str:
        result = self._results[0]
        if "token" in result:
            return str(result["token"])
        reason = str(result.get("reason"))
        locations = tuple(str(location) for location in result.get("locations", ()))
        named = f" ({', '.join(locations)})" if locations else ""
        raise CheckoutFailed(f"createToken failed: {reason}{named}", reason, locations)


def _check_values(values: Mapping[str, str]) -> list[tuple[str, str]]:
    if not isinstance(values, Mapping):
        raise InvalidArgumentTypeError(
            f"values must be a mapping of fields and digits, not {type(values).__name__}", argument="values"
        )
    for value in values.values():
        if not isinstance(value, str):
            raise InvalidArgumentTypeError("values must contain only strings", argument="values")
    return list(values.items())


def _no_result(timeout: float) -> CheckoutFailed:
    return CheckoutFailed(
        f"the page got no result of createToken within {timeout:g} ms after the click; check that the button calls "
        "createToken, and that the CheckoutPage was created before the page was opened"
    )


class CheckoutPage(_BaseCheckoutPage):
    """A page with Microform, for Playwright's sync API. Create it before the page is opened.

    It needs a page that loads Microform with ``new Flex(...)``, from the emulator or from CyberSource.

    Args:
        page: a ``Page`` of ``playwright.sync_api``.
    """

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        page.expose_binding(self._binding, self._record)
        page.add_init_script(self._script)

    def fill(self, values: Mapping[str, str], *, within: str | None = None) -> None:
        """Type digits into fields, as a customer does.

        Args:
            values: the digits by field: ``{"number": "4111111111111111", "securityCode": "123"}``.
            within: CSS selector of the part of the page with the fields, if the page has several forms.
        """
        for name, value in _check_values(values):
            field = self.field(name, within=within)
            if field.input_value():
                field.fill("")
            field.press_sequentially(value)

    def submit(self, button: Any, *, timeout: float = _TIMEOUT) -> str:
        """Click a button, and return the transient token that the page gets from ``createToken``.

        The page may then submit its form. Wait for the next page before the test ends, with ``page.wait_for_url(...)``.

        Args:
            button: selector or locator of the button.
            timeout: milliseconds to wait for the token after the click.

        Raises:
            CheckoutFailed: ``createToken`` failed, or gave no result in time.
        """
        self._results.clear()
        self._button(button).click()
        end = monotonic() + timeout / 1000
        while not self._results:
            if monotonic() > end:
                raise _no_result(timeout)
            # Lets Playwright receive the messages of the browser.
            self._page.wait_for_timeout(_POLL_INTERVAL)
        return self._result()


class AsyncCheckoutPage(_BaseCheckoutPage):
    """``CheckoutPage`` for Playwright's async API. Create it with ``await AsyncCheckoutPage.attach(page)``."""

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self._received = asyncio.Event()

    @classmethod
    async def attach(cls, page: Any) -> Self:
        """Create the object for a ``Page`` of ``playwright.async_api``, before the page is opened."""
        self = cls(page)
        await page.expose_binding(self._binding, self._record)
        await page.add_init_script(self._script)
        return self

    def _record(self, source: object, result: Mapping[str, Any]) -> None:
        super()._record(source, result)
        self._received.set()

    async def fill(self, values: Mapping[str, str], *, within: str | None = None) -> None:
        """Type digits into fields, as a customer does. See ``CheckoutPage.fill``."""
        for name, value in _check_values(values):
            field = self.field(name, within=within)
            if await field.input_value():
                await field.fill("")
            await field.press_sequentially(value)

    async def submit(self, button: Any, *, timeout: float = _TIMEOUT) -> str:
        """Click a button, and return the transient token. See ``CheckoutPage.submit``."""
        self._results.clear()
        self._received.clear()
        await self._button(button).click()
        try:
            async with timeout_after(timeout / 1000):
                await self._received.wait()
        except TimeoutError:
            raise _no_result(timeout) from None
        return self._result()
