"""Programs as users write them. mypy and pyright check them strictly; they are never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

from cybersource_flex import (
    ApiClient,
    ApiResponse,
    AsyncFlexClient,
    CaptureContext,
    Configuration,
    EventHooks,
    FlexAPIApi,
    FlexClient,
    MicroformIntegrationApi,
    ResponseInfo,
    TransientToken,
    aio,
    fields,
)
from cybersource_flex.auth import BearerToken, HttpSignature, JwtExternalKey, JwtSharedSecret
from cybersource_flex.client import TokenizeFailure, TokenizeSuccess
from cybersource_flex.jose import AsyncKeyCache, AsyncKeySource, KeyCache, KeySource, PinnedKeys
from cybersource_flex.models import (
    CaptureField,
    CaptureFields,
    CardFields,
    GenerateCaptureContextRequest,
    GenerateFlexAPICaptureContextRequest,
    JsonWebKey,
    PaymentInformationFields,
)
from cybersource_flex.transport import AsyncTransport, Transport

auth = JwtSharedSecret("merchant", key_id="id", secret_key="secret")
old = HttpSignature("merchant", key_id="id", secret_key="secret")

with FlexClient(auth, environment="test") as client:
    context = client.create_capture_context(fields(card=["number", "securityCode?"]))
    assert_type(context, CaptureContext)
    token = client.tokenize(context, {"card": {"number": "4111111111111111"}})
    assert_type(token, TransientToken)
    assert_type(token.jwt, str)
    assert_type(token.masked_number, str | None)
    assert_type(client.payment_details(token), dict[str, Any])
    payment = client.request(
        "POST", "/pts/v2/payments", json={"tokenInformation": {"jti": token.jti}}, retry_safe=False
    )
    assert_type(payment, ApiResponse[Any])
    assert_type(payment.response.correlation_id, str | None)
    assert_type(client.verify_posted_token("jwt", "stored", b"key", session_id="id"), TransientToken)
    assert_type(context.script_tag(nonce="nonce"), str)
    assert_type(context.csp_sources(), dict[str, list[str]])
    for result in client.tokenize_many([{"card": {"number": "4111111111111111"}}, (context, {})], ordered=False):
        assert_type(result.token, TransientToken | None)
        assert_type(result.error, Exception | None)
        if result.error is None:
            assert_type(result, TokenizeSuccess)
            assert_type(result.token, TransientToken)
            assert_type(result.context, CaptureContext)
        else:
            assert_type(result, TokenizeFailure)
        if result.token is not None:
            assert_type(result.context, CaptureContext)
        if isinstance(result, TokenizeFailure):
            assert_type(result.error, Exception)
            continue
        assert_type(result.token.response, ResponseInfo | None)
    assert_type(client.create_microform_context(target_origins=["https://shop.example.com"]), CaptureContext)

with ApiClient(Configuration(host="https://apitest.cybersource.com", auth=auth)) as api_client:
    flex = FlexAPIApi(api_client)
    request = GenerateFlexAPICaptureContextRequest(
        fields=CaptureFields(
            payment_information=PaymentInformationFields(
                card=CardFields(number=CaptureField(), security_code=CaptureField(required=False))
            )
        )
    )
    assert_type(flex.generate_flex_api_capture_context(request), str)
    assert_type(flex.generate_flex_api_capture_context_with_http_info(request), ApiResponse[str])
    key = flex.get_public_key("3g", timeout=2.5)
    assert_type(key, JsonWebKey)
    assert_type(key.kty, str | None)
    assert_type(flex.create_transient_token("a.b.c.d.e"), str)
    assert_type(flex.get_payment_details("jti"), dict[str, Any])
    assert_type(flex.get_payment_credentials("reference"), str)
    microform = MicroformIntegrationApi(api_client)
    assert_type(
        microform.generate_capture_context(
            GenerateCaptureContextRequest(
                client_version="v2",
                target_origins=["https://shop.example.com"],
                allowed_card_networks=["VISA", "MASTERCARD"],
            )
        ),
        str,
    )


async def awaited(request: GenerateFlexAPICaptureContextRequest) -> None:
    async with aio.AsyncApiClient(Configuration(auth=auth)) as api_client:
        flex = aio.AsyncFlexAPIApi(api_client)
        assert_type(await flex.generate_flex_api_capture_context(request), str)
        assert_type(await flex.get_public_key_with_http_info("3g"), ApiResponse[JsonWebKey])
        assert_type(await flex.get_payment_details("jti", timeout=2.5), dict[str, Any])


# Clients and `Configuration` take the same settings, of the same types.
FlexClient(auth, environment="test", leeway=5, proxy="http://proxy.example:8080", read_timeout=5, retry=None)
AsyncFlexClient(auth, pool_size=20, max_response_bytes=65536, event_hooks=EventHooks())
FlexClient.from_env(proxy=None, correct_clock=False)
FlexClient(auth, read_timeout="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
FlexClient(auth, read_timout=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
AsyncFlexClient(auth, retry=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
FlexClient.from_env(pool_size="20")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

CardFields(number=CaptureField(), numbr=CaptureField())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
CardFields(number="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# Every constructor of a client accepts the key sources that the client supports.


def fetch(kid: str) -> Mapping[str, Any]:
    return {}


async def fetch_later(kid: str) -> Mapping[str, Any]:
    return {}


async def sign_later(data: bytes) -> bytes:
    return data


async def token_later() -> str:
    return "token"


def key_sources(plain: KeySource, later: AsyncKeySource, either: KeySource | AsyncKeySource) -> None:
    FlexClient(auth, keys=plain)
    FlexClient(auth, keys=KeyCache(fetch))
    assert_type(FlexClient.from_env(keys=plain), FlexClient)
    assert_type(FlexClient.from_merchant_config({}, keys=PinnedKeys([], plain), leeway=5), FlexClient)
    AsyncFlexClient(auth, keys=plain)
    AsyncFlexClient(auth, keys=AsyncKeyCache(fetch_later))
    AsyncFlexClient(auth, keys=either)
    assert_type(AsyncFlexClient.from_env(keys=later), AsyncFlexClient)
    assert_type(AsyncFlexClient.from_env(keys=plain), AsyncFlexClient)
    assert_type(AsyncFlexClient.from_merchant_config({}, keys=AsyncKeyCache(fetch_later)), AsyncFlexClient)

    FlexClient(auth, keys=later)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    FlexClient(auth, keys=AsyncKeyCache(fetch_later))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    FlexClient(auth, keys=either)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    FlexClient.from_env(keys=later)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    FlexClient.from_merchant_config({}, keys=later)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AsyncFlexClient(auth, keys="keys")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AsyncFlexClient.from_env(keys=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    FlexClient.from_env(leway=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    PinnedKeys([], later)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


KeyCache(fetch_later)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
AsyncKeyCache(fetch)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
JwtExternalKey("m", "k", sign_later)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
BearerToken(token_later)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def clients(
    plain: ApiClient, later: aio.AsyncApiClient, client: FlexClient, one: Transport, other: AsyncTransport
) -> None:
    ApiClient(transport=one)
    aio.AsyncApiClient(transport=other)
    ApiClient(transport=other)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    aio.AsyncApiClient(transport=one)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    FlexAPIApi(later)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    aio.AsyncFlexAPIApi(plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    FlexAPIApi(client)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
