"""Calls a second, and CPU of each, with 64 in flight in one event loop, and a host that takes 50 ms to answer.

Beside it raw aiohttp with a signature made by hand, in the same loop.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import by_hand
import ours
from measure import Reading, ratio, stub

from cybersource_flex import Configuration, fields
from cybersource_flex.aio import ApiClient, FlexAPIApi
from cybersource_flex.models import GenerateFlexAPICaptureContextRequest

IN_FLIGHT, SECONDS = 64, 0.05
# Seconds until the first calls, which begin all at once, are over; and seconds in which calls are counted.
RAMP, WINDOW = 0.2, 1.0
ROUNDS = 8

Call = Callable[[], Awaitable[Any]]


def bare(session: aiohttp.ClientSession, url: str) -> Call:
    sign = by_hand.SCHEMES["JWT HS256"](url.partition("://")[2])

    async def once() -> str:
        content = by_hand.body()
        headers = {**sign(content), **by_hand.TYPES}
        async with session.post(url + by_hand.PATH, data=content, headers=headers, allow_redirects=False) as answer:
            if answer.status != 201:
                raise RuntimeError(f"status {answer.status}")
            return (await answer.read()).decode("ascii")

    return once


def typed(client: ApiClient) -> Call:
    api = FlexAPIApi(client)

    async def once() -> str:
        wanted = fields(card=["number", "expirationMonth", "expirationYear", "securityCode"])
        return await api.generate_flex_api_capture_context(GenerateFlexAPICaptureContextRequest(fields=wanted))

    return once


async def burst(call: Call) -> tuple[float, float]:
    """Calls a second, and microseconds of CPU of each."""
    done, over = 0, False

    async def lane() -> None:
        nonlocal done
        while not over:
            await call()
            done += 1

    gc.collect()
    gc.disable()
    lanes = asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))
    await asyncio.sleep(RAMP)
    before, started, cpu = done, time.perf_counter(), time.process_time()
    await asyncio.sleep(WINDOW)
    count = done - before
    found = count / (time.perf_counter() - started), (time.process_time() - cpu) / count * 1e6
    over = True
    await lanes
    gc.enable()
    return found


async def take_turns(url: str) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    rates: dict[str, list[float]] = {"aiohttp": [], "ours": []}
    cpus: dict[str, list[float]] = {"aiohttp": [], "ours": []}
    configuration = Configuration(host=url, auth=ours.auth("JWT HS256"), pool_size=IN_FLIGHT)
    timeout = aiohttp.ClientTimeout(total=60, connect=5, sock_read=30)
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        ApiClient(configuration) as client,
    ):
        calls = {"aiohttp": bare(session, url), "ours": typed(client)}
        for number in range(ROUNDS):
            for name in list(calls)[:: 1 if number % 2 else -1]:
                rate, cpu = await burst(calls[name])
                rates[name].append(rate)
                cpus[name].append(cpu)
    return rates, cpus


def measure() -> dict[str, Reading]:
    with stub(str(SECONDS)) as url:
        rates, cpus = asyncio.run(take_turns(url))
    return {
        "asynchronous.rate": ratio(rates, "ours", "aiohttp", "calls/s"),
        "asynchronous.cpu": ratio(cpus, "ours", "aiohttp"),
    }


if __name__ == "__main__":
    import run

    sys.exit(run.main(["asynchronous"]))
