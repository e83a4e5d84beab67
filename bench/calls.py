"""CPU time of one call, and of the client in a full round, compared with raw urllib3 and with other SDKs.

A call builds, signs and sends a typed request and reads the response. A full round fetches a capture context, verifies
it, encrypts card data, creates a transient token and verifies that. The stub server returns valid signed contexts and
tokens, whose one-time keys rotate; both contenders already know the long-term key.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import peers
import raw_urllib3
import sdk
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from measure import Local, Reading, Remote, compare, ratio, stub_server
from token_factory import CARD, DATA, NAMES, encode

from cybersource_flex import FlexClient, fields

__all__ = ["encrypt", "measure_calls", "measure_round_trip", "public_key", "verify"]

METRIC_NAMES = {"HTTP Signature": "http_signature", "JWT HS256": "hs256", "JWT RS256": "rs256"}
ROUNDS, SLOW_ROUNDS = 150, 40


def measure_calls() -> dict[str, Reading]:
    readings = {}
    for scheme, name in METRIC_NAMES.items():
        with ExitStack() as stack:
            url = stack.enter_context(stub_server())
            floor, ours = Local(raw_urllib3.call(scheme, url)), Local(sdk.call(scheme, url))
            turns = compare({"urllib3": floor, "ours": ours}, ROUNDS)
            readings[f"call.{name}"] = ratio(turns, "ours", "urllib3")
            # Each peer needs a process in memory, so the closer comparison above runs without them.
            others = {
                "official": stack.enter_context(Remote(peers.official(), "peer_clients.official_sdk", scheme, url))
            }
            # The environment of the stock client has no cryptography.
            if scheme != "JWT RS256":
                others["stock"] = stack.enter_context(Remote(peers.stock(), "peer_clients.stock_client", scheme, url))
            turns = compare({"urllib3": floor, "ours": ours, **others}, SLOW_ROUNDS)
            for peer in others:
                readings[f"call.{name}_{peer}"] = ratio(turns, "ours", peer)
    # The lowest ratio that is possible with this key on this machine.
    readings["call.rs256_floor"] = ratio(turns, "urllib3", "official")
    return readings


def public_key(jwk: dict[str, str]) -> RSAPublicKey:
    n, e = (int.from_bytes(raw_urllib3.decode(jwk[name]), "big") for name in ("n", "e"))
    return RSAPublicNumbers(e, n).public_key()


def verify(token: str, key: RSAPublicKey) -> Any:
    """The claims, after checking the signature: base64, JSON and RSA, and nothing else."""
    header, payload, signature = token.split(".")
    key.verify(raw_urllib3.decode(signature), f"{header}.{payload}".encode("ascii"), PKCS1v15(), SHA256())
    json.loads(raw_urllib3.decode(header))
    return json.loads(raw_urllib3.decode(payload))


def encrypt(data: dict[str, Any], context: str, key: RSAPublicKey, kid: str) -> str:
    header = encode(json.dumps({"alg": "RSA-OAEP", "enc": "A256GCM", "kid": kid}).encode("utf-8"))
    plaintext = json.dumps({"data": data, "context": context, "index": 0}).encode("utf-8")
    content_key, iv = AESGCM.generate_key(256), os.urandom(12)
    wrapped = key.encrypt(content_key, OAEP(MGF1(SHA1()), SHA1(), None))  # noqa: S303
    sealed = AESGCM(content_key).encrypt(iv, plaintext, header.encode("ascii"))
    return ".".join((header, encode(wrapped), encode(iv), encode(sealed[:-16]), encode(sealed[-16:])))


def raw_round(url: str) -> Callable[[], Any]:
    session = raw_urllib3.call("JWT HS256", url)
    pool = raw_urllib3.pool()
    host_key = public_key(json.loads(pool.request("GET", f"{url}/flex/v2/public-keys/3g").data))
    types = {"Accept": "application/jwt", "Content-Type": "application/jwt"}

    def once() -> Any:
        context = session()
        claims = verify(context, host_key)
        if claims["exp"] < time.time():
            raise RuntimeError("expired")
        jwk = claims["flx"]["jwk"]
        key = public_key(jwk)
        jwe = encrypt(DATA, context, key, jwk["kid"])
        response = pool.request("POST", f"{url}/flex/v2/tokens", body=jwe, headers=types, redirect=False)
        if response.status != 201:
            raise RuntimeError(f"status {response.status}")
        token = verify(response.data.decode("ascii"), key)
        if token["exp"] < time.time():
            raise RuntimeError("expired")
        return token

    return once


def sdk_round(url: str) -> Callable[[], Any]:
    client = FlexClient(sdk.auth("JWT HS256"), environment=url)

    def once() -> Any:
        return client.tokenize(client.create_capture_context(fields(card=NAMES)), {"card": CARD})

    return once


def measure_round_trip() -> dict[str, Reading]:
    with stub_server("flex") as url:
        turns = compare({"urllib3": Local(raw_round(url)), "ours": Local(sdk_round(url))}, ROUNDS)
    return {"round_trip.cpu": ratio(turns, "ours", "urllib3")}
