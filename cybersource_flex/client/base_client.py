"""``BaseFlexClient``: what both clients share: settings, constructors, and methods that send nothing."""

from __future__ import annotations

import base64
import binascii
import difflib
import hashlib
import hmac
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from .._immutable import Immutable
from .._model import UNSET, Unset
from .._runtime.deadline import deadline_after
from .._runtime.tracebacks import clear_locals_on_error
from ..errors import (
    ConfigurationError,
    InvalidArgumentTypeError,
    NotFoundError,
    ResponseDecodingError,
    ResponseInfo,
    TokenError,
    UnknownKeyError,
)
from ..jose import CaptureContext, TransientToken, encrypt, store_capture_context, verify_transient_token
from ..transport.configuration import CallOptions, Configuration, ConnectionOptions, check_type
from ..transport.hosts import environment_alias
from ..transport.rest_operation import RestOperation, check_headers, check_query
from ..transport.retry import RetryPolicy
from .arguments import check_call_options
from .capture_fields import to_wire_data
from .config.client_options import Keys, check_operations

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from inspect import Signature
    from typing import Self, Unpack

    from ..aio import AsyncApiClient
    from ..api_client import ApiClient
    from ..cards import Card
    from ..transport import ApiResponse, Clock, MessageEncryptor, Signer
    from .config.client_options import ClientOptions

__all__ = ["BaseFlexClient", "ResponseScope", "unquote_posted_token"]

# An unknown environment name that is at least this similar to a known one counts as misspelled. Allows one wrong letter
# in "test".
_MIN_SIMILARITY: Final = 0.75

AnyApiClient = TypeVar("AnyApiClient", bound="ApiClient | AsyncApiClient")


class _ClientSignature:
    """The signature of a client class. Lists the settings of ``Configuration`` by name instead of ``**settings``.

    The signature is built when ``inspect.signature`` or ``help`` reads it, because importing ``inspect`` takes
    milliseconds.
    """

    def __get__(self, client: object, owner: Any) -> Signature:
        if owner.__init__ is not BaseFlexClient.__init__:
            # A subclass with a custom constructor has a different signature, which `inspect` finds itself.
            raise AttributeError("__signature__")
        from inspect import signature

        constructor = signature(owner.__init__)
        _self, *arguments, _settings = constructor.parameters.values()
        settings = signature(Configuration).parameters
        arguments += [parameter for name, parameter in settings.items() if name in ConnectionOptions.__optional_keys__]
        return constructor.replace(parameters=arguments)


