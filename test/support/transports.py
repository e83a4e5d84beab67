"""Transports that return a prepared response, signers, and operations and requests for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from cybersource_flex.transport import Clock, Configuration, Operation, Request, Response, RetryPolicy, Transport

# The type of the fixture ``make_transport``.
MakeTransport = Callable[[Configuration], Transport]
ONE_ATTEMPT = RetryPolicy(attempts=1)


class StubTransport(Transport):
    """Returns the same response for every request, and records requests, timeouts and retry policies."""

    def __init__(self, status: int = 201, body: bytes = b"a.b.c", media_type: str = "application/jwt") -> None:
        self.response = Response(status, "", {"Content-Type": media_type}, body)
        self.sent: list[tuple[Request, float | None, RetryPolicy | None]] = []
        self.close_count = 0

    def send(self, request: Request, *, timeout: float | None = None, retry: RetryPolicy | None = None) -> Response:
        self.sent.append((request, timeout, retry))
        return self.response

    def close(self) -> None:
        self.close_count += 1


class AsyncStubTransport:
    """``StubTransport`` for asynchronous clients."""

    def __init__(self, status: int = 201, body: bytes = b"a.b.c", media_type: str = "application/jwt") -> None:
        self._transport = StubTransport(status, body, media_type)
        self.sent = self._transport.sent
        self.close_count = 0
        self.clock = Clock()

    async def send(
        self, request: Request, *, timeout: float | None = None, retry: RetryPolicy | None = None
    ) -> Response:
        await asyncio.sleep(0)
        return self._transport.send(request, timeout=timeout, retry=retry)

    async def close(self) -> None:
        self.close_count += 1


class StubSigner:
    """Adds the same headers to every request, by default an ``Authorization``."""

    def __init__(self, headers: dict[str, str] | None = None) -> None:
        self._headers = {"Authorization": "Bearer x"} if headers is None else headers

    def sign(self, request: Request, now: float) -> dict[str, str]:
        return self._headers


class CountingSigner:
    """Numbers its signatures: ``Authorization: Bearer 1``. Records the requests and times that it was called with."""

    def __init__(self) -> None:
        self.signed: list[Request] = []
        self.times: list[float] = []

    def sign(self, request: Request, now: float) -> dict[str, str]:
        self.signed.append(request)
        self.times.append(now)
        return {"Authorization": f"Bearer {len(self.times)}"}


def make_operation(**changes: Any) -> Operation:
    """A signed POST with a JSON body and a JSON response."""
    return Operation(
        **{
            "name": "call",
            "method": "POST",
            "path": "/x",
            "requires_auth": True,
            "content_type": "application/json",
            "responses": {"200": "Dict[str, object]"},
            "models": "cybersource_flex.models",
            **changes,
        }
    )


def make_request(
    body: bytes | None = b"{}",
    *,
    name: str = "call",
    method: str = "POST",
    host: str = "apitest.cybersource.com",
    target: str = "/pts/v2/payments",
) -> Request:
    """A request as a signer or message-level encryption receives it."""
    operation = Operation(name=name, method=method, path=target, requires_auth=True, responses={}, models="")
    return Request(
        operation, method=method, url=f"https://{host}{target}", host=host, target=target, headers={}, body=body
    )


OPERATION = make_operation()


def build_request(configuration: Configuration, body: Any = None) -> Request:
    """A request of ``OPERATION``."""
    return OPERATION.build_request(configuration, body={} if body is None else body)


def make_configuration(host: str, **options: Any) -> Configuration:
    """A configuration with a signer, a single attempt, and without the proxies of the environment."""
    defaults = {"auth": StubSigner(), "retry": ONE_ATTEMPT, "proxy_from_environment": False}
    return Configuration(host=host, **{**defaults, **options})
