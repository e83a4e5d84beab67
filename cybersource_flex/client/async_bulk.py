"""Bulk tokenization in asyncio tasks, for ``AsyncFlexClient.tokenize_many``. The module ``bulk`` uses threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable

from .._runtime.event_loop import running_loop
from ..jose import CaptureContext, TransientToken
from .bulk import Batch, Item, Job, TokenizeFailure, TokenizeResult, TokenizeSuccess

__all__ = ["tokenize_many"]


class _NextItem:
    """Result of taking the next item: a job, or the exception that the iterable raised. Both are None at the end.

    asyncio logs the ``repr`` of tasks and their results in debug mode. The ``repr`` of this class and ``Job`` does not
    show the item.
    """

    __slots__ = ("error", "job")

    def __init__(self, job: Job | None = None, error: Exception | None = None) -> None:
        self.job = job
        self.error = error


async def tokenize_many(
    tokenize: Callable[[Job], Awaitable[tuple[CaptureContext, TransientToken]]],
    items: Iterable[Item] | AsyncIterable[Item],
    batch: Batch,
    *,
    concurrency: int,
) -> AsyncGenerator[TokenizeResult, None]:
    """Tokenize items in tasks and yield their results. The asynchronous form of ``bulk.tokenize_many``."""
    running_loop()
    limit = asyncio.Semaphore(concurrency)

    async def work(job: Job) -> TokenizeResult:
        try:
            async with limit:
                context, token = await tokenize(job)
        except Exception as error:
            return TokenizeFailure(job.index, error)
        return TokenizeSuccess(job.index, token, context)

    source = aiter(items) if isinstance(items, AsyncIterable) else _iterate(items)
    # The traceback of an exception contains the local variables of this frame. They must not include the list of cards.
    del items
    more, failure = True, None
    taking: asyncio.Task[_NextItem] | None = None
    working: set[asyncio.Task[TokenizeResult]] = set()
    try:
        while True:
            while (result := batch.next_result()) is not None:
                yield result
            if more and taking is None and batch.has_room:
                taking = asyncio.create_task(_take(source, batch))
            if taking is None and not working:
                break
            waited = working if taking is None else {*working, taking}
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if taking is not None and taking in done:
                next_item = taking.result()
                if next_item.job is not None:
                    working.add(asyncio.create_task(work(next_item.job)))
                else:
                    # Raised after the items in progress are completed and their results yielded.
                    more, failure = False, next_item.error
                taking = None
            for task in done & working:
                working.remove(task)  # type: ignore[arg-type]
                batch.finish(task.result())  # type: ignore[arg-type]
        if failure is not None:
            raise failure
    finally:
        unfinished = working if taking is None else {*working, taking}
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)


async def _iterate(items: Iterable[Item]) -> AsyncIterator[Item]:
    source = iter(items)
    # If the iterable raises, the traceback contains the local variables of this frame. They must not include the list
    # of cards or an item.
    del items
    for item in source:
        yield item
        del item


async def _take(source: AsyncIterator[Item], batch: Batch) -> _NextItem:
    try:
        return _NextItem(batch.take(await anext(source)))
    except StopAsyncIteration:
        return _NextItem()
    except Exception as error:
        return _NextItem(error=error)
