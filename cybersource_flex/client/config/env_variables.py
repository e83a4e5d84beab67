"""Environment variables of ``FlexClient.from_env``: the table of variables, and a builder from their values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from ..._paths import NOT_TEXT, check_path, decode_text, describe_wrapping, read_file
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
        target: argument of ``ClientBuilder`` that the value is part of: ``credentials``, ``mle``, ``tls`` or
            ``options``. Empty for the scheme.
        argument: name of the argument that the variable sets.
        description: description for the documentation.
        schemes: authentication schemes that use the variable. It is an error to set it with other schemes.
        parser: how the value is parsed: ``string``, ``path``, ``list``, ``seconds`` or ``claim_format``.
        secret: whether the value is a secret. If so, the variable ``<name>_FILE`` can be set instead, to the path of a
            file that contains the value.
        needs: name of another variable that must be set too. None if there is none.
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
    def full_name(self) -> str:
        """The full name, with the prefix."""
        return PREFIX + self.name

    def replaced_by(self, arguments: frozenset[str]) -> bool:
        """Whether one of these client arguments replaces this variable."""
        return self.argument in arguments or {"credentials": "auth"}.get(self.target, self.target) in arguments


VARIABLES: Final = (
    Variable("AUTH", "", "auth", "how requests are signed; `jwt_shared_secret` by default"),
    Variable("ENVIRONMENT", "options", "environment", "`test` (the default), `production`, ... or `https://host`"),
    Variable("MERCHANT_ID", "credentials", "merchant_id", "the merchant", _KEYED),
    Variable(
        "PORTFOLIO_ID", "credentials", "portfolio_id", "for a meta key: the portfolio that created the key", _KEYED
    ),
    Variable("KEY_ID", "credentials", "key_id", "id of the shared secret, a UUID", _SHARED),
    Variable("SECRET_KEY", "credentials", "secret_key", "the shared secret, base64", _SHARED, secret=True),
    Variable("P12_PATH", "credentials", "p12", "path of the P12 file", ("jwt_p12",), "path"),
    Variable("P12_PASSWORD", "credentials", "password", "password of the P12 file", ("jwt_p12",), secret=True),
    Variable("JWT_ALGORITHM", "credentials", "algorithm", "`HS256`, ... or `RS256`, ...", _JWT),
    Variable(
        "JWT_CLAIM_FORMAT",
        "credentials",
        "claim_format",
        "variants of disputed claims, separated by commas: `method_case=lower`, ...",
        _JWT,
        "claim_format",
    ),
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
        "password of the request certificate, if it is a P12",
        _JWT,
        secret=True,
        needs="MLE_REQUEST_CERTIFICATE",
    ),
    Variable(
        "MLE_REQUEST_CERTIFICATE_NAME",
        "mle",
        "request_certificate_name",
        "CN of CyberSource's certificate; `CyberSource_SJC_US` by default",
        _JWT,
        needs="MLE_ENCRYPT_REQUESTS",
    ),
    Variable(
        "MLE_RESPONSE_KEY",
        "mle",
        "response_key",
        "path of the private key that decrypts responses, PEM or P12; if set, encrypted responses are requested",
        _JWT,
        "path",
    ),
    Variable(
        "MLE_RESPONSE_KEY_PASSWORD",
        "mle",
        "response_key_password",
        "password of the response key",
        _JWT,
        secret=True,
        needs="MLE_RESPONSE_KEY",
    ),
    Variable(
        "MLE_RESPONSE_KID",
        "mle",
        "response_kid",
        "id of the response key; a P12 from the Business Center contains it",
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
    Variable(
        "CLIENT_CERTIFICATE",
        "tls",
        "client_certificate",
        "path of the client certificate, PEM, for mutual TLS",
        parser="path",
    ),
    Variable(
        "CLIENT_KEY",
        "tls",
        "client_key",
        "path of the client certificate's private key, PEM, if it is in another file",
        parser="path",
        needs="CLIENT_CERTIFICATE",
    ),
    Variable(
        "CLIENT_KEY_PASSWORD",
        "tls",
        "client_key_password",
        "password of the client certificate's private key",
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

_PATHS: Final = frozenset(variable.name for variable in VARIABLES if variable.parser == "path")
_MAX_FILE_BYTES: Final = 64 * 1024
# An unknown name that is at least this similar to a known one counts as misspelled. Allows one or two wrong letters.
_MIN_SIMILARITY: Final = 0.88


def builder_from_env(environ: Mapping[str, str], overridden: frozenset[str] = frozenset()) -> ClientBuilder:
    """Create a ``ClientBuilder`` from environment variables.

    Files that contain secrets (``..._FILE``) are read here. Certificates and keys are read when the client is built.

    Args:
        environ: the variables.
        overridden: names of client arguments that the caller passes. The variables for these arguments are ignored.

    Raises:
        ConfigurationError: see ``FlexClient.from_env``.
    """
    variables = _read_environ(environ)
    explicit = "AUTH" in variables
    scheme = None if "auth" in overridden else _scheme(variables.pop("AUTH", None))
    parts: dict[str, dict[str, Any]] = {"credentials": {}, "mle": {}, "tls": {}, "options": {}}
    names = {variable.argument: variable.full_name for variable in VARIABLES}
    used = [variable for variable in VARIABLES if variable.name in variables and not variable.replaced_by(overridden)]
    if scheme is not None:
        for variable in used:
            _check_scheme(variable, scheme, explicit)
        _check_required(scheme, variables)
    for variable in used:
        if variable.needs is not None and variable.needs not in variables:
            raise ConfigurationError(f"{variable.full_name} is set without {PREFIX}{variable.needs}, which it requires")
        names[variable.argument] = variables[variable.name].full_name
        parts[variable.target][variable.argument] = _parse(variable, variables[variable.name])
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
    """A variable that is set. If ``in_file``, ``value`` is the path of the file that contains the actual value."""

    full_name: str
    value: str
    in_file: bool

    def __repr__(self) -> str:
        return f"<{self.full_name}>"


def _read_environ(environ: Mapping[str, str]) -> dict[str, _SetVariable]:
    """Return the variables of the table that are set and not empty, by their name without the prefix."""
    names_in_table = {variable.full_name: (variable.name, False) for variable in VARIABLES}
    names_in_table.update(
        {f"{variable.full_name}_FILE": (variable.name, True) for variable in VARIABLES if variable.secret}
    )
    variables: dict[str, _SetVariable] = {}
    for full_name in environ:
        value = environ[full_name]
        if not isinstance(full_name, str):
            raise ConfigurationError(f"the names of variables must be strings, not {type(full_name).__name__}")
        if full_name.startswith("\ufeff" + PREFIX):
            raise ConfigurationError(
                f"there is no variable {full_name!r}: its name begins with a byte order mark (BOM); save the file that "
                "sets it in UTF-8 without BOM"
            )
        if not value or not full_name.upper().startswith(PREFIX):
            continue
        if full_name not in names_in_table:
            _check_misspelled(full_name, names_in_table)
            continue
        if not isinstance(value, str):
            raise ConfigurationError(f"{full_name} must be a string, not {type(value).__name__}")
        name, in_file = names_in_table[full_name]
        # Line ends are removed, because files that set variables may have Windows line ends. A line feed in a path is
        # kept and rejected later: the value is probably the content of the file instead of its path.
        value = value.rstrip("\r" if in_file or name in _PATHS else "\r\n")
        wrapping = describe_wrapping(value)
        if wrapping is not None:
            raise ConfigurationError(f"{full_name} {wrapping}")
        if name in variables:
            raise ConfigurationError(f"{variables[name].full_name} and {full_name} are both set; set only one")
        variables[name] = _SetVariable(full_name, value, in_file)
    return variables


def _check_misspelled(full_name: str, names: Iterable[str]) -> None:
    """Raise an error if a name is similar to one in the table. Ignore other names, which may belong to other tools."""
    normalized = {name[len(PREFIX) :].replace("_", ""): name for name in names}
    normalized_name = full_name.upper()[len(PREFIX) :].replace("_", "")
    close = difflib.get_close_matches(normalized_name, normalized, 1, _MIN_SIMILARITY)
    if close:
        raise ConfigurationError(f"there is no variable {full_name}; did you mean {normalized[close[0]]}?")


def _scheme(setting: _SetVariable | None) -> str:
    if setting is None:
        return "jwt_shared_secret"
    if setting.value not in SCHEMES:
        close = difflib.get_close_matches(setting.value.lower(), SCHEMES, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigurationError(f"{setting.full_name} must be one of {', '.join(SCHEMES)}{hint}")
    return setting.value


def _check_scheme(variable: Variable, scheme: str, explicit: bool) -> None:
    if scheme in variable.schemes:
        return
    reason = f"is {scheme}" if explicit else f"is not set, which means {scheme}"
    raise ConfigurationError(
        f"{variable.full_name} is set, but {PREFIX}AUTH {reason}; it is only used with {' and '.join(variable.schemes)}"
    )


def _check_required(scheme: str, variables: Mapping[str, _SetVariable]) -> None:
    missing = [name for name in REQUIRED[scheme] if name not in variables]
    if missing:
        secrets = {variable.name for variable in VARIABLES if variable.secret}
        names = [PREFIX + name + (f" (or {PREFIX}{name}_FILE)" if name in secrets else "") for name in missing]
        raise ConfigurationError(f"{PREFIX}AUTH={scheme} requires variables that are not set: {', '.join(names)}")


def _parse(variable: Variable, setting: _SetVariable) -> Any:
    """Parse the value of a variable."""
    full_name, value = setting.full_name, setting.value
    if setting.in_file:
        check_path(full_name, value)
        if variable.argument == "token":
            # The signer calls the function again after a 401, because another process may have written a new token.
            _read_secret(setting)
            return lambda: _read_secret(setting)
        return _read_secret(setting)
    if variable.parser == "path":
        return check_path(full_name, value)
    if variable.parser == "list":
        names = [name.strip() for name in value.split(",") if name.strip()]
        check_operations(names, full_name)
        return names
    if variable.parser == "claim_format":
        from ...auth.claim_format import parse_claim_format

        pairs = [entry.partition("=") for entry in value.split(",") if entry.strip()]
        return parse_claim_format(full_name, {key.strip(): choice.strip() for key, _, choice in pairs})
    if variable.parser == "seconds":
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value.strip()):
            raise ConfigurationError(f"{full_name} must be a number of seconds, for example 5 or 2.5")
        return float(value)
    return value


def _read_secret(setting: _SetVariable) -> str:
    """Read a value from a file, without the line ends that editors and ``echo`` append."""
    data = read_file(setting.full_name, setting.value, _MAX_FILE_BYTES + 1)
    content = decode_text(data)
    value = "" if content is None else content.rstrip("\r\n")
    problem = None
    if len(data) > _MAX_FILE_BYTES:
        problem = f"is larger than {_MAX_FILE_BYTES} bytes"
    elif content is None:
        problem = NOT_TEXT
    elif not value:
        problem = "is empty"
    elif "\n" in value or "\r" in value:
        problem = "has more than one line"
    if problem is not None:
        raise ConfigurationError(f"{setting.full_name}: the file {setting.value!r} {problem}")
    return value


def _default_mle_from_credentials(mle: dict[str, Any], credentials: Mapping[str, Any], names: dict[str, str]) -> None:
    """Take the missing certificate and merchant id of message-level encryption from the credentials."""
    if "encrypt_requests" in mle and "request_certificate" not in mle:
        if "p12" not in credentials:
            raise ConfigurationError(
                f"{names['encrypt_requests']} is set without {PREFIX}MLE_REQUEST_CERTIFICATE, which it requires"
            )
        mle["request_certificate"] = credentials["p12"]
        mle["request_certificate_password"] = credentials.get("password")
        names["request_certificate"] = names["p12"]
    if "response_key" in mle and "response_kid" not in mle:
        # The merchant id selects the certificate in the file that contains the kid. Not needed if the kid is set.
        mle["merchant_id"] = credentials.get("portfolio_id") or credentials.get("merchant_id")
