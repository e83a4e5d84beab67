"""One deadline for a call that makes several requests: what is asked for, and the key that verifies it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from cybersource_flex import FlexClient, RetryPolicy, TransportError, errors, fields
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.emulator import Emulator

FIELDS = fields(card=["number"])
KEYS = "/flex/v2/public-keys/*"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.mark.parametrize("verb", ["capture context", "microform context"])
def test_a_slow_key_ends_the_call_at_its_deadline(verb: str, emulator: Emulator, connect: type[FlexClient]) -> None:
    emulator.script(["latency;seconds=20"] * 5, path=KEYS)
    policy = RetryPolicy(deadline=0.3)
    with connect(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        call: Any = partial(client.create_capture_context, FIELDS)
        if verb == "microform context":
            call = partial(
                client.create_microform_context, target_origins=["https://a.example"], allowed_card_networks=["VISA"]
            )
        started = time.monotonic()
        with pytest.raises(TransportError) as caught:
            call(retry=policy)
        assert time.monotonic() - started < 5
        assert isinstance(caught.value, errors.ResponseTimeoutError)
        assert caught.value.safe_to_retry
        assert "public" in str(caught.value)


def test_the_deadline_of_one_caller_is_not_that_of_another(emulator: Emulator, connect: type[FlexClient]) -> None:
    emulator.script(["latency;seconds=1"], path=KEYS)
    with connect(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client, ThreadPoolExecutor(2) as pool:
        hasty = pool.submit(client.create_capture_context, FIELDS, retry=RetryPolicy(deadline=0.3))
        while not any("/public-keys/" in request.target for request in emulator.requests):
            pass
        patient = pool.submit(client.create_capture_context, FIELDS)
        with pytest.raises(errors.ResponseTimeoutError, match="before the deadline of the call"):
            hasty.result()
        assert patient.result().jti
        # One fetch served both, and the next call has the key.
        assert client.create_capture_context(FIELDS, retry=RetryPolicy(deadline=5)).jti
        assert sum("/public-keys/" in request.target for request in emulator.requests) == 1


def test_a_key_that_cannot_be_fetched_is_reported_to_all_who_wait(
    emulator: Emulator, connect: type[FlexClient]
) -> None:
    emulator.script(["404-key"], path=KEYS)
    with connect(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        with pytest.raises(errors.UnknownKeyError):
            client.create_capture_context(FIELDS, retry=RetryPolicy(deadline=5))
        assert client.create_capture_context(FIELDS, retry=RetryPolicy(deadline=5)).jti
