"""One deadline applies to all requests of a call, including the fetch of a public key."""

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
from cybersource_flex._runtime.threads import TooManyThreadsError
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.emulator import Emulator

FIELDS = fields(card=["number"])
KEYS = "/flex/v2/public-keys/*"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.mark.parametrize("verb", ["capture context", "microform context"])
def test_a_slow_key_ends_the_call_at_its_deadline(
    verb: str, emulator: Emulator, client_class: type[FlexClient]
) -> None:
    emulator.queue_scenarios(["latency;seconds=20"] * 5, path=KEYS)
    policy = RetryPolicy(deadline=0.3)
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
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


def test_callers_with_different_deadlines_share_a_key_fetch(emulator: Emulator, client_class: type[FlexClient]) -> None:
    emulator.queue_scenarios(["latency;seconds=1"], path=KEYS)
    with (
        client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client,
        ThreadPoolExecutor(2) as pool,
    ):

        def key_is_requested() -> bool:
            return any("/public-keys/" in request.target for request in emulator.requests)

        # On a busy machine, the deadline may end a call before it needs the key.
        for _ in range(20):
            with_deadline = pool.submit(client.create_capture_context, FIELDS, retry=RetryPolicy(deadline=0.3))
            while not key_is_requested() and not with_deadline.done():
                threading.Event().wait(0.001)
            if key_is_requested():
                break
        without_deadline = pool.submit(client.create_capture_context, FIELDS)
        with pytest.raises(errors.ResponseTimeoutError, match="before the deadline of the call"):
            with_deadline.result()
        assert without_deadline.result().jti
        # Both calls and the next one use the same fetched key.
        assert client.create_capture_context(FIELDS, retry=RetryPolicy(deadline=5)).jti
        assert sum("/public-keys/" in request.target for request in emulator.requests) == 1


def test_the_next_call_fetches_the_key_after_a_failed_fetch(emulator: Emulator, client_class: type[FlexClient]) -> None:
    emulator.queue_scenarios(["404-key"], path=KEYS)
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        with pytest.raises(errors.UnknownKeyError):
            client.create_capture_context(FIELDS, retry=RetryPolicy(deadline=5))
        assert client.create_capture_context(FIELDS, retry=RetryPolicy(deadline=5)).jti


def test_a_key_fetch_without_a_free_thread(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_error(_: Any) -> Any:
        raise TooManyThreadsError("the system allows no further thread")

    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        with monkeypatch.context() as patch:
            patch.setattr("cybersource_flex.jose.key_cache.start_in_thread", raise_error)
            with pytest.raises(errors.ConnectionFailedError, match="no thread could be started") as caught:
                client.create_capture_context(FIELDS)
        assert caught.value.outcome == "not_sent"
        assert client.create_capture_context(FIELDS).jti


def test_a_shared_error_does_not_stop_generators_that_handle_it(emulator: Emulator) -> None:
    """Clearing the error's frames in one thread must not close generators of other threads that got the same error."""
    with FlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        jwt = client.create_capture_context(FIELDS).jwt
    barrier = threading.Barrier(20)

    def handle(client: FlexClient) -> Iterator[str]:
        try:
            client.verify_capture_context(jwt)
        except errors.FlexError as error:
            yield type(error).__name__
            yield "second"

    def work(client: FlexClient) -> list[str]:
        steps = handle(client)
        barrier.wait()
        first = next(steps)
        barrier.wait()
        return [first, *steps]

    emulator.queue_scenarios(["status-500"] * 40, path=KEYS)
    options = {"environment": emulator.url, "retry": RetryPolicy(attempts=1)}
    with FlexClient(None, **options) as client, ThreadPoolExecutor(20) as pool:  # type: ignore[arg-type]
        outcomes = [each.result() for each in [pool.submit(work, client) for _ in range(20)]]
    assert all(len(each) == 2 and each[1] == "second" for each in outcomes)


def test_a_key_that_arrived_in_time_is_used_by_a_blocked_event_loop(emulator: Emulator) -> None:
    async def main() -> None:
        async with AsyncFlexClient(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
            fetch = client._fetch_key

            async def blocking(kid: str) -> Any:
                jwk = await fetch(kid)
                # Blocks the event loop until the deadline of the call has passed.
                until = time.monotonic() + 0.6
                while time.monotonic() < until:
                    pass
                return jwk

            client._cached_keys._fetch = blocking
            assert (await client.create_capture_context(FIELDS, retry=RetryPolicy(deadline=0.5))).jti

    asyncio.run(main())


def test_closing_the_client_during_a_key_fetch(emulator: Emulator) -> None:
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
