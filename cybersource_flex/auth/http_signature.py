"""HTTP Signature, CyberSource's own variant (CyberSource REST guide, "Construct Messages Using HTTP Signature").

An HMAC over a few lines: host, date, method and path, digest of the body, merchant id. Its order of lines, and
``request-target`` without parentheses, are the service's and not those of the expired IETF draft it descends from.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import warnings
from email.utils import formatdate
from typing import TYPE_CHECKING, ClassVar

from .._sealed import sealed
from .credentials import Credential, SharedSecret, check_identifier, ids, shown

if TYPE_CHECKING:
    from ..transport.message import Request

__all__ = ["HttpSignature"]


def string_to_sign(request: Request, date: str, digest: str | None, merchant_id: str) -> tuple[str, str]:
    """The names of the signed lines, and the lines.

    Args:
        request: what will be sent.
        date: value of the ``Date`` header (RFC 9110 section 5.6.7).
        digest: value of the ``Digest`` header, None where there is no body.
        merchant_id: merchant id of the signed line.

    Returns:
        The value of the parameter ``headers``, and the text to sign: ``name: value`` lines joined by a line feed, none
        at the end.
    """
    lines = [
        ("host", request.host),
        ("date", date),
        ("request-target", f"{request.method.lower()} {request.target}"),
    ]
    if digest is not None:
        lines.append(("digest", digest))
    lines.append(("v-c-merchant-id", merchant_id))
    return " ".join(name for name, _ in lines), "\n".join(f"{name}: {value}" for name, value in lines)


@sealed
class HttpSignature(Credential):
    """Signs requests with HTTP Signature (HMAC with SHA-256). Deprecated: CyberSource retires it in March 2027.

    The same key id and secret work with ``JwtSharedSecret``.

    Args:
        merchant_id: the merchant in whose name requests are made.
        key_id: the key's id, a UUID, as the Business Center shows it.
        secret_key: the key's shared secret, base64, as the Business Center shows it.
        portfolio_id: with a meta key, the portfolio that created it; None with a key of the merchant's own.

    Raises:
        ConfigurationError: a value is empty or malformed. The secret is in no message.
    """

    __slots__ = ("_secret", "key_id", "merchant_id", "portfolio_id")

    #: The service knows message-level encryption with JWT alone.
    supports_mle: ClassVar[bool] = False

    def __init__(self, merchant_id: str, key_id: str, secret_key: str, *, portfolio_id: str | None = None) -> None:
        warnings.warn(
            "CyberSource retires HTTP Signature in March 2027; JwtSharedSecret takes the same key id and secret",
            DeprecationWarning,
            stacklevel=3,
        )
        self.merchant_id = check_identifier("merchant_id", merchant_id)
        self.key_id = check_identifier("key_id", key_id)
        self.portfolio_id = None if portfolio_id is None else check_identifier("portfolio_id", portfolio_id)
        self._secret = SharedSecret(secret_key)

    def __repr__(self) -> str:
        return shown(self)

    def facts(self) -> dict[str, str | int | bool | None]:
        """What is safe to tell of the credentials. See ``cybersource_flex.transport.Signer``."""
        return {"scheme": "http_signature", **ids(self), "secret_bytes": len(self._secret)}

    def sign(self, request: Request, now: float) -> dict[str, str]:
        """``Date``, ``Digest``, ``Signature`` and ``v-c-merchant-id``. See ``cybersource_flex.transport.Signer``."""
        date = formatdate(now, usegmt=True)
        out = {"v-c-merchant-id": self.merchant_id, "Date": date}
        digest = None
        if request.body is not None:
            digest = "SHA-256=" + base64.b64encode(hashlib.sha256(request.body).digest()).decode("ascii")
            out["Digest"] = digest
        # With a meta key the signed line names the key's creator and the header the merchant: they differ on purpose.
        names, text = string_to_sign(request, date, digest, self.portfolio_id or self.merchant_id)
        mac = hmac.digest(self._secret.key, text.encode("utf-8"), "sha256")
        out["Signature"] = (
            f'keyid="{self.key_id}", algorithm="HmacSHA256", headers="{names}", '
            f'signature="{base64.b64encode(mac).decode("ascii")}"'
        )
        return out
