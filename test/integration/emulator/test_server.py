"""The ``Emulator`` class: start and stop, recorded requests, logs, and arguments."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import socket
import subprocess
import sys
import threading
import tracemalloc
import uuid
from pathlib import Path
from typing import Any

import pytest

import cybersource_flex.emulator
from cybersource_flex.emulator import Emulator, Merchant, RecordedRequest
from cybersource_flex.emulator.server.messages import RequestLog
from support.emulator_client import (
    CARD,
    JSON_TYPE,
    MICROFORM,
    NOW,
    OTHER_MERCHANT,
    SESSIONS,
    TIMEOUT,
    TOKENS,
    VALID_BODY,
    card_data,
    create_context,
    encrypt_data,
    error_status,
    host_of,
    merchant_of,
    microform_request,
    one_time_key,
    post,
    requested_fields,
    send,
    signature_headers,
    tokenize,
)


def test_public_names() -> None:
    assert cybersource_flex.emulator.__all__ == [
        "Emulator",
        "Merchant",
        "RecordedRequest",
        "SCENARIOS",
        "Scenario",
        "ScenarioKind",
    ]


def test_auth_and_environ(emulator: Emulator) -> None:
    assert set(emulator.auth) == {"merchant_id", "key_id", "secret_key"}
    assert str(uuid.UUID(emulator.auth["key_id"])) == emulator.auth["key_id"]
    assert emulator.environ == {
        "CYBERSOURCE_AUTH": "jwt_shared_secret",
        "CYBERSOURCE_ENVIRONMENT": emulator.url,
        "CYBERSOURCE_MERCHANT_ID": emulator.auth["merchant_id"],
        "CYBERSOURCE_KEY_ID": emulator.auth["key_id"],
        "CYBERSOURCE_SECRET_KEY": emulator.auth["secret_key"],
    }
    assert emulator.auth["secret_key"] not in repr(emulator) + repr(merchant_of(emulator))


def test_recorded_requests(emulator: Emulator) -> None:
    response = post(emulator, SESSIONS + "?a=b", requested_fields("number"))
    (record,) = emulator.requests
    assert (record.method, record.target, record.status) == ("POST", SESSIONS + "?a=b", 201)
    assert record.headers["content-type"] == JSON_TYPE
    assert ("accept", "application/jwt") in record.raw_headers
    assert (record.correlation_id, record.rejection_reason) == (response.header("v-c-correlation-id"), None)
    assert record.received_at == NOW
    assert json.loads(record.body) == requested_fields("number")
    assert "Bearer" not in repr(record)
    assert "paymentInformation" not in repr(record)
    emulator.clear()
    assert emulator.requests == []


def test_the_log_has_one_line_per_request_and_no_secrets(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "cybersource_flex.emulator"):
        created = tokenize(emulator, encrypt_data(create_context(emulator), card_data(CARD)))
        rejected = send(
            emulator,
            "POST",
            SESSIONS + "?secret=query",
            signature_headers(emulator, "POST", SESSIONS, VALID_BODY, secret=b"x" * 32),
            VALID_BODY,
        )
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.INFO and r.name.startswith("cyber")]
    assert len(lines) == 3
    assert lines[1] == f"POST {TOKENS} 201 {created.header('v-c-correlation-id')}"
    assert lines[2] == f"POST {SESSIONS} 401 {rejected.header('v-c-correlation-id')}"
    for secret in (CARD["number"], emulator.auth["secret_key"], "keyid", "eyJ", "query"):
        assert secret not in caplog.text


def test_internal_errors_are_reported_as_500(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("4111111111111111")

    monkeypatch.setattr("cybersource_flex.emulator.jose.sign_rs256", fail)
    with caplog.at_level(logging.DEBUG, "cybersource_flex.emulator"):
        session = post(emulator, SESSIONS, requested_fields("number"))
        microform = post(emulator, MICROFORM, microform_request())
    assert (session.status, microform.status) == (500, 500)
    assert set(session.json) == {"correlationId", "details", "informationLink", "message", "reason"}
    assert error_status(microform)["message"] == "Internal error"
    assert "RuntimeError" in caplog.text
    assert "4111" not in caplog.text + session.content + microform.content


def test_the_rejection_header_can_be_disabled_and_recorded_requests_are_limited() -> None:
    with Emulator(include_rejection_header=False, record_limit=2, key_pool=1) as emulator:
        responses = [send(emulator, "POST", SESSIONS, {}, VALID_BODY) for _ in range(3)]
        assert responses[0].status == 401
        assert responses[0].header("v-c-emulator-rejection") is None
        assert [record.rejection_reason for record in emulator.requests] == [
            "no credential was sent: neither Authorization nor Signature"
        ] * 2


PREFLIGHT = {
    "Origin": "https://shop.example.com",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type",
}


@pytest.mark.parametrize(("path", "method"), [(TOKENS, "POST"), ("/flex/v2/public-keys/aa", "GET")])
def test_pages_may_call_the_operations_without_credentials(emulator: Emulator, path: str, method: str) -> None:
    emulator.queue_scenarios(["status-503"])
    response = send(emulator, "OPTIONS", path, PREFLIGHT)
    assert (response.status, response.content) == (200, "")
    assert response.header("access-control-allow-origin") == "*"
    assert response.header("access-control-allow-methods") == method
    assert response.header("access-control-allow-headers") == "*"
    assert emulator.requests[-1].status == 200
    # Errors too, so that the page can read them.
    for status in (503, 404 if method == "GET" else 415):
        response = send(emulator, method, path, {"Origin": "https://shop.example.com"}, None)
        assert response.status == status
        assert response.header("access-control-allow-origin") == "*"
    assert send(emulator, method, path, {}, None).header("access-control-allow-origin") is None
    # Not a preflight request.
    assert send(emulator, "OPTIONS", path, {}).status == 405


@pytest.mark.parametrize("path", [SESSIONS, MICROFORM, "/flex/v2/payment-details/x", "/flex/v2/payment-credentials/x"])
def test_pages_may_not_call_the_operations_with_credentials(emulator: Emulator, path: str) -> None:
    response = send(emulator, "OPTIONS", path, PREFLIGHT)
    assert response.status == 405
    assert response.header("access-control-allow-origin") is None
    assert send(emulator, "OPTIONS", "/flex", PREFLIGHT).status == 404


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"x" * 225_000),
        ({"X-Large": "x" * 60_000}, None),
        ({f"X-{number}": "" for number in range(1000)}, None),
    ],
    ids=["bodies", "a long header", "many headers"],
)
def test_the_memory_of_recorded_requests_is_limited(headers: dict[str, str], body: bytes | None) -> None:
    with Emulator(record_bytes=1 << 20, key_pool=1) as emulator:
        send(emulator, "POST", TOKENS, headers, body)
        tracemalloc.start()
        try:
            # Without the limit, these would use at least twice as much.
            for _ in range(60):
                send(emulator, "POST", TOKENS, headers, body)
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] < 2 << 20
            assert 2 < len(emulator.requests) < 60
            emulator.clear()
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] < 1 << 20
        finally:
            tracemalloc.stop()


def test_decrypted_bodies_count_as_memory() -> None:
    log = RequestLog(10, 25_000)
    for _ in range(5):
        log.add(RecordedRequest("POST", SESSIONS, (), {}, b"", decrypted_body=b"x" * 10_000))
    assert len(log.all()) == 2
    log.clear()
    log.add(RecordedRequest("POST", SESSIONS, (), {}, b"x" * 10_000))
    assert len(log.all()) == 1


def test_invalid_arguments() -> None:
    invalid: list[dict[str, Any]] = [
        {"host": "0.0.0.0"},
        {"host": "example.com"},
        {"port": 70000},
        {"port": -1},
        {"key_pool": 0},
        {"context_uses": 0},
        {"record_limit": -1},
        {"record_bytes": -1},
        {"clock_tolerance": -1},
        {"jwt_leeway": -1},
        {"signed_hosts": "example.com"},
        {"extra_fields": "x.y"},
        {"merchants": []},
        {"merchants": [OTHER_MERCHANT, OTHER_MERCHANT]},
        {"merchants": [OTHER_MERCHANT, Merchant("third", OTHER_MERCHANT.key_id, OTHER_MERCHANT.secret_key)]},
    ]
    for arguments in invalid:
        with pytest.raises(ValueError, match=r".+") as caught:
            Emulator(**arguments)
        assert OTHER_MERCHANT.secret_key not in str(caught.value)
    for secret in ("not base64!", "", "c2VjcmV0 "):
        with pytest.raises(ValueError, match="secret_key") as caught:
            Merchant("m", "k", secret)
        assert not secret or secret not in str(caught.value)


def test_an_emulator_that_was_not_started() -> None:
    emulator = Emulator()
    for read in (lambda: emulator.url, lambda: emulator.environ, lambda: emulator.credentials_key_pem):
        with pytest.raises(RuntimeError):
            read()
    assert emulator.requests == []
    assert emulator.auth["merchant_id"]
    emulator.stop()


def test_start_stop_and_restart() -> None:
    def threads() -> int:
        return sum(thread.name == "flex-emulator" for thread in threading.enumerate())

    threads_before = threads()
    emulator = Emulator(key_pool=1, clock=lambda: NOW).start()
    try:
        address, context = emulator.url, create_context(emulator)
        with pytest.raises(RuntimeError, match="already running"):
            emulator.start()
        with pytest.raises(RuntimeError, match="cannot listen on"):
            Emulator(port=int(address.rpartition(":")[2])).start()
        with pytest.raises(RuntimeError, match="payment_credentials=True"):
            _ = emulator.credentials_key_pem
        # An incomplete request on an open connection does not delay `stop`.
        host, port = host_of(emulator).split(":")
        with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
            connection.sendall(b"POST /flex/v2/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
            emulator.stop()
        assert threads() == threads_before
        with pytest.raises(ConnectionRefusedError):
            post(emulator, SESSIONS, requested_fields("number"))
        emulator.stop()
        emulator.start()
        assert emulator.url == address
        assert tokenize(emulator, encrypt_data(context, card_data(CARD))).status == 201
    finally:
        emulator.stop()
    assert threads() == threads_before


def test_serve_in_the_foreground() -> None:
    emulator = Emulator(key_pool=1)
    ready = threading.Event()
    thread = threading.Thread(target=emulator.serve, args=(lambda _: ready.set(),))
    thread.start()
    try:
        assert ready.wait(TIMEOUT)
        # The socket is already listening, so a request waits until the server accepts it.
        assert send(emulator, "GET", "/flex", {}).status == 404
    finally:
        emulator.stop()
        thread.join(TIMEOUT)
    assert not thread.is_alive()


def test_signed_host_names() -> None:
    with Emulator(signed_hosts=["Flex.Test"], host="localhost", key_pool=1, clock=lambda: NOW) as emulator:
        assert emulator.url.startswith("http://localhost:")
        headers = signature_headers(
            emulator, "POST", SESSIONS, VALID_BODY, signed={"host": "flex.test"}, sent={"Host": "flex.test"}
        )
        assert send(emulator, "POST", SESSIONS, headers, VALID_BODY).status == 201
        assert post(emulator, SESSIONS, requested_fields("number")).status == 201


def test_concurrent_clients(emulator: Emulator) -> None:
    statuses: list[int] = []

    def work() -> None:
        for _ in range(10):
            statuses.append(tokenize(emulator, encrypt_data(create_context(emulator), card_data(CARD))).status)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert statuses == [201] * 80
    assert len(emulator.requests) == 160
    assert {record.status for record in emulator.requests} == {201}


def test_the_emulator_imports_no_part_of_the_client() -> None:
    # `errors` is imported for `MissingDependencyError`.
    other_parts = {"_model", "aio", "api", "api_client", "auth", "client", "jose", "models", "transport"}
    code = (
        "import sys, cybersource_flex.emulator\n"
        f"other = {{'cybersource_flex.' + name for name in {other_parts!r}}} | {{'urllib3'}}\n"
        "assert not other & set(sys.modules), other & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_only_keys_of_emulators_that_no_longer_exist_are_used_again() -> None:
    def modulus(emulator: Emulator) -> str:
        return one_time_key(create_context(emulator))["n"]

    options: dict[str, Any] = {"clock": lambda: NOW, "key_pool": 1}
    with Emulator(**options) as first, Emulator(**options) as second:
        keys = {modulus(first), modulus(second)}
        assert len(keys) == 2
    with first:
        assert modulus(first) in keys
        with Emulator(**options) as third:
            assert modulus(third) not in keys


@pytest.mark.parametrize("tls", [False, True])
def test_connections_that_arrive_while_the_emulator_stops_are_closed(tls: bool) -> None:
    emulator = Emulator(key_pool=1, tls=tls)
    stopped = threading.Event()
    clients: list[socket.socket] = []

    def connect_until_stopped(address: tuple[str, int]) -> None:
        while not stopped.is_set():
            with contextlib.suppress(OSError):
                clients.append(socket.create_connection(address, timeout=TIMEOUT))

    for _ in range(4):
        stopped.clear()
        emulator.start()
        host, _, port = host_of(emulator).rpartition(":")
        threads = [threading.Thread(target=connect_until_stopped, args=((host, int(port)),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            while len(clients) < 50:
                threading.Event().wait(0.001)
            emulator.stop()
        finally:
            # Without this, a failure would leave threads that connect for ever.
            stopped.set()
            for thread in threads:
                thread.join()
        for client in clients:
            client.close()
        clients.clear()
    # A transport or socket that was not closed issues a warning, which fails the test.
    gc.collect()
