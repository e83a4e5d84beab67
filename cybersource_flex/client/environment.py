"""``FlexClient.from_env``: from environment variables to a plan."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from .._paths import check_path, read_file
from ..errors import ConfigurationError
from .operations import check_operations
from .plan import SCHEMES, Plan
from .variables import PREFIX, REQUIRED, VARIABLES, Variable

__all__ = ["read"]

_MAX_FILE: Final = 64 * 1024
# How alike two names must be to be one of them misspelled: a letter or two in names of this length.
_ALIKE: Final = 0.88


def read(environ: Mapping[str, str], overridden: frozenset[str] = frozenset()) -> Plan:
    """What the variables say. Files that hold secrets are read here, other files are not.

    Args:
        environ: the variables.
        overridden: arguments of the client that come from elsewhere. What the variables say of them is not looked at.

    Raises:
        ConfigurationError: see ``FlexClient.from_env``.
    """
    given = _given(environ)
    said = "AUTH" in given
    scheme = None if "auth" in overridden else _scheme(given.pop("AUTH", None))
    parts: dict[str, dict[str, Any]] = {"credentials": {}, "mle": {}, "tls": {}, "options": {}}
    names = {each.argument: each.variable for each in VARIABLES}
    wanted = [each for each in VARIABLES if each.name in given and not each.replaced_by(overridden)]
    if scheme is not None:
        for each in wanted:
            _check_scheme(each, scheme, said)
        _check_required(scheme, given)
    for each in wanted:
        if each.needs is not None and each.needs not in given:
            raise ConfigurationError(
                f"{each.variable} is set, but not {PREFIX}{each.needs}, without which it is useless"
            )
        names[each.argument] = given[each.name].variable
        parts[each.part][each.argument] = _value(each, given[each.name])
    names["the access token"], names["host"] = names["token"], names["environment"]
    _complete(parts["mle"], parts["credentials"], names)
    return Plan(
        scheme=scheme,
        credentials=parts["credentials"],
        mle=parts["mle"],
        tls=parts["tls"],
        options=parts["options"],
        names=names,
    )


class _Given(NamedTuple):
    """A variable that is set: its whole name, its text, and whether that is the path of a file with the value."""

    variable: str
    text: str
    in_file: bool

    def __repr__(self) -> str:
        return f"<{self.variable}>"


def _given(environ: Mapping[str, str]) -> dict[str, _Given]:
    """The variables that are set and known, by the name in the table."""
    known = {each.variable: (each.name, False) for each in VARIABLES}
    known.update({f"{each.variable}_FILE": (each.name, True) for each in VARIABLES if each.secret})
    found: dict[str, _Given] = {}
    for variable in environ:
        text = environ[variable]
        if not isinstance(variable, str):
            raise ConfigurationError(f"the names of variables must be strings, not {type(variable).__name__}")
        if not text or not variable.upper().startswith(PREFIX):
            continue
        if variable not in known:
            _check_foreign(variable, known)
            continue
        if not isinstance(text, str):
            raise ConfigurationError(f"{variable} must be a string, not {type(text).__name__}")
        name, in_file = known[variable]
        if name in found:
            raise ConfigurationError(f"{found[name].variable} and {variable} are both set; which one counts?")
        found[name] = _Given(variable, text, in_file)
    return found


def _check_foreign(variable: str, known: Mapping[str, object]) -> None:
    """Raise for what is nearly the name of a known variable. Other names belong to other tools and are let be."""
    bare = {name[len(PREFIX) :].replace("_", ""): name for name in known}
    close = difflib.get_close_matches(variable.upper()[len(PREFIX) :].replace("_", ""), bare, 1, _ALIKE)
    if close:
        raise ConfigurationError(f"there is no variable {variable}; did you mean {bare[close[0]]}?")


def _scheme(given: _Given | None) -> str:
    if given is None:
        return "jwt_shared_secret"
    if given.text not in SCHEMES:
        close = difflib.get_close_matches(given.text.lower(), SCHEMES, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigurationError(f"{given.variable} must be one of {', '.join(SCHEMES)}{hint}")
    return given.text


def _check_scheme(each: Variable, scheme: str, said: bool) -> None:
    if scheme in each.schemes:
        return
    what = f"is {scheme}" if said else f"is not set, which means {scheme}"
    raise ConfigurationError(
        f"{each.variable} is set, but {PREFIX}AUTH {what}; it goes with {' and '.join(each.schemes)} alone"
    )


def _check_required(scheme: str, given: Mapping[str, _Given]) -> None:
    missing = [name for name in REQUIRED[scheme] if name not in given]
    if missing:
        secrets = {each.name for each in VARIABLES if each.secret}
        shown = [PREFIX + name + (f" (or {PREFIX}{name}_FILE)" if name in secrets else "") for name in missing]
        raise ConfigurationError(f"not set, and needed with {PREFIX}AUTH={scheme}: {', '.join(shown)}")


def _value(each: Variable, given: _Given) -> Any:
    """The value that a variable stands for."""
    if given.in_file:
        check_path(given.variable, given.text)
        if each.argument == "token":
            # Read again after a 401: a side-car may have put a new one there.
            _file(given)
            return lambda: _file(given)
        return _file(given)
    if each.kind == "path":
        return check_path(given.variable, given.text)
    if each.kind == "list":
        names = [name.strip() for name in given.text.split(",") if name.strip()]
        check_operations(names, given.variable)
        return names
    if each.kind == "seconds":
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", given.text.strip()):
            raise ConfigurationError(f"{given.variable} must be a number of seconds, for example 5 or 2.5")
        return float(given.text)
    return given.text


def _file(given: _Given) -> str:
    """The text in a file, without the line end after it that editors and ``echo`` leave."""
    data = read_file(given.variable, given.text, _MAX_FILE + 1)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        # Outside of the handler: the exception has the content in it.
        text = ""
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or len(data) > _MAX_FILE:
        raise ConfigurationError(
            f"{given.variable}: the file {given.text!r} is empty, not UTF-8 text, or larger than {_MAX_FILE} bytes"
        )
    return text


def _complete(mle: dict[str, Any], credentials: Mapping[str, Any], names: dict[str, str]) -> None:
    """Add what message-level encryption takes from the credentials."""
    if "encrypt_requests" in mle and "request_certificate" not in mle:
        if "p12" not in credentials:
            raise ConfigurationError(
                f"{names['encrypt_requests']} is set, but not {PREFIX}MLE_REQUEST_CERTIFICATE, which to encrypt to"
            )
        mle["request_certificate"] = credentials["p12"]
        mle["request_certificate_password"] = credentials.get("password")
        names["request_certificate"] = names["p12"]
    if "response_key" in mle and "response_kid" not in mle:
        # A kid that is given wins, and the file need not have a certificate of the merchant's then.
        mle["merchant_id"] = credentials.get("portfolio_id") or credentials.get("merchant_id")
