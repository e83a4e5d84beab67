"""The pytest plugin, run by pytest in a subprocess, and ``Canaries``."""

from __future__ import annotations

import base64
import logging
import re
import sys
import urllib.parse
import warnings
from pathlib import Path

import pytest

from cybersource_flex import errors
from cybersource_flex.testing import Canaries, CanaryFound
from cybersource_flex.testing.encodings import encodings
from support.plugin_tests import run_pytest

VALUE = "c4n4ry/with+odd=chars & more"


def test_the_fixtures_work_together(tmp_path: Path) -> None:
    output = run_pytest(
        tmp_path,
        """
import pytest
from cybersource_flex import errors, fields
from cybersource_flex.cards import Card

FIELDS = fields(card=["number", "expirationMonth", "expirationYear"])

@pytest.fixture(scope="session")
def address(flex_emulator):
    return flex_emulator.url

def test_a_payment(flex_client, flex_emulator, flex_canaries):
    number = flex_canaries.plant("card number", "4111111111111111")
    context = flex_client.create_capture_context(FIELDS)
    with Card(number, expiration="12/31") as card:
        token = flex_canaries.watch(flex_client.tokenize(context, card))
    flex_canaries.plant("transient token", token.jwt)
    assert flex_client.payment_details(token)
    flex_emulator.queue_scenarios(["status-500"] * 9)
    flex_emulator.shift_clock(3600)

def test_the_emulator_is_reset(address, flex_client, flex_emulator):
    assert flex_emulator.url == address
    assert flex_emulator.requests == []
    flex_client.create_capture_context(FIELDS)

@pytest.fixture(scope="session")
def flex_emulator_options():
    return {"payment_credentials": True}

def test_options(flex_emulator):
    assert flex_emulator.credentials_key_pem
""",
    )
    assert "3 passed" in output, output


@pytest.mark.parametrize(
    "options",
    [
        '"merchants": [Merchant.generate("m1", portfolio_id="p1")]',
        '"merchants": [Merchant("m1")], "tls": True, "client_certificates": "required"',
    ],
)
def test_the_client_is_configured_for_the_options_of_the_emulator(tmp_path: Path, options: str) -> None:
    output = run_pytest(
        tmp_path,
        f"""
import pytest
from cybersource_flex import FlexClient, fields
from cybersource_flex.emulator import Merchant

@pytest.fixture(scope="session")
def flex_emulator_options():
    return {{{options}}}

def test_it(flex_client, flex_emulator):
    assert flex_client.create_capture_context(fields(card=["number"]))
    with FlexClient.from_env(flex_emulator.environ) as client:
        assert client.create_capture_context(fields(card=["number"]))
""",
    )
    assert "1 passed" in output, output


def test_tokens_need_no_emulator(tmp_path: Path) -> None:
    output = run_pytest(
        tmp_path,
        """
from cybersource_flex.jose import verify_transient_token

def test_it(flex_tokens, flex_capture_context, flex_transient_token, request):
    verified = verify_transient_token(flex_transient_token.jwt, flex_capture_context)
    assert verified == flex_transient_token
    assert "flex_emulator" not in request.fixturenames
    assert flex_tokens.capture_context() != flex_capture_context
""",
    )
    assert "1 passed" in output, output


@pytest.mark.parametrize(
    ("leak", "location"),
    [
        ("logging.getLogger('shop').debug('number %s', secret)", "the log, DEBUG of shop"),
        ("logging.getLogger('shop').error('no', extra={'card': secret})", "card"),
        ("logging.getLogger('quiet').debug(secret)", "the log, DEBUG of quiet"),
        ("warnings.warn(secret, stacklevel=1)", "a warning, UserWarning"),
        ("print('a', secret)", "sys.stdout"),
        ("sys.stderr.write(secret)", "sys.stderr"),
        ("flex_canaries.watch({'a': [secret]})", "repr() of a watched dict"),
        ("flex_canaries.search(secret.encode(), 'a file')", "a file"),
        ("flex_canaries.watch(ValueError(secret))", "str() of a watched ValueError"),
        ("flex_canaries.watch(Chained(secret))", "ValueError, the cause of Chained"),
        ("flex_canaries.watch(Thing(secret))", "attribute held of a watched Thing"),
    ],
)
def test_a_leak_fails_the_test_without_printing_the_secret(tmp_path: Path, leak: str, location: str) -> None:
    secret = "s3cr3t-of-the-shop"
    output = run_pytest(
        tmp_path,
        f"""
import logging, os, sys, warnings

logging.getLogger("quiet").setLevel(logging.CRITICAL)
logging.getLogger("quiet").propagate = False

class Thing:
    def __init__(self, held):
        self.held = held

class Chained(Exception):
    def __init__(self, message):
        self.__cause__ = ValueError(message)

def test_it(flex_canaries):
    secret = flex_canaries.plant("the secret", "".join(reversed({secret[::-1]!r})))
    {leak}
""",
        "-W",
        "ignore::UserWarning" if "warn" not in leak else "default",
        "--show-capture=no",
        "--disable-warnings",
        "-l",
    )
    assert re.search(r"= 1 failed(, 1 warning)? in", output), output
    assert re.search(rf"the secret: .*{re.escape(location)}", output), output
    assert secret not in output


