"""``client.request``: any operation of the REST API, with the same signatures, retries, errors and telemetry."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from cybersource_flex import EventHooks, FlexClient, RetryPolicy, TransientToken, errors, fields
from cybersource_flex.auth import HttpSignature, JwtClaimFormat, JwtSharedSecret, MessageLevelEncryption
from cybersource_flex.emulator import Emulator, Merchant
from cybersource_flex.transport import AttemptEvent, CallEvent
from support.tokens import decode_jwt

CARD = {"number": "4111111111111111", "expirationMonth": "12", "expirationYear": "2099"}
FIELDS = fields(card=["number", "expirationMonth", "expirationYear"])
PAYMENTS = "/pts/v2/payments"
QUICK = RetryPolicy(initial_delay=0.001, max_delay=0.001)


@pytest.fixture
def client(emulator: Emulator, client_class: type[FlexClient]) -> Iterator[FlexClient]:
    emulator.reset_faults()
    emulator.clear()
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url, retry=QUICK) as client:
        yield client


@pytest.fixture
def token(client: FlexClient) -> TransientToken:
    return client.tokenize(client.create_capture_context(FIELDS), {"card": CARD})


def payment(token: TransientToken, amount: str = "21.00") -> dict[str, Any]:
    return {
        "tokenInformation": {"transientTokenJwt": token.jwt},
        "orderInformation": {"amountDetails": {"totalAmount": amount, "currency": "USD"}},
    }


def received(emulator: Emulator, path: str = PAYMENTS) -> list[Any]:
    return [request for request in emulator.requests if request.path == path]


def test_an_authorised_and_a_declined_payment(client: FlexClient, token: TransientToken, emulator: Emulator) -> None:
    result = client.request("POST", PAYMENTS, json=payment(token))
    assert result.data["status"] == "AUTHORIZED"
    assert result.status_code == result.response.status == 201
    (record,) = received(emulator)
    assert result.response.correlation_id == record.correlation_id
    assert len(result.response.attempts) == 1
    assert 0 < result.response.elapsed < 60
    assert record.headers["content-type"] == "application/json;charset=utf-8"
    declined = client.request("post", PAYMENTS, json=payment(token, "1002.00")).data
    assert (declined["status"], declined["errorInformation"]["reason"]) == ("DECLINED", "INSUFFICIENT_FUND")


def test_the_representation_shows_no_content(client: FlexClient, token: TransientToken) -> None:
    result = client.request("POST", PAYMENTS, json=payment(token))
    assert result.data["id"] not in repr(result)
    assert "AUTHORIZED" not in repr(result)


def test_reading_with_an_id_and_a_query(client: FlexClient, token: TransientToken, emulator: Emulator) -> None:
    path = f"/flex/v2/payment-details/{token.jti}"
    result = client.request("GET", path, params={"view": ["a b", "c"]})
    assert result.data["paymentInformation"]["card"]["number"] == "XXXXXXXXXXXX1111"
    assert emulator.requests[-1].target == f"{path}?view=a%20b&view=c"
    assert emulator.requests[-1].body == b""


@pytest.mark.parametrize("scheme", ["path", "path-and-query", "http_signature", "bearer"])
def test_every_scheme_signs_the_query(
    scheme: str, token: TransientToken, emulator: Emulator, client_class: type[FlexClient]
) -> None:
    auth: Any
    if scheme == "http_signature":
        with pytest.warns(DeprecationWarning, match="March 2027"):
            auth = HttpSignature(**emulator.auth)
    elif scheme == "bearer":
        from cybersource_flex.auth import BearerToken

        auth = BearerToken(emulator.issue_access_token())
    else:
        auth = JwtSharedSecret(**emulator.auth, claim_format=JwtClaimFormat(resource_path=scheme))  # type: ignore[arg-type]
    with client_class(auth, environment=emulator.url) as client:
        result = client.request("GET", f"/flex/v2/payment-details/{token.jti}", params={"a": 1})
        assert result.data
        assert client.request("POST", PAYMENTS, json=payment(token)).data["status"] == "AUTHORIZED"


def test_additional_headers_are_sent(client: FlexClient, token: TransientToken, emulator: Emulator) -> None:
    client.request("POST", PAYMENTS, json=payment(token), headers={"v-c-Idempotency-id": "order-1", "Accept": "*/*"})
    (record,) = received(emulator)
    assert (record.headers["v-c-idempotency-id"], record.headers["accept"]) == ("order-1", "*/*")


@pytest.mark.parametrize(
    "scenario", ["reset-after-request", "reset-during", "truncated", "status-503", "status-429", "html-502"]
)
def test_a_request_that_was_sent_is_not_repeated(
    client: FlexClient, token: TransientToken, emulator: Emulator, scenario: str
) -> None:
    emulator.queue_scenarios([scenario, "ok"], path=PAYMENTS)
    with pytest.raises(errors.CallError) as caught:
        client.request("POST", PAYMENTS, json=payment(token))
    assert len(received(emulator)) == 1
    assert len(caught.value.attempts) == 1
    assert not (caught.value.outcome == "unknown" and caught.value.safe_to_retry)


def test_the_clients_own_retry_unsafe_does_not_apply(
    token: TransientToken, emulator: Emulator, client_class: type[FlexClient]
) -> None:
    """A policy that was chosen for tokens must not repeat a payment."""
    policy = QUICK.replace(retry_unsafe=True)
    auth = JwtSharedSecret(**emulator.auth)
    with client_class(auth, environment=emulator.url, retry=policy) as client:
        emulator.queue_scenarios(["reset-after-request", "ok"], path=PAYMENTS)
        with pytest.raises(errors.ConnectionBrokenError):
            client.request("POST", PAYMENTS, json=payment(token))
        assert len(received(emulator)) == 1


@pytest.mark.parametrize("options", [{"retry_safe": True}, {"retry": QUICK.replace(retry_unsafe=True)}], ids=str)
def test_the_caller_can_allow_repeating(
    client: FlexClient, token: TransientToken, emulator: Emulator, options: dict[str, Any]
) -> None:
    emulator.queue_scenarios(["reset-after-request", "status-503", "ok"], path=PAYMENTS)
    result = client.request("POST", PAYMENTS, json=payment(token), **options)
    assert result.data["status"] == "AUTHORIZED"
    assert [attempt.status for attempt in result.response.attempts] == [None, 503, 201]
    assert len({record.headers["authorization"] for record in received(emulator)}) == 3


def test_nothing_was_sent_is_retried(emulator: Emulator, client_class: type[FlexClient]) -> None:
    """Port 9 of the loopback interface refuses connections."""
    with client_class(JwtSharedSecret(**emulator.auth), environment="http://127.0.0.1:9", retry=QUICK) as client:
        with pytest.raises(errors.ConnectionFailedError) as caught:
            client.request("POST", PAYMENTS, json={})
        assert (caught.value.outcome, len(caught.value.attempts)) == ("not_sent", 3)
        assert caught.value.safe_to_retry


def test_the_deadline_applies(client: FlexClient, token: TransientToken, emulator: Emulator) -> None:
    emulator.queue_scenarios(["latency;seconds=5"], path=PAYMENTS)
    with pytest.raises(errors.ResponseTimeoutError) as caught:
        client.request("POST", PAYMENTS, json=payment(token), retry=QUICK.replace(deadline=0.2))
    assert caught.value.outcome == "unknown"
    emulator.queue_scenarios(["latency;seconds=5"], path=PAYMENTS)
    with pytest.raises(errors.ResponseTimeoutError):
        client.request("POST", PAYMENTS, json=payment(token), timeout=0.2)


def test_errors_name_the_operation_and_not_the_id(
    client: FlexClient, token: TransientToken, emulator: Emulator
) -> None:
    with pytest.raises(errors.BadRequestError) as caught:
        client.request("POST", PAYMENTS, json={"tokenInformation": {"jti": token.jti}})
    error = caught.value
    assert (error.reason, error.path, error.outcome) == ("MISSING_FIELD", PAYMENTS, "rejected")
    assert error.details[0].location == "orderInformation.amountDetails.totalAmount"
    assert error.response is not None
    assert error.response.correlation_id == received(emulator)[-1].correlation_id
    with pytest.raises(errors.NotFoundError) as missing:
        client.request("GET", f"/flex/v2/payment-details/{'A' * 64}")
    assert missing.value.path == "/flex/v2/payment-details/{id}"
    assert "A" * 64 not in str(missing.value)
    assert pickle.loads(pickle.dumps(error)).response == error.response  # noqa: S301


def test_a_401_is_diagnosed(emulator: Emulator, client_class: type[FlexClient]) -> None:
    auth = JwtSharedSecret(**{**emulator.auth, "key_id": "00000000-0000-4000-8000-000000000000"})
    with client_class(auth, environment=emulator.url) as client:
        with pytest.raises(errors.AuthenticationError) as caught:
            client.request("POST", PAYMENTS, json={})
        assert caught.value.diagnosis


def test_a_response_that_is_not_json(client: FlexClient, token: TransientToken, emulator: Emulator) -> None:
    emulator.queue_scenarios(["html-200"], path=PAYMENTS)
    with pytest.raises(errors.ResponseDecodingError, match="the call was accepted, but the response is not JSON"):
        client.request("POST", PAYMENTS, json=payment(token))
    emulator.queue_scenarios(["empty-200"], path=PAYMENTS)
    assert client.request("POST", PAYMENTS, json=payment(token)).data is None


def test_a_redirect_is_not_followed(client: FlexClient, token: TransientToken, emulator: Emulator) -> None:
    emulator.queue_scenarios([f"redirect;status=307;location={emulator.url}{PAYMENTS}"], path=PAYMENTS)
    with pytest.raises(errors.RedirectError):
        client.request("POST", PAYMENTS, json=payment(token))
    assert len(received(emulator)) == 1


def test_telemetry_has_the_path_without_ids(
    emulator: Emulator, client_class: type[FlexClient], caplog: pytest.LogCaptureFixture
) -> None:
    events: list[AttemptEvent | CallEvent] = []
    hooks = EventHooks(on_attempt=events.append, on_call_end=events.append)
    caplog.set_level(logging.DEBUG)
    jti = "B" * 64
    auth = JwtSharedSecret(**emulator.auth)
    with client_class(auth, environment=emulator.url, event_hooks=hooks) as client:
        with pytest.raises(errors.NotFoundError):
            client.request("GET", f"/flex/v2/payment-details/{jti}")
        with pytest.raises(errors.NotFoundError):
            client.request("DELETE", "/tms/v2/customers/AB695DA801DD1BB6")
    operations = [event.operation for event in events]
    assert operations == [
        *["GET /flex/v2/payment-details/{id}"] * 2,
        *["DELETE /tms/v2/customers/{id}"] * 2,
    ]
    own = [record for record in caplog.records if record.name.startswith(("cybersource_flex.transport", "urllib3"))]
    assert own
    assert not [record for record in own if jti in record.getMessage() or "AB695DA801DD1BB6" in record.getMessage()]


def test_message_level_encryption(emulator: Emulator, client_class: type[FlexClient], token: TransientToken) -> None:
    mle = MessageLevelEncryption(
        request_certificate=emulator.request_mle_certificate_pem,
        encrypt_requests=["POST /pts/v2/payments"],
        response_key=emulator.make_response_mle_p12("Fake-p12-passw0rd"),
        response_key_password="Fake-p12-passw0rd",
        merchant_id=emulator.auth["merchant_id"],
    )
    emulator.clear()
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url, mle=mle) as client:
        result = client.request("POST", PAYMENTS, json=payment(token))
    assert result.data["status"] == "AUTHORIZED"
    (record,) = received(emulator)
    assert list(json.loads(record.body)) == ["encryptedRequest"]
    assert json.loads(record.decrypted_body) == payment(token)


def test_a_client_for_another_merchant_signs_for_it(client_class: type[FlexClient]) -> None:
    merchants = [Merchant.generate("first"), Merchant.generate("second")]
    with Emulator(merchants=merchants) as emulator:
        first, second = (
            JwtSharedSecret(each.merchant_id, key_id=each.key_id, secret_key=each.secret_key)  # type: ignore[arg-type]
            for each in merchants
        )
        with client_class(first, environment=emulator.url) as client:
            token = client.tokenize(client.create_capture_context(FIELDS), {"card": CARD})
            with pytest.raises(errors.BadRequestError, match="another merchant"):
                client.for_merchant(auth=second).request("POST", PAYMENTS, json=payment(token))
            assert client.request("POST", PAYMENTS, json=payment(token)).data["status"] == "AUTHORIZED"


def test_the_client_needs_credentials(emulator: Emulator, client_class: type[FlexClient]) -> None:
    with (
        client_class(None, environment=emulator.url) as client,
        pytest.raises(
            errors.ConfigurationError, match="POST /pts/v2/payments must be signed, but the client has no auth"
        ),
    ):
        client.request("POST", PAYMENTS, json={})


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"path": "https://attacker.example/pts"}, "path"),
        ({"path": "//attacker.example/pts"}, "path"),
        ({"path": "/pts/../x"}, "path"),
        ({"path": "/x\r\ny"}, "path"),
        ({"path": "/x#y"}, "path"),
        ({"method": "TRACE"}, "method"),
        ({"json": "{}"}, "json"),
        ({"json": {"a": float("nan")}}, "body"),
        ({"params": {"card": "4111111111111111"}}, "card"),
        ({"headers": {"Host": "attacker.example"}}, "headers"),
        ({"retry_safe": "yes"}, "retry_safe"),
    ],
)
def test_wrong_arguments_send_nothing(
    client: FlexClient, emulator: Emulator, arguments: dict[str, Any], argument: str
) -> None:
    with pytest.raises(errors.InvalidArgumentError) as caught:
        client.request(**{"method": "POST", "path": PAYMENTS, "json": {}, **arguments})
    assert caught.value.argument == argument
    assert emulator.requests == []


def test_the_host_is_that_of_the_configuration(client: FlexClient, token: TransientToken, emulator: Emulator) -> None:
    client.request("POST", PAYMENTS, json=payment(token))
    (record,) = received(emulator)
    assert record.headers["host"] == emulator.url.partition("://")[2]
    claims = decode_jwt(record.headers["authorization"].removeprefix("Bearer "))[1]
    assert (claims["request-host"], claims["request-resource-path"]) == (record.headers["host"], PAYMENTS)
