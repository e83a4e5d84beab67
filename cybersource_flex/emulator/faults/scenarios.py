"""The scenarios: faults that the emulator can inject on demand, their parameters and descriptions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ...errors import ConfigurationError
from ..argument_types import check_str

# The request header that selects the scenario of the request, and the entry that stands for a normal response.
HEADER = "v-c-emulator-scenario"
NORMAL = "ok"

# Maximum size of a body or of headers, in bytes. Endless ones end there too.
MAXIMUM_SIZE = 1 << 30
_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
# Maximum wait in seconds. A longer one is a mistake in a test.
_MAXIMUM_WAIT = 3600.0
_RETRY_AFTER = re.compile(r"none|garbage|negative|huge|date(?:[+-][0-9]{1,9})?|-?[0-9]{1,30}(?:\.[0-9]{1,9})?")

# Reasons with which `/flex/v2/tokens` rejects data. Only Microform's names for them are published.
TOKEN_ERRORS = (
    "CREATE_TOKEN_VALIDATION_SERVERSIDE",
    "CREATE_TOKEN_CAPTURE_CONTEXT_NOT_FOUND",
    "CREATE_TOKEN_CAPTURE_CONTEXT_USED_TOO_MANY_TIMES",
    "CREATE_TOKEN_CARD_TYPE_NOT_ALLOWED",
    "CREATE_TOKEN_DECRYPTION",
    "CREATE_TOKEN_NO_DATA_SUBMITTED",
    "CREATE_TOKEN_PLATFORM_ERROR",
    "API_GATEWAY_ERROR",
    "API_INTERNAL_ERROR",
    "API_JSON_PARSER_ERROR",
    "API_JWE_PARSING_ERROR",
    "CAPTURE_CONTEXT_INVALID",
)

Value = float | int | str | bool


@dataclass(frozen=True)
class Parameter:
    """One parameter of a scenario.

    Attributes:
        default: the default value, as a string.
        form: the accepted values, as a description.
        parse: converts a string to the value; ValueError for a string of another form.
    """

    default: str
    form: str
    parse: Callable[[str], Value]


def _error(form: str) -> ValueError:
    return ValueError(f"must be {form}")


def _number(default: str, form: str, lowest: float, highest: float) -> Parameter:
    def parse(string: str) -> Value:
        if not re.fullmatch(r"[+-]?[0-9]{1,12}(?:\.[0-9]{1,9})?", string) or not lowest <= float(string) <= highest:
            raise _error(form)
        return float(string)

    return Parameter(default, form, parse)


def _seconds(default: str) -> Parameter:
    """A duration."""
    return _number(default, f"seconds from 0 to {_MAXIMUM_WAIT:.0f}", 0, _MAXIMUM_WAIT)


def _offset(default: str) -> Parameter:
    """A number of seconds that may be negative."""
    return _number(default, "seconds from -1000000000 to 1000000000", -1e9, 1e9)


def _integer(default: str, form: str, lowest: int, highest: int) -> Parameter:
    def parse(string: str) -> Value:
        if not re.fullmatch(r"[+-]?[0-9]{1,12}", string) or not lowest <= int(string) <= highest:
            raise _error(form)
        return int(string)

    return Parameter(default, form, parse)


def _interim_statuses(default: str) -> Parameter:
    """One or several statuses of interim responses, separated by commas."""
    form = "statuses from 100 to 199, separated by commas"

    def parse(string: str) -> Value:
        if not re.fullmatch(r"1[0-9]{2}(?:,1[0-9]{2}){0,9}", string):
            raise _error(form)
        return string

    return Parameter(default, form, parse)


def _size(default: str) -> Parameter:
    """A number of bytes."""
    form = "bytes up to 1GiB, with or without KiB, MiB or GiB"

    def parse(string: str) -> Value:
        match = re.fullmatch(r"([0-9]{1,10})(|KiB|MiB|GiB)", string)
        if match is None or int(match[1]) * _UNITS[match[2]] > MAXIMUM_SIZE:
            raise _error(form)
        return int(match[1]) * _UNITS[match[2]]

    return Parameter(default, form, parse)


def _choice(*names: str) -> Parameter:
    """One of several words; the first is the default."""
    form = " or ".join(names)

    def parse(string: str) -> Value:
        if string not in names:
            raise _error(form)
        return string

    return Parameter(names[0], form, parse)


def _flag() -> Parameter:
    form = "true or false"

    def parse(string: str) -> Value:
        if string not in ("true", "false"):
            raise _error(form)
        return string == "true"

    return Parameter("false", form, parse)


def _header_value(default: str, form: str) -> Parameter:
    """A string that is valid as a header value."""

    def parse(string: str) -> Value:
        if not re.fullmatch(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?", string):
            raise _error(form)
        return string

    return Parameter(default, form, parse)


def _retry_after() -> Parameter:
    """A form of `Retry-After`."""
    form = "none, seconds (any number), date, date+SECONDS, date-SECONDS, garbage, negative or huge"

    def parse(string: str) -> Value:
        if not _RETRY_AFTER.fullmatch(string):
            raise _error(form)
        return string

    return Parameter("none", form, parse)


@dataclass(frozen=True)
class ScenarioKind:
    """An entry of `SCENARIOS`: the description and the parameters of one scenario.

    Attributes:
        description: what the scenario does, on one line.
        parameters: the scenario's parameters, by name.
    """

    name: str
    description: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    @property
    def usage(self) -> str:
        """Name and parameters with their defaults, in the syntax of a scenario string: "latency;seconds=1"."""
        return ";".join((self.name, *(f"{name}={item.default}" for name, item in self.parameters.items())))


def _connection_faults() -> Iterable[ScenarioKind]:
    kind = ScenarioKind
    yield kind("latency", "the request is carried out at once; its response is delayed", {"seconds": _seconds("1")})
    drip = {"interval": _seconds("0.1"), "part": _choice("body", "head")}
    yield kind("slow-drip", "the body, or the head, is sent byte by byte", drip)
    yield kind("reset-before", "the connection is reset (RST) after the request's head; its body is not read")
    yield kind("reset-during", "the connection is reset after the response's head and half of its body")
    yield kind("reset-after-request", "the request is carried out; then the connection is reset without a response")
    yield kind("close-after", "after a complete response the connection is closed without `Connection: close`")
    yield kind("truncated", "half of the announced body is sent; then the connection is closed")
    yield kind(
        "wrong-length",
        "Content-Length is too large by this many bytes (the connection stays open), or too small if negative",
        {"difference": _integer("10", "bytes, from -1000000 to 1000000 but not 0", -1_000_000, 1_000_000)},
    )
    yield kind(
        "chunked-broken",
        "a chunked body with an invalid chunk size (`kind=size`) or without its end (`kind=end`)",
        {"kind": _choice("size", "end")},
    )
    yield kind(
        "interim",
        "interim responses (1xx), then after a delay the final response",
        {
            "status": _interim_statuses("103"),
            "count": _integer("1", "a whole number from 1 to 100000", 1, 100_000),
            "seconds": _seconds("0.1"),
            "size": _size("0"),
            "final": _choice("normal", "204", "304"),
        },
    )
    yield kind(
        "second-response",
        "a second final response to one request, sent with the first one or this many seconds later",
        {"seconds": _seconds("0")},
    )
    yield kind(
        "early-response",
        "an error response before the body of the request is read",
        {"status": _choice("400", "413", "503"), "then": _choice("keep", "close")},
    )
    yield kind(
        "body-not-allowed",
        "a body after a response status that does not allow one",
        {"status": _choice("204", "304", "102", "103")},
    )
    yield kind(
        "undecodable-body",
        "a Content-Encoding header with a body that is not encoded",
        {
            "encoding": _choice("gzip", "deflate", "br", "zstd"),
            "status": _choice("normal", "400", "401", "403", "404", "500", "503"),
        },
    )
    yield kind(
        "forget-idle",
        "after this idle time all data on the connection is ignored; the connection is neither closed nor reset",
        {"seconds": _seconds("16")},
    )


def _content_faults() -> Iterable[ScenarioKind]:
    kind = ScenarioKind
    retry_after = {"retry-after": _retry_after()}
    yield kind("status-429", "Too many requests, with this form of Retry-After", retry_after)
    yield kind("status-503", "Service unavailable, with this form of Retry-After", retry_after)
    yield kind("status-500", "an internal error, in the operation's error body")
    yield kind("html-502", "a gateway's HTML page with status 502")
    yield kind("empty-500", "status 500 without a body")
    yield kind(
        "redirect",
        "a redirect to this address",
        {
            "status": _choice("307", "301", "302", "303", "308"),
            "location": _header_value("http://127.0.0.1:9/", "an address for the Location header"),
        },
    )
    yield kind(
        "clock-skew",
        "the host's clock is wrong: for its Date header, the tokens that it issues and the times that it checks",
        {"seconds": _offset("600")},
    )
    yield kind(
        "wrong-date",
        "the clock is right, but the Date header is wrong, missing or not a date",
        {
            "seconds": _integer("3600", "whole seconds from -1000000000 to 1000000000", -1_000_000_000, 1_000_000_000),
            "kind": _choice("off", "missing", "garbage"),
        },
    )
    yield kind(
        "rotated-key",
        "a new long-term key from now on; with `same-kid=true` it has the kid of the old one",
        {"same-kid": _flag()},
    )
    yield kind("unknown-members", "undocumented members and values in JSON responses and in claims")
    yield kind(
        "unusual-claims",
        "genuine contexts and tokens that differ in a detail from all published ones",
        {"claim": _choice("all", "iss", "jti", "type", "content", "times", "path")},
    )
    broken_jwt = ("truncated", "two-parts", "bad-base64", "not-json", "quoted", "none-alg", "wrong-key")
    yield kind(
        "malformed-jwt", "session and token requests get a 201 with an invalid JWT", {"kind": _choice(*broken_jwt)}
    )
    yield kind(
        "gzip-bomb",
        "a small body with Content-Encoding: gzip that expands to this size",
        {"size": _size("64MiB")},
    )
    yield kind("big-body", "a body of this size with a correct Content-Length", {"size": _size("64MiB")})
    yield kind(
        "endless-body",
        "a chunked body that continues until the client stops reading, up to this size",
        {"size": _size("1GiB")},
    )
    yield kind(
        "endless-headers",
        "an endless stream of headers (`kind=many`) or one endless header (`kind=huge`), up to this size",
        {"kind": _choice("many", "huge"), "size": _size("64MiB")},
    )
    yield kind("mle-wrong-key", "an encrypted response is encrypted to an unrelated key")
    yield kind(
        "expired-context",
        "new contexts expire after this many seconds; token requests are rejected because the context has expired",
        {"expires-in": _offset("-60")},
    )
    yield kind("used-token", "payment-details and payments reject the transient token as used")
    yield kind("wrong-digest", "the Digest header does not match the body")
    yield kind("html-200", "the request is carried out; the response is an HTML page with status 200")
    yield kind("empty-200", "the request is carried out; the response is empty with status 200")
    yield kind(
        "wrong-content-type",
        "the correct body with another Content-Type",
        {"type": _header_value("text/plain", "a media type")},
    )
    yield kind(
        "refuse",
        "a 401 for any signature, with this reason in the recorded request",
        {
            "reason": _header_value("rejected by scenario", "printable ASCII"),
            "shape": _choice("plain", "json", "empty"),
        },
    )
    yield kind("404-key", "requests for a public key get a 404")
    yield kind(
        "token-error",
        "token requests are rejected with this reason; pages get the reason of the same name from Microform",
        {"reason": _choice(*TOKEN_ERRORS)},
    )


def _browser_faults() -> Iterable[ScenarioKind]:
    kind = ScenarioKind
    yield kind("changed-script", "the Microform script has another content, so browsers block it by its integrity")
    yield kind("origin-not-allowed", "browsers may not show the field frames of Microform on any page")


SCENARIOS: Mapping[str, ScenarioKind] = MappingProxyType(
    {kind.name: kind for kind in (*_connection_faults(), *_content_faults(), *_browser_faults())}
)
"""Every kind of scenario by its name."""


class ScenarioError(ConfigurationError):
    """Unknown scenario, unknown parameter, or invalid value of a parameter."""


@dataclass(frozen=True, init=False, repr=False)
class Scenario:
    """One fault with its parameters: `Scenario("status-503", retry_after=5)`.

    `str(scenario)` returns it as a string, "status-503;retry-after=5", and `Scenario.parse` reads such a string.

    Args:
        name: one of `SCENARIOS`.
        parameters: the scenario's parameters, with "_" instead of "-" in their names.

    Attributes:
        parameters: the parameters that were passed, as pairs of name and value (a string), in the order of `SCENARIOS`.
    """

    name: str
    parameters: tuple[tuple[str, str], ...]

    def __init__(self, name: str, /, **parameters: object) -> None:
        kind = SCENARIOS.get(name)
        if kind is None:
            raise ScenarioError(f"there is no scenario {_short(name)}; known are {', '.join(SCENARIOS)}")
        values = {key.replace("_", "-"): _string(value) for key, value in parameters.items()}
        for key, value in values.items():
            if key not in kind.parameters:
                names = ", ".join(kind.parameters) or "none"
                raise ScenarioError(f"scenario {name} has no parameter {_short(key)}; known: {names}")
            try:
                kind.parameters[key].parse(value)
            except ValueError as error:
                raise ScenarioError(f"{key} of scenario {name} {error}, not {_short(value)}") from None
        if name == "wrong-length" and int(values.get("difference", "10")) == 0:
            raise ScenarioError("difference of scenario wrong-length must not be 0")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "parameters", tuple((key, values[key]) for key in kind.parameters if key in values))

    @classmethod
    def parse(cls, string: str) -> Scenario:
        """Parse `name;parameter=value;...`. ScenarioError for unknown names and invalid values."""
        name, *rest = (part.strip() for part in string.split(";"))
        parameters: dict[str, str] = {}
        for part in rest:
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or key in parameters:
                raise ScenarioError(
                    f"{_short(part)} is not a parameter of a scenario: expected name=value, each name once"
                )
            parameters[key] = value
        return cls(name, **parameters)

    def __str__(self) -> str:
        return ";".join((self.name, *(f"{key}={value}" for key, value in self.parameters)))

    def __repr__(self) -> str:
        return f"Scenario.parse({str(self)!r})"

    def value(self, parameter: str) -> Value:
        """The value of a parameter, or its default."""
        definition = SCENARIOS[self.name].parameters[parameter]
        return definition.parse(dict(self.parameters).get(parameter, definition.default))

    def string(self, parameter: str) -> str:
        return str(self.value(parameter))

    def number(self, parameter: str) -> float:
        return float(self.value(parameter))

    def count(self, parameter: str) -> int:
        return int(self.value(parameter))


def _string(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _short(value: object) -> str:
    literal = ascii(value)
    return literal if len(literal) <= 60 else literal[:57] + "..."


def to_scenario(entry: Scenario | str | None) -> Scenario | None:
    """Convert an entry of a queue to a scenario. None and "ok" stand for a normal response and become None."""
    if entry is None or isinstance(entry, Scenario):
        return entry
    check_str("scenario", entry)
    return None if entry.strip() == NORMAL else Scenario.parse(entry)
