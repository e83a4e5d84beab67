"""``cybersource-flex tokenize``: create a transient token for each card in a file with one JSON object per line.

An interrupted run can be resumed. Messages name a line by its number and contain nothing else of the line. Nothing that
could be card data is written.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from ...cards import card_types, is_luhn_valid
from ...errors import ApiException, CallError, FlexError, InvalidDataError
from ...transport.hosts import is_test_host
from ..shared.clients import client_from_options
from ..shared.errors import ConfigurationExit, WriteError
from ..shared.exit_codes import ExitCode
from ..shared.progress import progress_bar

if TYPE_CHECKING:
    from ...client import TokenizeResult

__all__ = ["Options", "run"]

_MAX_ID_LENGTH: Final = 200
# The beginning of every line of the output.
_LINE_START: Final = b'{"id":'
# Field names, with or without their path. They have too few digits to be card data.
_FIELD_NAME: Final = re.compile(r"[A-Za-z_]{1,40}[0-9]?(\.[A-Za-z_]{1,40}[0-9]?)*")


class Options(NamedTuple):
    """The options of the command."""

    input: Path
    output: Path
    concurrency: int
    environment: str | None
    host: str | None
    retry_failed: bool
    production_cards: bool
    as_json: bool


def run(options: Options) -> ExitCode:
    """Tokenize the lines of the input that have no result in the output.

    Returns:
        The exit code: 0 if every line has a token, 1 if not, 130 or 143 if a signal stopped the command.

    Raises:
        click.ClickException: the options, the configuration or a file are invalid (exit code 2), or the output cannot
            be written (exit code 6).
    """
    if options.output.exists() and os.path.samefile(options.input, options.output):
        raise click.UsageError("--input and --output are the same file")
    total = _count(options.input)
    with client_from_options(options.environment, options.host, pool_size=max(100, options.concurrency)) as client:
        host = client.api_client.configuration.host
        if not (options.production_cards or is_test_host(host)):
            raise click.UsageError(
                f"{host} is not a test host. Use --production-cards to allow this host and real cards. This machine "
                "and both files are then in the scope of PCI DSS"
            )
        with OutputFile(options.output) as output:
            progress = _Progress(options, output)
            with progress_bar("tokens", total) as update, progress.stop_on_signals():
                results = client.tokenize_many(progress.items(), concurrency=options.concurrency, ordered=False)
                with contextlib.closing(results):
                    for result in results:
                        output.write(format_result(progress.ids.pop(result.index), result))
                        progress.count(result.token is not None)
                        update(progress.succeeded + progress.failed, f"{progress.failed} failed")
                update(progress.succeeded + progress.failed, f"{progress.failed} failed")
    if options.as_json:
        click.echo(json.dumps(progress.report(total), indent=2))
    else:
        click.echo(progress.summary(total), err=True)
    if progress.stopped_by is not None:
        return ExitCode.TERMINATED if progress.stopped_by == signal.SIGTERM else ExitCode.INTERRUPTED
    return ExitCode.SUCCESS if progress.succeeded == total else ExitCode.NEGATIVE


def _count(path: Path) -> int:
    """Count the lines that are not blank. Raises for duplicate ids."""
    line_numbers: dict[str, int] = {}
    for number, line in read_lines(path):
        first = line_numbers.setdefault(line.key, number)
        if first != number:
            raise ConfigurationExit(
                f"{path}: lines {first} and {number} have the same id (a line without an id has its number as id); "
                "nothing was sent"
            )
    return len(line_numbers)


class _Progress:
    """Yields the lines to tokenize and counts the results."""

    def __init__(self, options: Options, output: OutputFile) -> None:
        self._options = options
        self._output = output
        self.stopped_by: int | None = None
        self.ids: dict[int, str | int] = {}
        self.succeeded = self.failed = self.from_earlier_runs = 0

    def items(self) -> Iterator[Mapping[str, Any]]:
        """Yield the data of lines without a result, and write an error to the output for each invalid line."""
        index = 0
        for _, line in read_lines(self._options.input):
            if self.stopped_by is not None:
                return
            if line.key in self._output.succeeded:
                self.from_earlier_runs += 1
                self.succeeded += 1
            elif line.key in self._output.failed and not self._options.retry_failed:
                self.from_earlier_runs += 1
                self.failed += 1
            elif line.data is None:
                error = {"error": "InvalidDataError", "outcome": "not_sent", "message": line.error}
                self._output.write({"id": line.id, **error})
                self.count(False)
            else:
                self.ids[index] = line.id
                index += 1
                yield line.data

    def count(self, succeeded: bool) -> None:
        self.succeeded += succeeded
        self.failed += not succeeded

    def summary(self, total: int) -> str:
        """The results in one line."""
        done = self.succeeded + self.failed
        summary = f"{total} line{'' if total == 1 else 's'}: {self.succeeded} with a token, {self.failed} failed"
        if self.from_earlier_runs:
            summary += f" ({self.from_earlier_runs} of these in earlier runs)"
        if done < total:
            summary += f", {total - done} not started: interrupted; run the same command again to resume"
        elif self.failed and not self._options.retry_failed:
            summary += "; use --retry-failed to retry the failed lines"
        return summary

    def report(self, total: int) -> dict[str, Any]:
        """The results for programs."""
        return {
            "lines": total,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "earlier": self.from_earlier_runs,
            "not_started": total - self.succeeded - self.failed,
            "output": str(self._options.output),
        }

    @contextlib.contextmanager
    def stop_on_signals(self) -> Iterator[None]:
        """After the first Ctrl-C or SIGTERM, start no more lines, but write the results of lines already started.

        A second signal has its normal effect.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        old_handlers = {number: signal.getsignal(number) for number in signals}

        def restore() -> None:
            for number in signals:
                signal.signal(number, old_handlers[number])

        def stop(number: int, frame: FrameType | None) -> None:
            self.stopped_by = number
            restore()

        for number in signals:
            signal.signal(number, stop)
        try:
            yield
        finally:
            restore()


