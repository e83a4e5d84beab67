"""CPU of a whole call: a typed request built, signed, sent, and its answer read. Beside it raw urllib3."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import urllib3
from measure import compare

from cybersource_flex import ApiClient, Configuration, FlexAPIApi, fields
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.models import GenerateFlexAPICaptureContextRequest

MERCHANT, KEY_ID = "acme_flex_test_001", "5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f"
SECRET = "19PAsNkIkN3B3XqCZmUh8nl0VVxPJLNFi1AORapEuWs="


def b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def floor(url: str) -> Callable[[], object]:
    pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=30))
    key = base64.b64decode(SECRET)
    header = b64(json.dumps({"alg": "HS256", "kid": KEY_ID, "typ": "JWT"}).encode())
    host = url.partition("://")[2]

    def call() -> object:
        card = {name: {"required": True} for name in ("number", "expirationMonth", "expirationYear", "securityCode")}
        body = json.dumps({"fields": {"paymentInformation": {"card": card}}}).encode()
        now = int(time.time())
        claims = {
            "digest": base64.b64encode(hashlib.sha256(body).digest()).decode(),
            "digestAlgorithm": "SHA-256",
            "iat": now,
            "exp": now + 120,
            "iss": MERCHANT,
            "jti": str(uuid.uuid4()),
            "request-host": host,
            "request-method": "POST",
            "request-resource-path": "/flex/v2/sessions",
            "v-c-jwt-version": "2",
            "v-c-merchant-id": MERCHANT,
        }
        signed = header + b"." + b64(json.dumps(claims).encode())
        token = signed + b"." + b64(hmac.digest(key, signed, "sha256"))
        answer = pool.request(
            "POST",
            f"{url}/flex/v2/sessions",
            body=body,
            headers={
                "Authorization": f"Bearer {token.decode()}",
                "Accept": "application/jwt",
                "Content-Type": "application/json;charset=utf-8",
            },
            redirect=False,
        )
        return answer.data.decode()

    return call


def ours(url: str) -> Callable[[], object]:
    api = FlexAPIApi(ApiClient(Configuration(host=url, auth=JwtSharedSecret(MERCHANT, KEY_ID, SECRET))))

    def call() -> object:
        wanted = fields(card=["number", "expirationMonth", "expirationYear", "securityCode"])
        return api.generate_flex_api_capture_context(GenerateFlexAPICaptureContextRequest(fields=wanted))

    return call


def main() -> int:
    command = [sys.executable, str(Path(__file__).with_name("stub.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stub:
        try:
            assert stub.stdout is not None
            url = f"http://127.0.0.1:{stub.stdout.readline().strip()}"
            found = compare({"raw urllib3 and hmac": floor(url), "this package": ours(url)}, rounds=120)
        finally:
            stub.terminate()
    base = found["raw urllib3 and hmac"].median
    print("| JWT HS256 | CPU, us a call | 10 % to 90 % | ratio |")
    print("|---|---|---|---|")
    for name, result in found.items():
        print(f"| {name} | {result.median:.0f} | {result.low:.0f} to {result.high:.0f} | x{result.median / base:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
