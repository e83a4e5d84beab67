"""``timeout`` and ``retry`` of each method of the clients reach every request that the method sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cybersource_flex import RetryPolicy, errors, fields
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.testing.tokens import TokenFactory
from support.keys import RESPONSE_MLE, private_key
from support.servers import HttpServer, RawServer

AUTH = JwtSharedSecret("merchant", "key", "A" * 43 + "=")
FIELDS = fields(card=["number"])
DATA = {"card": {"number": "4111111111111111"}}
JTI = "A" * 64

Call = Callable[..., Any]
CALLS: dict[str, Call] = {
    "create_capture_context": lambda client, context, **options: client.create_capture_context(FIELDS, **options),
    "create_microform_context": lambda client, context, **options: client.create_microform_context(
        target_origins=["https://shop.example.com"], allowed_card_networks=["VISA"], **options
    ),
    "tokenize": lambda client, context, **options: client.tokenize(context, DATA, **options),
    "tokenize_many": lambda client, context, **options: first(client.tokenize_many([DATA], context=context, **options)),
    "tokenize_many, its context": lambda client, context, **options: first(client.tokenize_many([DATA], **options)),
    "payment_details": lambda client, context, **options: client.payment_details(JTI, **options),
    "payment_credentials": lambda client, context, **options: client.payment_credentials(
        "A" * 21, private_key(RESPONSE_MLE), **options
    ),
    "request": lambda client, context, **options: client.request("GET", "/tms/v2/customers/1", **options),
}


def first(results: Any) -> None:
    """Raise the error of the first result of ``tokenize_many``."""
    (result,) = results
    raise result.error


@pytest.fixture(scope="module")
def context() -> Any:
    return TokenFactory().capture_context(FIELDS)


@pytest.mark.parametrize("name", CALLS)
def test_the_timeout_of_a_call_replaces_that_of_the_client(name: str, context: Any, client_class: Any) -> None:
    with (
        RawServer(default=lambda connection: server.release.wait(20)) as server,
        client_class(AUTH, environment=server.url, read_timeout=15, retry=RetryPolicy(attempts=1)) as client,
    ):
        with pytest.raises(errors.ResponseTimeoutError) as caught:
            CALLS[name](client, context, timeout=0.05)
        assert caught.value.attempts[-1].duration < 10


@pytest.mark.parametrize("name", CALLS)
def test_the_retry_policy_of_a_call_replaces_that_of_the_client(name: str, context: Any, client_class: Any) -> None:
    policy = RetryPolicy(attempts=3, initial_delay=0.001, max_delay=0.001, retry_unsafe=True)
    with (
        HttpServer(*[503] * 9) as server,
        client_class(AUTH, environment=server.url, retry=RetryPolicy(attempts=1)) as client,
    ):
        with pytest.raises(errors.ServerError):
            CALLS[name](client, context, retry=policy)
        assert len(server.received) == 3