@clear_locals_on_error
class BaseFlexClient(Immutable, Generic[AnyApiClient, Keys]):
    """Base class of ``FlexClient`` and ``AsyncFlexClient``: settings, constructors, and the methods that send nothing.

    A client is immutable, except that tests can replace its public methods.

    The type parameters are the type of the low-level client, and the type of key source that the client accepts.
    """

    # `__dict__` holds only methods that a test replaced.
    __slots__ = ("__dict__", "__weakref__", "_api_client", "_configuration", "_leeway")

    _not_copied_because = "it holds connections and credentials; share it, and create one in each process"

    _api_client: AnyApiClient
    _configuration: Configuration
    _leeway: float

    def __init__(
        self,
        auth: Signer | None,
        *,
        environment: str = "test",
        leeway: float = 30.0,
        keys: Keys | None = None,
        **settings: Unpack[ConnectionOptions],
    ) -> None:
        _check_setting_names(type(self), settings)
        if isinstance(leeway, bool) or not isinstance(leeway, (int, float)) or not 0 <= leeway <= 600:
            raise ConfigurationError("leeway must be a number of seconds from 0 to 600")
        configuration = Configuration(host=resolve_host(environment), auth=auth, **settings)
        check_operations(getattr(configuration.mle, "operations", ()), "mle")
        self._set(_configuration=configuration, _leeway=float(leeway))
        self._connect(configuration, keys)

    def __setattr__(self, name: str, value: object) -> None:
        if not (_is_public_method(type(self), name) and callable(value)):
            super().__setattr__(name, value)
        # `unittest.mock.patch.object(client, "tokenize")` sets the attribute, and deletes it at the end.
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if not _is_public_method(type(self), name):
            super().__delattr__(name)
        object.__delattr__(self, name)

    #: Read by ``inspect.signature`` and ``help``.
    __signature__ = _ClientSignature()

    def _connect(self, configuration: Configuration, keys: Any) -> None:
        """Create the API clients and the key cache."""
        raise TypeError("BaseFlexClient cannot send requests; use FlexClient or AsyncFlexClient")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Unpack[ClientOptions[Keys]]) -> Self:
        """Create a client from environment variables (``CYBERSOURCE_...``). See the table in docs/configuration.md.

        ``CYBERSOURCE_AUTH`` selects the authentication scheme: ``jwt_shared_secret``, ``jwt_p12``, ``http_signature``
        or ``bearer``. The default is ``jwt_shared_secret``, which needs ``CYBERSOURCE_MERCHANT_ID``,
        ``CYBERSOURCE_KEY_ID`` and ``CYBERSOURCE_SECRET_KEY``. An empty variable counts as not set.

        Args:
            environ: the mapping to read. None reads ``os.environ``.
            overrides: arguments of this class that override the variables.

        Raises:
            ConfigurationError: a variable is missing, wrong or misspelled, or is set although the selected scheme does
                not use it. The message names the variable, never the value of a secret.
        """
        from .config.env_variables import builder_from_env

        if environ is not None and not isinstance(environ, Mapping):
            raise ConfigurationError(f"environ must be a mapping of strings, not {type(environ).__name__}")
        return builder_from_env(os.environ if environ is None else environ, frozenset(overrides)).build(cls, overrides)

    @classmethod
    def from_merchant_config(cls, config: Mapping[str, Any], **overrides: Unpack[ClientOptions[Keys]]) -> Self:
        """Create a client from the configuration dictionary of CyberSource's official Python SDK (0.0.80).

        Each key of the dictionary is either translated, refused with an error, or ignored with a ``UserWarning`` that
        gives the reason. See the table in docs/configuration.md. Like clients of the official SDK, the client does not
        read the environment variables for proxies.

        Args:
            config: the dictionary.
            overrides: arguments of this class that override the dictionary.

        Raises:
            ConfigurationError: a key is unknown, missing, wrong or ambiguous. The message names the key, never the
                value of a secret.
        """
        from .config.merchant_config import builder_from_merchant_config

        builder = builder_from_merchant_config(config, frozenset(overrides))
        for message in builder.warnings:
            warnings.warn(message, UserWarning, stacklevel=3)
        return builder.build(cls, overrides)

    def for_merchant(
        self,
        merchant_id: str | None = None,
        *,
        auth: Signer | None = None,
        mle: MessageEncryptor | Unset | None = UNSET,
    ) -> Self:
        """Create a client for another merchant on the same host. Takes 35 microseconds and 1.5 KB.

        The new client shares the connections and their limit, the cached keys, the clock, the event hooks and all other
        settings with this client. Closing the new client leaves the connections open. Closing this client closes the
        connections of both.

        Args:
            merchant_id: id of the merchant. Pass it if the signer of this client has a meta key (``portfolio_id``). The
                new client also uses the message-level encryption of this client, which belongs to the portfolio.
            auth: the merchant's own signer. Pass it if the signer of this client has no meta key.
            mle: message-level encryption of the new client. None sends unencrypted requests. If this client has
                message-level encryption and ``auth`` is passed, ``mle`` must be passed too. This prevents requests
                that are unencrypted, or encrypted with the wrong merchant's key, by mistake.

        Raises:
            ConfigurationError: neither or both of ``merchant_id`` and ``auth`` were passed, the signer has no meta key,
                or ``mle`` is missing.
        """
        configuration = self._configuration
        if (merchant_id is None) is (auth is None):
            raise ConfigurationError("for_merchant needs exactly one of merchant_id and auth")
        if auth is None:
            for_merchant = getattr(configuration.auth, "for_merchant", None)
            if for_merchant is None:
                scheme = type(configuration.auth).__name__
                raise ConfigurationError(
                    f"{scheme} cannot sign for another merchant; expected that merchant's credentials as auth=..."
                )
            auth = for_merchant(merchant_id)
            encryption = configuration.mle if isinstance(mle, Unset) else mle
        elif isinstance(mle, Unset):
            if configuration.mle is not None:
                raise ConfigurationError(
                    "auth was passed without mle, although this client has message-level encryption; expected the "
                    "MessageLevelEncryption of the new merchant as mle=..., or mle=None for unencrypted requests"
                )
            encryption = None
        else:
            encryption = mle
        check_operations(getattr(encryption, "operations", ()), "mle")
        return self._derive(configuration.with_credentials(auth, encryption))

    def with_options(self, **options: Unpack[CallOptions]) -> Self:
        """Create a client with other timeouts, retries, event hooks or ``User-Agent``, and the same connections.

        Closing the new client leaves the connections open.

        Args:
            options: ``connect_timeout``, ``read_timeout``, ``max_response_bytes``, ``user_agent_suffix``, ``retry``,
                ``event_hooks``, as for ``Configuration``.

        Raises:
            ConfigurationError: an option is invalid.
            InvalidArgumentTypeError: a keyword argument is not an option.
        """
        for name in options:
            if name not in CallOptions.__optional_keys__:
                raise InvalidArgumentTypeError(
                    f"with_options() got an unexpected keyword argument {name!r}", argument=name
                )
        return self._derive(self._configuration.with_options(**options))

    def _derive(self, configuration: Configuration) -> Self:
        """Create a client with a different configuration that shares the connections and keys of this client."""
        client = object.__new__(type(self))
        client._set(
            _api_client=self._api_client.derive(configuration), _configuration=configuration, _leeway=self._leeway
        )
        client._share(self)
        return client

    def _share(self, parent: Any) -> None:
        """Create the API classes, and take over the key sources of the client that this one is derived from."""
        raise TypeError("BaseFlexClient cannot send requests; use FlexClient or AsyncFlexClient")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._configuration!r}>"

    @property
    def api_client(self) -> AnyApiClient:
        """The low-level client that the generated API classes take: ``FlexAPIApi(client.api_client)``."""
        return self._api_client

    @property
    def clock(self) -> Clock:
        """The offset of the host's clock, and whether requests are signed with the host's time."""
        return self._api_client.clock

    def store_capture_context(
        self, context: CaptureContext, key: str | bytes | None = None, *, session_id: str = ""
    ) -> str:
        """Convert a context to a short string, to store it until the browser sends the token. See docs/sessions.md.

        Args:
            context: the verified capture context.
            key: secret key of the MAC, at least 16 bytes, the same on all servers. None stores the context without a
                MAC.
            session_id: id of the session that the context belongs to. Requires ``key``. With the empty
                string, the context is not bound to a session.

        Raises:
            ConfigurationError: the key is too short, or ``session_id`` was passed without a key.
        """
        return store_capture_context(context, key, session_id=session_id)

    def verify_transient_token(self, jwt: str, context: CaptureContext, *, strict: bool = False) -> TransientToken:
        """Verify a transient token with its capture context, which this server requested and stored.

        The token counts as expired if it has expired by the local clock or by the host's clock. Whether its validity
        has begun is decided by the local clock alone.

        Args:
            jwt: the token, usually from the browser.
            context: the context that this server stored for the session.
            strict: whether to reject a genuine token that has ``warnings``.

        Raises:
            TokenError: the token is not genuine, not valid now, or belongs to another context. The subclass of the
                error gives the reason.
            ConfigurationError: ``context`` is not a ``CaptureContext``.
        """
        return verify_transient_token(
            jwt, context, leeway=self._leeway, strict=strict, host_time=self._api_client.host_time()
        )

    def _encrypt(self, data: Mapping[str, Any] | Card, context: CaptureContext) -> str:
        """Encrypt data with the key of a capture context. Returns the JWE."""
        return encrypt(context, to_wire_data(data, context), host_time=self._api_client.host_time())

    def _verify_issued_token(self, response: ApiResponse[str], context: CaptureContext) -> TransientToken:
        """Verify the transient token in a response of the host."""
        with ResponseScope(response) as info:
            _check_digest(response)
            return verify_transient_token(
                response.data,
                context,
                leeway=self._leeway,
                host_time=response.host_time,
                received_from_host=True,
            )._with_response(info)

    def _rest_call(
        self,
        method: str,
        path: str,
        *,
        json: Any,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        retry_safe: bool,
        timeout: float | None,
        retry: RetryPolicy | None,
    ) -> dict[str, Any]:
        """Check the arguments of ``request``, and return the arguments for ``ApiClient.call``."""
        check_call_options(timeout, retry)
        checked = check_headers(headers)
        operation = RestOperation(method, path, accept=checked.pop("accept", None), retry_safe=retry_safe)
        operation.check_body(json)
        if retry is None:
            # `retry_unsafe` of the client says nothing about this operation, which may be a payment.
            policy = self._configuration.retry
            retry = policy.replace(retry_unsafe=False) if policy.retry_unsafe else policy
        return {
            "operation": operation,
            "query": check_query(params),
            "headers": checked,
            "body": json,
            "timeout": timeout,
            "retry": retry,
        }

    def _shared_deadline(self, retry: RetryPolicy | None) -> AbstractContextManager[None]:
        """Apply one deadline to all requests of a call: the operation, and the fetch of the long-term key."""
        check_type("retry", retry, RetryPolicy)
        return deadline_after((self._configuration.retry if retry is None else retry).deadline)

    def _unknown_key_error(self, kid: str, cause: NotFoundError) -> UnknownKeyError:
        error = UnknownKeyError(f"{self._configuration.host} has no public key {kid!r}")
        error.__cause__ = cause
        return error


