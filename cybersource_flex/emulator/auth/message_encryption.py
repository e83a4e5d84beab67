"""Message-level encryption: decrypt encrypted request bodies, encrypt responses. Only for callers with a JWT.

An encrypted body is a JWE in a JSON object with one member. It is unpublished whether the real host's operations accept
encrypted requests and encrypt responses. The emulator does both.
"""

from __future__ import annotations

import json
from dataclasses import replace

from .. import jose
from ..server.error_responses import ApiError, ErrorDetail, Reason
from ..server.messages import Response
from .auth_context import AuthenticationError, Caller
from .certificates import Certificate, CertificateIssuer
from .credentials import ResponseMleKey

_MEMBER = "encryptedRequest"


def decrypt_request(
    certificates: CertificateIssuer, caller: Caller, body: bytes, algorithms: tuple[str, ...]
) -> bytes | None:
    """Return the plaintext of an encrypted body; None when the body is not encrypted.

    Raises:
        AuthenticationError: the caller was not authenticated with a JWT.
        ApiError: the body cannot be decrypted.
    """
    if _MEMBER.encode("ascii") not in body:
        return None
    try:
        envelope = jose.parse_object(body)
    except ValueError:
        # The body is not encrypted. The operation reports that it is invalid.
        return None
    if _MEMBER not in envelope:
        return None
    if caller.scheme != "jwt":
        raise AuthenticationError(f"{_MEMBER} needs authentication with a JWT, but the scheme is {caller.scheme}")
    jwe_string = envelope[_MEMBER]
    if len(envelope) != 1 or not isinstance(jwe_string, str):
        raise _api_error(f"The body must have only the member {_MEMBER}, a string")
    key, certificate = certificates.request_mle()
    try:
        jwe = jose.CompactJwe.parse(jwe_string, algorithms)
        if jwe.header["kid"] != Certificate.of(certificate).key_id:
            raise jose.JweError("kid of the JWE must be the serialNumber attribute of the certificate's subject")
        return jwe.decrypt(key)
    except (jose.JweError, jose.DecryptionError) as error:
        raise _api_error(str(error)) from None


def _api_error(message: str) -> ApiError:
    return ApiError(400, Reason.MLE, "The encrypted request cannot be read", [ErrorDetail(_MEMBER, message)])


def encrypt_response(response: Response, key: ResponseMleKey, now: int) -> Response:
    """Encrypt a response of any status to the caller's key."""
    header: dict[str, object] = {"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": key.key_id, "iat": now}
    body = json.dumps({"encryptedResponse": jose.encrypt(key.public_key, header, response.body)}).encode("ascii")
    return replace(response, media_type="application/json", body=body)
