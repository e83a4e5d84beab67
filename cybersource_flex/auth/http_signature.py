"""HTTP Signature in CyberSource's variant (CyberSource REST guide, "Construct Messages Using HTTP Signature").

The signature is an HMAC over these lines: host, date, method and path, digest of the body, merchant id. The order of
the lines, and ``request-target`` without parentheses, differ from the expired IETF draft.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import warnings
from email.utils import formatdate
from typing import TYPE_CHECKING, ClassVar

from .._runtime.tracebacks import clear_locals_on_error
from .credentials import KeySigner, SharedSecret, check_identifier, id_facts, signer_repr

if TYPE_CHECKING:
    from ..transport.messages import Request

__all__ = ["HttpSignature"]


def string_to_sign(request: Request, date: str, digest: str | None, merchant_id: str) -> tuple[str, str]:
    """Return the names of the signed headers, and the string to sign.

    Args:
        request: the request to sign.
        date: value of the ``Date`` header (RFC 9110 section 5.6.7).
        digest: value of the ``Digest`` header. None if the request has no body.
        merchant_id: value of ``v-c-merchant-id`` in the string to sign.

    Returns:
        The value of the parameter ``headers``, and the string to sign: ``name: value`` lines separated by line feeds.
        There is no line feed at the end.
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


@clear_locals_on_error
class HttpSignature(KeySigner):
    """Signs requests with HTTP Signature (HMAC with SHA-256). Deprecated: CyberSource retires it in March 2027.

    The same key id and secret work with ``JwtSharedSecret``.

    Args:
        merchant_id: id of the merchant that sends the requests.
        key_id: the key's id, a UUID, as the Business Center shows it.
        secret_key: the key's shared secret, base64, as the Business Center shows it.
        portfolio_id: for a meta key, the id of the portfolio that created it. None if the key belongs to the merchant.

    Raises:
        ConfigurationError: a value is empty or malformed. No message contains the secret.
    """

    __slots__ = ("_secret",)

    #: The service supports message-level encryption only with JWT.
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
        return signer_repr(self)

    def diagnostic_facts(self) -> dict[str, str | int | bool | None]:
        """Non-secret facts about the credentials. See ``cybersource_flex.transport.Signer``."""
        return {"scheme": "http_signature", **id_facts(self), "secret_bytes": len(self._secret)}

    def sign(self, request: Request, now: float) -> dict[str, str]:
        """Return the headers ``Date``, ``Digest``, ``Signature`` and ``v-c-merchant-id``.

        See ``cybersource_flex.transport.Signer``.
        """
        date = formatdate(now, usegmt=True)
        headers = {"v-c-merchant-id": self.merchant_id, "Date": date}
        digest = None
        if request.body is not None:
            digest = "SHA-256=" + base64.b64encode(hashlib.sha256(request.body).digest()).decode("ascii")
            headers["Digest"] = digest
        # With a meta key, the signed line names the portfolio and the header names the merchant.
        names, signing_string = string_to_sign(request, date, digest, self.portfolio_id or self.merchant_id)
        mac = hmac.digest(self._secret.key, signing_string.encode("utf-8"), "sha256")
        headers["Signature"] = (
            f'keyid="{self.key_id}", algorithm="HmacSHA256", headers="{names}", '
            f'signature="{base64.b64encode(mac).decode("ascii")}"'
        )
        return headers
