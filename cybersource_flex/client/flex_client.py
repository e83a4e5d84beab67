"""``FlexClient``: creates capture contexts, tokenizes data and reads payment details, and verifies every response."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .._sealed import sealed
from ..api.flex_api_api import FlexAPIApi
from ..api.microform_integration_api import MicroformIntegrationApi
from ..api_client import ApiClient
from ..errors import NotFoundError
from ..jose import (
    CaptureContext,
    KeyCache,
    TransientToken,
    encrypt,
    open_payment_credentials,
    store_capture_context,
    verify_capture_context,
    verify_transient_token,
)
from ..jose.capture_context import UnverifiedContext, check_expected
from ..jose.keys import KeySource, check_source, with_key
from ..jose.storage import StoredContext
from ..models import CaptureFields
from .arguments import (
    capture_request,
    check_call_options,
    check_items,
    microform_request,
    reference_of,
    token_id,
)
from .base_client import BaseFlexClient, check_digest, host_time_of
from .bulk import Batch, Item, Job, Progress, TokenizeResult, tokenize_many
from .capture_fields import to_wire_data

if TYPE_CHECKING:
    from typing import Self

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from ..cards import Card
    from ..configuration import Configuration
    from ..jose import ContextExpectations, PaymentCredentials
    from ..models import GenerateFlexAPICaptureContextRequest
    from ..transport import ApiResponse, Clock, RetryPolicy

__all__ = ["FlexClient"]


@sealed
class FlexClient(BaseFlexClient[KeySource]):
    """Client for one merchant on one host. Thread-safe: create one, share it between threads, and close it at the end.

    A client is immutable. It cannot be pickled or copied, because it holds credentials. ``from_env`` and
    ``from_merchant_config`` create one from environment variables and from the official SDK's dictionary.

    Args:
        auth: the signer: ``JwtSharedSecret(...)``, ``JwtP12(...)``; None allows only operations that need no signature.
        environment: ``"test"``, ``"production"`` or another name in ``Configuration.ENVIRONMENTS``, or the host itself
            as ``"https://host"``. ``http`` is allowed for loopback hosts only.
        mle: message-level encryption, ``MessageLevelEncryption(...)``; needs a JWT signer.
        tls: trusted certificate authorities and the client certificate: ``Tls(...)``; None trusts those of the system.
        proxy: ``http://`` or ``https://`` URL of the proxy, with percent-encoded credentials if it requires them.
        proxy_from_environment: whether, without ``proxy``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` are read.
        intermediate_host: host to connect to instead of the environment's, for which requests are still signed.
        user_agent_suffix: string to append to the ``User-Agent`` header, for example ``shop/1.2``.
        connect_timeout: seconds to wait for a connection.
        read_timeout: seconds to wait for the next bytes of a response.
        leeway: seconds by which the local clock and the host's may differ before a token is rejected.
        retry: number of attempts and total time of a call; None for ``RetryPolicy()``. Each method accepts a policy
            for one call.
        events: functions that are called for attempts and calls: ``Events(on_attempt=..., on_response=...)``.
        correct_clock: whether to use the host's time. After a 401 with clocks that differ, requests are signed with it.
            Tokens are checked against it as well. See ``docs/errors.md``.
        pool_size: maximum number of open connections. A call waits for a free one until its deadline.
        idle_timeout: seconds after which an unused connection is closed instead of reused.
        keys: source of long-term keys, instead of the host and this client's cache: a ``KeySource`` such as
            ``PinnedKeys``, for programs that cannot reach the host.

    Raises:
        ConfigurationError: a setting is wrong.
    """

    __slots__ = ("_api_client", "_flex", "_keys", "_microform", "_unthrottled_keys")

    _api_client: ApiClient
    _flex: FlexAPIApi
    _unthrottled_keys: KeySource
    _keys: KeySource
    _microform: MicroformIntegrationApi

    def _connect(self, configuration: Configuration, keys: KeySource | None) -> None:
        if keys is not None:
            check_source("keys", keys)
        # Loaded now, with what it needs: at the first call, no file descriptor may be left to read a module.
        from ..transport.sync import Transport  # noqa: F401

        api_client = ApiClient(configuration)
        cached = KeyCache(self._fetch_key)
        self._set(
            _api_client=api_client,
            _flex=FlexAPIApi(api_client),
            _microform=MicroformIntegrationApi(api_client),
            _keys=cached if keys is None else keys,
            # Key ids in responses of the host are trustworthy, so fetching them is not throttled.
            _unthrottled_keys=cached.unthrottled() if keys is None else keys,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def api_client(self) -> ApiClient:
        """The low-level API client, for the generated API classes: ``FlexAPIApi(client.api_client)``."""
        return self._api_client

    @property
    def clock(self) -> Clock:
        """The offset of the host's clock, and whether requests are signed with the host's time."""
        return self._api_client.clock

    def close(self) -> None:
        """Close the idle connections."""
        self._api_client.close()

    def _fetch_key(self, kid: str) -> Mapping[str, Any]:
        try:
            return self._flex.get_public_key(kid).to_dict()
        except NotFoundError as cause:
            raise self._unknown_key_error(kid, cause) from cause

    def create_capture_context(
        self,
        fields: CaptureFields | GenerateFlexAPICaptureContextRequest,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> CaptureContext:
        """Request a capture context and verify it (``POST /flex/v2/sessions``).

        Args:
            fields: fields to capture: ``fields(card=["number", "expirationMonth", "securityCode?"])``, or the models.
            timeout: seconds for each attempt, instead of the client's ``read_timeout``.
            retry: the retry policy of this call, instead of the client's.

        Raises:
            InvalidArgumentError: the argument has another type. Nothing was sent.
            ConfigurationError: the client has no auth.
            ApiException, TransportError: the call failed.
            TokenError: the response is not a valid capture context.
        """
        request = capture_request(fields)
        with self._shared_deadline(retry):
            return self._verify_issued(
                self._flex.generate_flex_api_capture_context_with_http_info(request, timeout=timeout, retry=retry)
            )

    def create_microform_context(
        self,
        *,
        target_origins: Iterable[str],
        allowed_card_networks: Iterable[str] = (),
        allowed_payment_types: Iterable[str] = (),
        include_card_prefix: bool | None = None,
        client_version: str = "v2",
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> CaptureContext:
        """Request a capture context for the browser library Microform and verify it (``POST /microform/v2/sessions``).

        Args:
            target_origins: origins of the pages that will load Microform: ``["https://shop.example.com"]``.
            allowed_card_networks: ``["VISA", "MASTERCARD"]``; at least one unless the payment types are ``CHECK`` only.
            allowed_payment_types: ``["CARD"]`` by default.
            include_card_prefix: None for the first six digits of the card number in the token, True for eight if the
                network uses eight, False for none.
            client_version: version of the browser library.
            timeout: seconds for each attempt, instead of the client's ``read_timeout``.
            retry: the retry policy of this call, instead of the client's.

        Raises:
            As ``create_capture_context``.
        """
        request = microform_request(
            target_origins=target_origins,
            allowed_card_networks=allowed_card_networks,
            allowed_payment_types=allowed_payment_types,
            include_card_prefix=include_card_prefix,
            client_version=client_version,
        )
        with self._shared_deadline(retry):
            return self._verify_issued(
                self._microform.generate_capture_context_with_http_info(request, timeout=timeout, retry=retry)
            )

    def _verify_issued(self, response: ApiResponse[str]) -> CaptureContext:
        """Verify the capture context in a response of the host."""
        return verify_capture_context(
            response.data,
            self._unthrottled_keys,
            leeway=self._leeway,
            host_time=host_time_of(self.clock, response),
            from_host=True,
        )

    def verify_capture_context(self, jwt: str, *, expected: ContextExpectations | None = None) -> CaptureContext:
        """Verify a capture context with the long-term key that this client's host publishes.

        Args:
            jwt: the capture context, from any source.
            expected: the content that the context must have: ``ContextExpectations(target_origins=[...])``.

        Raises:
            TokenError: the context is not genuine, not valid now, or differs from ``expected``; the subclass gives the
                reason.
            ApiException, TransportError: the key could not be fetched.
        """
        check_expected(expected)
        unverified = UnverifiedContext(jwt)
        return with_key(
            self._keys,
            unverified.kid,
            # Read after the key was fetched: that response may be the first one with the host's time.
            lambda key: unverified.verify(
                key, leeway=self._leeway, expected=expected, host_time=self._api_client.host_time()
            ),
        )

    def store_capture_context(self, context: CaptureContext, key: str | bytes | None = None, *, bind: str = "") -> str:
        """Convert a context to a short string, to store it between the two steps. See ``docs/trust.md``.

        Args:
            context: the verified capture context.
            key: secret key that seals the string: at least 16 bytes, the same on all servers. None for no seal.
            bind: the owner of the context, such as a session id. Needs a key.

        Raises:
            ConfigurationError: the key is too short, or ``bind`` is set without a key.
        """
        return store_capture_context(context, key, bind=bind)

    def restore_capture_context(self, text: str, key: str | bytes | None = None, *, bind: str = "") -> CaptureContext:
        """Restore a stored context. A sealed one is trusted because of its seal, an unsealed one is verified again.

        The context can verify tokens as long as a token for it can be valid.

        Args:
            text: the string that ``store_capture_context`` returned.
            key: the key that it was sealed with.
            bind: the owner that it was bound to.

        Raises:
            TokenError: the string was modified, is bound to another owner, or is too old; the subclass says which.
        """
        stored = StoredContext(text, key, bind=bind)
        if stored.sealed:
            return stored.accept(leeway=self._leeway, host_time=self._api_client.host_time())
        return with_key(
            self._keys,
            stored.kid,
            lambda public_key: stored.verify(public_key, leeway=self._leeway, host_time=self._api_client.host_time()),
        )

    def tokenize(
        self,
        context: CaptureContext,
        data: Mapping[str, Any] | Card,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> TransientToken:
        """Encrypt data with the key of a capture context, exchange it for a transient token, and verify the token
        (``POST /flex/v2/tokens``).

        Each request counts against the number of tokens that a context allows, so a request that may have been sent is
        not retried, unless the policy sets ``repeat_any``.

        Args:
            context: from ``create_capture_context``.
            data: strings by field: ``{"card": {"number": "4111111111111111", ...}, "billTo": {...}}``, or the full
                structure of the request, or dotted names. A ``Card`` is accepted alone or as the value of ``card``;
                only the fields that the context requests are sent. For a Microform context that allows ``CHECK``,
                a bank account: ``{"CHECK": {"routingNumber": ..., "account": {"number": ..., "type": "C"}}}``, or the
                same below ``paymentInformation.bank``.
            timeout: seconds for each attempt, instead of the client's ``read_timeout``.
            retry: the retry policy of this call, instead of the client's.

        Raises:
            InvalidDataError: a field is missing, not in the context, of a payment type that the context does not allow,
                or not a string. Nothing was sent.
            ApiException, TransportError: the call failed.
            TokenError: the context has expired, or the response is not a valid token for it.
        """
        jwe = encrypt(context, to_wire_data(data, context), host_time=self._api_client.host_time())
        response = self._flex.create_transient_token_with_http_info(jwe, timeout=timeout, retry=retry)
        check_digest(response)
        return verify_transient_token(
            response.data, context, leeway=self._leeway, host_time=host_time_of(self.clock, response), from_host=True
        )

    def tokenize_many(
        self,
        items: Iterable[Item],
        *,
        concurrency: int = 8,
        ordered: bool = True,
        progress: Progress | None = None,
        fields: CaptureFields | None = None,
        context: CaptureContext | None = None,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Generator[TokenizeResult, None, None]:
        """Tokenize many cards concurrently. A failed item yields a result with an ``error``; the others continue.

        Each item gets a separate capture context for the fields that it has, because the number of tokens that one
        context allows is not published. Items are taken from the iterable in this thread, at most twice
        ``concurrency`` ahead of the results that were consumed. Closing the iterator, or an exception in this thread
        while it waits, cancels the items that have not started and waits for the others; no thread remains.

        Args:
            items: data as ``tokenize`` accepts it, or tuples of a context and data. May be infinite.
            concurrency: maximum number of items in progress; at most ``pool_size`` of them send at the same time.
            ordered: whether results are yielded in the order of the items; otherwise as they complete.
            progress: called in this thread after each item with the number of completed items and the number of failed
                items.
            fields: fields to request in each context, instead of the fields that its item has.
            context: one context for all items. It must allow enough tokens and stay valid long enough.
            timeout: seconds for each attempt, instead of the client's ``read_timeout``.
            retry: the retry policy for each of the two calls of an item, instead of the client's.

        Raises:
            ConfigurationError: an argument is wrong. Exceptions of ``items`` and ``progress`` are raised unchanged.
        """
        check_call_options(timeout, retry)
        check_items(items, awaited=False)
        batch = Batch(concurrency=concurrency, ordered=ordered, progress=progress, fields=fields, context=context)
        tokenize = partial(self._tokenize_job, timeout=timeout, retry=retry)
        return tokenize_many(tokenize, items, batch, concurrency=concurrency)

    @sealed
    def _tokenize_job(
        self, job: Job, *, timeout: float | None, retry: RetryPolicy | None
    ) -> tuple[CaptureContext, TransientToken]:
        """Tokenize one item of ``tokenize_many``, with a new capture context unless the item or the batch has one."""
        context, data = job.resolve()
        if isinstance(context, CaptureFields):
            context = self.create_capture_context(context, timeout=timeout, retry=retry)
        return context, self.tokenize(context, data, timeout=timeout, retry=retry)

    def verify_transient_token(self, jwt: str, context: CaptureContext) -> TransientToken:
        """Verify a transient token with its capture context, which this server requested and stored.

        A token is not yet valid according to the local clock. It is expired according to the local or the host's clock.

        Raises:
            TokenError: the token is not genuine, not valid now, or belongs to another context; the subclass gives the
                reason.
        """
        return verify_transient_token(jwt, context, leeway=self._leeway, host_time=self._api_client.host_time())

    def payment_details(
        self, token: TransientToken | str, *, timeout: float | None = None, retry: RetryPolicy | None = None
    ) -> dict[str, Any]:
        """Return the captured data, masked (``GET /flex/v2/payment-details/{jti}``).

        Args:
            token: the verified transient token, or its ``jti``. The JWT itself is rejected: the path of the request
                would contain it, and access logs contain paths.
            timeout: seconds for each attempt, instead of the client's ``read_timeout``.
            retry: the retry policy of this call, instead of the client's.

        Raises:
            InvalidArgumentError: the argument is a JWT or another credential. Nothing was sent.
            ConfigurationError: the client has no auth.
            ApiException, TransportError: the call failed.
        """
        return self._flex.get_payment_details(token_id(token), timeout=timeout, retry=retry)

    def payment_credentials(
        self,
        reference: str,
        private_key: RSAPrivateKey,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> PaymentCredentials:
        """Return the full card data behind a transient token, decrypted and verified
        (``GET /flex/v2/payment-credentials/{reference}``). **In PCI DSS scope**: the result holds the card number.

        The client must sign as the organisation that the reference belongs to, often the portfolio.

        Args:
            reference: a value of ``token.payment_credentials_references``.
            private_key: the merchant's private key. The public key is registered with the service.
            timeout: seconds for each attempt, instead of the client's ``read_timeout``.
            retry: the retry policy of this call, instead of the client's.

        Raises:
            InvalidArgumentError: the reference is a token or another credential. Nothing was sent.
            ConfigurationError: the client has no auth, or ``private_key`` is not a private key.
            ApiException, TransportError: the call failed.
            TokenError: the response cannot be decrypted, or is not genuine.
        """
        with self._shared_deadline(retry):
            response = self._flex.get_payment_credentials_with_http_info(
                reference_of(reference), timeout=timeout, retry=retry
            )
            return open_payment_credentials(
                response.data,
                private_key,
                self._unthrottled_keys,
                leeway=self._leeway,
                host_time=host_time_of(self.clock, response),
                from_host=True,
            )
