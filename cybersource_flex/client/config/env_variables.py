"""``FlexClient.from_env``: from environment variables to a plan."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ..._paths import check_path, read_file
from ...errors import ConfigurationError
from .client_options import SCHEMES, ClientBuilder, check_operations

__all__ = ["PREFIX", "REQUIRED", "VARIABLES", "Variable", "builder_from_env"]

#: All names begin with this.
PREFIX: Final = "CYBERSOURCE_"

_ALL: Final = tuple(SCHEMES)
_JWT: Final = ("jwt_shared_secret", "jwt_p12")
_SHARED: Final = ("jwt_shared_secret", "http_signature")
_KEYED: Final = ("jwt_shared_secret", "jwt_p12", "http_signature")


class Variable(NamedTuple):
    """A variable.

    Attributes:
        name: its name, without ``CYBERSOURCE_``.
        target: what it is an argument of: ``credentials``, ``mle``, ``tls`` or ``options``; empty for the scheme.
        argument: name of the argument.
        description: what it says.
        schemes: the schemes with which it may be set.
        parser: how its text is read: ``text``, ``path``, ``list`` or ``seconds``.
        secret: whether its value is a secret. Then ``<name>_FILE`` may name a file that holds it instead.
        needs: another variable without which it means nothing.
    """

    name: str
    target: str
    argument: str
    description: str
    schemes: tuple[str, ...] = _ALL
    parser: str = "text"
    secret: bool = False
    needs: str | None = None

    @property
    def variable(self) -> str:
        """The whole name."""
        return PREFIX + self.name

    def replaced_by(self, arguments: frozenset[str]) -> bool:
        """Whether one of these arguments of the client stands in for it."""
        return self.argument in arguments or {"credentials": "auth"}.get(self.target, self.target) in arguments


VARIABLES: Final = (
    Variable("AUTH", "", "auth", "how requests are signed; `jwt_shared_secret` where it is not set"),
    Variable("ENVIRONMENT", "options", "environment", "`test` (the default), `production`, ... or `https://host`"),
    Variable("MERCHANT_ID", "credentials", "merchant_id", "the merchant", _KEYED),
    Variable("PORTFOLIO_ID", "credentials", "portfolio_id", "with a meta key: the portfolio that created it", _KEYED),
    Variable("KEY_ID", "credentials", "key_id", "id of the shared secret, a UUID", _SHARED),
    Variable("SECRET_KEY", "credentials", "secret_key", "the shared secret, base64", _SHARED, secret=True),
    Variable("P12_PATH", "credentials", "p12", "path of the P12 file", ("jwt_p12",), "path"),
    Variable("P12_PASSWORD", "credentials", "password", "its password", ("jwt_p12",), secret=True),
    Variable("JWT_ALGORITHM", "credentials", "algorithm", "`HS256`, ... or `RS256`, ...", _JWT),
    Variable("ACCESS_TOKEN", "credentials", "token", "OAuth access token", ("bearer",), secret=True),
    Variable(
        "MLE_ENCRYPT_REQUESTS",
        "mle",
        "encrypt_requests",
        "operations whose requests are encrypted, separated by commas",
        _JWT,
        "list",
    ),
    Variable(
        "MLE_REQUEST_CERTIFICATE",
        "mle",
        "request_certificate",
        "path of CyberSource's certificate, PEM or P12; with `jwt_p12` the P12 file where it is not set",
        _JWT,
        "path",
        needs="MLE_ENCRYPT_REQUESTS",
    ),
    Variable(
        "MLE_REQUEST_CERTIFICATE_PASSWORD",
        "mle",
        "request_certificate_password",
        "password of that P12",
        _JWT,
        secret=True,
        needs="MLE_REQUEST_CERTIFICATE",
    ),
    Variable(
        "MLE_REQUEST_CERTIFICATE_NAME",
        "mle",
        "request_certificate_name",
        "CN of that certificate; `CyberSource_SJC_US` where it is not set",
        _JWT,
        needs="MLE_ENCRYPT_REQUESTS",
    ),
    Variable(
        "MLE_RESPONSE_KEY",
        "mle",
        "response_key",
        "path of the key that answers are encrypted to, PEM or P12; asks for encrypted answers",
        _JWT,
        "path",
    ),
    Variable(
        "MLE_RESPONSE_KEY_PASSWORD",
        "mle",
        "response_key_password",
        "its password",
        _JWT,
        secret=True,
        needs="MLE_RESPONSE_KEY",
    ),
    Variable(
        "MLE_RESPONSE_KID",
        "mle",
        "response_kid",
        "its id; a P12 from the Business Center has it inside",
        _JWT,
        needs="MLE_RESPONSE_KEY",
    ),
    Variable(
        "MLE_PLAIN_RESPONSES",
        "mle",
        "plain_responses",
        "operations whose answers are not to be encrypted, separated by commas",
        _JWT,
        "list",
        needs="MLE_RESPONSE_KEY",
    ),
    Variable("CA_FILE", "tls", "ca_file", "path of a PEM file with the authorities to trust", parser="path"),
    Variable("CLIENT_CERTIFICATE", "tls", "client_certificate", "path of a PEM file, for mutual TLS", parser="path"),
    Variable(
        "CLIENT_KEY",
        "tls",
        "client_key",
        "path of its key, PEM, where it is not in the same file",
        parser="path",
        needs="CLIENT_CERTIFICATE",
    ),
    Variable(
        "CLIENT_KEY_PASSWORD",
        "tls",
        "client_key_password",
        "password of that key",
        secret=True,
        needs="CLIENT_CERTIFICATE",
    ),
    Variable("PROXY", "options", "proxy", "`http://user:password@host:port`, percent-encoded", secret=True),
    Variable("INTERMEDIATE_HOST", "options", "intermediate_host", "host to connect to in place of the one signed"),
    Variable("CONNECT_TIMEOUT", "options", "connect_timeout", "seconds; 5 where it is not set", parser="seconds"),
    Variable("READ_TIMEOUT", "options", "read_timeout", "seconds; 30 where it is not set", parser="seconds"),
    Variable("IDLE_TIMEOUT", "options", "idle_timeout", "seconds; 15 where it is not set", parser="seconds"),
    Variable("LEEWAY", "options", "leeway", "seconds that clocks may differ; 30 where it is not set", parser="seconds"),
    Variable("USER_AGENT_SUFFIX", "options", "user_agent_suffix", "added to the `User-Agent` header"),
)

#: What each scheme cannot do without.
REQUIRED: Final = {
    "jwt_shared_secret": ("MERCHANT_ID", "KEY_ID", "SECRET_KEY"),
    "http_signature": ("MERCHANT_ID", "KEY_ID", "SECRET_KEY"),
    "jwt_p12": ("MERCHANT_ID", "P12_PATH", "P12_PASSWORD"),
    "bearer": ("ACCESS_TOKEN",),
}

_MAX_FILE_BYTES: Final = 64 * 1024
# How alike two names must be to be one of them misspelled: a letter or two in names of this length.
_MIN_SIMILARITY: Final = 0.88


def builder_from_env(environ: Mapping[str, str], overridden: frozenset[str] = frozenset()) -> ClientBuilder:
    """What the variables say. Files that hold secrets are read here, other files are not.

    Args:
        environ: the variables.
        overridden: arguments of the client that come from elsewhere. What the variables say of them is not looked at.

    Raises:
        ConfigurationError: see ``FlexClient.from_env``.
    """
    given = _set_variables(environ)
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
        parts[each.target][each.argument] = _value(each, given[each.name])
    names["the access token"], names["host"] = names["token"], names["environment"]
    _default_mle_from_credentials(parts["mle"], parts["credentials"], names)
    return ClientBuilder(
        scheme=scheme,
        credentials=parts["credentials"],
        mle=parts["mle"],
        tls=parts["tls"],
        options=parts["options"],
        setting_names=names,
    )


class _SetVariable(NamedTuple):
    """A variable that is set: its whole name, its text, and whether that is the path of a file with the value."""

    variable: str
    text: str
    in_file: bool

    def __repr__(self) -> str:
        return f"<{self.variable}>"


def _set_variables(environ: Mapping[str, str]) -> dict[str, _SetVariable]:
    """The variables that are set and known, by the name in the table."""
    known = {each.variable: (each.name, False) for each in VARIABLES}
    known.update({f"{each.variable}_FILE": (each.name, True) for each in VARIABLES if each.secret})
    found: dict[str, _SetVariable] = {}
    for variable in environ:
        text = environ[variable]
        if not isinstance(variable, str):
            raise ConfigurationError(f"the names of variables must be strings, not {type(variable).__name__}")
        if not text or not variable.upper().startswith(PREFIX):
            continue
        if variable not in known:
            _check_misspelled(variable, known)
            continue
        if not isinstance(text, str):
            raise ConfigurationError(f"{variable} must be a string, not {type(text).__name__}")
        name, in_file = known[variable]
        if name in found:
            raise ConfigurationError(f"{found[name].variable} and {variable} are both set; which one counts?")
        found[name] = _SetVariable(variable, text, in_file)
    return found


def _check_misspelled(variable: str, known: Mapping[str, object]) -> None:
    """Raise for what is nearly the name of a known variable. Other names belong to other tools and are let be."""
    bare = {name[len(PREFIX) :].replace("_", ""): name for name in known}
    close = difflib.get_close_matches(variable.upper()[len(PREFIX) :].replace("_", ""), bare, 1, _MIN_SIMILARITY)
    if close:
        raise ConfigurationError(f"there is no variable {variable}; did you mean {bare[close[0]]}?")


def _scheme(given: _SetVariable | None) -> str:
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


def _check_required(scheme: str, given: Mapping[str, _SetVariable]) -> None:
    missing = [name for name in REQUIRED[scheme] if name not in given]
    if missing:
        secrets = {each.name for each in VARIABLES if each.secret}
        shown = [PREFIX + name + (f" (or {PREFIX}{name}_FILE)" if name in secrets else "") for name in missing]
        raise ConfigurationError(f"not set, and needed with {PREFIX}AUTH={scheme}: {', '.join(shown)}")


def _value(each: Variable, given: _SetVariable) -> Any:
    """The value that a variable stands for."""
    if given.in_file:
        check_path(given.variable, given.text)
        if each.argument == "token":
            # Read again after a 401: a side-car may have put a new one there.
            _file(given)
            return lambda: _file(given)
        return _file(given)
    if each.parser == "path":
        return check_path(given.variable, given.text)
    if each.parser == "list":
        names = [name.strip() for name in given.text.split(",") if name.strip()]
        check_operations(names, given.variable)
        return names
    if each.parser == "seconds":
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", given.text.strip()):
            raise ConfigurationError(f"{given.variable} must be a number of seconds, for example 5 or 2.5")
        return float(given.text)
    return given.text


def _file(given: _SetVariable) -> str:
    """The text in a file, without the line end after it that editors and ``echo`` leave."""
    data = read_file(given.variable, given.text, _MAX_FILE_BYTES + 1)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        # Outside of the handler: the exception has the content in it.
        text = ""
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or len(data) > _MAX_FILE_BYTES:
        raise ConfigurationError(
            f"{given.variable}: the file {given.text!r} is empty, not UTF-8 text, or larger than "
            f"{_MAX_FILE_BYTES} bytes"
        )
    return text


def _default_mle_from_credentials(mle: dict[str, Any], credentials: Mapping[str, Any], names: dict[str, str]) -> None:
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
