"""Checks of the clients' arguments, and the request models built from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .._credential_detection import contains_card_number, describe_non_id, describe_non_path_id
from ..cards import CARD_TYPES
from ..errors import ConfigurationError, InvalidArgumentError
from ..jose import TransientToken
from ..models import (
    CaptureFields,
    GenerateCaptureContextRequest,
    GenerateFlexAPICaptureContextRequest,
    TransientTokenResponseOptions,
)
from ..transport.configuration import check_type
from ..transport.retry import RetryPolicy, check_seconds
from .target_origins import check_target_origins

__all__ = [
    "capture_request",
    "check_call_options",
    "check_items",
    "microform_request",
    "reference_of",
    "token_id",
]


def capture_request(
    fields: CaptureFields | GenerateFlexAPICaptureContextRequest,
) -> GenerateFlexAPICaptureContextRequest:
    """Build the request for a capture context with these fields.

    Raises:
        InvalidArgumentError: ``fields`` has a wrong type, or contains a card number. The request is not encrypted, so
            it must not contain card data.
    """
    if isinstance(fields, CaptureFields):
        request = GenerateFlexAPICaptureContextRequest(fields=fields)
    elif isinstance(fields, GenerateFlexAPICaptureContextRequest):
        request = fields
    else:
        raise InvalidArgumentError(
            f"fields must be CaptureFields such as fields(card=['number']), not {type(fields).__name__}; pass data to "
            "tokenize, which encrypts it",
            argument="fields",
        )
    # A model from `from_dict` keeps unknown members, so the request may contain card data that was passed to it.
    if contains_card_number(request.to_json()):
        raise InvalidArgumentError(
            "fields contain a card number, which must not be sent: this request is not encrypted; pass data to "
            "tokenize",
            argument="fields",
        )
    return request


def microform_request(
    *,
    target_origins: Iterable[str],
    allowed_card_networks: Iterable[str],
    allowed_payment_types: Iterable[str],
    include_card_prefix: bool | None,
    client_version: str,
) -> GenerateCaptureContextRequest:
    """Build the request for a capture context of Microform. See ``FlexClient.create_microform_context``.

    Raises:
        InvalidArgumentError: a value breaks a documented rule, or misspells a known value. Unknown networks and payment
            types are accepted, because CyberSource may add new ones.
    """
    origins = _string_list("target_origins", target_origins)
    networks = _string_list("allowed_card_networks", allowed_card_networks)
    types = _string_list("allowed_payment_types", allowed_payment_types)
    check_target_origins(origins)
    _check_spelling("client_version", [_check_string("client_version", client_version)], ["v2"])
    _check_spelling("allowed_card_networks", networks, [each.network for each in CARD_TYPES.values() if each.network])
    _check_spelling("allowed_payment_types", types, ["CARD", "CHECK"])
    if not networks and (not types or "CARD" in types):
        raise InvalidArgumentError(
            "allowed_card_networks is empty; expected at least one network such as 'VISA', unless "
            "allowed_payment_types is ['CHECK']",
            argument="allowed_card_networks",
        )
    options = None
    check_type("include_card_prefix", include_card_prefix, bool)
    if include_card_prefix is not None:
        options = TransientTokenResponseOptions(include_card_prefix=include_card_prefix)
    return GenerateCaptureContextRequest(
        client_version=client_version,
        target_origins=origins,
        allowed_card_networks=networks or None,
        allowed_payment_types=types or None,
        transient_token_response_options=options,
    )


def _string_list(name: str, values: Iterable[str]) -> list[str]:
    # A string is iterable too: without this check, each character would become an entry.
    if isinstance(values, str):
        raise ConfigurationError(f"{name} must be a list of strings, not one string")
    if isinstance(values, (bytes, Mapping)) or not isinstance(values, Iterable):
        raise ConfigurationError(f"{name} must be a list of strings, not {type(values).__name__}")
    return [_check_string(name, value) for value in values]


def _check_string(name: str, value: str) -> str:
    """Check that a value of an unencrypted request is a string, and not a card number or credential."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must contain only strings, not {type(value).__name__}")
    credential = describe_non_id(value)
    if credential is not None:
        raise InvalidArgumentError(
            f"{name} contains {credential}, which must not be sent: this request is not encrypted", argument=name
        )
    return value


def _check_spelling(name: str, values: Iterable[str], documented: Iterable[str]) -> None:
    """Raise ``InvalidArgumentError`` if a documented value is misspelled in case or separators. Accept other values."""
    spellings = {value.lower(): value for value in documented}
    for value in values:
        meant = spellings.get(re.sub(r"[\s_-]", "", value).lower())
        if meant is not None and meant != value:
            raise InvalidArgumentError(f"{name} contains {value!r}; did you mean {meant!r}?", argument=name)


def token_id(token: TransientToken | str) -> str:
    """Return the ``jti`` of a transient token. If a ``jti`` is passed as a string, check and return that string.

    A JWT is rejected: it is unverified, so the ``jti`` that it contains is not trusted.

    Raises:
        InvalidArgumentError: the string is a JWT or another credential instead of an id.
    """
    if isinstance(token, TransientToken):
        return token.jti
    return _check_id("token", token, "the verified TransientToken, or its jti")


def reference_of(reference: str) -> str:
    """Check a payment credentials reference, and return it.

    Raises:
        InvalidArgumentError: the string is a token or another credential.
    """
    return _check_id("reference", reference, "a value of token.payment_credentials_references")


def _check_id(name: str, value: str, expected: str) -> str:
    # Only strings are checked here. The function that builds the path rejects other types.
    if isinstance(value, str) and (credential := describe_non_path_id(value)) is not None:
        raise InvalidArgumentError(
            f"{name} is {credential}; expected {expected}. Nothing was sent, because the path of the request would "
            "contain this value, and access logs contain paths",
            argument=name,
        )
    return value


def check_call_options(timeout: float | None, retry: RetryPolicy | None) -> None:
    """Check the options of a call. Raises ``ConfigurationError``."""
    if timeout is not None:
        check_seconds("timeout", timeout)
    check_type("retry", retry, RetryPolicy)


def check_items(items: object, *, awaited: bool) -> None:
    """Check that ``items`` is an iterable of items, not one card or string. Raises ``ConfigurationError`` otherwise.

    Args:
        items: the argument.
        awaited: whether an asynchronous iterable is accepted too.
    """
    if isinstance(items, (str, bytes, bytearray, Mapping)):
        kind = "one item" if isinstance(items, Mapping) else type(items).__name__
        raise ConfigurationError(f"items must be an iterable of items such as a list, not {kind}")
    names = ("__iter__", "__getitem__", "__aiter__") if awaited else ("__iter__", "__getitem__")
    if any(hasattr(items, name) for name in names):
        return
    if hasattr(items, "__aiter__"):
        raise ConfigurationError(
            "items must be an iterable; pass an asynchronous iterable to AsyncFlexClient.tokenize_many"
        )
    expected = "an iterable, asynchronous or not" if awaited else "an iterable"
    raise ConfigurationError(f"items must be {expected}, not an object of type {type(items).__name__}")
