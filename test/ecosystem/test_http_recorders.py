"""Tools that record or fake HTTP see the requests of the clients as they are, and can replay the responses."""

from __future__ import annotations

import contextlib
import gc
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pook
import pytest
import time_machine
import vcr
from aioresponses import CallbackResult, aioresponses
from mocket import Mocketizer
from mocket.mocks.mockhttp import Entry

from cybersource_flex import FlexClient, RetryPolicy, Tls, errors, fields
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.emulator import Emulator
from cybersource_flex.testing import TokenFactory
from support.blocking_client import BlockingAsyncClient
from support.page_blocks import tool_block

FIELDS = fields(card=["number", "expirationMonth", "expirationYear"])
DATA = {"card": {"number": "4111111111111111", "expirationMonth": "12", "expirationYear": "2035"}}
FACTORY = TokenFactory()
HOST = "flex.example.com"
SECRET = "c2VjcmV0IG9mIHRoZSBtZXJjaGFudCwgZm9yIHRlc3Rz"
AUTH = JwtSharedSecret("merchant", "a8b0f2c4-5d11-4b0e-9b37-4f5d6b1f2a11", SECRET)
# JWEs differ in each call, because they are encrypted with a random key.
WITH_BODY, WITHOUT_BODY = ["method", "path", "query", "body"], ["method", "path", "query"]


@pytest.fixture(autouse=True)
def _no_other_mocks() -> Iterator[None]:
    yield
    pook.off()
    pook.reset()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def connect(client_class: Any, emulator: Emulator) -> Any:
    """A client of the emulator that does not retry."""
    return client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url, retry=RetryPolicy(attempts=1))


def cassette(path: Path, mode: str, **options: Any) -> Any:
    return vcr.VCR(record_mode=mode, **options).use_cassette(str(path))


