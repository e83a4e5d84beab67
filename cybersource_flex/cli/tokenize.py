"""``cybersource-flex tokenize``: a file of cards into a file of transient tokens, taken up again where it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..client import FlexClient
from ..configuration import Configuration
from ..errors import ConfigurationError
from ..transport.address import is_loopback, split
from .journal import Tokens, cards, record
from .keyfiles import Misconfigured

if TYPE_CHECKING:
    from ..client.plan import FlexOverrides

__all__ = ["Options", "chosen_client", "run"]


class Options(NamedTuple):
    """What was asked for on the command line."""

    input: Path
    output: Path
    concurrency: int
    environment: str | None
    host: str | None
    retry_failed: bool
    production_cards: bool


def run(options: Options) -> int:
    """Tokenize what has not been done yet.

    Returns:
        The exit code: 0 if every line has its token now.

    Raises:
        click.ClickException: the options are wrong, a file that they name, or the configuration; its exit code is 2. Or
            the output cannot be written to; then it is 1.
    """
    if options.output.exists() and os.path.samefile(options.input, options.output):
        raise click.UsageError("--input and --output are the same file")
    total = _count(options.input)
    with chosen_client(options.environment, options.host, pool_size=max(100, options.concurrency)) as client:
        host = client.api_client.configuration.host
        if not (options.production_cards or _is_for_tests(host)):
            raise click.UsageError(
                f"{host} is no test host: --production-cards says that real cards may go there, and that this machine "
                "and both files are in the scope of PCI DSS"
            )
        with Tokens(options.output) as tokens:
            work = _Work(options, tokens)
            with _bar(total) as moved, work.stoppable():
                results = client.tokenize_many(work.items(), concurrency=options.concurrency, ordered=False)
                with contextlib.closing(results):
                    for result in results:
                        tokens.write(record(work.ids.pop(result.index), result))
                        work.count(result.token is not None)
                        moved(work)
                moved(work)
    click.echo(work.summary(total), err=True)
    return 0 if work.good == total else 1


@contextlib.contextmanager
def chosen_client(environment: str | None, host: str | None, **overrides: Any) -> Iterator[FlexClient]:
    """A client from the environment variables, for the host that the options name.

    Raises:
        click.ClickException: the variables are wrong; its exit code is 2.
    """
    if environment is not None and host is not None:
        raise click.UsageError("give either --host or --environment")
    arguments: FlexOverrides = overrides  # type: ignore[assignment]
    chosen = host or environment
    if chosen is not None:
        arguments["environment"] = chosen
    try:
        with warnings.catch_warnings():
            # Said by `doctor` to whoever chose it; a Python warning would only blur the output.
            warnings.simplefilter("ignore", DeprecationWarning)
            client = FlexClient.from_env(**arguments)
    except ConfigurationError as cause:
        raise Misconfigured(str(cause)) from None
    with client:
        yield client


def _is_for_tests(host: str) -> bool:
    parts = split(host)
    tests = {address for name, address in Configuration.ENVIRONMENTS.items() if name.partition("-")[0] == "test"}
    return host in tests or (parts is not None and is_loopback(parts.hostname or ""))


def _count(path: Path) -> int:
    """How many lines there are, blank ones aside; each id must be there once."""
    seen: dict[str, int] = {}
    for number, line in cards(path):
        first = seen.setdefault(line.key, number)
        if first != number:
            raise Misconfigured(
                f"{path}: lines {first} and {number} have one id (a line without one has its number); nothing was sent"
            )
    return len(seen)


class _Work:
    """What is to be done, and how much of it is."""

    def __init__(self, options: Options, tokens: Tokens) -> None:
        self._options = options
        self._tokens = tokens
        self._stopped = False
        self.ids: dict[int, str | int] = {}
        self.good = self.bad = self.before = 0

    def items(self) -> Iterator[Mapping[str, Any]]:
        """The data of lines that are not done. What cannot be read is written down on the way."""
        index = 0
        for _, line in cards(self._options.input):
            if self._stopped:
                return
            if line.key in self._tokens.succeeded:
                self.before += 1
                self.good += 1
            elif line.key in self._tokens.failed and not self._options.retry_failed:
                self.before += 1
                self.bad += 1
            elif line.data is None:
                failed = {"error": "InvalidDataError", "outcome": "not_sent", "message": line.problem}
                self._tokens.write({"id": line.id, **failed})
                self.count(False)
            else:
                self.ids[index] = line.id
                index += 1
                yield line.data

    def count(self, good: bool) -> None:
        self.good += good
        self.bad += not good

    def summary(self, total: int) -> str:
        """The end in a line."""
        done = self.good + self.bad
        words = f"{total} lines: {self.good} with a token, {self.bad} failed"
        if self.before:
            words += f" ({self.before} of these were there before)"
        if done < total:
            words += f", {total - done} not begun: interrupted; the same command goes on with them"
        elif self.bad and not self._options.retry_failed:
            words += "; --retry-failed tries those again"
        return words

    @contextlib.contextmanager
    def stoppable(self) -> Iterator[None]:
        """On the first Ctrl-C or SIGTERM nothing more is begun, and what is under way is written down; the next one is
        as always.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.getsignal(number) for number in numbers}

        def back() -> None:
            for number in numbers:
                signal.signal(number, before[number])

        def stop(number: int, frame: FrameType | None) -> None:
            self._stopped = True
            back()

        for number in numbers:
            signal.signal(number, stop)
        try:
            yield
        finally:
            back()


@contextlib.contextmanager
def _bar(total: int) -> Iterator[Any]:
    """A bar on standard error, where that is a terminal. Yields what to call when there is more."""
    if not sys.stderr.isatty():
        yield lambda work: None
        return
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        *(TextColumn("{task.fields[failed]} failed"), TimeElapsedColumn(), TimeRemainingColumn()),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("tokens", total=total, failed=0)
        yield lambda work: progress.update(task, completed=work.good + work.bad, failed=work.bad)
