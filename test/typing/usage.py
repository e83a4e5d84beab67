"""What users write, held against the types: checked strictly by mypy and pyright, and never run."""

from __future__ import annotations

from typing import Any

from typing_extensions import assert_type

from cybersource_flex import (
    ApiClient,
    ApiResponse,
    CaptureContext,
    Configuration,
    FlexAPIApi,
    FlexClient,
    MicroformIntegrationApi,
    TransientToken,
    aio,
    fields,
)
from cybersource_flex.auth import HttpSignature, JwtSharedSecret
from cybersource_flex.models import (
    CaptureField,
    CaptureFields,
    CardFields,
    GenerateCaptureContextRequest,
    GenerateFlexAPICaptureContextRequest,
    JsonWebKey,
    PaymentInformationFields,
)

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
    for result in client.tokenize_many([{"card": {"number": "4111111111111111"}}, (context, {})], ordered=False):
        assert_type(result.token, TransientToken | None)
        assert_type(result.error, Exception | None)
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
    async with aio.ApiClient(Configuration(auth=auth)) as api_client:
        flex = aio.FlexAPIApi(api_client)
        assert_type(await flex.generate_flex_api_capture_context(request), str)
        assert_type(await flex.get_public_key_with_http_info("3g"), ApiResponse[JsonWebKey])
        assert_type(await flex.get_payment_details("jti", timeout=2.5), dict[str, Any])


CardFields(number=CaptureField(), numbr=CaptureField())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
CardFields(number="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
