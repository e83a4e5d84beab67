"""Show progress on standard error, only on a terminal. It disappears when the work is done."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from .console import make_rich_console
from .terminal import is_terminal

__all__ = ["progress_bar", "wait_for_each", "waiting"]

_T = TypeVar("_T")

# Seconds. Work that is done sooner shows nothing.
_DELAY: Final = 0.5


def _shows_progress() -> bool:
    # Some CI systems run programs in a terminal, of which they only keep the output.
    return is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


@contextlib.contextmanager
def waiting(message: str) -> Iterator[None]:
    """Show a message with a spinner while the block runs. The block must not print."""
    if not _shows_progress():
        yield
        return
    console = make_rich_console(stderr=True)
    # The characters of rich's default spinner are not in ASCII.
    status = console.status(Text(message), spinner="dots" if console.encoding.startswith("utf") else "line")
    timer = threading.Timer(_DELAY, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()


def wait_for_each(items: Iterable[_T], message: str) -> Iterator[_T]:
    """Yield the items, and show a message while the next item is awaited."""
    iterator = iter(items)
    while True:
        with waiting(message):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


@contextlib.contextmanager
def progress_bar(unit: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """Show a progress bar while the block runs. The block must not print.

    Args:
        unit: what is counted.
        total: the number at the end.

    Yields:
        A function to call with the number that is done and a note.
    """
    if not _shows_progress():
        yield lambda done, note: None
        return
    columns = (
        *(TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=make_rich_console(stderr=True), transient=True) as bar:
        task = bar.add_task(unit, total=total, note="")
        yield lambda done, note: bar.update(task, completed=done, note=note)
