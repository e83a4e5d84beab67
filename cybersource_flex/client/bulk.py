"""Many cards, one token each: several at a time, never more in memory than needed, and no failure stops the rest.

What is decided here does no I/O (``Batch``, ``Job``), so that another way of sending needs only to send.
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

#: Data as ``FlexClient.tokenize`` takes it, alone or after the capture context that it is for.
Item: TypeAlias = Mapping[str, Any] | Card | tuple[CaptureContext, Mapping[str, Any] | Card]

#: Called with how many items are done, those that failed among them, and how many failed.
Progress: TypeAlias = Callable[[int, int], object]

_MAX_CONCURRENCY: Final = 256


class TokenizeResult(Frozen):
    """What became of one item. It cannot be changed, nor pickled: it holds a token.

    Attributes:
        index: its place among the items, from 0.
        token: the verified transient token; None where it failed.
        error: why it failed: a ``FlexError``, or whatever the item itself raised; None where it did not.
        context: the capture context of the token, which ``verify_transient_token`` asks for; None where it failed.
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
        # The text of another exception is not ours, and may have in it what was given to us.
        text = f": {self.error}" if isinstance(self.error, FlexError) else ""
        return f"<TokenizeResult {self.index}: {type(self.error).__name__}{text}>"


class Job:
    """One item on its way. Shows nothing of what it holds.

    Attributes:
        index: its place among the items.
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
        """The context to use, or the fields to ask for one with; and the data.

        Raises:
            InvalidDataError: it is no item, or has a field that cannot be asked for.
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
    """The book of a batch: how many items may be taken, what is done, and which result is next.

    Args:
        concurrency: items at work at once, 1 to 256. Twice as many are taken before their results are.
        ordered: whether results come in the order of the items, or as they are done.
        progress: called after each item.
        fields: what to ask for in the context of each item; None for the fields that the item has.
        context: one context for all items, in place of one for each.

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
        """Whether another item may be taken."""
        return self._started - self._yielded < self._max_outstanding

    def take(self, item: Item) -> Job:
        """The next item, as something to do."""
        job = Job(self._started, item, self._fields, self._context)
        self._started += 1
        return job

    def finish(self, result: TokenizeResult) -> None:
        """Note a result, and tell of it."""
        if result.error is not None:
            # Its frames held the item, and have ended.
            forget(result.error, None)
            self._failed += 1
        self._done += 1
        self._results[result.index] = result
        if self._progress is not None:
            check_result("progress", self._progress(self._done, self._failed))

    def next_result(self) -> TokenizeResult | None:
        """The result to give out now, or None while there is none."""
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
    """``FlexClient.tokenize_many``, once its arguments were checked. Items are taken in the caller's thread."""

    def work(job: Job) -> TokenizeResult:
        try:
            context, token = tokenize(job)
        except Exception as error:
            return TokenizeResult(job.index, error=error)
        return TokenizeResult(job.index, token, context=context)

    source = iter(items)
    # This frame is part of the traceback of what interrupts it, and a list of cards shows them.
    del items
    more, failure = True, None
    pending: set[Future[TokenizeResult]] = set()
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="flex-tokenize")
    try:
        while True:
            # Before another item is waited for.
            while (result := batch.next_result()) is not None:
                yield result
            while more and batch.has_room:
                try:
                    job = batch.take(next(source))
                except StopIteration:
                    more = False
                    break
                except Exception as error:
                    # What was begun is finished and given out first.
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
