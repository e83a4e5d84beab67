"""``TokenFactory``: capture contexts, transient tokens and payment credentials for unit tests, without a server."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from ..auth.credentials import check_identifier
from ..client.arguments import capture_request, microform_request
from ..client.capture_fields import fields as select_fields
from ..client.capture_fields import fields_for_data, to_wire_data
from ..emulator import Merchant, jose
from ..emulator.operations import sessions, store, tokens, validation
from ..emulator.server.error_responses import ApiError
from ..errors import ConfigurationError, InvalidDataError
from ..jose import (
    CaptureContext,
    KeySource,
    PaymentCredentials,
    PinnedKeys,
    TransientToken,
    open_payment_credentials,
    verify_capture_context,
    verify_transient_token,
)
from ..jose.field_data import flatten
from ..transport.retry import check_seconds

if TYPE_CHECKING:
    from ..cards import Card
    from ..models import CaptureFields, GenerateFlexAPICaptureContextRequest

__all__ = ["TokenFactory"]

# Ten years.
_MAX_AGE: Final = 315_360_000
_ORIGIN: Final = "https://testflex.cybersource.com"
_KID: Final = "tf"
_CREDENTIALS_KID: Final = "token-factory"

# Captured data of tokens without explicit data. Tokens contain the values of the card alone.
_CARD: Final = {
    "paymentInformation.card.number": "4111111111111111",
    "paymentInformation.card.securityCode": "123",
    "paymentInformation.card.expirationMonth": "12",
    "paymentInformation.card.expirationYear": "2031",
    "paymentInformation.card.type": "001",
}
_BANK_ACCOUNT: Final = {
    "CHECK.routingNumber": "121042882",
    "CHECK.account.number": "4100000000",
    "CHECK.account.type": "C",
}


@cache
def _key(name: str) -> rsa.RSAPrivateKey:
    """A throwaway key. Within this process, a name always has the same key. Generating one takes about 50 ms."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def _key_source() -> PinnedKeys:
    return PinnedKeys([jose.public_jwk(_key("long-term").public_key(), _KID)])


