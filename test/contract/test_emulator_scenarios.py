"""The emulator's scenarios with plain clients: sockets, http.client and urllib3, without the SDK."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import logging
import os
import pickle
import re
import socket
import ssl
import threading
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cybersource_flex.emulator import SCENARIOS, Emulator, Merchant, Scenario

SESSIONS, TOKENS, KEYS, DETAILS = (
    "/flex/v2/sessions",
    "/flex/v2/tokens",
    "/flex/v2/public-keys/",
    "/flex/v2/payment-details/",
)
GOOD = b'{"fields":{"paymentInformation":{"card":{"number":{}}}}}'
HEADER = "v-c-emulator-scenario"
NOW = 1795348800.0
# Seconds; this only ends a hang.
PATIENCE = 20
OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303
OAEP_256 = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
MLE_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
MLE_PEM = MLE_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


# --- plain clients --------------------------------------------------------------------------------------


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64url(encoded: str) -> bytes:
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))


def bearer(e: Emulator, method: str, target: str, body: bytes | None, now: float = NOW, **claims: Any) -> str:
    auth = e.auth
    members: dict[str, Any] = {
        "iat": int(now),
        "exp": int(now) + 120,
        "request-method": method,
        "request-host": "apitest.cybersource.com",
        "request-resource-path": target,
        "iss": auth["merchant_id"],
        "jti": str(uuid.uuid4()),
        "v-c-jwt-version": "2",
        "v-c-merchant-id": auth["merchant_id"],
        **{name.replace("_", "-"): value for name, value in claims.items()},
    }
    if body is not None:
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        members |= {"digest": digest, "digestAlgorithm": "SHA-256"}
    top = {"alg": "HS256", "kid": auth["key_id"], "typ": "JWT"}
    signed = ".".join(b64url(json.dumps(part).encode()) for part in (top, members))
    mac = hmac.new(base64.b64decode(auth["secret_key"]), signed.encode(), "sha256").digest()
    return f"Bearer {signed}.{b64url(mac)}"


def connection(e: Emulator) -> http.client.HTTPConnection:
    host = e.url.partition("//")[2]
    if e.url.startswith("https:"):
        context = ssl.create_default_context(cadata=e.ca_pem.decode("ascii"))
        return http.client.HTTPSConnection(host, timeout=PATIENCE, context=context)
    return http.client.HTTPConnection(host, timeout=PATIENCE)


def send(e: Emulator, method: str, target: str, headers: dict[str, str], body: bytes | None = None) -> Reply:
    client = connection(e)
    try:
        client.request(method, target, body, headers)
        response = client.getresponse()
        return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        client.close()


def under(scenario: str | None) -> dict[str, str]:
    return {} if scenario is None else {HEADER: scenario}


def session(e: Emulator, scenario: str | None = None, now: float = NOW, **claims: Any) -> Reply:
    headers = {"Authorization": bearer(e, "POST", SESSIONS, GOOD, now, **claims), "Content-Type": "application/json"}
    return send(e, "POST", SESSIONS, {**headers, **under(scenario)}, GOOD)


def key(e: Emulator, kid: str, scenario: str | None = None) -> Reply:
    return send(e, "GET", KEYS + kid, under(scenario))


def decoded(jwt: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, payload, _ = jwt.split(".")
    return json.loads(unb64url(header)), json.loads(unb64url(payload))


def public_key(jwk: dict[str, str]) -> rsa.RSAPublicKey:
    n, exponent = (int.from_bytes(unb64url(jwk[name]), "big") for name in ("n", "e"))
    return rsa.RSAPublicNumbers(exponent, n).public_key()


def verify(jwt: str, jwk: dict[str, str]) -> dict[str, Any]:
    signed, _, mac = jwt.rpartition(".")
    public_key(jwk).verify(unb64url(mac), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return decoded(jwt)[1]


def tokenize(e: Emulator, context: str, scenario: str | None = None) -> Reply:
    jwk = decoded(context)[1]["flx"]["jwk"]
    top = b64url(json.dumps({"alg": "RSA-OAEP", "enc": "A256GCM", "kid": jwk["kid"]}).encode())
    content = {"data": {"paymentInformation": {"card": {"number": "4111111111111111"}}}, "context": context, "index": 0}
    secret, iv = b"\x05" * 32, b"\x07" * 12
    sealed = AESGCM(secret).encrypt(iv, json.dumps(content).encode(), top.encode())
    parts = (public_key(jwk).encrypt(secret, OAEP), iv, sealed[:-16], sealed[-16:])
    jwe = ".".join((top, *map(b64url, parts)))
    return send(e, "POST", TOKENS, {"Content-Type": "application/jwt", **under(scenario)}, jwe.encode())


@pytest.fixture(scope="module")
def plain() -> Iterator[Emulator]:
    merchant = Merchant.generate()
    with_response_key = Merchant(
        merchant.merchant_id, merchant.key_id, merchant.secret_key, response_mle_certificates=[("mle", MLE_PEM)]
    )
    with Emulator(merchants=[with_response_key], clock=lambda: NOW) as running:
        yield running


@pytest.fixture(scope="module")
def secure() -> Iterator[Emulator]:
    with Emulator(clock=lambda: NOW, tls=True, key_pool=1) as running:
        yield running


def fresh(e: Emulator) -> Emulator:
    e.reset_faults()
    e.clear()
    return e


@pytest.fixture
def e(plain: Emulator) -> Iterator[Emulator]:
    yield fresh(plain)
    # After any scenario the emulator responds normally.
    fresh(plain)
    assert session(plain).status == 201


@pytest.fixture(params=["http", "https"])
def http_or_https(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    running = request.getfixturevalue("plain" if request.param == "http" else "secure")
    yield fresh(running)
    fresh(running)
    assert session(running).status == 201


class Arrivals(logging.Handler):
    """Waits until requests have arrived: the emulator logs each one before its response."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = threading.Semaphore(0)

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.INFO:
            self._seen.release()

    def wait(self) -> None:
        assert self._seen.acquire(timeout=PATIENCE)


