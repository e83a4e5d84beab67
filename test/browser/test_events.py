"""Events of the fields, their payloads, and the classes of the containers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from support.microform_page import MicroformPage

VISA = {
    "name": "visa",
    "brandedName": "Visa",
    "cybsCardType": "001",
    "spaces": [4, 8, 12],
    "blocks": [4, 4, 4, 7],
    "lengths": [13, 14, 15, 16, 17, 18, 19],
    "securityCode": {"name": "CVV", "length": 3},
    "luhn": True,
    "valid": True,
    "couldBeValid": True,
}


@pytest.fixture
def card(form: MicroformPage, make_context: Any) -> MicroformPage:
    """A page with both card fields."""
    return form.open(make_context()).start()


def test_load_is_emitted_once_without_a_payload_and_also_to_listeners_added_after_load(
    form: MicroformPage, make_context: Any
) -> None:
    form.open(make_context())
    form.page.evaluate("""() => {
        const field = new Flex(document.body.dataset.context).microform("card").createField("number");
        field.load("#number-container");
        field.on("load", (...data) => events.push({field: "number", name: "load", data}));
    }""")
    assert form.wait_for("number", "load") == [None]
    assert len(form.events("number", "load")) == 1
    assert form.events("number", "change") == []


def test_change_of_a_number_describes_the_possible_cards(card: MicroformPage) -> None:
    card.type("number", "4111111111111111")
    assert card.state("number", "4111 1111 1111 1111") == {
        "card": [VISA],
        "empty": False,
        "couldBeValid": True,
        "valid": True,
    }
    assert len(card.events("number", "change")) == 16
    assert card.events("securityCode", "change") == []


# Digits, names of the possible cards, valid, couldBeValid.
NUMBERS: list[tuple[str, list[str], bool, bool]] = [
    ("4", ["visa"], False, True),
    # With a wrong check digit a Visa number can still become longer, a Mastercard number cannot.
    ("4111111111111112", ["visa"], False, True),
    ("5555555555554445", ["mastercard"], False, False),
    ("5555555555554444", ["mastercard"], True, True),
    # No allowed network: JCB is not listed.
    ("3566111111111113", [], False, False),
    ("6", ["discover", "maestro"], False, True),
    ("6759649826438453", ["maestro"], True, True),
    ("4111111111111111110", ["visa"], True, True),
]


def test_validity_of_numbers(card: MicroformPage) -> None:
    for digits, names, valid, could_be_valid in NUMBERS:
        card.input("number").fill(digits)
        card.sync("number")
        (state,) = card.events("number", "change")[-1]
        assert [entry["name"] for entry in state["card"]] == names, digits
        assert (state["valid"], state["couldBeValid"], state["empty"]) == (valid, could_be_valid, False), digits


def test_cards_are_listed_in_the_order_of_the_allowed_networks(form: MicroformPage, make_context: Any) -> None:
    form.open(make_context(["MAESTRO", "CARTESBANCAIRES", "DISCOVER", "VISA"])).start()
    form.type("number", "6")
    form.type("number", "")
    assert [entry["name"] for entry in form.state("number", "6")["card"]] == ["maestro", "discover"]
    form.input("number").fill("4360000001000005")
    names = [entry["name"] for entry in form.state("number", "4360 0000 0100 0005")["card"]]
    assert names == ["cartesbancaires", "visa"]


def test_change_of_a_security_code_has_no_card(card: MicroformPage) -> None:
    card.type("securityCode", "83")
    assert card.state("securityCode", "83") == {"empty": False, "couldBeValid": True, "valid": False}
    card.type("securityCode", "7")
    assert card.state("securityCode", "837") == {"empty": False, "couldBeValid": True, "valid": True}
    card.type("securityCode", "9")
    assert card.input("securityCode").input_value() == "837"
    card.page.evaluate("() => fields.securityCode.clear()")
    assert card.state("securityCode", "") == {"empty": True, "couldBeValid": False, "valid": False}


def test_an_american_express_number_makes_the_security_code_longer(card: MicroformPage) -> None:
    card.type("securityCode", "837")
    assert card.state("securityCode", "837")["valid"]
    card.type("number", "37")
    assert card.wait_for("securityCode", "change", 4) == [{"empty": False, "couldBeValid": True, "valid": False}]
    card.type("securityCode", "1")
    assert card.state("securityCode", "8371")["valid"]
    card.page.evaluate("() => fields.number.clear()")
    card.wait_for("securityCode", "change", 6)
    assert card.state("securityCode", "8371") == {"empty": False, "couldBeValid": False, "valid": False}
    assert "invalid" in card.classes("securityCode")
    card.type("securityCode", "2")
    assert card.state("securityCode", "837")["valid"]


def test_focus_and_blur(card: MicroformPage) -> None:
    card.input("number").focus()
    assert card.wait_for("number", "focus") == [None]
    assert "focused" in card.classes("number")
    card.page.focus("#pay")
    assert card.wait_for("number", "blur") == [None]
    assert card.classes("number") == {""}


def test_the_return_key_requests_a_submission(card: MicroformPage) -> None:
    card.type("securityCode", "837")
    card.input("securityCode").press("Enter")
    assert card.wait_for("securityCode", "inputSubmitRequest") == [None]
    assert len(card.events("securityCode", "inputSubmitRequest")) == 1
    assert card.page.url.endswith("/checkout")


def test_update_is_emitted_with_the_options_that_took_effect(card: MicroformPage) -> None:
    card.page.evaluate("() => fields.number.update({placeholder: 'Number', unknown: 1})")
    assert card.wait_for("number", "update") == [{"placeholder": "Number"}]
    card.page.evaluate("() => fields.number.update({unknown: 1})")
    card.sync("number")
    assert card.events("number", "update") == [[{"placeholder": "Number"}], [{"title": "secure"}]]


def test_unload_is_emitted_and_the_field_can_be_loaded_again(card: MicroformPage) -> None:
    card.type("number", "4111")
    card.page.evaluate("() => fields.number.unload()")
    assert card.events("number", "unload") == [[None]]
    assert card.page.locator("#number-container iframe").count() == 0
    assert card.classes("number") == set()
    card.page.evaluate("() => fields.number.load(document.querySelector('#number-container'))")
    card.wait_for("number", "load", 2)
    assert card.input("number").input_value() == ""


def test_error_is_emitted_when_the_frame_cannot_verify_the_context(form: MicroformPage, make_context: Any) -> None:
    jwt = make_context().jwt
    head, payload, signature = jwt.split(".")
    form.open(jwt)
    form.jwt = f"{head}.{payload}.{signature[::-1]}"
    form.start(wait=False)
    (error,) = form.wait_for("number", "error")
    assert error["reason"] == "IFRAME_JWT_VALIDATION_FAILED"
    assert form.reason() == "CREATE_TOKEN_UNABLE_TO_START"


def test_exceptions_of_listeners_do_not_stop_other_listeners(card: MicroformPage, console: Any) -> None:
    card.page.evaluate("""() => {
        fields.number.on("change", (data) => data.card[0].name);
        fields.number.on("change", () => document.title = "changed");
    }""")
    card.type("number", "1")
    card.page.wait_for_function("() => document.title === 'changed'")
    assert "Cannot read properties of undefined" in console.take_errors()
    card.type("number", "23")
    assert card.state("number", "123")["card"] == []
    console.take_errors()


def test_off_removes_a_listener(card: MicroformPage) -> None:
    card.page.evaluate("""() => {
        window.calls = [];
        const first = () => calls.push("first"), second = () => calls.push("second");
        fields.number.on("change", first);
        fields.number.on("change", second);
        fields.number.off("change", first);
    }""")
    card.type("number", "4")
    card.sync("number")
    assert card.page.evaluate("() => calls") == ["second"]


STORED_CARD = {
    "number": "4111111111111111",
    "name": "Ada Lovelace",
    "expiryMonth": "12",
    "expiryYear": "2031",
    "cvc": "837",
}


def test_the_browser_fills_in_a_stored_card(card: MicroformPage) -> None:
    """With Chromium's own autofill, as if the customer had selected the card."""
    number = card.page.locator("#number-container iframe").element_handle().content_frame()
    session = card.page.context.new_cdp_session(number)
    session.send("Autofill.enable")
    document = session.send("DOM.getDocument", {"depth": -1})["root"]
    node = session.send("DOM.querySelector", {"nodeId": document["nodeId"], "selector": "#number"})["nodeId"]
    backend = session.send("DOM.describeNode", {"nodeId": node})["node"]["backendNodeId"]
    frame = session.send("Page.getFrameTree")["frameTree"]["frame"]["id"]
    session.send("Autofill.trigger", {"fieldId": backend, "frameId": frame, "card": STORED_CARD})
    expected = {"name": "Ada Lovelace", "expirationMonth": "12", "expirationYear": "2031"}
    assert card.wait_for("number", "autocomplete") == [expected]
    assert card.classes("number") == {"", "valid", "autocomplete"}
    assert card.state("number", "4111 1111 1111 1111")["valid"]
    # Chromium fills the other frames of the form, too.
    card.wait_for("securityCode", "change")
    assert card.state("securityCode", "837")["valid"]
    # The frame keeps nothing but the number.
    values = number.evaluate("() => [...document.querySelectorAll('.autofill')].map((input) => input.value)")
    assert values == ["", "", ""]
    assert len(card.events("number", "autocomplete")) == 1
    card.type("number", "1")
    card.sync("number")
    assert "autocomplete" not in card.classes("number")


