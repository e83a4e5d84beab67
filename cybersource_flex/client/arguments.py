"""What is asked for, as the models of the specification have it."""

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
    """The request for a capture context of these fields.

    Raises:
        InvalidArgumentError: something else was given. Data to capture would otherwise be sent without encryption.
    """
    if isinstance(fields, GenerateFlexAPICaptureContextRequest):
        return _without_data(fields)
    if not isinstance(fields, CaptureFields):
        raise InvalidArgumentError(
            f"fields must be CaptureFields, as fields(card=['number']) makes them, not {type(fields).__name__}; data "
            "to capture belongs into tokenize, which encrypts it",
            argument="fields",
        )
    return _without_data(GenerateFlexAPICaptureContextRequest(fields=fields))


def _without_data(request: GenerateFlexAPICaptureContextRequest) -> GenerateFlexAPICaptureContextRequest:
    # `from_dict` keeps members that it does not know, so data given to it would be part of the request.
    if holds_card_number(request.to_json()):
        raise InvalidArgumentError(
            "fields have a card number in them, which must not be sent: this request is not encrypted; data to capture "
            "belongs into tokenize",
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
    """The request for a capture context of Microform. See ``FlexClient.create_microform_context``."""
    options = None
    if include_card_prefix is not None:
        options = TransientTokenResponseOptions(include_card_prefix=include_card_prefix)
    return GenerateCaptureContextRequest(
        client_version=_checked("client_version", client_version),
        target_origins=_texts("target_origins", target_origins),
        allowed_card_networks=_texts("allowed_card_networks", allowed_card_networks) or None,
        allowed_payment_types=_texts("allowed_payment_types", allowed_payment_types) or None,
        transient_token_response_options=options,
    )


def _texts(name: str, values: Iterable[str]) -> list[str]:
    # One string would be taken for a list of letters.
    if isinstance(values, str):
        raise ConfigurationError(f"{name} must be a list of texts, not one text")
    if isinstance(values, (bytes, Mapping)) or not isinstance(values, Iterable):
        raise ConfigurationError(f"{name} must be a list of strings, not {type(values).__name__}")
    return [_checked(name, value) for value in values]


def _checked(name: str, value: str) -> str:
    """A string of a request that is not encrypted. Raises for other types, and for card numbers and credentials."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must have strings only, not {type(value).__name__}")
    what = not_an_id(value)
    if what is not None:
        raise InvalidArgumentError(
            f"{name} was given {what}, which must not be sent: this request is not encrypted", argument=name
        )
    return value


def token_id(token: TransientToken | str) -> str:
    """The ``jti`` of a transient token, or of what was given as one.

    The ``jti`` of a JWT that was not verified is not taken: its content is not trusted.

    Raises:
        InvalidArgumentError: a JWT or another credential was given instead of its id.
    """
    if isinstance(token, TransientToken):
        return token.jti
    return _check_id("token", token, "the verified TransientToken, or its jti")


def reference_of(reference: str) -> str:
    """A payment credentials reference.

    Raises:
        InvalidArgumentError: a token or another credential was given instead.
    """
    return _check_id("reference", reference, "a value of token.payment_credentials_references")


def _check_id(name: str, value: str, expected: str) -> str:
    # Other types are refused where the path is made.
    if isinstance(value, str) and (what := not_a_path_id(value)) is not None:
        raise InvalidArgumentError(
            f"{name} is {what}; expected {expected}. Nothing was sent: the path of the request would have held it, and "
            "access logs keep paths",
            argument=name,
        )
    return value


def check_call_options(timeout: float | None, retry: RetryPolicy | None) -> None:
    """Check the options of a call before it is made. Raises ``ConfigurationError`` for a wrong one."""
    if timeout is not None:
        check_seconds("timeout", timeout)
    check_type("retry", retry, RetryPolicy)


def check_items(items: object, *, awaited: bool) -> None:
    """Check that the items of a batch can be iterated. Raises ``ConfigurationError`` otherwise.

    Args:
        items: the argument.
        awaited: whether they may come from an asynchronous iterator.
    """
    names = ("__iter__", "__getitem__", "__aiter__") if awaited else ("__iter__", "__getitem__")
    if any(hasattr(items, name) for name in names):
        return
    if hasattr(items, "__aiter__"):
        raise ConfigurationError("items must be an iterable; an asynchronous one is for AsyncFlexClient.tokenize_many")
    kind = "an iterable, asynchronous or not" if awaited else "an iterable"
    raise ConfigurationError(f"items must be {kind}, not an object of type {type(items).__name__}")
