"""``AsyncFlexClient``: ``FlexClient`` for asyncio. Requires the extra ``async``, which installs aiohttp."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from functools import partial
from inspect import isawaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .._runtime.tracebacks import clear_locals_on_error
from ..aio import AsyncApiClient, AsyncFlexAPIApi, AsyncMicroformIntegrationApi
from ..errors import ConfigurationError, NotFoundError
from ..jose import (
    CaptureContext,
    PublicKey,
    TransientToken,
)
from ..jose.async_key_cache import AsyncKeyCache, AsyncKeySource, verify_with_async_key_source
from ..jose.capture_context import UnverifiedContext, check_expected
from ..jose.keys import check_kid
from ..jose.payment_credentials import UnverifiedCredentials
from ..jose.storage import StoredContext
from ..jose.verified import check_strict
from ..models import CaptureFields
from ..transport import AsyncTransport
from .arguments import (
    capture_request,
    check_call_options,
    check_items,
    microform_request,
    reference_of,
    token_id,
)
from .async_bulk import tokenize_many
from .base_client import BaseFlexClient, ResponseScope, unquote_posted_token
from .bulk import Batch, Item, Job, Progress, TokenizeResult

if TYPE_CHECKING:
    from typing import Self

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from ..cards import Card
    from ..jose import ContextExpectations, KeySource, PaymentCredentials
    from ..models import GenerateFlexAPICaptureContextRequest
    from ..transport import ApiResponse, RetryPolicy
    from ..transport.configuration import Configuration

__all__ = ["AsyncFlexClient"]


@clear_locals_on_error
class AsyncFlexClient(BaseFlexClient[AsyncApiClient, "KeySource | AsyncKeySource"]):
    """Client for one merchant on one host, for asyncio. Has the arguments and methods of ``FlexClient``.

    The methods that send requests are coroutines. ``store_capture_context`` and ``verify_transient_token`` are not.

    Create one client, share it between the tasks of an event loop, and close it with ``async with`` or ``await
    client.close()``. After its event loop was closed, the client opens new connections in the next loop, so a client at
    module level can be used in several calls of ``asyncio.run``. It cannot be used in two loops that are open at the
    same time.

    The first call, or ``async with``, loads aiohttp and the trusted CAs in a thread. Signing and verifying run in the
    event loop, because they take about a millisecond at most, and Python threads would not run them in parallel.
    Signers that may block (``JwtExternalKey``, and ``BearerToken`` with a function) run in a thread.

    Args:
        keys: a ``KeySource``, or an ``AsyncKeySource``, whose methods are asynchronous. None fetches the keys from the
            host, and caches them.

    Raises:
        ConfigurationError: an argument is invalid, or the proxy has an ``https://`` URL, which this client does not
            support.
        MissingDependencyError: aiohttp is not installed.
    """

    __slots__ = ("_cached_keys", "_flex", "_keys", "_microform", "_transport", "_unthrottled_keys")

    _cached_keys: AsyncKeyCache | None
    _flex: AsyncFlexAPIApi
    _unthrottled_keys: AsyncKeySource
    _keys: AsyncKeySource
    _microform: AsyncMicroformIntegrationApi
    _transport: AsyncTransport

    def _connect(self, configuration: Configuration, keys: KeySource | AsyncKeySource | None) -> None:
        transport = AsyncTransport(configuration)
        api_client = AsyncApiClient(configuration, transport=transport)
        cached = AsyncKeyCache(self._fetch_key)
        custom = None if keys is None else _AwaitableKeySource(keys)
        self._set(
            _api_client=api_client,
            _transport=transport,
            _cached_keys=cached,
            _flex=AsyncFlexAPIApi(api_client),
            _microform=AsyncMicroformIntegrationApi(api_client),
            _keys=custom or cached,
            # For tokens in responses of the host: an attacker cannot choose their key ids, so fetches are not
            # throttled.
            _unthrottled_keys=custom or cached.unthrottled(),
        )

    def _share(self, parent: Any) -> None:
        api_client = self._api_client
        self._set(
            # None, so that `close` of this client does not cancel key fetches that its parent may wait for.
            _cached_keys=None,
            _transport=parent._transport,
            _flex=AsyncFlexAPIApi(api_client),
            _microform=AsyncMicroformIntegrationApi(api_client),
            _keys=parent._keys,
            _unthrottled_keys=parent._unthrottled_keys,
        )

    async def __aenter__(self) -> Self:
        await self._transport.prepare()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, and cancel fetches of keys that are in progress.

        Does nothing for a client that ``for_merchant`` or ``with_options`` created.
        """
        if self._cached_keys is not None:
            await self._cached_keys.close()
        await self._api_client.close()

    async def _fetch_key(self, kid: str) -> Mapping[str, Any]:
        try:
            return (await self._flex.get_public_key(check_kid(kid))).to_dict()
        except NotFoundError as cause:
            raise self._unknown_key_error(kid, cause) from cause

    async def create_capture_context(
        self,
        fields: CaptureFields | GenerateFlexAPICaptureContextRequest,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> CaptureContext:
        """Request a capture context and verify it. See ``FlexClient.create_capture_context``."""
        request = capture_request(fields)
        with self._shared_deadline(retry):
            return await self._verify_issued_context(
                await self._flex.generate_flex_api_capture_context_with_http_info(request, timeout=timeout, retry=retry)
            )

    async def create_microform_context(
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
        """Request a capture context for Microform and verify it. See ``FlexClient.create_microform_context``."""
        request = microform_request(
            target_origins=target_origins,
            allowed_card_networks=allowed_card_networks,
            allowed_payment_types=allowed_payment_types,
            include_card_prefix=include_card_prefix,
            client_version=client_version,
        )
        with self._shared_deadline(retry):
            return await self._verify_issued_context(
                await self._microform.generate_capture_context_with_http_info(request, timeout=timeout, retry=retry)
            )

    async def _verify_issued_context(self, response: ApiResponse[str]) -> CaptureContext:
        """Verify the capture context in a response of the host."""
        with ResponseScope(response) as info:
            unverified = UnverifiedContext(response.data)
            verify = partial(
                unverified.verify, leeway=self._leeway, host_time=response.host_time, received_from_host=True
            )
            context = await verify_with_async_key_source(self._unthrottled_keys, unverified.kid, verify)
            return context._with_response(info)

    async def verify_capture_context(
        self, jwt: str, *, expected: ContextExpectations | None = None, strict: bool = False
    ) -> CaptureContext:
        """Verify a capture context from any source. See ``FlexClient.verify_capture_context``."""
        check_expected(expected)
        check_strict(strict)
        unverified = UnverifiedContext(jwt)
        return await verify_with_async_key_source(
            self._keys,
            unverified.kid,
            # The host's time is read after the key was fetched, because that response may be the first one with a time.
            lambda key: unverified.verify(
                key, leeway=self._leeway, expected=expected, strict=strict, host_time=self._api_client.host_time()
            ),
        )

    async def restore_capture_context(
        self, stored: str, key: str | bytes | None = None, *, session_id: str = ""
    ) -> CaptureContext:
        """Restore a stored capture context. See ``FlexClient.restore_capture_context``."""
        context = StoredContext(stored, key, session_id=session_id)
        if context.authenticated:
            return context.trust_mac(leeway=self._leeway, host_time=self._api_client.host_time())
        return await verify_with_async_key_source(
            self._keys,
            context.kid,
            lambda public_key: context.verify(public_key, leeway=self._leeway, host_time=self._api_client.host_time()),
        )

    async def verify_posted_token(
        self, posted: str, stored: str, key: str | bytes | None = None, *, session_id: str = "", strict: bool = False
    ) -> TransientToken:
        """Verify the transient token that a page posted. See ``FlexClient.verify_posted_token``."""
        check_strict(strict)
        context = await self.restore_capture_context(stored, key, session_id=session_id)
        return self.verify_transient_token(unquote_posted_token(posted), context, strict=strict)

    async def tokenize(
        self,
        context: CaptureContext,
        data: Mapping[str, Any] | Card,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> TransientToken:
        """Exchange data for a transient token and verify the token. See ``FlexClient.tokenize``."""
        jwe = self._encrypt(data, context)
        response = await self._flex.create_transient_token_with_http_info(jwe, timeout=timeout, retry=retry)
        return self._verify_issued_token(response, context)

    def tokenize_many(
        self,
        items: Iterable[Item] | AsyncIterable[Item],
        *,
        concurrency: int = 8,
        ordered: bool = True,
        progress: Progress | None = None,
        fields: CaptureFields | None = None,
        context: CaptureContext | None = None,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> AsyncGenerator[TokenizeResult, None]:
        """Tokenize many cards concurrently, in tasks. See ``FlexClient.tokenize_many``.

        Iterate over the results with ``async for``. The items may also come from an asynchronous iterable. Closing the
        generator, or cancelling the task that waits for it, cancels the items in progress.
        """
        check_call_options(timeout, retry)
        check_items(items, awaited=True)
        batch = Batch(concurrency=concurrency, ordered=ordered, progress=progress, fields=fields, context=context)
        tokenize = partial(self._tokenize_job, timeout=timeout, retry=retry)
        return tokenize_many(tokenize, items, batch, concurrency=concurrency)

    @clear_locals_on_error
    async def _tokenize_job(
        self, job: Job, *, timeout: float | None, retry: RetryPolicy | None
    ) -> tuple[CaptureContext, TransientToken]:
        """Tokenize one item of ``tokenize_many``. Requests a capture context unless the item or the batch has one."""
        context, data = job.resolve()
        if isinstance(context, CaptureFields):
            context = await self.create_capture_context(context, timeout=timeout, retry=retry)
        return context, await self.tokenize(context, data, timeout=timeout, retry=retry)

    async def payment_details(
        self, token: TransientToken | str, *, timeout: float | None = None, retry: RetryPolicy | None = None
    ) -> dict[str, Any]:
        """Return the captured data, masked. See ``FlexClient.payment_details``."""
        return await self._flex.get_payment_details(token_id(token), timeout=timeout, retry=retry)

    async def payment_credentials(
        self,
        reference: str,
        private_key: RSAPrivateKey,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> PaymentCredentials:
        """Return the full card data of a transient token. See ``FlexClient.payment_credentials``.

        **In PCI DSS scope**: the result contains the full card number.
        """
        with self._shared_deadline(retry):
            response = await self._flex.get_payment_credentials_with_http_info(
                reference_of(reference), timeout=timeout, retry=retry
            )
            with ResponseScope(response) as info:
                opened = UnverifiedCredentials(response.data, private_key)
                verify = partial(
                    opened.verify, leeway=self._leeway, host_time=response.host_time, received_from_host=True
                )
                credentials = await verify_with_async_key_source(self._unthrottled_keys, opened.kid, verify)
                return credentials._with_response(info)

    async def request(
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
        """Call any operation of CyberSource's REST API, such as ``POST /pts/v2/payments``. See ``FlexClient.request``.

        If the call is cancelled, its request may have been sent.
        """
        return await self._api_client.call(
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


class _AwaitableKeySource:
    """An ``AsyncKeySource`` that calls a ``KeySource`` or another ``AsyncKeySource``.

    Raises:
        ConfigurationError: the object is neither a ``KeySource`` nor an ``AsyncKeySource``.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: KeySource | AsyncKeySource) -> None:
        if not all(callable(getattr(keys, name, None)) for name in ("get", "refresh")):
            raise ConfigurationError(
                "keys must be a KeySource such as PinnedKeys([...]) or an AsyncKeySource such as AsyncKeyCache(...), "
                f"not an object of type {type(keys).__name__}"
            )
        self._keys: Any = keys

    async def get(self, kid: str) -> PublicKey:
        key: Any = self._keys.get(kid)
        return await key if isawaitable(key) else key  # type: ignore[no-any-return]

    async def refresh(self, kid: str) -> PublicKey | None:
        key: Any = self._keys.refresh(kid)
        return await key if isawaitable(key) else key  # type: ignore[no-any-return]
