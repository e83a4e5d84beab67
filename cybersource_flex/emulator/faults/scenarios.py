"""The scenarios: what can go wrong on demand, each with its parameters and one line that says what it does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

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


# The request header that names a scenario for its own request, and the word for a normal response.
HEADER = "v-c-emulator-scenario"
NORMAL = "ok"


@dataclass(frozen=True)
class ScenarioKind:
    """What `SCENARIOS` tells of one scenario.

    Attributes:
        description: what it does, in a line.
        parameters: what it can be given, by name.
    """

    name: str
    description: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    @property
    def usage(self) -> str:
        """Name and parameters with their defaults, as they are written: "latency;seconds=1"."""
        return ";".join((self.name, *(f"{name}={known.default}" for name, known in self.parameters.items())))


def _kinds() -> Iterable[ScenarioKind]:
    kind = ScenarioKind
    yield kind("latency", "the request is carried out at once and answered late", {"seconds": seconds("1")})
    drip = {"interval": seconds("0.1"), "part": choice("body", "head")}
    yield kind("slow-drip", "the body, or the head, comes byte by byte", drip)
    yield kind("reset-before", "the connection is reset (RST) once the request's head is here, its body unread")
    yield kind("reset-during", "the connection is reset after the answer's head and half of its body")
    yield kind("reset-after-request", "the request is carried out, then the connection is reset without a byte")
    yield kind("close-after", "the response is complete, then the connection is closed without having said so")
    yield kind("truncated", "half of the announced body is sent, then the connection is closed")
    surplus = {"difference": integer("10", "bytes, from -1000000 to 1000000 but not 0", -1_000_000, 1_000_000)}
    yield kind(
        "wrong-length",
        "Content-Length is so many bytes too large (and the connection stays open), or, below 0, too small",
        surplus,
    )
    broken = {"kind": choice("size", "end")}
    yield kind("chunked-broken", "a chunked body with a chunk size that is none, or without its end", broken)
    yield kind("interim", "interim responses (1xx), then the final response so many seconds later", _interim())
    second = "a second final response that no request asked for, with the first one or so many seconds later"
    yield kind("second-response", second, {"seconds": seconds("0")})
    early = {"status": choice("400", "413", "503"), "then": choice("keep", "close")}
    yield kind("early-response", "an error response before the body of the request was read", early)
    forbidden = {"status": choice("204", "304", "102", "103")}
    yield kind("body-not-allowed", "a body after a response head that does not allow one", forbidden)
    undecodable = {
        "encoding": choice("gzip", "deflate", "br", "zstd"),
        "status": choice("normal", "400", "401", "403", "404", "500", "503"),
    }
    yield kind("undecodable-body", "a Content-Encoding header over a body that is not encoded", undecodable)
    forgotten = "once the connection was idle for so long, whatever is sent on it is ignored; it is not closed or reset"
    yield kind("forget-idle", forgotten, {"seconds": seconds("16")})
    for status, what in (("429", "Too many requests"), ("503", "Service unavailable")):
        yield kind(f"status-{status}", f"{what}, with that form of Retry-After", {"retry-after": retry_after()})
    yield kind("status-500", "an internal error, in the error body of the operation")
    yield kind("html-502", "a gateway's HTML page with status 502")
    yield kind("empty-500", "status 500 without a body")
    elsewhere = line("http://127.0.0.1:9/", "an address for the Location header")
    yield kind("redirect", "a redirect to that address", {"status": _redirects(), "location": elsewhere})
    yield kind("clock-skew", "the host's clock is off: its Date, what it issues, what it judges", {"seconds": _skew()})
    away = integer("3600", "whole seconds from -1000000000 to 1000000000", -1_000_000_000, 1_000_000_000)
    wrong_date = {"seconds": away, "kind": choice("off", "missing", "garbage")}
    yield kind("wrong-date", "the clock is right, but the Date header is off, missing or not a date", wrong_date)
    yield kind("rotated-key", "a new long-term key from now on, in place of the old one with same-kid", _same_kid())
    yield kind("unknown-members", "members and values that no document names, in JSON answers and in claims")
    broken_jwt = ("truncated", "two-parts", "bad-base64", "not-json", "quoted", "none-alg", "wrong-key")
    yield kind(
        "malformed-jwt", "sessions and tokens response 201 with a JWT that is none", {"kind": choice(*broken_jwt)}
    )
    yield kind(
        "gzip-bomb", "a small body with Content-Encoding: gzip that is so large when unpacked", {"size": size("64MiB")}
    )
    yield kind("big-body", "a body of that size, honestly announced", {"size": size("64MiB")})
    yield kind(
        "endless-body", "a chunked body that goes on until the client has enough, or so far", {"size": size("1GiB")}
    )
    endless = {"kind": choice("many", "huge"), "size": size("64MiB")}
    yield kind("endless-headers", "headers without end, or one header without end, or so far", endless)
    yield kind("mle-wrong-key", "an encrypted response is encrypted to a key that nobody has")
    yield kind(
        "expired-context",
        "sessions issue contexts that end so soon, tokens finds all expired",
        {"left": offset("-60")},
    )
    yield kind("used-token", "payment-details refuses the transient token as used")
    yield kind("wrong-digest", "the Digest header is that of another body")
    yield kind("html-200", "the request is carried out, the response is an HTML page with status 200")
    yield kind("empty-200", "the request is carried out, the response is empty with status 200")
    other = line("text/plain", "a media type")
    yield kind("wrong-content-type", "the right body under another Content-Type", {"type": other})
    refusal = {"reason": line("refused by scenario", "text"), "shape": choice("plain", "json", "empty")}
    yield kind("refuse", "a 401, with its cause for the record, whatever was signed", refusal)
    yield kind("404-key", "public-keys knows no key")


def _interim() -> dict[str, Parameter]:
    return {
        "status": interim_statuses("103"),
        "count": integer("1", "a whole number from 1 to 100000", 1, 100_000),
        "seconds": seconds("0.1"),
        "size": size("0"),
        "final": choice("normal", "204", "304"),
    }


def _redirects() -> Parameter:
    return choice("307", "301", "302", "303", "308")


def _skew() -> Parameter:
    return offset("600")


def _same_kid() -> dict[str, Parameter]:
    return {"same-kid": flag()}


SCENARIOS: Mapping[str, ScenarioKind] = MappingProxyType({kind.name: kind for kind in _kinds()})


class ScenarioError(ValueError):
    """There is no such scenario, or it has no such parameter."""


@dataclass(frozen=True, init=False, repr=False)
class Scenario:
    """One thing that goes wrong, with its parameters: `Scenario("status-503", retry_after=5)`.

    Its text, which `str` gives and `parse` takes, is `status-503;retry-after=5`.

    Args:
        name: one of `SCENARIOS`.
        parameters: as the scenario has them, "_" for "-" in their names.

    Attributes:
        parameters: name and text of those that were given, in the order of `SCENARIOS`.
    """

    name: str
    parameters: tuple[tuple[str, str], ...]

    def __init__(self, name: str, /, **parameters: object) -> None:
        known = SCENARIOS.get(name)
        if known is None:
            raise ScenarioError(f"there is no scenario {_short(name)}; known are {', '.join(SCENARIOS)}")
        given = {key.replace("_", "-"): _text(value) for key, value in parameters.items()}
        for key, text in given.items():
            if key not in known.parameters:
                names = ", ".join(known.parameters) or "none"
                raise ScenarioError(f"scenario {name} has no parameter {_short(key)}; known: {names}")
            try:
                known.parameters[key].read(text)
            except ValueError as error:
                raise ScenarioError(f"{key} of scenario {name} {error}, not {_short(text)}") from None
        if name == "wrong-length" and int(given.get("difference", "10")) == 0:
            raise ScenarioError("difference of scenario wrong-length must not be 0")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "parameters", tuple((key, given[key]) for key in known.parameters if key in given))

    @classmethod
    def parse(cls, text: str) -> Scenario:
        """Read `name;parameter=value;...`. ScenarioError, a ValueError, lists what is known."""
        name, *rest = (part.strip() for part in text.split(";"))
        parameters: dict[str, str] = {}
        for part in rest:
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or key in parameters:
                raise ScenarioError(f"parameters of a scenario are written name=value, each once, not {_short(part)}")
            parameters[key] = value
        return cls(name, **parameters)

    def __str__(self) -> str:
        return ";".join((self.name, *(f"{key}={text}" for key, text in self.parameters)))

    def __repr__(self) -> str:
        return f"Scenario.parse({str(self)!r})"

    def value(self, parameter: str) -> Value:
        """A parameter's value, given or by default."""
        known = SCENARIOS[self.name].parameters[parameter]
        return known.read(dict(self.parameters).get(parameter, known.default))

    def string(self, parameter: str) -> str:
        return str(self.value(parameter))

    def number(self, parameter: str) -> float:
        return float(self.value(parameter))

    def count(self, parameter: str) -> int:
        return int(self.value(parameter))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _short(text: object) -> str:
    shown = ascii(text)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def scenario_of(entry: Scenario | str | None) -> Scenario | None:
    """An entry of a script; None, and "ok", for a normal answer."""
    if entry is None or isinstance(entry, Scenario):
        return entry
    return None if entry.strip() == NORMAL else Scenario.parse(entry)