class Line(NamedTuple):
    """One line of the input.

    Attributes:
        id: ``id`` in the line, or the line number if the line has no ``id``.
        data: the data to tokenize. None if the line is invalid.
        error: why the line is invalid. Empty if the line is valid.
    """

    id: str | int
    data: Mapping[str, Any] | None
    error: str = ""

    def __repr__(self) -> str:
        return f"<Line {self.error or 'with data'}>"

    @property
    def key(self) -> str:
        """The id as a string, so that 7 and ``"7"`` are the same id."""
        return str(self.id)


def read_lines(path: Path) -> Iterator[tuple[int, Line]]:
    """Read the lines of the input that are not blank, with their numbers from 1.

    Raises:
        ConfigurationExit: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for number, data in enumerate(file, 1):
                if number == 1 and data.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise ConfigurationExit(f"{path} is in UTF-16; save it in UTF-8")
                if data.strip(b" \t\r\n") and data != b"\xef\xbb\xbf":
                    yield number, _parse_line(number, data)
    except OSError as cause:
        raise ConfigurationExit(f"{path}: {cause.strerror or type(cause).__name__}") from None


def _parse_line(number: int, data: bytes) -> Line:
    try:
        tree = json.loads(
            data.decode("utf-8-sig"), object_pairs_hook=_reject_duplicates, parse_constant=_reject_constant
        )
    except (ValueError, RecursionError):
        # The error is created outside of this handler, because the exception contains the line.
        tree = None
    if not isinstance(tree, dict):
        return Line(number, None, f"line {number} must be one JSON object in UTF-8 without duplicate names")
    line_id = tree.pop("id", number)
    if not _is_id(line_id):
        return Line(
            number,
            None,
            f"the id in line {number} is not valid: expected a whole number or 1 to {_MAX_ID_LENGTH} printable "
            "characters",
        )
    if _may_be_card_number(str(line_id)):
        return Line(number, None, f"the id in line {number} looks like a card number; ids are written to the output")
    if not _has_only_field_names(tree):
        return Line(line_id, None, f"line {number} contains a JSON name that cannot be the name of a field")
    return Line(line_id, tree)


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _reject_constant(_: str) -> None:
    raise ValueError


def _is_id(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (
        isinstance(value, str) and 0 < len(value) <= _MAX_ID_LENGTH and value.isprintable()
    )


def _may_be_card_number(string: str) -> bool:
    for candidate in re.findall(r"[0-9][0-9 -]{10,}[0-9]", string):
        digits = re.sub("[ -]", "", candidate)
        if 12 <= len(digits) <= 19 and is_luhn_valid(digits) and card_types(digits):
            return True
    return False


def _has_only_field_names(tree: object) -> bool:
    if isinstance(tree, list):
        return all(map(_has_only_field_names, tree))
    return not isinstance(tree, dict) or all(
        _FIELD_NAME.fullmatch(name) and _has_only_field_names(tree[name]) for name in tree
    )


def format_result(line_id: str | int, result: TokenizeResult) -> dict[str, Any]:
    """Return one line of the output: a token or an error."""
    if result.token is not None:
        token = result.token
        return {"id": line_id, "token": token.jwt, "expires_at": round(token.expires_at.timestamp()), "jti": token.jti}
    error = result.error
    outcome = (
        error.outcome if isinstance(error, CallError) else "not_sent" if isinstance(error, InvalidDataError) else None
    )
    return {"id": line_id, "error": type(error).__name__, "outcome": outcome, "message": _message(error)}


def _message(error: Exception | None) -> str:
    """Return the message of an error, without parts of the response that could be card data."""
    if isinstance(error, ApiException):
        parts = [f"{error.method} {error.path}: {error.status}"]
        messages = [
            error.reason,
            *(": ".join(filter(None, (detail.location, detail.message))) for detail in error.details[:5]),
        ]
        # A message without digits contains no card data.
        parts += [
            message
            for message in messages
            if message and not re.search(r"\d", message) and len(message) <= 200 and message.isprintable()
        ]
        if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", error.correlation_id or ""):
            parts.append(f"v-c-correlation-id {error.correlation_id}")
        return "; ".join(parts)
    return str(error) if isinstance(error, FlexError) else ""


def _parse_json(data: bytes) -> object:
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


class OutputFile:
    """The output file. Each line is synced to disk before the next one, and an incomplete last line is removed.

    Args:
        path: path of the file. A new file is readable only by its owner.

    Attributes:
        succeeded: ids of the lines with a token.
        failed: ids of the lines with an error and no later token.

    Raises:
        ConfigurationExit: the file cannot be opened, or was not written by this command.
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
                raise ConfigurationExit(f"{path} must be a regular file, because interrupted runs are resumed from it")
            self._read_results()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line and sync it to disk.

        Raises:
            WriteError: the disk is full or fails.
        """
        data = json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"
        try:
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError as cause:
            raise WriteError(f"{self._path}: {cause.strerror or type(cause).__name__}") from None

    def _read_results(self) -> None:
        complete_size, end = 0, b"\n"
        with self._path.open("rb") as file:
            for number, data in enumerate(file, 1):
                line, end = _parse_json(data), data[-1:]
                if end != b"\n" and line is None and data[:6] == _LINE_START[: len(data)]:
                    # The line is incomplete, because an earlier run was interrupted. The card is tokenized again.
                    self._file.truncate(complete_size)
                    return
                self._add_result(number, line)
                complete_size += len(data)
        if end != b"\n":
            self._file.write(b"\n")

    def _add_result(self, number: int, line: object) -> None:
        if not isinstance(line, dict) or not _is_id(line.get("id")) or ("token" in line) == ("error" in line):
            raise ConfigurationExit(f"{self._path}: line {number} was not written by this command; use another file")
        key = str(line["id"])
        if "token" in line:
            self.succeeded.add(key)
            self.failed.discard(key)
        elif key not in self.succeeded:
            self.failed.add(key)
