"""Bulk tokenization: many items concurrently, with bounded memory. A failed item does not stop the others.

``Batch`` and ``Job`` do no I/O. ``async_bulk`` runs them in tasks instead of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Final, TypeAlias

from .._callables import check_function, check_result
from .._sealed import forget
from ..cards import Card
from ..errors import ConfigurationError, FlexError, InvalidDataError
from ..jose import CaptureContext, TransientToken
from ..models import CaptureFields
from ..transport.frozen import Frozen
from .capture_fields import fields_for_data

__all__ = ["Batch", "Item", "Job", "Progress", "TokenizeResult", "tokenize_many"]

#: Data as ``FlexClient.tokenize`` accepts it, or a tuple of a capture context and the data for it.
Item: TypeAlias = Mapping[str, Any] | Card | tuple[CaptureContext, Mapping[str, Any] | Card]

#: Called with the number of completed items, failed ones included, and the number of failed items.
Progress: TypeAlias = Callable[[int, int], object]

_MAX_CONCURRENCY: Final = 256


class TokenizeResult(Frozen):
    """Result of one item. Immutable, and cannot be pickled, because it contains a token.

    Attributes:
        index: position of the item, from 0.
        token: the verified transient token, None on failure.
        error: why the item failed: a ``FlexError``, or the exception that the item itself raised; None on success.
        context: the capture context of the token, which ``verify_transient_token`` needs; None on failure.
    """

    __slots__ = ("context", "error", "index", "token")

    index: int
    token: TransientToken | None
    error: Exception | None
    context: CaptureContext | None

    def __init__(
        self,
        index: int,
        token: TransientToken | None = None,
        error: Exception | None = None,
        context: CaptureContext | None = None,
    ) -> None:
        self._set(index=index, token=token, error=error, context=context)

    def __repr__(self) -> str:
        if self.error is None:
            return f"<TokenizeResult {self.index}: {self.token!r}>"
        # The message of an exception from outside this package may contain the item's data.
        message = f": {self.error}" if isinstance(self.error, FlexError) else ""
        return f"<TokenizeResult {self.index}: {type(self.error).__name__}{message}>"


class Job:
    """One item that is being tokenized. Its ``repr`` does not show the data.

    Attributes:
        index: position of the item.
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
        """Return the context to use, or the fields to request one with; and the data.

        Raises:
            InvalidDataError: the item is malformed, or has a field that the API does not capture.
        """
        item, context = self._item, self._context
        if isinstance(item, tuple):
            if len(item) != 2 or not isinstance(item[0], CaptureContext):
                raise InvalidDataError("an item that is a tuple must be a CaptureContext and the data for it")
            context, item = item
        if context is not None:
            return context, item
        return (fields_for_data(item) if self._fields is None else self._fields), item


class Batch:
    """State of a batch: how many items may start, which are done, and which result is next.

    Args:
        concurrency: maximum number of items in progress, 1 to 256. Up to twice as many are taken from the source
            before their results are consumed.
        ordered: whether results are yielded in the order of the items, or as they complete.
        progress: called after each item.
        fields: fields to request in the context of each item; None for the fields that the item has.
        context: one context for all items, instead of one for each.

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
            check_function("progress", progress, "a function of two numbers (how many are done, how many failed)")
        if fields is not None and not isinstance(fields, CaptureFields):
            raise ConfigurationError("fields must be CaptureFields, as fields(card=['number']) makes them")
        if context is not None and not isinstance(context, CaptureContext):
            raise ConfigurationError("context must be a CaptureContext, which create_capture_context makes")
        if fields is not None and context is not None:
            raise ConfigurationError("give either fields or a context: the context has its fields")
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
            # The frames of its traceback hold the item, and have ended.
            forget(result.error, None)
            self._failed += 1
        self._done += 1
        self._results[result.index] = result
        if self._progress is not None:
            check_result("progress", self._progress(self._done, self._failed))

    def next_result(self) -> TokenizeResult | None:
        """Return the next result, None if there is none yet."""
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
    """Tokenize items in threads and yield their results. Items are taken from the source in the caller's thread.

    Args:
        tokenize: tokenizes one item.
        items: the source of the items.
        batch: state of this batch.
        concurrency: number of threads.
    """

    def work(job: Job) -> TokenizeResult:
        try:
            context, token = tokenize(job)
        except Exception as error:
            return TokenizeResult(job.index, error=error)
        return TokenizeResult(job.index, token, context=context)

    source = iter(items)
    # An exception in this frame has the frame in its traceback, where a list of cards would be visible.
    del items
    more, failure = True, None
    pending: set[Future[TokenizeResult]] = set()
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="flex-tokenize")
    try:
        while True:
            # Results are yielded before waiting for another item.
            while (result := batch.next_result()) is not None:
                yield result
            while more and batch.has_room:
                try:
                    job = batch.take(next(source))
                except StopIteration:
                    more = False
                    break
                except Exception as error:
                    # Items in progress are completed and yielded first.
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
