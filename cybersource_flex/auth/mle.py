"""Message-level encryption (MLE) of request and response bodies with JWE (RFC 7516).

Requests are encrypted with the public key of CyberSource's certificate and then signed, so that the digest covers the
encrypted body. Responses are encrypted with a public key of the merchant. The JWT of the request contains the id of the
merchant's key. See "Message-Level Encryption" in the CyberSource REST guide.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from .._runtime.tracebacks import clear_locals_on_error
from ..errors import ConfigurationError, DecryptionError, TokenError
from ..jose.compact import TokenLimits, parse_jwe
from ..jose.jwe import decrypt_jwe, encrypt_jwe
from ..transport.error_responses import api_exception
from ..transport.messages import Response
from . import certificates
from .certificates import FileSource
from .credentials import Credential, check_identifier

if TYPE_CHECKING:
    from ..transport.messages import Request

__all__ = ["MessageLevelEncryption"]

#: CN of CyberSource's certificate, whose key encrypts requests.
CERTIFICATE_NAME: Final = "CyberSource_SJC_US"

_ALG: Final = "RSA-OAEP-256"
_RESPONSE: Final = "encrypted response"
_REQUEST_NAME, _RESPONSE_NAME = "request_certificate", "response_key"


@clear_locals_on_error
class MessageLevelEncryption(Credential):
    """Keys for message-level encryption, for ``FlexClient(..., mle=...)``. The client must use a JWT signer.

    No Flex operation is known to accept encrypted requests, but payments and others do. Therefore only the request
    bodies of the operations in ``encrypt_requests`` are encrypted. With a ``response_key``, the client asks for
    encrypted responses to all signed operations. Responses that are not encrypted are accepted too.

    Args:
        request_certificate: file that contains CyberSource's certificate, as a path or as bytes. Pass a PEM file or the
            merchant's P12 file. None if no requests are encrypted.
        request_certificate_password: password of the P12 file. None for a PEM file.
        request_certificate_name: CN of CyberSource's certificate.
        encrypt_requests: names of the operations whose request bodies are encrypted, such as
            ``generate_flex_api_capture_context``. For ``client.request``, a name is the method and the path, with
            ``{id}`` instead of each id: ``POST /pts/v2/payments/{id}/captures``.
        response_key: the private key of the merchant's "REST - API Response MLE" certificate. Pass a PEM or P12 file,
            as a path or as bytes, or an ``RSAPrivateKey``. None if responses are not encrypted.
        response_key_password: password of the file in ``response_key``. None if the file is not encrypted.
        response_kid: id of the response key, from the Business Center. If None, the id is read from the certificate of
            ``merchant_id`` in the P12 file.
        merchant_id: id of the merchant (for a meta key, of the portfolio). The id of the response key is read from the
            certificate in the P12 file whose CN is this id. Required if ``response_kid`` is None.
        unencrypted_responses: names of the operations for which the client does not ask for an encrypted response.

    If the file in ``response_key`` contains a certificate of the key, the certificate must be valid now.

    Raises:
        ConfigurationError: a file cannot be read, or a password is wrong. Also raised if a certificate or key id is
            missing, if a certificate is not valid now, or if there is neither a certificate nor a key.
    """

    __slots__ = ("_encrypt_requests", "_request", "_response", "_unencrypted_responses")

    _content = "keys"

    def __init__(
        self,
        *,
        request_certificate: FileSource | None = None,
        request_certificate_password: str | bytes | None = None,
        request_certificate_name: str = CERTIFICATE_NAME,
        encrypt_requests: Collection[str] = (),
        response_key: FileSource | RSAPrivateKey | None = None,
        response_key_password: str | bytes | None = None,
        response_kid: str | None = None,
        merchant_id: str | None = None,
        unencrypted_responses: Collection[str] = (),
    ) -> None:
        if request_certificate is None and response_key is None:
            raise ConfigurationError(
                "MessageLevelEncryption was given no key; expected a request_certificate, a response_key, or both"
            )
        self._encrypt_requests = _names("encrypt_requests", encrypt_requests)
        self._unencrypted_responses = _names("unencrypted_responses", unencrypted_responses)
        if self._encrypt_requests and request_certificate is None:
            raise ConfigurationError("encrypt_requests was given without the request_certificate that encrypts them")
        if response_kid is not None and response_key is None:
            raise ConfigurationError("response_kid was given without the response_key that decrypts responses")
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
        """Id of the response key. None if there is no response key."""
        return None if self._response is None else self._response.kid

    @property
    def request_certificate_expires_at(self) -> datetime | None:
        """When the request certificate expires. None if there is no request certificate."""
        return None if self._request is None else self._request.expires_at

    @property
    def response_certificate_expires_at(self) -> datetime | None:
        """When the certificate of the response key expires. None if the file of the key has no certificate."""
        return None if self._response is None else self._response.expires_at

    @property
    def operations(self) -> frozenset[str]:
        """Names of the operations in ``encrypt_requests`` and ``unencrypted_responses``."""
        return self._encrypt_requests | self._unencrypted_responses

    def encrypt_request(self, request: Request, now: float) -> Request:
        """Encrypt the body if the operation is in ``encrypt_requests``, and add the id of the response key."""
        name = request.operation.name
        changes: dict[str, Any] = {}
        if self._response is not None and name not in self._unencrypted_responses:
            changes["response_mle_kid"] = self._response.kid
        if request.body is not None and self._request is not None and name in self._encrypt_requests:
            header = {"kid": self._request.kid, "iat": int(now)}
            token = encrypt_jwe(self._request.key, _ALG, header, request.body)
            changes["body"] = json.dumps({"encryptedRequest": token}, separators=(",", ":")).encode("ascii")
        return request.replace(**changes) if changes else request

    def decrypt_response(self, request: Request, response: Response) -> Response:
        """Decrypt a response of any status, if it is encrypted.

        Raises:
            ResponseDecodingError: a successful response cannot be decrypted. The call was accepted.
            ApiException: an error response cannot be decrypted. Its class depends on the status.
        """
        token = _extract_jwe(response.body)
        if token is None:
            return response
        try:
            plaintext = self._decrypt(token)
        except _DecryptionFailed as cause:
            accepted = "the call was accepted, but " if 200 <= response.status < 300 else ""
            raise api_exception(
                request.operation, response, message=f"{accepted}the response cannot be decrypted: {cause}"
            ) from None
        return Response(response.status, response.reason, response.headers, plaintext, response.attempts)

    def _decrypt(self, token: str) -> bytes:
        if self._response is None:
            raise _DecryptionFailed("no response_key is configured")
        kid = None
        try:
            # The transport has already limited the size of the body.
            jwe = parse_jwe(token, _RESPONSE, TokenLimits(max_length=max(1, len(token))))
            kid = jwe.header.get("kid")
            return decrypt_jwe(jwe, self._response.key, _ALG, _RESPONSE)
        except DecryptionError:
            is_known_kid = kid == self._response.kid
            reason = (
                "response_key is wrong, or the response was modified"
                if is_known_kid
                else "the kid of the response is not response_kid"
            )
        except TokenError as cause:
            reason = str(cause)
        raise _DecryptionFailed(reason)


class _RequestKey(NamedTuple):
    """The public key for requests, its id, and when its certificate expires."""

    key: RSAPublicKey
    kid: str
    expires_at: datetime


class _ResponseKey(NamedTuple):
    """The private key for responses, its id, and when its certificate expires, if the file contains one."""

    key: RSAPrivateKey
    kid: str
    expires_at: datetime | None


class _DecryptionFailed(Exception):
    """A response cannot be decrypted. The message gives the reason."""


def _extract_jwe(body: bytes) -> str | None:
    """Return the value of ``encryptedResponse`` if the JSON body has no other member, otherwise None."""
    if b"encryptedResponse" not in body:
        return None
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or set(content) != {"encryptedResponse"}:
        return None
    token = content["encryptedResponse"]
    return token if isinstance(token, str) else None


def _request_key(source: FileSource, password: str | bytes | None, common_name: str) -> _RequestKey:
    if not isinstance(common_name, str):
        raise ConfigurationError(f"{_REQUEST_NAME}_name must be a string, not {type(common_name).__name__}")
    data = certificates.read_source(source, _REQUEST_NAME)
    if certificates.is_pem(data):
        candidates = certificates.read_pem_certificates(data, _REQUEST_NAME)
    else:
        candidates = certificates.read_p12(data, password, _REQUEST_NAME).certificates
    certificate = certificates.newest(certificates.find_by_common_name(candidates, common_name, _REQUEST_NAME))
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey) or key.key_size < certificates.MIN_BITS:
        raise ConfigurationError(
            f"{_REQUEST_NAME}: the key of the certificate must be an RSA key of at least {certificates.MIN_BITS} bits"
        )
    kid = certificates.get_key_id(certificate, _REQUEST_NAME)
    return _RequestKey(key, kid, certificates.check_validity(certificate, _REQUEST_NAME))


def _response_key(
    source: FileSource | RSAPrivateKey, password: str | bytes | None, kid: str | None, merchant_id: str | None
) -> _ResponseKey:
    if isinstance(source, RSAPrivateKey):
        key, certificate = certificates.check_key_size(source, _RESPONSE_NAME), None
    else:
        data = certificates.read_source(source, _RESPONSE_NAME)
        if certificates.is_pem(data):
            key, certificate = _from_pem(data, password, kid)
        else:
            contents = certificates.read_p12(data, password, _RESPONSE_NAME)
            key = certificates.require_private_key(contents, _RESPONSE_NAME)
            if merchant_id is None:
                certificate = certificates.find_certificate_for_key(contents.certificates, key, kid)
            else:
                merchant = check_identifier("merchant_id", merchant_id)
                certificate = certificates.require_certificate(contents, merchant, _RESPONSE_NAME)
                kid = kid or certificates.get_key_id(certificate, _RESPONSE_NAME)
    # The certificate must be valid even if the key id was given separately.
    expires_at = None if certificate is None else certificates.check_validity(certificate, _RESPONSE_NAME)
    if kid is None:
        raise ConfigurationError(
            "response_kid is missing; expected the id of the response key, or a P12 file and the merchant_id of the "
            "certificate in the file"
        )
    return _ResponseKey(key, check_identifier("response_kid", kid), expires_at)


def _from_pem(
    data: bytes, password: str | bytes | None, kid: str | None
) -> tuple[RSAPrivateKey, x509.Certificate | None]:
    """Read the private key of a PEM file, and the certificate of the key if the file contains one."""
    key = certificates.read_private_key(data, password, _RESPONSE_NAME)
    key = certificates.check_key_size(key, _RESPONSE_NAME)
    if b"-----BEGIN CERTIFICATE-----" not in data:
        return key, None
    return key, certificates.find_certificate_for_key(
        certificates.read_pem_certificates(data, _RESPONSE_NAME), key, kid
    )


def _names(setting: str, names: Collection[str]) -> frozenset[str]:
    if isinstance(names, str) or not isinstance(names, Iterable) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"{setting} must be a list of operation names")
    return frozenset(names)
