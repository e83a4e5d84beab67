"""The pytest plugin with the fixtures: emulator, clients, tokens without a server, and ``flex_canaries``.

This module imports only pytest, because pytest loads it in every run, even if no test uses it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..client import AsyncFlexClient, FlexClient
    from ..emulator import Emulator
    from ..jose import CaptureContext, TransientToken
    from ..transport import RetryPolicy
    from .canaries import Canaries
    from .checkout_page import CheckoutPage
    from .tokens import TokenFactory

_EMULATOR: pytest.StashKey[Emulator] = pytest.StashKey()
_CANARIES: pytest.StashKey[Canaries] = pytest.StashKey()


@pytest.fixture(scope="session")
def flex_emulator_options() -> dict[str, Any]:
    """Arguments of the emulator. Override this fixture to change them."""
    return {}


@pytest.fixture(scope="session")
def flex_emulator(pytestconfig: pytest.Config, flex_emulator_options: dict[str, Any]) -> Iterator[Emulator]:
    """A local emulator for the whole run. Its recorded requests and faults are reset before each test."""
    from ..emulator import Emulator

    with Emulator(**flex_emulator_options) as emulator:
        pytestconfig.stash[_EMULATOR] = emulator
        yield emulator
        del pytestconfig.stash[_EMULATOR]


@pytest.fixture
def flex_retry() -> RetryPolicy:
    """The retry policy of ``flex_client`` and ``async_flex_client``. Override this fixture to change it.

    It is the default policy without the waits between attempts.
    """
    from .clients import ImmediateRetryPolicy

    return ImmediateRetryPolicy()


@pytest.fixture
def flex_client(flex_emulator: Emulator, flex_retry: RetryPolicy) -> Iterator[FlexClient]:
    """A client of the emulator's first merchant, with the settings that the emulator's options require."""
    from ..client import FlexClient

    with FlexClient.from_env(flex_emulator.environ, retry=flex_retry) as client:
        yield client


@pytest.fixture
def async_flex_client(flex_emulator: Emulator, flex_retry: RetryPolicy) -> Iterator[AsyncFlexClient]:
    """The same as ``flex_client`` for ``async`` tests, with any plugin that runs them on asyncio."""
    from ..client import AsyncFlexClient
    from .clients import close_async_client

    client = AsyncFlexClient.from_env(flex_emulator.environ, retry=flex_retry)
    yield client
    close_async_client(client)


@pytest.fixture(scope="session")
def flex_tokens() -> TokenFactory:
    """Makes capture contexts and transient tokens with throwaway keys, without a server."""
    from .tokens import TokenFactory

    return TokenFactory()


@pytest.fixture
def flex_capture_context(flex_tokens: TokenFactory) -> CaptureContext:
    """A new capture context for the number, security code and expiry of a card."""
    return flex_tokens.capture_context()


@pytest.fixture
def flex_transient_token(flex_tokens: TokenFactory, flex_capture_context: CaptureContext) -> TransientToken:
    """A transient token of a Visa test card, for ``flex_capture_context``."""
    return flex_tokens.transient_token(flex_capture_context)


@pytest.fixture
def flex_canaries(request: pytest.FixtureRequest) -> Iterator[Canaries]:
    """Plants secrets and fails the test if one appears in logs, warnings, output or watched objects."""
    from .canaries import Canaries

    with Canaries() as canaries:
        request.node.stash[_CANARIES] = canaries
        # The hook below reports leaks in the test as a failure of the test. The end of this block reports leaks in
        # fixtures.
        yield canaries


@pytest.fixture
def flex_checkout_page(page: Any) -> CheckoutPage:
    """A ``CheckoutPage`` for the fixture ``page``, which pytest-playwright provides (Playwright's sync API)."""
    from .checkout_page import CheckoutPage

    return CheckoutPage(page)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Reset the emulator before each test that uses it."""
    emulator = item.config.stash.get(_EMULATOR, None)
    if emulator is not None and "flex_emulator" in getattr(item, "fixturenames", ()):
        emulator.reset_faults()
        emulator.clear()


# `trylast` runs this hook inside the hooks that install the streams of `capsys` and `capfd`.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Record the output of the test itself, and let the test fail if a canary is found."""
    __tracebackhide__ = True
    canaries = item.stash.get(_CANARIES, None)
    if canaries is None:
        return (yield)
    canaries.capture_output()
    result = yield
    canaries.check_once()
    return result
