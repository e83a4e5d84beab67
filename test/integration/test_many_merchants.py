"""``for_merchant`` and ``with_options``: clients for many merchants that share connections, and no credentials."""

from __future__ import annotations

import asyncio
import base64
import secrets
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cybersource_flex import AsyncFlexClient, ConfigurationError, EventHooks, FlexClient, RetryPolicy, errors, fields
from cybersource_flex.auth import BearerToken, HttpSignature, JwtSharedSecret, MessageLevelEncryption
from cybersource_flex.emulator import Emulator, Merchant

PORTFOLIO, META_KEY_ID = "portfolio", str(uuid.uuid4())
META_SECRET = base64.b64encode(secrets.token_bytes(32)).decode()
SHARED = [f"shop_{number}" for number in range(250)]
# Merchants with separate keys.
SEPARATE = {
    f"store_{number}": (str(uuid.uuid4()), base64.b64encode(secrets.token_bytes(32)).decode()) for number in range(250)
}
FIELDS = fields(card=["number"])


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    merchants = [Merchant(name, META_KEY_ID, META_SECRET, PORTFOLIO) for name in SHARED]
    merchants += [Merchant(name, key_id, secret) for name, (key_id, secret) in SEPARATE.items()]
    with Emulator(merchants=merchants) as running:
        yield running


@pytest.fixture(autouse=True)
def normal(emulator: Emulator) -> None:
    emulator.clear()
    emulator.reset_faults()


def meta_signer(merchant_id: str = SHARED[0]) -> JwtSharedSecret:
    return JwtSharedSecret(merchant_id, META_KEY_ID, META_SECRET, portfolio_id=PORTFOLIO)


@pytest.fixture
def parent(client_class: Any, emulator: Emulator) -> Iterator[Any]:
    with client_class(meta_signer(), environment=emulator.url, pool_size=8) as client:
        yield client


def derived(parent: Any, merchant_id: str) -> Any:
    if merchant_id in SEPARATE:
        return parent.for_merchant(auth=JwtSharedSecret(merchant_id, *SEPARATE[merchant_id]))
    return parent.for_merchant(merchant_id)


def test_requests_are_those_of_the_merchant(emulator: Emulator) -> None:
    with FlexClient(meta_signer(), environment=emulator.url) as parent:
        for merchant_id in ("shop_7", "store_9"):
            client = derived(parent, merchant_id)
            context = client.create_capture_context(FIELDS)
            token = client.tokenize(context, {"card": {"number": "4111111111111111"}})
            assert client.payment_details(token)
            assert {each.merchant_id for each in emulator.requests if each.merchant_id is not None} == {merchant_id}
            emulator.clear()
        parent.create_capture_context(FIELDS)
        assert emulator.requests[-1].merchant_id == SHARED[0]


ALL = [*SHARED, *SEPARATE]


def test_threads_send_each_request_for_its_merchant(emulator: Emulator, opened_connections: list[object]) -> None:
    with FlexClient(meta_signer(), environment=emulator.url, pool_size=8) as parent:

        def call(number: int) -> tuple[str, str]:
            merchant_id = ALL[number * 7 % len(ALL)]
            jti = f"{merchant_id}-{number:06}".replace("_", "-")
            with pytest.raises(errors.NotFoundError):
                derived(parent, merchant_id).payment_details(jti)
            return f"/flex/v2/payment-details/{jti}", merchant_id

        with ThreadPoolExecutor(64) as pool:
            expected = dict(pool.map(call, range(2 * len(ALL))))
    received = {request.target: request.merchant_id for request in emulator.requests}
    assert received == expected
    assert 1 < len(opened_connections) <= 8


def test_tasks_send_each_request_for_its_merchant(emulator: Emulator, opened_connections: list[object]) -> None:
    expected: dict[str, str] = {}

    async def main() -> None:
        limit = asyncio.Semaphore(256)
        async with AsyncFlexClient(meta_signer(), environment=emulator.url, pool_size=8) as parent:

            async def call(number: int) -> None:
                merchant_id = ALL[number * 7 % len(ALL)]
                jti = f"{merchant_id}-{number:06}".replace("_", "-")
                expected[f"/flex/v2/payment-details/{jti}"] = merchant_id
                async with limit:
                    with pytest.raises(errors.NotFoundError):
                        await derived(parent, merchant_id).payment_details(jti)

            async with asyncio.TaskGroup() as group:
                for number in range(2 * len(ALL)):
                    group.create_task(call(number))

    asyncio.run(main())
    assert {request.target: request.merchant_id for request in emulator.requests} == expected
    assert 1 < len(opened_connections) <= 8


def test_keys_are_fetched_once_for_all_merchants(parent: Any, emulator: Emulator) -> None:
    for merchant_id in ("shop_1", "shop_2", "store_3"):
        derived(parent, merchant_id).create_capture_context(FIELDS)
    assert sum("public-keys" in request.target for request in emulator.requests) == 1


