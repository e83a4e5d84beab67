"""The two files of ``cybersource-flex tokenize``: cards that come in, a line each, and tokens that go out.

Nothing of a line is in a message but its number, and nothing that could be card data goes out.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from ..cards import card_types, is_luhn_valid
from ..errors import ApiException, CallError, FlexError, InvalidDataError
from .keyfiles import Misconfigured

if TYPE_CHECKING:
    from ..client import Tokenized

__all__ = ["Line", "Tokens", "cards", "record"]

_LONGEST_ID: Final = 200
# How every line of the output begins.
_START: Final = b'{"id":'
# Names of fields, plain or dotted: too few digits for a value to pass.
_NAME: Final = re.compile(r"[A-Za-z_]{1,40}[0-9]?(\.[A-Za-z_]{1,40}[0-9]?)*")


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
        Misconfigured: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for number, data in enumerate(file, 1):
                if data.strip(b" \t\r\n") and data != b"\xef\xbb\xbf":
                    yield number, _line(number, data)
    except OSError as cause:
        raise Misconfigured(f"{path}: {cause.strerror or type(cause).__name__}") from None


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
        Misconfigured: it cannot be opened, or holds something else.
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
            raise Misconfigured(f"{path}: {cause.strerror or type(cause).__name__}") from None
        try:
            if not regular:
                raise Misconfigured(f"{path} is not a file that can be read again after an interruption")
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
            raise Misconfigured(f"{self._path}: line {number} was not written by this command; name another file")
        key = str(line["id"])
        if "token" in line:
            self.succeeded.add(key)
            self.failed.discard(key)
        elif key not in self.succeeded:
            self.failed.add(key)
