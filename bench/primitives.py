"""Signing, verifying and encrypting alone, compared with the bare cryptographic operations over the same bytes.

Bare signing: the HMAC or the RSA signature. Bare verification: base64 and `json.loads` of header and payload, and the
RSA signature. Bare encryption: `json.dumps`, a random key, RSA-OAEP, AES-GCM, and base64. All keys are loaded already.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import partial

import sdk
from calls import encrypt as bare_encrypt
from calls import public_key
from calls import verify as bare_verify
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from measure import Contender, Local, Reading, Spread, compare, ratio
from raw_urllib3 import KEYS, PATH, SCHEMES
from token_factory import DATA, LongTermKey

from cybersource_flex.jose import KeyCache, encrypt, verify_capture_context, verify_transient_token
from cybersource_flex.transport import Operation, Request

__all__ = ["measure_signing", "measure_verification"]

BODY = b'{"fields":{"paymentInformation":{"card":{"number":{},"securityCode":{"required":false}}}}}'
NOW = 1_800_000_000.0
VERIFICATION_ROUNDS = 150
MICROFORM = {
    "clientLibraryIntegrity": "sha256-" + "A" * 43 + "=",
    "clientLibrary": "https://testflex.cybersource.com/microform/bundle/v2.1.0/flex-microform.min.js",
    "allowedCardNetworks": ["VISA", "MASTERCARD", "AMEX", "DISCOVER", "JCB", "CUP"],
    "targetOrigins": ["https://shop.example.com", "https://www.example.com"],
    "mfOrigin": "https://testflex.cybersource.com",
    "allowedPaymentTypes": ["CARD"],
}


def measure_signing() -> dict[str, Reading]:
    operation = Operation(name="call", method="POST", path=PATH, requires_auth=True, responses={}, models="")
    host = "apitest.cybersource.com"
    where = {"method": "POST", "url": f"https://{host}{PATH}", "host": host, "target": PATH}
    request = Request(operation, **where, headers={}, body=BODY)
    signers = {scheme: sdk.auth(scheme) for scheme in SCHEMES}
    key = load_pem_private_key((KEYS / "merchant.key.pem").read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    # As many bytes as the token's header and claims have.
    data = signers["JWT RS256"].sign(request, NOW)["Authorization"].rpartition(".")[0].encode()
    padding, digest = PKCS1v15(), SHA256()
    contenders = {
        "HMAC": Local(lambda: hmac.digest(b"k" * 32, data, "sha256")),
        "RSA": Local(lambda: key.sign(data, padding, digest)),
    }
    for scheme, signer in signers.items():
        contenders[scheme] = Local(partial(signer.sign, request, NOW))
    turns = compare(contenders)
    readings = {"signing.rs256": ratio(turns, "JWT RS256", "RSA")}
    for name, scheme in (("http_signature", "HTTP Signature"), ("hs256", "JWT HS256")):
        over = [mine - bare for mine, bare in zip(turns[scheme], turns["HMAC"], strict=True)]
        readings[f"signing.{name}"] = Reading(Spread.of(over), Spread.of(turns[scheme]), Spread.of(turns["HMAC"]), "us")
    return readings


def measure_verification() -> dict[str, Reading]:
    service = LongTermKey()
    host_key = public_key(service.jwk)
    kid, context_jwt, token_jwt = service.context_and_token()
    jwk = bare_verify(context_jwt, host_key)["flx"]["jwk"]
    one_time_key = public_key(jwk)
    microform_jwt = service.context(jwk, "mf-2.1.0", MICROFORM)
    keys = KeyCache(lambda _: service.jwk)
    context = verify_capture_context(context_jwt, keys)

    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "flex": (
            lambda: verify_capture_context(context_jwt, keys),
            lambda: bare_verify(context_jwt, host_key),
        ),
        "microform": (
            lambda: verify_capture_context(microform_jwt, keys),
            lambda: bare_verify(microform_jwt, host_key),
        ),
        "token": (
            lambda: verify_transient_token(token_jwt, context),
            lambda: bare_verify(token_jwt, one_time_key),
        ),
        "encryption": (
            lambda: encrypt(context, DATA),
            lambda: bare_encrypt(DATA, context_jwt, one_time_key, kid),
        ),
    }
    contenders: dict[str, Contender] = {}
    for name, (ours, bare) in pairs.items():
        contenders |= {name: Local(ours), f"bare {name}": Local(bare)}
    turns = compare(contenders, VERIFICATION_ROUNDS)
    return {f"verification.{name}": ratio(turns, name, f"bare {name}") for name in pairs}