def unquote_posted_token(posted: str) -> str:
    """Remove the quotation marks around a posted token. CyberSource's sample pages post ``JSON.stringify(token)``."""
    # A JWT has no characters that JSON escapes.
    quoted = isinstance(posted, str) and len(posted) >= 2 and posted[0] == posted[-1] == '"'
    return posted[1:-1] if quoted else posted


def _is_public_method(client: type[BaseFlexClient[Any, Any]], name: str) -> bool:
    return not name.startswith("_") and callable(getattr(client, name, None))


class ResponseScope:
    """Context manager for the verification of a token in a response. Sets ``response`` on the errors raised inside."""

    __slots__ = ("_info",)

    def __init__(self, response: ApiResponse[str]) -> None:
        self._info = response.response

    def __enter__(self) -> ResponseInfo:
        return self._info

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, (TokenError, ResponseDecodingError)) and error.response is None:
            error.response = self._info


def _check_setting_names(client: type[BaseFlexClient[Any, Any]], settings: Iterable[str]) -> None:
    """Raise ``InvalidArgumentTypeError`` if a keyword argument is not a setting."""
    for name in settings:
        if name not in ConnectionOptions.__optional_keys__:
            names = [*ConnectionOptions.__optional_keys__, "auth", "environment", "keys", "leeway"]
            close = ["environment"] if name == "host" else difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InvalidArgumentTypeError(
                f"{client.__name__}() got an unexpected keyword argument {name!r}{hint}", argument=name
            )


