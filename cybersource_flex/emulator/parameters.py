"""Parameters of scenarios: read from text, strictly, with a default each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

Value = float | int | str | bool

# Bytes. Nothing endless is more than this.
ENDLESS = 1 << 30
_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
# Seconds: longer waits are a mistake in a test.
_LONGEST = 3600.0
_RETRY_AFTER = re.compile(r"none|garbage|negative|huge|date(?:[+-][0-9]{1,9})?|-?[0-9]{1,30}(?:\.[0-9]{1,9})?")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a scenario.

    Attributes:
        default: its text when it is not given.
        form: what may be given, for people.
        read: the value of a text; ValueError when it is not of that form.
    """

    default: str
    form: str
    read: Callable[[str], Value]


def _refused(form: str) -> ValueError:
    return ValueError(f"must be {form}")


def _number(default: str, form: str, lowest: float, highest: float) -> Parameter:
    def read(text: str) -> Value:
        if not re.fullmatch(r"[+-]?[0-9]{1,12}(?:\.[0-9]{1,9})?", text) or not lowest <= float(text) <= highest:
            raise _refused(form)
        return float(text)

    return Parameter(default, form, read)


def seconds(default: str) -> Parameter:
    """A wait."""
    return _number(default, f"seconds from 0 to {_LONGEST:.0f}", 0, _LONGEST)


def offset(default: str) -> Parameter:
    """Seconds, also below 0."""
    return _number(default, "seconds, also below 0", -1e11, 1e11)


def integer(default: str, form: str, lowest: int, highest: int) -> Parameter:
    """A whole number."""

    def read(text: str) -> Value:
        if not re.fullmatch(r"[+-]?[0-9]{1,12}", text) or not lowest <= int(text) <= highest:
            raise _refused(form)
        return int(text)

    return Parameter(default, form, read)


def interim_statuses(default: str) -> Parameter:
    """One or several statuses of interim responses, separated by commas."""
    form = "statuses from 100 to 199, separated by commas"

    def read(text: str) -> Value:
        if not re.fullmatch(r"1[0-9]{2}(?:,1[0-9]{2}){0,9}", text):
            raise _refused(form)
        return text

    return Parameter(default, form, read)


def size(default: str) -> Parameter:
    """Bytes."""
    form = "bytes up to 1GiB, with or without KiB, MiB or GiB"

    def read(text: str) -> Value:
        match = re.fullmatch(r"([0-9]{1,10})(|KiB|MiB|GiB)", text)
        if match is None or int(match[1]) * _UNITS[match[2]] > ENDLESS:
            raise _refused(form)
        return int(match[1]) * _UNITS[match[2]]

    return Parameter(default, form, read)


def choice(*names: str) -> Parameter:
    """One of some words; the first is the default."""
    form = " or ".join(names)

    def read(text: str) -> Value:
        if text not in names:
            raise _refused(form)
        return text

    return Parameter(names[0], form, read)


def flag() -> Parameter:
    """true or false."""
    form = "true or false"

    def read(text: str) -> Value:
        if text not in ("true", "false"):
            raise _refused(form)
        return text == "true"

    return Parameter("false", form, read)


def line(default: str, form: str) -> Parameter:
    """Text that can stand in a header."""

    def read(text: str) -> Value:
        if not re.fullmatch(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?", text):
            raise _refused(form)
        return text

    return Parameter(default, form, read)


def retry_after() -> Parameter:
    """A form of `Retry-After`."""
    form = "none, seconds (any number), date, date+SECONDS, date-SECONDS, garbage, negative or huge"

    def read(text: str) -> Value:
        if not _RETRY_AFTER.fullmatch(text):
            raise _refused(form)
        return text

    return Parameter("none", form, read)