def test_a_leak_into_captured_output_is_detected(tmp_path: Path) -> None:
    output = run_pytest(
        tmp_path,
        """
def test_it(flex_canaries, capsys):
    print(flex_canaries.plant("the secret", "s3cr3t-of-the-shop"))
    assert capsys.readouterr().out == "s3cr3t-of-the-shop\\n"
""",
        "--show-capture=no",
    )
    assert "1 failed in" in output, output


def test_a_leak_is_an_expected_failure_if_the_test_says_so(tmp_path: Path) -> None:
    output = run_pytest(
        tmp_path,
        """
import pytest

@pytest.mark.xfail(strict=True, raises=AssertionError)
def test_it(flex_canaries):
    print(flex_canaries.plant("the secret", "s3cr3t-of-the-shop"))

@pytest.mark.xfail(strict=True)
def test_without_a_leak(flex_canaries):
    flex_canaries.plant("the secret", "s3cr3t-of-the-shop")
""",
        "--show-capture=no",
    )
    assert "1 failed, 1 xfailed in" in output, output
    assert "[XPASS(strict)]" in output, output


def test_a_leak_of_a_fixture_and_a_leak_of_a_failed_test_are_errors(tmp_path: Path) -> None:
    output = run_pytest(
        tmp_path,
        """
import pytest

SECRET = "s3cr3t-of-the-shop"

@pytest.fixture
def leaking(flex_canaries):
    flex_canaries.plant("the secret", SECRET)
    yield
    print(SECRET)

def test_with_a_fixture(leaking):
    pass

def test_that_fails(flex_canaries):
    print(flex_canaries.plant("the secret", SECRET))
    raise ValueError("another reason")
""",
        "--show-capture=no",
    )
    assert "1 failed, 1 passed, 2 errors in" in output, output


def test_the_clients_do_not_wait_between_attempts(tmp_path: Path) -> None:
    output = run_pytest(
        tmp_path,
        """
import asyncio
import time

import pytest
from cybersource_flex import errors, fields

FIELDS = fields(card=["number"])

@pytest.fixture(params=["flex_client", "async_flex_client"])
def create(request):
    method = request.getfixturevalue(request.param).create_capture_context
    return (lambda: method(FIELDS)) if request.param == "flex_client" else lambda: asyncio.run(method(FIELDS))

def test_retries(create, flex_emulator):
    flex_emulator.queue_scenarios(["status-503;retry-after=50", "status-429"])
    start = time.monotonic()
    assert create()
    assert time.monotonic() - start < 20
    assert [each.status for each in flex_emulator.requests][:3] == [503, 429, 201]

def test_a_wait_beyond_the_deadline_still_ends_the_call(create, flex_emulator):
    flex_emulator.queue_scenarios(["status-503;retry-after=120"])
    with pytest.raises(errors.ServerError):
        create()
    assert len(flex_emulator.requests) == 1
""",
    )
    assert "4 passed" in output, output


def test_a_fixture_sets_the_retry_policy_of_both_clients(tmp_path: Path) -> None:
    output = run_pytest(
        tmp_path,
        """
import asyncio
import pytest
from cybersource_flex import errors, fields

@pytest.fixture
def flex_retry(flex_retry):
    return flex_retry.replace(attempts=5)

def test_it(flex_client, async_flex_client, flex_emulator):
    for call in (
        lambda: flex_client.create_capture_context(fields(card=["number"])),
        lambda: asyncio.run(async_flex_client.create_capture_context(fields(card=["number"]))),
    ):
        flex_emulator.clear()
        flex_emulator.queue_scenarios(["status-503;retry-after=9"] * 9)
        with pytest.raises(errors.ServerError) as caught:
            call()
        assert len(caught.value.attempts) == len(flex_emulator.requests) == 5
""",
    )
    assert "1 passed" in output, output


