"""Microform on a shop's page: loading it, the whole checkout, origins, integrity, and what the page can see."""

from __future__ import annotations

import json
import logging
import shutil
from typing import Any

import pytest

from support.microform_page import MicroformPage
from support.shop_server import ShopServer

CARD = "4111111111111111"
CODE = "837"
SCRIPT = "/microform/bundle/*"

# Creates the card fields, and posts the token as the published samples do.
CHECKOUT = """() => {
    const flex = new Flex(document.body.dataset.context);
    const microform = flex.microform("card", {styles: {input: {"font-size": "16px", color: "#333"}}});
    const number = microform.createField("number", {placeholder: "Enter card number"});
    const securityCode = microform.createField("securityCode", {placeholder: "•••"});
    number.load("#number-container");
    securityCode.load("#securityCode-container");
    document.querySelector("#pay").addEventListener("click", (event) => {
        event.preventDefault();
        microform.createToken({expirationMonth: "12", expirationYear: "2031"}, (error, token) => {
            if (error) {
                document.title = error.reason;
            } else {
                const form = document.querySelector("form");
                form.token.value = JSON.stringify(token);
                form.submit();
            }
        });
    });
}"""


@pytest.fixture(autouse=True)
def no_faults(emulator: Any) -> Any:
    """Without scenarios and requests of another test."""
    emulator.clear()
    yield
    emulator.reset_faults()


def fill(page: Any) -> None:
    page.frame_locator("#number-container iframe").get_by_label("Card number").fill(CARD)
    page.frame_locator("#securityCode-container iframe").locator("input#securityCode").fill(CODE)


def test_a_typed_card_becomes_a_token_that_the_server_verifies(
    page: Any, shop: ShopServer, make_context: Any, client: Any
) -> None:
    context = make_context()
    page.goto(shop.add_checkout(context.jwt))
    page.evaluate(CHECKOUT)
    fill(page)
    page.click("#pay")
    page.wait_for_url("**/pay")
    token = client.verify_transient_token(json.loads(shop.posted[-1]["token"]), context)
    assert token.masked_number == "XXXXXXXXXXXX1111"
    assert token.card_types == ("001",)
    assert client.payment_details(token)["paymentInformation"]["card"]["expirationYear"] == "2031"


# Load the script


DYNAMIC = """([source, integrity, type]) => new Promise((resolve, reject) => {
    const script = document.createElement("script");
    Object.assign(script, {type, async: true, src: source, integrity, crossOrigin: "anonymous"});
    script.onload = () => resolve(typeof Flex);
    script.onerror = () => resolve("error");
    document.head.appendChild(script);
})"""


def plain_page(shop: ShopServer) -> str:
    return shop.add("/plain", '<!DOCTYPE html><link rel="icon" href="data:,"><title>Shop</title>')


def test_forms_of_loading_the_script(page: Any, shop: ShopServer, make_context: Any, emulator: Any) -> None:
    context = make_context()
    assert context.client_library == emulator.url + "/microform/bundle/v2.5.1/flex-microform.min.js"
    assert context.client_library_integrity.startswith("sha256-")
    for type_ in ("text/javascript", "module"):
        page.goto(plain_page(shop))
        arguments = [context.client_library, context.client_library_integrity, type_]
        assert page.evaluate(DYNAMIC, arguments) == "function"
    # As in a published sample: neither integrity nor CORS.
    page.goto(plain_page(shop))
    page.add_script_tag(url=context.client_library)
    assert page.evaluate("() => typeof Flex") == "function"
    for version in ("v2", "v2.0", "v2.9.0"):
        page.goto(plain_page(shop))
        source = context.client_library.replace("v2.5.1", version)
        assert page.evaluate(DYNAMIC, [source, context.client_library_integrity, "text/javascript"]) == "function"


