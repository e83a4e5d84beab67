"""Idle connections that a NAT device or load balancer dropped without FIN or RST: data that is sent on them is lost.

Connections of a suspended process are dropped too. A client must not send a request on a dropped connection, least of
all a request that cannot be repeated.
"""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cybersource_flex import CaptureContext, FlexClient, RetryPolicy, Tls, errors, fields
from cybersource_flex._runtime.monotonic import monotonic
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.emulator import Emulator
from support.servers import OK, RawServer

FIELDS = fields(card=["number"])
CARD = {"card": {"number": "4111111111111111"}}
ONCE = RetryPolicy(attempts=1, deadline=10.0)
# Seconds. A call on a dropped connection takes as long as the read timeout.
READ_TIMEOUT, MAX_SECONDS = 1.0, 0.8

MakeClient = Callable[..., Any]


@pytest.fixture
def make_client(emulator: Emulator, client_class: type[FlexClient]) -> Iterator[MakeClient]:
    """Makes clients that do not retry, with a read timeout of one second."""
    emulator.reset_faults()
    auth = JwtSharedSecret(**emulator.auth)
    yield lambda **options: client_class(
        auth, environment=emulator.url, retry=ONCE, read_timeout=READ_TIMEOUT, **options
    )
    emulator.reset_faults()


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Advances the monotonic clocks of the transports and of aiohttp's connector, but not that of the emulator."""

    def advance(seconds: float) -> None:
        for name, module in list(sys.modules.items()):
            if name.startswith("cybersource_flex.transport") and hasattr(module, "monotonic"):
                monkeypatch.setattr(module, "monotonic", lambda: monotonic() + seconds)
        monkeypatch.setattr("aiohttp.connector.monotonic", lambda: monotonic() + seconds)

    return advance


def create_context(client: FlexClient, emulator: Emulator) -> CaptureContext:
    """Create a context on a connection that is dropped right afterwards."""
    client.create_capture_context(FIELDS)  # fetches the long-term key
    emulator.scenario = "forget-idle;seconds=0"
    context = client.create_capture_context(FIELDS)
    emulator.reset_faults()
    return context


def assert_tokenizes(client: FlexClient, context: CaptureContext) -> None:
    """Make a call that cannot be repeated. It succeeds without waiting for a timeout."""
    started = time.monotonic()
    assert client.tokenize(context, CARD).masked_number == "XXXXXXXXXXXX1111"
    assert time.monotonic() - started < MAX_SECONDS


def test_connections_are_not_used_after_the_idle_timeout(
    make_client: MakeClient, emulator: Emulator, advance: Callable[[float], None]
) -> None:
    with make_client(idle_timeout=60.0) as client:
        context = create_context(client, emulator)
        advance(60.5)
        assert_tokenizes(client, context)


def test_a_call_on_a_dropped_connection_times_out(make_client: MakeClient, emulator: Emulator) -> None:
    """This shows that the other tests would fail without the idle timeout."""
    with make_client(idle_timeout=60.0) as client:
        context = create_context(client, emulator)
        with pytest.raises(errors.ResponseTimeoutError) as caught:
            client.tokenize(context, CARD)
        assert (caught.value.outcome, caught.value.safe_to_retry) == ("unknown", False)
        # The next call succeeds, because a connection without a response is closed.
        assert_tokenizes(client, client.create_capture_context(FIELDS))


