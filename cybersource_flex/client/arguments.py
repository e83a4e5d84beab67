"""Checks of the clients' arguments, and the request models built from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .._credentials import holds_card_number, not_a_path_id, not_an_id
from ..errors import ConfigurationError, InvalidArgumentError
from ..jose import TransientToken
from ..models import (
    CaptureFields,
    GenerateCaptureContextRequest,
    GenerateFlexAPICaptureContextRequest,
    TransientTokenResponseOptions,
)
from ..transport.retry import RetryPolicy
from ..transport.settings import check_seconds, check_type

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
        InvalidArgumentError: the argument has another type. Card data would otherwise be sent without encryption.
    """
    if isinstance(fields, GenerateFlexAPICaptureContextRequest):
        return _without_data(fields)
    if not isinstance(fields, CaptureFields):
        raise InvalidArgumentError(
            f"fields must be CaptureFields such as fields(card=['number']), not {type(fields).__name__}; pass data to "
            "tokenize, which encrypts it",
            argument="fields",
        )
    return _without_data(GenerateFlexAPICaptureContextRequest(fields=fields))


def _without_data(request: GenerateFlexAPICaptureContextRequest) -> GenerateFlexAPICaptureContextRequest:
    # `from_dict` keeps unknown members, so data passed to it would be part of the request.
    if holds_card_number(request.to_json()):
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
    """Build the request for a capture context of Microform. See ``FlexClient.create_microform_context``."""
    options = None
    if include_card_prefix is not None:
        options = TransientTokenResponseOptions(include_card_prefix=include_card_prefix)
    return GenerateCaptureContextRequest(
        client_version=_checked("client_version", client_version),
        target_origins=_string_list("target_origins", target_origins),
        allowed_card_networks=_string_list("allowed_card_networks", allowed_card_networks) or None,
        allowed_payment_types=_string_list("allowed_payment_types", allowed_payment_types) or None,
        transient_token_response_options=options,
    )


def _string_list(name: str, values: Iterable[str]) -> list[str]:
    # A string would be treated as a list of its characters.
    if isinstance(values, str):
        raise ConfigurationError(f"{name} must be a list of strings, not one string")
    if isinstance(values, (bytes, Mapping)) or not isinstance(values, Iterable):
        raise ConfigurationError(f"{name} must be a list of strings, not {type(values).__name__}")
    return [_checked(name, value) for value in values]


def _checked(name: str, value: str) -> str:
    """Check a string of an unencrypted request. Raises for other types, card numbers and credentials."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must contain only strings, not {type(value).__name__}")
    credential = not_an_id(value)
    if credential is not None:
        raise InvalidArgumentError(
            f"{name} contains {credential}, which must not be sent: this request is not encrypted", argument=name
        )
    return value


def token_id(token: TransientToken | str) -> str:
    """Return the ``jti`` of a transient token, or check a ``jti`` that is passed as a string.

    The ``jti`` is not read from an unverified JWT, whose content is not trusted.

    Raises:
        InvalidArgumentError: the string is a JWT or another credential instead of an id.
    """
    if isinstance(token, TransientToken):
        return token.jti
    return _check_id("token", token, "the verified TransientToken, or its jti")


def reference_of(reference: str) -> str:
    """Check a payment credentials reference.

    Raises:
        InvalidArgumentError: the string is a token or another credential.
    """
    return _check_id("reference", reference, "a value of token.payment_credentials_references")


def _check_id(name: str, value: str, expected: str) -> str:
    # Other types are rejected where the path is built.
    if isinstance(value, str) and (credential := not_a_path_id(value)) is not None:
        raise InvalidArgumentError(
            f"{name} is {credential}; expected {expected}. Nothing was sent: the path of the request would contain it, "
            "and access logs contain paths",
            argument=name,
        )
    return value


def check_call_options(timeout: float | None, retry: RetryPolicy | None) -> None:
    """Check the options of a call. Raises ``ConfigurationError``."""
    if timeout is not None:
        check_seconds("timeout", timeout)
    check_type("retry", retry, RetryPolicy)


def check_items(items: object, *, awaited: bool) -> None:
    """Check that ``items`` is iterable. Raises ``ConfigurationError`` otherwise.

    Args:
        items: the argument.
        awaited: whether an asynchronous iterable is accepted.
    """
    names = ("__iter__", "__getitem__", "__aiter__") if awaited else ("__iter__", "__getitem__")
    if any(hasattr(items, name) for name in names):
        return
    if hasattr(items, "__aiter__"):
        raise ConfigurationError("items must be an iterable; an asynchronous one is for AsyncFlexClient.tokenize_many")
    expected = "an iterable, asynchronous or not" if awaited else "an iterable"
    raise ConfigurationError(f"items must be {expected}, not an object of type {type(items).__name__}")
