"""Thousands of calls at once, and a process whose descriptors run out.

Each client is in a process of its own with a low limit of open files, and so is the host.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: this system has no limit of open files")

CALLS, THREADS = 3_000, 200
# What the client may open at once by default: about a hundred.
MOST = 130

# Answers with the id that it was asked for: "status-401-..." with that status, "slow-..." late, "silent-..." never.
HOST = """
import asyncio, json, re, resource, sys
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
now = most = total = requests = 0

async def serve(reader, writer):
    global now, most, total, requests
    now, total = now + 1, total + 1
    most = max(most, now)
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
            found = re.match(r"status-(\\d+)-", name)
            status = int(found[1]) if found else 200
            body = b"no JSON" if name.startswith("odd-") else json.dumps({"id": name}).encode()
            extra = {429: "Retry-After: 0\\r\\n", 307: "Location: http://127.0.0.1:9/\\r\\n"}.get(status, "")
            if name.startswith("packed-"):
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
        now -= 1
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps({"now": now, "most": most, "total": total, "requests": requests}), flush=True)

asyncio.run(main())
"""

# What the programs below share. `report` is what a test gets to see.
COMMON = """
import asyncio, collections, errno, json, os, resource, sys, time
from concurrent.futures import ThreadPoolExecutor
url, soft, calls, width = sys.argv[1], *map(int, sys.argv[2:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from cybersource_flex import AsyncFlexClient, FlexAPIApi, FlexClient, RetryPolicy, aio
from cybersource_flex.auth import JwtSharedSecret
auth = JwtSharedSecret("merchant", "key", "A" * 43 + "=")
report = {}

def descriptors():
    # Listing a directory would need one more.
    return sum(map(is_open, range(soft)))

def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True

def count(outcomes, names):
    \"\"\"How many calls got their own response, and what became of the others.\"\"\"
    report["own"] = sum(outcome == {"id": name} for outcome, name in zip(outcomes, names, strict=True))
    report["errors"] = collections.Counter(told(each) for each in outcomes if isinstance(each, Exception))

def told(error):
    return f"{type(error).__name__} {getattr(error, 'outcome', None)}: {error}"

def settle():
    \"\"\"Wait until no more connections are opened.\"\"\"
    before = -1
    while before != (before := descriptors()):
        time.sleep(0.2)

class Full:
    \"\"\"All descriptors are taken.\"\"\"
    def __enter__(self):
        self.taken = []
        try:
            while True:
                self.taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            assert error.errno == errno.EMFILE
    def __exit__(self, *_):
        for number in self.taken:
            os.close(number)

def tried(call):
    try:
        return call()
    except Exception as error:
        return error

async def atried(awaitable):
    try:
        return await awaitable
    except Exception as error:
        return error
"""

BURST = {
    "threads": """
policy = RetryPolicy(attempts=1, deadline=30)
with FlexClient(auth, environment=url, retry=policy) as client, ThreadPoolExecutor(width) as pool:
    api = FlexAPIApi(client.api_client)
    names = [f"slow-{number:06d}" for number in range(calls)]
    outcomes = list(pool.map(lambda name: tried(lambda: api.get_payment_details(name)), names))
    count(outcomes, names)
    report["next"] = api.get_payment_details("next")
    report["descriptors"] = descriptors()
""",
    "event loop": """
async def main():
    async with AsyncFlexClient(auth, environment=url, retry=RetryPolicy(attempts=1, deadline=30)) as client:
        api = aio.FlexAPIApi(client.api_client)
        names = [f"slow-{number:06d}" for number in range(calls)]
        outcomes = await asyncio.gather(*(api.get_payment_details(name) for name in names), return_exceptions=True)
        count(outcomes, names)
        report["next"] = await api.get_payment_details("next")
        report["descriptors"] = descriptors()

asyncio.run(main())
""",
}

# The host does not respond to the first calls, and they hold all connections; the others wait for one.
SILENCE = {
    "threads": """
policy = RetryPolicy(attempts=1, deadline=3)
with FlexClient(auth, environment=url, retry=policy) as client, ThreadPoolExecutor(300) as pool:
    api = FlexAPIApi(client.api_client)
    first = [pool.submit(tried, lambda: api.get_payment_details("silent-first")) for _ in range(calls)]
    settle()
    short = RetryPolicy(attempts=1, deadline=0.4)

    def late(number):
        began = time.monotonic()
        error = tried(lambda: api.get_payment_details("silent-late", retry=short))
        return told(error), time.monotonic() - began

    report["late"] = list(pool.map(late, range(width)))
    report["first"] = collections.Counter(told(each.result()) for each in first)
    report["next"] = api.get_payment_details("next")
""",
    "event loop": """
async def main():
    async with AsyncFlexClient(auth, environment=url, retry=RetryPolicy(attempts=1, deadline=3)) as client:
        api = aio.FlexAPIApi(client.api_client)
        first = [asyncio.ensure_future(atried(api.get_payment_details("silent-first"))) for _ in range(calls)]
        await asyncio.sleep(0)
        before = -1
        while before != (before := descriptors()):
            await asyncio.sleep(0.2)
        short = RetryPolicy(attempts=1, deadline=0.4)

        async def late(number):
            began = time.monotonic()
            error = await atried(api.get_payment_details("silent-late", retry=short))
            return told(error), time.monotonic() - began

        report["late"] = await asyncio.gather(*map(late, range(width)))
        report["first"] = collections.Counter([told(await each) for each in first])
        report["next"] = await api.get_payment_details("next")

asyncio.run(main())
""",
}

# All descriptors are taken when a client, new or used, needs one.
FULL = {
    "threads": """
for kind in ("new", "used"):
    with FlexClient(auth, environment=url, retry=RetryPolicy(attempts=2, base=0.001)) as client:
        api = FlexAPIApi(client.api_client)
        if kind == "used":
            api.get_payment_details("first")
            client.close()
        with Full():
            error = tried(lambda: api.get_payment_details("second"))
        report[kind] = told(error), api.get_payment_details("third")
""",
    "event loop": """
async def main():
    for kind in ("new", "used"):
        async with AsyncFlexClient(auth, environment=url, retry=RetryPolicy(attempts=2, base=0.001)) as client:
            api = aio.FlexAPIApi(client.api_client)
            if kind == "used":
                await api.get_payment_details("first")
                await client.close()
            with Full():
                error = await atried(api.get_payment_details("second"))
            report[kind] = told(error), await api.get_payment_details("third")

asyncio.run(main())
""",
}

# There is a connection, and no descriptor: nothing can be imported, and every error is what it always is.
ERRORS = {
    "status-400-a": "BadRequestError",
    "status-401-a": "AuthenticationError",
    "status-403-a": "PermissionDeniedError",
    "status-404-a": "NotFoundError",
    "status-307-a": "RedirectError",
    "status-429-a": "RateLimitError",
    "status-500-a": "ServerError",
    "status-503-a": "ServerError",
    "odd-a": "ResponseDecodingError",
    "packed-a": "ResponseDecodingError",
    "large-a": "ResponseTooLargeError",
    "silent-a": "ResponseTimeoutError",
}
KINDS = {
    "threads": """
for name in json.loads(sys.stdin.read()):
    with FlexClient(auth, environment=url, retry=RetryPolicy(attempts=1), read_timeout=0.3) as client:
        api = FlexAPIApi(client.api_client)
        api.get_payment_details("first")
        with Full():
            error = tried(lambda: api.get_payment_details(name))
            # What a program does with an error.
            str(error), repr(error)
        report[name] = f"{type(error).__name__}: {error}"
""",
    "event loop": """
async def main():
    for name in json.loads(sys.stdin.read()):
        policy = RetryPolicy(attempts=1)
        async with AsyncFlexClient(auth, environment=url, retry=policy, read_timeout=0.3) as client:
            api = aio.FlexAPIApi(client.api_client)
            await api.get_payment_details("first")
            with Full():
                error = await atried(api.get_payment_details(name))
                str(error), repr(error)
            report[name] = f"{type(error).__name__}: {error}"

asyncio.run(main())
""",
}


class Host:
    """A host in another process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = f"http://127.0.0.1:{int(self._line())}"

    def counts(self) -> dict[str, int]:
        """Of its connections (``now``, ``most`` at once, in ``total``) and ``requests``."""
        assert self._process.stdin is not None
        self._process.stdin.write("counts\n")
        self._process.stdin.flush()
        found: dict[str, int] = json.loads(self._line())
        return found

    def close(self) -> None:
        self._process.communicate(timeout=20)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the host ended"
        return line


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


def run(program: str, host: Host, *, soft: int, calls: int = 0, width: int = 1, given: str = "") -> dict[str, Any]:
    """Run a program with that limit of open files; its report."""
    source = f"{COMMON}\n{program}\nprint(json.dumps(report))"
    arguments = [sys.executable, "-W", "error", "-c", source, host.url, str(soft), str(calls), str(width)]
    done = subprocess.run(arguments, input=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("soft", [256, 1024])
@pytest.mark.parametrize("kind", ["threads", "event loop"])
def test_a_burst_succeeds(kind: str, soft: int, host: Host) -> None:
    report = run(BURST[kind], host, soft=soft, calls=CALLS, width=THREADS)
    assert report["errors"] == {}
    assert report["own"] == CALLS
    assert report["next"] == {"id": "next"}
    counts = host.counts()
    assert counts["requests"] == CALLS + 1, "no call was made twice"
    assert counts["most"] <= MOST
    assert report["descriptors"] < MOST + 30


@pytest.mark.parametrize("kind", ["threads", "event loop"])
def test_a_burst_with_too_few_descriptors(kind: str, host: Host) -> None:
    # Fewer than the connections that the client would open. What it cannot do, it says; and it is over with the burst.
    report = run(BURST[kind], host, soft=64, calls=400, width=THREADS)
    for text in report["errors"]:
        assert text.startswith("ConnectionFailedError not_sent: ")
        assert "descriptor" in text or "open files" in text
    assert report["own"] + sum(report["errors"].values()) == 400
    assert report["own"] > 0
    assert report["next"] == {"id": "next"}


@pytest.mark.parametrize("kind", ["threads", "event loop"])
def test_waiting_for_a_connection_counts_against_the_deadline(kind: str, host: Host) -> None:
    report = run(SILENCE[kind], host, soft=1024, calls=THREADS, width=20)
    for text, seconds in report["late"]:
        assert text.startswith("ConnectionTimeoutError not_sent: "), "nothing was sent, and the call may be made again"
        assert 0.35 < seconds < 1.5
    assert 50 <= host.counts()["most"] <= MOST
    # With a connection, or without one to the end.
    kinds = {text.partition(":")[0] for text in report["first"]}
    assert "ResponseTimeoutError unknown" in kinds
    assert kinds <= {"ResponseTimeoutError unknown", "ConnectionTimeoutError not_sent"}
    assert sum(report["first"].values()) == THREADS
    assert report["next"] == {"id": "next"}


@pytest.mark.parametrize("kind", ["threads", "event loop"])
def test_without_a_descriptor_the_error_says_so(kind: str, host: Host) -> None:
    report = run(FULL[kind], host, soft=256)
    for client in ("new", "used"):
        error, after = report[client]
        assert error.startswith("ConnectionFailedError not_sent: ")
        assert "descriptor" in error or "open files" in error
        assert after == {"id": "third"}


@pytest.mark.parametrize("kind", ["threads", "event loop"])
def test_without_a_descriptor_every_error_is_what_it_always_is(kind: str, host: Host) -> None:
    report = run(KINDS[kind], host, soft=256, given=json.dumps(list(ERRORS)))
    found = {name: text.partition(":")[0] for name, text in report.items()}
    assert found == ERRORS, report
