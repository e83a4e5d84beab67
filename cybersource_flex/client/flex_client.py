"""``FlexClient``: capture context, encryption, transient token and payment details, verified at each step."""

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
    CachedKeys,
    CaptureContext,
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
    from ..jose import Expected, PaymentCredentials
    from ..models import GenerateFlexAPICaptureContextRequest
    from ..transport import ApiResponse, Clock, RetryPolicy

__all__ = ["FlexClient"]


@sealed
class FlexClient(BaseFlexClient[KeySource]):
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
        retry: how often to try, and how long a call may take in all; None for ``RetryPolicy()``. Each verb takes one of
            its own for one call.
        events: functions that are told of attempts and calls: ``Events(on_attempt=..., on_response=...)``.
        correct_clock: whether the host's time counts: after a 401, with the clocks well apart, requests are signed with
            it; and tokens are judged by it too. See ``docs/errors.md``.
        pool_size: connections that are open at once, at most. A call waits for one that is free until its deadline.
        idle_timeout: seconds after which a connection that was not used is closed instead of used again.
        keys: where long-term keys come from, in place of the host and this client's cache: a ``KeySource``, such as
            ``PinnedKeys`` for programs that cannot reach the host.

    Raises:
        ConfigurationError: a setting is wrong.
    """

    __slots__ = ("_api_client", "_flex", "_host_keys", "_keys", "_microform")

    _api_client: ApiClient
    _flex: FlexAPIApi
    _host_keys: KeySource
    _keys: KeySource
    _microform: MicroformIntegrationApi

    def _connect(self, configuration: Configuration, keys: KeySource | None) -> None:
        if keys is not None:
            check_source("keys", keys)
        # Loaded now, with what it needs: at the first call, no file descriptor may be left to read a module.
        from ..transport.sync import Transport  # noqa: F401

        api_client = ApiClient(configuration)
        cached = CachedKeys(self._fetch_key)
        self._set(
            _api_client=api_client,
            _flex=FlexAPIApi(api_client),
            _microform=MicroformIntegrationApi(api_client),
            _keys=cached if keys is None else keys,
            # Names of keys in what came straight from the host are no inventions: they never wait for a cooldown.
            _host_keys=cached.from_host() if keys is None else keys,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def api_client(self) -> ApiClient:
        """The client underneath, for the generated API classes: ``FlexAPIApi(client.api_client)``."""
        return self._api_client

    @property
    def clock(self) -> Clock:
        """How far the host's clock is from this machine's, and whether requests are signed with its time."""
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
        """Ask for a capture context and verify it (``POST /flex/v2/sessions``).

        Args:
            fields: what to capture: ``fields(card=["number", "expirationMonth", "securityCode?"])``, or the models.
            timeout: seconds for each attempt in place of the client's ``read_timeout``.
            retry: how often to try, and for how long in all, in place of the client's policy.

        Raises:
            InvalidArgumentError: something else than these was given. Nothing was sent.
            ConfigurationError: the client has no auth.
            ApiException, TransportError: the call failed.
            TokenError: what came back is not what it has to be.
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
        """Ask for a capture context for the browser library Microform and verify it (``POST /microform/v2/sessions``).

        Args:
            target_origins: origins of the pages that will load Microform: ``["https://shop.example.com"]``.
            allowed_card_networks: ``["VISA", "MASTERCARD"]``; at least one unless the payment types are ``CHECK`` only.
            allowed_payment_types: ``["CARD"]`` where left out.
            include_card_prefix: None for six digits of the card number in the token, True for eight where the network
                has them, False for none.
            client_version: version of the browser library.
            timeout: seconds for each attempt in place of the client's ``read_timeout``.
            retry: how often to try, and for how long in all, in place of the client's policy.

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

    def _verify_issued(self, answer: ApiResponse[str]) -> CaptureContext:
        """The capture context in a response of the host."""
        return verify_capture_context(
            answer.data,
            self._host_keys,
            leeway=self._leeway,
            host_time=host_time_of(self.clock, answer),
            from_host=True,
        )

    def verify_capture_context(self, jwt: str, *, expected: Expected | None = None) -> CaptureContext:
        """Verify a capture context with the long-term key that this client's host publishes.

        Args:
            jwt: the capture context, from wherever it came.
            expected: what it must say about the capture: ``Expected(target_origins=[...])``.

        Raises:
            TokenError: it is not genuine, or not valid now, or says something else; the subclass says why.
            ApiException, TransportError: the key could not be fetched.
        """
        check_expected(expected)
        unverified = UnverifiedContext(jwt)
        return with_key(
            self._keys,
            unverified.kid,
            # Asked for after the key was fetched: that response may be the first one with the host's time.
            lambda key: unverified.verify(
                key, leeway=self._leeway, expected=expected, host_time=self._api_client.host_time()
            ),
        )

    def store_capture_context(self, context: CaptureContext, key: str | bytes | None = None, *, bind: str = "") -> str:
        """A context as a small text, to keep between the two steps. What is safe where: ``docs/trust.md``.

        Args:
            context: the verified capture context.
            key: seals the text: 16 bytes at least, secret, the same on all servers. None leaves it unsealed.
            bind: whom it is for, a session's id. Needs a key.

        Raises:
            ConfigurationError: the key is too short, or ``bind`` comes without one.
        """
        return store_capture_context(context, key, bind=bind)

    def restore_capture_context(self, text: str, key: str | bytes | None = None, *, bind: str = "") -> CaptureContext:
        """The context that was stored: believed for its seal or, unsealed, verified again. Good for verifying tokens as
        long as one of this context can be valid.

        Args:
            text: what ``store_capture_context`` gave.
            key: what it was sealed with.
            bind: whom it was for.

        Raises:
            TokenError: it was changed, is for somebody else, or too old; the subclass says why.
        """
        stored = StoredContext(text, key, bind=bind)
        if stored.sealed:
            return stored.accept(leeway=self._leeway, host_time=self._api_client.host_time())
        return with_key(
            self._keys,
            stored.kid,
            lambda found: stored.verify(found, leeway=self._leeway, host_time=self._api_client.host_time()),
        )

    def tokenize(
        self,
        context: CaptureContext,
        data: Mapping[str, Any] | Card,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> TransientToken:
        """Encrypt data to a capture context, exchange it for a transient token, and verify that
        (``POST /flex/v2/tokens``).

        A repetition counts against the number of tokens that a context is good for, so it is not tried again once it
        was sent, unless the policy says ``repeat_any``.

        Args:
            context: from ``create_capture_context``.
            data: texts by field: ``{"card": {"number": "4111111111111111", ...}, "billTo": {...}}``, or the whole tree
                of the wire, or dotted names. A ``Card`` stands for its fields, alone or as the value of ``card``; of it
                only what the context asks for is sent. For a Microform context that allows ``CHECK``, a bank account:
                ``{"CHECK": {"routingNumber": ..., "account": {"number": ..., "type": "C"}}}``, or the same below
                ``paymentInformation.bank``.
            timeout: seconds for each attempt in place of the client's ``read_timeout``.
            retry: how often to try, and for how long in all, in place of the client's policy.

        Raises:
            InvalidDataError: a field is missing, or not in the context, or of a payment type that the context does not
                allow, or not a text. Nothing was sent.
            ApiException, TransportError: the call failed.
            TokenError: the context has expired, or what came back is not what it has to be.
        """
        jwe = encrypt(context, to_wire_data(data, context), host_time=self._api_client.host_time())
        answer = self._flex.create_transient_token_with_http_info(jwe, timeout=timeout, retry=retry)
        check_digest(answer)
        return verify_transient_token(
            answer.data, context, leeway=self._leeway, host_time=host_time_of(self.clock, answer), from_host=True
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
        """Tokenize many cards, several at a time. One that fails is a result with an ``error``, and stops no other.

        Each item gets a capture context of its own, for the fields that it has: how many tokens one context is good
        for is not published. Items are taken as there is room for them, never more than twice ``concurrency`` ahead of
        the results that were taken; they are taken in this thread. Closing the iterator, or an exception in this thread
        while it waits, cancels what has not begun and waits for what has; then no thread is left.

        Args:
            items: data as ``tokenize`` takes it, or tuples of a context and data. May be endless.
            concurrency: items at work at once; no more than ``pool_size`` of them send at the same time.
            ordered: whether results come in the order of the items; if not, as they are done.
            progress: called in this thread after each item with two numbers: how many are done, and how many of these
                failed.
            fields: what to ask for in each context, in place of the fields that its item has.
            context: one context for all items, which it must have uses and time enough for.
            timeout: seconds for each attempt in place of the client's ``read_timeout``.
            retry: how often to try, and for how long in all, in place of the client's policy; for each of an item's two
                calls.

        Raises:
            ConfigurationError: an argument is wrong. An exception of ``items`` or ``progress`` comes out as it is.
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
        """Verify a transient token with the capture context it was made for, one that this server asked for and kept.

        Not yet valid is what this machine's clock calls so; expired, what it or the host's clock does.

        Raises:
            TokenError: it is not genuine, or not valid now, or of another context; the subclass says why.
        """
        return verify_transient_token(jwt, context, leeway=self._leeway, host_time=self._api_client.host_time())

    def payment_details(
        self, token: TransientToken | str, *, timeout: float | None = None, retry: RetryPolicy | None = None
    ) -> dict[str, Any]:
        """What was captured, masked (``GET /flex/v2/payment-details/{jti}``).

        Args:
            token: the verified transient token, or its ``jti``. Its JWT is refused: the path of the request would hold
                it, and access logs keep paths.
            timeout: seconds for each attempt in place of the client's ``read_timeout``.
            retry: how often to try, and for how long in all, in place of the client's policy.

        Raises:
            InvalidArgumentError: a JWT or another credential was given. Nothing was sent.
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
        """The card behind a transient token, in full: decrypted, and verified
        (``GET /flex/v2/payment-credentials/{reference}``). **In PCI DSS scope**: the result holds the card number.

        The client must sign as the organisation that the reference belongs to, often the portfolio.

        Args:
            reference: a value of ``token.payment_credentials_references``.
            private_key: the merchant's key, whose public half the service has.
            timeout: seconds for each attempt in place of the client's ``read_timeout``.
            retry: how often to try, and for how long in all, in place of the client's policy.

        Raises:
            InvalidArgumentError: the reference is a token or another credential. Nothing was sent.
            ConfigurationError: the client has no auth, or this is not a private key.
            ApiException, TransportError: the call failed.
            TokenError: what came back cannot be decrypted, or is not genuine.
        """
        with self._shared_deadline(retry):
            response = self._flex.get_payment_credentials_with_http_info(
                reference_of(reference), timeout=timeout, retry=retry
            )
            return open_payment_credentials(
                response.data,
                private_key,
                self._host_keys,
                leeway=self._leeway,
                host_time=host_time_of(self.clock, response),
                from_host=True,
            )
