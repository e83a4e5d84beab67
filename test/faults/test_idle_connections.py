"""Connections that something on the way has forgotten: no FIN, no RST, and what is sent on them is lost.

NAT devices and load balancers do that to idle connections. A frozen process keeps its connections while the rest of the
world forgets them. A client must not send a request on such a connection, least of all one that cannot be repeated.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cybersource_flex import CaptureContext, FlexClient, RetryPolicy, Tls, errors, fields
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.emulator import Emulator

FIELDS = fields(card=["number"])
CARD = {"card": {"number": "4111111111111111"}}
ONCE = RetryPolicy(attempts=1, deadline=10.0)
# Seconds. A connection that is used after it was forgotten costs the read timeout.
READ, QUICK = 1.0, 0.8

Connect = Callable[..., Any]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def client_of(emulator: Emulator, connect: type[FlexClient]) -> Iterator[Connect]:
    """Makes clients whose calls are made once, and fail after a second without a response."""
    emulator.reset_faults()
    auth = JwtSharedSecret(**emulator.auth)
    yield lambda **options: connect(auth, environment=emulator.url, retry=ONCE, read_timeout=READ, **options)
    emulator.reset_faults()


def context_of(client: FlexClient, emulator: Emulator, forgets_after: float) -> CaptureContext:
    """A context, got on a connection that is forgotten when it was idle for so long."""
    client.create_capture_context(FIELDS)  # the long-term key is known from here on
    emulator.scenario = f"forget-idle;seconds={forgets_after}"
    context = client.create_capture_context(FIELDS)
    emulator.reset_faults()
    return context


def tokenizes(client: FlexClient, context: CaptureContext) -> None:
    """A call that cannot be repeated succeeds, without waiting for a timeout."""
    began = time.monotonic()
    assert client.tokenize(context, CARD).masked_number == "XXXXXXXXXXXX1111"
    assert time.monotonic() - began < QUICK


def test_a_connection_is_not_used_after_its_idle_timeout(client_of: Connect, emulator: Emulator) -> None:
    with client_of(idle_timeout=0.1) as client:
        context = context_of(client, emulator, 0.2)
        # To be idle is what is tested.
        time.sleep(0.3)
        tokenizes(client, context)


def test_without_that_the_call_is_lost(client_of: Connect, emulator: Emulator) -> None:
    """What the other tests of this file avoid does happen."""
    with client_of(idle_timeout=60.0) as client:
        context = context_of(client, emulator, 0)
        with pytest.raises(errors.ResponseTimeoutError) as caught:
            client.tokenize(context, CARD)
        assert (caught.value.outcome, caught.value.safe_to_retry) == ("unknown", False)
        # The next one works: a connection on which a response did not come is not used again.
        tokenizes(client, client.create_capture_context(FIELDS))


def test_the_idle_timeout_is_15_seconds_and_frozen_time_counts(
    client_of: Connect, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A process that was frozen finds that the wall clock went on, and that may be all it finds.
    now = time.time
    with client_of() as client:
        context = context_of(client, emulator, 0)
        monkeypatch.setattr(time, "time", lambda: now() + 15.5)
        tokenizes(client, context)
    monkeypatch.undo()
    with client_of() as client:
        context = context_of(client, emulator, 0)
        monkeypatch.setattr(time, "time", lambda: now() + 5)
        with pytest.raises(errors.ResponseTimeoutError):
            client.tokenize(context, CARD)


@pytest.mark.parametrize("step", [-3600, -20])
def test_a_clock_that_is_set_back_keeps_no_connection(
    step: float, client_of: Connect, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    with client_of(idle_timeout=0.1) as client:
        context = context_of(client, emulator, 0.2)
        monkeypatch.setattr(time, "time", lambda: now() + step)
        time.sleep(0.3)
        tokenizes(client, context)


def test_all_idle_connections_are_replaced(client_of: Connect, emulator: Emulator) -> None:
    with client_of(idle_timeout=0.1) as client, ThreadPoolExecutor(6) as threads:
        contexts = [context_of(client, emulator, 0.2)]
        # Each waits for its response, so that each has a connection to itself.
        emulator.queue_scenarios(["latency;seconds=0.1"] * 6)
        contexts = list(threads.map(lambda _: client.create_capture_context(FIELDS), range(6)))
        emulator.scenario = "forget-idle;seconds=0.2"
        contexts = list(threads.map(lambda _: client.create_capture_context(FIELDS), range(6)))
        emulator.reset_faults()
        time.sleep(0.3)
        emulator.queue_scenarios(["latency;seconds=0.1"] * 6)
        tokens = list(threads.map(lambda context: client.tokenize(context, CARD), contexts))
        assert [token.masked_number for token in tokens] == ["XXXXXXXXXXXX1111"] * 6


def test_a_connection_in_use_is_not_idle(client_of: Connect, emulator: Emulator) -> None:
    with client_of(idle_timeout=0.05) as client:
        context = client.create_capture_context(FIELDS)
        emulator.queue_scenarios(["latency;seconds=0.3"] * 2)
        tokenizes(client, context)
        assert client.create_capture_context(FIELDS)


def test_the_environment_names_the_idle_timeout(emulator: Emulator, connect: Any) -> None:
    emulator.reset_faults()
    variables = {**emulator.environ, "CYBERSOURCE_IDLE_TIMEOUT": "0.1", "CYBERSOURCE_READ_TIMEOUT": str(READ)}
    with connect.from_env(variables, retry=ONCE) as client:
        context = context_of(client, emulator, 0.2)
        time.sleep(0.3)
        tokenizes(client, context)


def test_the_idle_timeout_holds_for_tls(connect: type[FlexClient], tmp_path: Path) -> None:
    with Emulator(tls=True, key_pool=1) as emulator:
        file = tmp_path / "ca.pem"
        emulator.write_ca(file)
        auth, tls = JwtSharedSecret(**emulator.auth), Tls(ca_file=file)
        with connect(
            auth, environment=emulator.url, tls=tls, retry=ONCE, read_timeout=READ, idle_timeout=0.1
        ) as client:
            context = context_of(client, emulator, 0.2)
            time.sleep(0.3)
            tokenizes(client, context)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NOT TESTED: the timers of sockets are shown on Linux")
def test_idle_connections_have_tcp_keep_alive(client_of: Connect, emulator: Emulator) -> None:
    port = int(emulator.url.rpartition(":")[2])
    with client_of() as client:
        assert client.create_capture_context(FIELDS)
        # Columns: number, local and remote address, state (01: established), queues, active timer (02: keep-alive).
        rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
        mine = [row for row in rows if row[2] == f"0100007F:{port:04X}" and row[3] == "01"]
        assert mine
        assert all(row[5].startswith("02:") for row in mine)
