"""The keys of the official Python SDK's configuration dictionary (0.0.80), and the reader of their values."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from ..._credential_detection import is_encoded_secret
from ..._paths import check_path
from ...errors import ConfigurationError

__all__ = ["CONFIG_KEYS", "IGNORED", "OPERATION_NAMES", "REFUSED", "TRANSLATED", "ConfigKey", "ConfigReader"]

TRANSLATED: Final = "translated"
REFUSED: Final = "refused"
IGNORED: Final = "ignored"


class ConfigKey(NamedTuple):
    """How a key of the dictionary is handled.

    Attributes:
        action: ``translated`` (at least some values of the key), ``refused`` with an error, or ``ignored`` with a
            warning.
        detail: the setting that the key is translated to, or the reason why it is not translated.
    """

    action: Literal["translated", "refused", "ignored"]
    detail: str


_LOGGING: Final = ConfigKey(IGNORED, "this package writes no log files; it logs to Python's `logging`")
_POOL: Final = ConfigKey(IGNORED, "each client has its own connection pool; `pool_size` is the limit")
_MLE_BY_NAME: Final = ConfigKey(
    IGNORED,
    "requests are encrypted only if the operation is named: Flex operations in `mapToControlMLEonAPI`, calls of "
    "`client.request` in `encrypt_requests` of `MessageLevelEncryption`",
)

CONFIG_KEYS: Final[dict[str, ConfigKey]] = {
    # Identity and environment.
    "authentication_type": ConfigKey(
        TRANSLATED, "`HTTP_Signature`, `JWT`, `OAUTH`, in any case; `MUTUAL_AUTH` is refused"
    ),
    "run_environment": ConfigKey(TRANSLATED, "`environment`, with or without `https://`"),
    "IntermediateHost": ConfigKey(TRANSLATED, "`intermediate_host`"),
    "merchantid": ConfigKey(TRANSLATED, "`merchant_id` of the signer"),
    "use_metakey": ConfigKey(TRANSLATED, "enables `portfolio_id`; the string `false` is refused"),
    "portfolio_id": ConfigKey(TRANSLATED, "`portfolio_id` of the signer; ignored without `use_metakey`"),
    # Shared secret.
    "merchant_keyid": ConfigKey(TRANSLATED, "`key_id` of the signer"),
    "merchant_secretkey": ConfigKey(TRANSLATED, "`secret_key` of the signer"),
    # JWT.
    "jwt_key_type": ConfigKey(TRANSLATED, "`P12` (the default): `JwtP12`; `SHARED_SECRET`: `JwtSharedSecret`"),
    "keys_directory": ConfigKey(TRANSLATED, "folder of the P12; `resources` by default"),
    "key_file_name": ConfigKey(TRANSLATED, "name of the P12 without `.p12`; the merchant id by default"),
    "key_alias": ConfigKey(IGNORED, "the certificate of the merchant is used; for a meta key, that of the portfolio"),
    "key_password": ConfigKey(TRANSLATED, "password of the P12; the merchant id by default"),
    # Not a key of the official SDK, which has no such setting.
    "claim_format": ConfigKey(
        TRANSLATED, "`claim_format` of the signer: a `JwtClaimFormat`, or a dictionary of its attributes"
    ),
    # OAuth and mutual TLS.
    "access_token": ConfigKey(TRANSLATED, "`BearerToken`"),
    "refresh_token": ConfigKey(IGNORED, "this package does not fetch tokens; `BearerToken` takes a function that does"),
    "client_id": ConfigKey(IGNORED, "this package does not fetch tokens; `BearerToken` takes a function that does"),
    "client_secret": ConfigKey(IGNORED, "this package does not fetch tokens; `BearerToken` takes a function that does"),
    "enable_client_cert": ConfigKey(TRANSLATED, "enables the next four keys; the string `false` is refused"),
    "client_cert_dir": ConfigKey(TRANSLATED, "folder of `ssl_client_cert` and `private_key`"),
    "ssl_client_cert": ConfigKey(TRANSLATED, "`client_certificate` of `Tls`"),
    "private_key": ConfigKey(TRANSLATED, "`client_key` of `Tls`"),
    "ssl_key_password": ConfigKey(TRANSLATED, "`client_key_password` of `Tls`"),
    # Network.
    "use_proxy": ConfigKey(TRANSLATED, "enables the next four keys; the string `false` is refused"),
    "proxy_address": ConfigKey(TRANSLATED, "host of `proxy`"),
    "proxy_port": ConfigKey(TRANSLATED, "port of `proxy`"),
    "proxy_username": ConfigKey(TRANSLATED, "user name in `proxy`; may be left out"),
    "proxy_password": ConfigKey(TRANSLATED, "password in `proxy`; may be left out"),
    "ssl_verify": ConfigKey(
        TRANSLATED, "`True` is the default; `False` is refused: use `tls=Tls(insecure_skip_verification=True)`"
    ),
    "maxPoolSize": _POOL,
    "maxNumIdleConnections": _POOL,
    "maxKeepAliveDelay": _POOL,
    "maxKeepAliveIdleWindow": _POOL,
    "default_headers": ConfigKey(
        REFUSED, "requests would be sent without them; a custom signer can return additional headers"
    ),
    # Message-level encryption.
    "enableRequestMLEForOptionalApisGlobally": _MLE_BY_NAME,
    "useMLEGlobally": _MLE_BY_NAME,
    "disableRequestMLEForMandatoryApisGlobally": _MLE_BY_NAME,
    "mapToControlMLEonAPI": ConfigKey(
        TRANSLATED,
        "`encrypt_requests` and `unencrypted_responses` of `MessageLevelEncryption`; "
        "operations of other APIs are ignored",
    ),
    "mleForRequestPublicCertPath": ConfigKey(TRANSLATED, "`request_certificate`; the P12 by default"),
    "requestMleKeyAlias": ConfigKey(TRANSLATED, "`request_certificate_name`; a PEM file must have this CN as well"),
    "mleKeyAlias": ConfigKey(TRANSLATED, "the older name of `requestMleKeyAlias`"),
    "enableResponseMleGlobally": ConfigKey(TRANSLATED, "requests encrypted responses"),
    "responseMleKID": ConfigKey(TRANSLATED, "`response_kid`"),
    "responseMlePrivateKeyFilePath": ConfigKey(TRANSLATED, "`response_key`; not together with `responseMlePrivateKey`"),
    "responseMlePrivateKeyFilePassword": ConfigKey(TRANSLATED, "`response_key_password`"),
    "responseMlePrivateKey": ConfigKey(TRANSLATED, "`response_key`: an `RSAPrivateKey`, or a JWK of `jwcrypto`"),
    "jwePEMFileDirectory": ConfigKey(IGNORED, "it is for a helper of the official SDK that has been replaced"),
    # Identification.
    "defaultDeveloperId": ConfigKey(IGNORED, "it has no effect on Flex operations"),
    "solution_id": ConfigKey(IGNORED, "no SDK sends it"),
    "isSDK": ConfigKey(IGNORED, "no telemetry is sent"),
    # Logging.
    "log_config": _LOGGING,
    "enable_log": _LOGGING,
    "log_directory": _LOGGING,
    "log_file_name": _LOGGING,
    "log_maximum_size": _LOGGING,
    "log_level": _LOGGING,
    "enable_masking": _LOGGING,
    "log_format": _LOGGING,
    "log_date_format": _LOGGING,
    # Keys of old samples.
    "timeout": ConfigKey(IGNORED, "no SDK reads it; timeouts are `connect_timeout` and `read_timeout`"),
    "request_json_path": ConfigKey(IGNORED, "no SDK reads it"),
    "p12KeyFilePath": ConfigKey(
        IGNORED, "no SDK reads it; the path is built from `keys_directory` and `key_file_name`"
    ),
    "key_file_path": ConfigKey(IGNORED, "no SDK reads it; the path is built from `keys_directory` and `key_file_name`"),
    "merchant_id": ConfigKey(IGNORED, "no SDK reads it; the key is `merchantid`. Refused if the two differ"),
    "url": ConfigKey(IGNORED, "no SDK reads it; `run_environment` names the host"),
    "host_name": ConfigKey(IGNORED, "no SDK reads it; `run_environment` names the host"),
}

#: Method names of the official SDK, with the name of the same operation in this package, None if there is none.
OPERATION_NAMES: Final[dict[str, str | None]] = {
    "generate_flex_api_capture_context": "generate_flex_api_capture_context",
    "generate_capture_context": "generate_capture_context",
    "get_transaction_for_transient_token_jti": "get_payment_details",
    "get_payment_credentials_for_transient_token": "get_payment_credentials",
    "get_transaction_for_transient_token": None,
}

_NAME = re.compile(r"[A-Za-z_]+[0-9]{0,2}[A-Za-z_]*")

# Keys that are ignored in some cases only. The caller of the reader decides whether to warn.
_SOMETIMES_IGNORED = frozenset({"key_alias"})


class ConfigReader:
    """Reads typed values from the dictionary. A key whose value is None or the empty string counts as missing.

    Args:
        config: the dictionary.

    Attributes:
        warnings: one sentence for each ignored key, with the reason.
        setting_names: for each argument, the key that it was read from.

    Raises:
        ConfigurationError: ``config`` is not a dictionary, or has an unknown or refused key.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        if not isinstance(config, Mapping):
            raise ConfigurationError(f"the merchant configuration must be a dictionary, not {type(config).__name__}")
        for key in config:
            if key not in CONFIG_KEYS:
                raise ConfigurationError(_unknown(key))
        self._config = {key: value for key, value in config.items() if value is not None and value != ""}
        self.warnings: list[str] = []
        self.setting_names: dict[str, str] = {}
        for key, value in self._config.items():
            # An empty dictionary has no effect, so it is accepted.
            if CONFIG_KEYS[key].action == REFUSED and value != {}:
                raise ConfigurationError(f"{key} is refused: {CONFIG_KEYS[key].detail}")

    def __repr__(self) -> str:
        return "<ConfigReader>"

    def __contains__(self, key: str) -> bool:
        return key in self._config

    def get(self, key: str) -> Any:
        """Return the value, None if the key is missing."""
        return self._config.get(key)

    def get_str(self, key: str, argument: str | None = None, *, number: bool = False) -> str | None:
        """Return a string, None if the key is missing.

        Args:
            key: the key.
            argument: name of the argument that the value is for, for error messages. None if there is no such argument.
            number: whether to accept an integer too, and convert it to a string.
        """
        value = self._config.get(key)
        if argument is not None:
            self.setting_names[argument] = key
        if value is None:
            return None
        if number and isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 64:
            return str(value)
        if not isinstance(value, str):
            raise ConfigurationError(f"{key} must be a string, not {type(value).__name__}")
        return value

    def require_str(self, key: str, reason: str, argument: str | None = None) -> str:
        """Return a string. Raises ``ConfigurationError`` if the key is missing."""
        value = self.get_str(key, argument)
        if value is None:
            raise ConfigurationError(f"{key} is missing: {reason}")
        return value

    def get_path(self, key: str, argument: str | None = None) -> str | None:
        """Return the path of a file or folder, None if the key is missing."""
        value = self._config.get(key)
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
            self._config[key] = value
        path = self.get_str(key, argument)
        return None if path is None else check_path(key, path)

    def get_bool(self, key: str, *, default: bool = False) -> bool:
        """Return a boolean: True or False, 1 or 0, or the string ``true``.

        The string ``"false"`` is refused because it is ambiguous: for some keys, the official SDK treats every string
        that is not empty as True, including ``"false"``.
        """
        value = self._config.get(key)
        if value is None:
            return default
        if isinstance(value, str) and value.strip().lower() == "true":
            return True
        if isinstance(value, str) and value.strip().lower() == "false":
            raise ConfigurationError(
                f"{key} is the string {value!r}, which the official SDK may treat as True; use a boolean"
            )
        if isinstance(value, (bool, int)) and value in (0, 1):
            return bool(value)
        raise ConfigurationError(f"{key} must be True or False")

    def warn_ignored(self, key: str) -> None:
        """Warn that a key is ignored, with the reason in the table."""
        self.warnings.append(f"{key} is ignored: {CONFIG_KEYS[key].detail}")

    def warn_all_ignored(self) -> None:
        """Warn about every key that is always ignored. The value False needs no warning, because it has no effect."""
        for key, value in self._config.items():
            if CONFIG_KEYS[key].action == IGNORED and key not in _SOMETIMES_IGNORED and value is not False:
                self.warn_ignored(key)

    def warn_unused(self, keys: Iterable[str], reason: str) -> None:
        """Add one warning that names the keys which are set but have no effect."""
        ignored = [key for key in keys if key in self._config]
        if ignored:
            self.warnings.append(f"ignored, since {reason}: {', '.join(ignored)}")


def _unknown(key: Any) -> str:
    if not isinstance(key, str):
        return f"the merchant configuration has a key of type {type(key).__name__}; keys must be strings"
    # Reversed, so that if two keys differ only in case or underscores, the first one is suggested.
    normalized = {name.lower().replace("_", ""): name for name in reversed(CONFIG_KEYS)}
    close = difflib.get_close_matches(key.lower().replace("_", ""), normalized, 1)
    hint = f"; did you mean {normalized[close[0]]!r}?" if close else ""
    # A key that does not look like a name may be a secret value in the wrong place, so it is not shown.
    name = (
        f"an unknown key {key!r}"
        if _NAME.fullmatch(key) and not is_encoded_secret(key, min_length=22)
        else "an unknown key, which is not shown"
    )
    return f"the merchant configuration has {name}{hint}"
