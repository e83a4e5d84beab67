"""Arguments of the wrong type, or with misplaced card data, are rejected. The error does not contain the value."""

from __future__ import annotations

import traceback
from collections.abc import Callable
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
INVALID: list[Any] = [NUMBER, NUMBER.encode(), int(NUMBER), float(NUMBER), DATA, [NUMBER], object()]
SECRET_KEY = "C8p9qdZ1rIv5jKmAqXh0N2f7ULxw4tBzGkYe3oTs6Hc="

Call = Callable[[Any, Any], object]


@pytest.fixture
def context(client: FlexClient) -> CaptureContext:
    return client.create_capture_context(fields(card=["number"]))


@pytest.fixture
def token(client: FlexClient, context: CaptureContext) -> TransientToken:
    return client.tokenize(context, DATA)


def assert_rejected(
    call: Callable[[], object], message: str, *, exception_class: type[Exception] = ConfigurationError
) -> None:
    with Canaries() as canaries:
        canaries.plant("card number", NUMBER)
        with pytest.raises(exception_class, match=message) as caught:
            call()
        canaries.search("".join(traceback.format_exception(caught.value)), "the traceback")


@pytest.mark.parametrize("value", INVALID)
def test_retry_policies(
    value: Any, client: FlexClient, context: CaptureContext, token: TransientToken, emulator: Emulator
) -> None:
    emulator.clear()
    calls: list[Callable[[], object]] = [
        lambda: client.create_capture_context(fields(card=["number"]), retry=value),
        lambda: client.create_microform_context(
            target_origins=["https://shop.example"], allowed_card_networks=["VISA"], retry=value
        ),
        lambda: client.tokenize(context, DATA, retry=value),
        lambda: list(client.tokenize_many([DATA], retry=value)),
        lambda: client.payment_details(token, retry=value),
        lambda: client.payment_credentials("E-firqlLk7GiziQwXxAsq", None, retry=value),  # type: ignore[arg-type]
    ]
    for call in calls:
        assert_rejected(call, "retry must be of type RetryPolicy")
    assert emulator.requests == []


@pytest.mark.parametrize("value", [NUMBER, NUMBER.encode(), DATA, [NUMBER], True, -int(NUMBER), float("nan")])
def test_timeouts(value: Any, client: FlexClient, token: TransientToken, emulator: Emulator) -> None:
    emulator.clear()
    for call in (
        lambda: client.payment_details(token, timeout=value),
        lambda: list(client.tokenize_many([DATA], timeout=value)),
    ):
        assert_rejected(call, r"^timeout must be a positive number of seconds, at most 31536000$")
    for name in ("connect_timeout", "read_timeout", "idle_timeout"):
        assert_rejected(lambda name=name: FlexClient(None, **{name: value}), rf"^{name} must be")  # type: ignore[misc]
    assert emulator.requests == []


@pytest.mark.parametrize("value", [*INVALID, (NUMBER,)])
def test_context_expectations(value: Any, client: FlexClient, context: CaptureContext, emulator: Emulator) -> None:
    emulator.clear()
    assert_rejected(
        lambda: client.verify_capture_context(context.jwt, expected=value),
        "expected must be a ContextExpectations, not",
    )
    # The argument is checked before the key source is used.
    assert_rejected(
        lambda: verify_capture_context(context.jwt, None, expected=value),  # type: ignore[arg-type]
        "expected must be a ContextExpectations, not",
    )
    assert emulator.requests == []


@pytest.mark.parametrize("value", [NUMBER, NUMBER.encode(), int(NUMBER), [int(NUMBER)], [[NUMBER]]])
def test_values_of_context_expectations(value: Any, client: FlexClient, context: CaptureContext) -> None:
    for name in ("target_origins", "required_fields"):
        assert_rejected(
            lambda name=name: client.verify_capture_context(context.jwt, expected=ContextExpectations(**{name: value})),  # type: ignore[misc]
            f"{name} of expected must",
        )
    expected = ContextExpectations(required_fields={"paymentInformation.card.number"})
    assert client.verify_capture_context(context.jwt, expected=expected) == context


