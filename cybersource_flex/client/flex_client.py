"""``FlexClient``: create capture contexts, tokenize data and read payment details. Verifies every token it receives."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .._runtime.tracebacks import clear_locals_on_error
from ..api.flex_api_api import FlexAPIApi
from ..api.microform_integration_api import MicroformIntegrationApi
from ..api_client import ApiClient
from ..errors import NotFoundError
from ..jose import CaptureContext, KeyCache, TransientToken
from ..jose.capture_context import UnverifiedContext, check_expected
from ..jose.keys import KeySource, check_key_source, check_kid, verify_with_key_source
from ..jose.payment_credentials import UnverifiedCredentials
from ..jose.storage import StoredContext
from ..jose.verified import check_strict
from ..models import CaptureFields
from .arguments import (
    capture_request,
    check_call_options,
    check_items,
    microform_request,
    reference_of,
    token_id,
)
from .base_client import BaseFlexClient, ResponseScope, unquote_posted_token
from .bulk import Batch, Item, Job, Progress, TokenizeResult, tokenize_many

if TYPE_CHECKING:
    from typing import Self

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from ..cards import Card
    from ..jose import ContextExpectations, PaymentCredentials
    from ..models import GenerateFlexAPICaptureContextRequest
    from ..transport import ApiResponse, RetryPolicy
    from ..transport.configuration import Configuration

__all__ = ["FlexClient"]


@clear_locals_on_error
class FlexClient(BaseFlexClient[ApiClient, KeySource]):
    """Client for one merchant on one host. Thread-safe: create one, share it between threads, and close it at the end.

    A client is immutable. It cannot be pickled or copied, because it holds connections and credentials.
    ``from_env`` creates a client from environment variables, ``from_merchant_config`` from the configuration dictionary
    of the official SDK.

    Args:
        auth: the signer: ``JwtSharedSecret(...)``, ``JwtP12(...)``. If None, only operations that need no signature can
            be called.
        environment: ``"test"``, ``"production"`` or another name in ``Configuration.ENVIRONMENTS``, or a host such as
            ``"https://host"`` or ``"localhost:9443"``. ``http`` is allowed for loopback hosts only.
        leeway: seconds by which the local clock and the host's may differ before a token is rejected.
        keys: source of long-term keys, such as ``PinnedKeys``, for programs that cannot reach the host. None fetches
            the keys from the host, and caches them.
        settings: the other settings of ``Configuration``, as keyword arguments: ``mle``, ``tls``, ``proxy``,
            ``read_timeout``, ``retry``, ``event_hooks``, ``pool_size`` and others. See ``help(Configuration)``.

    Raises:
        ConfigurationError: the value of an argument is invalid.
        InvalidArgumentTypeError: a keyword argument is not a setting.
    """

    __slots__ = ("_flex", "_keys", "_microform", "_unthrottled_keys")

    _flex: FlexAPIApi
    _unthrottled_keys: KeySource
    _keys: KeySource
    _microform: MicroformIntegrationApi

    def _connect(self, configuration: Configuration, keys: KeySource | None) -> None:
        if keys is not None:
            check_key_source("keys", keys)
        # Imported here and not at the first call, when the process may have no file descriptor left to read a module.
        from ..transport import Transport  # noqa: F401

        api_client = ApiClient(configuration)
        cached = KeyCache(self._fetch_key)
        self._set(
            _api_client=api_client,
            _flex=FlexAPIApi(api_client),
            _microform=MicroformIntegrationApi(api_client),
            _keys=cached if keys is None else keys,
            # For tokens in responses of the host: an attacker cannot choose their key ids, so fetches are not
            # throttled.
            _unthrottled_keys=cached.unthrottled() if keys is None else keys,
        )

    def _share(self, parent: Any) -> None:
        self._set(
            _flex=FlexAPIApi(self._api_client),
            _microform=MicroformIntegrationApi(self._api_client),
            _keys=parent._keys,
            _unthrottled_keys=parent._unthrottled_keys,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. Does nothing for a client that ``for_merchant`` or ``with_options`` created."""
        self._api_client.close()

    def _fetch_key(self, kid: str) -> Mapping[str, Any]:
        try:
            return self._flex.get_public_key(check_kid(kid)).to_dict()
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
            fields: fields to capture: ``fields(card=["number", "expirationMonth", "securityCode?"])``, or a model of
                the request.
            timeout: seconds for each attempt. None uses the client's ``read_timeout``.
            retry: retry policy of this call. None uses the client's.

        Raises:
            InvalidArgumentError: ``fields`` has a wrong type, or contains a card number. Nothing was sent.
            ConfigurationError: the client has no auth.
            ApiException, TransportError: the call failed.
            TokenError: the response is not a valid capture context.
        """
        request = capture_request(fields)
        with self._shared_deadline(retry):
            return self._verify_issued_context(
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
            target_origins: one to nine origins, such as ``["https://shop.example.com"]``: the origin of the page that
                loads Microform, and the origins of all pages that embed it. ``http`` is only allowed for
                ``http://localhost``.
            allowed_card_networks: card networks to accept: ``["VISA", "MASTERCARD"]``. At least one, unless
                ``allowed_payment_types`` is ``["CHECK"]``.
            allowed_payment_types: payment types to accept: ``"CARD"``, ``"CHECK"`` or both. If empty, the host accepts
                cards.
            include_card_prefix: whether the token contains the first digits of the card number. None: six digits.
                True: eight digits if the card network uses eight, otherwise six. False: no digits.
            client_version: version of the browser library.
            timeout: seconds for each attempt. None uses the client's ``read_timeout``.
            retry: retry policy of this call. None uses the client's.

        Raises:
            InvalidArgumentError: an origin breaks a rule, a known network or payment type is misspelled, or there is no
                network. Nothing was sent. Unknown networks and payment types raise no error.
            ConfigurationError: the client has no auth, or an argument has a wrong type.
            ApiException, TransportError: the call failed.
            TokenError: the response is not a valid capture context.
        """
        request = microform_request(
            target_origins=target_origins,
            allowed_card_networks=allowed_card_networks,
            allowed_payment_types=allowed_payment_types,
            include_card_prefix=include_card_prefix,
            client_version=client_version,
        )
        with self._shared_deadline(retry):
            return self._verify_issued_context(
                self._microform.generate_capture_context_with_http_info(request, timeout=timeout, retry=retry)
            )

    def _verify_issued_context(self, response: ApiResponse[str]) -> CaptureContext:
        """Verify the capture context in a response of the host."""
        with ResponseScope(response) as info:
            unverified = UnverifiedContext(response.data)
            verify = partial(
                unverified.verify, leeway=self._leeway, host_time=response.host_time, received_from_host=True
            )
            return verify_with_key_source(self._unthrottled_keys, unverified.kid, verify)._with_response(info)

    def verify_capture_context(
        self, jwt: str, *, expected: ContextExpectations | None = None, strict: bool = False
    ) -> CaptureContext:
        """Verify a capture context with the long-term key that this client's host publishes.

        Args:
            jwt: the capture context, from any source.
            expected: values that the context must have: ``ContextExpectations(target_origins=[...])``. None accepts
                all values.
            strict: whether to reject a genuine context that has ``warnings``.

        Raises:
            TokenError: the context is not genuine, not valid now, or differs from ``expected``. The subclass of the
                error gives the reason.
            ApiException, TransportError: the long-term key could not be fetched.
        """
        check_expected(expected)
        check_strict(strict)
        unverified = UnverifiedContext(jwt)
        return verify_with_key_source(
            self._keys,
            unverified.kid,
            # The host's time is read after the key was fetched, because that response may be the first one with a time.
            lambda key: unverified.verify(
                key, leeway=self._leeway, expected=expected, strict=strict, host_time=self._api_client.host_time()
            ),
        )

    def restore_capture_context(
        self, stored: str, key: str | bytes | None = None, *, session_id: str = ""
    ) -> CaptureContext:
        """Restore a stored context. Verify its MAC if a key is passed, otherwise its signature.

        An expired context can be restored as long as a transient token that was created with it can still be valid.

        Args:
            stored: the string that ``store_capture_context`` returned.
            key: the key that was passed to ``store_capture_context``. None if the context was stored without a key.
            session_id: the session id that was passed to ``store_capture_context``.

        Raises:
            TokenError: the string was modified, belongs to another session, or is too old. The subclass of the error
                gives the reason.
        """
        context = StoredContext(stored, key, session_id=session_id)
        if context.authenticated:
            return context.trust_mac(leeway=self._leeway, host_time=self._api_client.host_time())
        return verify_with_key_source(
            self._keys,
            context.kid,
            lambda public_key: context.verify(public_key, leeway=self._leeway, host_time=self._api_client.host_time()),
        )

    def verify_posted_token(
        self, posted: str, stored: str, key: str | bytes | None = None, *, session_id: str = "", strict: bool = False
    ) -> TransientToken:
        """Verify the transient token that a page posted, with the capture context that was stored for the page.

        The same as ``restore_capture_context`` and ``verify_transient_token``.

        Args:
            posted: the value of the form field: the token, or the token in quotation marks, as ``JSON.stringify``
                writes it.
            stored: the string that ``store_capture_context`` returned.
            key: the key that was passed to ``store_capture_context``. None if the context was stored without a key.
            session_id: the session id that was passed to ``store_capture_context``.
            strict: whether to reject a genuine token that has ``warnings``.

        Raises:
            TokenError: the token or the stored context is not genuine, not valid now, or they do not belong together.
                The subclass of the error gives the reason.
            ConfigurationError: another argument is wrong.
        """
        check_strict(strict)
        context = self.restore_capture_context(stored, key, session_id=session_id)
        return self.verify_transient_token(unquote_posted_token(posted), context, strict=strict)

    def tokenize(
        self,
        context: CaptureContext,
        data: Mapping[str, Any] | Card,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> TransientToken:
        """Encrypt data, exchange it for a transient token, and verify the token (``POST /flex/v2/tokens``).

        A context allows a limited number of tokens, and each request counts. Therefore a request that may have been
        sent is not retried, unless the retry policy sets ``retry_unsafe``.

        Args:
            context: the capture context, from ``create_capture_context``. Its key encrypts the data.
            data: a ``Card``, or strings by field: ``{"card": {"number": "4111111111111111", ...}, "billTo": {...}}``. A
                ``Card`` can also be the value of ``card``. The full structure of the request, and dotted names, are
                accepted too. If a ``Card`` is passed, only the card's fields that the context requests are sent. For a
                Microform context that allows ``CHECK``, pass a bank account:
                ``{"CHECK": {"routingNumber": ..., "account": {"number": ..., "type": "C"}}}``.
            timeout: seconds for each attempt. None uses the client's ``read_timeout``.
            retry: retry policy of this call. None uses the client's.

        Raises:
            InvalidDataError: a required field is missing, a field is not in the context, the context does not allow the
                payment type, or a value is not a string. Nothing was sent.
            ApiException, TransportError: the call failed.
            TokenError: the context has expired, or the response is not a valid token for this context.
        """
        jwe = self._encrypt(data, context)
        response = self._flex.create_transient_token_with_http_info(jwe, timeout=timeout, retry=retry)
        return self._verify_issued_token(response, context)

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

        By default, each item gets a separate capture context, because CyberSource does not publish how many tokens one
        context allows. The caller's thread iterates over ``items``. It takes at most twice ``concurrency`` items whose
        results were not consumed yet.

        If the iterator is closed, or the caller's thread is interrupted, items that have not started are cancelled.
        Items in progress are completed first, so that no thread remains.

        Args:
            items: data as ``tokenize`` accepts it, or tuples of a context and data. May be infinite.
            concurrency: maximum number of items in progress. At most ``pool_size`` of them send at the same time.
            ordered: True to yield results in the order of the items, False to yield each result when it is complete.
            progress: function that is called in the caller's thread after each item, with the number of completed items
                and the number of failed items.
            fields: fields to request in the context of each item. None requests the fields that the item has.
            context: one context for all items. It must allow enough tokens, and must not expire before the last item.
                None requests a separate context for each item.
            timeout: seconds for each attempt. None uses the client's ``read_timeout``.
            retry: retry policy for each of the two calls of an item. None uses the client's.

        Raises:
            ConfigurationError: an argument is wrong. Exceptions that ``items`` and ``progress`` raise are not changed.
        """
        check_call_options(timeout, retry)
        check_items(items, awaited=False)
        batch = Batch(concurrency=concurrency, ordered=ordered, progress=progress, fields=fields, context=context)
        tokenize = partial(self._tokenize_job, timeout=timeout, retry=retry)
        return tokenize_many(tokenize, items, batch, concurrency=concurrency)

    @clear_locals_on_error
    def _tokenize_job(
        self, job: Job, *, timeout: float | None, retry: RetryPolicy | None
    ) -> tuple[CaptureContext, TransientToken]:
        """Tokenize one item of ``tokenize_many``. Requests a capture context unless the item or the batch has one."""
        context, data = job.resolve()
        if isinstance(context, CaptureFields):
            context = self.create_capture_context(context, timeout=timeout, retry=retry)
        return context, self.tokenize(context, data, timeout=timeout, retry=retry)

    def payment_details(
        self, token: TransientToken | str, *, timeout: float | None = None, retry: RetryPolicy | None = None
    ) -> dict[str, Any]:
        """Return the captured data, masked (``GET /flex/v2/payment-details/{jti}``).

        Args:
            token: the verified transient token, or its ``jti``. The JWT itself is rejected: the path of the request
                would contain it, and access logs contain paths.
            timeout: seconds for each attempt. None uses the client's ``read_timeout``.
            retry: retry policy of this call. None uses the client's.

        Raises:
            InvalidArgumentError: ``token`` is a JWT or another credential. Nothing was sent.
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
        """Return the full card data of a transient token (``GET /flex/v2/payment-credentials/{reference}``).

        Decrypts and verifies the response. **In PCI DSS scope**: the result contains the full card number.

        The client must sign as the organisation that the reference belongs to, which is often the portfolio.

        Args:
            reference: a value of ``token.payment_credentials_references``.
            private_key: the private key that belongs to the public key that the merchant registered with CyberSource.
            timeout: seconds for each attempt. None uses the client's ``read_timeout``.
            retry: retry policy of this call. None uses the client's.

        Raises:
            InvalidArgumentError: ``reference`` is a token or another credential. Nothing was sent.
            ConfigurationError: the client has no auth, or ``private_key`` is not a private key.
            ApiException, TransportError: the call failed.
            TokenError: the response cannot be decrypted, or is not genuine.
        """
        with self._shared_deadline(retry):
            response = self._flex.get_payment_credentials_with_http_info(
                reference_of(reference), timeout=timeout, retry=retry
            )
            with ResponseScope(response) as info:
                opened = UnverifiedCredentials(response.data, private_key)
                verify = partial(
                    opened.verify, leeway=self._leeway, host_time=response.host_time, received_from_host=True
                )
                return verify_with_key_source(self._unthrottled_keys, opened.kid, verify)._with_response(info)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        retry_safe: bool = False,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> ApiResponse[Any]:
        """Call any operation of CyberSource's REST API, such as ``POST /pts/v2/payments``.

        The request is signed, logged and limited in time like those of the other methods, and its errors are the same.
        The body is encrypted only if ``mle`` names the operation. A declined payment is not an error: the host returns
        status 201, and ``data["status"]`` says what happened. See docs/payments.md.

        Without ``retry_safe``, a request that the host may have carried out is never repeated, even if the client's own
        retry policy sets ``retry_unsafe``.

        Args:
            method: ``GET``, ``POST``, ``PUT``, ``PATCH`` or ``DELETE``.
            path: path on the configured host, without query and percent-encoding: ``/pts/v2/payments``.
            json: the body, for ``POST``, ``PUT`` and ``PATCH``: a dictionary, a list or a model.
            params: the query, by name. A list repeats the parameter; None leaves it out.
            headers: additional headers. ``Accept`` with a type other than JSON returns the body as bytes.
            retry_safe: whether repeating the call does no harm, as for reads.
            timeout: seconds for each attempt. None uses the client's ``read_timeout``.
            retry: retry policy of this call. None uses the client's.

        Returns:
            An object with three attributes. ``data`` is the parsed JSON, or None if the body is empty. ``headers`` are
            the response headers. ``response`` has the status, correlation id, attempts and duration.

        Raises:
            InvalidArgumentError: the path is a URL or not a plain path, the path or query contains a token, key or card
                number, or another argument is wrong. Nothing was sent.
            ConfigurationError: the client has no auth.
            ApiException, TransportError: the call failed. ``outcome`` says whether the host accepted the call.
        """
        return self._api_client.call(
            **self._rest_call(
                method,
                path,
                json=json,
                params=params,
                headers=headers,
                retry_safe=retry_safe,
                timeout=timeout,
                retry=retry,
            )
        )
