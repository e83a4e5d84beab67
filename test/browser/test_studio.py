"""The studio: the page of the emulator, in Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cybersource_flex import AuthenticationError, FlexClient, fields
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.emulator import Emulator, Merchant

NUMBER = "4111111111111111"
CODE = "837"
SIZES = [(360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")]


@pytest.fixture
def studio(page: Any, emulator: Emulator) -> Any:
    # Without the requests of earlier tests, which the page would list.
    emulator.clear()
    page.goto(emulator.url)
    page.locator("#number-container iframe").wait_for()
    return page


@contextmanager
def other_studio(page: Any, **arguments: Any) -> Iterator[Emulator]:
    """The studio of another emulator. The page polls it, so the page leaves before the emulator ends."""
    with Emulator(key_pool=1, **arguments) as emulator:
        page.goto(emulator.url)
        yield emulator
        page.goto("about:blank")


def number_input(page: Any) -> Any:
    return page.frame_locator("#number-container iframe").get_by_label("Card number")


def code_input(page: Any) -> Any:
    return page.frame_locator("#code-container iframe").locator("#securityCode")


def run_all(page: Any) -> None:
    page.get_by_role("button", name="Run all steps").click()
    page.locator("#step-list .step-head .good").nth(5).wait_for()
    page.locator("#run-all:enabled").wait_for()


def pay(page: Any, amount: str) -> str:
    page.select_option("#amount", amount)
    page.click("#pay")
    page.locator("#checkout-state:is(.good, .bad)").wait_for()
    # After a payment, the form gets new fields.
    page.locator("#pay:enabled").wait_for()
    return str(page.inner_text("#checkout-state"))


def type_card(page: Any) -> None:
    number_input(page).press_sequentially(NUMBER)
    code_input(page).press_sequentially(CODE)


def messages(page: Any, step: int) -> dict[str, str]:
    """The messages of a step by their labels, also those that are folded."""
    parts = page.locator("#step-list > li").nth(step - 1).locator("details")
    return {part.locator("summary").text_content(): part.locator("pre").text_content() for part in parts.all()}


def test_the_steps_show_each_message_from_card_to_payment(studio: Any, emulator: Emulator) -> None:
    run_all(studio)
    request = messages(studio, 1)
    signed = request["The string that is signed with HMAC-SHA-256"]
    assert request["Header Authorization"].startswith(f"Bearer {signed}.")
    assert json.loads(request["JWT of the request: header and claims"])["claims"]["request-method"] == "post"
    assert studio.locator("#step-list > li").nth(1).get_by_text("The signature is valid.").is_visible()
    assert messages(studio, 3)["JWE, five parts"].count(".") == 4
    assert json.loads(messages(studio, 3)["Card, masked for display"])["number"] == "411111XXXXXX1111"
    assert json.loads(messages(studio, 6)["Response: status 201"].partition("\n\n")[2])["status"] == "AUTHORIZED"
    paths = [request.path for request in emulator.requests if request.method == "POST"]
    assert {"/flex/v2/sessions", "/flex/v2/tokens", "/pts/v2/payments"} <= set(paths)


def test_a_run_cannot_be_started_twice(studio: Any, emulator: Emulator) -> None:
    emulator.queue_scenarios(["latency;seconds=0.5"], "/flex/v2/sessions")
    studio.get_by_role("button", name="Run all steps").click()
    for name in ("Run all steps", "Start over"):
        assert studio.get_by_role("button", name=name).is_disabled()
    studio.locator("#start-over:enabled").wait_for()
    studio.get_by_role("button", name="Start over").click()
    assert studio.locator("#step-list .step-head .good").count() == 0


def test_a_step_that_is_rejected_shows_the_reason_and_ends_the_run(
    studio: Any, emulator: Emulator, console: Any
) -> None:
    emulator.queue_scenarios(["clock-skew;seconds=600"], "/flex/v2/sessions")
    studio.get_by_role("button", name="Run all steps").click()
    failure = studio.locator("#step-list > li").first.locator("p.bad")
    failure.wait_for()
    assert "Status 401 instead of 201. The emulator says: " in failure.inner_text()
    assert studio.get_by_role("button", name="Run step 2: Verify the capture context").is_disabled()
    assert "401" in console.take_errors()


def test_a_checkout_is_authorised_and_another_one_is_declined(studio: Any) -> None:
    type_card(studio)
    assert pay(studio, "49.99") == "AUTHORIZED"
    type_card(studio)
    assert pay(studio, "1002.00") == "DECLINED: INSUFFICIENT_FUND"


def test_a_checkout_gets_a_new_context_when_it_has_expired(studio: Any, emulator: Emulator, console: Any) -> None:
    emulator.queue_scenarios(["expired-context"], "/flex/v2/tokens")
    type_card(studio)
    assert pay(studio, "49.99").startswith("CAPTURE_CONTEXT_EXPIRED: ")
    type_card(studio)
    assert pay(studio, "49.99") == "AUTHORIZED"
    # Taken last, because the browser may repeat the errors of a frame when it is removed.
    assert "400" in console.take_errors()


def test_a_checkout_gets_a_new_context_when_it_is_used_up(page: Any, console: Any) -> None:
    with other_studio(page, context_uses=1) as emulator:
        page.locator("#number-container iframe").wait_for()
        type_card(page)
        # The token is issued, but the page does not get it.
        emulator.queue_scenarios(["truncated"], "/flex/v2/tokens")
        assert pay(page, "49.99").startswith("CREATE_TOKEN_XHR_ERROR: ")
        assert pay(page, "49.99").startswith("CREATE_TOKEN_CAPTURE_CONTEXT_USED_TOO_MANY_TIMES: ")
        type_card(page)
        assert pay(page, "49.99") == "AUTHORIZED"
    # Taken last, because the browser may repeat the errors of a frame when it is removed.
    assert "400" in console.take_errors()


def test_a_checkout_starts_when_the_scenario_is_switched_off(page: Any, emulator: Emulator, console: Any) -> None:
    emulator.scenario = "status-503"  # type: ignore[assignment]
    page.goto(emulator.url)
    page.get_by_text("There is no new capture context: Status 503 instead of 201.").wait_for()
    assert page.locator("#pay").is_disabled()
    page.get_by_role("button", name="Switch off").click()
    page.locator("#pay:enabled").wait_for()
    assert page.inner_text("#checkout-state") == ""
    type_card(page)
    assert pay(page, "49.99") == "AUTHORIZED"
    assert "503" in console.take_errors()


def test_a_form_without_a_new_context_keeps_its_fields(studio: Any, emulator: Emulator, console: Any) -> None:
    type_card(studio)
    emulator.queue_scenarios(["status-503"], "/microform/v2/sessions")
    studio.get_by_role("button", name="New capture context").click()
    studio.get_by_text("There is no new capture context: Status 503 instead of 201.").wait_for()
    assert pay(studio, "49.99") == "AUTHORIZED"
    assert "503" in console.take_errors()


def test_a_checkout_without_a_card_names_the_fields(studio: Any) -> None:
    assert pay(studio, "49.99").startswith("CREATE_TOKEN_VALIDATION_FIELDS: ")
    assert studio.inner_text("#checkout-state").endswith("number, securityCode")


def test_the_whole_checkout_works_with_the_keyboard_alone(studio: Any) -> None:
    # Tab skips the button while it is disabled.
    studio.locator("#pay:enabled").wait_for()
    number_input(studio).focus()
    studio.locator("#number-container.flex-microform-focused").wait_for()
    studio.keyboard.type(NUMBER)
    # Each frame has its own process, so the focus moves a moment after the key.
    for stop, keys in (
        ("#expiry-month:focus", "12"),
        ("#expiry-year:focus", "2031"),
        ("#code-container.flex-microform-focused", CODE),
        ("#amount:focus", ""),
    ):
        studio.keyboard.press("Tab")
        studio.locator(stop).wait_for()
        studio.keyboard.type(keys)
    studio.keyboard.press("Tab")
    studio.locator("#pay:focus").wait_for()
    studio.keyboard.press("Enter")
    studio.locator("#checkout-state.good").wait_for()
    assert studio.input_value("#expiry-year") == "2031"


def test_requests_of_other_programs_are_listed_with_verdict_and_reason(studio: Any, emulator: Emulator) -> None:
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        client.create_capture_context(fields(card=["number"]))
    wrong = JwtSharedSecret(**{**emulator.auth, "secret_key": "A" * 43 + "="})
    with FlexClient(wrong, environment=emulator.url) as client, pytest.raises(AuthenticationError):
        client.create_capture_context(fields(card=["number"]))
    rows = studio.locator("#request-table tbody tr")
    rows.filter(has_text="401").wait_for()
    rejected = emulator.requests[-1]
    assert rejected.rejection_reason is not None
    assert rejected.rejection_reason in rows.first.inner_text()
    assert rows.filter(has_text="POST /flex/v2/sessions").filter(has_text="201").count() == 1


def test_a_scenario_is_switched_on_and_off(studio: Any, emulator: Emulator, console: Any) -> None:
    studio.fill("#scenario", "no-such-scenario")
    studio.get_by_role("button", name="Switch on").click()
    studio.locator("#scenario-state.bad").wait_for()
    assert "there is no scenario" in studio.inner_text("#scenario-state")
    studio.fill("#scenario", "status-503;retry-after=5")
    studio.get_by_role("button", name="Switch on").click()
    studio.get_by_text("Default scenario: status-503;retry-after=5.").wait_for()
    assert str(emulator.scenario) == "status-503;retry-after=5"
    studio.get_by_role("button", name="Run all steps").click()
    studio.locator("#step-list").get_by_text("Status 503 instead of 201.").wait_for()
    studio.get_by_role("button", name="Switch off").click()
    studio.get_by_text("No default scenario.").wait_for()
    assert emulator.scenario is None
    run_all(studio)
    assert "400" in console.take_errors()


def test_a_client_can_use_the_variables(studio: Any) -> None:
    lines = studio.inner_text("#environ").splitlines()
    environ = {
        name: value.strip("'") for name, _, value in (line.removeprefix("export ").partition("=") for line in lines)
    }
    with FlexClient.from_env(environ) as client:
        assert client.create_capture_context(fields(card=["number"])).expires_in().seconds > 0


def test_a_merchant_without_a_shared_secret_can_still_see_the_requests(page: Any) -> None:
    with other_studio(page, merchants=[Merchant("m1")]):
        page.get_by_text("The steps need a merchant with a shared secret").first.wait_for()
        for name in ("Run all steps", "Start over", "New capture context"):
            assert page.get_by_role("button", name=name).is_disabled()
        assert page.locator("#requests-empty").is_visible()


@pytest.mark.parametrize(
    "claim_format",
    [{"method_case": "upper"}, {"digest_algorithm_claim": "digest-algorithm", "digest_algorithm": "sha-256"}],
)
def test_the_steps_sign_with_the_only_accepted_claims(page: Any, claim_format: dict[str, str]) -> None:
    with other_studio(page, claim_format=claim_format):
        page.locator("#number-container iframe").wait_for()
        run_all(page)


def test_no_card_data_is_in_the_page_in_storage_or_in_the_listed_requests(studio: Any) -> None:
    type_card(studio)
    assert pay(studio, "49.99") == "AUTHORIZED"
    content = studio.content() + str(studio.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}])"))
    assert NUMBER not in content.replace(" ", "").replace(f"{NUMBER}</code>", "")
    assert f">{CODE}<" not in content


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_the_page_fits_and_has_no_serious_accessibility_problem(
    sized_page: Any,
    emulator: Emulator,
    width: int,
    scheme: str,
    screenshots: Path | None,
    accessibility_problems: Any,
) -> None:
    page = sized_page
    page.goto(emulator.url)
    page.locator("#number-container iframe").wait_for()
    run_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    if screenshots is not None:
        page.screenshot(path=screenshots / f"studio-{width}-{scheme}.png", full_page=True)
    assert accessibility_problems(page) == []
