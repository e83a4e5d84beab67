"""A client for each of many merchants in one process: `python create_clients.py official 1000 [URL]`.

With the URL of `stub_server.py flex`, each client also requests a capture context, which this SDK verifies. Prints CPU
time and wall time in seconds, and resident memory in KB, each for all clients together, without a first one that is
created before. Runs in the environment of each SDK.
"""

import gc
import json
import resource
import sys
import time
from pathlib import Path

from raw_urllib3 import KEY_ID, SECRET, body

HOST = "apitest.cybersource.com"


def derived(url):
    """`for_merchant`: a client that shares everything but the credentials."""
    from cybersource_flex import FlexClient
    from cybersource_flex.auth import JwtSharedSecret

    parent = FlexClient(JwtSharedSecret("portfolio", KEY_ID, SECRET), environment=url or f"https://{HOST}")
    return lambda name: parent.for_merchant(auth=JwtSharedSecret(name, KEY_ID, SECRET))


def independent(url):
    """`FlexClient`, with its own connections and key cache."""
    from cybersource_flex import FlexClient
    from cybersource_flex.auth import JwtSharedSecret

    return lambda name: FlexClient(JwtSharedSecret(name, KEY_ID, SECRET), environment=url or f"https://{HOST}")


def call_ours(client):
    from cybersource_flex import fields

    client.create_capture_context(fields(card=["number"]))


def official(url):
    """The official SDK: an API class takes the settings of one merchant."""
    import CyberSource

    def create(name):
        settings = {
            "authentication_type": "JWT",
            "jwt_key_type": "SHARED_SECRET",
            "merchantid": name,
            "merchant_keyid": KEY_ID,
            "merchant_secretkey": SECRET,
            "run_environment": HOST,
        }
        if url:
            settings["IntermediateHost"] = url
        return CyberSource.FlexAPIApi(settings)

    return create


def call_official(client):
    client.generate_flex_api_capture_context(body().decode())


KINDS = {
    "derived": (derived, call_ours),
    "independent": (independent, call_ours),
    "official": (official, call_official),
}


def resident():
    """Resident memory in KB."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmRSS:")[2].split()[0])
    # Only the highest value so far.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


if __name__ == "__main__":
    kind, count, url = sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""
    results, sys.stdout = sys.stdout, sys.stderr
    make, call = KINDS[kind]
    create = make(url)
    clients = []

    def add(name):
        clients.append(create(name))
        if url:
            call(clients[-1])

    add("m0")
    gc.collect()
    before, cpu, started = resident(), time.process_time(), time.perf_counter()
    for number in range(1, count + 1):
        add(f"m{number}")
    cpu, seconds = time.process_time() - cpu, time.perf_counter() - started
    gc.collect()
    results.write(json.dumps({"cpu": cpu, "seconds": seconds, "memory": resident() - before}))