class TokenFactory:
    """Makes genuine capture contexts, transient tokens and payment credentials, without a server.

    The objects are signed, and have passed the same verification as those of a client. The keys are generated when
    first used and exist only in this process, so no host and no other process accepts the objects. ``context.jwt`` and
    ``token.jwt`` are the strings that the host would have returned.

    A client with ``keys=factory.keys`` verifies contexts and tokens, and restores stored contexts, without a request:
    ``FlexClient(None, environment="test", keys=factory.keys)``.

    Args:
        merchant_id: the merchant of the payment credentials.
        payment_credentials: add a reference for ``payment_credentials`` to the tokens.
    """

    def __init__(self, *, merchant_id: str = "test_merchant", payment_credentials: bool = False) -> None:
        self._merchant = Merchant(check_identifier("merchant_id", merchant_id))
        self._has_references = payment_credentials
        self._contexts: dict[str, store.IssuedContext] = {}

    def __repr__(self) -> str:
        return f"<TokenFactory {len(self._contexts)} capture contexts>"

    @property
    def keys(self) -> KeySource:
        """The source of the long-term key that signs the contexts, for the argument ``keys`` of a client."""
        return _key_source()

    @property
    def credentials_key(self) -> rsa.RSAPrivateKey:
        """The merchant's private key that decrypts payment credentials."""
        return _key("payment credentials")

    def capture_context(
        self,
        fields: CaptureFields | GenerateFlexAPICaptureContextRequest | None = None,
        *,
        type: str = sessions.API_TYPE,
        age: float = 0.0,
        lifetime: float = store.LIFETIME,
    ) -> CaptureContext:
        """Make a capture context of the Flex API.

        Args:
            fields: fields to capture: ``fields(card=["number", "securityCode?"])``; by default the number, the security
                code and the expiry of a card.
            type: type and version of the context.
            age: seconds since the context was issued. A context is expired if ``age`` is more than ``lifetime``, and
                not yet valid if ``age`` is negative. Like a stored context, it counts as verified at the time of issue.
            lifetime: seconds for which the context is valid.

        Raises:
            ConfigurationError: the fields or the times are not possible.
        """
        if fields is None:
            fields = select_fields(card=["number", "securityCode", "expirationMonth", "expirationYear"])
        body = capture_request(fields).to_dict()
        with _converted_errors(ConfigurationError):
            capture = sessions.flex_capture(body)
        return self._context(capture, type, age, lifetime)

    def microform_context(
        self,
        *,
        target_origins: Iterable[str] = ("https://shop.example.com",),
        allowed_card_networks: Iterable[str] = ("VISA", "MASTERCARD", "AMEX"),
        allowed_payment_types: Iterable[str] = ("CARD",),
        include_card_prefix: bool | None = None,
        type: str = sessions.MICROFORM_TYPE,
        age: float = 0.0,
        lifetime: float = store.LIFETIME,
    ) -> CaptureContext:
        """Make a capture context of Microform. The arguments are those of ``FlexClient.create_microform_context``.

        ``type``, ``age`` and ``lifetime`` are as in ``capture_context``.
        """
        request = microform_request(
            target_origins=target_origins,
            allowed_card_networks=allowed_card_networks,
            allowed_payment_types=allowed_payment_types,
            include_card_prefix=include_card_prefix,
            client_version="v2",
        )
        with _converted_errors(ConfigurationError):
            capture = sessions.microform_capture(request.to_dict(), _ORIGIN, loopback_origins=True)
        return self._context(capture, type, age, lifetime)

    def _context(self, capture: sessions.Capture, type: str, age: float, lifetime: float) -> CaptureContext:
        if not isinstance(type, str):
            raise ConfigurationError("type must be a string such as 'api-0.1.0'")
        issued_at, expires_at = _times(age, lifetime)
        kid = store.one_time_kid()
        # Two keys in turn, so that a token that is verified with the key of another context is detected.
        key = _key(f"one-time {len(self._contexts) % 2}")
        capture = replace(capture, type=type)
        claims = sessions.context_claims(
            capture, kid, key.public_key(), origin=_ORIGIN, issued_at=issued_at, expires_at=expires_at
        )
        jwt = jose.sign_rs256(_key("long-term"), {"kid": _KID, "alg": "RS256"}, claims)
        self._contexts[kid] = sessions.issued_context(capture, jwt, self._merchant, key, expires_at)
        return verify_capture_context(jwt, self.keys, now=issued_at)

    def transient_token(
        self,
        context: CaptureContext | None = None,
        data: Mapping[str, Any] | Card | None = None,
        *,
        age: float = 0.0,
        lifetime: float = store.LIFETIME,
    ) -> TransientToken:
        """Make a transient token, as ``FlexClient.tokenize`` returns it.

        Args:
            context: a context of this factory, by default a new one.
            data: a ``Card`` or the captured data, as for ``FlexClient.tokenize``; by default a Visa test card, or a
                test bank account, with the fields that the context requires.
            age: seconds since the token was issued. A token is expired if ``age`` is more than ``lifetime``, and not
                yet valid if ``age`` is negative. It counts as verified at the time of issue.
            lifetime: seconds for which the token is valid.

        Raises:
            InvalidDataError: the context does not allow the data.
            ConfigurationError: the context is not from this factory, or the times are not possible.
        """
        issued_at, expires_at = _times(age, lifetime)
        if context is None:
            fields = None if data is None else fields_for_data(data)
            context = self.capture_context(fields, age=age, lifetime=lifetime)
        issued = self._issued(context)
        values = self._values(context, data)
        claims = tokens.token_claims(
            issued,
            values,
            jti=store.token_jti(expires_at),
            issued_at=issued_at,
            expires_at=expires_at,
            reference=store.credentials_reference() if self._has_references else None,
        )
        jwt = jose.sign_rs256(issued.key, {"kid": str(context.key.kid), "alg": "RS256"}, claims)
        return verify_transient_token(jwt, context, now=issued_at)

    def payment_credentials(
        self,
        data: Mapping[str, Any] | Card | None = None,
        *,
        age: float = 0.0,
        lifetime: float = store.LIFETIME,
    ) -> PaymentCredentials:
        """Make payment credentials, as ``FlexClient.payment_credentials`` returns them.

        Args:
            data: a ``Card`` or data, as for ``transient_token``.
            age: seconds since they were issued, as for ``transient_token``.
            lifetime: seconds for which they are valid.
        """
        issued_at, expires_at = _times(age, lifetime)
        context = self.capture_context(None if data is None else fields_for_data(data))
        content = tokens.credentials_content(self._values(context, data))
        credential = store.StoredCredentials(self._merchant, expires_at, content)
        inner = jose.sign_rs256(
            _key("long-term"),
            {"kid": _KID, "cty": "json+pc", "alg": "RS256"},
            tokens.credentials_claims(credential, issued_at=issued_at),
        )
        header = tokens.credentials_header(credential, _CREDENTIALS_KID)
        jwe = jose.encrypt(self.credentials_key.public_key(), header, inner.encode("ascii"))
        return open_payment_credentials(jwe, self.credentials_key, self.keys, now=issued_at)

    def _issued(self, context: CaptureContext) -> store.IssuedContext:
        if not isinstance(context, CaptureContext):
            raise ConfigurationError(f"context must be a CaptureContext, not {type(context).__name__}")
        issued = self._contexts.get(context.key.kid or "")
        if issued is None:
            raise ConfigurationError(
                "context must be from this TokenFactory, which does not have the keys of other contexts"
            )
        return issued

    def _values(self, context: CaptureContext, data: Mapping[str, Any] | Card | None) -> dict[str, str]:
        """Check the captured data as the host does, and return the values by dotted path."""
        wire_data = _sample_data(context) if data is None else to_wire_data(data, context)
        # Rejects names that are not strings.
        flatten(wire_data)
        with _converted_errors(InvalidDataError):
            return validation.validate_captured_data(self._issued(context), wire_data, check_luhn=True, now=None)

    @staticmethod
    def tampered(token: CaptureContext | TransientToken) -> str:
        """The JWT of a context or token, with a later expiry and the signature unchanged. Verification rejects it."""
        header, payload, signature = _jwt_of(token).split(".")
        claims = jose.parse_object(jose.decode(payload))
        return f"{header}.{jose.encode(jose.compact_json(claims | {'exp': claims['exp'] + 60}))}.{signature}"

    @staticmethod
    def foreign(token: CaptureContext | TransientToken) -> str:
        """The JWT of a context or token, unchanged but signed with another key. Verification rejects it."""
        return jose.sign_input(_key("foreign"), _jwt_of(token).rpartition(".")[0])


