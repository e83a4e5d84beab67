"""What signing a request costs in each scheme, beside the bare cryptographic operation over as many bytes."""

from __future__ import annotations

import hmac
import sys
from functools import partial

import ours
from by_hand import KEYS, PATH, SCHEMES
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from measure import Local, Reading, Spread, compare, ratio

from cybersource_flex.transport import Operation, Request

BODY = b'{"fields":{"paymentInformation":{"card":{"number":{},"securityCode":{"required":false}}}}}'
NOW = 1_800_000_000.0


def measure() -> dict[str, Reading]:
    operation = Operation(name="call", method="POST", path=PATH, signed=True, responses={}, models="")
    host = "apitest.cybersource.com"
    where = {"method": "POST", "url": f"https://{host}{PATH}", "host": host, "target": PATH}
    request = Request(operation, **where, headers={}, body=BODY)
    signers = {scheme: ours.auth(scheme) for scheme in SCHEMES}
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


if __name__ == "__main__":
    import run

    sys.exit(run.main(["signing"]))