def test_the_asynchronous_client_is_closed(tmp_path: Path) -> None:
    output = run_pytest(
        tmp_path,
        """
import asyncio
import pytest
from cybersource_flex import fields

@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()

@pytest.fixture
def session(async_flex_client):
    yield
    assert async_flex_client._transport.loop is not None

@pytest.mark.parametrize("number", range(2))
def test_in_a_loop_that_is_still_open(loop, session, async_flex_client, number):
    assert loop.run_until_complete(async_flex_client.create_capture_context(fields(card=["number"])))

def test_in_a_loop_that_has_ended(async_flex_client):
    assert asyncio.run(async_flex_client.create_capture_context(fields(card=["number"])))

def test_unused(async_flex_client):
    pass
""",
    )
    assert "4 passed" in output, output


def test_the_plugin_imports_nothing_unless_it_is_used(tmp_path: Path) -> None:
    output = run_pytest(
        tmp_path,
        """
import sys

def test_it():
    for name in ("urllib3", "cryptography", "starlette", "cybersource_flex.client", "cybersource_flex.emulator"):
        assert name not in sys.modules
    assert "cybersource_flex.testing.canaries" not in sys.modules
""",
    )
    assert "1 passed" in output, output


@pytest.mark.parametrize(
    "output",
    [
        VALUE,
        urllib.parse.quote(VALUE),
        urllib.parse.quote(VALUE, safe=""),
        urllib.parse.quote_plus(VALUE),
        re.sub("%..", lambda match: match[0].lower(), urllib.parse.quote(VALUE, safe="")),
        VALUE.encode().hex(),
        VALUE.encode().hex().upper(),
        *(
            base64.b64encode(b"x" * before + VALUE.encode() + b"y" * after).decode()
            for before in range(4)
            for after in range(4)
        ),
        base64.urlsafe_b64encode(b"user:" + VALUE.encode()).decode().rstrip("="),
    ],
)
def test_encodings_are_detected(output: str) -> None:
    assert any(needle in output for needle in encodings(VALUE))


def test_encodings_of_bytes_and_of_long_and_short_values() -> None:
    data = bytes(range(256))
    assert any(needle in repr({"key": data}) for needle in encodings(data))
    assert any(needle in repr(data[40:120]) for needle in encodings(data))
    assert any(needle in base64.b64encode(data[5:250]).decode() for needle in encodings(data))
    assert any(needle in "4111-1111-1111-1111" for needle in encodings("4111111111111111"))
    assert any(needle in "{'securityCode': '123'}" for needle in encodings("123"))
    assert not any(needle in "line 123, port 1234" for needle in encodings("123"))


def test_canaries_without_pytest() -> None:
    with Canaries() as canaries:
        secret = canaries.secret("key", 24)
        assert len(base64.b64decode(secret)) == 24
        logging.getLogger("shop").info("no secret here")
    with pytest.raises(CanaryFound, match="key, decoded: the log, INFO of shop"), Canaries() as canaries:
        logging.getLogger("shop").info("here: %s", base64.b64decode(canaries.secret("key")).hex())
    with pytest.raises(ValueError, match="empty"):
        Canaries().plant("nothing", "")


def test_logging_warnings_and_streams_are_restored() -> None:
    logger = logging.getLogger("shop.restored")
    logger.setLevel(logging.ERROR)
    state = (sys.stdout, sys.stderr, warnings.showwarning, logging.root.level, list(logging.root.handlers))
    with Canaries():
        assert logger.isEnabledFor(logging.DEBUG)
    assert state == (sys.stdout, sys.stderr, warnings.showwarning, logging.root.level, list(logging.root.handlers))
    assert logger.level == logging.ERROR


def test_allowed_attributes_are_not_searched() -> None:
    body = b'{"number":"4111111111111111"}'
    error = errors.BadRequestError(method="GET", path="/x", status=400, body=body)
    with Canaries() as canaries:
        canaries.plant("card number", "4111111111111111")
        canaries.watch(error, allow=["body"])
        canaries.check()
        canaries.watch(error)
        with pytest.raises(CanaryFound, match="attribute body of a watched BadRequestError"):
            canaries.check()
        canaries._recorded.clear()


def test_frames_of_the_caller_are_ignored() -> None:
    from cybersource_flex.cards import Card

    with Canaries() as canaries:
        number = canaries.plant("card number", "4111111111111112")
        try:
            Card(number, expiration="12/31")
        except errors.InvalidDataError as error:
            canaries.watch(error)
        assert number
