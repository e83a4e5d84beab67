"""What may be sent for a Microform context follows its payment types. Other data never leaves the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from cybersource_flex import BadRequestError, CaptureContext, FlexClient, InvalidDataError, TransientToken, fields
from cybersource_flex.auth import JwtSharedSecret
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
# The published shapes of bank account data, nested and dotted.
BANKS: list[Any] = [
    {"CHECK": BANK},
    {"CHECK.routingNumber": ROUTING, "CHECK.account.number": ACCOUNT},
    {"CHECK": {"routingNumber": ROUTING, "account.number": ACCOUNT}},
    BANK,
    {"paymentInformation": {"bank": BANK}},
    {"paymentInformation.bank.routingNumber": ROUTING, "paymentInformation.bank.account.number": ACCOUNT},
]

Connect = type[FlexClient]
Make = Callable[..., CaptureContext]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator: Emulator, connect: Connect) -> Iterator[FlexClient]:
    with connect(JwtSharedSecret(**emulator.auth), environment=emulator.url) as made:
        yield made


@pytest.fixture
def make(client: FlexClient) -> Make:
    def make(*types: str, networks: tuple[str, ...] = ("VISA",)) -> CaptureContext:
        return client.create_microform_context(
            target_origins=["https://shop.example.com"],
            allowed_card_networks=networks if types != ("CHECK",) else (),
            allowed_payment_types=types,
        )

    return make


@pytest.fixture
def nothing_sent(emulator: Emulator) -> Callable[[], bool]:
    """Whether no data has reached the host in this test."""
    emulator.clear()
    return lambda: [request.method for request in emulator.requests if request.target == "/flex/v2/tokens"] == []


def paths(token: TransientToken) -> set[str]:
    return set(token.content["paymentInformation"])


@pytest.mark.parametrize("types", [(), ("CARD",), ("CARD", "CHECK"), ("CHECK", "CARD")])
@pytest.mark.parametrize("data", [*CARDS, Card(NUMBER, expiration=f"12/{YEAR}")])
def test_a_context_for_cards_takes_cards(types: tuple[str, ...], data: Any, client: FlexClient, make: Make) -> None:
    token = client.tokenize(make(*types), data)
    assert token.masked_number == "XXXXXXXXXXXX1111"
    assert paths(token) == {"card"}


@pytest.mark.parametrize("types", [("CHECK",), ("CARD", "CHECK")])
@pytest.mark.parametrize("data", BANKS)
def test_a_context_for_bank_accounts_takes_both_shapes(
    types: tuple[str, ...], data: Any, client: FlexClient, make: Make
) -> None:
    token = client.tokenize(make(*types), data)
    assert paths(token) == {"bank", "paymentType"}
    assert token.content["paymentInformation"]["paymentType"]["name"] == {"value": "CHECK"}


@pytest.mark.parametrize("data", [*CARDS, Card(NUMBER, expiration=f"12/{YEAR}"), {"card": Card(NUMBER)}])
def test_a_card_is_refused_for_bank_accounts(
    data: Any, client: FlexClient, make: Make, nothing_sent: Callable[[], bool]
) -> None:
    context = make("CHECK")
    with Canaries() as canaries:
        canaries.plant("card number", NUMBER)
        with pytest.raises(InvalidDataError, match=r"card data, and the capture context takes CHECK") as caught:
            client.tokenize(context, data)
        canaries.watch(caught.value)
    assert caught.value.field == "paymentInformation.card.number"
    assert nothing_sent()


@pytest.mark.parametrize("types", [(), ("CARD",)])
@pytest.mark.parametrize("data", BANKS)
def test_a_bank_account_is_refused_for_cards(
    types: tuple[str, ...], data: Any, client: FlexClient, make: Make, nothing_sent: Callable[[], bool]
) -> None:
    context = make(*types)
    with pytest.raises(InvalidDataError, match=r"bank account data, and the capture context takes CARD") as caught:
        client.tokenize(context, data)
    assert caught.value.field == "paymentInformation.bank.routingNumber"
    assert ACCOUNT not in str(caught.value)
    assert nothing_sent()


@pytest.mark.parametrize(
    ("data", "field", "rule"),
    [
        ({"card": CARD, "CHECK": BANK}, None, "a token is for one of them"),
        ({"CHECK": BANK, "paymentInformation": {"bank": BANK}}, "paymentInformation.bank.routingNumber", "given twice"),
        ({"CARD": CARD, "card": CARD}, "paymentInformation.card.number", "given twice"),
        ({"CHECK": {"routingNumber": ROUTING}}, "paymentInformation.bank.account.number", "is required"),
        ({"CHECK": {"account": {"number": ACCOUNT}}}, "paymentInformation.bank.routingNumber", "is required"),
        ({"CHECK": {**BANK, "iban": ACCOUNT}}, "paymentInformation.bank", "has only the fields routingNumber, "),
        ({"card": {**CARD, "pin": "1234"}}, "paymentInformation.card", "has only the fields number, "),
        ({"card": {"securityCode": "123"}}, "paymentInformation.card.number", "is required"),
        ({}, "paymentInformation.card.number", "takes CARD or CHECK"),
        ({"billTo": {"email": "a@b.example"}}, "orderInformation.billTo.email", "takes CARD or CHECK"),
        ({"routingNumber": ROUTING}, "paymentInformation.bank.account.number", "is required"),
        ({**BANK, "number": NUMBER}, None, "a token is for one of them"),
        ({"iban": ACCOUNT}, "iban", "takes CARD or CHECK"),
        ({"card": {NUMBER: "number"}}, "paymentInformation.card", "has only the fields"),
        ({NUMBER: "number"}, None, "unusual name"),
    ],
)
def test_what_else_is_refused(
    data: Any, field: str | None, rule: str, client: FlexClient, make: Make, nothing_sent: Callable[[], bool]
) -> None:
    context = make("CARD", "CHECK")
    with pytest.raises(InvalidDataError, match=rule) as caught:
        client.tokenize(context, data)
    assert caught.value.field == field
    assert not any(value in str(caught.value) for value in (NUMBER, ROUTING, ACCOUNT))
    assert nothing_sent()


def test_networks_are_judged_by_the_host(client: FlexClient, make: Make) -> None:
    # A wrong guess about a network here would refuse a genuine card. The host says what it is.
    context = make("CARD", networks=("CARNET",))
    assert client.tokenize(context, {"card": {"number": NUMBER, "type": "058"}}).card_types == ("058",)
    with pytest.raises(BadRequestError, match="The card type is not allowed"):
        client.tokenize(make("CARD"), {"card": {"number": "378282246310005"}})


def test_many_cards(client: FlexClient, make: Make, nothing_sent: Callable[[], bool]) -> None:
    checks, cards = make("CHECK"), make("CARD")
    items = [(checks, {"card": CARD}), (cards, {"CHECK": BANK}), (checks, {"CHECK": BANK}), (cards, {"card": CARD})]
    results = list(client.tokenize_many(items))
    assert [type(result.error) for result in results] == [InvalidDataError, InvalidDataError, type(None), type(None)]
    assert "takes CHECK" in str(results[0].error)
    assert "takes CARD" in str(results[1].error)


def test_many_cards_with_one_context(client: FlexClient, make: Make, nothing_sent: Callable[[], bool]) -> None:
    results = list(client.tokenize_many([{"card": CARD}, Card(NUMBER)], context=make("CHECK")))
    assert ["takes CHECK" in str(result.error) for result in results] == [True, True]
    assert nothing_sent()


@pytest.mark.parametrize("data", [data for data in BANKS if data is not BANK])
def test_the_flex_api_has_no_bank_accounts(
    data: Any, client: FlexClient, emulator: Emulator, nothing_sent: Callable[[], bool]
) -> None:
    (result,) = client.tokenize_many([data])
    assert isinstance(result.error, InvalidDataError)
    assert "create_microform_context" in str(result.error)
    assert emulator.requests == []
    context = client.create_capture_context(fields(card=["number"]))
    with pytest.raises(InvalidDataError, match=r"it asks for paymentInformation\.card\.number"):
        client.tokenize(context, data)
    assert nothing_sent()


def test_a_stored_context_says_the_same(client: FlexClient, make: Make, nothing_sent: Callable[[], bool]) -> None:
    context = client.restore_capture_context(client.store_capture_context(make("CHECK")))
    with pytest.raises(InvalidDataError, match="takes CHECK"):
        client.tokenize(context, {"card": CARD})
    assert nothing_sent()
    assert paths(client.tokenize(context, {"CHECK": BANK})) == {"bank", "paymentType"}
