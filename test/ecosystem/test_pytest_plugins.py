"""The fixtures together with pytest-xdist, pytest-asyncio, anyio and unittest, in a separate run of pytest."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.page_blocks import tool_block
from support.plugin_tests import run_pytest

IMPORTS = """
import asyncio
import os
import unittest

import anyio
import pytest
from cybersource_flex import errors, fields
from cybersource_flex.cards import Card

FIELDS = fields(card=["number", "expirationMonth", "expirationYear"])

async def pay(client):
    context = await client.create_capture_context(FIELDS)
    token = await client.tokenize(context, Card("4111111111111111", expiration="12/31"))
    assert (await client.payment_details(token))["paymentInformation"]
"""


def run(folder: Path, test: str, *options: str) -> str:
    return run_pytest(folder, IMPORTS + test, *options)


def test_xdist(tmp_path: Path) -> None:
    output = run(
        tmp_path,
        """
@pytest.mark.parametrize("number", range(8))
def test_it(flex_client, flex_emulator, flex_tokens, flex_canaries, number):
    flex_canaries.plant("card number", "4111111111111111")
    context = flex_client.create_capture_context(FIELDS)
    token = flex_client.tokenize(context, Card("4111111111111111", expiration="12/31"))
    # The emulators and the recorded requests of the workers are separate.
    assert len(flex_emulator.requests) == 3
    assert flex_tokens.transient_token().masked_number == token.masked_number
    with open(f"{os.environ['PYTEST_XDIST_WORKER']}.urls", "a") as file:
        file.write(flex_emulator.url + "\\n")
""",
        *("-p", "xdist", "-n", "2"),
    )
    assert "8 passed" in output, output
    urls = [set(path.read_text("utf-8").split()) for path in tmp_path.glob("*.urls")]
    assert [len(each) for each in urls] == [1, 1]
    assert urls[0] != urls[1]


@pytest.mark.parametrize("mode", ["strict", "auto"])
@pytest.mark.parametrize("scope", ["function", "module", "session"])
def test_pytest_asyncio(tmp_path: Path, mode: str, scope: str) -> None:
    output = run(
        tmp_path,
        f"""
pytestmark = pytest.mark.asyncio(loop_scope={scope!r})

@pytest.mark.parametrize("number", range(3))
async def test_payments(async_flex_client, number):
    await asyncio.gather(*(pay(async_flex_client) for _ in range(4)))

async def test_faults(async_flex_client, flex_emulator):
    flex_emulator.queue_scenarios(["status-503;retry-after=30"])
    await pay(async_flex_client)

@pytest.mark.xfail(strict=True)
async def test_leak(async_flex_client, flex_canaries):
    print(flex_canaries.plant("the secret", "s3cr3t-of-the-shop"))

async def test_unused(async_flex_client):
    pass
""",
        *("-p", "pytest_asyncio.plugin", f"--asyncio-mode={mode}", "-o", "asyncio_default_fixture_loop_scope=function"),
    )
    assert "5 passed, 1 xfailed in" in output, output


def test_the_asynchronous_test_on_the_page(tmp_path: Path) -> None:
    options = ("-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function")
    output = run(tmp_path, tool_block("testing.md", "async_flex_client"), *options)
    assert "1 passed" in output, output


def test_anyio(tmp_path: Path) -> None:
    output = run(
        tmp_path,
        """
pytestmark = pytest.mark.anyio

@pytest.fixture(params=["asyncio", ("asyncio", {"use_uvloop": True})])
def anyio_backend(request):
    return request.param

@pytest.fixture
async def context(async_flex_client):
    return await async_flex_client.create_capture_context(FIELDS)

async def test_payments(async_flex_client, context):
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(pay, async_flex_client)
    assert await async_flex_client.tokenize(context, Card("4111111111111111", expiration="12/31"))

async def test_faults(async_flex_client, flex_emulator):
    flex_emulator.queue_scenarios(["status-503;retry-after=30"])
    await pay(async_flex_client)

async def test_cancelled(async_flex_client, flex_emulator):
    flex_emulator.queue_scenarios(["latency;seconds=30"])
    with anyio.move_on_after(0.2) as scope:
        await pay(async_flex_client)
    assert scope.cancelled_caught
    await pay(async_flex_client)
""",
        *("-p", "anyio"),
    )
    assert "6 passed" in output, output


def test_anyio_with_trio(tmp_path: Path) -> None:
    output = run(
        tmp_path,
        """
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_it(async_flex_client, anyio_backend):
    with pytest.raises(errors.ConfigurationError, match="asyncio"):
        await pay(async_flex_client)
""",
        *("-p", "anyio", "-W", "ignore::DeprecationWarning"),
    )
    assert "1 passed" in output, output


def test_unittest(tmp_path: Path) -> None:
    output = run(
        tmp_path,
        """
class TestPayments(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def _client(self, async_flex_client, flex_client):
        self.client, self.sync_client = async_flex_client, flex_client

    async def test_it(self):
        await pay(self.client)
        assert self.sync_client.create_capture_context(FIELDS)
""",
    )
    assert "1 passed" in output, output


def test_sentry(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        """
import sentry_sdk
from sentry_sdk.transport import Transport

class Nothing(Transport):
    def capture_envelope(self, envelope):
        pass

sentry_sdk.init(dsn="https://key@sentry.example/1", transport=Nothing, traces_sample_rate=1.0)
""",
        "utf-8",
    )
    output = run(
        tmp_path,
        """
import sentry_sdk

@pytest.mark.asyncio
async def test_it(flex_client, async_flex_client, flex_canaries):
    number = flex_canaries.plant("card number", "4111111111111111")
    with sentry_sdk.start_transaction(name="checkout"):
        await pay(async_flex_client)
        context = flex_client.create_capture_context(FIELDS)
        token = flex_client.tokenize(context, Card(number, expiration="12/31"))
        assert flex_client.payment_details(token)
""",
        *("-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function"),
    )
    assert "1 passed" in output, output