def test_closing_a_derived_client_leaves_the_connections_open(parent: Any, opened_connections: list[object]) -> None:
    parent.create_capture_context(FIELDS)
    for client in (parent.for_merchant("shop_1"), parent.with_options(read_timeout=5.0)):
        client.create_capture_context(FIELDS)
        client.close()
    client.create_capture_context(FIELDS)
    assert len(opened_connections) == 1
    parent.close()
    client.create_capture_context(FIELDS)
    assert len(opened_connections) == 2


def test_the_correction_of_the_clock_is_the_host_s(client_class: Any, emulator: Emulator) -> None:
    emulator.queue_scenarios(["clock-skew;seconds=900"] * 4)
    with client_class(meta_signer(), environment=emulator.url) as parent:
        parent.for_merchant("shop_1").create_capture_context(FIELDS)
        assert parent.clock.offset == pytest.approx(900, abs=5)
        attempts = len(emulator.requests)
        parent.for_merchant("shop_2").create_capture_context(FIELDS)
        assert len(emulator.requests) == attempts + 1


def test_a_rejected_merchant_does_not_affect_the_others(parent: Any, emulator: Emulator) -> None:
    wrong = parent.for_merchant(auth=JwtSharedSecret("shop_1", META_KEY_ID, SEPARATE["store_1"][1]))
    parent.create_capture_context(FIELDS)
    with pytest.raises(errors.AuthenticationError) as caught:
        wrong.create_capture_context(FIELDS)
    # The calls that succeeded were those of another merchant, so they say nothing about this one's credentials.
    assert caught.value._facts["accepted"] == 0
    parent.create_capture_context(FIELDS)


def test_options_apply_to_the_derived_client_only(parent: Any, emulator: Emulator) -> None:
    attempts: list[Any] = []
    hooks = EventHooks(on_attempt=attempts.append)
    client = parent.with_options(
        retry=RetryPolicy(attempts=1), event_hooks=hooks, user_agent_suffix="shop/1.2", read_timeout=5.0
    )
    emulator.queue_scenarios(["status-503"])
    with pytest.raises(errors.ServerError):
        client.create_capture_context(FIELDS)
    assert len(attempts) == 1
    assert emulator.requests[-1].headers["user-agent"].endswith(" shop/1.2")
    parent.create_capture_context(FIELDS)
    assert len(attempts) == 1
    assert not emulator.requests[-1].headers["user-agent"].endswith(" shop/1.2")
    # Options of options, and merchants with options.
    assert client.with_options(user_agent_suffix=None).for_merchant("shop_3").create_capture_context(FIELDS)
    assert emulator.requests[-1].merchant_id == "shop_3"


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda client: client.for_merchant(), "exactly one of merchant_id and auth"),
        (lambda client: client.for_merchant("shop_1", auth=meta_signer()), "exactly one of merchant_id and auth"),
        (lambda client: client.for_merchant("a b"), "merchant_id contains white space"),
        (lambda client: client.for_merchant(5), "merchant_id must be a string"),
        (lambda client: client.for_merchant(auth="key"), "auth must be a signer"),
        (lambda client: client.with_options(read_timeout=0), "read_timeout must be"),
        (lambda client: client.with_options(retry=3), "retry must be of type RetryPolicy"),
    ],
)
def test_wrong_arguments(call: Any, rule: str, parent: Any) -> None:
    with pytest.raises(ConfigurationError, match=rule):
        call(parent)


def test_an_unknown_option(parent: Any) -> None:
    for name in ("pool_size", "tls", "host", "nope"):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
            parent.with_options(**{name: 1})


def test_signers_that_belong_to_one_merchant(client_class: Any, emulator: Emulator) -> None:
    own = JwtSharedSecret("store_1", *SEPARATE["store_1"])
    for auth, rule in ((own, "cannot sign for another one; expected a meta key"), (BearerToken("abc"), "BearerToken")):
        with client_class(auth, environment=emulator.url) as client, pytest.raises(ConfigurationError, match=rule):
            client.for_merchant("shop_1")
    with pytest.warns(DeprecationWarning, match="HTTP Signature"):
        meta = HttpSignature("shop_1", META_KEY_ID, META_SECRET, portfolio_id=PORTFOLIO)
    with client_class(meta, environment=emulator.url) as client:
        client.for_merchant("shop_2").create_capture_context(FIELDS)
    assert emulator.requests[0].merchant_id == "shop_2"


def test_message_level_encryption_is_never_left_out_or_shared_by_mistake(client_class: Any, emulator: Emulator) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    encryption = MessageLevelEncryption(response_key=key, response_kid="parent")
    other = MessageLevelEncryption(response_key=key, response_kid="other")
    auth = JwtSharedSecret("store_1", *SEPARATE["store_1"])
    with client_class(meta_signer(), environment=emulator.url, mle=encryption) as client:
        assert client.for_merchant("shop_1")._configuration.mle is encryption
        with pytest.raises(ConfigurationError, match="auth was passed without mle"):
            client.for_merchant(auth=auth)
        assert client.for_merchant(auth=auth, mle=other)._configuration.mle is other
        assert client.for_merchant(auth=auth, mle=None)._configuration.mle is None
