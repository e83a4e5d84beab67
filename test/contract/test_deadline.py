"""One deadline for a call that makes several requests: what is asked for, and the key that verifies it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from cybersource_flex import AsyncFlexClient, FlexClient, RetryPolicy, TransportError, errors, fields
from cybersource_flex._threads import TooManyThreadsError
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
    emulator.queue_scenarios(["latency;seconds=20"] * 5, path=KEYS)
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
    emulator.queue_scenarios(["latency;seconds=1"], path=KEYS)
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
    emulator.queue_scenarios(["404-key"], path=KEYS)
    with connect(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        with pytest.raises(errors.UnknownKeyError):
            client.create_capture_context(FIELDS, retry=RetryPolicy(deadline=5))
        assert client.create_capture_context(FIELDS, retry=RetryPolicy(deadline=5)).jti


def test_without_a_thread_to_fetch_a_key_in_the_next_call_works(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any) -> Any:
        raise TooManyThreadsError("the system allows no further thread")

    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        with monkeypatch.context() as patch:
            patch.setattr("cybersource_flex.jose.key_cache.start_in_thread", refuse)
            with pytest.raises(errors.ConnectionFailedError, match="no thread could be started") as caught:
                client.create_capture_context(FIELDS)
        assert caught.value.outcome == "not_sent"
        assert client.create_capture_context(FIELDS).jti


def test_a_failed_fetch_does_not_touch_what_its_callers_do_next(emulator: Emulator) -> None:
    """Callers that handle the failure in a generator go on, however many threads got the same failure."""
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        jwt = client.create_capture_context(FIELDS).jwt
    ready = threading.Barrier(20)

    def handle(client: FlexClient) -> Iterator[str]:
        try:
            client.verify_capture_context(jwt)
        except errors.FlexError as error:
            yield type(error).__name__
            yield "second"

    def work(client: FlexClient) -> list[str]:
        steps = handle(client)
        ready.wait()
        first = next(steps)
        ready.wait()
        return [first, *steps]

    emulator.queue_scenarios(["status-500"] * 40, path=KEYS)
    options = {"environment": emulator.url, "retry": RetryPolicy(attempts=1)}
    with FlexClient(None, **options) as client, ThreadPoolExecutor(20) as pool:  # type: ignore[arg-type]
        outcomes = [each.result() for each in [pool.submit(work, client) for _ in range(20)]]
    assert all(len(each) == 2 and each[1] == "second" for each in outcomes)


def test_a_late_event_loop_returns_the_key_that_arrived(emulator: Emulator) -> None:
    async def main() -> None:
        async with AsyncFlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
            fetch = client._fetch_key

            async def blocking(kid: str) -> Any:
                jwk = await fetch(kid)
                # The event loop is held up until the deadline of the call has passed.
                until = time.monotonic() + 0.6
                while time.monotonic() < until:
                    pass
                return jwk

            client._cached_keys._fetch = blocking
            assert (await client.create_capture_context(FIELDS, retry=RetryPolicy(deadline=0.5))).jti

    asyncio.run(main())


def test_a_fetch_that_was_cancelled_is_no_unknown_key(emulator: Emulator) -> None:
    async def main() -> None:
        client = AsyncFlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url)
        jwt = (await client.create_capture_context(FIELDS)).jwt
        await client.close()
        other = AsyncFlexClient(None, environment=emulator.url)
        emulator.queue_scenarios(["latency;seconds=20"], path=KEYS)
        call = asyncio.create_task(other.verify_capture_context(jwt))
        while sum("/public-keys/" in each.target for each in emulator.requests) != 2:
            await asyncio.sleep(0)
        await other.close()
        with pytest.raises(errors.ResponseTimeoutError):
            await call
        assert (await other.verify_capture_context(jwt)).jti
        await other.close()

    asyncio.run(main())
