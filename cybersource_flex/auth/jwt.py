"""``JwtSharedSecret``, ``JwtExternalKey`` (HSM, KMS), and ``JwtSigner``, the base class of all JWT signers.

JWT authentication, version 2: CyberSource REST guide, "Construct Messages Using JWT"; RFC 7519, RFC 7515.

Each request has its own token in ``Authorization: Bearer``. The token contains the method, the host, the path and the
digest of the body. It is valid for two minutes and cannot be used twice. The signers differ only in how they sign a
token.
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
from .._runtime.tracebacks import clear_locals_on_error
from ..errors import ConfigurationError, InvalidArgumentTypeError
from .claim_format import JwtClaimFormat, check_claim_format
from .credentials import KeySigner, SharedSecret, check_identifier, id_facts, signer_repr

if TYPE_CHECKING:
    from ..transport.messages import Request

__all__ = ["JwtExternalKey", "JwtSharedSecret", "JwtSigner"]

# Seconds. The service rejects a token if `exp - iat` is larger.
LIFETIME: Final = 120

_HMAC: Final = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
_JSON: Final = json.JSONEncoder(separators=(",", ":"))
RSA_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


@clear_locals_on_error
class JwtSigner(KeySigner):
    """Base class of the JWT signers, with the ids and the claims of the token. Use one of the subclasses.

    Attributes:
        merchant_id: id of the merchant that sends the requests.
        key_id: id of the key that signs, sent as ``kid`` of the token.
        portfolio_id: for a meta key, the id of the portfolio that created it. None if the key belongs to the merchant.
        algorithm: ``alg`` of the token.
        claim_format: names and values of the claims on which CyberSource's documents and SDKs disagree.
    """

    __slots__ = ("_header", "algorithm", "claim_format")

    #: The service supports message-level encryption only with JWT.
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
        self.claim_format = check_claim_format(claim_format)
        # The header is the same for every request.
        header = {"alg": algorithm, "kid": self.key_id, "typ": "JWT"}
        self._header = _base64url(_JSON.encode(header).encode("ascii"))

    def __repr__(self) -> str:
        return signer_repr(self)

    def diagnostic_facts(self) -> dict[str, str | int | bool | None]:
        """Non-secret facts about the credentials. See ``cybersource_flex.transport.Signer``."""
        return {
            "scheme": self._scheme,
            **id_facts(self),
            "algorithm": self.algorithm,
            "claim_format_method": self.claim_format.method_case,
            "claim_format_digest": self.claim_format.digest_algorithm_claim,
            "claim_format_digest_value": self.claim_format.digest_algorithm,
            "claim_format_response_mle": self.claim_format.response_mle_claim,
            "claim_format_path": self.claim_format.resource_path,
        }

    def sign(self, request: Request, now: float) -> dict[str, str]:
        """Return the ``Authorization`` header with a new token. See ``cybersource_flex.transport.Signer``."""
        return self._sign_claims(self._claims(request, now))

    def _sign_claims(self, claims: Mapping[str, Any]) -> dict[str, str]:
        signing_input = self._header + b"." + _base64url(_JSON.encode(claims).encode("ascii"))
        token = signing_input + b"." + _base64url(self._signature(signing_input))
        return {"Authorization": f"Bearer {token.decode('ascii')}"}

    def _signature(self, data: bytes) -> bytes:
        raise TypeError("JwtSigner has no key; use one of its subclasses")

    def _claims(self, request: Request, now: float) -> dict[str, Any]:
        issued_at, variant = int(now), self.claim_format
        claims: dict[str, Any] = {}
        if request.body is not None:
            claims["digest"] = base64.b64encode(hashlib.sha256(request.body).digest()).decode("ascii")
            claims[variant.digest_algorithm_claim] = variant.digest_algorithm
        claims["iat"] = issued_at
        claims["exp"] = issued_at + LIFETIME
        claims["iss"] = self.portfolio_id or self.merchant_id
        claims["jti"] = str(uuid.uuid4())
        claims["request-host"] = request.host
        claims["request-method"] = request.method.lower() if variant.method_case == "lower" else request.method.upper()
        claims["request-resource-path"] = (
            request.target.partition("?")[0] if variant.resource_path == "path" else request.target
        )
        claims["v-c-jwt-version"] = "2"
        claims["v-c-merchant-id"] = self.merchant_id
        if request.response_mle_kid is not None:
            claims[variant.response_mle_claim] = request.response_mle_kid
        return claims


@clear_locals_on_error
class JwtSharedSecret(JwtSigner):
    """Signs requests with a JWT and the shared secret of a REST key. The recommended signer.

    Args:
        merchant_id: id of the merchant that sends the requests.
        key_id: the key's id, a UUID, as the Business Center shows it.
        secret_key: the key's shared secret, base64, as the Business Center shows it.
        portfolio_id: for a meta key, the id of the portfolio that created it. None if the key belongs to the merchant.
        algorithm: ``HS256``, ``HS384`` or ``HS512``.
        claim_format: names and values of the claims on which CyberSource's documents and SDKs disagree.

    Raises:
        ConfigurationError: a value is empty or malformed. No message contains the secret.
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
        claim_format: JwtClaimFormat = JwtClaimFormat(),  # noqa: B008 - a tuple, which cannot be modified
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

    def diagnostic_facts(self) -> dict[str, str | int | bool | None]:
        """Non-secret facts about the credentials. See ``cybersource_flex.transport.Signer``."""
        return {**super().diagnostic_facts(), "secret_bytes": len(self._secret)}

    def _signature(self, data: bytes) -> bytes:
        return hmac.digest(self._secret.key, data, self._hash)