@pytest.mark.parametrize("created_inside", [False, True])
def test_vcrpy_replays_what_it_recorded(
    client_class: Any, created_inside: bool, emulator: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "cassette.yaml"

    def call(mode: str) -> Any:
        with contextlib.ExitStack() as stack:
            if not created_inside:
                client = stack.enter_context(connect(client_class, emulator))
            stack.enter_context(cassette(path, mode, match_on=WITH_BODY))
            if created_inside:
                client = stack.enter_context(connect(client_class, emulator))
            return client.create_capture_context(FIELDS)

    recorded = call("once")
    emulator.stop()
    assert call("none") == recorded
    kid = emulator.requests[1].path.rpartition("/")[2]
    paths = [urlsplit(each.uri).path for each in vcr.cassette.Cassette.load(path=str(path)).requests]
    assert paths == ["/flex/v2/sessions", f"/flex/v2/public-keys/{kid}"]


def test_vcrpy_records_a_client_with_open_connections_over_tls(client_class: Any, tmp_path: Path) -> None:
    path = tmp_path / "cassette.yaml"
    with Emulator(tls=True) as emulator, client_class.from_env(emulator.environ) as client:
        for number in range(3):
            emulator.clear()
            if number != 1:
                client.create_capture_context(FIELDS)
                assert emulator.requests
                continue
            with cassette(path, "once", match_on=WITH_BODY):
                recorded = client.create_capture_context(FIELDS)
            assert emulator.requests
            emulator.clear()
            with cassette(path, "none", match_on=WITH_BODY):
                assert client.create_capture_context(FIELDS) == recorded
            assert emulator.requests == []
    gc.collect()


def test_vcrpy_replays_a_payment_long_after_it_was_recorded(
    client_class: Any, emulator: Emulator, tmp_path: Path
) -> None:
    path, recorded_at = tmp_path / "cassette.yaml", time.time()

    def pay(mode: str) -> Any:
        with connect(client_class, emulator) as client, cassette(path, mode, match_on=WITHOUT_BODY):
            token = client.tokenize(client.create_capture_context(FIELDS), DATA)
            return token, client.payment_details(token)

    recorded = pay("once")
    emulator.stop()
    with time_machine.travel(recorded_at + 365 * 86_400):
        with pytest.raises(errors.ExpiredTokenError):
            pay("none")
        with time_machine.travel(recorded_at):
            assert pay("none") == recorded


def test_a_request_that_was_not_recorded_is_not_sent(client_class: Any, emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "cassette.yaml"
    with connect(client_class, emulator) as client:
        with cassette(path, "once", match_on=WITH_BODY):
            client.create_capture_context(FIELDS)
        emulator.clear()
        with (
            cassette(path, "none", match_on=WITH_BODY),
            pytest.raises(vcr.errors.CannotOverwriteExistingCassetteException),
        ):
            client.create_capture_context(fields(card=["number"]))
        assert emulator.requests == []
        # After the cassette, requests are sent again.
        assert client.create_capture_context(fields(card=["number"])).required_fields


def test_a_cassette_contains_no_key_and_no_card_and_its_signatures_can_be_left_out(
    client_class: Any, emulator: Emulator, tmp_path: Path
) -> None:
    names: dict[str, Any] = {}
    exec(tool_block("testing.md", "import vcr"), names)  # noqa: S102
    filters: list[dict[str, Any]] = [{}, {"filter_headers": names["recorder"].filter_headers}]
    contents = []
    for number, options in enumerate(filters):
        path = tmp_path / f"{number}.yaml"
        with connect(client_class, emulator) as client, cassette(path, "once", match_on=WITHOUT_BODY, **options):
            client.tokenize(client.create_capture_context(FIELDS), DATA)
        contents.append(path.read_text("utf-8"))
    for content in contents:
        assert emulator.auth["secret_key"] not in content
        assert "4111111111111111" not in content
    assert [content.count("Bearer ") for content in contents] == [1, 0]


def test_the_recorder_on_the_page(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in emulator.environ.items():
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {}
    exec(tool_block("testing.md", "import vcr"), names)  # noqa: S102
    names["test_capture_context"]()
    emulator.stop()
    names["test_capture_context"]()
    assert "capture_context.yaml" in [path.name for path in tmp_path.iterdir()]


def reply(request_path: str) -> Any:
    """The body and media type of a genuine response."""
    if request_path == "/flex/v2/sessions":
        return FACTORY.capture_context(FIELDS).jwt, "application/jwt"
    return json.dumps({"paymentInformation": {"card": {"number": "XXXXXXXXXXXX1111"}}}), "application/json"


def fake_client(client_class: Any, scheme: str) -> Any:
    return client_class(AUTH, environment=f"{scheme}://{HOST}", keys=FACTORY.keys, retry=RetryPolicy(attempts=1))


JTI, OTHER_JTI = FACTORY.transient_token().jti, FACTORY.transient_token().jti


@pytest.mark.parametrize("created_inside", [False, True])
def test_pook_sees_the_real_path(client_class: Any, created_inside: bool) -> None:
    body, media_type = reply("/flex/v2/sessions")
    with contextlib.ExitStack() as stack:
        if not created_inside:
            client = stack.enter_context(fake_client(client_class, "https"))
        stack.enter_context(pook.use())
        if created_inside:
            client = stack.enter_context(fake_client(client_class, "https"))
        pook.post(f"https://{HOST}/flex/v2/sessions").reply(201).header("content-type", media_type).body(body)
        details, media_type = reply("/flex/v2/payment-details")
        pook.get(f"https://{HOST}/flex/v2/payment-details/{JTI}").times(2).reply(200).header(
            "content-type", media_type
        ).body(details)
        assert client.create_capture_context(FIELDS).jwt == body
        for _ in range(2):
            assert client.payment_details(JTI) == json.loads(details)
        assert pook.isdone()


def test_aioresponses_sees_the_real_path() -> None:
    paths: list[str] = []

    def respond(url: Any, **options: Any) -> CallbackResult:
        paths.append(url.path)
        assert options["headers"]["Authorization"].startswith("Bearer ")
        body, media_type = reply(url.path)
        return CallbackResult(status=200, body=body, content_type=media_type)

    with fake_client(BlockingAsyncClient, "https") as client, aioresponses() as fake:
        fake.post(f"https://{HOST}/flex/v2/sessions", callback=respond)
        fake.get(f"https://{HOST}/flex/v2/payment-details/{JTI}", callback=respond, repeat=True)
        assert client.create_capture_context(FIELDS).required_fields
        for _ in range(2):
            assert client.payment_details(JTI)
        fake.get(f"https://{HOST}/flex/v2/payment-details/{OTHER_JTI}", status=503)
        with pytest.raises(errors.ServerError):
            client.payment_details(OTHER_JTI)
    assert paths == ["/flex/v2/sessions", *[f"/flex/v2/payment-details/{JTI}"] * 2]


# mocket leaves its own sockets open.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_mocket_sees_the_real_path(scheme: str) -> None:
    # mocket replaces the class of TLS contexts, too, so this one is created before.
    options: dict[str, Any] = {"tls": Tls(ssl_context=ssl.create_default_context())} if scheme == "https" else {}
    url = f"{scheme}://localhost:8910"
    with (
        FlexClient(AUTH, environment=url, keys=FACTORY.keys, retry=RetryPolicy(attempts=1), **options) as client,
        Mocketizer(strict_mode=True),
    ):
        for path, method in [("/flex/v2/sessions", Entry.POST), (f"/flex/v2/payment-details/{JTI}", Entry.GET)]:
            body, media_type = reply(path)
            Entry.single_register(method, url + path, body=body, headers={"content-type": media_type}, status=200)
        for _ in range(3):
            assert client.create_capture_context(FIELDS).required_fields
            assert client.payment_details(JTI)