def test_amd_loaders_get_the_class_too(page: Any, shop: ShopServer, make_context: Any) -> None:
    context = make_context()
    page.goto(plain_page(shop))
    page.evaluate("() => { window.define = (names, make) => { window.module = make(); }; define.amd = {}; }")
    page.evaluate(DYNAMIC, [context.client_library, "", "text/javascript"])
    assert page.evaluate("() => window.module.Flex === window.Flex")


def test_a_page_with_cross_origin_isolation(form: MicroformPage, make_context: Any, shop: ShopServer) -> None:
    context = make_context()
    shop.add_checkout(context.jwt, "/isolated")
    body, media_type, headers = shop.pages["/isolated"]
    isolation = {
        "cross-origin-embedder-policy": "require-corp",
        "cross-origin-opener-policy": "same-origin",
    }
    shop.pages["/isolated"] = (body, media_type, headers | isolation)
    form.open(context, shop.url + "/isolated").start()
    assert form.page.evaluate("() => crossOriginIsolated")
    form.type_card()
    assert form.token()


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ("changed-script", "integrity"),
        ("status-503", "503"),
        ("reset-before", "ERR_"),
        ("wrong-content-type;type=text/plain", "MIME type"),
    ],
)
def test_a_blocked_script_leaves_the_page_without_flex(
    page: Any, shop: ShopServer, make_context: Any, emulator: Any, console: Any, scenario: str, message: str
) -> None:
    context = make_context()
    emulator.queue_scenarios([scenario], path=SCRIPT)
    page.goto(plain_page(shop))
    arguments = [context.client_library, context.client_library_integrity, "text/javascript"]
    assert page.evaluate(DYNAMIC, arguments) == "error"
    assert page.evaluate("() => typeof Flex") == "undefined"
    assert message in console.take_errors()
    # The next attempt of the page succeeds.
    assert page.evaluate(DYNAMIC, arguments) == "function"


def test_files_use_up_no_scenario_for_all_paths_and_are_not_recorded(
    form: MicroformPage, make_context: Any, emulator: Any, console: Any
) -> None:
    context = make_context()
    emulator.clear()
    emulator.queue_scenarios(["status-500"])
    form.open(context).start()
    assert emulator.requests == []
    form.type_card()
    assert form.reason() == "API_INTERNAL_ERROR"
    assert [record.scenario for record in emulator.requests] == ["status-500"]
    console.take_errors()


def test_microform_over_https(chromium: Any, shop: ShopServer) -> None:
    from cybersource_flex import FlexClient
    from cybersource_flex.emulator import Emulator

    with Emulator(tls=True) as secure, FlexClient.from_env(secure.environ) as client:
        context = client.create_microform_context(target_origins=[shop.url], allowed_card_networks=["VISA"])
        profile = chromium.new_context(ignore_https_errors=True)
        form = MicroformPage(profile.new_page(), shop).open(context).start()
        form.type_card()
        assert client.verify_transient_token(form.token(), context).card_types == ("001",)
        profile.close()


def test_microform_at_the_public_url(chromium: Any, shop: ShopServer) -> None:
    """The script and the frames come from the public host, under which the browser reaches the emulator."""
    from cybersource_flex import FlexClient
    from cybersource_flex.emulator import Emulator

    with Emulator(allow_remote=True, public_url="https://flex.example") as remote:
        address = f"127.0.0.1:{remote._server.port}"
        browser = chromium.browser_type.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", f"--host-resolver-rules=MAP flex.example {address}"],
        )
        with FlexClient.from_env(remote.environ, intermediate_host=f"https://{address}") as client:
            context = client.create_microform_context(target_origins=[shop.url], allowed_card_networks=["VISA"])
            assert "https://flex.example/microform/" in context.script_tag()
            page = browser.new_context(ignore_https_errors=True).new_page()
            form = MicroformPage(page, shop).open(context).start()
            form.type_card()
            assert client.verify_transient_token(form.token(), context).card_types == ("001",)
        assert [frame.url.partition("/microform/")[0] for frame in page.frames[1:]] == ["https://flex.example"] * 2
        browser.close()


# Origins


