"""The keys of the official Python SDK's configuration dictionary (0.0.80), and what becomes of each, as data."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

__all__ = ["IGNORED", "KEYS", "OPERATIONS", "REFUSED", "TRANSLATED", "Treatment"]

TRANSLATED: Final = "translated"
REFUSED: Final = "refused"
IGNORED: Final = "ignored"


class Treatment(NamedTuple):
    """What becomes of a key.

    Attributes:
        how: ``translated``, also where only some of its values are; ``refused``, with an error; ``ignored``, with a
            warning.
        what: what it is translated to, or why it is not.
    """

    how: Literal["translated", "refused", "ignored"]
    what: str


_LOGGING: Final = Treatment(IGNORED, "nothing is written to files; what there is to log goes to Python's `logging`")
_POOL: Final = Treatment(IGNORED, "connections are pooled for each client; `pool_size` is the limit")
_NO_OPERATION: Final = "no operation of this package is one for which CyberSource makes encrypted requests"

KEYS: Final[dict[str, Treatment]] = {
    # Identity and environment.
    "authentication_type": Treatment(
        TRANSLATED, "`HTTP_Signature`, `JWT`, `OAUTH`, in any case; `MUTUAL_AUTH` is refused"
    ),
    "run_environment": Treatment(TRANSLATED, "`environment`, with or without `https://`"),
    "IntermediateHost": Treatment(TRANSLATED, "`intermediate_host`"),
    "merchantid": Treatment(TRANSLATED, "`merchant_id` of the signer"),
    "use_metakey": Treatment(TRANSLATED, "with it `portfolio_id` counts; the text `false` is refused"),
    "portfolio_id": Treatment(TRANSLATED, "`portfolio_id` of the signer; ignored without `use_metakey`"),
    # Shared secret.
    "merchant_keyid": Treatment(TRANSLATED, "`key_id` of the signer"),
    "merchant_secretkey": Treatment(TRANSLATED, "`secret_key` of the signer"),
    # JWT.
    "jwt_key_type": Treatment(TRANSLATED, "`P12` (the default): `JwtP12`; `SHARED_SECRET`: `JwtSharedSecret`"),
    "keys_directory": Treatment(TRANSLATED, "folder of the P12; `resources` where it is left out"),
    "key_file_name": Treatment(TRANSLATED, "its name without `.p12`; the merchant id where it is left out"),
    "key_alias": Treatment(IGNORED, "the certificate is that of the merchant, or with a meta key of the portfolio"),
    "key_password": Treatment(TRANSLATED, "its password; the merchant id where it is left out"),
    # OAuth and mutual TLS.
    "access_token": Treatment(TRANSLATED, "`BearerToken`"),
    "refresh_token": Treatment(IGNORED, "tokens are not fetched here; `BearerToken` takes a function that does"),
    "client_id": Treatment(IGNORED, "tokens are not fetched here; `BearerToken` takes a function that does"),
    "client_secret": Treatment(IGNORED, "tokens are not fetched here; `BearerToken` takes a function that does"),
    "enable_client_cert": Treatment(TRANSLATED, "with it the next four keys count; the text `false` is refused"),
    "client_cert_dir": Treatment(TRANSLATED, "folder of the next two"),
    "ssl_client_cert": Treatment(TRANSLATED, "`client_certificate` of `Tls`"),
    "private_key": Treatment(TRANSLATED, "`client_key` of `Tls`"),
    "ssl_key_password": Treatment(TRANSLATED, "`client_key_password` of `Tls`"),
    # Network.
    "use_proxy": Treatment(TRANSLATED, "with it the next four keys count; the text `false` is refused"),
    "proxy_address": Treatment(TRANSLATED, "host of `proxy`"),
    "proxy_port": Treatment(TRANSLATED, "its port"),
    "proxy_username": Treatment(TRANSLATED, "user name in `proxy`; may be left out"),
    "proxy_password": Treatment(TRANSLATED, "password in `proxy`; may be left out"),
    "ssl_verify": Treatment(
        TRANSLATED, "`True` is what is done; `False` is refused: it takes `tls=Tls(insecure_skip_verification=True)`"
    ),
    "maxPoolSize": _POOL,
    "maxNumIdleConnections": _POOL,
    "maxKeepAliveDelay": _POOL,
    "maxKeepAliveIdleWindow": _POOL,
    "default_headers": Treatment(
        REFUSED, "requests would go out without them; a signer of your own can add headers to those it returns"
    ),
    # Message-level encryption.
    "enableRequestMLEForOptionalApisGlobally": Treatment(
        IGNORED, f"{_NO_OPERATION} optional; `mapToControlMLEonAPI` names them one by one"
    ),
    "useMLEGlobally": Treatment(IGNORED, f"{_NO_OPERATION} optional; `mapToControlMLEonAPI` names them one by one"),
    "disableRequestMLEForMandatoryApisGlobally": Treatment(IGNORED, f"{_NO_OPERATION} mandatory"),
    "mapToControlMLEonAPI": Treatment(
        TRANSLATED,
        "`encrypt_requests` and `plain_responses` of `MessageLevelEncryption`; operations of other APIs are ignored",
    ),
    "mleForRequestPublicCertPath": Treatment(TRANSLATED, "`request_certificate`; else it is looked for in the P12"),
    "requestMleKeyAlias": Treatment(TRANSLATED, "`request_certificate_name`; a PEM file must have it, too"),
    "mleKeyAlias": Treatment(TRANSLATED, "the same, by its older name"),
    "enableResponseMleGlobally": Treatment(TRANSLATED, "answers are asked for encrypted"),
    "responseMleKID": Treatment(TRANSLATED, "`response_kid`"),
    "responseMlePrivateKeyFilePath": Treatment(TRANSLATED, "`response_key`; not together with the key itself"),
    "responseMlePrivateKeyFilePassword": Treatment(TRANSLATED, "`response_key_password`"),
    "responseMlePrivateKey": Treatment(TRANSLATED, "`response_key`: an `RSAPrivateKey`, or a JWK of `jwcrypto`"),
    "jwePEMFileDirectory": Treatment(IGNORED, "it belongs to a helper that has been replaced"),
    # Identification.
    "defaultDeveloperId": Treatment(IGNORED, "it has no effect on Flex operations"),
    "solution_id": Treatment(IGNORED, "it is sent by no SDK"),
    "isSDK": Treatment(IGNORED, "no telemetry is sent"),
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
    "timeout": Treatment(IGNORED, "it is read by no SDK; timeouts are `connect_timeout` and `read_timeout`"),
    "request_json_path": Treatment(IGNORED, "it is read by no SDK"),
    "p12KeyFilePath": Treatment(
        IGNORED, "it is read by no SDK; the path is made of `keys_directory` and `key_file_name`"
    ),
    "key_file_path": Treatment(
        IGNORED, "it is read by no SDK; the path is made of `keys_directory` and `key_file_name`"
    ),
    "merchant_id": Treatment(IGNORED, "it is read by no SDK; the key is `merchantid`. Refused if the two differ"),
    "url": Treatment(IGNORED, "it is read by no SDK; `run_environment` names the host"),
    "host_name": Treatment(IGNORED, "it is read by no SDK; `run_environment` names the host"),
}

#: Names of the official SDK's methods, and ours for the same operation; None where there is none here.
OPERATIONS: Final[dict[str, str | None]] = {
    "generate_flex_api_capture_context": "generate_flex_api_capture_context",
    "generate_capture_context": "generate_capture_context",
    "get_transaction_for_transient_token_jti": "get_payment_details",
    "get_payment_credentials_for_transient_token": "get_payment_credentials",
    "get_transaction_for_transient_token": None,
}
