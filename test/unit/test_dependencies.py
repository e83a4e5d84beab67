"""The bounds of the dependencies in setup.py: each is tested by the environments `lowest-*` of tox."""

from __future__ import annotations

import ast
import gzip
import importlib.util
import re
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cybersource_flex import errors, fields
from cybersource_flex.auth import BearerToken
from cybersource_flex.transport import RetryPolicy

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lowest_versions", ROOT / "tools" / "lowest_versions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lowest_versions_are_those_of_the_requirements(tool: ModuleType) -> None:
    requirements = [
        "urllib3>=2.6,<3",
        "python-dateutil<5,!=2.9.1,>=2.9.0",
        'aiohttp>=3.14,<4; extra == "async"',
        'aiohttp>=3.14,<4; extra == "all"',
        'rich>=13.7; extra == "cli"',
        'old>=1; python_version < "3"',
        'new>=1; python_version > "3"',
    ]
    found = tool.lowest(requirements, ["all", "async"])
    assert found == {"urllib3": "2.6", "python-dateutil": "2.9.0", "aiohttp": "3.14", "new": "1"}


@pytest.mark.parametrize(
    "requirements",
    [
        ["urllib3"],
        ["urllib3<3"],
        ["urllib3>2"],
        ["urllib3!=2"],
        ["urllib3>=2,>=2.1"],
        ['aiohttp>=3.14; extra == "async"', 'aiohttp>=3.13; extra == "all"'],
    ],
)
def test_a_requirement_without_a_lower_bound_is_refused(tool: ModuleType, requirements: list[str]) -> None:
    with pytest.raises(ValueError, match=r"(urllib3|aiohttp) must have one lower bound"):
        tool.lowest(requirements, ["all", "async"])


def test_every_dependency_has_a_lower_bound(tool: ModuleType) -> None:
    tree = ast.parse((ROOT / "setup.py").read_text("utf-8"))
    lists = [each.value for each in tree.body if isinstance(each, ast.Assign) and isinstance(each.value, ast.List)]
    requirements = [requirement for each in lists for requirement in ast.literal_eval(each)]
    lowest = tool.lowest(requirements, [])
    assert lowest.keys() >= {"urllib3", "python-dateutil", "cryptography", "aiohttp", "click", "opentelemetry-api"}
    assert len(lowest) == len(requirements)


def test_the_lowest_versions_are_tested_with_the_oldest_and_the_newest_python() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    environments = set(re.findall(r'^    "([a-z0-9-]+)",$', text, re.MULTILINE))
    tested = sorted((name for name in environments if re.fullmatch(r"py3[0-9]+", name)), key=lambda name: int(name[3:]))
    (oldest,) = re.findall(r'python_requires=">=3\.([0-9]+)"', (ROOT / "setup.py").read_text("utf-8"))
    assert tested[0] == f"py3{oldest}"
    assert {name for name in environments if name.startswith("lowest-")} == {
        f"lowest-{tested[0]}",
        f"lowest-{tested[-1]}",
    }
    assert re.search(r'depends = \[.*"lowest-\*".*\]', text)


@cache
def compressed(*encodings: str) -> bytes:
    """64 MiB, compressed in each of these ways in turn."""
    if not encodings:
        return bytes(64 * MIB)
    compress = gzip.compress if encodings[-1] == "gzip" else zlib.compress
    return compress(compressed(*encodings[:-1]), 9)


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], str]]:
    """A server for one response. Returns its URL."""
    opened: list[Any] = []

    def start(response: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(20)

        def respond() -> None:
            connection, _ = listener.accept()
            with connection, suppress(ConnectionError):
                connection.recv(65536)
                connection.sendall(response)
                # Until the client closes the connection.
                connection.recv(65536)

        thread = threading.Thread(target=respond)
        thread.start()
        opened.append((listener, thread))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener, thread in opened:
        thread.join(20)
        listener.close()
        assert not thread.is_alive()


# Left to decompress, urllib3 before 2.6 makes 1.2 GB of 1,143 bytes, in 27 s, regardless of the limit and the deadline;
# aiohttp before 3.14.1 does about the same. This package allows both, because it decompresses by itself.
@pytest.mark.parametrize("status", ["201 Created", "400 Bad Request", "302 Found"])
@pytest.mark.parametrize("encodings", [["gzip"], ["deflate"], ["gzip", "gzip"], ["gzip", "deflate"], ["gzip"] * 5])
def test_a_compressed_response_costs_no_memory(
    encodings: list[str], status: str, serve: Callable[[bytes], str], connect: Any
) -> None:
    body = compressed(*encodings)
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/jwt\r\nLocation: /\r\nContent-Length: {len(body)}\r\n"
    url = serve(f"{head}Content-Encoding: {', '.join(encodings)}\r\n\r\n".encode("ascii") + body)
    assert memory_of_a_failed_call(connect, url) < 16 * MIB


# aiohttp before 3.13.4 accepts any number of headers.
@pytest.mark.parametrize("status", ["201 Created", "400 Bad Request", "103 Early Hints"])
def test_a_response_with_many_headers_costs_no_memory(status: str, serve: Callable[[bytes], str], connect: Any) -> None:
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"v" * 40) for number in range(150_000))
    url = serve(f"HTTP/1.1 {status}\r\n".encode("ascii") + headers + b"Content-Length: 0\r\n\r\n")
    assert memory_of_a_failed_call(connect, url) < 16 * MIB


def memory_of_a_failed_call(connect: Any, url: str) -> int:
    """The most memory that was in use at once during a call that is sent and fails."""
    wanted = fields(card=["number"])
    with connect(BearerToken("token"), environment=url, retry=RetryPolicy(attempts=1)) as client:
        tracemalloc.start()
        try:
            with pytest.raises(errors.CallError) as caught:
                client.create_capture_context(wanted)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert caught.value.outcome != "not_sent"
    return peak