@pytest.fixture
def arrivals() -> Iterator[Arrivals]:
    logger, handler = logging.getLogger("cybersource_flex.emulator"), Arrivals()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def dial(e: Emulator) -> socket.socket:
    host, port = e.url.partition("//")[2].split(":")
    client = socket.create_connection((host, int(port)), timeout=PATIENCE)
    if e.url.startswith("https:"):
        context = ssl.create_default_context(cadata=e.ca_pem.decode("ascii"))
        return context.wrap_socket(client, server_hostname=host)
    return client


def ask(path: str, scenario: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{HEADER}: {scenario}\r\n\r\n".encode()


def drain(client: socket.socket) -> bytes:
    """All data until the end of the connection."""
    received = b""
    while data := client.recv(65536):
        received += data
    return received


# --- scenarios as values --------------------------------------------------------------------------------


def test_strings_and_scenarios_convert_to_each_other() -> None:
    for string, scenario in (
        ("latency", Scenario("latency")),
        ("latency;seconds=0.5", Scenario("latency", seconds=0.5)),
        ("rotated-key;same-kid=true", Scenario("rotated-key", same_kid=True)),
        ("redirect;status=308;location=http://127.0.0.1:1/x?a=b", None),
    ):
        parsed = Scenario.parse(string)
        assert str(parsed) == string
        assert scenario is None or (parsed == scenario and hash(parsed) == hash(scenario))
        assert pickle.loads(pickle.dumps(parsed)) == parsed  # noqa: S301
        assert repr(parsed) == f"Scenario.parse({string!r})"
    assert Scenario.parse(" gzip-bomb ; size = 2MiB ").value("size") == 2 << 20
    assert Scenario.parse("latency").value("seconds") == 1
    assert str(Scenario.parse("endless-headers;size=1;kind=huge")) == "endless-headers;kind=huge;size=1"


@pytest.mark.parametrize(
    ("string", "message"),
    [
        ("nonsense", "no scenario 'nonsense'; known are latency, slow-drip"),
        ("", "no scenario ''"),
        ("latency;pace=1", "no parameter 'pace'; known: seconds"),
        ("latency;name=1", "no parameter 'name'"),
        ("latency;self=1", "no parameter 'self'"),
        ("empty-500;x=1", "known: none"),
        ("latency;seconds", "name=value"),
        ("latency;seconds=1;seconds=2", "each once"),
        ("latency;seconds=-1", "must be seconds from 0"),
        ("latency;seconds=nan", "must be seconds from 0"),
        ("latency;seconds=1e9", "must be seconds from 0"),
        ("slow-drip;part=tail", "must be body or head, not 'tail'"),
        ("status-503;retry-after=soon", "must be none, seconds"),
        ("gzip-bomb;size=2GiB", "bytes up to 1GiB"),
        ("redirect;status=200", "must be 307 or 301"),
        ("redirect;location=a\r\nb", "address"),
        ("rotated-key;same-kid=yes", "true or false"),
        ("wrong-length;difference=0", "must not be 0"),
        ("interim;status=200", "statuses from 100 to 199, separated by commas"),
        ("interim;status=100,", "statuses from 100 to 199, separated by commas"),
        ("interim;count=0", "a whole number from 1 to 100000"),
        ("interim;final=200", "must be normal or 204 or 304"),
        ("early-response;status=200", "must be 400 or 413 or 503"),
        ("body-not-allowed;status=200", "must be 204 or 304 or 102 or 103"),
        ("undecodable-body;encoding=identity", "must be gzip or deflate or br or zstd"),
        ("forget-idle;seconds=-1", "must be seconds from 0"),
    ],
)
def test_invalid_scenarios_are_rejected(string: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Scenario.parse(string)
    with pytest.raises(ValueError, match=re.escape(message)):
        Emulator(scenario=string)


def test_every_scenario_is_described_and_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text("utf-8")
    for name, kind in SCENARIOS.items():
        assert (kind.name, str(Scenario.parse(kind.usage)).split(";")[0]) == (name, name)
        assert f"| `{kind.usage}` | {kind.description} |" in page
    assert len(re.findall(r"^\| `[a-z0-9-]+[;`]", page, re.M)) >= len(SCENARIOS)


def test_the_examples_of_the_page_run() -> None:
    page = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) == 3
    # The first is about the client, which has no part here.
    for block in blocks[1:]:
        exec(compile(block, "emulator.md", "exec"), {})  # noqa: S102


# --- selection -----------------------------------------------------------------------------------------


def test_queued_scenarios_apply_in_order(e: Emulator) -> None:
    e.queue_scenarios(["status-503;retry-after=7", None, Scenario("html-502"), "ok", "empty-500"])
    statuses = [session(e).status for _ in range(6)]
    assert statuses == [503, 201, 502, 201, 500, 201]
    assert [r.scenario for r in e.requests] == [
        "status-503;retry-after=7",
        None,
        "html-502",
        None,
        "empty-500",
        None,
    ]
    assert [r.succeeded for r in e.requests] == [False, True, False, True, False, True]
    assert [r.status for r in e.requests] == statuses
    arrived = [r.received_monotonic for r in e.requests]
    assert arrived == sorted(arrived)
    assert arrived[-1] <= time.monotonic()


def test_a_queue_for_a_path_takes_precedence_and_waits_for_that_path(e: Emulator) -> None:
    kid = e.rotate_key()
    e.queue_scenarios(["status-500"] * 2)
    e.queue_scenarios(["html-502"], path=KEYS + "*")
    e.queue_scenarios(["empty-500"], path=KEYS + kid)
    assert [session(e).status, key(e, kid).status, key(e, kid).status] == [500, 500, 502]
    assert [r.scenario for r in e.requests] == ["status-500", "empty-500", "html-502"]
    assert [key(e, kid).status, key(e, kid).status] == [500, 200]
    # A new queue for a path replaces the old one, an empty one removes it.
    e.queue_scenarios(["status-500"], path=SESSIONS)
    e.queue_scenarios(["html-502"], path=SESSIONS)
    assert [session(e).status, session(e).status] == [502, 201]
    e.queue_scenarios(["status-500"], path=SESSIONS)
    e.queue_scenarios([], path=SESSIONS)
    assert session(e).status == 201


def test_the_header_precedes_the_queue_and_the_default_is_last(e: Emulator) -> None:
    e.scenario = Scenario("html-502")
    e.queue_scenarios(["status-500"])
    assert [session(e, "empty-200").status, session(e).status, session(e).status] == [200, 500, 502]
    assert session(e, "ok").status == 201
    e.queue_scenarios(["ok"])
    assert session(e).status == 201
    assert e.scenario == Scenario("html-502")
    e.reset_faults()
    assert e.scenario is None
    assert session(e).status == 201
    for wrong in ("nonsense", "latency;seconds=x"):
        refused = session(e, wrong)
        assert refused.status == 400
        assert refused.json["reason"] == "EMULATOR_SCENARIO"
        assert e.requests[-1].rejection_reason.startswith(HEADER)


def test_invalid_queues_change_nothing(e: Emulator) -> None:
    e.queue_scenarios(["html-502"])
    wrong: list[Callable[[], object]] = [
        lambda: e.queue_scenarios(["status-500", "nonsense"]),
        lambda: e.queue_scenarios("status-500"),
        lambda: e.queue_scenarios(["status-500"], path="flex"),
        lambda: e.queue_scenarios(["status-500"], path="/a?b"),
        lambda: e.inject_random_faults(1.5),
        lambda: e.inject_random_faults(0.5, scenarios="status-500"),
        lambda: e.inject_random_faults(0.5, scenarios=[]),
        lambda: setattr(e, "scenario", "nonsense"),
    ]
    for call in wrong:
        with pytest.raises(ValueError, match=r".+"):
            call()
    assert [session(e).status, session(e).status] == [502, 201]


def test_the_default_scenario() -> None:
    with Emulator(scenario="status-503;retry-after=2", key_pool=1, clock=lambda: NOW) as e:
        assert [session(e).status, key(e, "zz").status] == [503, 503]
        assert session(e, "ok").status == 201


def test_random_faults_depend_on_the_seed_and_the_number_of_requests(e: Emulator) -> None:
    kid = e.rotate_key()

    def one_after_the_other(seed: int) -> list[str | None]:
        e.clear()
        e.inject_random_faults(0.25, seed, ["status-500", "html-502", "status-429"])
        for _ in range(120):
            key(e, kid)
        return [r.scenario for r in e.requests]

    first = one_after_the_other(1)
    assert one_after_the_other(1) == first
    assert one_after_the_other(2) != first
    assert 15 < 120 - first.count(None) < 45
    e.clear()
    e.inject_random_faults(0.25, 1, ["status-500", "html-502", "status-429"])
    threads = [threading.Thread(target=lambda: [key(e, kid) for _ in range(15)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert Counter(r.scenario for r in e.requests) == Counter(first)
    e.inject_random_faults(1, 1, ["status-500"], path=SESSIONS)
    assert [key(e, kid).status, session(e).status] == [200, 500]
    e.inject_random_faults(0)
    assert session(e).status == 201


def test_many_requests_with_the_default_random_faults(e: Emulator) -> None:
    e.inject_random_faults(0.5, 3)
    pool = urllib3.PoolManager(retries=False)
    outcomes: Counter[str] = Counter()
    for _ in range(120):
        headers = {"Authorization": bearer(e, "POST", SESSIONS, GOOD), "Content-Type": "application/json"}
        try:
            reply = pool.request("POST", e.url + SESSIONS, body=GOOD, headers=headers, timeout=PATIENCE)
            outcomes[str(reply.status)] += 1
        except urllib3.exceptions.HTTPError as error:
            outcomes[type(error).__name__] += 1
    pool.clear()
    played = Counter((r.scenario or "").partition(";")[0] for r in e.requests)
    assert len(e.requests) == sum(outcomes.values()) == 120
    assert len(played) == 9
    assert outcomes["201"] == played[""]
    assert outcomes["ProtocolError"] == sum(
        played[name] for name in ("reset-before", "reset-during", "reset-after-request", "truncated")
    )
    # Each request that was carried out has created a session, even if the client got no response.
    assert sum(r.succeeded for r in e.requests) == outcomes["201"] + outcomes["ProtocolError"] - played["reset-before"]
    assert len({r.headers["authorization"] for r in e.requests}) == 120


# --- connections ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["reset-before", "reset-after-request"])
def test_a_reset_without_a_response(http_or_https: Emulator, name: str) -> None:
    http_or_https.queue_scenarios([name])
    # A broken pipe, or its like with TLS, where the client was still sending.
    with pytest.raises((ConnectionError, ssl.SSLEOFError)):
        session(http_or_https)
    record = http_or_https.requests[-1]
    assert (record.scenario, record.method, record.target) == (name, "POST", SESSIONS)
    assert "authorization" in record.headers
    done = name == "reset-after-request"
    assert (record.status, record.succeeded, record.body) == ((201, True, GOOD) if done else (None, False, b""))


def test_a_reset_does_not_wait_for_the_body(http_or_https: Emulator) -> None:
    with dial(http_or_https) as client:
        client.sendall(
            b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n" + HEADER.encode() + b": reset-before\r\n\r\n"
        )
        until_reset(client)


def until_reset(client: socket.socket) -> bytes:
    """The bytes that arrive before RST; with TLS it is encrypted, and Python's own sockets hide the RST."""
    received: list[bytes] = []
    with socket.socket(fileno=os.dup(client.fileno())) as reader:
        reader.settimeout(PATIENCE)

        def read() -> None:
            while data := reader.recv(65536):
                received.append(data)

        with pytest.raises(ConnectionResetError):
            read()
    return b"".join(received)


def test_a_reset_in_the_middle(http_or_https: Emulator) -> None:
    kid = http_or_https.rotate_key()
    length = len(key(http_or_https, kid).body)
    with dial(http_or_https) as client:
        client.sendall(ask(KEYS + kid, "reset-during"))
        received = until_reset(client)
    assert len(received) > length // 2
    if http_or_https.url.startswith("http:"):
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert f"content-length: {length}".encode() in head
        assert len(body) == length // 2
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        key(http_or_https, kid, "reset-during")


def test_closed_after_the_response(http_or_https: Emulator) -> None:
    kid = http_or_https.rotate_key()
    with dial(http_or_https) as client:
        client.sendall(ask(KEYS + kid, "close-after"))
        received = drain(client)
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"connection:" not in head.lower()
    assert json.loads(body)["kid"] == kid


def test_truncated(http_or_https: Emulator) -> None:
    http_or_https.queue_scenarios(["truncated"])
    with pytest.raises(http.client.IncompleteRead) as caught:
        session(http_or_https)
    assert abs(len(caught.value.partial) - (caught.value.expected or 0)) <= 1


def test_a_length_that_is_too_large(http_or_https: Emulator) -> None:
    kid = http_or_https.rotate_key()
    good = key(http_or_https, kid)
    with dial(http_or_https) as client:
        client.sendall(ask(KEYS + kid, "wrong-length;difference=5"))
        received = b""
        while not received.endswith(b"}"):
            received += client.recv(65536)
        assert f"content-length: {len(good.body) + 5}\r\n".encode() in received
        # The connection stays open and silent.
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_a_length_that_is_too_small(http_or_https: Emulator) -> None:
    kid = http_or_https.rotate_key()
    good = key(http_or_https, kid)
    with dial(http_or_https) as client:
        client.sendall(ask(KEYS + kid, "wrong-length;difference=-5"))
        received = b""
        while not received.endswith(good.body):
            received += client.recv(65536)
        assert f"content-length: {len(good.body) - 5}\r\n".encode() in received
        # The surplus precedes the next response on this connection.
        client.sendall(ask(KEYS + kid, "ok"))
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
    assert key(http_or_https, kid, "wrong-length;difference=-5").body == good.body[:-5]
    assert key(http_or_https, kid, "wrong-length;difference=-1000000").body == b""


@pytest.mark.parametrize("kind", ["size", "end"])
def test_broken_chunks(http_or_https: Emulator, kind: str) -> None:
    kid = http_or_https.rotate_key()
    with pytest.raises(http.client.IncompleteRead):
        key(http_or_https, kid, f"chunked-broken;kind={kind}")


def test_latency(e: Emulator, arrivals: Arrivals) -> None:
    began = time.monotonic()
    assert session(e, "latency;seconds=0.03").status == 201
    assert time.monotonic() - began >= 0.03
    arrivals.wait()
    # The request is carried out at once, even if the client disconnects, and delays no other client.
    client = connection(e)
    headers = {"Authorization": bearer(e, "POST", SESSIONS, GOOD), "Content-Type": "application/json"}
    client.request("POST", SESSIONS, GOOD, {**headers, HEADER: "latency;seconds=3600"})
    arrivals.wait()
    client.close()
    assert (e.requests[-1].status, e.requests[-1].succeeded) == (201, True)


@pytest.mark.parametrize("part", ["head", "body"])
def test_slow_drip(http_or_https: Emulator, part: str) -> None:
    kid = http_or_https.rotate_key()
    good = key(http_or_https, kid)
    with dial(http_or_https) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(ask(KEYS + kid, f"slow-drip;part={part};interval=0.0001"))
        pieces: list[bytes] = []
        while not b"".join(pieces).endswith(good.body):
            pieces.append(client.recv(65536))
    # The slow half does not come in one piece.
    assert len(pieces) > 20
    assert key(http_or_https, kid, f"slow-drip;part={part};interval=0").json == good.json


@pytest.mark.parametrize("kind", ["many", "huge"])
def test_endless_headers(http_or_https: Emulator, kind: str) -> None:
    kid = http_or_https.rotate_key()
    with pytest.raises(http.client.HTTPException, match="100 headers" if kind == "many" else "65536"):
        key(http_or_https, kid, f"endless-headers;kind={kind}")
    with dial(http_or_https) as client:
        client.sendall(ask(KEYS + kid, f"endless-headers;kind={kind};size=200000"))
        head, _, body = drain(client).partition(b"\r\n\r\n")
    assert len(head) > 200_000
    assert head.count(b"\r\n") > 190 if kind == "many" else head.count(b"\r\n") < 10
    assert json.loads(body)["kid"] == kid


def test_endless_bodies(http_or_https: Emulator) -> None:
    kid = http_or_https.rotate_key()
    assert key(http_or_https, kid, "big-body;size=300001").body == b"x" * 300_001
    reply = key(http_or_https, kid, "endless-body;size=100001")
    assert (reply.body, reply.headers["transfer-encoding"]) == (b"x" * 100_001, "chunked")
    # The client closes when it has enough.
    for scenario in ("endless-body", "big-body;size=1GiB"):
        client = connection(http_or_https)
        client.request("GET", KEYS + kid, headers=under(scenario))
        assert len(client.getresponse().read(1_000_000)) == 1_000_000
        client.close()


def test_gzip_bomb(e: Emulator) -> None:
    kid = e.rotate_key()
    reply = key(e, kid, "gzip-bomb;size=64MiB")
    assert reply.headers["content-encoding"] == "gzip"
    assert len(reply.body) < 200_000
    assert len(zlib.decompress(reply.body, 31)) == 64 << 20
    odd = key(e, kid, "gzip-bomb;size=1048579")
    assert zlib.decompress(odd.body, 31) == b" " * 1_048_579


class ResponseReader:
    """A plain HTTP/1.1 connection that reads one response after the other, interim ones too.

    Attributes:
        buffer: received data that was not read yet.
    """

    def __init__(self, e: Emulator) -> None:
        self.socket = dial(e)
        self.buffer = b""

    def __enter__(self) -> ResponseReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def _more(self) -> None:
        data = self.socket.recv(65536)
        assert data, "the connection was closed"
        self.buffer += data

    def head(self) -> tuple[int, dict[str, str]]:
        """The next response's status and headers."""
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        return int(first.split(" ")[1]), dict(line.split(": ", 1) for line in lines)

    def body(self, length: int) -> bytes:
        while len(self.buffer) < length:
            self._more()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return body

    def response(self) -> tuple[int, bytes]:
        """The next response's status and its body, as its Content-Length says."""
        status, headers = self.head()
        return status, self.body(int(headers["content-length"]))

    def nothing(self, seconds: float = 0.05) -> bool:
        """Whether no data arrives for this long."""
        if self.buffer:
            return False
        self.socket.settimeout(seconds)
        try:
            # Empty if the connection was closed, which also counts as data.
            self.buffer = self.socket.recv(65536)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)
        return False


def test_interim_responses_come_before_the_final_one(http_or_https: Emulator) -> None:
    kid = http_or_https.rotate_key()
    good = key(http_or_https, kid).body
    with ResponseReader(http_or_https) as reader:
        reader.socket.sendall(ask(KEYS + kid, "interim;status=100,103;count=3;seconds=0.05;size=2500"))
        for status in (100, 103, 100):
            received_status, headers = reader.head()
            assert received_status == status
            assert sum(len(value) for value in headers.values()) == 2500
            assert max(len(value) for value in headers.values()) == 1000
        assert reader.nothing(0.01), "the final response comes later"
        assert reader.response() == (200, good)
        # The connection stays usable.
        reader.socket.sendall(ask(KEYS + kid, "interim;seconds=0"))
        assert (reader.head()[0], reader.response()) == (103, (200, good))
        reader.socket.sendall(ask(KEYS + kid, "ok"))
        assert reader.response() == (200, good)
        assert reader.nothing()


@pytest.mark.parametrize("final", [204, 304])
def test_interim_responses_before_a_response_without_a_body(http_or_https: Emulator, final: int) -> None:
    kid = http_or_https.rotate_key()
    with ResponseReader(http_or_https) as reader:
        reader.socket.sendall(ask(KEYS + kid, f"interim;status=102;seconds=0;final={final}"))
        assert reader.head()[0] == 102
        status, headers = reader.head()
        assert status == final
        assert not {"content-length", "transfer-encoding", "content-type"} & set(headers)
        reader.socket.sendall(ask(KEYS + kid, "ok"))
        assert reader.response()[0] == 200


@pytest.mark.parametrize("size", ["0", "1MiB"])
def test_endless_interim_responses_stop_when_the_client_disconnects(
    size: str, e: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    kid = e.rotate_key()
    with ResponseReader(e) as reader:
        reader.socket.sendall(ask(KEYS + kid, f"interim;count=100000;size={size}"))
        assert reader.head()[0] == 103
    assert key(e, kid).status == 200
    # asyncio warns of each write after the connection was lost.
    assert "socket.send() raised exception" not in caplog.text


def test_a_second_response_in_the_same_segment(http_or_https: Emulator) -> None:
    kid = http_or_https.rotate_key()
    good = key(http_or_https, kid).body
    with ResponseReader(http_or_https) as reader:
        reader.socket.sendall(ask(KEYS + kid, "second-response"))
        status, body = reader.response()
        assert (status, body) == (200, good)
        # Already received, without another read.
        assert reader.buffer.startswith(b"HTTP/1.1 200 OK\r\n")
        status, body = reader.response()
        assert (status, json.loads(body)) == (200, {"emulatorText": "a second response that no request asked for"})
        reader.socket.sendall(ask(KEYS + kid, "ok"))
        assert reader.response() == (200, good)
    # With Connection: close, it is closed after both.
    request = ask(KEYS + kid, "second-response").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with dial(http_or_https) as client:
        client.sendall(request)
        assert drain(client).count(b"HTTP/1.1 200 OK") == 2


def test_a_delayed_second_response_only_without_another_request(http_or_https: Emulator) -> None:
    kid = http_or_https.rotate_key()
    good = key(http_or_https, kid).body
    with ResponseReader(http_or_https) as reader:
        reader.socket.sendall(ask(KEYS + kid, "second-response;seconds=0.05"))
        assert reader.response() == (200, good)
        assert reader.nothing(0.01)
        assert json.loads(reader.response()[1]).keys() == {"emulatorText"}
        reader.socket.sendall(ask(KEYS + kid, "second-response;seconds=0.05"))
        assert reader.response() == (200, good)
        reader.socket.sendall(ask(KEYS + kid, "ok"))
        assert reader.response() == (200, good)
        assert reader.nothing(0.1)


@pytest.mark.parametrize("status", [400, 413, 503])
def test_an_early_response(http_or_https: Emulator, status: int) -> None:
    head = f"POST {SESSIONS} HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n{HEADER}: early-response;status={status}"
    with ResponseReader(http_or_https) as reader:
        reader.socket.sendall(f"{head}\r\n\r\n".encode())
        received_status, body = reader.response()
        assert (received_status, json.loads(body)["reason"]) == (
            status,
            {400: "INVALID_DATA", 413: "REQUEST_TOO_LARGE", 503: "SERVICE_UNAVAILABLE"}[status],
        )
        # The rest of the request is read and belongs to it.
        reader.socket.sendall(b"x" * 300_000 + ask(KEYS + http_or_https.rotate_key(), "ok"))
        assert reader.response()[0] == 200
    with dial(http_or_https) as client:
        client.sendall(f"{head};then=close\r\n\r\n".encode())
        received = drain(client)
        assert f"HTTP/1.1 {status} ".encode() in received
        assert b"\r\nconnection: close\r\n" in received
    record = http_or_https.requests[0]
    assert (record.status, record.succeeded, record.body) == (status, False, b"")


@pytest.mark.parametrize("status", [204, 304])
def test_a_body_that_the_status_does_not_allow(http_or_https: Emulator, status: int) -> None:
    kid = http_or_https.rotate_key()
    good = key(http_or_https, kid).body
    with ResponseReader(http_or_https) as reader:
        reader.socket.sendall(ask(KEYS + kid, f"body-not-allowed;status={status}"))
        received_status, headers = reader.head()
        assert (received_status, headers["content-length"]) == (status, str(len(good)))
        assert reader.buffer == good, "in the same segment"
        reader.body(len(good))
        reader.socket.sendall(ask(KEYS + kid, "ok"))
        assert reader.response() == (200, good)


@pytest.mark.parametrize("status", [102, 103])
def test_an_interim_response_with_a_body(http_or_https: Emulator, status: int) -> None:
    kid = http_or_https.rotate_key()
    good = key(http_or_https, kid).body
    with ResponseReader(http_or_https) as reader:
        reader.socket.sendall(ask(KEYS + kid, f"body-not-allowed;status={status}"))
        assert reader.response() == (status, good)
        assert reader.response() == (200, good)


def test_a_connection_that_is_ignored_when_idle(http_or_https: Emulator) -> None:
    kid = http_or_https.rotate_key()
    with ResponseReader(http_or_https) as reader:
        reader.socket.sendall(ask(KEYS + kid, "forget-idle;seconds=3600"))
        assert reader.response()[0] == 200
        reader.socket.sendall(ask(KEYS + kid, "forget-idle;seconds=0.1"))
        assert reader.response()[0] == 200
        assert reader.nothing(0.15)
        for _ in range(2):
            # No response, no end, no reset, however often it is tried.
            reader.socket.sendall(ask(KEYS + kid, "ok"))
            assert reader.nothing(0.05)
    assert key(http_or_https, kid).status == 200
    assert [record.scenario for record in http_or_https.requests] == [
        "forget-idle;seconds=3600",
        "forget-idle;seconds=0.1",
        None,
    ]


def test_idle_time_starts_at_the_last_response(e: Emulator) -> None:
    kid = e.rotate_key()
    with ResponseReader(e) as reader:
        reader.socket.sendall(ask(KEYS + kid, "forget-idle;seconds=1"))
        assert reader.response()[0] == 200
        began = time.monotonic()
        while time.monotonic() - began < 1.2:
            # Never idle for a second.
            reader.socket.sendall(ask(KEYS + kid, "latency;seconds=0.2"))
            assert reader.response()[0] == 200


@pytest.mark.parametrize("tls", [False, True])
def test_stop_does_not_wait_for_any_scenario(tls: bool, arrivals: Arrivals) -> None:
    scenarios = [
        "latency;seconds=3600",
        "slow-drip;interval=3600",
        "slow-drip;interval=3600;part=head",
        "wrong-length;difference=9",
        "big-body;size=1GiB",
        "endless-body",
        "endless-headers;size=1GiB",
        "endless-headers;size=1GiB;kind=huge",
        "truncated",
        "close-after",
        "interim;seconds=3600",
        "interim;count=100000;size=1MiB",
        "second-response;seconds=3600",
        "forget-idle;seconds=0",
    ]
    e = Emulator(key_pool=1, tls=tls).start()
    client: list[socket.socket] = []
    try:
        path = KEYS + e.rotate_key()
        for scenario in scenarios:
            client.append(dial(e))
            client[-1].sendall(ask(path, scenario))
            arrivals.wait()
        began = time.monotonic()
        e.stop()
        assert time.monotonic() - began < 2
        e.start()
        assert send(e, "GET", path, {}).status == 200
    finally:
        e.stop()
        for one in client:
            one.close()


# --- content ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("none", None),
        ("7", "7"),
        ("-3", "-3"),
        ("0.5", "0.5"),
        ("date", formatdate(NOW, usegmt=True)),
        ("date+30", formatdate(NOW + 30, usegmt=True)),
        ("date-30", formatdate(NOW - 30, usegmt=True)),
        ("garbage", "as soon as possible"),
        ("negative", "-1"),
        ("huge", str(10**20)),
    ],
)
def test_retry_after(e: Emulator, form: str, value: str | None) -> None:
    for status in (429, 503):
        reply = session(e, f"status-{status};retry-after={form}")
        assert (reply.status, reply.headers.get("retry-after")) == (status, value)
        assert reply.json["message"]
        assert "digest" not in reply.headers
    assert not any(r.succeeded for r in e.requests)


def test_error_statuses_without_a_parsable_body(e: Emulator) -> None:
    assert session(e, "status-500").json["reason"] == "API_INTERNAL_ERROR"
    page = session(e, "html-502")
    assert (page.status, page.headers["content-type"]) == (502, "text/html; charset=utf-8")
    assert page.text.startswith("<!DOCTYPE html>")
    empty = session(e, "empty-500")
    assert (empty.status, empty.body, empty.headers.get("content-type")) == (500, b"", None)


def test_a_wrong_signature_is_a_401_under_any_scenario(e: Emulator) -> None:
    # So a test detects a client that sends its first signature again on a retry.
    headers = {"Authorization": bearer(e, "POST", SESSIONS, GOOD), "Content-Type": "application/json"}
    e.queue_scenarios(["status-503", "status-503"])
    assert [send(e, "POST", SESSIONS, headers, GOOD).status for _ in range(2)] == [503, 401]
    assert e.requests[-1].rejection_reason == "jti was used before"


def test_redirect(e: Emulator) -> None:
    for status in (301, 302, 303, 307, 308):
        reply = session(e, f"redirect;status={status};location=http://127.0.0.1:1/there?a=b")
        assert (reply.status, reply.headers["location"]) == (status, "http://127.0.0.1:1/there?a=b")
    assert session(e, "redirect").status == 307


def test_refuse(e: Emulator) -> None:
    plain = session(e, "refuse")
    assert (plain.status, plain.json) == (401, {"response": {"rmsg": "Authentication Failed"}})
    nested = session(e, "refuse;shape=json;reason=the key was deactivated")
    assert json.loads(nested.json["response"]["rmsg"])["error"] == "UNAUTHORIZED_USER"
    assert e.requests[-1].rejection_reason == nested.headers["v-c-emulator-rejection"] == "the key was deactivated"
    assert session(e, "refuse;shape=empty").body == b""


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_body_that_cannot_be_decoded(e: Emulator, encoding: str) -> None:
    reply = session(e, f"undecodable-body;encoding={encoding}")
    assert (reply.status, reply.headers["content-encoding"], reply.text.count(".")) == (201, encoding, 2)
    assert e.requests[-1].succeeded
    for status in (400, 401, 403, 404, 500, 503):
        reply = session(e, f"undecodable-body;encoding={encoding};status={status}")
        assert (reply.status, reply.headers["content-encoding"]) == (status, encoding)
        # As it is without the scenario: not encoded.
        assert ("response" if status == 401 else "reason") in reply.json
        assert not e.requests[-1].succeeded


def test_wrong_bodies_and_headers(e: Emulator) -> None:
    good = session(e)
    assert good.headers["digest"] == "SHA-256=" + base64.b64encode(hashlib.sha256(good.body).digest()).decode()
    wrong = session(e, "wrong-digest")
    assert wrong.headers["digest"].startswith("SHA-256=")
    assert wrong.headers["digest"] != "SHA-256=" + base64.b64encode(hashlib.sha256(wrong.body).digest()).decode()
    page = session(e, "html-200")
    assert (page.status, page.text[:15], page.headers["content-type"]) == (
        200,
        "<!DOCTYPE html>",
        "text/html; charset=utf-8",
    )
    empty = session(e, "empty-200")
    assert (empty.status, empty.body) == (200, b"")
    assert [r.succeeded for r in e.requests] == [True] * 4
    other = session(e, "wrong-content-type;type=application/xml")
    assert other.headers["content-type"] == "application/xml"
    assert other.text.count(".") == 2


# --- clock, keys, tokens --------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [600, -600])
def test_a_wrong_clock(e: Emulator, off: int) -> None:
    skewed = session(e, f"clock-skew;seconds={off}")
    assert (skewed.status, skewed.headers["date"]) == (401, formatdate(NOW + off, usegmt=True))
    assert ("expired" if off > 0 else "ahead") in (e.requests[-1].rejection_reason or "")
    assert session(e).headers["date"] == formatdate(NOW, usegmt=True)
    corrected = session(e, f"clock-skew;seconds={off}", now=NOW + off)
    assert corrected.status == 201
    assert decoded(corrected.text)[1]["iat"] == NOW + off
    e.shift_clock(off)
    assert (session(e).status, session(e, now=NOW + off).status) == (401, 201)
    e.shift_clock(0)
    assert session(e).status == 201


def test_clock_skew_of_a_request_removes_no_stored_data(e: Emulator) -> None:
    context = session(e).text
    for off in (100_000, -100_000):
        skewed = session(e, f"clock-skew;seconds={off}", now=NOW + off).text
        e.shift_clock(off)
        assert tokenize(e, skewed).status == 201
        e.shift_clock(0)
    assert tokenize(e, context).status == 201


def test_a_wrong_date(e: Emulator) -> None:
    for scenario, date in (
        ("wrong-date", formatdate(NOW + 3600, usegmt=True)),
        ("wrong-date;seconds=-86400", formatdate(NOW - 86400, usegmt=True)),
        ("wrong-date;kind=garbage", "yesterday"),
        ("wrong-date;kind=missing", None),
    ):
        wrong = session(e, scenario)
        assert (wrong.status, wrong.headers.get("date")) == (201, date)
        assert decoded(wrong.text)[1]["iat"] == int(NOW), "the clock itself is right"
    assert session(e).headers["date"] == formatdate(NOW, usegmt=True)
    with pytest.raises(ValueError, match="whole seconds from"):
        Scenario("wrong-date", seconds=10**12)


def test_a_rotated_key(e: Emulator) -> None:
    before = session(e).text
    kid = decoded(before)[0]["kid"]
    after = session(e, "rotated-key").text
    new_kid = decoded(after)[0]["kid"]
    assert new_kid != kid
    verify(before, key(e, kid).json)
    verify(after, key(e, new_kid).json)
    replaced = session(e, "rotated-key;same-kid=true").text
    assert decoded(replaced)[0]["kid"] == new_kid
    jwk = key(e, new_kid).json
    verify(replaced, jwk)
    with pytest.raises(InvalidSignature):
        verify(after, jwk)
    assert e.rotate_key(same_kid=True) == new_kid
    assert e.rotate_key() != new_kid
    assert key(e, new_kid, "404-key").status == 404
    # Only the last few are published.
    for _ in range(8):
        last = e.rotate_key()
    assert (key(e, new_kid).status, key(e, last).status) == (404, 200)
    with pytest.raises(RuntimeError, match="before it is started"):
        Emulator().rotate_key()


def test_unknown_members(e: Emulator) -> None:
    reply = session(e, "unknown-members")
    header, claims = decoded(reply.text)
    jwk = key(e, header["kid"], "unknown-members").json
    assert jwk["use"] == "emulated"
    verify(reply.text, jwk)
    for part in (header, claims, claims["flx"], claims["flx"]["jwk"], claims["ctx"][0], claims["ctx"][0]["data"], jwk):
        assert "emulatorExtra" in part
    assert claims["ctx"][1]["type"] == "emulated-9.9.9"
    token = tokenize(e, reply.text, "unknown-members")
    assert token.status == 201
    content = verify(token.text, claims["flx"]["jwk"])["content"]
    assert content["paymentInformation"]["card"]["number"]["detectedCardTypes"] == ["001", "999"]
    path = DETAILS + decoded(token.text)[1]["jti"]
    headers = {"Authorization": bearer(e, "GET", path, None)}
    details = send(e, "GET", path, {**headers, **under("unknown-members")}).json
    assert details["paymentInformation"]["card"]["type"] == "999"
    assert details["emulatorText"] == "unknown"
    error = send(e, "POST", TOKENS, under("unknown-members"), b"").json
    assert error["responseStatus"]["reason"] == "EMULATOR_UNKNOWN_REASON"


def test_malformed_jwts(e: Emulator) -> None:
    good = session(e).text
    jwk = key(e, decoded(good)[0]["kid"]).json
    verify(good, jwk)

    def malformed(kind: str) -> str:
        context = session(e)
        token = tokenize(e, context.text, f"malformed-jwt;kind={kind}")
        reply = session(e, f"malformed-jwt;kind={kind}")
        assert (reply.status, token.status) == (201, 201)
        assert reply.text.count(".") == token.text.count(".")
        return reply.text

    with pytest.raises(InvalidSignature):
        verify(malformed("truncated"), jwk)
    with pytest.raises(InvalidSignature):
        verify(malformed("wrong-key"), jwk)
    assert malformed("two-parts").count(".") == 1
    assert re.fullmatch(r"[\w-]+\.[\w-]+\*[\w-]+\.[\w-]+", malformed("bad-base64"))
    assert unb64url(malformed("not-json").split(".")[1]) == b"{not JSON"
    quoted = malformed("quoted")
    assert quoted.startswith('"')
    verify(json.loads(quoted), jwk)
    none = malformed("none-alg")
    assert (decoded(none)[0]["alg"], none[-1]) == ("none", ".")


def test_expired_contexts(e: Emulator) -> None:
    late = session(e, "expired-context").text
    assert (decoded(late)[1]["iat"], decoded(late)[1]["exp"]) == (NOW - 960, NOW - 60)
    assert tokenize(e, late).json["responseStatus"]["reason"] == "CAPTURE_CONTEXT_EXPIRED"
    now = session(e, "expired-context;expires-in=0").text
    assert decoded(now)[1]["exp"] == NOW
    soon = session(e, "expired-context;expires-in=1").text
    assert tokenize(e, soon).status == 201
    good = session(e).text
    assert tokenize(e, good, "expired-context").json["responseStatus"]["reason"] == "CAPTURE_CONTEXT_EXPIRED"
    assert tokenize(e, good).status == 201


def test_used_tokens(e: Emulator) -> None:
    path = DETAILS + decoded(tokenize(e, session(e).text).text)[1]["jti"]
    used = send(e, "GET", path, {"Authorization": bearer(e, "GET", path, None), HEADER: "used-token"})
    assert (used.status, used.json["responseStatus"]["reason"]) == (400, "INVALID_DATA")
    assert used.json["responseStatus"]["details"][0]["location"] == "tokenInformation.jti"
    assert send(e, "GET", path, {"Authorization": bearer(e, "GET", path, None)}).status == 200


def test_encrypted_to_an_unrelated_key(e: Emulator) -> None:
    def decrypted(scenario: str | None) -> bytes:
        reply = session(e, scenario, v_c_response_mle_kid="mle")
        head, *parts = reply.json["encryptedResponse"].split(".")
        assert json.loads(unb64url(head))["kid"] == "mle"
        wrapped, iv, sealed, tag = map(unb64url, parts)
        return AESGCM(MLE_KEY.decrypt(wrapped, OAEP_256)).decrypt(iv, sealed + tag, head.encode())

    assert decrypted(None).count(b".") == 2
    with pytest.raises((ValueError, InvalidTag)):
        decrypted("mle-wrong-key")
    # Gateway responses are not encrypted.
    assert session(e, "status-503", v_c_response_mle_kid="mle").json["message"] == "Service unavailable"
