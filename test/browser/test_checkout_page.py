"""``flex_checkout_page``, ``CheckoutPage`` and ``AsyncCheckoutPage`` on a page with Microform, up to the payment."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cybersource_flex import FlexClient, TransientToken
from cybersource_flex.errors import InvalidArgumentError
from cybersource_flex.testing import AsyncCheckoutPage, CheckoutFailed, CheckoutPage
from support.flex_shop import FlexShop
from support.page_blocks import tool_block
from support.requirements import require_module, require_program
from support.shop_server import ShopServer

CARD = {"number": "4111111111111111", "securityCode": "837"}

# The page's own script: it creates the fields when it is loaded, and posts the token in the callback.
SCRIPT = """
const flex = new Flex(document.body.dataset.context);
const kind = document.body.dataset.kind || "card";
const types = kind === "card" ? ["number", "securityCode"] : ["routingNumber", "accountNumber", "accountNumberConfirm"];
const microform = flex.microform(kind, {styles: {input: {"font-size": "16px"}}});
for (const type of types) {
  microform.createField(type).load(`#${type}-container`);
}
document.querySelector("#pay").addEventListener("click", (event) => {
  event.preventDefault();
  const options = kind === "card" ? {expirationMonth: "12", expirationYear: "2031"} : {accountType: "C"};
  microform.createToken(options, (error, token) => {
    if (error) {
      document.querySelector("#message").textContent = error.reason;
    } else {
      const form = document.querySelector("form");
      form.token.value = JSON.stringify(token);
      form.submit();
    }
  });
});
"""


def add_page(shop: ShopServer, context: Any, script: str = SCRIPT) -> str:
    """Serve a checkout page whose script is a file of the shop. Returns its URL."""
    shop.add("/shop.js", script, "text/javascript")
    url = shop.add_checkout(context.jwt)
    body, media_type, headers = shop.pages["/checkout"]
    policy = headers["content-security-policy"].replace("script-src ", "script-src 'self' ")
    content = body.decode().replace("</body>", '<p id="message"></p><script src="/shop.js"></script></body>')
    shop.pages["/checkout"] = (content.encode(), media_type, {"content-security-policy": policy})
    return url


def pay(client: FlexClient, token: TransientToken, amount: str) -> str:
    body = {
        "tokenInformation": {"transientTokenJwt": token.jwt},
        "orderInformation": {"amountDetails": {"totalAmount": amount, "currency": "USD"}},
    }
    return str(client.request("POST", "/pts/v2/payments", json=body).data["status"])


def test_from_the_typed_card_to_the_payment(
    page: Any, flex_checkout_page: CheckoutPage, shop: ShopServer, make_context: Any, client: FlexClient
) -> None:
    context = make_context()
    stored = client.store_capture_context(context, "a key of the shop's server", session_id="1")
    page.goto(add_page(shop, context))
    flex_checkout_page.fill(CARD)
    jwt = flex_checkout_page.submit("#pay")
    page.wait_for_url("**/pay")
    posted = shop.posted[-1]["token"]
    assert json.loads(posted) == jwt
    token = client.verify_posted_token(posted, stored, "a key of the shop's server", session_id="1")
    assert token.masked_number == "XXXXXXXXXXXX1111"
    assert pay(client, token, "21.00") == "AUTHORIZED"
    assert pay(client, token, "1001.00") == "DECLINED"


def test_the_tag_and_the_sources_of_the_context_are_enough(
    page: Any, flex_checkout_page: CheckoutPage, shop: ShopServer, make_context: Any
) -> None:
    context = make_context()
    sources = context.csp_sources()
    sources["script-src"].append("'self'")
    policy = "; ".join(f"{directive} {' '.join(allowed)}" for directive, allowed in sources.items())
    shop.add("/shop.js", SCRIPT, "text/javascript")
    html = (
        f'<!DOCTYPE html><link rel="icon" href="data:,"><title>Shop</title>{context.script_tag()}'
        f'<body data-context="{context.jwt}"><div id="number-container"></div><div id="securityCode-container"></div>'
        '<form action="/pay" method="post"><input type="hidden" name="token"><button id="pay">Pay</button></form>'
        '<script src="/shop.js"></script></body>'
    )
    page.goto(shop.add("/own", html, content_security_policy=f"default-src 'none'; img-src data:; {policy}"))
    flex_checkout_page.fill(CARD)
    assert flex_checkout_page.submit(page.locator("#pay")).count(".") == 2
    page.wait_for_url("**/pay")


def test_bank_accounts(
    page: Any, flex_checkout_page: CheckoutPage, shop: ShopServer, make_context: Any, client: FlexClient
) -> None:
    context = make_context(types=["CHECK"])
    url = add_page(shop, context, f"document.body.dataset.kind = 'check';{SCRIPT}")
    page.goto(url)
    account = {"routingNumber": "121042882", "accountNumber": "4100", "accountNumberConfirm": "4100"}
    flex_checkout_page.fill(account)
    token = client.verify_transient_token(flex_checkout_page.submit("#pay"), context)
    page.wait_for_url("**/pay")
    assert token.content["paymentInformation"]["bank"]


def test_a_field_can_be_filled_again_after_an_error(
    page: Any, flex_checkout_page: CheckoutPage, shop: ShopServer, make_context: Any
) -> None:
    page.goto(add_page(shop, make_context()))
    flex_checkout_page.fill({"number": "4111111111111112", "securityCode": "1"})
    with pytest.raises(CheckoutFailed, match=r"CREATE_TOKEN_VALIDATION_FIELDS \(number, securityCode\)$") as caught:
        flex_checkout_page.submit("#pay")
    assert caught.value.reason == "CREATE_TOKEN_VALIDATION_FIELDS"
    assert caught.value.locations == ("number", "securityCode")
    assert page.locator("#message").text_content() == "CREATE_TOKEN_VALIDATION_FIELDS"
    flex_checkout_page.fill(CARD)
    assert flex_checkout_page.submit("#pay").count(".") == 2
    page.wait_for_url("**/pay")


def test_errors_of_the_host_are_reported(
    page: Any, flex_checkout_page: CheckoutPage, shop: ShopServer, make_context: Any, emulator: Any, console: Any
) -> None:
    page.goto(add_page(shop, make_context()))
    flex_checkout_page.fill(CARD)
    emulator.queue_scenarios(["reset-before"], path="/flex/v2/tokens")
    with pytest.raises(CheckoutFailed, match="CREATE_TOKEN_XHR_ERROR"):
        flex_checkout_page.submit("#pay")
    emulator.reset_faults()
    assert "ERR_CONNECTION_RESET" in console.take_errors()


def test_a_page_that_does_not_call_create_token(
    page: Any, flex_checkout_page: CheckoutPage, shop: ShopServer, make_context: Any
) -> None:
    page.goto(add_page(shop, make_context()))
    with pytest.raises(CheckoutFailed, match="no result of createToken within 300 ms") as caught:
        flex_checkout_page.submit("#before", timeout=300)
    assert (caught.value.reason, caught.value.locations) == (None, ())


def test_wrong_arguments(page: Any, flex_checkout_page: CheckoutPage) -> None:
    values: list[Any] = [{"cvv": "1"}, {"number": 4}, {1: "1"}, "number", [("number", "1")], None]
    for each in values:
        with pytest.raises(InvalidArgumentError):
            flex_checkout_page.fill(each)
    within: Any = 7
    with pytest.raises(InvalidArgumentError):
        flex_checkout_page.fill({"number": "1"}, within=within)
    assert repr(flex_checkout_page) == "<CheckoutPage>"


def test_two_forms_on_one_page(
    page: Any, flex_checkout_page: CheckoutPage, shop: ShopServer, make_context: Any, client: FlexClient
) -> None:
    context = make_context()
    second = SCRIPT.replace("-container", "-second").replace("#pay", "#pay2").replace("const ", "var ")
    url = add_page(shop, context, f"{{{SCRIPT}}}\n(() => {{{second}}})();")
    body, media_type, headers = shop.pages["/checkout"]
    form = '<div id="second"><div id="number-second"></div><div id="securityCode-second"></div></div>'
    button = '<button id="pay2">Pay</button>'
    content = body.decode().replace("<form", f"{form}{button}<form", 1)
    shop.pages["/checkout"] = (content.encode(), media_type, headers)
    page.goto(url)
    flex_checkout_page.fill({"number": "5555555555554444", "securityCode": "123"}, within="#second")
    token = client.verify_transient_token(flex_checkout_page.submit("#pay2"), context)
    page.wait_for_url("**/pay")
    assert token.masked_number == "XXXXXXXXXXXX4444"


def test_the_async_api(shop: ShopServer, make_context: Any, client: FlexClient) -> None:
    path = require_program("chromium", package="chromium", not_tested="pages in a browser")
    async_api = require_module("playwright.async_api", package="playwright", not_tested="pages in a browser")
    context = make_context()
    url = add_page(shop, context)

    async def check_out() -> str:
        async with async_api.async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
            page = await browser.new_page()
            checkout = await AsyncCheckoutPage.attach(page)
            await page.goto(url)
            with pytest.raises(CheckoutFailed, match="no result"):
                await checkout.submit("#before", timeout=200)
            await checkout.fill({"number": "4", "securityCode": "1"})
            with pytest.raises(CheckoutFailed, match="VALIDATION_FIELDS"):
                await checkout.submit("#pay")
            await checkout.fill(CARD)
            token = await checkout.submit("#pay")
            await page.wait_for_url("**/pay")
            await browser.close()
            return token

    # The sync API of the other tests has a running event loop in this thread.
    with ThreadPoolExecutor(1) as pool:
        jwt = pool.submit(lambda: asyncio.run(check_out())).result()
    assert client.verify_transient_token(jwt, context).masked_number == "XXXXXXXXXXXX1111"


@pytest.fixture
def flex_emulator(emulator: Any) -> Any:
    """The emulator of these tests, for the example of docs/testing.md."""
    emulator.clear()
    return emulator


@pytest.fixture
def make_shop(client: FlexClient) -> Iterator[Any]:
    """Starts a shop whose payments have this amount."""
    shops: list[FlexShop] = []

    def make(amount: str = "21.00") -> FlexShop:
        shops.append(FlexShop(client, amount))
        return shops[-1]

    yield make
    for shop in shops:
        shop.close()


def test_the_example_of_the_documentation(
    page: Any, flex_checkout_page: CheckoutPage, client: FlexClient, flex_emulator: Any, make_shop: Any
) -> None:
    shop = make_shop()
    names: dict[str, Any] = {}
    exec(tool_block("testing.md", "flex_checkout_page"), names)  # noqa: S102
    names["test_checkout"](page, flex_checkout_page, client, flex_emulator, shop.url)
    assert shop.statuses == ["AUTHORIZED"]


def test_a_checkout_that_is_declined(page: Any, flex_checkout_page: CheckoutPage, make_shop: Any) -> None:
    shop = make_shop("1003.00")
    page.goto(f"{shop.url}/checkout")
    flex_checkout_page.fill(CARD)
    flex_checkout_page.submit("button")
    page.wait_for_url("**/declined")
    assert shop.statuses == ["DECLINED"]
