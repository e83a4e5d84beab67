"""The environment variables that ``FlexClient.from_env`` reads, as data."""

from __future__ import annotations

from typing import Final, NamedTuple

from .plan import SCHEMES

__all__ = ["PREFIX", "REQUIRED", "VARIABLES", "Variable"]

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
        part: what it is an argument of: ``credentials``, ``mle``, ``tls`` or ``options``; empty for the scheme.
        argument: name of the argument.
        meaning: what it says.
        schemes: the schemes with which it may be set.
        kind: how its text is read: ``text``, ``path``, ``list`` or ``seconds``.
        secret: whether its value is a secret. Then ``<name>_FILE`` may name a file that holds it instead.
        needs: another variable without which it means nothing.
    """

    name: str
    part: str
    argument: str
    meaning: str
    schemes: tuple[str, ...] = _ALL
    kind: str = "text"
    secret: bool = False
    needs: str | None = None

    @property
    def variable(self) -> str:
        """The whole name."""
        return PREFIX + self.name

    def replaced_by(self, arguments: frozenset[str]) -> bool:
        """Whether one of these arguments of the client stands in for it."""
        return self.argument in arguments or {"credentials": "auth"}.get(self.part, self.part) in arguments


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
    Variable("CA_FILE", "tls", "ca_file", "path of a PEM file with the authorities to trust", kind="path"),
    Variable("CLIENT_CERTIFICATE", "tls", "client_certificate", "path of a PEM file, for mutual TLS", kind="path"),
    Variable(
        "CLIENT_KEY",
        "tls",
        "client_key",
        "path of its key, PEM, where it is not in the same file",
        kind="path",
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
    Variable("CONNECT_TIMEOUT", "options", "connect_timeout", "seconds; 5 where it is not set", kind="seconds"),
    Variable("READ_TIMEOUT", "options", "read_timeout", "seconds; 30 where it is not set", kind="seconds"),
    Variable("IDLE_TIMEOUT", "options", "idle_timeout", "seconds; 15 where it is not set", kind="seconds"),
    Variable("LEEWAY", "options", "leeway", "seconds that clocks may differ; 30 where it is not set", kind="seconds"),
    Variable("USER_AGENT_SUFFIX", "options", "user_agent_suffix", "added to the `User-Agent` header"),
)

#: What each scheme cannot do without.
REQUIRED: Final = {
    "jwt_shared_secret": ("MERCHANT_ID", "KEY_ID", "SECRET_KEY"),
    "http_signature": ("MERCHANT_ID", "KEY_ID", "SECRET_KEY"),
    "jwt_p12": ("MERCHANT_ID", "P12_PATH", "P12_PASSWORD"),
    "bearer": ("ACCESS_TOKEN",),
}
