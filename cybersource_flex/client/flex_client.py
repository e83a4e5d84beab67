"""``FlexClient``: capture context, encryption, transient token and payment details, verified at each step."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..api.flex_api_api import FlexAPIApi
from ..api.microform_integration_api import MicroformIntegrationApi
from ..api_client import ApiClient
from ..configuration import Configuration
from ..errors import ConfigurationError, NotFoundError, UnknownKeyError
from ..jose import CaptureContext, TransientToken, encrypt, verify_capture_context, verify_transient_token
from ..jose.key_cache import CachedKeys
from ..models import (
    CaptureFields,
    GenerateCaptureContextRequest,
    GenerateFlexAPICaptureContextRequest,
    TransientTokenResponseOptions,
)
from ..transport.frozen import Frozen
from .capture_fields import wire_data
from .checks import base_url, check_digest, texts
from .operations import check_operations

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ..transport import Encryption, Signer, Tls
    from .plan import Overrides

__all__ = ["FlexClient"]


class FlexClient(Frozen):
    """A client for one merchant on one host. Make one, keep it, share it between threads; close it at the end.

    It cannot be changed once made, nor pickled or copied: it holds credentials. ``from_env`` and
    ``from_merchant_config`` make one from the environment and from the official SDK's dictionary.

    Args:
        auth: who signs: ``JwtSharedSecret(...)``, ``JwtP12(...)``; None allows what needs no signature.
        environment: ``"test"``, ``"production"`` or another name in ``Configuration.ENVIRONMENTS``, or the host itself
            as ``"https://host"``. ``http`` is for loopback hosts alone.
        mle: message-level encryption, ``MessageLevelEncryption(...)``; needs a signer that makes JWTs.
        tls: which hosts are believed, and the client certificate: ``Tls(...)``; None believes what the system believes.
        proxy: ``http://`` or ``https://`` URL of the proxy, with percent-encoded credentials where it asks for them.
        proxy_from_environment: whether, without ``proxy``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` are read.
        intermediate_host: host to connect to in place of the environment's, which stays what is signed.
        user_agent_suffix: text to add to the ``User-Agent`` header, for example ``shop/1.2``.
        connect_timeout: seconds to wait for a connection.
        read_timeout: seconds to wait for the next bytes of an answer.
        leeway: seconds by which this machine's clock and the service's may differ before a token is refused.

    Raises:
        ConfigurationError: a setting is wrong.
    """

    __slots__ = ("__weakref__", "_api_client", "_flex", "_keys", "_leeway", "_microform")

    _api_client: ApiClient
    _flex: FlexAPIApi
    _keys: CachedKeys
    _leeway: float
    _microform: MicroformIntegrationApi

    def __init__(
        self,
        auth: Signer | None,
        *,
        environment: str = "test",
        mle: Encryption | None = None,
        tls: Tls | None = None,
        proxy: str | None = None,
        proxy_from_environment: bool = True,
        intermediate_host: str | None = None,
        user_agent_suffix: str | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        leeway: float = 30.0,
    ) -> None:
        if isinstance(leeway, bool) or not isinstance(leeway, (int, float)) or not 0 <= leeway <= 600:
            raise ConfigurationError("leeway must be a number of seconds from 0 to 600")
        configuration = Configuration(
            host=base_url(environment),
            auth=auth,
            mle=mle,
            tls=tls,
            proxy=proxy,
            proxy_from_environment=proxy_from_environment,
            intermediate_host=intermediate_host,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            user_agent_suffix=user_agent_suffix,
        )
        check_operations(getattr(mle, "operations", ()), "mle")
        api_client = ApiClient(configuration)
        self._set(
            _leeway=float(leeway),
            _api_client=api_client,
            _flex=FlexAPIApi(api_client),
            _microform=MicroformIntegrationApi(api_client),
            _keys=CachedKeys(self._fetch_key),
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Unpack[Overrides]) -> Self:
        """A client from environment variables, all named ``CYBERSOURCE_...``; the table is in docs/configuration.md.

        ``CYBERSOURCE_AUTH`` says how requests are signed: ``jwt_shared_secret`` where it is not set, which needs
        ``CYBERSOURCE_MERCHANT_ID``, ``CYBERSOURCE_KEY_ID`` and ``CYBERSOURCE_SECRET_KEY``; or ``jwt_p12``,
        ``http_signature`` or ``bearer``. An empty variable counts as one that is not set.

        Args:
            environ: what to read in place of ``os.environ``.
            overrides: arguments of this class that win over what the variables say.

        Raises:
            ConfigurationError: a variable is missing, wrong, nearly but not quite the name of a known one, or belongs
                to another scheme than the chosen one. It names the variable, never the value of a secret.
        """
        from .environment import read

        return read(os.environ if environ is None else environ, frozenset(overrides)).make(cls, overrides)

    @classmethod
    def from_merchant_config(cls, config: Mapping[str, Any], **overrides: Unpack[Overrides]) -> Self:
        """A client from the configuration dictionary of CyberSource's own Python SDK (0.0.80).

        Every key of that dictionary is translated, or refused, or ignored with a ``UserWarning`` that says why; the
        table is in docs/configuration.md. As there, the environment's proxy variables are not looked at.

        Args:
            config: the dictionary.
            overrides: arguments of this class that win over what the dictionary says.

        Raises:
            ConfigurationError: a key is unknown, missing or wrong, or can be read in two ways. It names the key, never
                the value of a secret.
        """
        from .merchant_config import read

        plan = read(config, frozenset(overrides))
        for note in plan.notes:
            warnings.warn(note, UserWarning, stacklevel=2)
        return plan.make(cls, overrides)

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
            target_origins=texts("target_origins", target_origins),
            allowed_card_networks=texts("allowed_card_networks", allowed_card_networks) or None,
            allowed_payment_types=texts("allowed_payment_types", allowed_payment_types) or None,
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
        check_digest(answer)
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