def test_the_idle_timeout_is_15_seconds_of_wall_clock_time(
    make_client: MakeClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # While a process is suspended, the monotonic clock may stop, but the wall clock goes on.
    now = time.time
    with make_client() as client:
        context = create_context(client, emulator)
        monkeypatch.setattr(time, "time", lambda: now() + 15.5)
        assert_tokenizes(client, context)
    monkeypatch.undo()
    with make_client() as client:
        context = create_context(client, emulator)
        monkeypatch.setattr(time, "time", lambda: now() + 5)
        with pytest.raises(errors.ResponseTimeoutError):
            client.tokenize(context, CARD)


@pytest.mark.parametrize("step", [-3600, -20])
def test_setting_the_clock_back_does_not_extend_the_idle_timeout(
    step: float,
    make_client: MakeClient,
    emulator: Emulator,
    advance: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.time
    with make_client(idle_timeout=60.0) as client:
        context = create_context(client, emulator)
        monkeypatch.setattr(time, "time", lambda: now() + step)
        advance(60.5)
        assert_tokenizes(client, context)


@pytest.mark.parametrize(
    ("keep_alive", "seconds", "reused"),
    [
        ("timeout=5, max=100", 3.5, True),
        ("timeout=5, max=100", 4.5, False),
        ("max=100,Timeout = 5", 4.5, False),
        ('timeout="5"', 4.5, False),
        ("timeout=0", 0.0, False),
        ("timeout=1", 0.5, False),
        ("timeout=3600", 14.0, True),
        ("timeout=3600", 15.5, False),
        ("timeout=soon", 14.0, True),
        ("xtimeout=5", 14.0, True),
        ("", 14.0, True),
    ],
)
def test_connections_are_not_used_shortly_before_the_server_closes_them(
    keep_alive: str, seconds: float, reused: bool, client_class: type[FlexClient], advance: Callable[[float], None]
) -> None:
    response = f"HTTP/1.1 200 OK\r\nKeep-Alive: {keep_alive}\r\nContent-Length: 2\r\n\r\n{{}}".encode("ascii")
    auth = JwtSharedSecret("merchant", "08c94330-f618-42a3-b09d-e1e43be5efda", base64.b64encode(bytes(32)).decode())
    # Only the last response counts.
    with (
        RawServer(response, OK, response, default=OK) as server,
        client_class(auth, environment=server.url, idle_timeout=15.0) as client,
    ):
        client.request("GET", "/v2/data")
        if reused:
            client.request("GET", "/v2/data")
            client.request("GET", "/v2/data")
        advance(seconds)
        client.request("GET", "/v2/data")
        assert (len(set(server.connections)) == 1) == reused


def test_all_expired_connections_are_replaced(
    make_client: MakeClient, emulator: Emulator, advance: Callable[[float], None], opened_connections: list[object]
) -> None:
    with make_client(idle_timeout=60.0) as client, ThreadPoolExecutor(6) as threads:
        context = client.create_capture_context(FIELDS)
        # The delayed responses make each call use its own connection.
        emulator.queue_scenarios(["latency;seconds=0.1"] * 6)
        list(threads.map(lambda _: client.create_capture_context(FIELDS), range(6)))
        assert len(opened_connections) == 6
        advance(60.5)
        emulator.queue_scenarios(["latency;seconds=0.1"] * 6)
        tokens = list(threads.map(lambda _: client.tokenize(context, CARD), range(6)))
        assert [token.masked_number for token in tokens] == ["XXXXXXXXXXXX1111"] * 6
        assert len(opened_connections) == 12


def test_connections_in_use_are_not_idle(make_client: MakeClient, emulator: Emulator) -> None:
    with make_client(idle_timeout=0.05) as client:
        context = client.create_capture_context(FIELDS)
        emulator.queue_scenarios(["latency;seconds=0.3"] * 2)
        assert_tokenizes(client, context)
        assert client.create_capture_context(FIELDS)


def test_the_idle_timeout_from_the_environment(
    emulator: Emulator, client_class: Any, advance: Callable[[float], None]
) -> None:
    emulator.reset_faults()
    variables = {**emulator.environ, "CYBERSOURCE_IDLE_TIMEOUT": "7", "CYBERSOURCE_READ_TIMEOUT": str(READ_TIMEOUT)}
    with client_class.from_env(variables, retry=ONCE) as client:
        context = create_context(client, emulator)
        advance(7.5)
        assert_tokenizes(client, context)


def test_the_idle_timeout_applies_to_tls(
    client_class: type[FlexClient], tmp_path: Path, advance: Callable[[float], None]
) -> None:
    with Emulator(tls=True, key_pool=1) as emulator:
        file = tmp_path / "ca.pem"
        emulator.write_ca(file)
        auth, tls = JwtSharedSecret(**emulator.auth), Tls(ca_file=file)
        with client_class(
            auth, environment=emulator.url, tls=tls, retry=ONCE, read_timeout=READ_TIMEOUT, idle_timeout=60.0
        ) as client:
            context = create_context(client, emulator)
            advance(60.5)
            assert_tokenizes(client, context)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NOT TESTED: the timers of sockets are shown on Linux")
def test_idle_connections_have_tcp_keep_alive(make_client: MakeClient, emulator: Emulator) -> None:
    port = int(emulator.url.rpartition(":")[2])
    with make_client() as client:
        assert client.create_capture_context(FIELDS)
        # Columns: number, local and remote address, state (01: established), queues, active timer (02: keep-alive).
        rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
        mine = [row for row in rows if row[2] == f"0100007F:{port:04X}" and row[3] == "01"]
        assert mine
        assert all(row[5].startswith("02:") for row in mine)
