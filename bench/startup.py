"""CPU of a fresh interpreter until a package is imported or a first request is signed, without its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import by_hand
import peers
from measure import Reading, ratio, take_turns

ROUNDS, ROUNDS_OF_THE_SLOW = 25, 7

# Says how much CPU time the process has used so far, and ends it.
TELL = "import os, time; os.write(1, str(time.process_time_ns()).encode()); os._exit(0)"
# The real way to a first call, as far as to its signature: the signer's answer is the end of the process.
SIGN = f"""
from cybersource_flex.auth import JwtSharedSecret
class Last(JwtSharedSecret):
    def sign(self, *arguments):
        headers = super().sign(*arguments)
        assert "Authorization" in headers
        {TELL}
auth = Last({by_hand.MERCHANT!r}, {by_hand.KEY_ID!r}, {by_hand.SECRET!r})
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
# Nothing listens there, and nothing is sent. Only for https are the authorities of the system read.
HTTP, HTTPS = 'host = "http://127.0.0.1:9"', 'host = "https://apitest.cybersource.com"'
OURS = {
    "urllib3": f"import urllib3; {TELL}",
    "urllib3_tls": f"import ssl, urllib3; ssl.create_default_context(); {TELL}",
    "import": f"import cybersource_flex; {TELL}",
    "sign": SIGN + HTTP + GENERATED,
    "flex_client": SIGN + HTTP + FLEX_CLIENT,
    "sign_tls": SIGN + HTTPS + GENERATED,
}
# What is held against what.
AGAINST = {"import": "urllib3", "sign": "urllib3", "flex_client": "urllib3", "sign_tls": "urllib3_tls"}


def started(python: Path, program: str) -> float:
    """Milliseconds of CPU."""
    # -I: nothing of the machine's own settings reaches it.
    command = [str(python), "-I", "-W", "ignore", "-c", program]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return int(done.stdout.split()[-1]) / 1e6


def measure() -> dict[str, Reading]:
    ours, official, stock = peers.ours(), peers.official(), peers.stock()
    quick = {"bare": lambda: started(ours, TELL)}
    quick |= {name: lambda p=program: started(ours, p) for name, program in OURS.items()}  # type: ignore[misc]
    turns = take_turns(quick, ROUNDS)
    slow = {
        "bare": quick["bare"],
        "sign_tls": quick["sign_tls"],
        "official": lambda: started(official, f"import CyberSource; {TELL}"),
        "stock": lambda: started(stock, f"import stock_flex; from stock_flex import FlexAPIApi; {TELL}"),
    }
    slow_turns = take_turns(slow, ROUNDS_OF_THE_SLOW)
    readings = {f"startup.{name}": ratio(turns, name, peer, "ms", net_of="bare") for name, peer in AGAINST.items()}
    for peer in ("official", "stock"):
        readings[f"startup.{peer}"] = ratio(slow_turns, "sign_tls", peer, "ms", net_of="bare")
    return readings


if __name__ == "__main__":
    import run

    sys.exit(run.main(["startup"]))