@pytest.mark.parametrize("value", [*INVALID, None])
def test_arguments_of_stored_contexts(value: Any, client: FlexClient, context: CaptureContext) -> None:
    assert_rejected(lambda: client.store_capture_context(value), "context must be a verified CaptureContext, not")
    assert_rejected(lambda: store_capture_context(value, SECRET_KEY), "context must be a verified CaptureContext, not")
    stored = client.store_capture_context(context, SECRET_KEY, session_id="session")
    if not isinstance(value, str):
        assert_rejected(
            lambda: client.store_capture_context(context, SECRET_KEY, session_id=value),
            "session_id must be a string, not",
        )
        assert_rejected(
            lambda: client.restore_capture_context(stored, SECRET_KEY, session_id=value),
            "session_id must be a string, not",
        )
    if value is not None and not isinstance(value, (str, bytes)):
        assert_rejected(
            lambda: client.store_capture_context(context, value),
            "the key of stored contexts must be a string or bytes, not",
        )
        assert_rejected(
            lambda: client.restore_capture_context(stored, value),
            "the key of stored contexts must be a string or bytes, not",
        )


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        *((value, "environ must be a mapping of strings, not") for value in INVALID if not isinstance(value, dict)),
        ({NUMBER.encode(): "x"}, "names of variables must be strings, not bytes"),
        ({int(NUMBER): "x"}, "names of variables must be strings, not int"),
        ({"CYBERSOURCE_KEY_ID": int(NUMBER)}, "CYBERSOURCE_KEY_ID must be a string, not int"),
        ({"CYBERSOURCE_SECRET_KEY": NUMBER.encode()}, "CYBERSOURCE_SECRET_KEY must be a string, not bytes"),
    ],
)
def test_environment_variables(environ: Any, message: str) -> None:
    assert_rejected(lambda: FlexClient.from_env(environ), message)


@pytest.mark.parametrize("key", [NUMBER, SECRET_KEY, SECRET_KEY[:-1], f"card {NUMBER}", '{"number": 1}'])
def test_secrets_as_keys_of_the_official_dictionary(key: str) -> None:
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
def test_card_data_and_secrets_in_a_microform_request(value: str, client: FlexClient, emulator: Emulator) -> None:
    emulator.clear()
    valid: dict[str, Any] = {"target_origins": ["https://shop.example"], "allowed_card_networks": ["VISA"]}
    for name in ("target_origins", "allowed_card_networks", "allowed_payment_types", "client_version"):
        argument = value if name == "client_version" else ["CARD", value]
        with pytest.raises(InvalidArgumentError, match=f"^{name} contains a") as caught:
            client.create_microform_context(**{**valid, name: argument})
        assert caught.value.argument == name
        assert value not in str(caught.value)
    for name in ("target_origins", "allowed_card_networks", "allowed_payment_types"):
        for invalid in ({value: 1}, value.encode(), [value.encode()], 7, [None]):
            with pytest.raises(ConfigurationError, match=f"^{name} must"):
                client.create_microform_context(**{**valid, name: invalid})
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
def test_card_numbers_in_the_fields_of_a_context(data: Any, client: FlexClient, emulator: Emulator) -> None:
    emulator.clear()
    for requested in (
        CaptureFields.from_dict(data),
        GenerateFlexAPICaptureContextRequest(fields=CaptureFields.from_dict(data)),
    ):
        assert_rejected(
            lambda requested=requested: client.create_capture_context(requested),  # type: ignore[misc]
            "fields contain a card number",
            exception_class=InvalidArgumentError,
        )
        with pytest.raises(InvalidArgumentError) as caught:
            client.create_capture_context(requested)
        assert caught.value.argument == "fields"
    assert emulator.requests == []


def test_valid_microform_requests_are_sent(client: FlexClient) -> None:
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
def test_tracebacks_do_not_contain_rejected_values(call: Callable[[str], object]) -> None:
    with Canaries() as canaries:
        number = canaries.plant("card number", NUMBER)
        with pytest.raises((ConfigurationError, TypeError)) as caught:
            call(number)
        for entry in caught.traceback:
            if "cybersource_flex" in str(entry.frame.code.path):
                canaries.search(repr(entry.frame.f_locals), f"the variables of {entry.frame.code.name}")
        canaries.search("".join(traceback.format_exception(caught.value)), "the traceback")
