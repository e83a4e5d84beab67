"""Genuine contexts and tokens of the host that differ in a detail from all published ones: payments go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from cybersource_flex import AsyncFlexClient, FlexClient, errors, fields
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.emulator import Emulator

CARD = {"card": {"number": "4111111111111111"}}
MASKED = "XXXXXXXXXXXX1111"

# The first words of the warnings of context and token, by the changed claim.
WARNINGS: dict[str, tuple[list[str], list[str]]] = {
    "iss": ([], ["iss is not Flex/"]),
    "jti": ([], ["jti does not have 64"]),
    "type": ([], ["type has another version"]),
    "content": ([], ["content lacks paymentInformation.card.number"]),
    "times": (["iat is not written", "exp is not written"], ["iat is not written", "exp is not written"]),
    "path": (["flx.path is not"], []),
}


@pytest.fixture
def client(emulator: Emulator) -> Iterator[FlexClient]:
    emulator.scenario = "ok"
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        yield client


def starts_match(warnings: tuple[str, ...], starts: list[str]) -> bool:
    return len(warnings) == len(starts) and all(map(str.startswith, warnings, starts))


@pytest.mark.parametrize("claim", WARNINGS)
def test_a_payment_with_unusual_tokens(claim: str, client: FlexClient, emulator: Emulator) -> None:
    emulator.scenario = f"unusual-claims;claim={claim}"
    of_context, of_token = WARNINGS[claim]
    context = client.create_capture_context(fields(card=["number"]))
    assert starts_match(context.warnings, of_context)
    stored = client.store_capture_context(context)
    restored = client.restore_capture_context(stored)
    assert (restored, restored.warnings) == (context, context.warnings)
    token = client.tokenize(restored, CARD)
    assert starts_match(token.warnings, of_token)
    again = client.verify_transient_token(token.jwt, context)
    assert (again, again.warnings, again.masked_number) == (
        token,
        token.warnings,
        None if claim == "content" else MASKED,
    )
    assert client.payment_details(token)["paymentInformation"]["card"]["number"] == MASKED
    if of_context:
        with pytest.raises(errors.InvalidClaimError, match="strict"):
            client.verify_capture_context(context.jwt, strict=True)
    if of_token:
        with pytest.raises(errors.InvalidClaimError, match="strict"):
            client.verify_transient_token(token.jwt, context, strict=True)


def test_all_claims_at_once_in_the_async_client_and_in_tokenize_many(client: FlexClient, emulator: Emulator) -> None:
    emulator.scenario = "unusual-claims"

    async def main() -> None:
        async with AsyncFlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as async_client:
            context = await async_client.create_capture_context(fields(card=["number"]))
            token = await async_client.tokenize(context, CARD)
            assert (len(context.warnings), len(token.warnings)) == (3, 6)
            with pytest.raises(errors.InvalidClaimError):
                await async_client.verify_capture_context(context.jwt, strict=True)
            with pytest.raises(errors.InvalidClaimError):
                async_client.verify_transient_token(token.jwt, context, strict=True)
            with pytest.raises(errors.ConfigurationError, match="strict must be True or False, not str"):
                await async_client.verify_capture_context(context.jwt, strict="yes")  # type: ignore[arg-type]

    asyncio.run(main())
    assert all(result.token is not None and result.token.warnings for result in client.tokenize_many([CARD, CARD]))


def test_usual_tokens_have_no_warnings(client: FlexClient) -> None:
    context = client.create_capture_context(fields(card=["number"]))
    token = client.tokenize(context, CARD)
    assert (context.warnings, token.warnings) == ((), ())
    assert client.verify_capture_context(context.jwt, strict=True) == context
    assert client.verify_transient_token(token.jwt, context, strict=True) == token
    microform = client.create_microform_context(
        target_origins=["https://shop.example.com"], allowed_card_networks=["VISA"]
    )
    assert (microform.warnings, client.tokenize(microform, CARD).warnings) == ((), ())


def test_a_token_that_no_other_key_than_the_hosts_could_make_is_still_required(
    client: FlexClient, emulator: Emulator
) -> None:
    context = client.create_capture_context(fields(card=["number"]))
    emulator.scenario = "malformed-jwt;kind=wrong-key"
    with pytest.raises(errors.InvalidSignatureError):
        client.tokenize(context, CARD)