@clear_locals_on_error
class JwtExternalKey(JwtSigner):
    """Signs requests with a JWT and an external key, such as one in an HSM or a key management service.

    Args:
        merchant_id: id of the merchant that sends the requests.
        key_id: id of the key, sent as ``kid`` of the token. For a certificate, it is the serialNumber attribute of the
            subject. For a shared secret, it is the UUID that the Business Center shows.
        sign: a function that takes the bytes to sign and returns the raw signature for ``algorithm`` (RFC 7518 section
            3). The function is called once for each attempt, from any thread. Its exceptions propagate. It must not be
            async.
        algorithm: ``RS256``, ``RS384``, ``RS512``, or one of these with ``PS`` or ``HS`` instead of ``RS``.
        portfolio_id: for a meta key, the id of the portfolio that created it. None if the key belongs to the merchant.
        claim_format: names and values of the claims on which CyberSource's documents and SDKs disagree.

    Raises:
        ConfigurationError: a value is empty or malformed.
    """

    __slots__ = ("_sign",)

    _content = "a function that signs"

    #: The async client calls ``sign`` in a thread.
    may_block: ClassVar[bool] = True
    _scheme: ClassVar[str] = "external_key"

    def __init__(
        self,
        merchant_id: str,
        key_id: str,
        sign: Callable[[bytes], bytes],
        *,
        algorithm: str = "RS256",
        portfolio_id: str | None = None,
        claim_format: JwtClaimFormat = JwtClaimFormat(),  # noqa: B008 - a tuple, which cannot be modified
    ) -> None:
        super().__init__(
            merchant_id,
            key_id,
            portfolio_id=portfolio_id,
            algorithm=algorithm,
            algorithms=(*RSA_ALGORITHMS, *_HMAC),
            claim_format=claim_format,
        )
        check_function("sign", sign, "a function that takes and returns bytes")
        self._sign = sign

    def _signature(self, data: bytes) -> bytes:
        signature = check_result("sign", self._sign(data))
        if not isinstance(signature, bytes):
            raise InvalidArgumentTypeError(
                f"sign returned {type(signature).__name__}; expected the raw signature as bytes", argument="sign"
            )
        return signature


def _base64url(data: bytes) -> bytes:
    """Encode as base64url without padding (RFC 7515 appendix C)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")
