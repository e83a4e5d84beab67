"""Message-level encryption (RFC 7516): bodies for CyberSource's eyes alone, and answers for the merchant's.

(CyberSource REST guide, "Message-Level Encryption".) Requests are encrypted to CyberSource's certificate and then
signed, so the digest covers what is sent. Answers are encrypted to a key of the merchant's whose id the request's JWT
names.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from .._sealed import sealed
from ..errors import ConfigurationError, DecryptionError, TokenError
from ..jose.compact import TokenLimits, parse_jwe
from ..jose.jwe import decrypt_jwe, encrypt_jwe
from ..transport.message import Response
from ..transport.problems import problem
from . import certificates
from .certificates import Source
from .credentials import Credential, check_identifier

if TYPE_CHECKING:
    from ..transport.message import Request

__all__ = ["MessageLevelEncryption"]

#: CN of the certificate that requests are encrypted to.
CERTIFICATE_NAME: Final = "CyberSource_SJC_US"

_ALG: Final = "RSA-OAEP-256"
_RESPONSE: Final = "encrypted response"
_REQUEST_NAME, _RESPONSE_NAME = "request_certificate", "response_key"


@sealed
class MessageLevelEncryption(Credential):
    """What to encrypt and decrypt with, for ``FlexClient(..., mle=...)``. Needs a signer that makes JWTs.

    No operation of this package is known to take encrypted requests, so none is encrypted unless it is named in
    ``encrypt_requests``. Encrypted answers are asked for on every signed operation once there is a ``response_key``;
    an answer that comes in plain is taken as it is.

    Args:
        request_certificate: CyberSource's certificate: a PEM file, or the merchant's P12, which has it inside; path or
            bytes.
        request_certificate_password: password of the P12.
        request_certificate_name: CN of the certificate to choose.
        encrypt_requests: names of the operations whose bodies are encrypted: ``generate_flex_api_capture_context``.
        response_key: the private key of the merchant's "REST - API Response MLE" certificate: PEM, encrypted PEM or P12
            (path or bytes), or an ``RSAPrivateKey``.
        response_key_password: its password.
        response_kid: id of that key, from the Business Center. May be left out with a P12 in which ``merchant_id`` has
            a certificate; one that is given wins. A certificate of the key that is in its file must be valid now, also
            where the id was given.
        merchant_id: the merchant, or with a meta key the portfolio, whose certificate names the key.
        unencrypted_responses: names of the operations whose responses are not encrypted.

    Raises:
        ConfigurationError: a file cannot be read, a password is wrong, a certificate or key id is missing, the
            certificate's time is not now, or there is nothing to do.
    """

    __slots__ = ("_encrypt_requests", "_request", "_response", "_unencrypted_responses")

    def __init__(
        self,
        *,
        request_certificate: Source | None = None,
        request_certificate_password: str | bytes | None = None,
        request_certificate_name: str = CERTIFICATE_NAME,
        encrypt_requests: Collection[str] = (),
        response_key: Source | RSAPrivateKey | None = None,
        response_key_password: str | bytes | None = None,
        response_kid: str | None = None,
        merchant_id: str | None = None,
        unencrypted_responses: Collection[str] = (),
    ) -> None:
        if request_certificate is None and response_key is None:
            raise ConfigurationError("mle has nothing to do: it needs a request_certificate, a response_key, or both")
        self._encrypt_requests = _names("encrypt_requests", encrypt_requests)
        self._unencrypted_responses = _names("unencrypted_responses", unencrypted_responses)
        if self._encrypt_requests and request_certificate is None:
            raise ConfigurationError("encrypt_requests needs a request_certificate to encrypt to")
        if response_kid is not None and response_key is None:
            raise ConfigurationError("response_kid without a response_key: the answers could not be read")
        self._request = (
            None
            if request_certificate is None
            else _request_key(request_certificate, request_certificate_password, request_certificate_name)
        )
        self._response = (
            None
            if response_key is None
            else _response_key(response_key, response_key_password, response_kid, merchant_id)
        )

    def __repr__(self) -> str:
        request_kid = None if self._request is None else self._request.kid
        return f"MessageLevelEncryption(request_kid={request_kid!r}, response_kid={self.response_kid!r})"

    @property
    def response_kid(self) -> str | None:
        """Id of the response key, or None."""
        return None if self._response is None else self._response.kid

    @property
    def request_certificate_expires_at(self) -> datetime | None:
        """When the request certificate ends, or None."""
        return None if self._request is None else self._request.expires_at

    @property
    def response_certificate_expires_at(self) -> datetime | None:
        """When the response key's certificate ends, where the file of the key has it, or None."""
        return None if self._response is None else self._response.expires_at

    @property
    def operations(self) -> frozenset[str]:
        """All names of operations that were given."""
        return self._encrypt_requests | self._unencrypted_responses

    def outgoing(self, request: Request, now: float) -> Request:
        """The request with an encrypted body, if its operation is to have one, and the id of the response key."""
        name = request.operation.name
        changes: dict[str, Any] = {}
        if self._response is not None and name not in self._unencrypted_responses:
            changes["response_mle_kid"] = self._response.kid
        if request.body is not None and self._request is not None and name in self._encrypt_requests:
            header = {"kid": self._request.kid, "iat": int(now)}
            token = encrypt_jwe(self._request.key, _ALG, header, request.body)
            changes["body"] = json.dumps({"encryptedRequest": token}, separators=(",", ":")).encode("ascii")
        return request.replace(**changes) if changes else request

    def incoming(self, request: Request, response: Response) -> Response:
        """The answer decrypted, if it is encrypted; of any status.

        Raises:
            ResponseDecodingError: a success that cannot be decrypted. The call was accepted.
            ApiException: a failure that cannot be decrypted; of the class for its status.
        """
        token = _encrypted(response.body)
        if token is None:
            return response
        try:
            plaintext = self._decrypt(token)
        except _Unreadable as cause:
            accepted = "the call was accepted, but " if 200 <= response.status < 300 else ""
            raise problem(
                request.operation, response, message=f"{accepted}its answer cannot be decrypted: {cause}"
            ) from None
        return Response(response.status, response.reason, response.headers, plaintext, response.attempts)

    def _decrypt(self, token: str) -> bytes:
        if self._response is None:
            raise _Unreadable("there is no response_key")
        kid = None
        try:
            # The transport has already limited the size of the body.
            jwe = parse_jwe(token, _RESPONSE, TokenLimits(max_length=len(token)))
            kid = jwe.header.get("kid")
            return decrypt_jwe(jwe, self._response.key, _ALG, _RESPONSE)
        except DecryptionError:
            fits = kid == self._response.kid
            wrong = "response_key does not fit, or it was modified" if fits else "its kid is not response_kid"
        except TokenError as cause:
            wrong = str(cause)
        raise _Unreadable(wrong)