def _jwt_of(token: CaptureContext | TransientToken) -> str:
    if not isinstance(token, (CaptureContext, TransientToken)):
        raise ConfigurationError(f"token must be a CaptureContext or TransientToken, not {type(token).__name__}")
    return token.jwt


def _times(age: float, lifetime: float) -> tuple[int, int]:
    """``iat`` and ``exp``. Raises ``ConfigurationError`` for impossible times."""
    if isinstance(age, bool) or not isinstance(age, (int, float)) or not -_MAX_AGE <= age <= _MAX_AGE:
        raise ConfigurationError(f"age must be a number of seconds, at most {_MAX_AGE}")
    check_seconds("lifetime", lifetime)
    # `time.time` is looked up in each call, because tools for tests replace it.
    issued_at = int(time.time() - age)
    return issued_at, issued_at + ceil(lifetime)


@contextmanager
def _converted_errors(error_class: type[Exception]) -> Iterator[None]:
    """Convert the emulator's errors to exceptions of this class. The messages contain no captured value."""
    try:
        yield
    except ApiError as error:
        raise error_class(error.rejection_reason) from None


def _sample_data(context: CaptureContext) -> dict[str, str]:
    """Test data for the required fields of a context. If no field is required, for all fields.

    For Microform, a card. If the context allows no cards, a bank account.
    """
    if context.is_microform:
        only_bank = context.allowed_payment_types and "CARD" not in context.allowed_payment_types
        return _BANK_ACCOUNT if only_bank else _CARD
    return {path: _CARD.get(path, "example") for path in context.required_fields or context.optional_fields}
