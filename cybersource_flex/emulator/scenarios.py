"""The scenarios: what can go wrong on demand, each with its parameters and one line that says what it does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from . import parameters as p
from .parameters import Parameter, Value

# The request header that names a scenario for its own request, and the word for a normal answer.
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
    kind, size = ScenarioKind, p.size
    yield kind("latency", "the request is carried out at once and answered late", {"seconds": p.seconds("1")})
    drip = {"interval": p.seconds("0.1"), "part": p.choice("body", "head")}
    yield kind("slow-drip", "the body, or the head, comes byte by byte", drip)
    yield kind("reset-before", "the connection is reset (RST) once the request's head is here, its body unread")
    yield kind("reset-during", "the connection is reset after the answer's head and half of its body")
    yield kind("reset-after-request", "the request is carried out, then the connection is reset without a byte")
    yield kind("close-after", "the answer is complete, then the connection is closed without having said so")
    yield kind("truncated", "half of the announced body is sent, then the connection is closed")
    surplus = {"difference": p.integer("10", "bytes, from -1000000 to 1000000 but not 0", -1_000_000, 1_000_000)}
    yield kind(
        "wrong-length",
        "Content-Length is so many bytes too large (and the connection stays open), or, below 0, too small",
        surplus,
    )
    broken = {"kind": p.choice("size", "end")}
    yield kind("chunked-broken", "a chunked body with a chunk size that is none, or without its end", broken)
    for status, what in (("429", "Too many requests"), ("503", "Service unavailable")):
        yield kind(f"status-{status}", f"{what}, with that form of Retry-After", {"retry-after": p.retry_after()})
    yield kind("status-500", "an internal error, in the error body of the operation")
    yield kind("html-502", "a gateway's HTML page with status 502")
    yield kind("empty-500", "status 500 without a body")
    elsewhere = p.line("http://127.0.0.1:9/", "an address for the Location header")
    yield kind("redirect", "a redirect to that address", {"status": _redirects(), "location": elsewhere})
    yield kind("clock-skew", "the host's clock is off: its Date, what it issues, what it judges", {"seconds": _skew()})
    away = p.integer("3600", "whole seconds from -1000000000 to 1000000000", -1_000_000_000, 1_000_000_000)
    wrong_date = {"seconds": away, "kind": p.choice("off", "missing", "garbage")}
    yield kind("wrong-date", "the clock is right, but the Date header is off, missing or not a date", wrong_date)
    yield kind("rotated-key", "a new long-term key from now on, in place of the old one with same-kid", _same_kid())
    yield kind("unknown-members", "members and values that no document names, in JSON answers and in claims")
    broken_jwt = ("truncated", "two-parts", "bad-base64", "not-json", "quoted", "none-alg", "wrong-key")
    yield kind(
        "malformed-jwt", "sessions and tokens answer 201 with a JWT that is none", {"kind": p.choice(*broken_jwt)}
    )
    yield kind(
        "gzip-bomb", "a small body with Content-Encoding: gzip that is so large when unpacked", {"size": size("64MiB")}
    )
    yield kind("big-body", "a body of that size, honestly announced", {"size": size("64MiB")})
    yield kind(
        "endless-body", "a chunked body that goes on until the client has enough, or so far", {"size": size("1GiB")}
    )
    endless = {"kind": p.choice("many", "huge"), "size": size("64MiB")}
    yield kind("endless-headers", "headers without end, or one header without end, or so far", endless)
    yield kind("mle-wrong-key", "an encrypted answer is encrypted to a key that nobody has")
    yield kind(
        "expired-context",
        "sessions issue contexts that end so soon, tokens finds all expired",
        {"left": p.offset("-60")},
    )
    yield kind("used-token", "payment-details refuses the transient token as used")
    yield kind("wrong-digest", "the Digest header is that of another body")
    yield kind("html-200", "the request is carried out, the answer is an HTML page with status 200")
    yield kind("empty-200", "the request is carried out, the answer is empty with status 200")
    other = p.line("text/plain", "a media type")
    yield kind("wrong-content-type", "the right body under another Content-Type", {"type": other})
    refusal = {"reason": p.line("refused by scenario", "text"), "shape": p.choice("plain", "json", "empty")}
    yield kind("refuse", "a 401, with its cause for the record, whatever was signed", refusal)
    yield kind("404-key", "public-keys knows no key")


def _redirects() -> Parameter:
    return p.choice("307", "301", "302", "303", "308")


def _skew() -> Parameter:
    return p.offset("600")


def _same_kid() -> dict[str, Parameter]:
    return {"same-kid": p.flag()}


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

    def text(self, parameter: str) -> str:
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
