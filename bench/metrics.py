"""Every metric of the benchmarks, with its peer and target."""

from __future__ import annotations

from regression import Metric

__all__ = ["METRICS", "SUBJECTS"]

# What `run.py` can measure, in the order of the report, each with its title there.
SUBJECTS = {
    "call": "A call: typed request built, signed, sent, response read; CPU",
    "round_trip": "A full round: context, verify, encrypt, token, verify; CPU of the client",
    "parallel": "32 threads, server responds after 50 ms",
    "asynchronous": "64 calls in flight, server responds after 50 ms",
    "event_loop": "Longest block of an event loop, from creating a client for an https host to the third call",
    "merchants": "Many merchants in one process",
    "distributed": "2,000 cards, server responds after 50 ms: Dask, 2 processes with 16 threads each",
    "startup": "Starting: a fresh interpreter, without the interpreter itself; CPU",
    "memory": "Resident memory of a process after its first call",
    "size": "Size on disk",
    "signing": "Signing alone",
    "verification": "Verifying and encrypting alone",
}

BARE = "raw urllib3 and hmac"
RSA = "raw urllib3 and cryptography"
SDK = "the official SDK"
STOCK = "stock generator output, hmac"

METRICS = [
    Metric("call.http_signature", "HTTP Signature", BARE, 1.25),
    Metric("call.hs256", "JWT HS256", BARE, 1.25),
    Metric("call.rs256", "JWT P12 RS256", RSA, 1.12),
    Metric("call.http_signature_official", "HTTP Signature", SDK),
    Metric("call.hs256_official", "JWT HS256", SDK),
    Metric("call.rs256_official", "JWT P12 RS256", SDK, 1 / 80),
    Metric("call.rs256_floor", "the same by raw urllib3 and cryptography", SDK),
    Metric("call.http_signature_stock", "HTTP Signature", STOCK),
    Metric("call.hs256_stock", "JWT HS256", STOCK),
    Metric("round_trip.cpu", "the five steps", RSA, 1.35),
    # The ideal depends on the machine, so only the ratio to urllib3 is in the baseline.
    Metric("parallel.ideal", "calls a second", "the ideal 640", 0.95, "higher", machine_dependent=True),
    Metric("parallel.urllib3", "calls a second", BARE, 0.95, "higher"),
    Metric("asynchronous.rate", "calls a second", "raw aiohttp and hmac", 0.9, "higher"),
    Metric("asynchronous.cpu", "CPU per call", "raw aiohttp and hmac", 1.25),
    Metric("event_loop.block", "CPU time of the loop's thread", "", 10, unit="ms"),
    Metric("merchants.derived_cpu", "`for_merchant`, CPU of each client", "", 50, unit="us"),
    Metric("merchants.derived_memory", "`for_merchant`, memory of each client", "", 4, unit="KB"),
    Metric("merchants.independent_cpu", "`FlexClient`, CPU of each client after the first", "", 1000, unit="us"),
    Metric("merchants.independent_memory", "`FlexClient`, memory of each client after the first", "", 30, unit="KB"),
    Metric("merchants.rate", "one call for each of 10,000, 32 threads", "10,000 calls for one", 0.9, "higher"),
    Metric("merchants.resident", "memory of that process", "", 100, unit="MB"),
    Metric("distributed.threads", "cards a second", "one process, 32 threads", 1.0, "higher"),
    Metric("distributed.tasks", "cards a second", "one process, 32 asyncio tasks"),
    # This is a few milliseconds without the interpreter, whose own time varies by one.
    Metric("startup.import", "import cybersource_flex", "import urllib3", 0.25, noise=0.05),
    Metric("startup.sign", "import, build a client, sign (HS256)", "import urllib3", 1.6),
    Metric("startup.flex_client", "the same with FlexClient", "import urllib3"),
    Metric("startup.sign_tls", "the same for an https host", "import urllib3, read the CAs", 1.1),
    Metric("startup.async_sign_tls", "the same with AsyncFlexClient", "import aiohttp, read the CAs", 1.1),
    Metric("startup.official", "the same for an https host", "import of the official SDK alone"),
    Metric("startup.stock", "the same for an https host", "import of the stock output alone"),
    Metric("memory.official", "JWT HS256", SDK, 1 / 3),
    Metric("memory.urllib3", "JWT HS256", BARE),
    Metric("memory.stock", "JWT HS256", STOCK),
    Metric("size.wheel", "the wheel", "", 250, unit="KB"),
    Metric("size.installed", "installed with dependencies", SDK, 1 / 4),
    Metric("signing.http_signature", "HTTP Signature", "bare HMAC, the difference", 40, unit="us"),
    Metric("signing.hs256", "JWT HS256", "bare HMAC, the difference", 40, unit="us"),
    Metric("signing.rs256", "JWT P12 RS256", "bare RSA", 1.3),
    Metric("verification.flex", "capture context, Flex API", "bare cryptography", 2.2),
    Metric("verification.microform", "capture context, Microform", "bare cryptography", 2.2),
    Metric("verification.token", "transient token", "bare cryptography", 2.2),
    Metric("verification.encryption", "encryption", "bare cryptography", 1.4),
]
