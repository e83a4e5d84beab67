"""What it costs to have the package: CPU time to start, resident memory, and size on disk.

Startup: a fresh interpreter until a package is imported or a first request is signed, minus the interpreter itself.
Memory: a process that has imported a client and made its first call. Size: the wheel, and every file that is installed
with it in site-packages, compiled files included. pip and setuptools are not counted, although the official SDK needs
the latter at run time.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import peers
import psutil
import raw_urllib3
from measure import Reading, Remote, Spread, ratio, stub_server, take_turns

__all__ = ["measure_memory", "measure_size", "measure_startup"]

STARTUP_ROUNDS, SLOW_STARTUP_ROUNDS = 25, 7
MEMORY_SCHEME, MEMORY_ROUNDS = "JWT HS256", 5

# Prints the CPU time of the process so far and exits.
PRINT_CPU = "import os, time; os.write(1, str(time.process_time_ns()).encode()); os._exit(0)"
# The code of a first call up to its signature. The signer ends the process when it has signed.
SIGN = f"""
from cybersource_flex.auth import JwtSharedSecret
class Last(JwtSharedSecret):
    def sign(self, *arguments):
        headers = super().sign(*arguments)
        assert "Authorization" in headers
        {PRINT_CPU}
auth = Last({raw_urllib3.MERCHANT!r}, {raw_urllib3.KEY_ID!r}, {raw_urllib3.SECRET!r})
"""
GENERATED = """
from cybersource_flex import ApiClient, Configuration, FlexAPIApi, fields
from cybersource_flex.models import GenerateFlexAPICaptureContextRequest
request = GenerateFlexAPICaptureContextRequest(fields=fields(card=["number"]))
FlexAPIApi(ApiClient(Configuration(host=host, auth=auth))).generate_flex_api_capture_context(request)
"""
FLEX_CLIENT = """
from cybersource_flex import FlexClient, fields
FlexClient(auth, environment=host).create_capture_context(fields(card=["number"]))
"""
ASYNC_CLIENT = """
import asyncio
from cybersource_flex import AsyncFlexClient, fields
async def main():
    await AsyncFlexClient(auth, environment=host).create_capture_context(fields(card=["number"]))
asyncio.run(main())
"""
# No server listens there, and nothing is sent. The system's CAs are read for https only.
HTTP, HTTPS = 'host = "http://127.0.0.1:9"', 'host = "https://apitest.cybersource.com"'
OURS = {
    "urllib3": f"import urllib3; {PRINT_CPU}",
    "urllib3_tls": f"import ssl, urllib3; ssl.create_default_context(); {PRINT_CPU}",
    "aiohttp_tls": f"import ssl, aiohttp; ssl.create_default_context(); {PRINT_CPU}",
    "import": f"import cybersource_flex; {PRINT_CPU}",
    "sign": SIGN + HTTP + GENERATED,
    "flex_client": SIGN + HTTP + FLEX_CLIENT,
    "sign_tls": SIGN + HTTPS + GENERATED,
    "async_sign_tls": SIGN + HTTPS + ASYNC_CLIENT,
}
# Our measurement, and the peer that it is compared with.
PEERS = {
    "import": "urllib3",
    "sign": "urllib3",
    "flex_client": "urllib3",
    "sign_tls": "urllib3_tls",
    "async_sign_tls": "aiohttp_tls",
}


def cpu_time(python: Path, program: str) -> float:
    """Milliseconds of CPU time."""
    # -I: settings of the machine are ignored.
    command = [str(python), "-I", "-W", "ignore", "-c", program]
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return int(process.stdout.split()[-1]) / 1e6


def measure_startup() -> dict[str, Reading]:
    ours, official, stock = peers.ours(), peers.official(), peers.stock()
    quick = {"bare": lambda: cpu_time(ours, PRINT_CPU)}
    with_aiohttp = peers.ours_async()
    for name, program in OURS.items():
        python = with_aiohttp if "async" in name or "aiohttp" in name else ours
        quick[name] = lambda i=python, p=program: cpu_time(i, p)  # type: ignore[misc]
    turns = take_turns(quick, STARTUP_ROUNDS)
    slow = {
        "bare": quick["bare"],
        "sign_tls": quick["sign_tls"],
        "official": lambda: cpu_time(official, f"import CyberSource; {PRINT_CPU}"),
        "stock": lambda: cpu_time(stock, f"import stock_flex; from stock_flex import FlexAPIApi; {PRINT_CPU}"),
    }
    slow_turns = take_turns(slow, SLOW_STARTUP_ROUNDS)
    readings = {f"startup.{name}": ratio(turns, name, peer, "ms", net_of="bare") for name, peer in PEERS.items()}
    for peer in ("official", "stock"):
        readings[f"startup.{peer}"] = ratio(slow_turns, "sign_tls", peer, "ms", net_of="bare")
    return readings


def resident(python: Path, factory: str, url: str) -> float:
    """Megabytes, according to the operating system."""
    with Remote(python, factory, MEMORY_SCHEME, url) as contender:
        return float(psutil.Process(contender.process.pid).memory_info().rss / 1e6)


def measure_memory() -> dict[str, Reading]:
    with stub_server() as url:
        contenders = {
            "ours": lambda: resident(peers.ours(), "sdk.call", url),
            "urllib3": lambda: resident(peers.ours(), "raw_urllib3.call", url),
            "official": lambda: resident(peers.official(), "peer_clients.official_sdk", url),
            "stock": lambda: resident(peers.stock(), "peer_clients.stock_client", url),
        }
        turns = take_turns(contenders, MEMORY_ROUNDS)
    return {f"memory.{peer}": ratio(turns, "ours", peer, "MB") for peer in ("official", "urllib3", "stock")}


def exactly(value: float) -> Spread:
    return Spread(value, value, value)


def measure_size() -> dict[str, Reading]:
    ours, official = (
        sum(size for _, size in peers.distributions(python).values()) / 1e6
        for python in (peers.ours(), peers.official())
    )
    wheel = exactly(peers.wheel().stat().st_size / 1000)
    return {
        "size.wheel": Reading(wheel, wheel, exactly(0.0), "KB"),
        "size.installed": Reading(exactly(ours / official), exactly(ours), exactly(official), "MB"),
    }
