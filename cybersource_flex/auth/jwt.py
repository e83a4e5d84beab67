"""JWT authentication, version 2 (CyberSource REST guide, "Construct Messages Using JWT"; RFC 7519, RFC 7515).

One token a request, in ``Authorization: Bearer``. It carries the digest of the body, the method, the host and the path,
lives two minutes and cannot be used twice.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from .credentials import SharedSecret, check_identifier, shown

if TYPE_CHECKING:
    from ..transport.message import Request

__all__ = ["JwtSharedSecret"]

# Seconds. The service refuses a token whose `exp` is later than this after its `iat`.
LIFETIME: Final = 120

# Sources disagree on the spelling of these two; the service takes either. This is what the official Python SDK sends.
DIGEST_ALGORITHM_CLAIM: Final = "digestAlgorithm"
METHOD_CASE: Final = str.upper


def claims(request: Request, now: float, *, merchant_id: str, issuer: str) -> dict[str, Any]:
    """The claims of the token for one attempt.

    Args:
        request: what will be sent.
        now: seconds since the epoch.
        merchant_id: the merchant in whose name the request is made.
        issuer: who the key belongs to: the merchant, or the portfolio that created a meta key.
    """
    issued_at = int(now)
    out: dict[str, Any] = {}
    if request.body is not None:
        out["digest"] = base64.b64encode(hashlib.sha256(request.body).digest()).decode("ascii")
        out[DIGEST_ALGORITHM_CLAIM] = "SHA-256"
    out["iat"] = issued_at
    out["exp"] = issued_at + LIFETIME
    out["iss"] = issuer
    out["jti"] = str(uuid.uuid4())
    out["request-host"] = request.host
    out["request-method"] = METHOD_CASE(request.method)
    out["request-resource-path"] = request.target
    out["v-c-jwt-version"] = "2"
    out["v-c-merchant-id"] = merchant_id
    if request.response_mle_kid is not None:
        out["v-c-response-mle-kid"] = request.response_mle_kid
    return out


def encode(part: Mapping[str, Any]) -> bytes:
    """A header or claims set as base64url of JSON (RFC 7515 section 2)."""
    return base64url(json.dumps(part, separators=(",", ":")).encode("utf-8"))


def base64url(data: bytes) -> bytes:
    """base64url without padding (RFC 7515 appendix C)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class JwtSharedSecret:
    """Signs requests with a JWT under the shared secret of a REST key (HS256). The scheme to use.

    Args:
        merchant_id: the merchant in whose name requests are made.
        key_id: the key's id, a UUID, as the Business Center shows it.
        secret_key: the key's shared secret, base64, as the Business Center shows it.
        portfolio_id: with a meta key, the portfolio that created it; None with a key of the merchant's own.

    Raises:
        ConfigurationError: a value is empty or malformed. The secret is in no message.
    """

    __slots__ = ("_header", "_secret", "key_id", "merchant_id", "portfolio_id")

    def __init__(self, merchant_id: str, key_id: str, secret_key: str, *, portfolio_id: str | None = None) -> None:
        self.merchant_id = check_identifier("merchant_id", merchant_id)
        self.key_id = check_identifier("key_id", key_id)
        self.portfolio_id = None if portfolio_id is None else check_identifier("portfolio_id", portfolio_id)
        self._secret = SharedSecret(secret_key)
        # The header is the same for every request.
        self._header = encode({"alg": "HS256", "kid": self.key_id, "typ": "JWT"})

    def __repr__(self) -> str:
        return shown(self)

    def sign(self, request: Request, now: float) -> dict[str, str]:
        """``Authorization`` with a fresh token. See ``cybersource_flex.transport.Signer``."""
        issuer = self.portfolio_id or self.merchant_id
        signing_input = self._header + b"." + encode(claims(request, now, merchant_id=self.merchant_id, issuer=issuer))
        signature = base64url(hmac.digest(self._secret.key, signing_input, "sha256"))
        return {"Authorization": f"Bearer {(signing_input + b'.' + signature).decode('ascii')}"}
