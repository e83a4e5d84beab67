"""Thousands of concurrent calls, and processes that run out of file descriptors.

Each client runs in a separate process with a low limit of open files. The server also runs in a separate process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from support.line_process import LineProcess

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: this system has no limit of open files")

CALLS, THREADS = 3_000, 200
# By default, a client opens at most about 100 connections at once.
MAX_CONNECTIONS = 130

# The server responds with the requested id. The id selects its behaviour: "status-401-..." gets that status, "slow-..."
# is delayed, and "silent-..." gets no response.
SERVER = """
import asyncio, json, re, resource, sys
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
current = peak = requests = 0

async def serve(reader, writer):
    global current, peak, requests
    current += 1
    peak = max(peak, current)
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            requests += 1
            name = head.split(b" ")[1].rpartition(b"/")[2].decode()
            if name.startswith("silent-"):
                await reader.read()
                return
            if name.startswith("slow-"):
                await asyncio.sleep(0.05)
            match = re.match(r"status-(\\d+)-", name)
            status = int(match[1]) if match else 200
            body = b"no JSON" if name.startswith("not-json-") else json.dumps({"id": name}).encode()
            extra = {429: "Retry-After: 0\\r\\n", 307: "Location: http://127.0.0.1:9/\\r\\n"}.get(status, "")
            if name.startswith("not-gzip-"):
                extra = "Content-Encoding: gzip\\r\\n"
            if name.startswith("large-"):
                body = b"x" * 5_000_000
            extra += f"Content-Length: {len(body)}\\r\\n"
            start = f"HTTP/1.1 {status} Some\\r\\nContent-Type: application/json\\r\\n{extra}\\r\\n"
            writer.write(start.encode() + body)
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        current -= 1
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps({"peak": peak, "requests": requests}), flush=True)

