"""A call returns the response to its own request or raises an error. It never returns the response to another request.

Thousands of random plans (see ``support/response_plans.py``) decide which valid and invalid bytes the server sends. A
plan depends only on the tag of its request, so the seed in the name of a failing test repeats the same plans.
``PLAN=<tag>`` in the environment prints a plan.

The plans contain no unsolicited response that arrives after the client sent its next request on that connection. In
HTTP/1.1, a client cannot distinguish it from the response to that request. Late bytes are therefore sent between two
rounds, when no call is in progress.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cybersource_flex import ApiResponse
from cybersource_flex.transport import AsyncTransport, Configuration, Transport
from support.certificates import CertificateAuthority
from support.plan_server import (
    CONCURRENCY,
    MAX_SECONDS,
    Outcome,
    Server,
    async_call,
    call,
    configuration_for,
    find_error,
)
from support.response_plans import KINDS, Plan, Verdict, plan_of

# The number of plans for each transport, and for each test.
TOTAL, PLANS_PER_TEST = 10_000, 500
# The number of calls that each worker makes before the server sends the late bytes.
CALLS_PER_ROUND = 3


def check(plans: list[Plan], outcomes: list[Outcome], received: set[str], seed: int, strict: bool = True) -> int:
    """Fail if an outcome is not as expected. Returns the number of requests that the server did not receive."""
    failures = [
        f"{error}\n{plan}\n"
        for plan, outcome in zip(plans, outcomes, strict=True)
        if (error := find_error(plan, outcome, plan.tag in received, strict)) is not None
    ]
    if failures:
        pytest.fail(f"seed {seed}, {len(failures)} of {len(plans)} calls:\n\n" + "\n".join(failures[:3]), pytrace=False)
    return sum(plan.tag not in received for plan in plans)


def check_end(plans: list[Plan], outcomes: list[Outcome], server: Server, before: int, lost: int, seed: int) -> None:
    """Check that the last calls succeeded, and that few requests were lost on closed connections."""
    check(plans, outcomes, server.received, seed)
    assert [type(each) for each in outcomes] == [ApiResponse] * len(plans)
    assert server.connections <= before + 1, "one new connection is enough"
    # A request can be lost if the server closes the connection just after the client checked it. Few plans close it.
    assert lost < PLANS_PER_TEST * 0.15, "requests were sent on closed connections"


def rounds(seed: int, total: int) -> Iterator[list[Plan]]:
    tags = [f"T{seed}N{number}E" for number in range(total)]
    size = CONCURRENCY * CALLS_PER_ROUND
    for begin in range(0, total, size):
        yield [plan_of(tag) for tag in tags[begin : begin + size]]


def simple_plan(tag: str) -> Plan:
    """A valid response that is always the same, except for the tag."""
    body = json.dumps({"tag": tag}).encode()
    first = f"HTTP/1.1 200 OK\r\nX-Tag: {tag}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return Plan("simple", tag, Verdict.RESPONSE, [first + body], 200, body)


def in_threads(server: Server, configuration: Configuration, seed: int, total: int) -> None:
    with Transport(configuration) as transport, ThreadPoolExecutor(CONCURRENCY) as workers:

        def work(plans: list[Plan]) -> list[Outcome]:
            return [call(transport, configuration, plan) for plan in plans]

        lost = 0
        for plans in rounds(seed, total):
            parts = [plans[begin::CONCURRENCY] for begin in range(CONCURRENCY)]
            outcomes = [each for part in workers.map(work, parts) for each in part]
            lost += check([each for part in parts for each in part], outcomes, server.received, seed)
            server.send_late().result(MAX_SECONDS)
        server.plan, before = simple_plan, server.connections
        plans = [simple_plan(f"T{seed}N{number}E") for number in range(total, total + 10)]
        check_end(plans, work(plans), server, before, lost, seed)


async def in_tasks(server: Server, configuration: Configuration, seed: int, total: int) -> None:
    async with AsyncTransport(configuration) as transport:

        async def work(plans: list[Plan]) -> list[Outcome]:
            return [await async_call(transport, configuration, plan) for plan in plans]

        lost = 0
        for number, plans in enumerate(rounds(seed, total)):
            parts = [plans[begin::CONCURRENCY] for begin in range(CONCURRENCY)]
            outcomes = [each for part in await asyncio.gather(*map(work, parts)) for each in part]
            lost += check([each for part in parts for each in part], outcomes, server.received, seed, strict=False)
            late = server.send_late()
            if number % 2:
                # The event loop runs while the late bytes arrive.
                await asyncio.wrap_future(late)
            else:
                # The event loop is blocked, and has not read the late bytes when the next call starts.
                late.result(MAX_SECONDS)
        server.plan, before = simple_plan, server.connections
        plans = [simple_plan(f"T{seed}N{number}E") for number in range(total, total + 10)]
        check_end(plans, await work(plans), server, before, lost, seed)


@pytest.mark.parametrize("seed", range(TOTAL // PLANS_PER_TEST))
def test_threads_get_the_responses_to_their_requests(seed: int) -> None:
    with Server() as server:
        in_threads(server, configuration_for(server), seed, PLANS_PER_TEST)


@pytest.mark.parametrize("seed", range(TOTAL // PLANS_PER_TEST))
def test_tasks_get_the_responses_to_their_requests(seed: int) -> None:
    with Server() as server:
        asyncio.run(in_tasks(server, configuration_for(server), seed, PLANS_PER_TEST))


@pytest.mark.parametrize("seed", range(1000, 1003))
def test_threads_get_the_responses_to_their_requests_with_tls(seed: int, authority: CertificateAuthority) -> None:
    with Server(authority.server_context()) as server:
        in_threads(server, configuration_for(server, authority.file), seed, PLANS_PER_TEST)


@pytest.mark.parametrize("seed", range(1000, 1003))
def test_tasks_get_the_responses_to_their_requests_with_tls(seed: int, authority: CertificateAuthority) -> None:
    with Server(authority.server_context()) as server:
        asyncio.run(in_tasks(server, configuration_for(server, authority.file), seed, PLANS_PER_TEST))


def test_plans_are_of_every_kind_and_reproducible() -> None:
    plans = [plan for seed in range(TOTAL // PLANS_PER_TEST) for part in rounds(seed, PLANS_PER_TEST) for plan in part]
    assert len(plans) == TOTAL
    names = {plan.name for plan in plans}
    assert len(names) == len(KINDS)
    for verdict in Verdict:
        assert sum(plan.verdict is verdict for plan in plans) > TOTAL // 20
    # Few plans wait for a timeout.
    assert 10 < sum(plan.waits for plan in plans) < TOTAL // 50
    tag = os.environ.get("PLAN")
    assert [str(plan) for plan in plans[:50]] == [str(plan_of(plan.tag)) for plan in plans[:50]]
    if tag:
        pytest.fail(str(plan_of(tag)), pytrace=False)
