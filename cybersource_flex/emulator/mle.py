"""Message-level encryption: bodies that are a JWE in a JSON object with one member. Only JWTs go with it.

What the real host does with an encrypted request for the operations here, or with the wish for an encrypted
answer, is unpublished. The emulator takes both.
"""

from __future__ import annotations

import json

from . import jose
from .authority import Caller, Refused
from .business_center import BusinessCenter
from .certificates import Certificate
from .exchange import Answer
from .merchants import ResponseMleKey
from .problems import Detail, Problem, Reason

_MEMBER = "encryptedRequest"


def opened(center: BusinessCenter, caller: Caller, body: bytes, algorithms: tuple[str, ...]) -> bytes | None:
    """The plaintext of an encrypted body; None when the body is not encrypted.

    `Refused` when the caller did not authenticate with a JWT, `Problem` when the body cannot be opened.
    """
    if _MEMBER.encode("ascii") not in body:
        return None
    try:
        envelope = jose.parse_object(body)
    except ValueError:
        # Not for here to judge: the operation says what it wants.
        return None
    if _MEMBER not in envelope:
        return None
    if caller.scheme != "jwt":
        raise Refused(f"{_MEMBER} needs authentication with a JWT, this is {caller.scheme}")
    text = envelope[_MEMBER]
    if len(envelope) != 1 or not isinstance(text, str):
        raise _problem(f"The body must have the one member {_MEMBER}, a text")
    key, certificate = center.request_mle()
    try:
        jwe = jose.CompactJwe.parse(text, algorithms)
        if jwe.header["kid"] != Certificate.of(certificate).key_id:
            raise jose.JweError("kid of the JWE must be the serialNumber attribute of the certificate's subject")
        return jwe.open(key)
    except (jose.JweError, jose.DecryptionError) as error:
        raise _problem(str(error)) from None


def _problem(message: str) -> Problem:
    return Problem(400, Reason.MLE, "The encrypted request cannot be read", [Detail(_MEMBER, message)])


def sealed(answer: Answer, key: ResponseMleKey, now: int) -> Answer:
    """An answer, whatever its status, encrypted to the caller's key."""
    header: dict[str, object] = {"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": key.key_id, "iat": now}
    body = json.dumps({"encryptedResponse": jose.seal(key.public_key, header, answer.body)}).encode("ascii")
    return Answer(answer.status, "application/json", body, answer.headers, answer.refusal, answer.flex)
