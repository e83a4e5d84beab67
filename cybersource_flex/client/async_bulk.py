"""``AsyncFlexClient.tokenize_many``: what ``bulk`` decides, in tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable

from ..jose import CaptureContext, TransientToken
from .bulk import Batch, Item, Job, TokenizeResult

__all__ = ["tokenize_many"]


class _NextItem:
    """What taking the next item led to: a job, an exception of the iterable, or neither at the end.

    ``Job`` and this class keep the item out of the ``repr`` of tasks, which asyncio logs in debug mode.
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
    """The results, once the arguments were checked."""
    limit = asyncio.Semaphore(concurrency)

    async def work(job: Job) -> TokenizeResult:
        try:
            async with limit:
                context, token = await tokenize(job)
        except Exception as error:
            return TokenizeResult(job.index, error=error)
        return TokenizeResult(job.index, token, context=context)

    source = aiter(items) if isinstance(items, AsyncIterable) else _each(items)
    # This frame is part of the traceback of what interrupts it, and a list of cards shows them.
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
                taken = taking.result()
                if taken.job is not None:
                    working.add(asyncio.create_task(work(taken.job)))
                else:
                    # What was begun is finished and yielded before an exception of the iterable is raised.
                    more, failure = False, taken.error
                taking = None
            for task in done & working:
                working.remove(task)  # type: ignore[arg-type]
                batch.finish(task.result())  # type: ignore[arg-type]
        if failure is not None:
            raise failure
    finally:
        left = working if taking is None else {*working, taking}
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _each(items: Iterable[Item]) -> AsyncIterator[Item]:
    source = iter(items)
    # An exception of the iterable has this frame in its traceback, so no variable may hold the list or an item then.
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
