"""Data that does not match the payment types of a Microform context is rejected before it is sent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from cybersource_flex import BadRequestError, CaptureContext, FlexClient, InvalidDataError, TransientToken, fields
from cybersource_flex.cards import Card
from cybersource_flex.emulator import Emulator
from cybersource_flex.testing import Canaries

NUMBER = "4111111111111111"
ROUTING, ACCOUNT = "121042882", "4100123456"
YEAR = str(datetime.now(UTC).year + 3)
CARD = {"number": NUMBER, "expirationMonth": "12", "expirationYear": YEAR}
BANK = {"routingNumber": ROUTING, "account": {"number": ACCOUNT, "numberConfirm": ACCOUNT, "type": "C"}}

CARDS: list[Any] = [
    {"card": CARD},
    {"paymentInformation": {"card": CARD}},
    {"paymentInformation.card.number": NUMBER},
    {"CARD": CARD},
    CARD,
]
# Published forms of bank account data, with nested and with dotted names.
BANKS: list[Any] = [
    {"CHECK": BANK},
    {"CHECK.routingNumber": ROUTING, "CHECK.account.number": ACCOUNT},
    {"CHECK": {"routingNumber": ROUTING, "account.number": ACCOUNT}},
    BANK,
    {"paymentInformation": {"bank": BANK}},
    {"paymentInformation.bank.routingNumber": ROUTING, "paymentInformation.bank.account.number": ACCOUNT},
]

MakeContext = Callable[..., CaptureContext]


@pytest.fixture
def make_context(client: FlexClient) -> MakeContext:
    def make_context(*types: str, networks: tuple[str, ...] = ("VISA",)) -> CaptureContext:
        return client.create_microform_context(
            target_origins=["https://shop.example.com"],
            allowed_card_networks=networks if types != ("CHECK",) else (),
            allowed_payment_types=types,
        )

    return make_context


@pytest.fixture
def nothing_sent(emulator: Emulator) -> Callable[[], bool]:
    """Returns whether the test has sent no data to the emulator."""
    emulator.clear()
    return lambda: [request.method for request in emulator.requests if request.target == "/flex/v2/tokens"] == []


def paths(token: TransientToken) -> set[str]:
    return set(token.content["paymentInformation"])


@pytest.mark.parametrize("types", [(), ("CARD",), ("CARD", "CHECK"), ("CHECK", "CARD")])
@pytest.mark.parametrize("data", [*CARDS, Card(NUMBER, expiration=f"12/{YEAR}")])
def test_contexts_for_cards_accept_cards(
    types: tuple[str, ...], data: Any, client: FlexClient, make_context: MakeContext
) -> None:
    token = client.tokenize(make_context(*types), data)
    assert token.masked_number == "XXXXXXXXXXXX1111"
    assert paths(token) == {"card"}


@pytest.mark.parametrize("types", [("CHECK",), ("CARD", "CHECK")])
@pytest.mark.parametrize("data", BANKS)
def test_contexts_for_bank_accounts_accept_bank_accounts(
    types: tuple[str, ...], data: Any, client: FlexClient, make_context: MakeContext
) -> None:
    token = client.tokenize(make_context(*types), data)
    assert paths(token) == {"bank", "paymentType"}
    assert token.content["paymentInformation"]["paymentType"]["name"] == {"value": "CHECK"}


@pytest.mark.parametrize("data", [*CARDS, Card(NUMBER, expiration=f"12/{YEAR}"), {"card": Card(NUMBER)}])
def test_contexts_for_bank_accounts_reject_cards(
    data: Any, client: FlexClient, make_context: MakeContext, nothing_sent: Callable[[], bool]
) -> None:
    context = make_context("CHECK")
    with Canaries() as canaries:
        canaries.plant("card number", NUMBER)
        with pytest.raises(InvalidDataError, match=r"card data, and the capture context allows CHECK") as caught:
            client.tokenize(context, data)
        canaries.watch(caught.value)
    assert caught.value.field == "paymentInformation.card.number"
    assert nothing_sent()


@pytest.mark.parametrize("types", [(), ("CARD",)])
@pytest.mark.parametrize("data", BANKS)
def test_contexts_for_cards_reject_bank_accounts(
    types: tuple[str, ...], data: Any, client: FlexClient, make_context: MakeContext, nothing_sent: Callable[[], bool]
) -> None:
    context = make_context(*types)
    with pytest.raises(InvalidDataError, match=r"bank account data, and the capture context allows CARD") as caught:
        client.tokenize(context, data)
    assert caught.value.field == "paymentInformation.bank.routingNumber"
    assert ACCOUNT not in str(caught.value)
    assert nothing_sent()


@pytest.mark.parametrize(
    ("data", "field", "message"),
    [
        ({"card": CARD, "CHECK": BANK}, None, "expected only one of the two"),
        (
            {"CHECK": BANK, "paymentInformation": {"bank": BANK}},
            "paymentInformation.bank.routingNumber",
            "occurs twice",
        ),
        ({"CARD": CARD, "card": CARD}, "paymentInformation.card.number", "occurs twice"),
        ({"CHECK": {"routingNumber": ROUTING}}, "paymentInformation.bank.account.number", "is required"),
        ({"CHECK": {"account": {"number": ACCOUNT}}}, "paymentInformation.bank.routingNumber", "is required"),
        ({"CHECK": {**BANK, "iban": ACCOUNT}}, "paymentInformation.bank", "has only the fields routingNumber, "),
        ({"card": {**CARD, "pin": "1234"}}, "paymentInformation.card", "has only the fields number, "),
        ({"card": {"securityCode": "123"}}, "paymentInformation.card.number", "is required"),
        ({}, "paymentInformation.card.number", "allows CARD or CHECK"),
        ({"billTo": {"email": "a@b.example"}}, "orderInformation.billTo.email", "allows CARD or CHECK"),
        ({"routingNumber": ROUTING}, "paymentInformation.bank.account.number", "is required"),
        ({**BANK, "number": NUMBER}, None, "expected only one of the two"),
        ({"iban": ACCOUNT}, "iban", "allows CARD or CHECK"),
        ({"card": {NUMBER: "number"}}, "paymentInformation.card", "has only the fields"),
        ({NUMBER: "number"}, None, "unusual name"),
    ],
)
def test_invalid_data(
    data: Any,
    field: str | None,
    message: str,
    client: FlexClient,
    make_context: MakeContext,
    nothing_sent: Callable[[], bool],
) -> None:
    context = make_context("CARD", "CHECK")
    with pytest.raises(InvalidDataError, match=message) as caught:
        client.tokenize(context, data)
    assert caught.value.field == field
    assert not any(value in str(caught.value) for value in (NUMBER, ROUTING, ACCOUNT))
    assert nothing_sent()


def test_card_networks_are_checked_by_the_host(client: FlexClient, make_context: MakeContext) -> None:
    # If the client guessed the network, it could reject a valid card.
    context = make_context("CARD", networks=("CARNET",))
    assert client.tokenize(context, {"card": {"number": NUMBER, "type": "058"}}).card_types == ("058",)
    with pytest.raises(BadRequestError, match="The card type is not allowed"):
        client.tokenize(make_context("CARD"), {"card": {"number": "378282246310005"}})


def test_tokenize_many(client: FlexClient, make_context: MakeContext, nothing_sent: Callable[[], bool]) -> None:
    checks, cards = make_context("CHECK"), make_context("CARD")
    items = [(checks, {"card": CARD}), (cards, {"CHECK": BANK}), (checks, {"CHECK": BANK}), (cards, {"card": CARD})]
    results = list(client.tokenize_many(items))
    assert [type(result.error) for result in results] == [InvalidDataError, InvalidDataError, type(None), type(None)]
    assert "allows CHECK" in str(results[0].error)
    assert "allows CARD" in str(results[1].error)


def test_tokenize_many_with_one_context(
    client: FlexClient, make_context: MakeContext, nothing_sent: Callable[[], bool]
) -> None:
    results = list(client.tokenize_many([{"card": CARD}, Card(NUMBER)], context=make_context("CHECK")))
    assert ["allows CHECK" in str(result.error) for result in results] == [True, True]
    assert nothing_sent()


@pytest.mark.parametrize("data", [data for data in BANKS if data is not BANK])
def test_flex_api_contexts_reject_bank_accounts(
    data: Any, client: FlexClient, emulator: Emulator, nothing_sent: Callable[[], bool]
) -> None:
    (result,) = client.tokenize_many([data])
    assert isinstance(result.error, InvalidDataError)
    assert "create_microform_context" in str(result.error)
    assert emulator.requests == []
    context = client.create_capture_context(fields(card=["number"]))
    with pytest.raises(InvalidDataError, match=r"which lists paymentInformation\.card\.number"):
        client.tokenize(context, data)
    assert nothing_sent()


def test_a_restored_context_has_the_same_payment_types(
    client: FlexClient, make_context: MakeContext, nothing_sent: Callable[[], bool]
) -> None:
    context = client.restore_capture_context(client.store_capture_context(make_context("CHECK")))
    with pytest.raises(InvalidDataError, match="allows CHECK"):
        client.tokenize(context, {"card": CARD})
    assert nothing_sent()
    assert paths(client.tokenize(context, {"CHECK": BANK})) == {"bank", "paymentType"}
