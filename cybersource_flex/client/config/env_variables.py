"""Environment variables of ``FlexClient.from_env``: the table of variables, and a builder from their values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from ..._paths import check_path, read_file
from ...errors import ConfigurationError
from .client_options import SCHEMES, ClientBuilder, check_operations

__all__ = ["PREFIX", "REQUIRED", "VARIABLES", "Variable", "builder_from_env"]

#: Prefix of all variables.
PREFIX: Final = "CYBERSOURCE_"

_ALL: Final = tuple(SCHEMES)
_JWT: Final = ("jwt_shared_secret", "jwt_p12")
_SHARED: Final = ("jwt_shared_secret", "http_signature")
_KEYED: Final = ("jwt_shared_secret", "jwt_p12", "http_signature")


class Variable(NamedTuple):
    """An environment variable.

    Attributes:
        name: name without the prefix ``CYBERSOURCE_``.
        target: group of the argument: ``credentials``, ``mle``, ``tls`` or ``options``; empty for the scheme.
        argument: name of the argument that the variable sets.
        description: description for the documentation.
        schemes: authentication schemes with which it may be set.
        parser: how the value is parsed: ``string``, ``path``, ``list`` or ``seconds``.
        secret: whether the value is a secret. If so, ``<name>_FILE`` may name a file that contains it.
        needs: another variable that must be set as well.
    """

    name: str
    target: str
    argument: str
    description: str
    schemes: tuple[str, ...] = _ALL
    parser: str = "string"
    secret: bool = False
    needs: str | None = None

    @property
    def variable(self) -> str:
        """The full name, with the prefix."""
        return PREFIX + self.name

    def replaced_by(self, arguments: frozenset[str]) -> bool:
        """Whether one of these client arguments replaces this variable."""
        return self.argument in arguments or {"credentials": "auth"}.get(self.target, self.target) in arguments


VARIABLES: Final = (
    Variable("AUTH", "", "auth", "how requests are signed; `jwt_shared_secret` by default"),
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
        "path of CyberSource's certificate, PEM or P12; with `jwt_p12`, the P12 file by default",
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
        "CN of that certificate; `CyberSource_SJC_US` by default",
        _JWT,
        needs="MLE_ENCRYPT_REQUESTS",
    ),
    Variable(
        "MLE_RESPONSE_KEY",
        "mle",
        "response_key",
        "path of the private key that decrypts responses, PEM or P12; requests encrypted responses",
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
        "its id; a P12 from the Business Center contains it",
        _JWT,
        needs="MLE_RESPONSE_KEY",
    ),
    Variable(
        "MLE_UNENCRYPTED_RESPONSES",
        "mle",
        "unencrypted_responses",
        "operations whose responses are not encrypted, separated by commas",
        _JWT,
        "list",
        needs="MLE_RESPONSE_KEY",
    ),
    Variable("CA_FILE", "tls", "ca_file", "path of a PEM file with the trusted certificate authorities", parser="path"),
    Variable("CLIENT_CERTIFICATE", "tls", "client_certificate", "path of a PEM file, for mutual TLS", parser="path"),
    Variable(
        "CLIENT_KEY",
        "tls",
        "client_key",
        "path of its private key, PEM, if it is in another file",
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
    Variable("INTERMEDIATE_HOST", "options", "intermediate_host", "host to connect to instead of the signed one"),
    Variable("CONNECT_TIMEOUT", "options", "connect_timeout", "seconds; 5 by default", parser="seconds"),
    Variable("READ_TIMEOUT", "options", "read_timeout", "seconds; 30 by default", parser="seconds"),
    Variable("IDLE_TIMEOUT", "options", "idle_timeout", "seconds; 15 by default", parser="seconds"),
    Variable("LEEWAY", "options", "leeway", "seconds that clocks may differ; 30 by default", parser="seconds"),
    Variable("USER_AGENT_SUFFIX", "options", "user_agent_suffix", "added to the `User-Agent` header"),
)

#: Variables that each scheme requires.
REQUIRED: Final = {
    "jwt_shared_secret": ("MERCHANT_ID", "KEY_ID", "SECRET_KEY"),
    "http_signature": ("MERCHANT_ID", "KEY_ID", "SECRET_KEY"),
    "jwt_p12": ("MERCHANT_ID", "P12_PATH", "P12_PASSWORD"),
    "bearer": ("ACCESS_TOKEN",),
}

_MAX_FILE_BYTES: Final = 64 * 1024
# Similarity above which an unknown name counts as misspelled: one or two letters in names of this length.
_MIN_SIMILARITY: Final = 0.88


def builder_from_env(environ: Mapping[str, str], overridden: frozenset[str] = frozenset()) -> ClientBuilder:
    """Create a ``ClientBuilder`` from environment variables.

    Files that contain secrets (``..._FILE``) are read here. Certificates and keys are read when the client is built.

    Args:
        environ: the variables.
        overridden: client arguments that the caller passes. The variables for them are ignored.

    Raises:
        ConfigurationError: see ``FlexClient.from_env``.
    """
    variables = _set_variables(environ)
    explicit = "AUTH" in variables
    scheme = None if "auth" in overridden else _scheme(variables.pop("AUTH", None))
    parts: dict[str, dict[str, Any]] = {"credentials": {}, "mle": {}, "tls": {}, "options": {}}
    names = {each.argument: each.variable for each in VARIABLES}
    used = [each for each in VARIABLES if each.name in variables and not each.replaced_by(overridden)]
    if scheme is not None:
        for each in used:
            _check_scheme(each, scheme, explicit)
        _check_required(scheme, variables)
    for each in used:
        if each.needs is not None and each.needs not in variables:
            raise ConfigurationError(f"{each.variable} is set without {PREFIX}{each.needs}, which it requires")
        names[each.argument] = variables[each.name].variable
        parts[each.target][each.argument] = _value(each, variables[each.name])
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
    """A variable that is set: full name, value, and whether the value is the path of a file that contains it."""

    variable: str
    value: str
    in_file: bool

    def __repr__(self) -> str:
        return f"<{self.variable}>"


def _set_variables(environ: Mapping[str, str]) -> dict[str, _SetVariable]:
    """Variables of the table that are set and not empty, by name without the prefix."""
    by_variable = {each.variable: (each.name, False) for each in VARIABLES}
    by_variable.update({f"{each.variable}_FILE": (each.name, True) for each in VARIABLES if each.secret})
    variables: dict[str, _SetVariable] = {}
    for variable in environ:
        value = environ[variable]
        if not isinstance(variable, str):
            raise ConfigurationError(f"the names of variables must be strings, not {type(variable).__name__}")
        if not value or not variable.upper().startswith(PREFIX):
            continue
        if variable not in by_variable:
            _check_misspelled(variable, by_variable)
            continue
        if not isinstance(value, str):
            raise ConfigurationError(f"{variable} must be a string, not {type(value).__name__}")
        name, in_file = by_variable[variable]
        if name in variables:
            raise ConfigurationError(f"{variables[name].variable} and {variable} are both set; set only one")
        variables[name] = _SetVariable(variable, value, in_file)
    return variables


def _check_misspelled(variable: str, names: Iterable[str]) -> None:
    """Raise if a name is nearly that of a variable of the table. Other names belong to other tools and are ignored."""
    bare = {name[len(PREFIX) :].replace("_", ""): name for name in names}
    close = difflib.get_close_matches(variable.upper()[len(PREFIX) :].replace("_", ""), bare, 1, _MIN_SIMILARITY)
    if close:
        raise ConfigurationError(f"there is no variable {variable}; did you mean {bare[close[0]]}?")


def _scheme(variable: _SetVariable | None) -> str:
    if variable is None:
        return "jwt_shared_secret"
    if variable.value not in SCHEMES:
        close = difflib.get_close_matches(variable.value.lower(), SCHEMES, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigurationError(f"{variable.variable} must be one of {', '.join(SCHEMES)}{hint}")
    return variable.value


def _check_scheme(each: Variable, scheme: str, explicit: bool) -> None:
    if scheme in each.schemes:
        return
    reason = f"is {scheme}" if explicit else f"is not set, which means {scheme}"
    raise ConfigurationError(
        f"{each.variable} is set, but {PREFIX}AUTH {reason}; it is only used with {' and '.join(each.schemes)}"
    )


def _check_required(scheme: str, variables: Mapping[str, _SetVariable]) -> None:
    missing = [name for name in REQUIRED[scheme] if name not in variables]
    if missing:
        secrets = {each.name for each in VARIABLES if each.secret}
        names = [PREFIX + name + (f" (or {PREFIX}{name}_FILE)" if name in secrets else "") for name in missing]
        raise ConfigurationError(f"{PREFIX}AUTH={scheme} requires variables that are not set: {', '.join(names)}")


def _value(each: Variable, variable: _SetVariable) -> Any:
    """Parse the value of a variable."""
    if variable.in_file:
        check_path(variable.variable, variable.value)
        if each.argument == "token":
            # Read again after a 401: a sidecar process may have written a new token.
            _file(variable)
            return lambda: _file(variable)
        return _file(variable)
    if each.parser == "path":
        return check_path(variable.variable, variable.value)
    if each.parser == "list":
        names = [name.strip() for name in variable.value.split(",") if name.strip()]
        check_operations(names, variable.variable)
        return names
    if each.parser == "seconds":
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", variable.value.strip()):
            raise ConfigurationError(f"{variable.variable} must be a number of seconds, for example 5 or 2.5")
        return float(variable.value)
    return variable.value


def _file(variable: _SetVariable) -> str:
    """Read a value from a file, without the line end that editors and ``echo`` append."""
    data = read_file(variable.variable, variable.value, _MAX_FILE_BYTES + 1)
    try:
        value = data.decode("utf-8")
    except UnicodeDecodeError:
        # The error is raised outside the handler: the decoding error contains the content of the file.
        value = ""
    value = value.removesuffix("\n").removesuffix("\r")
    if not value or len(data) > _MAX_FILE_BYTES:
        raise ConfigurationError(
            f"{variable.variable}: the file {variable.value!r} is empty, not UTF-8 text, or larger than "
            f"{_MAX_FILE_BYTES} bytes"
        )
    return value


def _default_mle_from_credentials(mle: dict[str, Any], credentials: Mapping[str, Any], names: dict[str, str]) -> None:
    """Take the certificate and merchant id of message-level encryption from the credentials unless they are set."""
    if "encrypt_requests" in mle and "request_certificate" not in mle:
        if "p12" not in credentials:
            raise ConfigurationError(
                f"{names['encrypt_requests']} is set without {PREFIX}MLE_REQUEST_CERTIFICATE, which it requires"
            )
        mle["request_certificate"] = credentials["p12"]
        mle["request_certificate_password"] = credentials.get("password")
        names["request_certificate"] = names["p12"]
    if "response_key" in mle and "response_kid" not in mle:
        # An explicit kid wins. The file then needs no certificate of the merchant.
        mle["merchant_id"] = credentials.get("portfolio_id") or credentials.get("merchant_id")
