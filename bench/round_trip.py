"""CPU of the client in a full round: capture context, verification, encryption, transient token, verification.

Beside it the same with raw urllib3 and bare `cryptography`. The host answers with genuine contexts, whose one-time keys
take turns; the long-term key is known to both.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import by_hand
import ours
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from genuine import CARD, DATA, NAMES, encode
from measure import Local, Reading, compare, ratio, stub

from cybersource_flex import FlexClient, fields

__all__ = ["encrypt", "public_key", "verify"]

ROUNDS = 150


def public_key(jwk: dict[str, str]) -> RSAPublicKey:
    n, e = (int.from_bytes(by_hand.decode(jwk[name]), "big") for name in ("n", "e"))
    return RSAPublicNumbers(e, n).public_key()


def verify(token: str, key: RSAPublicKey) -> Any:
    """The claims, if the signature is the key's: base64, JSON and RSA and nothing else."""
    header, payload, signature = token.split(".")
    key.verify(by_hand.decode(signature), f"{header}.{payload}".encode("ascii"), PKCS1v15(), SHA256())
    json.loads(by_hand.decode(header))
    return json.loads(by_hand.decode(payload))


def encrypt(data: dict[str, Any], context: str, key: RSAPublicKey, kid: str) -> str:
    header = encode(json.dumps({"alg": "RSA-OAEP", "enc": "A256GCM", "kid": kid}).encode("utf-8"))
    plaintext = json.dumps({"data": data, "context": context, "index": 0}).encode("utf-8")
    content_key, iv = AESGCM.generate_key(256), os.urandom(12)
    wrapped = key.encrypt(content_key, OAEP(MGF1(SHA1()), SHA1(), None))  # noqa: S303
    sealed = AESGCM(content_key).encrypt(iv, plaintext, header.encode("ascii"))
    return ".".join((header, encode(wrapped), encode(iv), encode(sealed[:-16]), encode(sealed[-16:])))


def bare(url: str) -> Callable[[], Any]:
    session = by_hand.call("JWT HS256", url)
    pool = by_hand.pool()
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
        answer = pool.request("POST", f"{url}/flex/v2/tokens", body=jwe, headers=types, redirect=False)
        if answer.status != 201:
            raise RuntimeError(f"status {answer.status}")
        token = verify(answer.data.decode("ascii"), key)
        if token["exp"] < time.time():
            raise RuntimeError("expired")
        return token

    return once


def full(url: str) -> Callable[[], Any]:
    client = FlexClient(ours.auth("JWT HS256"), environment=url)

    def once() -> Any:
        return client.tokenize(client.create_capture_context(fields(card=NAMES)), {"card": CARD})

    return once


def measure() -> dict[str, Reading]:
    with stub("flex") as url:
        turns = compare({"bare": Local(bare(url)), "ours": Local(full(url))}, ROUNDS)
    return {"round_trip.cpu": ratio(turns, "ours", "bare")}


if __name__ == "__main__":
    import run

    sys.exit(run.main(["round_trip"]))
