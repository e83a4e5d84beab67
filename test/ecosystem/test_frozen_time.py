"""freezegun and time-machine: client and emulator see the frozen time, and all waits end."""

from __future__ import annotations

import asyncio
import base64
import hmac
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import freezegun
import pytest
import time_machine

from cybersource_flex import AsyncFlexClient, FlexClient, fields
from cybersource_flex._runtime.monotonic import monotonic
from cybersource_flex.auth import JwtExternalKey
from cybersource_flex.emulator import Emulator, Merchant
from cybersource_flex.errors import ConnectionTimeoutError, ExpiredTokenError, ResponseTimeoutError
from cybersource_flex.testing import AsyncCheckoutPage, CheckoutFailed, CheckoutPage
from cybersource_flex.transport import RetryPolicy

REQUEST = fields(card=["number", "expirationMonth", "expirationYear"])
CARD = {"card": {"number": "4111111111111111", "expirationMonth": "12", "expirationYear": "2039"}}

# Each stops the time at this moment.
FREEZERS: dict[str, Callable[[datetime], AbstractContextManager[Any]]] = {
    "freezegun": lambda moment: freezegun.freeze_time(moment, tick=False),
    "freezegun, ticking": lambda moment: freezegun.freeze_time(moment, tick=True),
    "freezegun, real asyncio": lambda moment: freezegun.freeze_time(moment, real_asyncio=True),
    "time-machine": lambda moment: time_machine.travel(moment, tick=False),
}
PAST, FUTURE = datetime(2021, 3, 4, 5, 6, 7, tzinfo=UTC), datetime(2033, 3, 4, 5, 6, 7, tzinfo=UTC)
ONCE = RetryPolicy(attempts=1)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """Started in real time, as a fixture for the whole run is."""
    with Emulator(key_pool=1) as running:
        yield running


@pytest.fixture(params=FREEZERS)
def freeze(request: pytest.FixtureRequest) -> Callable[[datetime], AbstractContextManager[Any]]:
    return FREEZERS[request.param]


def pay(client: Any) -> Any:
    token = client.tokenize(client.create_capture_context(REQUEST), CARD)
    assert client.payment_details(token)
    return token


@pytest.mark.parametrize("moment", [PAST, FUTURE])
def test_a_payment(freeze: Any, moment: datetime, emulator: Emulator, client_class: Any) -> None:
    emulator.clear()
    with freeze(moment), client_class.from_env(emulator.environ) as client:
        token = pay(client)
        assert abs(token.claims["iat"] - moment.timestamp()) < 5
    assert [record.rejection_reason for record in emulator.requests] == [None] * 4
    assert all(abs(record.received_at - moment.timestamp()) < 5 for record in emulator.requests)


def test_a_client_that_lives_longer_than_the_frozen_time(freeze: Any, emulator: Emulator, client_class: Any) -> None:
    with client_class.from_env(emulator.environ) as client:
        for moment in (FUTURE, PAST, FUTURE):
            pay(client)
            with freeze(moment):
                pay(client)
        pay(client)


@pytest.mark.parametrize(
    "options", [{}, {"tls": True, "client_certificates": "required", "merchants": [Merchant("m1")]}]
)
def test_the_emulator_starts_and_stops_in_frozen_time(freeze: Any, options: dict[str, Any], client_class: Any) -> None:
    # urllib3 warns of TLS before 2025.
    with freeze(FUTURE):
        emulator = Emulator(key_pool=1, **options)
        for _ in range(2):
            emulator.start()
            with client_class.from_env(emulator.environ) as client:
                pay(client)
            started = monotonic()
            emulator.stop()
            assert monotonic() - started < 4


@pytest.mark.parametrize("tool", ["freezegun", "time-machine"])
def test_both_see_the_time_that_a_test_moves(tool: str, emulator: Emulator, client_class: Any) -> None:
    with FREEZERS[tool](PAST) as frozen, client_class.from_env(emulator.environ) as client:
        context = client.create_capture_context(REQUEST)
        token = client.tokenize(context, CARD)
        frozen.move_to(datetime(2021, 3, 4, 6, tzinfo=UTC))
        with pytest.raises(ExpiredTokenError):
            client.verify_transient_token(token.jwt, context)
        with pytest.raises(ExpiredTokenError):
            client.tokenize(context, CARD)
        pay(client)


