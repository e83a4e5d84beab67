"""Coverage-guided fuzzing (atheris) of the token parsers: only documented errors, and no slow inputs.

    python test/fuzz/fuzz_tokens.py [seconds] [corpus folder]

The first byte of an input selects the parser. Some targets accept every signature, so that the code after the check is
reached. An input that breaks a rule is written to ``crash-...``, and the exit code is not 0.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import atheris
except ImportError:
    print("NOT FUZZED: atheris is not available for this Python", file=sys.stderr)  # noqa: T201
    sys.exit(0)

with atheris.instrument_imports(include=["cybersource_flex.jose"]):
    from cybersource_flex.jose import capture_context, compact, keys, payment_credentials, storage, transient_token

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cybersource_flex.errors import TokenError

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
NOW = 1_800_000_000
SECONDS_A_KILOBYTE = 0.05
STORAGE_KEY = b"sixteen or more bytes"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def jwk(name: str, kid: str) -> dict[str, Any]:
    return {**json.loads((VECTORS / "keys" / f"{name}.jwk.json").read_text("utf-8")), "kid": kid}


class AcceptAnySignature(keys.PublicKey):
    """A key that accepts every signature."""

    __slots__ = ()

    def verify(self, jws: object, what: str) -> None:
        pass


class Keys:
    def __init__(self, kind: type[keys.PublicKey]) -> None:
        self.key = kind(jwk("flex_longterm", "zz"))

    def get(self, kid: str) -> keys.PublicKey:
        return self.key

    def refresh(self, kid: str) -> None:
        return None


STRICT, LAX = Keys(keys.PublicKey), Keys(AcceptAnySignature)
HEADER, TOKEN_HEADER = b64(b'{"kid":"zz","alg":"RS256"}'), b64(b'{"kid":"one","alg":"RS256"}')
CONTEXT = json.dumps(
    {
        "flx": {"path": "/flex/v2/tokens", "jwk": jwk("flex_onetime", "one")},
        "ctx": [{"data": {"requiredFields": ["a.b"], "optionalFields": []}, "type": "api-0.1.0"}],
        "iss": "Flex API",
        "exp": NOW + 900,
        "iat": NOW,
        "jti": "abcdefghijklmnop",
    }
).encode()
TOKEN = json.dumps(
    {
        "iss": "Flex/08",
        "exp": NOW + 900,
        "type": "api-0.1.0",
        "iat": NOW,
        "jti": "A" * 64,
        "content": {"a": {"b": {"maskedValue": "X1111", "bin": "411111", "detectedCardTypes": ["001"]}}},
    }
).encode()
VERIFIED = capture_context.verify_capture_context(f"{HEADER}.{b64(CONTEXT)}.AAAA", LAX, now=NOW)
LAX_CONTEXT = capture_context.verify_capture_context(f"{HEADER}.{b64(CONTEXT)}.AAAA", LAX, now=NOW)
object.__setattr__(LAX_CONTEXT, "key", AcceptAnySignature(jwk("flex_onetime", "one")))
MERCHANT = load_pem_private_key((VECTORS / "keys" / "response_mle.key.pem").read_bytes(), None)
assert isinstance(MERCHANT, RSAPrivateKey)
PACKED = base64.urlsafe_b64decode(storage.store_capture_context(VERIFIED)[4:].rstrip(".") + "==")


def read(result: Any) -> None:
    for name in dir(type(result)):
        if not name.startswith("_"):
            getattr(result, name)
    repr(result)


def decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


TARGETS: list[Callable[[bytes], object]] = [
    lambda data: capture_context.verify_capture_context(decode(data), STRICT, now=NOW),
    lambda data: transient_token.verify_transient_token(decode(data), VERIFIED, now=NOW),
    lambda data: capture_context.verify_capture_context(f"{b64(data)}.{b64(CONTEXT)}.AAAA", LAX, now=NOW),
    lambda data: read(capture_context.verify_capture_context(f"{HEADER}.{b64(data)}.AAAA", LAX, now=NOW)),
    lambda data: read(transient_token.verify_transient_token(f"{TOKEN_HEADER}.{b64(data)}.AAAA", LAX_CONTEXT, now=NOW)),
    lambda data: storage.restore_capture_context(decode(data), STRICT, now=NOW),
    lambda data: storage.restore_capture_context(f"fc1.{b64(data)}.", LAX, now=NOW),
    lambda data: storage.restore_capture_context(decode(data), STRICT, STORAGE_KEY, now=NOW),
    lambda data: payment_credentials.open_payment_credentials(decode(data), MERCHANT, LAX, now=NOW),
    lambda data: compact.parse_jwe(f"{b64(data)}.AAAA.AAAA.AAAA.AAAA", "token"),
]
HEADERS = (b'{"kid":"zz","alg":"RS256"}', b'{"alg":"RSA-OAEP-256","enc":"A256GCM","exp":1,"kid":"\\u0041"}')
SEEDS: list[bytes] = [
    *(bytes([target]) + f"{HEADER}.{b64(CONTEXT)}.AAAA".encode() for target in (0, 1, 8)),
    *(bytes([target]) + data for target in (2, 9) for data in HEADERS),
    b"\3" + CONTEXT,
    b"\4" + TOKEN,
    b"\5" + storage.store_capture_context(VERIFIED).encode(),
    b"\6" + PACKED,
    b"\7" + storage.store_capture_context(VERIFIED, STORAGE_KEY).encode(),
    b"\0" + b64(b'{"a":"' + b'\\"' * 300 + b"[" * 40).encode() + b".AAAA.AAAA",
]


def run(data: bytes) -> None:
    try:
        TARGETS[data[0] % len(TARGETS)](data[1:])
    except TokenError:
        pass
    except ValueError as error:
        # A stored context with a MAC, and no key to verify it: an error of the caller.
        if "has a MAC" not in str(error):
            raise


def one(data: bytes) -> None:
    if not data:
        return
    started = time.thread_time()
    run(data)
    took = time.thread_time() - started
    if took > SECONDS_A_KILOBYTE * max(1.0, len(data) / 1024):
        raise RuntimeError(f"{took:.3f} s for {len(data)} bytes")


def main() -> None:
    seconds = sys.argv[1] if len(sys.argv) > 1 else "20"
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(folder)
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(SEEDS):
            # Runs twice, so that imports on first use are not counted.
            for check in (run, one):
                check(seed)
            (corpus / f"seed-{number}").write_bytes(seed)
        options = [f"-max_total_time={seconds}", "-max_len=8192", "-timeout=5", "-print_final_stats=1", "-verbosity=1"]
        atheris.Setup([sys.argv[0], *options, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
