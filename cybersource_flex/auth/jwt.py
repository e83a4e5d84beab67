"""JWT authentication, version 2 (CyberSource REST guide, "Construct Messages Using JWT"; RFC 7519, RFC 7515).

One token a request, in ``Authorization: Bearer``. It carries the digest of the body, the method, the host and the path,
lives two minutes and cannot be used twice. The layout stands here; the classes differ in who signs the bytes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from .._callables import check_function, check_result
from .._sealed import sealed
from ..errors import ConfigurationError
from .claim_format import JwtClaimFormat
from .credentials import Credential, SharedSecret, check_identifier, ids, shown

if TYPE_CHECKING:
    from ..transport.message import Request

__all__ = ["JwtExternalKey", "JwtSharedSecret", "JwtSigner"]

# Seconds. The service refuses a token whose `exp` is later than this after its `iat`.
LIFETIME: Final = 120

_HMAC: Final = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
_JSON: Final = json.JSONEncoder(separators=(",", ":"))
RSA_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


@sealed
class JwtSigner(Credential):
    """What all JWT signers share: whose key it is, and the token's layout. Made as one of the subclasses.

    Attributes:
        merchant_id: the merchant in whose name requests are made.
        key_id: ``kid`` of the token: which of the merchant's keys signs.
        portfolio_id: with a meta key, the portfolio that created it.
        algorithm: ``alg`` of the token.
        claim_format: names and case of the claims on which CyberSource's sources disagree.
    """

    __slots__ = ("_header", "algorithm", "claim_format", "key_id", "merchant_id", "portfolio_id")

    #: Message-level encryption is defined for JWT alone.
    supports_mle: ClassVar[bool] = True
    _scheme: ClassVar[str] = "custom"

    def __init__(
        self,
        merchant_id: str,
        key_id: str,
        *,
        portfolio_id: str | None,
        algorithm: str,
        algorithms: tuple[str, ...],
        claim_format: JwtClaimFormat,
    ) -> None:
        self.merchant_id = check_identifier("merchant_id", merchant_id)
        self.key_id = check_identifier("key_id", key_id)
        self.portfolio_id = None if portfolio_id is None else check_identifier("portfolio_id", portfolio_id)
        if algorithm not in algorithms:
            raise ConfigurationError(f"algorithm must be one of {', '.join(algorithms)} for {type(self).__name__}")
        self.algorithm = algorithm
        self.claim_format = claim_format
        # The header is the same for every request.
        self._header = _encode({"alg": algorithm, "kid": self.key_id, "typ": "JWT"})

    def __repr__(self) -> str:
        return shown(self)

    def facts(self) -> dict[str, str | int | bool | None]:
        """What is safe to tell of the credentials. See ``cybersource_flex.transport.Signer``."""
        return {
            "scheme": self._scheme,
            **ids(self),
            "algorithm": self.algorithm,
            "spelling_method": self.claim_format.method,
            "spelling_digest": self.claim_format.digest_algorithm,
        }

    def sign(self, request: Request, now: float) -> dict[str, str]:
        """``Authorization`` with a fresh token. See ``cybersource_flex.transport.Signer``."""
        signing_input = self._header + b"." + _encode(self._claims(request, now))
        token = signing_input + b"." + _base64url(self._signature(signing_input))
        return {"Authorization": f"Bearer {token.decode('ascii')}"}

    def _signature(self, data: bytes) -> bytes:
        raise TypeError("JwtSigner has no key; use one of its subclasses")

    def _claims(self, request: Request, now: float) -> dict[str, Any]:
        issued_at = int(now)
        out: dict[str, Any] = {}
        if request.body is not None:
            out["digest"] = base64.b64encode(hashlib.sha256(request.body).digest()).decode("ascii")
            out[self.claim_format.digest_algorithm] = "SHA-256"
        out["iat"] = issued_at
        out["exp"] = issued_at + LIFETIME
        out["iss"] = self.portfolio_id or self.merchant_id
        out["jti"] = str(uuid.uuid4())
        out["request-host"] = request.host
        out["request-method"] = (
            request.method.lower() if self.claim_format.method == "lower" else request.method.upper()
        )
        out["request-resource-path"] = request.target
        out["v-c-jwt-version"] = "2"
        out["v-c-merchant-id"] = self.merchant_id
        if request.response_mle_kid is not None:
            out["v-c-response-mle-kid"] = request.response_mle_kid
        return out


@sealed
class JwtSharedSecret(JwtSigner):
    """Signs requests with a JWT under the shared secret of a REST key. The scheme to use.

    Args:
        merchant_id: the merchant in whose name requests are made.
        key_id: the key's id, a UUID, as the Business Center shows it.
        secret_key: the key's shared secret, base64, as the Business Center shows it.
        portfolio_id: with a meta key, the portfolio that created it; None with a key of the merchant's own.
        algorithm: ``HS256``, ``HS384`` or ``HS512``.
        claim_format: names and case of the claims on which CyberSource's sources disagree.

    Raises:
        ConfigurationError: a value is empty or malformed. The secret is in no message.
    """

    __slots__ = ("_hash", "_secret")

    _scheme: ClassVar[str] = "jwt_shared_secret"

    def __init__(
        self,
        merchant_id: str,
        key_id: str,
        secret_key: str,
        *,
        portfolio_id: str | None = None,
        algorithm: str = "HS256",
        claim_format: JwtClaimFormat = JwtClaimFormat(),  # noqa: B008 - a tuple: nobody can change it
    ) -> None:
        super().__init__(
            merchant_id,
            key_id,
            portfolio_id=portfolio_id,
            algorithm=algorithm,
            algorithms=tuple(_HMAC),
            claim_format=claim_format,
        )
        self._secret = SharedSecret(secret_key)
        self._hash = _HMAC[algorithm]

    def facts(self) -> dict[str, str | int | bool | None]:
        """What is safe to tell of the credentials. See ``cybersource_flex.transport.Signer``."""
        return {**super().facts(), "secret_bytes": len(self._secret)}

    def _signature(self, data: bytes) -> bytes:
        return hmac.digest(self._secret.key, data, self._hash)


@sealed
class JwtExternalKey(JwtSigner):
    """Signs requests with a JWT whose signature comes from elsewhere: an HSM, a key management service.

    Args:
        merchant_id: the merchant in whose name requests are made.
        key_id: the ``kid``: the serialNumber attribute in the subject of the key's certificate, or a secret's id.
        sign: given the bytes to sign, returns the raw signature for ``algorithm`` (RFC 7518 section 3). Called from any
            thread, once for each attempt; what it raises passes through. Not an async function.
        algorithm: ``RS256`` and the like, or ``HS256`` and the like.
        portfolio_id: with a meta key, the portfolio that created it.
        claim_format: names and case of the claims on which CyberSource's sources disagree.

    Raises:
        ConfigurationError: a value is empty or malformed.
    """

    __slots__ = ("_sign",)

    #: On an event loop, ``sign`` is called in a thread.
    blocks: ClassVar[bool] = True
    _scheme: ClassVar[str] = "external_key"

    def __init__(
        self,
        merchant_id: str,
        key_id: str,
        sign: Callable[[bytes], bytes],
        *,
        algorithm: str = "RS256",
        portfolio_id: str | None = None,
        claim_format: JwtClaimFormat = JwtClaimFormat(),  # noqa: B008 - a tuple: nobody can change it
    ) -> None:
        super().__init__(
            merchant_id,
            key_id,
            portfolio_id=portfolio_id,
            algorithm=algorithm,
            algorithms=(*RSA_ALGORITHMS, *_HMAC),
            claim_format=claim_format,
        )
        check_function("sign", sign, "a function from bytes to bytes")
        self._sign = sign

    def _signature(self, data: bytes) -> bytes:
        signature = check_result("sign", self._sign(data))
        if not isinstance(signature, bytes):
            raise TypeError(f"sign returned {type(signature).__name__}; expected the raw signature as bytes")
        return signature


def _encode(part: Mapping[str, Any]) -> bytes:
    """A header or claims set as base64url of JSON (RFC 7515 section 2)."""
    return _base64url(_JSON.encode(part).encode("ascii"))


def _base64url(data: bytes) -> bytes:
    """base64url without padding (RFC 7515 appendix C)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")
