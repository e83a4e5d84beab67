"""Values out of the official SDK's dictionary, by the types that it is known to hold."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from ..._credentials import is_encoded_secret
from ..._paths import check_path
from ...errors import ConfigurationError

__all__ = ["CONFIG_KEYS", "IGNORED", "OPERATION_NAMES", "REFUSED", "TRANSLATED", "ConfigKey", "ConfigReader"]

TRANSLATED: Final = "translated"
REFUSED: Final = "refused"
IGNORED: Final = "ignored"


class ConfigKey(NamedTuple):
    """What becomes of a key.

    Attributes:
        action: ``translated``, also where only some of its values are; ``refused``, with an error; ``ignored``, with a
            warning.
        detail: what it is translated to, or why it is not.
    """

    action: Literal["translated", "refused", "ignored"]
    detail: str


_LOGGING: Final = ConfigKey(IGNORED, "nothing is written to files; what there is to log goes to Python's `logging`")
_POOL: Final = ConfigKey(IGNORED, "connections are pooled for each client; `pool_size` is the limit")
_NO_OPERATION: Final = "no operation of this package is one for which CyberSource makes encrypted requests"

CONFIG_KEYS: Final[dict[str, ConfigKey]] = {
    # Identity and environment.
    "authentication_type": ConfigKey(
        TRANSLATED, "`HTTP_Signature`, `JWT`, `OAUTH`, in any case; `MUTUAL_AUTH` is refused"
    ),
    "run_environment": ConfigKey(TRANSLATED, "`environment`, with or without `https://`"),
    "IntermediateHost": ConfigKey(TRANSLATED, "`intermediate_host`"),
    "merchantid": ConfigKey(TRANSLATED, "`merchant_id` of the signer"),
    "use_metakey": ConfigKey(TRANSLATED, "with it `portfolio_id` counts; the text `false` is refused"),
    "portfolio_id": ConfigKey(TRANSLATED, "`portfolio_id` of the signer; ignored without `use_metakey`"),
    # Shared secret.
    "merchant_keyid": ConfigKey(TRANSLATED, "`key_id` of the signer"),
    "merchant_secretkey": ConfigKey(TRANSLATED, "`secret_key` of the signer"),
    # JWT.
    "jwt_key_type": ConfigKey(TRANSLATED, "`P12` (the default): `JwtP12`; `SHARED_SECRET`: `JwtSharedSecret`"),
    "keys_directory": ConfigKey(TRANSLATED, "folder of the P12; `resources` where it is left out"),
    "key_file_name": ConfigKey(TRANSLATED, "its name without `.p12`; the merchant id where it is left out"),
    "key_alias": ConfigKey(IGNORED, "the certificate is that of the merchant, or with a meta key of the portfolio"),
    "key_password": ConfigKey(TRANSLATED, "its password; the merchant id where it is left out"),
    # OAuth and mutual TLS.
    "access_token": ConfigKey(TRANSLATED, "`BearerToken`"),
    "refresh_token": ConfigKey(IGNORED, "tokens are not fetched here; `BearerToken` takes a function that does"),
    "client_id": ConfigKey(IGNORED, "tokens are not fetched here; `BearerToken` takes a function that does"),
    "client_secret": ConfigKey(IGNORED, "tokens are not fetched here; `BearerToken` takes a function that does"),
    "enable_client_cert": ConfigKey(TRANSLATED, "with it the next four keys count; the text `false` is refused"),
    "client_cert_dir": ConfigKey(TRANSLATED, "folder of the next two"),
    "ssl_client_cert": ConfigKey(TRANSLATED, "`client_certificate` of `Tls`"),
    "private_key": ConfigKey(TRANSLATED, "`client_key` of `Tls`"),
    "ssl_key_password": ConfigKey(TRANSLATED, "`client_key_password` of `Tls`"),
    # Network.
    "use_proxy": ConfigKey(TRANSLATED, "with it the next four keys count; the text `false` is refused"),
    "proxy_address": ConfigKey(TRANSLATED, "host of `proxy`"),
    "proxy_port": ConfigKey(TRANSLATED, "its port"),
    "proxy_username": ConfigKey(TRANSLATED, "user name in `proxy`; may be left out"),
    "proxy_password": ConfigKey(TRANSLATED, "password in `proxy`; may be left out"),
    "ssl_verify": ConfigKey(
        TRANSLATED, "`True` is what is done; `False` is refused: it takes `tls=Tls(insecure_skip_verification=True)`"
    ),
    "maxPoolSize": _POOL,
    "maxNumIdleConnections": _POOL,
    "maxKeepAliveDelay": _POOL,
    "maxKeepAliveIdleWindow": _POOL,
    "default_headers": ConfigKey(
        REFUSED, "requests would go out without them; a signer of your own can add headers to those it returns"
    ),
    # Message-level encryption.
    "enableRequestMLEForOptionalApisGlobally": ConfigKey(
        IGNORED, f"{_NO_OPERATION} optional; `mapToControlMLEonAPI` names them one by one"
    ),
    "useMLEGlobally": ConfigKey(IGNORED, f"{_NO_OPERATION} optional; `mapToControlMLEonAPI` names them one by one"),
    "disableRequestMLEForMandatoryApisGlobally": ConfigKey(IGNORED, f"{_NO_OPERATION} mandatory"),
    "mapToControlMLEonAPI": ConfigKey(
        TRANSLATED,
        "`encrypt_requests` and `plain_responses` of `MessageLevelEncryption`; operations of other APIs are ignored",
    ),
    "mleForRequestPublicCertPath": ConfigKey(TRANSLATED, "`request_certificate`; else it is looked for in the P12"),
    "requestMleKeyAlias": ConfigKey(TRANSLATED, "`request_certificate_name`; a PEM file must have it, too"),
    "mleKeyAlias": ConfigKey(TRANSLATED, "the same, by its older name"),
    "enableResponseMleGlobally": ConfigKey(TRANSLATED, "answers are asked for encrypted"),
    "responseMleKID": ConfigKey(TRANSLATED, "`response_kid`"),
    "responseMlePrivateKeyFilePath": ConfigKey(TRANSLATED, "`response_key`; not together with the key itself"),
    "responseMlePrivateKeyFilePassword": ConfigKey(TRANSLATED, "`response_key_password`"),
    "responseMlePrivateKey": ConfigKey(TRANSLATED, "`response_key`: an `RSAPrivateKey`, or a JWK of `jwcrypto`"),
    "jwePEMFileDirectory": ConfigKey(IGNORED, "it belongs to a helper that has been replaced"),
    # Identification.
    "defaultDeveloperId": ConfigKey(IGNORED, "it has no effect on Flex operations"),
    "solution_id": ConfigKey(IGNORED, "it is sent by no SDK"),
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
    # What old samples carry.
    "timeout": ConfigKey(IGNORED, "it is read by no SDK; timeouts are `connect_timeout` and `read_timeout`"),
    "request_json_path": ConfigKey(IGNORED, "it is read by no SDK"),
    "p12KeyFilePath": ConfigKey(
        IGNORED, "it is read by no SDK; the path is made of `keys_directory` and `key_file_name`"
    ),
    "key_file_path": ConfigKey(
        IGNORED, "it is read by no SDK; the path is made of `keys_directory` and `key_file_name`"
    ),
    "merchant_id": ConfigKey(IGNORED, "it is read by no SDK; the key is `merchantid`. Refused if the two differ"),
    "url": ConfigKey(IGNORED, "it is read by no SDK; `run_environment` names the host"),
    "host_name": ConfigKey(IGNORED, "it is read by no SDK; `run_environment` names the host"),
}

#: Names of the official SDK's methods, and ours for the same operation; None where there is none here.
OPERATION_NAMES: Final[dict[str, str | None]] = {
    "generate_flex_api_capture_context": "generate_flex_api_capture_context",
    "generate_capture_context": "generate_capture_context",
    "get_transaction_for_transient_token_jti": "get_payment_details",
    "get_payment_credentials_for_transient_token": "get_payment_credentials",
    "get_transaction_for_transient_token": None,
}

_NAME = re.compile(r"[A-Za-z_]+[0-9]{0,2}[A-Za-z_]*")

# Ignored in some cases only, which are found elsewhere.
_SOMETIMES_IGNORED = frozenset({"key_alias"})


class ConfigReader:
    """Reads one dictionary. None and the empty text count as a key that is left out.

    Args:
        config: the dictionary.

    Attributes:
        warnings: what is ignored, and why.
        setting_names: the key that an argument was read from.

    Raises:
        ConfigurationError: not a dictionary, or with a key that is unknown or refused.
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
            # Without members it asks for nothing.
            if CONFIG_KEYS[key].action == REFUSED and value != {}:
                raise ConfigurationError(f"{key} is refused: {CONFIG_KEYS[key].detail}")

    def __repr__(self) -> str:
        return "<ConfigReader>"

    def __contains__(self, key: str) -> bool:
        return key in self._config

    def get(self, key: str) -> Any:
        """The value, or None."""
        return self._config.get(key)

    def get_str(self, key: str, argument: str | None = None, *, number: bool = False) -> str | None:
        """A text, or None; with ``number`` also a whole number, as text. ``argument`` is what it is read for."""
        value = self._config.get(key)
        if argument is not None:
            self.setting_names[argument] = key
        if value is None:
            return None
        if number and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise ConfigurationError(f"{key} must be a text, not {type(value).__name__}")
        return value

    def require_str(self, key: str, reason: str, argument: str | None = None) -> str:
        """A text that must be there."""
        value = self.get_str(key, argument)
        if value is None:
            raise ConfigurationError(f"{key} is missing: {reason}")
        return value

    def get_path(self, key: str, argument: str | None = None) -> str | None:
        """The path of a file or a folder, or None."""
        value = self._config.get(key)
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
            self._config[key] = value
        text = self.get_str(key, argument)
        return None if text is None else check_path(key, text)

    def get_bool(self, key: str, *, absent: bool = False) -> bool:
        """True or False, 1 or 0, or the text ``true``.

        The original takes every text that is not empty for True, also ``"false"``, in some keys and not in others. That
        text can be read in two ways and is refused.
        """
        value = self._config.get(key)
        if value is None:
            return absent
        if isinstance(value, str) and value.strip().lower() == "true":
            return True
        if isinstance(value, str) and value.strip().lower() == "false":
            raise ConfigurationError(
                f"{key} is the text {value!r}, which the official SDK may take for True; write True or False, no text"
            )
        if isinstance(value, (bool, int)) and value in (0, 1):
            return bool(value)
        raise ConfigurationError(f"{key} must be True or False")

    def warn_ignored(self, key: str) -> None:
        """Say that a key is ignored, for the reason in the table."""
        self.warnings.append(f"{key} is ignored: {CONFIG_KEYS[key].detail}")

    def warn_all_ignored(self) -> None:
        """Say so of all that are there and always ignored. False asks for nothing, so there is nothing to ignore."""
        for key, value in self._config.items():
            if CONFIG_KEYS[key].action == IGNORED and key not in _SOMETIMES_IGNORED and value is not False:
                self.warn_ignored(key)

    def warn_unused(self, keys: Iterable[str], reason: str) -> None:
        """Say in one sentence that those of these keys that are there do not count."""
        found = [key for key in keys if key in self._config]
        if found:
            self.warnings.append(f"ignored, since {reason}: {', '.join(found)}")


def _unknown(key: Any) -> str:
    if not isinstance(key, str):
        return f"the merchant configuration has a key of type {type(key).__name__}; keys are texts"
    # Where two keys differ in this only, the first is the one that is read.
    alike = {known.lower().replace("_", ""): known for known in reversed(CONFIG_KEYS)}
    close = difflib.get_close_matches(key.lower().replace("_", ""), alike, 1)
    hint = f"; did you mean {alike[close[0]]!r}?" if close else ""
    # A key that is not written as a name may be a value in the wrong place.
    name = (
        f"an unknown key {key!r}"
        if _NAME.fullmatch(key) and not is_encoded_secret(key, at_least=22)
        else "an unknown key, which is not shown"
    )
    return f"the merchant configuration has {name}{hint}"
