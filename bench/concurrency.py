"""Calls per second with many calls in flight, while the server takes 50 ms to respond.

Threads: 32 that share one client. The ideal is 32 / 0.05 s = 640; raw urllib3 takes turns with this SDK and shows how
much of that the server and the machine allow. Tasks: 64 in one event loop, compared with raw aiohttp and a signature
made by hand in the same loop.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import raw_urllib3
import sdk
from measure import Reading, Spread, ratio, stub_server, take_turns

from cybersource_flex import Configuration, fields
from cybersource_flex.aio import AsyncApiClient, AsyncFlexAPIApi
from cybersource_flex.models import GenerateFlexAPICaptureContextRequest

__all__ = ["measure_tasks", "measure_threads"]

THREADS, TASKS, SECONDS = 32, 64, 0.05
IDEAL = THREADS / SECONDS
# Seconds until the first calls, which begin all at once, are over; and seconds in which calls are counted.
RAMP, WINDOW = 0.2, 1.0
ROUNDS = 8


def thread_rate(pool: ThreadPoolExecutor, call: Callable[[], object]) -> float:
    completed, stop = [0] * THREADS, threading.Event()

    def worker(number: int) -> None:
        while not stop.is_set():
            call()
            completed[number] += 1

    workers = [pool.submit(worker, number) for number in range(THREADS)]
    time.sleep(RAMP)
    before, started = sum(completed), time.perf_counter()
    time.sleep(WINDOW)
    result = (sum(completed) - before) / (time.perf_counter() - started)
    stop.set()
    for future in workers:
        future.result()
    return result


def measure_threads() -> dict[str, Reading]:
    with stub_server(str(SECONDS)) as url, ThreadPoolExecutor(THREADS) as pool:
        calls = {
            "urllib3": raw_urllib3.call("JWT HS256", url, THREADS),
            "ours": sdk.call("JWT HS256", url, THREADS),
        }
        contenders = {name: lambda c=call: thread_rate(pool, c) for name, call in calls.items()}
        turns = take_turns(contenders, ROUNDS)
    part = Spread.of([value / IDEAL for value in turns["ours"]])
    ideal = Reading(part, Spread.of(turns["ours"]), Spread(IDEAL, IDEAL, IDEAL), "calls/s")
    return {"parallel.ideal": ideal, "parallel.urllib3": ratio(turns, "ours", "urllib3", "calls/s")}


Call = Callable[[], Awaitable[Any]]


def aiohttp_call(session: aiohttp.ClientSession, url: str) -> Call:
    sign = raw_urllib3.SCHEMES["JWT HS256"](url.partition("://")[2])

    async def once() -> str:
        content = raw_urllib3.body()
        headers = {**sign(content), **raw_urllib3.TYPES}
        async with session.post(
            url + raw_urllib3.PATH, data=content, headers=headers, allow_redirects=False
        ) as response:
            if response.status != 201:
                raise RuntimeError(f"status {response.status}")
            return (await response.read()).decode("ascii")

    return once


def sdk_call(client: AsyncApiClient) -> Call:
    api = AsyncFlexAPIApi(client)

    async def once() -> str:
        capture_fields = fields(card=["number", "expirationMonth", "expirationYear", "securityCode"])
        return await api.generate_flex_api_capture_context(GenerateFlexAPICaptureContextRequest(fields=capture_fields))

    return once


async def burst(call: Call) -> tuple[float, float]:
    """Calls per second, and microseconds of CPU time per call."""
    completed, stop = 0, False

    async def worker() -> None:
        nonlocal completed
        while not stop:
            await call()
            completed += 1

    gc.collect()
    gc.disable()
    workers = asyncio.gather(*(worker() for _ in range(TASKS)))
    await asyncio.sleep(RAMP)
    before, started, cpu = completed, time.perf_counter(), time.process_time()
    await asyncio.sleep(WINDOW)
    count = completed - before
    result = count / (time.perf_counter() - started), (time.process_time() - cpu) / count * 1e6
    stop = True
    await workers
    gc.enable()
    return result


async def alternate_bursts(url: str) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    rates: dict[str, list[float]] = {"aiohttp": [], "ours": []}
    cpus: dict[str, list[float]] = {"aiohttp": [], "ours": []}
    configuration = Configuration(host=url, auth=sdk.auth("JWT HS256"), pool_size=TASKS)
    timeout = aiohttp.ClientTimeout(total=60, connect=5, sock_read=30)
    connector = aiohttp.TCPConnector(limit=TASKS)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        AsyncApiClient(configuration) as client,
    ):
        calls = {"aiohttp": aiohttp_call(session, url), "ours": sdk_call(client)}
        for number in range(ROUNDS):
            for name in list(calls)[:: 1 if number % 2 else -1]:
                rate, cpu = await burst(calls[name])
                rates[name].append(rate)
                cpus[name].append(cpu)
    return rates, cpus


def measure_tasks() -> dict[str, Reading]:
    with stub_server(str(SECONDS)) as url:
        rates, cpus = asyncio.run(alternate_bursts(url))
    return {
        "asynchronous.rate": ratio(rates, "ours", "aiohttp", "calls/s"),
        "asynchronous.cpu": ratio(cpus, "ours", "aiohttp"),
    }
