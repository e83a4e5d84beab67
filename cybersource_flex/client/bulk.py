"""Bulk tokenization in threads with bounded memory; the results and batch state that ``async_bulk`` shares.

``tokenize_many`` runs the items in threads. ``async_bulk`` runs them in asyncio tasks, with the same ``Batch`` and
``Job``, which do no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Final, TypeAlias

from .._callables import check_function, check_result
from .._immutable import ImmutableValue
from .._runtime.tracebacks import clear_locals
from ..cards import Card
from ..errors import ConfigurationError, FlexError, InvalidDataError, ResponseInfo
from ..jose import CaptureContext, TransientToken
from ..models import CaptureFields
from .capture_fields import fields_for_data

__all__ = [
    "Batch",
    "Item",
    "Job",
    "Progress",
    "TokenizeFailure",
    "TokenizeResult",
    "TokenizeSuccess",
    "tokenize_many",
]

#: Data as ``FlexClient.tokenize`` accepts it, or a tuple of a capture context and the data for it.
Item: TypeAlias = Mapping[str, Any] | Card | tuple[CaptureContext, Mapping[str, Any] | Card]

#: Called with the number of completed items, failed ones included, and the number of failed items.
Progress: TypeAlias = Callable[[int, int], object]

_MAX_CONCURRENCY: Final = 256


class TokenizeSuccess(ImmutableValue):
    """Result of an item that was tokenized. Immutable. Cannot be pickled, because a ``TransientToken`` cannot.

    Attributes:
        index: position of the item in ``items``, from 0.
        token: the verified transient token.
        context: the capture context of the token, which ``verify_transient_token`` needs.
        error: None.
    """

    __slots__ = ("context", "index", "token")

    index: int
    token: TransientToken
    context: CaptureContext
    error: None = None

    def __init__(self, index: int, token: TransientToken, context: CaptureContext) -> None:
        self._set(index=index, token=token, context=context)

    @property
    def response(self) -> ResponseInfo | None:
        """Status, correlation id, attempts and duration of the call that returned the token."""
        return self.token.response

    def __repr__(self) -> str:
        return f"<TokenizeSuccess {self.index}: {self.token!r}>"


class TokenizeFailure(ImmutableValue):
    """Result of an item that failed. Immutable.

    Attributes:
        index: position of the item in ``items``, from 0.
        error: a ``FlexError``, or an exception that was raised when the data of the item was read, for example by a
            custom mapping.
        token: None.
        context: None.
    """

    __slots__ = ("error", "index")

    index: int
    error: Exception
    token: None = None
    context: None = None

    def __init__(self, index: int, error: Exception) -> None:
        self._set(index=index, error=error)

    @property
    def response(self) -> ResponseInfo | None:
        """Status, correlation id, attempts and duration of the call that failed. None if there was no response."""
        return self.error.response if isinstance(self.error, FlexError) else None

    def __repr__(self) -> str:
        # The message of an exception from outside this package may contain the item's data.
        message = f": {self.error}" if isinstance(self.error, FlexError) else ""
        return f"<TokenizeFailure {self.index}: {type(self.error).__name__}{message}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        if not isinstance(self.error, FlexError):
            raise TypeError(
                f"a TokenizeFailure cannot be pickled if its error is from outside this package: a "
                f"{type(self.error).__name__} may contain the data of the item"
            )
        return super().__reduce__()


TokenizeResult: TypeAlias = TokenizeSuccess | TokenizeFailure
"""Result of one item. ``result.error`` is None for a ``TokenizeSuccess``; type checkers understand that comparison."""


class Job:
    """One item that is being tokenized. Its ``repr`` does not show the data.

    Attributes:
        index: position of the item in ``items``, from 0.
    """

    __slots__ = ("_context", "_fields", "_item", "index")

    def __init__(self, index: int, item: Item, fields: CaptureFields | None, context: CaptureContext | None) -> None:
        self.index = index
        self._item = item
        self._fields = fields
        self._context = context

    def __repr__(self) -> str:
        return f"<Job {self.index}>"

    def resolve(self) -> tuple[CaptureContext | CaptureFields, Mapping[str, Any] | Card]:
        """Return the context and the data of the item. If there is no context, return the fields to request one with.

        Raises:
            InvalidDataError: the item is malformed, or has a field that the API does not capture.
        """
        item, context = self._item, self._context
        if isinstance(item, tuple):
            if len(item) != 2 or not isinstance(item[0], CaptureContext):
                raise InvalidDataError("an item that is a tuple must contain a CaptureContext and the data for it")
            context, item = item
        if context is not None:
            return context, item
        return (fields_for_data(item) if self._fields is None else self._fields), item


class Batch:
    """State of a batch: whether another item may start, how many are completed, and which result is next.

    Args:
        concurrency: maximum number of items in progress, 1 to 256. At most twice this number of items are taken from
            the source before their results are consumed.
        ordered: True to yield results in the order of the items, False to yield each result when it is complete.
        progress: called after each item. None for no progress reports.
        fields: fields to request in the context of each item. None requests the fields that the item has.
        context: one context for all items. None requests a separate context for each item.

    Raises:
        ConfigurationError: an argument is wrong.
    """

    __slots__ = (
        "_context",
        "_done",
        "_failed",
        "_fields",
        "_max_outstanding",
        "_ordered",
        "_progress",
        "_results",
        "_started",
        "_yielded",
    )

    def __init__(
        self,
        *,
        concurrency: int,
        ordered: bool,
        progress: Progress | None,
        fields: CaptureFields | None,
        context: CaptureContext | None,
    ) -> None:
        if (
            isinstance(concurrency, bool)
            or not isinstance(concurrency, int)
            or not 1 <= concurrency <= _MAX_CONCURRENCY
        ):
            raise ConfigurationError(f"concurrency must be a whole number from 1 to {_MAX_CONCURRENCY}")
        if progress is not None:
            check_function("progress", progress, "a function of two numbers (completed items, failed items)")
        if fields is not None and not isinstance(fields, CaptureFields):
            raise ConfigurationError("fields must be CaptureFields, for example fields(card=['number'])")
        if context is not None and not isinstance(context, CaptureContext):
            raise ConfigurationError("context must be a verified CaptureContext, from create_capture_context")
        if fields is not None and context is not None:
            raise ConfigurationError(
                "fields and context were both passed; pass only one, because a context has its own fields"
            )
        self._max_outstanding = 2 * concurrency
        self._ordered = ordered
        self._progress = progress
        self._fields = fields
        self._context = context
        self._started = self._yielded = self._done = self._failed = 0
        self._results: dict[int, TokenizeResult] = {}

    @property
    def has_room(self) -> bool:
        """Whether another item may start."""
        return self._started - self._yielded < self._max_outstanding

    def take(self, item: Item) -> Job:
        """Create the job for the next item."""
        job = Job(self._started, item, self._fields, self._context)
        self._started += 1
        return job

    def finish(self, result: TokenizeResult) -> None:
        """Record a result, and report progress."""
        if result.error is not None:
            # The local variables in the traceback contain the item. They are cleared, because the caller gets the
            # error.
            clear_locals(result.error, None)
            self._failed += 1
        self._done += 1
        self._results[result.index] = result
        if self._progress is not None:
            check_result("progress", self._progress(self._done, self._failed))

    def next_result(self) -> TokenizeResult | None:
        """Return the next result to yield, or None if it is not complete yet."""
        index = self._yielded if self._ordered else next(iter(self._results), -1)
        result = self._results.pop(index, None)
        if result is not None:
            self._yielded += 1
        return result


def tokenize_many(
    tokenize: Callable[[Job], tuple[CaptureContext, TransientToken]],
    items: Iterable[Item],
    batch: Batch,
    *,
    concurrency: int,
) -> Generator[TokenizeResult, None, None]:
    """Tokenize items in threads and yield their results. The caller's thread iterates over ``items``.

    Args:
        tokenize: function that tokenizes the item of a job.
        items: the items.
        batch: state of this batch.
        concurrency: maximum number of threads.
    """

    def work(job: Job) -> TokenizeResult:
        try:
            context, token = tokenize(job)
        except Exception as error:
            return TokenizeFailure(job.index, error)
        return TokenizeSuccess(job.index, token, context)

    source = iter(items)
    # The traceback of an exception contains the local variables of this frame. They must not include the list of cards.
    del items
    more, failure = True, None
    pending: set[Future[TokenizeResult]] = set()
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="flex-tokenize")
    try:
        while True:
            # Yield the results that are complete before taking another item, which may block.
            while (result := batch.next_result()) is not None:
                yield result
            while more and batch.has_room:
                try:
                    job = batch.take(next(source))
                except StopIteration:
                    more = False
                    break
                except Exception as error:
                    # Raised after the items in progress are completed and their results yielded.
                    more, failure = False, error
                    break
                pending.add(pool.submit(work, job))
                if any(future.done() for future in pending):
                    break
            if not pending:
                break
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                batch.finish(future.result())
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(cancel_futures=True)