asyncio.run(main())
"""

# The first part of each program below. A program prints `report`, which the test checks.
COMMON = """
import asyncio, collections, errno, json, os, resource, sys, time
from concurrent.futures import ThreadPoolExecutor
url, file_limit, calls, concurrency = sys.argv[1], *map(int, sys.argv[2:])
resource.setrlimit(resource.RLIMIT_NOFILE, (file_limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from cybersource_flex import AsyncFlexClient, FlexAPIApi, FlexClient, RetryPolicy, aio
from cybersource_flex.auth import JwtSharedSecret
auth = JwtSharedSecret("merchant", "key", "A" * 43 + "=")
report = {}

def count_descriptors():
    # Listing /proc/self/fd would open another descriptor.
    return sum(map(is_open, range(file_limit)))

def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True

def count_outcomes(outcomes, names):
    \"\"\"Report how many calls got the response to their request, and the errors of the others.\"\"\"
    report["successes"] = sum(outcome == {"id": name} for outcome, name in zip(outcomes, names, strict=True))
    report["errors"] = collections.Counter(describe(each) for each in outcomes if isinstance(each, Exception))

def describe(error):
    return f"{type(error).__name__} {getattr(error, 'outcome', None)}: {error}"

def all_connected(before, client):
    \"\"\"Whether all connections of the pool are open.\"\"\"
    return count_descriptors() >= before + client.api_client.configuration.pool_size

class AllDescriptorsUsed:
    \"\"\"Opens files until the process has no free descriptor, and closes them at the end.\"\"\"
    def __enter__(self):
        self.opened = []
        try:
            while True:
                self.opened.append(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            assert error.errno == errno.EMFILE
    def __exit__(self, *_):
        for number in self.opened:
            os.close(number)

def result_or_error(call):
    try:
        return call()
    except Exception as error:
        return error

async def async_result_or_error(awaitable):
    try:
        return await awaitable
    except Exception as error:
        return error
"""

BURST = {
    "threads": """
policy = RetryPolicy(attempts=1, deadline=30)
with FlexClient(auth, environment=url, retry=policy) as client, ThreadPoolExecutor(concurrency) as pool:
    api = FlexAPIApi(client.api_client)
    names = [f"slow-{number:06d}" for number in range(calls)]
    outcomes = list(pool.map(lambda name: result_or_error(lambda: api.get_payment_details(name)), names))
    count_outcomes(outcomes, names)
    report["next"] = api.get_payment_details("next")
    report["descriptors"] = count_descriptors()
""",
    "event loop": """
async def main():
    async with AsyncFlexClient(auth, environment=url, retry=RetryPolicy(attempts=1, deadline=30)) as client:
        api = aio.AsyncFlexAPIApi(client.api_client)
        names = [f"slow-{number:06d}" for number in range(calls)]
        outcomes = await asyncio.gather(*(api.get_payment_details(name) for name in names), return_exceptions=True)
        count_outcomes(outcomes, names)
        report["next"] = await api.get_payment_details("next")
        report["descriptors"] = count_descriptors()

asyncio.run(main())
""",
}

# The first calls get no response and occupy all connections. Later calls wait for a free connection.
NO_RESPONSE = {
    "threads": """
policy = RetryPolicy(attempts=1, deadline=3)
with FlexClient(auth, environment=url, retry=policy) as client, ThreadPoolExecutor(300) as pool:
    api = FlexAPIApi(client.api_client)
    before = count_descriptors()
    first = [pool.submit(result_or_error, lambda: api.get_payment_details("silent-first")) for _ in range(calls)]
    while not all_connected(before, client):
        pass
    short = RetryPolicy(attempts=1, deadline=0.4)

    def late(number):
        began = time.monotonic()
        error = result_or_error(lambda: api.get_payment_details("silent-late", retry=short))
        return describe(error), time.monotonic() - began

    report["late"] = list(pool.map(late, range(concurrency)))
    report["first"] = collections.Counter(describe(each.result()) for each in first)
    report["next"] = api.get_payment_details("next")
""",
    "event loop": """
async def main():
    async with AsyncFlexClient(auth, environment=url, retry=RetryPolicy(attempts=1, deadline=3)) as client:
        api = aio.AsyncFlexAPIApi(client.api_client)
        before = count_descriptors()
        awaitables = [async_result_or_error(api.get_payment_details("silent-first")) for _ in range(calls)]
        first = list(map(asyncio.ensure_future, awaitables))
        while not all_connected(before, client):
            await asyncio.sleep(0)
        short = RetryPolicy(attempts=1, deadline=0.4)

        async def late(number):
            began = time.monotonic()
            error = await async_result_or_error(api.get_payment_details("silent-late", retry=short))
            return describe(error), time.monotonic() - began

        report["late"] = await asyncio.gather(*map(late, range(concurrency)))
        report["first"] = collections.Counter([describe(await each) for each in first])
        report["next"] = await api.get_payment_details("next")

asyncio.run(main())
""",
}

# No descriptor is free when a client needs to connect. One client is new, the other was used before.
NO_DESCRIPTORS = {
    "threads": """
for kind in ("new", "used"):
    with FlexClient(auth, environment=url, retry=RetryPolicy(attempts=2, initial_delay=0.001)) as client:
        api = FlexAPIApi(client.api_client)
        if kind == "used":
            api.get_payment_details("first")
            client.close()
        with AllDescriptorsUsed():
            error = result_or_error(lambda: api.get_payment_details("second"))
        report[kind] = describe(error), api.get_payment_details("third")
""",
    "event loop": """
async def main():
    for kind in ("new", "used"):
        async with AsyncFlexClient(auth, environment=url, retry=RetryPolicy(attempts=2, initial_delay=0.001)) as client:
            api = aio.AsyncFlexAPIApi(client.api_client)
            if kind == "used":
                await api.get_payment_details("first")
                await client.close()
            with AllDescriptorsUsed():
                error = await async_result_or_error(api.get_payment_details("second"))
            report[kind] = describe(error), await api.get_payment_details("third")

asyncio.run(main())
""",
}

# A connection is open, but no descriptor is free, so no module can be imported. Each error has its usual type.
ERRORS = {
    "status-400-a": "BadRequestError",
    "status-401-a": "AuthenticationError",
    "status-403-a": "PermissionDeniedError",
    "status-404-a": "NotFoundError",
    "status-307-a": "RedirectError",
    "status-429-a": "RateLimitError",
    "status-500-a": "ServerError",
    "status-503-a": "ServerError",
    "not-json-a": "ResponseDecodingError",
    "not-gzip-a": "ResponseDecodingError",
    "large-a": "ResponseTooLargeError",
    "silent-a": "ResponseTimeoutError",
}
NO_DESCRIPTORS_WITH_CONNECTION = {
    "threads": """
for name in json.loads(sys.stdin.read()):
    with FlexClient(auth, environment=url, retry=RetryPolicy(attempts=1), read_timeout=0.3) as client:
        api = FlexAPIApi(client.api_client)
        api.get_payment_details("first")
        with AllDescriptorsUsed():
            error = result_or_error(lambda: api.get_payment_details(name))
            # Programs print errors.
            str(error), repr(error)
        report[name] = f"{type(error).__name__}: {error}"
""",
    "event loop": """
async def main():
    for name in json.loads(sys.stdin.read()):
        policy = RetryPolicy(attempts=1)
        async with AsyncFlexClient(auth, environment=url, retry=policy, read_timeout=0.3) as client:
            api = aio.AsyncFlexAPIApi(client.api_client)
            await api.get_payment_details("first")
            with AllDescriptorsUsed():
                error = await async_result_or_error(api.get_payment_details(name))
                str(error), repr(error)
            report[name] = f"{type(error).__name__}: {error}"

asyncio.run(main())
""",
}


class Server(LineProcess):
    """The server in a separate process."""

    def __init__(self) -> None:
        super().__init__(SERVER)
        self.url = f"http://127.0.0.1:{int(self.first_line)}"

    def counts(self) -> dict[str, int]:
        """The number of ``requests``, and the largest number of connections at a time (``peak``)."""
        counts: dict[str, int] = json.loads(self.send("counts"))
        return counts


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def run(
    program: str, server: Server, *, file_limit: int, calls: int = 0, concurrency: int = 1, stdin: str = ""
) -> dict[str, Any]:
    """Run a program with a limit of open files, and return its report."""
    source = f"{COMMON}\n{program}\nprint(json.dumps(report))"
    arguments = [sys.executable, "-W", "error", "-c", source, server.url, str(file_limit), str(calls), str(concurrency)]
    process = subprocess.run(arguments, input=stdin, capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr[-3000:]
    assert process.stderr == ""
    report: dict[str, Any] = json.loads(process.stdout)
    return report


@pytest.mark.parametrize("file_limit", [256, 1024])
@pytest.mark.parametrize("kind", ["threads", "event loop"])
def test_thousands_of_concurrent_calls_succeed(kind: str, file_limit: int, server: Server) -> None:
    report = run(BURST[kind], server, file_limit=file_limit, calls=CALLS, concurrency=THREADS)
    assert report["errors"] == {}
    assert report["successes"] == CALLS
    assert report["next"] == {"id": "next"}
    counts = server.counts()
    assert counts["requests"] == CALLS + 1, "every request was sent once"
    assert counts["peak"] <= MAX_CONNECTIONS
    assert report["descriptors"] < MAX_CONNECTIONS + 30


@pytest.mark.parametrize("kind", ["threads", "event loop"])
def test_concurrent_calls_with_too_few_descriptors(kind: str, server: Server) -> None:
    # The client would open more connections than it has descriptors. Some calls fail; later calls succeed.
    report = run(BURST[kind], server, file_limit=64, calls=400, concurrency=THREADS)
    for error in report["errors"]:
        assert error.startswith("ConnectionFailedError not_sent: ")
        assert "descriptor" in error or "open files" in error
    assert report["successes"] + sum(report["errors"].values()) == 400
    assert report["successes"] > 0
    assert report["next"] == {"id": "next"}


@pytest.mark.parametrize("kind", ["threads", "event loop"])
def test_waiting_for_a_connection_counts_against_the_deadline(kind: str, server: Server) -> None:
    report = run(NO_RESPONSE[kind], server, file_limit=1024, calls=THREADS, concurrency=20)
    for error, seconds in report["late"]:
        assert error.startswith("ConnectionTimeoutError not_sent: "), "nothing was sent, so a retry is safe"
        assert 0.35 < seconds < 1.5
    assert 50 <= server.counts()["peak"] <= MAX_CONNECTIONS
    # Some of the first calls had a connection, and some never got one.
    errors = {error.partition(":")[0] for error in report["first"]}
    assert "ResponseTimeoutError unknown" in errors
    assert errors <= {"ResponseTimeoutError unknown", "ConnectionTimeoutError not_sent"}
    assert sum(report["first"].values()) == THREADS
    assert report["next"] == {"id": "next"}


@pytest.mark.parametrize("kind", ["threads", "event loop"])
def test_the_error_names_missing_descriptors(kind: str, server: Server) -> None:
    report = run(NO_DESCRIPTORS[kind], server, file_limit=256)
    for client in ("new", "used"):
        error, next_result = report[client]
        assert error.startswith("ConnectionFailedError not_sent: ")
        assert "descriptor" in error or "open files" in error
        assert next_result == {"id": "third"}


@pytest.mark.parametrize("kind", ["threads", "event loop"])
def test_errors_have_their_usual_types_without_free_descriptors(kind: str, server: Server) -> None:
    report = run(NO_DESCRIPTORS_WITH_CONNECTION[kind], server, file_limit=256, stdin=json.dumps(list(ERRORS)))
    types = {name: error.partition(":")[0] for name, error in report.items()}
    assert types == ERRORS, report