def test_waits_end(freeze: Any, emulator: Emulator, client_class: Any) -> None:
    with freeze(PAST):
        for scenario, options in (
            ("latency;seconds=60", {"read_timeout": 0.2}),
            ("latency;seconds=60", {"retry": RetryPolicy(attempts=1, deadline=0.3)}),
            ("slow-drip;interval=0.1", {"retry": RetryPolicy(attempts=1, deadline=0.3)}),
        ):
            emulator.queue_scenarios([scenario])
            started = monotonic()
            with (
                client_class.from_env(emulator.environ, **{"retry": ONCE, **options}) as impatient,
                pytest.raises(ResponseTimeoutError),
            ):
                impatient.create_capture_context(REQUEST)
            assert monotonic() - started < 5
        emulator.queue_scenarios(["status-503", "latency;seconds=0.1", "status-503"])
        with client_class.from_env(emulator.environ, retry=RetryPolicy(attempts=3, initial_delay=0.05)) as patient:
            assert patient.create_capture_context(REQUEST)
            assert patient.create_capture_context(REQUEST)


def test_a_wait_for_a_connection_ends(freeze: Any, emulator: Emulator) -> None:
    async def run() -> None:
        policy = RetryPolicy(attempts=1, deadline=0.3)
        async with AsyncFlexClient.from_env(emulator.environ, pool_size=1, retry=policy) as client:
            # For each of the calls: the deadline of the first may leave the connection to another one in time.
            emulator.queue_scenarios(["latency;seconds=60"] * 3)
            results = await asyncio.gather(
                *(client.create_capture_context(REQUEST) for _ in range(3)), return_exceptions=True
            )
            emulator.reset_faults()
            assert all(isinstance(result, (ResponseTimeoutError, ConnectionTimeoutError)) for result in results)

    with freeze(PAST):
        started = monotonic()
        asyncio.run(run())
        assert monotonic() - started < 5


def test_a_signer_that_runs_in_a_thread(freeze: Any, emulator: Emulator, client_class: Any) -> None:
    auth = emulator.auth
    secret = base64.b64decode(auth["secret_key"])
    signer = JwtExternalKey(
        auth["merchant_id"], auth["key_id"], lambda data: hmac.digest(secret, data, "sha256"), algorithm="HS256"
    )
    with freeze(PAST), client_class(signer, environment=emulator.url, retry=ONCE) as client:
        pay(client)


def test_many_cards(freeze: Any, emulator: Emulator) -> None:
    with freeze(PAST), FlexClient.from_env(emulator.environ) as client:
        assert [result.error for result in client.tokenize_many([CARD] * 4, concurrency=2)] == [None] * 4


def test_issued_certificates_are_of_the_frozen_time(freeze: Any) -> None:
    with freeze(FUTURE), Emulator(key_pool=1, merchants=[Merchant("m1")]) as emulator:
        assert emulator.environ["CYBERSOURCE_AUTH"] == "jwt_p12"
        with FlexClient.from_env(emulator.environ) as client:
            pay(client)
            assert client.api_client.configuration.auth.expires_at > FUTURE


def test_the_clock_is_real_when_it_is_imported_in_frozen_time() -> None:
    code = """
import freezegun, time
with freezegun.freeze_time("2021-03-04", tick=False):
    from cybersource_flex._runtime.monotonic import is_clock_patched, monotonic
    started, frozen = monotonic(), time.monotonic()
    while monotonic() - started < 0.001:
        pass
    assert time.monotonic() == frozen
    assert is_clock_patched()
assert abs(monotonic() - time.monotonic()) < 1
assert not is_clock_patched()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class SilentPage:
    """A page of Playwright's sync API whose button does nothing."""

    def expose_binding(self, *_: object) -> None:
        """Do nothing."""

    add_init_script = click = wait_for_timeout = expose_binding

    def locator(self, _: str) -> SilentPage:
        return self


class AsyncSilentPage(SilentPage):
    """The same for the async API."""

    async def expose_binding(self, *_: object) -> None:  # type: ignore[override]
        """Do nothing."""

    add_init_script = click = expose_binding  # type: ignore[assignment]


def test_the_wait_for_a_transient_token_ends(freeze: Any) -> None:
    async def submit() -> str:
        return await (await AsyncCheckoutPage.attach(AsyncSilentPage())).submit("#pay", timeout=10)

    with freeze(PAST):
        with pytest.raises(CheckoutFailed, match="no result"):
            CheckoutPage(SilentPage()).submit("#pay", timeout=10)
        with pytest.raises(CheckoutFailed, match="no result"):
            asyncio.run(submit())
