"""Recorded requests name the observation of the real host that their response imitates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from cybersource_flex import FlexClient, fields
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.emulator import Emulator
from cybersource_flex.errors import ApiException
from cybersource_flex.probe.ledger import load_ledger

OBSERVATIONS = {entry.id for entry in load_ledger().observations}
MICROFORM = {"clientVersion": "v2", "targetOrigins": ["https://shop.example.com"], "allowedCardNetworks": ["VISA"]}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(context_uses=1, quota_details=True) as running:
        yield running


@pytest.fixture
def client(emulator: Emulator) -> Iterator[FlexClient]:
    emulator.clear()
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as created:
        yield created


def observations(emulator: Emulator) -> tuple[str, ...]:
    """The observations of the last request. All are in the ledger."""
    names = emulator.requests[-1].observations
    assert set(names) <= OBSERVATIONS
    return names


def send_microform(client: FlexClient, **changes: Any) -> None:
    client.request(
        "POST", "/microform/v2/sessions", json={**MICROFORM, **changes}, headers={"Accept": "application/jwt"}
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"allowedPaymentTypes": ["CARD", "OTHER"]}, ("payment-types-message",)),
        ({"targetOrigins": ["http://127.0.0.1:3000"]}, ("localhost-only",)),
        ({"targetOrigins": ["ftp://shop.example.com"]}, ()),
        ({"clientVersion": "v2.0"}, ("version-2.0",)),
        ({}, ()),
    ],
)
def test_microform_sessions(
    emulator: Emulator, client: FlexClient, changes: dict[str, Any], expected: tuple[str, ...]
) -> None:
    with suppress(ApiException):
        send_microform(client, **changes)
    assert observations(emulator) == expected


def test_list_of_errors() -> None:
    with Emulator(microform_error_list=True) as running:
        client = FlexClient(JwtSharedSecret(**running.auth), environment=running.url)
        with client, pytest.raises(ApiException):
            send_microform(client, targetOrigins=[])
        assert observations(running) == ("errors-list",)


def test_tokens(emulator: Emulator, client: FlexClient) -> None:
    context = client.create_capture_context(fields(card=["number", "securityCode?"]))
    assert observations(emulator) == ()
    card = {"number": "4111111111111111"}
    with pytest.raises(ApiException):
        client.tokenize(context, {"card": {**card, "securityCode": "12"}})
    assert observations(emulator) == ("security-code-location",)
    client.tokenize(context, {"card": card})
    assert observations(emulator) == ("tokens-201",)
    with pytest.raises(ApiException):
        client.tokenize(context, {"card": card})
    assert observations(emulator) == ("quota-exceeded",)


def test_rejected_authentication(emulator: Emulator, client: FlexClient) -> None:
    wrong = JwtSharedSecret(**{**emulator.auth, "secret_key": "A" * 43 + "="})
    with FlexClient(wrong, environment=emulator.url) as other, pytest.raises(ApiException):
        other.create_capture_context(fields(card=["number"]))
    assert observations(emulator) == ("rmsg-json",)
