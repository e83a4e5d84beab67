"""``FlexClient``: capture context, encryption, transient token and payment details, verified at each step."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..api.flex_api_api import FlexAPIApi
from ..api.microform_integration_api import MicroformIntegrationApi
from ..api_client import ApiClient
from ..configuration import Configuration
from ..errors import ConfigurationError, NotFoundError, ResponseDecodingError, UnknownKeyError
from ..jose import CaptureContext, TransientToken, encrypt, verify_capture_context, verify_transient_token
from ..jose.keys import CachedKeys
from ..models import (
    CaptureFields,
    GenerateCaptureContextRequest,
    GenerateFlexAPICaptureContextRequest,
    TransientTokenResponseOptions,
)
from .capture_fields import wire_data

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..transport import ApiResponse, Signer

__all__ = ["FlexClient"]


class FlexClient:
    """A client for one merchant on one host. Make one, keep it, share it between threads; close it at the end.

    Args:
        auth: who signs: ``JwtSharedSecret(...)``.
        environment: ``"test"``, ``"production"`` or another name in ``Configuration.ENVIRONMENTS``, or the host itself
            as ``"https://host"``.
        connect_timeout: seconds to wait for a connection.
        read_timeout: seconds to wait for the next bytes of an answer.
        leeway: seconds by which this machine's clock and the service's may differ before a token is refused.

    Raises:
        ConfigurationError: a setting is wrong.
    """

    def __init__(
        self,
        auth: Signer | None,
        *,
        environment: str = "test",
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        leeway: float = 30.0,
    ) -> None:
        if isinstance(leeway, bool) or not isinstance(leeway, (int, float)) or not 0 <= leeway <= 600:
            raise ConfigurationError("leeway must be a number of seconds from 0 to 600")
        self._leeway = float(leeway)
        self._api_client = ApiClient(
            Configuration(
                host=_host(environment),
                auth=auth,
                connect_timeout=connect_timeout,
                read_timeout=read_timeout,
            )
        )
        self._flex = FlexAPIApi(self._api_client)
        self._microform = MicroformIntegrationApi(self._api_client)
        self._keys = CachedKeys(self._fetch_key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<FlexClient {self._api_client.configuration!r}>"

    @property
    def api_client(self) -> ApiClient:
        """The client underneath, for the generated API classes: ``FlexAPIApi(client.api_client)``."""
        return self._api_client

    def close(self) -> None:
        """Close the idle connections."""
        self._api_client.close()

    def create_capture_context(self, fields: CaptureFields | GenerateFlexAPICaptureContextRequest) -> CaptureContext:
        """Ask for a capture context and verify it (``POST /flex/v2/sessions``).

        Args:
            fields: what to capture: ``fields(card=["number", "expirationMonth", "securityCode?"])``, or the models.

        Raises:
            ConfigurationError: the client has no auth.
            ApiException, TransportError: the call failed.
            TokenError: what came back is not what it has to be.
        """
        if isinstance(fields, CaptureFields):
            fields = GenerateFlexAPICaptureContextRequest(fields=fields)
        return self.verify_capture_context(self._flex.generate_flex_api_capture_context(fields))

    def create_microform_context(
        self,
        *,
        target_origins: Iterable[str],
        allowed_card_networks: Iterable[str] = (),
        allowed_payment_types: Iterable[str] = (),
        include_card_prefix: bool | None = None,
        client_version: str = "v2",
    ) -> CaptureContext:
        """Ask for a capture context for the browser library Microform and verify it (``POST /microform/v2/sessions``).

        Args:
            target_origins: origins of the pages that will load Microform: ``["https://shop.example.com"]``.
            allowed_card_networks: ``["VISA", "MASTERCARD"]``; at least one unless the payment types are ``CHECK`` only.
            allowed_payment_types: ``["CARD"]`` where left out.
            include_card_prefix: None for six digits of the card number in the token, True for eight where the network
                has them, False for none.
            client_version: version of the browser library.

        Raises:
            As ``create_capture_context``.
        """
        options = None
        if include_card_prefix is not None:
            options = TransientTokenResponseOptions(include_card_prefix=include_card_prefix)
        request = GenerateCaptureContextRequest(
            client_version=client_version,
            target_origins=_texts("target_origins", target_origins),
            allowed_card_networks=_texts("allowed_card_networks", allowed_card_networks) or None,
            allowed_payment_types=_texts("allowed_payment_types", allowed_payment_types) or None,
            transient_token_response_options=options,
        )
        return self.verify_capture_context(self._microform.generate_capture_context(request))

    def verify_capture_context(self, jwt: str) -> CaptureContext:
        """Verify a capture context with the long-term key that this client's host publishes.

        Raises:
            TokenError: it is not genuine, or not valid now; the subclass says why.
            ApiException, TransportError: the key could not be fetched.
        """
        return verify_capture_context(jwt, self._keys, leeway=self._leeway)

    def tokenize(self, context: CaptureContext, data: Mapping[str, Any]) -> TransientToken:
        """Encrypt data to a capture context, exchange it for a transient token, and verify that
        (``POST /flex/v2/tokens``).

        Args:
            context: from ``create_capture_context``.
            data: texts by field: ``{"card": {"number": "4111111111111111", ...}, "billTo": {...}}``, or the whole tree
                of the wire, or dotted names.

        Raises:
            InvalidDataError: a field is missing, or not in the context, or not a text. Nothing was sent.
            ApiException, TransportError: the call failed.
            TokenError: the context has expired, or what came back is not what it has to be.
        """
        answer = self._flex.create_transient_token_with_http_info(encrypt(context, wire_data(data)))
        _check_digest(answer)
        return self.verify_transient_token(answer.data, context)

    def verify_transient_token(self, jwt: str, context: CaptureContext) -> TransientToken:
        """Verify a transient token with the capture context it was made for, one that this server asked for and kept.

        Raises:
            TokenError: it is not genuine, or not valid now, or of another context; the subclass says why.
        """
        return verify_transient_token(jwt, context, leeway=self._leeway)

    def payment_details(self, token: TransientToken | str) -> dict[str, Any]:
        """What was captured, masked (``GET /flex/v2/payment-details/{jti}``).

        Args:
            token: the transient token, or its ``jti``.

        Raises:
            ConfigurationError: the client has no auth.
            ApiException, TransportError: the call failed.
        """
        return self._flex.get_payment_details(token.jti if isinstance(token, TransientToken) else token)

    def _fetch_key(self, kid: str) -> Mapping[str, Any]:
        try:
            return self._flex.get_public_key(kid).to_dict()
        except NotFoundError as cause:
            raise UnknownKeyError(f"{self._api_client.configuration.host} has no public key {kid!r}") from cause


def _host(environment: str) -> str:
    if isinstance(environment, str) and environment in Configuration.ENVIRONMENTS:
        return Configuration.ENVIRONMENTS[environment]
    if isinstance(environment, str) and ("." in environment or "://" in environment):
        return environment
    names = ", ".join(repr(name) for name in Configuration.ENVIRONMENTS)
    raise ConfigurationError(f"environment must be one of {names}, or a host such as 'https://apitest.cybersource.com'")


def _texts(name: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, str):
        raise ConfigurationError(f"{name} must be a list of texts, not one text")
    return list(values)


def _check_digest(answer: ApiResponse[str]) -> None:
    """Hold the header ``Digest`` (RFC 3230) against the body. A host that sends none is let be: the token is signed."""
    given = answer.headers.get("Digest")
    if given is None or not given.upper().startswith("SHA-256="):
        return
    try:
        expected = base64.b64decode(given[8:], validate=True)
    except (binascii.Error, ValueError):
        expected = b""
    if not hmac.compare_digest(hashlib.sha256(answer.raw_data).digest(), expected):
        raise ResponseDecodingError(
            method="POST",
            path="/flex/v2/tokens",
            status=answer.status_code,
            message="the call was accepted, but its answer was changed on the way: header Digest and body differ",
            correlation_id=answer.headers.get("v-c-correlation-id"),
            headers=answer.headers,
            body=answer.raw_data,
        )
