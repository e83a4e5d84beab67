"""``response``: what CyberSource's support asks for, on every verified object, result of a batch and error."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cybersource_flex import FlexAPIApi, FlexClient, ResponseInfo, RetryPolicy, errors, fields
from cybersource_flex.auth import JwtSharedSecret, MessageLevelEncryption
from cybersource_flex.emulator import Emulator
from cybersource_flex.transport.error_responses import api_exception
from cybersource_flex.transport.messages import Response

CARD = {"number": "4111111111111111", "expirationMonth": "12", "expirationYear": "2099"}
REFUSED = {**CARD, "number": "4111111111111112"}
FIELDS = fields(card=["number", "expirationMonth", "expirationYear"])
QUICK = RetryPolicy(initial_delay=0.001)


@pytest.fixture(scope="module")
def host() -> Iterator[Emulator]:
    with Emulator(payment_credentials=True) as running:
        yield running


@pytest.fixture
def emulator(host: Emulator) -> Iterator[Emulator]:
    host.clear()
    yield host
    host.reset_faults()


@pytest.fixture
def client(emulator: Emulator, client_class: type[FlexClient]) -> Iterator[FlexClient]:
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url, retry=QUICK) as client:
        yield client


def correlation_ids(emulator: Emulator, path: str) -> list[str]:
    return [request.correlation_id for request in emulator.requests if request.path.startswith(path)]


def check(info: ResponseInfo | None, emulator: Emulator, path: str, *, status: int, attempts: int = 1) -> None:
    assert isinstance(info, ResponseInfo)
    assert info.status == status
    assert info.correlation_id == correlation_ids(emulator, path)[-1]
    assert len(info.attempts) == attempts
    assert info.attempts[-1].status == status
    assert sum(attempt.duration for attempt in info.attempts) <= info.elapsed < 60


def test_every_object_from_a_call_has_its_response(client: FlexClient, emulator: Emulator) -> None:
    context = client.create_capture_context(FIELDS)
    check(context.response, emulator, "/flex/v2/sessions", status=201)
    token = client.tokenize(context, {"card": CARD})
    check(token.response, emulator, "/flex/v2/tokens", status=201)
    microform = client.create_microform_context(
        target_origins=["https://shop.example.com"], allowed_card_networks=["VISA"]
    )
    check(microform.response, emulator, "/microform/v2/sessions", status=201)
    (reference,) = token.payment_credentials_references.values()
    key: Any = load_pem_private_key(emulator.credentials_key_pem, None)
    credentials = client.payment_credentials(reference, key)
    check(credentials.response, emulator, "/flex/v2/payment-credentials", status=200)


def test_attempts_and_waits_are_included(client: FlexClient, emulator: Emulator) -> None:
    emulator.queue_scenarios(["status-503", "reset-after-request", "ok"], path="/flex/v2/sessions")
    context = client.create_capture_context(FIELDS)
    check(context.response, emulator, "/flex/v2/sessions", status=201, attempts=3)
    assert context.response is not None
    assert [attempt.status for attempt in context.response.attempts] == [503, None, 201]


def test_objects_that_came_from_elsewhere_have_none(client: FlexClient) -> None:
    context = client.create_capture_context(FIELDS)
    token = client.tokenize(context, {"card": CARD})
    restored = client.restore_capture_context(client.store_capture_context(context))
    sealed = client.restore_capture_context(client.store_capture_context(context, b"k" * 16), b"k" * 16)
    for other in (restored, sealed, client.verify_capture_context(context.jwt)):
        assert other.response is None
        assert other == context
        assert hash(other) == hash(context)
        assert repr(other) == repr(context)
    verified = client.verify_transient_token(token.jwt, context)
    assert verified.response is None
    assert (verified, repr(verified)) == (token, repr(token))


def test_the_response_is_read_only_plain_data_without_a_secret(client: FlexClient) -> None:
    context = client.create_capture_context(FIELDS)
    token = client.tokenize(context, {"card": CARD})
    for each in (context, token):
        with pytest.raises(AttributeError):
            each.response = None
        assert each.response is not None
        assert pickle.loads(pickle.dumps(each.response)) == copy.deepcopy(each.response) == each.response  # noqa: S301
        assert json.loads(json.dumps(each.response._asdict()))["correlation_id"] == each.response.correlation_id
        for secret in (each.jwt, each.jti, each.jwt.split(".")[2]):
            assert secret not in repr(each.response)
        assert each.response.correlation_id not in repr(each)


def test_every_result_of_a_batch(client: FlexClient, emulator: Emulator) -> None:
    items: list[Any] = [{"card": CARD}, {"card": REFUSED}, {"card": {"pin": "1"}}]
    good, refused, invalid = client.tokenize_many(items, concurrency=1)
    assert good.token is not None
    assert good.response is good.token.response is not None
    assert refused.response is not None
    assert (good.response.status, refused.response.status) == (201, 400)
    ids = [good.response.correlation_id, refused.response.correlation_id]
    assert sorted(map(str, ids)) == sorted(correlation_ids(emulator, "/flex/v2/tokens"))
    assert good.context.response is not None
    assert good.context.response.correlation_id in correlation_ids(emulator, "/flex/v2/sessions")
    assert isinstance(refused.error, errors.BadRequestError)
    assert refused.response is refused.error.response
    assert refused.response.correlation_id == refused.error.correlation_id
    assert invalid.response is None


@pytest.mark.parametrize(
    ("scenario", "path", "expected"),
    [
        ("malformed-jwt;kind=truncated", "/flex/v2/sessions", errors.TokenError),
        ("malformed-jwt;kind=truncated", "/flex/v2/tokens", errors.TokenError),
        ("wrong-digest", "/flex/v2/tokens", errors.ResponseDecodingError),
        ("status-500", "/flex/v2/tokens", errors.ServerError),
    ],
)
def test_errors_of_a_response_have_it(
    client: FlexClient, emulator: Emulator, scenario: str, path: str, expected: type[errors.FlexError]
) -> None:
    """Also those of a call that the host carried out, but whose result is not acceptable."""
    emulator.queue_scenarios([scenario], path=path)
    with pytest.raises(expected) as caught:
        client.tokenize(client.create_capture_context(FIELDS), {"card": CARD})
    check(caught.value.response, emulator, path, status=500 if scenario == "status-500" else 201)
    pickled = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert pickled.response == caught.value.response
    if isinstance(caught.value, (errors.ResponseDecodingError, errors.ServerError)):
        assert (caught.value.method, caught.value.path) == ("POST", path)


def test_errors_without_a_response_have_none(client: FlexClient, emulator: Emulator) -> None:
    with pytest.raises(errors.TokenError) as wrong:
        client.verify_capture_context("a.b.c")
    emulator.queue_scenarios(["reset-after-request"] * 3, path="/flex/v2/sessions")
    with pytest.raises(errors.TransportError) as broken:
        client.create_capture_context(FIELDS)
    assert wrong.value.response is broken.value.response is None


def test_the_response_of_an_encrypted_call(emulator: Emulator, client_class: type[FlexClient]) -> None:
    p12 = emulator.make_response_mle_p12("Fake-p12-passw0rd")
    mle = MessageLevelEncryption(
        response_key=p12, response_key_password="Fake-p12-passw0rd", merchant_id=emulator.auth["merchant_id"]
    )
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url, retry=QUICK, mle=mle) as client:
        emulator.queue_scenarios(["status-503", "ok"], path="/flex/v2/sessions")
        context = client.create_capture_context(FIELDS)
    check(context.response, emulator, "/flex/v2/sessions", status=201, attempts=2)


def test_generated_methods_have_it_too(emulator: Emulator) -> None:
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        token = client.tokenize(client.create_capture_context(FIELDS), {"card": CARD})
        response = FlexAPIApi(client.api_client).get_payment_details_with_http_info(token.jti)
    assert [response.correlation_id] == correlation_ids(emulator, "/flex/v2/payment-details")
    assert response.elapsed > 0


@pytest.mark.parametrize(
    "value", ["4622943127013705", "4622-9431-2701-3705", "eyJhbGciOiJSUzI1NiJ9.e30.x", "a" * 41, ""]
)
def test_a_correlation_id_that_is_no_id_is_left_out(value: str) -> None:
    response = Response(500, "", {"v-c-correlation-id": value}, b"")
    assert response.info().correlation_id is None
    assert Response(500, "", {}, b"").info(value).correlation_id is None
    error = api_exception(_Operation(), response)
    assert error.response is not None
    assert error.response.correlation_id is None


class _Operation:
    name, method, path, requires_auth, retry_safe = "get_thing", "GET", "/things", True, True