def resolve_host(environment: str) -> str:
    """Return the host for an environment name or host. Raises ``ConfigurationError`` if ``environment`` is neither."""
    names = Configuration.ENVIRONMENTS
    similar = None
    if isinstance(environment, str):
        if environment in names:
            return names[environment]
        similar = environment_alias(environment)
        if similar is None and ("." in environment or ":" in environment or environment.lower() == "localhost"):
            return environment
        if similar is None:
            similar = next(iter(difflib.get_close_matches(environment.lower(), names, 1, _MIN_SIMILARITY)), None)
    raise ConfigurationError(
        f"environment must be one of {', '.join(map(repr, names))}, or a host such as "
        f"'https://apitest.cybersource.com'{'' if similar is None else f'; did you mean {similar!r}?'}"
    )


def _check_digest(response: ApiResponse[str]) -> None:
    """Compare the header ``Digest`` (RFC 3230) with the body. A missing header is accepted: the token is signed."""
    expected = _sha256_digests(response.headers.get("Digest", ""))
    if not expected:
        return
    # A gateway may have put the token in quotation marks, or added a line end.
    actual = [hashlib.sha256(data).digest() for data in (response.raw_data, response.data.encode("utf-8"))]
    if not any(hmac.compare_digest(one, other) for one in actual for other in expected):
        raise ResponseDecodingError(
            method="POST",
            path="/flex/v2/tokens",
            status=response.status_code,
            message="the call was accepted, but its response was modified in transit: header Digest and body differ",
            correlation_id=response.headers.get("v-c-correlation-id"),
            headers=response.headers,
            body=response.raw_data,
            attempts=response.attempts,
        )


def _sha256_digests(header: str) -> list[bytes]:
    """Return the SHA-256 digests in a header ``Digest``, which is a list of digests by different algorithms."""
    digests = []
    for entry in header.split(","):
        algorithm, _, value = entry.partition("=")
        if algorithm.strip().upper() == "SHA-256":
            try:
                digests.append(base64.b64decode(value.strip(), validate=True))
            except (binascii.Error, ValueError):
                digests.append(b"")
    return digests
