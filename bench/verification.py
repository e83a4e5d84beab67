"""What verifying and encrypting cost, beside the bare operations of `cryptography` over the same bytes.

Bare verification: base64 and `json.loads` of header and payload, and the RSA signature. Bare encryption: `json.dumps`,
a random key, RSA-OAEP, AES-GCM, and base64. The long-term key is in the cache.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from measure import compare

from cybersource_flex.jose import CachedKeys, encrypt, verify_capture_context, verify_transient_token

KEYS = Path(__file__).resolve().parents[1] / "test" / "vectors" / "keys"
MOST_VERIFY, MOST_ENCRYPT = 2.2, 1.4

CARD = {"number": "4111111111111111", "securityCode": "123", "expirationMonth": "12", "expirationYear": "2031"}
FIELDS = [f"paymentInformation.card.{name}" for name in CARD]
MICROFORM = {
    "clientLibraryIntegrity": "sha256-" + "A" * 43 + "=",
    "clientLibrary": "https://testflex.cybersource.com/microform/bundle/v2.1.0/flex-microform.min.js",
    "allowedCardNetworks": ["VISA", "MASTERCARD", "AMEX", "DISCOVER", "JCB", "CUP"],
    "targetOrigins": ["https://shop.example.com", "https://www.example.com"],
    "mfOrigin": "https://testflex.cybersource.com",
    "allowedPaymentTypes": ["CARD"],
}


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def load(name: str) -> tuple[RSAPrivateKey, RSAPublicKey, dict[str, Any]]:
    private = load_pem_private_key((KEYS / f"{name}.key.pem").read_bytes(), None)
    assert isinstance(private, RSAPrivateKey)
    return private, private.public_key(), json.loads((KEYS / f"{name}.jwk.json").read_text("utf-8"))


def signed(key: RSAPrivateKey, kid: str, claims: dict[str, Any]) -> str:
    header = {"kid": kid, "alg": "RS256"}
    text = ".".join(encode(json.dumps(part, separators=(",", ":")).encode("utf-8")) for part in (header, claims))
    return f"{text}.{encode(key.sign(text.encode('ascii'), PKCS1v15(), SHA256()))}"


def bare_verify(token: str, key: RSAPublicKey) -> object:
    header, payload, signature = token.split(".")
    key.verify(decode(signature), f"{header}.{payload}".encode("ascii"), PKCS1v15(), SHA256())
    return json.loads(decode(header)), json.loads(decode(payload))


def bare_encrypt(data: dict[str, Any], context: str, key: RSAPublicKey, kid: str) -> str:
    header = encode(json.dumps({"alg": "RSA-OAEP", "enc": "A256GCM", "kid": kid}).encode("utf-8"))
    plaintext = json.dumps({"data": data, "context": context, "index": 0}).encode("utf-8")
    content_key, iv = AESGCM.generate_key(256), os.urandom(12)
    wrapped = key.encrypt(content_key, OAEP(MGF1(SHA1()), SHA1(), None))  # noqa: S303
    sealed = AESGCM(content_key).encrypt(iv, plaintext, header.encode("ascii"))
    return ".".join((header, encode(wrapped), encode(iv), encode(sealed[:-16]), encode(sealed[-16:])))


def main() -> int:
    long_private, long_public, long_jwk = load("flex_longterm")
    one_private, one_public, one_jwk = load("flex_onetime")
    now = int(time.time())
    claims = {
        "flx": {
            "path": "/flex/v2/tokens",
            "data": "A" * 132,
            "origin": "https://testflex.cybersource.com",
            "jwk": one_jwk,
        },
        "ctx": [{"data": {"requiredFields": FIELDS, "optionalFields": []}, "type": "api-0.1.0"}],
        "iss": "Flex API",
        "exp": now + 900,
        "iat": now,
        "jti": "abcdefghijklmnop",
    }
    context_jwt = signed(long_private, long_jwk["kid"], claims)
    microform = {**claims, "ctx": [{"data": MICROFORM, "type": "mf-2.1.0"}]}
    microform_jwt = signed(long_private, long_jwk["kid"], microform)
    shown: dict[str, Any] = {name: {"value": value} for name, value in CARD.items() if name.startswith("exp")}
    shown |= {"number": {"maskedValue": "XXXXXXXXXXXX1111", "bin": "411111"}, "securityCode": {}}
    token = {
        "iss": "Flex/08",
        "exp": now + 900,
        "type": "api-0.1.0",
        "iat": now,
        "jti": "1D" + "A" * 62,
        "content": {"paymentInformation": {"card": shown}},
    }
    token_jwt = signed(one_private, one_jwk["kid"], token)

    keys = CachedKeys(lambda kid: long_jwk)
    context = verify_capture_context(context_jwt, keys)
    data = {"paymentInformation": {"card": CARD}}

    contenders: dict[str, tuple[Callable[[], object], Callable[[], object], float]] = {
        "capture context, Flex API": (
            lambda: verify_capture_context(context_jwt, keys),
            lambda: bare_verify(context_jwt, long_public),
            MOST_VERIFY,
        ),
        "capture context, Microform": (
            lambda: verify_capture_context(microform_jwt, keys),
            lambda: bare_verify(microform_jwt, long_public),
            MOST_VERIFY,
        ),
        "transient token": (
            lambda: verify_transient_token(token_jwt, context),
            lambda: bare_verify(token_jwt, one_public),
            MOST_VERIFY,
        ),
        "encryption": (
            lambda: encrypt(context, data),
            lambda: bare_encrypt(data, context_jwt, one_public, one_jwk["kid"]),
            MOST_ENCRYPT,
        ),
    }
    calls = {name: ours for name, (ours, _, _) in contenders.items()}
    calls |= {f"bare {name}": bare for name, (_, bare, _) in contenders.items()}
    found = compare(calls, rounds=150)
    rows, failed = [], False
    for name, (_, _, most) in contenders.items():
        ours, bare = found[name], found[f"bare {name}"]
        ratio = ours.median / bare.median
        failed |= ratio > most
        rows.append(
            f"| {name} | {ours.median:.1f} | {ours.low:.1f} to {ours.high:.1f} | {bare.median:.1f} | x{ratio:.2f} "
            f"| at most x{most} | {'yes' if ratio <= most else 'NO'} |"
        )
    print("| operation | us a call | 10 % to 90 % | bare, us | ratio | target | met |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
