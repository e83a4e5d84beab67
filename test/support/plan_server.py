"""A server that runs the plans of ``response_plans``, and calls whose outcomes are compared with the plans."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from cybersource_flex import ApiResponse, RetryPolicy, Tls, errors
from cybersource_flex.transport import AsyncTransport, Configuration, Operation, Transport
from support.response_plans import TAG, Action, Plan, Step, Verdict, plan_of

# The number of concurrent calls that the clients support.
CONCURRENCY = 16
# Seconds. The first is the timeout for plans in which the server sends nothing. The second ends a call that hangs.
SHORT_TIMEOUT, MAX_SECONDS = 0.1, 5.0
# Linux: the ioctl that returns how many bytes of a socket have not been sent yet.
_SIOCOUTQNSD = 0x894B
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


class Connection:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.late: tuple[Step, ...] = ()

    async def run(self, step: Step) -> None:
        """Run a step of a plan."""
        if isinstance(step, bytes):
            self.writer.write(step)
            await self.writer.drain()
        elif isinstance(step, float):
            await asyncio.sleep(step)
        elif step is Action.CLOSE:
            self.writer.close()
        elif step is Action.RESET:
            # The client may have closed the connection already. Then there is no socket.
            with suppress(OSError, AttributeError):
                self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self.writer.transport.abort()
        else:
            while await self.reader.read(65536):
                pass

    async def send_late(self) -> None:
        late, self.late = self.late, ()
        for step in late:
            await self.run(step)
            if isinstance(step, bytes):
                await self.wait_until_delivered()
        # asyncio closes sockets in the next iterations of the event loop.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def wait_until_delivered(self) -> None:
        """Wait until the client's operating system has received the written bytes.

        This can take about 40 ms: many small segments fill the congestion window until they are acknowledged.
        """
        if not sys.platform.startswith("linux"):
            await asyncio.sleep(0.1)
            return
        import fcntl

        number = self.writer.get_extra_info("socket").fileno()
        while number >= 0 and struct.unpack("i", fcntl.ioctl(number, _SIOCOUTQNSD, b"\0" * 4)) != (0,):
            await asyncio.sleep(0.001)


class Server:
    """A server that runs plans, in a thread.

    Attributes:
        url: the URL of the server.
        connections: the number of accepted connections.
        received: the tags of all requests whose head was received.
        plan: a function that returns the plan for a tag.
        greeting: bytes to send on each new connection before a request is read.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.connections = 0
        self.received: set[str] = set()
        self.plan: Callable[[str], Plan] = plan_of
        self.greeting = b""
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = context
        self._loop = asyncio.new_event_loop()
        # Small, so that the client cannot send a large request before the server reads it.
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=200)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: asyncio.Server = self._run(
            asyncio.start_server(self._serve, sock=self._socket, ssl=context, limit=1 << 16)
        ).result(MAX_SECONDS)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._end()).result(MAX_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(MAX_SECONDS)
        self._loop.close()

    def send_late(self) -> Future[None]:
        """Run the late steps. The future is done when all bytes are delivered."""
        return self._run(self._send_late())

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _end(self) -> None:
        self._server.close()
        for connection in list(self._open):
            connection.writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send_late(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                await connection.send_late()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(connection)
        self.connections += 1
        try:
            # The client may close the connection at any time.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await connection.run(self.greeting)
                while await self._respond(connection):
                    pass
        finally:
            self._tasks.discard(task)
            self._open.discard(connection)
            writer.transport.abort()

    async def _respond(self, connection: Connection) -> bool:
        """Read a request and run its plan. Returns False if the connection was closed."""
        head = (await connection.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        match = TAG.search(head.partition("\r\n")[0])
        assert match is not None, head
        plan = self.plan(match[0])
        length = re.search(r"\r\ncontent-length: *(\d+)", head, re.I)
        size = 0 if length is None else int(length[1])
        self.received.add(plan.tag)
        if not plan.early:
            await connection.reader.readexactly(size)
        # Set before the response is sent, because the test may call `send_late` as soon as the client received it.
        connection.late = plan.late
        for step in plan.steps:
            await connection.run(step)
            if isinstance(step, Action):
                return False
        if plan.early:
            await connection.reader.readexactly(size)
        return True


def operation_of(plan: Plan) -> Operation:
    return Operation(
        name="call",
        method=plan.method,
        path="/call/{tag}",
        requires_auth=False,
        accept=("application/json",),
        content_type="application/octet-stream" if plan.method == "POST" else None,
        responses={"200": "Dict[str, object]", "201": "Dict[str, object]", "204": None},
        models="cybersource_flex.models",
        retry_safe=plan.method == "GET",
    )


Outcome = ApiResponse[Any] | BaseException


def request_of(plan: Plan, configuration: Configuration) -> tuple[Operation, Any, float | None]:
    operation = operation_of(plan)
    body = b"b" * plan.size if plan.method == "POST" else None
    return (
        operation,
        operation.build_request(configuration, path={"tag": plan.tag}, body=body),
        SHORT_TIMEOUT if plan.waits else None,
    )


def call(transport: Transport, configuration: Configuration, plan: Plan) -> Outcome:
    operation, request, timeout = request_of(plan, configuration)
    try:
        return operation.parse_response(transport.send(request, timeout=timeout))
    except Exception as error:
        return error


async def async_call(transport: AsyncTransport, configuration: Configuration, plan: Plan) -> Outcome:
    operation, request, timeout = request_of(plan, configuration)
    try:
        # This timeout is longer than that of the call. It only ends a call that hangs.
        return operation.parse_response(
            await asyncio.wait_for(transport.send(request, timeout=timeout), 2 * MAX_SECONDS)
        )
    except Exception as error:
        return error


def find_error(plan: Plan, outcome: Outcome, received: bool, strict: bool = True) -> str | None:
    """Describe what is wrong with the outcome of a call. Returns None if it is as expected.

    Args:
        strict: whether a response must be accepted if surplus bytes follow it. aiohttp parses all received bytes at
            once, and rejects the response together with the surplus bytes.
    """
    if isinstance(outcome, errors.TransportError):
        if received and outcome.outcome != "unknown":
            return f"the request was received, but the outcome is {outcome.outcome}"
        if outcome.safe_to_retry and outcome.outcome != "not_sent" and plan.method == "POST":
            return "safe to retry, although the request may have been executed and is not safe to repeat"
        if received and plan.verdict is Verdict.RESPONSE and (strict or not plan.name.startswith("followed")):
            return f"no response: {outcome}"
        return None
    if isinstance(outcome, ApiResponse):
        status, body, headers = outcome.status_code, outcome.raw_data, outcome.headers
    elif isinstance(outcome, errors.ApiException):
        status, body, headers = outcome.status, outcome.body, outcome.headers
    else:
        return f"{type(outcome).__name__}: {outcome}"
    tags = set(TAG.findall(f"{dict(headers)} {body.decode('latin-1')}"))
    if tags - {plan.tag} or headers.get("X-Tag") != plan.tag:
        return f"a response to another request: {status} with {sorted(tags)}"
    if status < 200:
        return f"status {status} returned as a final response"
    if plan.verdict is Verdict.ERROR:
        return f"a response, although the server sent no valid one: {status} {body[:100]!r}"
    if plan.verdict is Verdict.RESPONSE and (status, body) != (plan.status, plan.body):
        return f"not the response that the server sent: {status} {body[:100]!r}"
    return None


def configuration_for(server: Server, ca_file: Path | None = None) -> Configuration:
    tls = None if ca_file is None else Tls(ca_file=ca_file)
    return Configuration(
        host=server.url,
        tls=tls,
        retry=RetryPolicy(attempts=1, deadline=MAX_SECONDS),
        read_timeout=MAX_SECONDS,
        pool_size=CONCURRENCY,
    )
