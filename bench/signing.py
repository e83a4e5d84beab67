"""What signing a request costs in each scheme, beside the bare cryptographic operation over as many bytes."""

from __future__ import annotations

import hmac
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from measure import compare

from cybersource_flex.auth import HttpSignature, JwtP12, JwtSharedSecret
from cybersource_flex.transport import Operation, Request

KEYS = Path(__file__).resolve().parents[1] / "test" / "vectors" / "keys"
MERCHANT, KEY_ID = "acme_flex_test_001", "5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f"
SECRET = "19PAsNkIkN3B3XqCZmUh8nl0VVxPJLNFi1AORapEuWs="
BODY = b'{"fields":{"paymentInformation":{"card":{"number":{},"securityCode":{"required":false}}}}}'

MOST_OVER_US = 40.0
MOST_RATIO_RS256 = 1.3


def main() -> int:
    operation = Operation(name="call", method="POST", path="/flex/v2/sessions", signed=True, responses={}, models="")
    host = "apitest.cybersource.com"
    request = Request(
        operation,
        method="POST",
        url=f"https://{host}{operation.path}",
        host=host,
        target=operation.path,
        headers={},
        body=BODY,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        signers = {
            "HTTP Signature": HttpSignature(MERCHANT, KEY_ID, SECRET),
            "JWT HS256": JwtSharedSecret(MERCHANT, KEY_ID, SECRET),
            "JWT RS256": JwtP12(MERCHANT, KEYS / "merchant.p12", "Fake-P12-passw0rd"),
        }
    key = load_pem_private_key((KEYS / "merchant.key.pem").read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    # As many bytes as the token's header and claims have.
    data = signers["JWT RS256"].sign(request, 1_800_000_000.0)["Authorization"].rpartition(".")[0].encode()
    padding, digest = PKCS1v15(), SHA256()
    contenders: dict[str, Callable[[], object]] = {
        "bare HMAC": lambda: hmac.digest(b"k" * 32, data, "sha256"),
        "bare RSA": lambda: key.sign(data, padding, digest),
    }
    for name, signer in signers.items():
        contenders[name] = lambda signer=signer: signer.sign(request, 1_800_000_000.0)  # type: ignore[misc]
    found = compare(contenders)
    rows, failed = [], False
    for name in signers:
        bare = found["bare RSA" if name == "JWT RS256" else "bare HMAC"]
        over, ratio = found[name].median - bare.median, found[name].median / bare.median
        target = f"at most x{MOST_RATIO_RS256}" if name == "JWT RS256" else f"at most {MOST_OVER_US:.0f} us over"
        met = ratio <= MOST_RATIO_RS256 if name == "JWT RS256" else over <= MOST_OVER_US
        failed |= not met
        taken = found[name]
        rows.append(
            f"| {name} | {taken.median:.1f} | {taken.low:.1f} to {taken.high:.1f} | {bare.median:.1f} | {over:.1f} "
            f"| x{ratio:.2f} | {target} | {'yes' if met else 'NO'} |"
        )
    print("| scheme | us a call | 10 % to 90 % | bare, us | over, us | ratio | target | met |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
