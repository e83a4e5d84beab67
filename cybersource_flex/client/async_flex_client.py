"""``AsyncFlexClient``: the verbs of ``FlexClient``, awaitable. Needs the extra ``async``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from functools import partial
from inspect import isawaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .._sealed import sealed
from ..aio import ApiClient, FlexAPIApi, MicroformIntegrationApi
from ..errors import ConfigurationError, NotFoundError
from ..jose import (
    CaptureContext,
    PublicKey,
    TransientToken,
    encrypt,
    store_capture_context,
    verify_transient_token,
)
from ..jose.async_key_cache import AsyncKeyCache, AsyncKeySource, with_key
from ..jose.capture_context import UnverifiedContext, check_expected
from ..jose.payment_credentials import UnverifiedCredentials
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
from .async_bulk import tokenize_many
from .base_client import BaseFlexClient, check_digest, host_time_of
from .bulk import Batch, Item, Job, Progress, TokenizeResult
from .capture_fields import to_wire_data

if TYPE_CHECKING:
    from typing import Self

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from ..cards import Card
    from ..configuration import Configuration
    from ..jose import ContextExpectations, KeySource, PaymentCredentials
    from ..models import GenerateFlexAPICaptureContextRequest
    from ..transport import ApiResponse, Clock, RetryPolicy

__all__ = ["AsyncFlexClient"]


@sealed
class AsyncFlexClient(BaseFlexClient["KeySource | AsyncKeySource"]):
    """Asynchronous ``FlexClient`` for one event loop: the same arguments, and the same methods as coroutines.

    Create one client and share it between tasks; close it with ``async with`` or ``await client.close()``.

    Signing and verifying run in the event loop: they take about a millisecond at most, and a thread would hold the
    interpreter lock for as long. Only signers that block (``JwtExternalKey``, a ``BearerToken`` from a function) run in
    a thread.

    Args:
        keys: as with ``FlexClient``, or a key source with asynchronous methods (``AsyncKeySource``).

    Raises:
        ConfigurationError: a setting is wrong, or the proxy is an ``https://`` one, which this client does not support.
        ModuleNotFoundError: aiohttp is not installed.
    """

    __slots__ = ("_api_client", "_cached_keys", "_flex", "_keys", "_microform", "_unthrottled_keys")

    _api_client: ApiClient
    _cached_keys: AsyncKeyCache
    _flex: FlexAPIApi
    _unthrottled_keys: AsyncKeySource
    _keys: AsyncKeySource
    _microform: MicroformIntegrationApi

    def _connect(self, configuration: Configuration, keys: KeySource | AsyncKeySource | None) -> None:
        # Imported here so that this class can be imported without the extra.
        from ..transport.aio import AsyncTransport

        api_client = ApiClient(configuration, transport=AsyncTransport(configuration))
        cached = AsyncKeyCache(self._fetch_key)
        custom = None if keys is None else _AwaitableKeySource(keys)
        self._set(
            _api_client=api_client,
            _cached_keys=cached,
            _flex=FlexAPIApi(api_client),
            _microform=MicroformIntegrationApi(api_client),
            _keys=custom or cached,
            # Key ids in responses of the host are trustworthy, so fetching them is not throttled.
            _unthrottled_keys=custom or cached.unthrottled(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def api_client(self) -> ApiClient:
        """The low-level API client, for the classes of ``cybersource_flex.aio``: ``FlexAPIApi(client.api_client)``."""
        return self._api_client

    @property
    def clock(self) -> Clock:
        """The offset of the host's clock, and whether requests are signed with the host's time."""
        return self._api_client.clock

    async def close(self) -> None:
        """Close the connections, and cancel fetches of keys that are in progress."""
        await self._cached_keys.close()
        await self._api_client.close()

    async def _fetch_key(self, kid: str) -> Mapping[str, Any]:
        try:
            return (await self._flex.get_public_key(kid)).to_dict()
        except NotFoundError as cause:
            raise self._unknown_key_error(kid, cause) from cause

    async def create_capture_context(
        self,
        fields: CaptureFields | GenerateFlexAPICaptureContextRequest,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> CaptureContext:
        """See ``FlexClient.create_capture_context``."""
        request = capture_request(fields)
        with self._shared_deadline(retry):
            return await self._verify_issued(
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
        """See ``FlexClient.create_microform_context``."""
        request = microform_request(
            target_origins=target_origins,
            allowed_card_networks=allowed_card_networks,
            allowed_payment_types=allowed_payment_types,
            include_card_prefix=include_card_prefix,
            client_version=client_version,
        )
        with self._shared_deadline(retry):
            return await self._verify_issued(
                await self._microform.generate_capture_context_with_http_info(request, timeout=timeout, retry=retry)
            )

    async def _verify_issued(self, response: ApiResponse[str]) -> CaptureContext:
        """Verify the capture context in a response of the host."""
        unverified = UnverifiedContext(response.data)
        verify = partial(
            unverified.verify, leeway=self._leeway, host_time=host_time_of(self.clock, response), from_host=True
        )
        return await with_key(self._unthrottled_keys, unverified.kid, verify)

    async def verify_capture_context(self, jwt: str, *, expected: ContextExpectations | None = None) -> CaptureContext:
        """See ``FlexClient.verify_capture_context``."""
        check_expected(expected)
        unverified = UnverifiedContext(jwt)
        return await with_key(
            self._keys,
            unverified.kid,
            # Read after the key was fetched: that response may be the first one with the host's time.
            lambda key: unverified.verify(
                key, leeway=self._leeway, expected=expected, host_time=self._api_client.host_time()
            ),
        )

    def store_capture_context(self, context: CaptureContext, key: str | bytes | None = None, *, bind: str = "") -> str:
        """See ``FlexClient.store_capture_context``. Not a coroutine."""
        return store_capture_context(context, key, bind=bind)

    async def restore_capture_context(
        self, text: str, key: str | bytes | None = None, *, bind: str = ""
    ) -> CaptureContext:
        """See ``FlexClient.restore_capture_context``."""
        stored = StoredContext(text, key, bind=bind)
        if stored.sealed:
            return stored.accept(leeway=self._leeway, host_time=self._api_client.host_time())
        return await with_key(
            self._keys,
            stored.kid,
            lambda public_key: stored.verify(public_key, leeway=self._leeway, host_time=self._api_client.host_time()),
        )

    async def tokenize(
        self,
        context: CaptureContext,
        data: Mapping[str, Any] | Card,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> TransientToken:
        """See ``FlexClient.tokenize``."""
        jwe = encrypt(context, to_wire_data(data, context), host_time=self._api_client.host_time())
        response = await self._flex.create_transient_token_with_http_info(jwe, timeout=timeout, retry=retry)
        check_digest(response)
        return verify_transient_token(
            response.data, context, leeway=self._leeway, host_time=host_time_of(self.clock, response), from_host=True
        )

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
        """See ``FlexClient.tokenize_many``. Uses tasks: ``async for result in client.tokenize_many(items)``.

        The items may also come from an asynchronous iterable. Closing the generator, or cancelling the task that
        waits for it, cancels the items in progress.
        """
        check_call_options(timeout, retry)
        check_items(items, awaited=True)
        batch = Batch(concurrency=concurrency, ordered=ordered, progress=progress, fields=fields, context=context)
        tokenize = partial(self._tokenize_job, timeout=timeout, retry=retry)
        return tokenize_many(tokenize, items, batch, concurrency=concurrency)

    @sealed
    async def _tokenize_job(
        self, job: Job, *, timeout: float | None, retry: RetryPolicy | None
    ) -> tuple[CaptureContext, TransientToken]:
        """See ``FlexClient._tokenize_job``."""
        context, data = job.resolve()
        if isinstance(context, CaptureFields):
            context = await self.create_capture_context(context, timeout=timeout, retry=retry)
        return context, await self.tokenize(context, data, timeout=timeout, retry=retry)

    def verify_transient_token(self, jwt: str, context: CaptureContext) -> TransientToken:
        """See ``FlexClient.verify_transient_token``. Not a coroutine: the key is in the context."""
        return verify_transient_token(jwt, context, leeway=self._leeway, host_time=self._api_client.host_time())

    async def payment_details(
        self, token: TransientToken | str, *, timeout: float | None = None, retry: RetryPolicy | None = None
    ) -> dict[str, Any]:
        """See ``FlexClient.payment_details``."""
        return await self._flex.get_payment_details(token_id(token), timeout=timeout, retry=retry)

    async def payment_credentials(
        self,
        reference: str,
        private_key: RSAPrivateKey,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> PaymentCredentials:
        """See ``FlexClient.payment_credentials``. **In PCI DSS scope**: the result holds the card number."""
        with self._shared_deadline(retry):
            response = await self._flex.get_payment_credentials_with_http_info(
                reference_of(reference), timeout=timeout, retry=retry
            )
            opened = UnverifiedCredentials(response.data, private_key)
            host_time = host_time_of(self.clock, response)
            verify = partial(opened.verify, leeway=self._leeway, host_time=host_time, from_host=True)
            return await with_key(self._unthrottled_keys, opened.kid, verify)


class _AwaitableKeySource:
    """Adapts a synchronous or asynchronous key source to an asynchronous one.

    Raises:
        ConfigurationError: the object is neither.
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