def assert_not_shown(form: MicroformPage, console: Any) -> None:
    """The page is not allowed to show the frames: the browser refuses them, and createToken reports an error."""
    with form.page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        form.start(fields=["number"], wait=False)
    assert form.reason() == "CREATE_TOKEN_UNABLE_TO_START"
    console.take_errors()
    assert form.events("number", "load") == []


def test_a_page_of_another_origin_cannot_show_the_fields(
    form: MicroformPage, make_context: Any, console: Any, shop: ShopServer
) -> None:
    for origins in (["https://shop.example"], [f"http://localhost:{shop.port + 1}"]):
        assert_not_shown(form.open(make_context(target_origins=origins)), console)
    # The same server by another name.
    context = make_context()
    url = shop.add_checkout(context.jwt).replace("localhost", "127.0.0.1")
    assert_not_shown(form.open(context, url), console)


def test_the_scenario_origin_not_allowed(form: MicroformPage, make_context: Any, emulator: Any, console: Any) -> None:
    emulator.queue_scenarios(["origin-not-allowed"], path="/microform/bundle/v2.5.1/iframe.html")
    assert_not_shown(form.open(make_context()), console)
    assert [record.scenario for record in emulator.requests if "iframe" in record.target] == ["origin-not-allowed"]


OUTER = """<!DOCTYPE html><link rel="icon" href="data:,"><title>Outer</title>
<iframe src="{url}" width="400" height="300"></iframe>"""


@pytest.mark.parametrize("listed", [True, False])
def test_all_pages_around_the_frames_must_be_listed(
    page: Any, shop: ShopServer, make_context: Any, console: Any, listed: bool
) -> None:
    outer = ShopServer()
    try:
        context = make_context(target_origins=[shop.url, outer.url] if listed else [shop.url])
        url = shop.add_checkout(context.jwt, "/inner")
        page.goto(outer.add("/outer", OUTER.format(url=url)))
        inner = page.frames[1]
        inner.wait_for_function("() => typeof Flex === 'function'")
        load = """() => {
            const field = new Flex(document.body.dataset.context).microform("card").createField("number");
            field.on("load", () => document.title = "loaded");
            field.load("#number-container");
        }"""
        if listed:
            inner.evaluate(load)
            inner.wait_for_function("() => document.title === 'loaded'")
        else:
            with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
                inner.evaluate(load)
            console.take_errors()
            assert inner.title() == "Shop"
    finally:
        outer.close()


def test_a_list_of_more_than_five_origins_must_match_the_pages(
    form: MicroformPage, make_context: Any, shop: ShopServer, console: Any
) -> None:
    others = [f"https://shop{number}.example" for number in range(1, 6)]
    form.open(make_context(target_origins=[shop.url, *others[:4]])).start()
    form.open(make_context(target_origins=[shop.url, *others]))
    with form.page.expect_console_message(lambda message: "targetOrigins" in message.text):
        form.start(fields=["number"], wait=False)
    assert form.reason() == "CREATE_TOKEN_UNABLE_TO_START"
    console.take_errors()


# What the page can see


def test_the_page_cannot_read_the_frames_or_imitate_them(form: MicroformPage, make_context: Any) -> None:
    form.open(make_context()).start()
    form.type_card()
    with pytest.raises(Exception, match="SecurityError"):
        form.page.evaluate("() => document.querySelector('iframe').contentWindow.document.body.innerHTML")
    # A message of the page itself, not of the frame.
    form.page.evaluate("""() => {
        const data = {marker: "cybersource-flex-emulator", field: "x", type: "change", data: {valid: true}};
        window.postMessage(data, "*");
        window.dispatchEvent(new MessageEvent("message", {data, origin: location.origin, source: window}));
        window.dispatchEvent(new MessageEvent("message", {data: null, origin: location.origin, source: window}));
    }""")
    form.sync("number")
    assert form.classes("number") - {"focused"} == {"", "valid"}


