"""Variants of the JWT claims on which sources disagree, between clients and the emulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cybersource_flex import AuthenticationError, FlexClient, errors, fields
from cybersource_flex.auth import JwtClaimFormat, JwtSharedSecret, MessageLevelEncryption
from cybersource_flex.auth.claim_format import CLAIM_VARIANTS
from cybersource_flex.emulator import Emulator, Merchant
from cybersource_flex.emulator.auth import jwt as emulator_jwt
from cybersource_flex.transport import RetryPolicy
from support.tokens import decode_part

CARD = fields(card=["number"])
PASSWORD = "c4n4ry-passw0rd"
# `resource_path` makes no difference without a query.
DISPUTED = [name for name in CLAIM_VARIANTS if name != "resource_path"]
RESPONSE_MLE = "response_mle_claim"


def make_client(
    client_class: type[FlexClient], emulator: Emulator, folder: Path, variant: dict[str, Any], **mle: Any
) -> FlexClient:
    """A client that requests encrypted responses."""
    merchant_id = emulator.auth["merchant_id"]
    file = folder / "response.p12"
    file.write_bytes(emulator.make_response_mle_p12(PASSWORD))
    return client_class(
        JwtSharedSecret(**emulator.auth, claim_format=JwtClaimFormat(**variant)),
        environment=emulator.url,
        mle=MessageLevelEncryption(response_key=file, response_key_password=PASSWORD, merchant_id=merchant_id, **mle),
    )


def test_both_sides_know_the_same_variants() -> None:
    assert dict(CLAIM_VARIANTS) == emulator_jwt.CLAIM_VARIANTS


@pytest.mark.parametrize("name", CLAIM_VARIANTS)
def test_the_emulator_accepts_every_variant(
    name: str, emulator: Emulator, client_class: type[FlexClient], tmp_path: Path
) -> None:
    for variant in CLAIM_VARIANTS[name]:
        emulator.clear()
        with make_client(client_class, emulator, tmp_path, {name: variant}) as client:
            assert client.create_capture_context(CARD).type == "api-0.1.0"
        request = next(request for request in emulator.requests if request.target == "/flex/v2/sessions")
        assert request.status == 201
        claims = decode_part(request.headers["authorization"].split(".")[1])
        if name == RESPONSE_MLE:
            assert [each for each in CLAIM_VARIANTS[name] if each in claims] == [variant]


@pytest.mark.parametrize("name", DISPUTED)
def test_the_emulator_accepts_one_variant_by_option(name: str, client_class: type[FlexClient], tmp_path: Path) -> None:
    for accepted in CLAIM_VARIANTS[name]:
        with Emulator(claim_format={name: accepted}, key_pool=1) as strict:
            for variant in CLAIM_VARIANTS[name]:
                with make_client(client_class, strict, tmp_path, {name: variant}) as client:
                    if variant == accepted:
                        client.create_capture_context(CARD)
                        continue
                    with pytest.raises(AuthenticationError):
                        client.create_capture_context(CARD)
                    reason = strict.requests[-1].rejection_reason or ""
                    assert reason == f"{name} is {variant}, but this emulator accepts only {accepted}"


def test_environ_contains_the_accepted_variants(client_class: type[FlexClient]) -> None:
    accepted = {name: variants[1] for name, variants in CLAIM_VARIANTS.items()}
    with Emulator(claim_format=accepted, key_pool=1) as strict:
        with client_class.from_env(strict.environ) as client:
            assert client.create_capture_context(CARD).type == "api-0.1.0"
        with (
            client_class(JwtSharedSecret(**strict.auth), environment=strict.url) as client,
            pytest.raises(AuthenticationError),
        ):
            client.create_capture_context(CARD)
    token = Merchant("shop", access_tokens=["token"])
    with Emulator(merchants=[token], claim_format=accepted, key_pool=1) as strict:
        assert "CYBERSOURCE_JWT_CLAIM_FORMAT" not in strict.environ


@pytest.mark.parametrize("value", [{"method_case": "Lower"}, {"method": "lower"}, "lower", ["method_case"], {1: []}])
def test_unknown_variants_are_rejected_by_the_emulator(value: Any) -> None:
    with pytest.raises(
        ValueError, match=r"claim_format must be a dictionary .* keys and values: method_case: upper or lower; "
    ):
        Emulator(claim_format=value)


@pytest.mark.parametrize("scenario", ["reset-before", "reset-after-request"])
def test_a_broken_connection_names_the_request_for_an_encrypted_response(
    scenario: str, emulator: Emulator, client_class: type[FlexClient], tmp_path: Path
) -> None:
    once = RetryPolicy(attempts=1)
    names = ["generate_flex_api_capture_context"]
    for unencrypted, hinted in (((), True), (names, False)):
        emulator.queue_scenarios([scenario], path="/flex/v2/sessions")
        with (
            make_client(client_class, emulator, tmp_path, {}, unencrypted_responses=unencrypted) as client,
            pytest.raises(errors.ConnectionBrokenError) as caught,
        ):
            client.create_capture_context(CARD, retry=once)
        assert ("add 'generate_flex_api_capture_context' to unencrypted_responses" in str(caught.value)) == hinted


def test_a_connection_that_cannot_be_established_has_no_such_hint(
    client_class: type[FlexClient], emulator: Emulator, tmp_path: Path
) -> None:
    with Emulator(key_pool=1) as stopped:
        client = make_client(client_class, stopped, tmp_path, {})
    with client, pytest.raises(errors.ConnectionFailedError) as caught:
        client.create_capture_context(CARD, retry=RetryPolicy(attempts=1))
    assert "unencrypted_responses" not in str(caught.value)