def test_only_members_with_a_value_are_in_autocomplete(card: MicroformPage) -> None:
    form = card.page.frame_locator("#number-container iframe").locator("form")
    form.evaluate("""(form) => {
        form.elements["cc-exp-month"].value = "12";
        form.elements["cc-exp-month"].dispatchEvent(new Event("input", {bubbles: true}));
    }""")
    assert card.wait_for("number", "autocomplete") == [{"expirationMonth": "12"}]


def test_classes_follow_the_state(card: MicroformPage) -> None:
    def classes(digits: str) -> set[str]:
        card.input("number").fill(digits)
        card.sync("number")
        return card.classes("number") - {"focused"}

    assert card.classes("number") == {""}
    assert classes("4111") == {"", "incomplete"}
    assert classes("4111111111111111") == {"", "valid"}
    assert classes("5555555555554445") == {"", "invalid"}
    assert classes("") == {""}
    card.page.evaluate("() => fields.number.update({disabled: true})")
    card.sync("number")
    assert card.classes("number") - {"focused"} == {"", "disabled"}
    card.page.evaluate("() => fields.number.update({disabled: false})")
    assert "disabled" not in card.classes("number")
    card.input("number").fill("4111111111111111")
    card.input("number").focus()
    card.sync("number")
    assert card.classes("number") == {"", "valid", "focused"}


def test_the_class_of_a_container_is_set_before_the_frame_is_ready(form: MicroformPage, make_context: Any) -> None:
    form.open(make_context())
    classes = form.page.evaluate("""() => {
        const field = new Flex(document.body.dataset.context).microform().createField("number", {disabled: true});
        field.load("#number-container");
        return document.querySelector("#number-container").className;
    }""")
    assert re.findall(r"flex-microform\S*", classes) == ["flex-microform", "flex-microform-disabled"]
