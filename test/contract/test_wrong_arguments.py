"""Arguments of the wrong type or in the wrong place: an error of this package at once, which shows nothing of them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cybersource_flex import (
    CaptureContext,
    ConfigurationError,
    FlexClient,
    InvalidArgumentError,
    RetryPolicy,
    TransientToken,
    fields,
)
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.cards import TEST_CARDS
from cybersource_flex.emulator import Emulator
from cybersource_flex.jose import ContextExpectations, store_capture_context, verify_capture_context
from cybersource_flex.models import (
    BillToFields,
    CaptureField,
    CaptureFields,
    CardFields,
    GenerateCaptureContextRequest,
    GenerateFlexAPICaptureContextRequest,
    PaymentInformationFields,
)
from cybersource_flex.testing import Canaries
from cybersource_flex.transport import Tls

NUMBER = TEST_CARDS["visa"]
DATA = {"card": {"number": NUMBER}}
WRONG: list[Any] = [NUMBER, NUMBER.encode(), int(NUMBER), float(NUMBER), DATA, [NUMBER], object()]
SECRET_KEY = "C8p9qdZ1rIv5jKmAqXh0N2f7ULxw4tBzGkYe3oTs6Hc="

Call = Callable[[Any, Any], object]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator: Emulator, connect: type[FlexClient]) -> Iterator[FlexClient]:
    with connect(JwtSharedSecret(**emulator.auth), environment=emulator.url) as made:
        yield made


@pytest.fixture
def context(client: FlexClient) -> CaptureContext:
    return client.create_capture_context(fields(card=["number"]))


@pytest.fixture
def token(client: FlexClient, context: CaptureContext) -> TransientToken:
    return client.tokenize(context, DATA)


def refused(call: Callable[[], object], words: str, *, kind: type[Exception] = ConfigurationError) -> None:
    with Canaries() as canaries:
        canaries.plant("card number", NUMBER)
        with pytest.raises(kind, match=words) as caught:
            call()
        canaries.search("".join(traceback.format_exception(caught.value)), "the traceback")


@pytest.mark.parametrize("wrong", WRONG)
def test_retry_of_another_type(
    wrong: Any, client: FlexClient, context: CaptureContext, token: TransientToken, emulator: Emulator
) -> None:
    emulator.clear()
    calls: list[Callable[[], object]] = [
        lambda: client.create_capture_context(fields(card=["number"]), retry=wrong),
        lambda: client.create_microform_context(target_origins=["https://shop.example"], retry=wrong),
        lambda: client.tokenize(context, DATA, retry=wrong),
        lambda: list(client.tokenize_many([DATA], retry=wrong)),
        lambda: client.payment_details(token, retry=wrong),
        lambda: client.payment_credentials("E-firqlLk7GiziQwXxAsq", None, retry=wrong),  # type: ignore[arg-type]
    ]
    for call in calls:
        refused(call, "retry must be of type RetryPolicy")
    assert emulator.requests == []


@pytest.mark.parametrize("wrong", [NUMBER, NUMBER.encode(), DATA, [NUMBER], True, -int(NUMBER), float("nan")])
def test_times_that_are_none(wrong: Any, client: FlexClient, token: TransientToken, emulator: Emulator) -> None:
    emulator.clear()
    for call in (
        lambda: client.payment_details(token, timeout=wrong),
        lambda: list(client.tokenize_many([DATA], timeout=wrong)),
    ):
        refused(call, r"^timeout must be a positive number of seconds$")
    for name in ("connect_timeout", "read_timeout", "idle_timeout"):
        refused(lambda name=name: FlexClient(None, **{name: wrong}), rf"^{name} must be")  # type: ignore[misc]
    assert emulator.requests == []


@pytest.mark.parametrize("wrong", [*WRONG, (NUMBER,)])
def test_expected_of_another_type(wrong: Any, client: FlexClient, context: CaptureContext, emulator: Emulator) -> None:
    emulator.clear()
    refused(
        lambda: client.verify_capture_context(context.jwt, expected=wrong),
        "expected must be a ContextExpectations, not",
    )
    # Before the source of keys is asked for one.
    refused(
        lambda: verify_capture_context(context.jwt, None, expected=wrong),  # type: ignore[arg-type]
        "expected must be a ContextExpectations, not",
    )
    assert emulator.requests == []


@pytest.mark.parametrize("wrong", [NUMBER, NUMBER.encode(), int(NUMBER), [int(NUMBER)], [[NUMBER]]])
def test_what_is_expected_of_another_type(wrong: Any, client: FlexClient, context: CaptureContext) -> None:
    for name in ("target_origins", "required_fields"):
        refused(
            lambda name=name: client.verify_capture_context(context.jwt, expected=ContextExpectations(**{name: wrong})),  # type: ignore[misc]
            f"{name} of expected must",
        )
    expected = ContextExpectations(required_fields={"paymentInformation.card.number"})
    assert client.verify_capture_context(context.jwt, expected=expected) == context


@pytest.mark.parametrize("wrong", [*WRONG, None])
def test_what_is_stored_and_for_whom(wrong: Any, client: FlexClient, context: CaptureContext) -> None:
    refused(lambda: client.store_capture_context(wrong), "context must be a verified CaptureContext, not")
    refused(lambda: store_capture_context(wrong, SECRET_KEY), "context must be a verified CaptureContext, not")
    stored = client.store_capture_context(context, SECRET_KEY, bind="session")
    if not isinstance(wrong, str):
        refused(lambda: client.store_capture_context(context, SECRET_KEY, bind=wrong), "bind must be a string, not")
        refused(lambda: client.restore_capture_context(stored, SECRET_KEY, bind=wrong), "bind must be a string, not")
    if wrong is not None and not isinstance(wrong, (str, bytes)):
        refused(lambda: client.store_capture_context(context, wrong), "the sealing key must be a string or bytes, not")
        refused(lambda: client.restore_capture_context(stored, wrong), "the sealing key must be a string or bytes, not")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        *((wrong, "environ must be a mapping of strings, not") for wrong in WRONG if not isinstance(wrong, dict)),
        ({NUMBER.encode(): "x"}, "names of variables must be strings, not bytes"),
        ({int(NUMBER): "x"}, "names of variables must be strings, not int"),
        ({"CYBERSOURCE_KEY_ID": int(NUMBER)}, "CYBERSOURCE_KEY_ID must be a string, not int"),
        ({"CYBERSOURCE_SECRET_KEY": NUMBER.encode()}, "CYBERSOURCE_SECRET_KEY must be a string, not bytes"),
    ],
)
def test_variables_of_another_type(environ: Any, words: str) -> None:
    refused(lambda: FlexClient.from_env(environ), words)


@pytest.mark.parametrize("key", [NUMBER, SECRET_KEY, SECRET_KEY[:-1], f"card {NUMBER}", '{"number": 1}'])
def test_a_value_as_a_key_of_the_official_dictionary(key: str) -> None:
    with pytest.raises(ConfigurationError, match="has an unknown key, which is not shown") as caught:
        FlexClient.from_merchant_config({key: "merchantid"})
    assert key not in str(caught.value)
    with pytest.raises(ConfigurationError, match="an unknown key 'merchantidd'; did you mean 'merchantid'"):
        FlexClient.from_merchant_config({"merchantidd": "m"})


@pytest.mark.parametrize(
    "value",
    [
        NUMBER,
        f"{NUMBER}/x",
        f"https://shop.example/{NUMBER}",
        str(DATA),
        SECRET_KEY,
        SECRET_KEY[:-1],
        "-----BEGIN KEY-----",
    ],
)
def test_no_card_data_in_a_request_for_microform(value: str, client: FlexClient, emulator: Emulator) -> None:
    emulator.clear()
    good: dict[str, Any] = {"target_origins": ["https://shop.example"], "allowed_card_networks": ["VISA"]}
    for name in ("target_origins", "allowed_card_networks", "allowed_payment_types", "client_version"):
        given = value if name == "client_version" else ["CARD", value]
        with pytest.raises(InvalidArgumentError, match=f"^{name} contains a") as caught:
            client.create_microform_context(**{**good, name: given})
        assert caught.value.argument == name
        assert value not in str(caught.value)
    for name in ("target_origins", "allowed_card_networks", "allowed_payment_types"):
        for wrong in ({value: 1}, value.encode(), [value.encode()], 7, [None]):
            with pytest.raises(ConfigurationError, match=f"^{name} must"):
                client.create_microform_context(**{**good, name: wrong})
    assert emulator.requests == []


@pytest.mark.parametrize(
    "data",
    [
        DATA,
        {"paymentInformation": {"card": {"number": {"value": NUMBER}}}},
        {NUMBER: {}},
        {"paymentInformation": {"number": int(NUMBER)}},
    ],
)
def test_no_card_number_in_the_fields_of_a_context(data: Any, client: FlexClient, emulator: Emulator) -> None:
    emulator.clear()
    for given in (
        CaptureFields.from_dict(data),
        GenerateFlexAPICaptureContextRequest(fields=CaptureFields.from_dict(data)),
    ):
        refused(
            lambda given=given: client.create_capture_context(given),  # type: ignore[misc]
            "fields contain a card number",
            kind=InvalidArgumentError,
        )
    assert emulator.requests == []


def test_requests_for_microform_are_still_sent(client: FlexClient) -> None:
    context = client.create_microform_context(
        target_origins=("https://shop.example.com", "http://localhost:8080"),
        allowed_card_networks=iter(["VISA", "CARTESBANCAIRES"]),
        retry=RetryPolicy(attempts=1),
    )
    assert context.target_origins == ("https://shop.example.com", "http://localhost:8080")


@pytest.mark.parametrize(
    "call",
    [
        lambda value: fields(card=[value]),
        lambda value: fields(card=value),
        lambda value: fields(bill_to=[value, "email"]),
        lambda value: CardFields(number=value),
        lambda value: CaptureField(required=value),
        lambda value: BillToFields(email=value),
        lambda value: PaymentInformationFields(card=value),
        lambda value: GenerateCaptureContextRequest(client_version=[value]),
        lambda value: Tls(ssl_context=value),
        lambda value: RetryPolicy(attempts=value),
        lambda value: RetryPolicy(statuses=[value]),
        lambda value: FlexClient(None, intermediate_host=f"{value}/x"),
    ],
)
def test_a_refused_value_is_in_no_variable_of_the_traceback(call: Callable[[str], object]) -> None:
    with Canaries() as canaries:
        number = canaries.plant("card number", NUMBER)
        with pytest.raises((ConfigurationError, TypeError)) as caught:
            call(number)
        for entry in caught.traceback:
            if "cybersource_flex" in str(entry.frame.code.path):
                canaries.search(repr(entry.frame.f_locals), f"the variables of {entry.frame.code.name}")
        canaries.search("".join(traceback.format_exception(caught.value)), "the traceback")