def test_messages_of_another_window_are_ignored_by_the_frames(form: MicroformPage, make_context: Any) -> None:
    form.open(make_context(), body='<iframe id="other" srcdoc="<p>other</p>"></iframe>').start()
    form.type_card()
    field = form.page.evaluate("""() => {
        const frame = document.querySelector("#number-container iframe");
        return JSON.parse(decodeURIComponent(new URL(frame.src).hash.slice(1))).fieldId;
    }""")
    other = form.page.query_selector("#other").content_frame()
    other.evaluate(
        """(field) => {
            const data = {marker: "cybersource-flex-emulator", field, type: "clear"};
            for (let index = 0; index < parent.length; index += 1) {
                parent[index].postMessage(data, "*");
            }
        }""",
        field,
    )
    form.sync("number")
    assert form.input("number").input_value() == "4111 1111 1111 1111"


# Everything that a document shows and stores. Chromium may deny a frame of another origin its storage.
VISIBLE = """async () => {
    const attempt = async (read) => { try { return await read(); } catch (error) { return error.name; } };
    return JSON.stringify(await Promise.all([
        document.documentElement.outerHTML,
        location.href,
        performance.getEntries().map((entry) => entry.name),
        attempt(() => ({...localStorage})),
        attempt(() => ({...sessionStorage})),
        attempt(() => document.cookie),
        attempt(() => indexedDB.databases()),
        attempt(() => caches.keys()),
        window.events,
        window.received,
    ]));
}"""


def test_no_card_data_in_the_page_storage_log_or_records(
    form: MicroformPage, make_context: Any, emulator: Any, caplog: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    form.open(make_context()).start()
    form.page.evaluate("() => { window.received = []; addEventListener('message', (e) => received.push(e.data)); }")
    form.type_card("4622943127013705", CODE)
    form.sync("number")
    form.sync("securityCode")
    form.token()
    pages = [frame.evaluate(VISIBLE) for frame in form.page.frames]
    assert len(pages) == 3
    # The test would notice them.
    assert "securityCode" in pages[0]
    assert form.input("number").input_value() == "4622 9431 2701 3705"
    records = [repr(record) + repr(record.body) + repr(record.raw_headers) for record in emulator.requests]
    assert len(records) == 3
    for content in (*pages, json.dumps(form.page.context.storage_state()), caplog.text, *records):
        for secret in ("4622943127013705", "4622 9431 2701 3705", "943127013705", f'"{CODE}"', f"={CODE}"):
            assert secret not in content


def test_two_forms_on_one_page_are_independent(form: MicroformPage, make_context: Any, client: Any) -> None:
    containers = '<div id="b-number-container"></div><div id="b-securityCode-container"></div>'
    first, second = make_context(), make_context(["MASTERCARD"])
    form.open(first, body=containers).start()
    form.jwt = second.jwt
    form.start(prefix="b-")
    form.type_card("4111111111111111", "837")
    form.type_card("5555555555554444", "912", prefix="b-")
    token = client.verify_transient_token(form.token(), first)
    other = client.verify_transient_token(form.token(prefix="b-"), second)
    assert (token.masked_number, other.masked_number) == ("XXXXXXXXXXXX1111", "XXXXXXXXXXXX4444")
    form.page.evaluate("() => fields['b-number'].clear()")
    form.sync("b-number")
    assert form.token({})
    result = form.create_token({}, prefix="b-")
    assert result["error"]["reason"] == "CREATE_TOKEN_VALIDATION_FIELDS"


def test_two_forms_of_one_context(form: MicroformPage, make_context: Any, client: Any) -> None:
    containers = '<div id="b-number-container" class="container"></div>'
    context = make_context()
    form.open(context, body=containers).start(fields=["number"])
    form.start(fields=["number"], prefix="b-")
    form.input("number").fill("4111111111111111")
    form.input("b-number").fill("5555555555554444")
    assert client.verify_transient_token(form.token(), context).masked_number == "XXXXXXXXXXXX1111"
    assert client.verify_transient_token(form.token(prefix="b-"), context).masked_number == "XXXXXXXXXXXX4444"