class _RequestKey(NamedTuple):
    """A key to encrypt to, its id, and when its certificate expires."""

    key: RSAPublicKey
    kid: str
    expires_at: datetime


class _ResponseKey(NamedTuple):
    """A key to decrypt with, its id, and when its certificate expires, where the key came with one."""

    key: RSAPrivateKey
    kid: str
    expires_at: datetime | None


class _Unreadable(Exception):
    """Why an answer cannot be decrypted."""


def _encrypted(body: bytes) -> str | None:
    """The JWE in a body that is a JSON object with the one member ``encryptedResponse``, a text; else None."""
    if b"encryptedResponse" not in body:
        return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or set(found) != {"encryptedResponse"}:
        return None
    token = found["encryptedResponse"]
    return token if isinstance(token, str) else None


def _request_key(source: Source, password: str | bytes | None, common_name: str) -> _RequestKey:
    data = certificates.read(source, _REQUEST_NAME)
    if certificates.is_pem(data):
        found = certificates.read_pem_certificates(data, _REQUEST_NAME)
    else:
        found = certificates.read_p12(data, password, _REQUEST_NAME).certificates
    chosen = certificates.newest(certificates.named(found, common_name, _REQUEST_NAME))
    key = chosen.public_key()
    if not isinstance(key, RSAPublicKey) or key.key_size < certificates.MIN_BITS:
        raise ConfigurationError(
            f"{_REQUEST_NAME}: the key of the certificate is not an RSA key of at least {certificates.MIN_BITS} bits"
        )
    kid = certificates.key_id_of(chosen, _REQUEST_NAME)
    return _RequestKey(key, kid, certificates.check_current(chosen, _REQUEST_NAME))


def _response_key(
    source: Source | RSAPrivateKey, password: str | bytes | None, kid: str | None, merchant_id: str | None
) -> _ResponseKey:
    if isinstance(source, RSAPrivateKey):
        key, certificate = certificates.check_strength(source, _RESPONSE_NAME), None
    else:
        data = certificates.read(source, _RESPONSE_NAME)
        if certificates.is_pem(data):
            key, certificate = _from_pem(data, password, kid)
        else:
            container = certificates.read_p12(data, password, _RESPONSE_NAME)
            key = certificates.key_of(container, _RESPONSE_NAME)
            if merchant_id is None:
                certificate = certificates.of_private_key(container.certificates, key, kid)
            else:
                merchant = check_identifier("merchant_id", merchant_id)
                certificate = certificates.of_key(container, merchant, _RESPONSE_NAME)
                kid = kid or certificates.key_id_of(certificate, _RESPONSE_NAME)
    # Looked at wherever there is one, however the id of the key was given.
    expires_at = None if certificate is None else certificates.check_current(certificate, _RESPONSE_NAME)
    if kid is None:
        raise ConfigurationError(
            "response_kid is missing: only a P12 with a certificate of merchant_id in it names its key itself"
        )
    return _ResponseKey(key, check_identifier("response_kid", kid), expires_at)


def _from_pem(
    data: bytes, password: str | bytes | None, kid: str | None
) -> tuple[RSAPrivateKey, x509.Certificate | None]:
    """The key in a PEM file, and the certificate that belongs to it where it is in the same file."""
    key = certificates.read_private_key(data, password, _RESPONSE_NAME)
    key = certificates.check_strength(key, _RESPONSE_NAME)
    if b"-----BEGIN CERTIFICATE-----" not in data:
        return key, None
    return key, certificates.of_private_key(certificates.read_pem_certificates(data, _RESPONSE_NAME), key, kid)


def _names(setting: str, names: Collection[str]) -> frozenset[str]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"{setting} must be a list of names of operations")
    return frozenset(names)
