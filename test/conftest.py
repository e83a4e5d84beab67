"""Fixtures for all tests: test vectors, published samples, frozen time, and clients of both kinds."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partialmethod
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from support.blocking_client import BlockingAsyncApi, BlockingAsyncClient
from support.paths import ROOT, VECTORS

# The time at which the vectors were created: 2026-11-22T12:00:00Z.
VECTOR_TIME = 1795348800
VECTOR_UUID = "3f2b8c1e-9d47-4a6b-8c15-2e7f90ab34cd"


def pytest_configure(config: pytest.Config) -> None:
    if find_spec("click") and version("click").startswith("8.1."):
        # Later versions always keep standard output and standard error apart.
        from click.testing import CliRunner

        CliRunner.__init__ = partialmethod(CliRunner.__init__, mix_stderr=False)  # type: ignore[assignment]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the reasons of skipped tests to a file in tox's environment, for ``tools/not_tested.py``."""
    folder = os.environ.get("TOX_ENV_DIR")
    if folder is not None:
        reasons = [report.longrepr for report in terminalreporter.getreports("skipped")]
        counts = Counter(reason[2].removeprefix("Skipped: ") for reason in reasons if isinstance(reason, tuple))
        (Path(folder) / "not-tested.json").write_text(json.dumps(counts), encoding="utf-8")


@pytest.fixture(scope="session")
def vector_time() -> int:
    """The time at which the vectors were created."""
    return VECTOR_TIME


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Any]:
    """Loads a JSON file of test/vectors by its name."""
    return lambda name: json.loads((VECTORS / name).read_text("utf-8"))


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of published requests, tokens and keys, which are not part of this project."""
    folder = Path(os.environ.get("CYBERSOURCE_FLEX_REFERENCE", ROOT.parent / "shared" / "reference"))
    if not folder.is_dir():
        pytest.skip(f"NOT TESTED against published samples: no folder {folder} (set CYBERSOURCE_FLEX_REFERENCE)")
    return folder


@pytest.fixture
def frozen_time(monkeypatch: pytest.MonkeyPatch) -> int:
    """Freezes the time and the token ids at those of the vectors, and returns the time."""
    import time
    import uuid

    monkeypatch.setattr(time, "time", lambda: float(VECTOR_TIME))
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(VECTOR_UUID))
    return VECTOR_TIME


@pytest.fixture(params=["sync", "async"])
def client_class(request: pytest.FixtureRequest) -> Any:
    """``FlexClient``, then ``AsyncFlexClient`` with blocking methods."""
    from cybersource_flex import FlexClient

    return FlexClient if request.param == "sync" else BlockingAsyncClient


@pytest.fixture(scope="module")
def emulator() -> Iterator[Any]:
    """One emulator for all tests of a file."""
    from cybersource_flex.emulator import Emulator

    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator: Any, client_class: Any) -> Iterator[Any]:
    """A client of the emulator's merchant: ``FlexClient``, then ``AsyncFlexClient`` with blocking methods."""
    from cybersource_flex.auth import JwtSharedSecret

    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        yield client


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A CA that issues certificates for servers, and the files of these."""
    from support.certificates import CertificateAuthority

    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def opened_connections(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The connections that clients open during the test."""
    from cybersource_flex.transport.backends import aiohttp_connections, urllib3_connections

    connections: list[object] = []
    for owner, name in (
        (urllib3_connections.ReusableConnection, "_new_conn"),
        (aiohttp_connections.Protocol, "connection_made"),
    ):
        original = getattr(owner, name)

        def record(self: Any, *arguments: Any, original: Any = original) -> Any:
            connections.append(self)
            return original(self, *arguments)

        monkeypatch.setattr(owner, name, record)
    return connections


@pytest.fixture(params=["sync", "async"])
def make_transport(request: pytest.FixtureRequest) -> Any:
    """Creates a ``Transport`` from settings, then an ``AsyncTransport`` with blocking methods."""
    from cybersource_flex.transport import Transport

    if request.param == "sync":
        return Transport
    from cybersource_flex.transport import AsyncTransport

    return lambda settings: BlockingAsyncClient.wrap(lambda: AsyncTransport(settings))


@pytest.fixture(params=["sync", "async"])
def make_api_client(request: pytest.FixtureRequest) -> Any:
    """Creates an ``ApiClient`` from a configuration, then an ``AsyncApiClient`` with blocking methods."""
    from cybersource_flex import ApiClient, aio

    if request.param == "sync":
        return ApiClient
    return lambda configuration: BlockingAsyncClient.wrap(lambda: aio.AsyncApiClient(configuration))


@pytest.fixture
def api() -> Callable[[type, Any], Any]:
    """Creates a generated API class for a client of ``client_class`` or ``make_api_client``, of the same kind."""
    from cybersource_flex import aio

    def make(api_class: type, client: Any) -> Any:
        if not isinstance(client, BlockingAsyncClient):
            return api_class(getattr(client, "api_client", client))
        wrapped = client.wrapped
        return BlockingAsyncApi(
            client, getattr(aio, f"Async{api_class.__name__}")(getattr(wrapped, "api_client", wrapped))
        )

    return make
