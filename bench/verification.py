"""What verifying and encrypting cost, beside the bare operations of `cryptography` over the same bytes.

Bare verification: base64 and `json.loads` of header and payload, and the RSA signature. Bare encryption: `json.dumps`,
a random key, RSA-OAEP, AES-GCM, and base64. All keys are at hand as objects.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from genuine import DATA, LongTermKey
from measure import Contender, Local, Reading, compare, ratio
from round_trip import encrypt as bare_encrypt
from round_trip import public_key
from round_trip import verify as bare_verify

from cybersource_flex.jose import CachedKeys, encrypt, verify_capture_context, verify_transient_token

ROUNDS = 150
MICROFORM = {
    "clientLibraryIntegrity": "sha256-" + "A" * 43 + "=",
    "clientLibrary": "https://testflex.cybersource.com/microform/bundle/v2.1.0/flex-microform.min.js",
    "allowedCardNetworks": ["VISA", "MASTERCARD", "AMEX", "DISCOVER", "JCB", "CUP"],
    "targetOrigins": ["https://shop.example.com", "https://www.example.com"],
    "mfOrigin": "https://testflex.cybersource.com",
    "allowedPaymentTypes": ["CARD"],
}


def measure() -> dict[str, Reading]:
    service = LongTermKey()
    host_key = public_key(service.jwk)
    kid, context_jwt, token_jwt = service.context_and_token()
    jwk = bare_verify(context_jwt, host_key)["flx"]["jwk"]
    one_time_key = public_key(jwk)
    microform_jwt = service.context(jwk, "mf-2.1.0", MICROFORM)
    keys = CachedKeys(lambda _: service.jwk)
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
    turns = compare(contenders, ROUNDS)
    return {f"verification.{name}": ratio(turns, name, f"bare {name}") for name in pairs}


if __name__ == "__main__":
    import run

    sys.exit(run.main(["verification"]))
