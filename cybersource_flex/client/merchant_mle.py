"""Message-level encryption as the official SDK's dictionary says it."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from ..errors import ConfigurationError
from .merchant_keys import OPERATIONS
from .merchant_reader import Reader
from .operations import signed_operations

__all__ = ["read"]

_REQUEST_KEYS: Final = ("mleForRequestPublicCertPath", "requestMleKeyAlias", "mleKeyAlias")
_RESPONSE_KEYS: Final = (
    "responseMleKID",
    "responseMlePrivateKeyFilePath",
    "responseMlePrivateKeyFilePassword",
    "responseMlePrivateKey",
)
# How alike two names must be to be one of them misspelled.
_ALIKE: Final = 0.9


def read(reader: Reader, scheme: str | None, credentials: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``MessageLevelEncryption``; empty for none.

    Args:
        reader: the dictionary.
        scheme: the scheme, None if the signer comes from elsewhere.
        credentials: arguments of the signer.

    Raises:
        ConfigurationError: a value is wrong, missing, or can be read in two ways.
    """
    _check_global(reader, scheme)
    asked_globally = reader.flag("enableResponseMleGlobally")
    encrypted: set[str] = set()
    answered = dict.fromkeys(signed_operations(), asked_globally)
    for name, (request, response) in _controlled(reader).items():
        if request:
            encrypted.add(name)
        if response is not None:
            answered[name] = response
    if (encrypted or any(answered.values())) and scheme in ("http_signature", "bearer"):
        raise ConfigurationError("message-level encryption needs authentication_type JWT")
    out: dict[str, Any] = {}
    if encrypted:
        out["encrypt_requests"] = sorted(encrypted)
        out.update(_request(reader, credentials))
    else:
        reader.note_unused(_REQUEST_KEYS, "mapToControlMLEonAPI names no request to encrypt")
    if any(answered.values()):
        out["plain_responses"] = sorted(name for name, asked in answered.items() if not asked)
        out.update(_response(reader, credentials))
    else:
        reader.note_unused(_RESPONSE_KEYS, "no encrypted answers are asked for")
    return out


def _check_global(reader: Reader, scheme: str | None) -> None:
    """What is said of all requests at once: it has no effect here, but must make sense."""
    new, old = "enableRequestMLEForOptionalApisGlobally", "useMLEGlobally"
    wanted = [reader.flag(name) for name in (new, old) if name in reader]
    if len(set(wanted)) > 1:
        raise ConfigurationError(f"{new} and {old} are both given and differ; leave {old} out")
    if any(wanted) and scheme in ("http_signature", "bearer"):
        name = new if new in reader else old
        raise ConfigurationError(f"{name} needs authentication_type JWT")
    reader.flag("disableRequestMLEForMandatoryApisGlobally")


def _controlled(reader: Reader) -> dict[str, tuple[bool | None, bool | None]]:
    """What ``mapToControlMLEonAPI`` says of our operations: of the request, and of the answer."""
    key = "mapToControlMLEonAPI"
    control = reader.value(key)
    if control is None:
        return {}
    if not isinstance(control, Mapping):
        raise ConfigurationError(f"{key} must be a dictionary, not {type(control).__name__}")
    out = {}
    foreign = []
    for name, value in control.items():
        if not isinstance(name, str):
            raise ConfigurationError(f"{key} has a key of type {type(name).__name__}; keys are names of methods")
        sides = _sides(f"{key}[{name!r}]", value)
        ours = OPERATIONS.get(name)
        if ours is not None:
            out[ours] = sides
            continue
        close = [] if name in OPERATIONS else difflib.get_close_matches(name, OPERATIONS, 1, _ALIKE)
        if close:
            raise ConfigurationError(f"{key} names {name!r}; did you mean {close[0]!r}?")
        foreign.append(name)
    if foreign:
        reader.notes.append(f"ignored in {key}, since this package has no such operations: {', '.join(foreign)}")
    return out


def _sides(where: str, value: Any) -> tuple[bool | None, bool | None]:
    """``True``, ``"true"``, ``"true::false"``, ``"::true"``, ``"true::"``: request and answer, None for unsaid."""
    if isinstance(value, bool):
        return value, None
    if isinstance(value, str):
        words = {"true": True, "false": False}
        request, separator, response = (part.strip().lower() for part in value.partition("::"))
        sayable = (*words, "") if separator else tuple(words)
        if request in sayable and response in (*words, ""):
            return words.get(request), words.get(response)
    raise ConfigurationError(f"{where} must be True, False or a text such as 'true::false'")


def _request(reader: Reader, credentials: Mapping[str, Any]) -> dict[str, Any]:
    """The certificate that requests are encrypted to."""
    out: dict[str, Any] = {}
    new, old = (reader.text(key, "request_certificate_name") for key in ("requestMleKeyAlias", "mleKeyAlias"))
    if new is not None and old is not None and new != old:
        raise ConfigurationError("requestMleKeyAlias and mleKeyAlias are both given and differ; leave mleKeyAlias out")
    if new is not None or old is not None:
        out["request_certificate_name"] = new or old
    path = reader.path("mleForRequestPublicCertPath", "request_certificate")
    if path is not None:
        return {**out, "request_certificate": path}
    if "p12" not in credentials:
        raise ConfigurationError(
            "mleForRequestPublicCertPath is missing: mapToControlMLEonAPI names a request to encrypt, and there is no "
            "P12 with the certificate in it"
        )
    reader.names["request_certificate"] = "key_file_name"
    return {
        **out,
        "request_certificate": credentials["p12"],
        "request_certificate_password": credentials["password"],
    }


def _response(reader: Reader, credentials: Mapping[str, Any]) -> dict[str, Any]:
    """The key that answers are encrypted to."""
    path = reader.path("responseMlePrivateKeyFilePath", "response_key")
    key = reader.value("responseMlePrivateKey")
    if path is not None and key is not None:
        raise ConfigurationError(
            "responseMlePrivateKeyFilePath and responseMlePrivateKey are both given; which one counts?"
        )
    if path is None and key is None:
        raise ConfigurationError("responseMlePrivateKeyFilePath is missing: encrypted answers are asked for")
    out: dict[str, Any] = {"response_kid": reader.text("responseMleKID", "response_kid")}
    password = reader.text("responseMlePrivateKeyFilePassword", "response_key_password")
    if key is not None:
        reader.names["response_key"] = "responseMlePrivateKey"
        out["response_key"] = _key(key)
        if password is not None:
            reader.note_unused(["responseMlePrivateKeyFilePassword"], "the key itself is given")
        return out
    out["response_key"], out["response_key_password"] = path, password
    if out["response_kid"] is None:
        # One that is given wins, and the file need not have a certificate of the merchant's then.
        out["merchant_id"] = credentials.get("portfolio_id") or credentials.get("merchant_id")
    return out


def _key(key: Any) -> Any:
    """The key, or the PEM of a JWK of ``jwcrypto``, which is not imported for it."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if isinstance(key, RSAPrivateKey):
        return key
    pem = None
    if callable(getattr(key, "export_to_pem", None)):
        with suppress(*_jwcrypto_errors()):
            pem = key.export_to_pem(private_key=True, password=None)
    if not isinstance(pem, bytes):
        raise ConfigurationError("responseMlePrivateKey must be an RSAPrivateKey or a private RSA JWK of jwcrypto")
    return pem


def _jwcrypto_errors() -> tuple[type[Exception], ...]:
    """What jwcrypto raises for a key that is not private. A caller who has such a key has imported it."""
    common = sys.modules.get("jwcrypto.common")
    return (ValueError,) if common is None else (ValueError, common.JWException)
