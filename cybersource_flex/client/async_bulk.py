"""``AsyncFlexClient.tokenize_many``: what ``bulk`` decides, in tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from typing import TYPE_CHECKING

from .._sealed import sealed
from ..jose import CaptureContext, TransientToken
from ..models import CaptureFields
from .bulk import Batch, Item, Job, Tokenized

if TYPE_CHECKING:
    from ..transport import RetryPolicy
    from .async_flex_client import AsyncFlexClient

__all__ = ["tokenize_many"]


class _Taken:
    """What taking the next item led to: a job, an exception of the iterable, or neither at the end.

    ``Job`` and this class keep the item out of the ``repr`` of tasks, which asyncio logs in debug mode.
    """

    __slots__ = ("error", "job")

    def __init__(self, job: Job | None = None, error: Exception | None = None) -> None:
        self.job = job
        self.error = error


async def tokenize_many(
    client: AsyncFlexClient,
    items: Iterable[Item] | AsyncIterable[Item],
    batch: Batch,
    *,
    concurrency: int,
    timeout: float | None,
    retry: RetryPolicy | None,
) -> AsyncGenerator[Tokenized, None]:
    """The results, once the arguments were checked."""
    limit = asyncio.Semaphore(concurrency)

    async def work(job: Job) -> Tokenized:
        try:
            async with limit:
                context, token = await _tokenize(client, job, timeout, retry)
        except Exception as error:
            return Tokenized(job.index, error=error)
        return Tokenized(job.index, token, context=context)

    source = aiter(items) if isinstance(items, AsyncIterable) else _each(items)
    # This frame is part of the traceback of what interrupts it, and a list of cards shows them.
    del items
    more, failure = True, None
    taking: asyncio.Task[_Taken] | None = None
    working: set[asyncio.Task[Tokenized]] = set()
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


async def _take(source: AsyncIterator[Item], batch: Batch) -> _Taken:
    try:
        return _Taken(batch.take(await anext(source)))
    except StopAsyncIteration:
        return _Taken()
    except Exception as error:
        return _Taken(error=error)


@sealed
async def _tokenize(
    client: AsyncFlexClient, job: Job, timeout: float | None, retry: RetryPolicy | None
) -> tuple[CaptureContext, TransientToken]:
    context, data = job.parts()
    if isinstance(context, CaptureFields):
        context = await client.create_capture_context(context, timeout=timeout, retry=retry)
    return context, await client.tokenize(context, data, timeout=timeout, retry=retry)
