"""``cybersource-flex tokenize``: turn a file of cards into a file of transient tokens, resumable after an interruption.

Messages name a line by its number and contain nothing else of it. Nothing that could be card data is written.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import stat
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
import rich.console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..cards import card_types, is_luhn_valid
from ..client import FlexClient
from ..configuration import Configuration
from ..errors import ApiException, CallError, ConfigurationError, FlexError, InvalidDataError
from ..transport.address import is_loopback, split
from .errors import ConfigurationExit

if TYPE_CHECKING:
    from ..client import Tokenized
    from ..client.plan import FlexOverrides

__all__ = ["Options", "client_from_options", "run"]

_LONGEST_ID: Final = 200
# How every line of the output begins.
_START: Final = b'{"id":'
# Names of fields, plain or dotted: too few digits for a value to pass.
_NAME: Final = re.compile(r"[A-Za-z_]{1,40}[0-9]?(\.[A-Za-z_]{1,40}[0-9]?)*")


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
    with client_from_options(options.environment, options.host, pool_size=max(100, options.concurrency)) as client:
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
def client_from_options(environment: str | None, host: str | None, **overrides: Any) -> Iterator[FlexClient]:
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
        raise ConfigurationExit(str(cause)) from None
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
            raise ConfigurationExit(
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
    with Progress(*columns, console=rich.console.Console(stderr=True)) as progress:
        task = progress.add_task("tokens", total=total, failed=0)
        yield lambda work: progress.update(task, completed=work.good + work.bad, failed=work.bad)


class Line(NamedTuple):
    """One line of the input.

    Attributes:
        id: what it is called in the output: its own ``id``, else its number.
        data: what to tokenize; None where it cannot be read.
        problem: why it cannot be read.
    """

    id: str | int
    data: Mapping[str, Any] | None
    problem: str = ""

    def __repr__(self) -> str:
        return f"<Line {self.problem or 'with data'}>"

    @property
    def key(self) -> str:
        """The same for ids that a reader would take for the same."""
        return str(self.id)


def cards(path: Path) -> Iterator[tuple[int, Line]]:
    """The lines of the input that are not blank, with their numbers from 1.

    Raises:
        ConfigurationExit: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for number, data in enumerate(file, 1):
                if data.strip(b" \t\r\n") and data != b"\xef\xbb\xbf":
                    yield number, _line(number, data)
    except OSError as cause:
        raise ConfigurationExit(f"{path}: {cause.strerror or type(cause).__name__}") from None


def _line(number: int, data: bytes) -> Line:
    try:
        tree = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        # Outside of the handler: the exception holds the line.
        tree = None
    if not isinstance(tree, dict):
        return Line(number, None, f"line {number} is not one JSON object in UTF-8")
    name = tree.pop("id", number)
    if not _is_id(name):
        return Line(
            number,
            None,
            f"the id in line {number} is no text of 1 to {_LONGEST_ID} printable characters and no whole number",
        )
    if _may_be_card(str(name)):
        return Line(number, None, f"the id in line {number} looks like a card number, and ids are written out")
    if not _names_only(tree):
        return Line(name, None, f"line {number} has a name that is none of a field")
    return Line(name, tree)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refuse(_: str) -> None:
    raise ValueError


def _is_id(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, str) and 0 < len(value) <= _LONGEST_ID and value.isprintable())


def _may_be_card(text: str) -> bool:
    for found in re.findall(r"[0-9][0-9 -]{10,}[0-9]", text):
        digits = re.sub("[ -]", "", found)
        if 12 <= len(digits) <= 19 and is_luhn_valid(digits) and card_types(digits):
            return True
    return False


def _names_only(tree: object) -> bool:
    if isinstance(tree, list):
        return all(map(_names_only, tree))
    return not isinstance(tree, dict) or all(_NAME.fullmatch(name) and _names_only(tree[name]) for name in tree)


def record(name: str | int, result: Tokenized) -> dict[str, Any]:
    """A line of the output: a token, or why there is none."""
    if result.token is not None:
        token = result.token
        return {"id": name, "token": token.jwt, "expires_at": round(token.expires_at.timestamp()), "jti": token.jti}
    error = result.error
    outcome = (
        error.outcome if isinstance(error, CallError) else "not_sent" if isinstance(error, InvalidDataError) else None
    )
    return {"id": name, "error": type(error).__name__, "outcome": outcome, "message": _message(error)}


def _message(error: Exception | None) -> str:
    """What a failure says, without what a host could have put into it."""
    if isinstance(error, ApiException):
        parts = [f"{error.method} {error.path}: {error.status}"]
        told = [error.reason, *(f"{each.location}: {each.message}" for each in error.details[:5])]
        # No digits, no card data.
        parts += [
            text for text in told if text and not re.search(r"\d", text) and len(text) <= 200 and text.isprintable()
        ]
        if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", error.correlation_id or ""):
            parts.append(f"v-c-correlation-id {error.correlation_id}")
        return "; ".join(parts)
    return str(error) if isinstance(error, FlexError) else ""


def _parsed(data: bytes) -> object:
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


class Tokens:
    """The output: a line is on the disk before the next one is written, and a torn one is taken away.

    Args:
        path: where it is, or will be, for its owner alone.

    Attributes:
        succeeded: ids of the lines with a token.
        failed: ids of those with an error and no token after it.

    Raises:
        ConfigurationExit: it cannot be opened, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.succeeded: set[str] = set()
        self.failed: set[str] = set()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            self._file = os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)
            regular = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        except OSError as cause:
            raise ConfigurationExit(f"{path}: {cause.strerror or type(cause).__name__}") from None
        try:
            if not regular:
                raise ConfigurationExit(f"{path} is not a file that can be read again after an interruption")
            self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Tokens:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, line: Mapping[str, Any]) -> None:
        """Add a line, and wait until it is on the disk.

        Raises:
            click.ClickException: there is no room, or the disk fails.
        """
        data = json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"
        try:
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError as cause:
            raise click.ClickException(f"{self._path}: {cause.strerror or type(cause).__name__}") from None

    def _read(self) -> None:
        whole, end = 0, b"\n"
        with self._path.open("rb") as file:
            for number, data in enumerate(file, 1):
                line, end = _parsed(data), data[-1:]
                if end != b"\n" and line is None and data[:6] == _START[: len(data)]:
                    # Torn by an interruption: its card is done again.
                    self._file.truncate(whole)
                    return
                self._note(number, line)
                whole += len(data)
        if end != b"\n":
            self._file.write(b"\n")

    def _note(self, number: int, line: object) -> None:
        if not isinstance(line, dict) or not _is_id(line.get("id")) or ("token" in line) == ("error" in line):
            raise ConfigurationExit(f"{self._path}: line {number} was not written by this command; name another file")
        key = str(line["id"])
        if "token" in line:
            self.succeeded.add(key)
            self.failed.discard(key)
        elif key not in self.succeeded:
            self.failed.add(key)
