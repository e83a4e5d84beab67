"""The official SDK's configuration dictionary: a client builder from its values."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ..._environments import ENVIRONMENTS
from ..._paths import check_path
from ...errors import ConfigurationError
from ...transport.hosts import environment_alias
from .client_options import ClientBuilder, signed_operations
from .merchant_config_keys import OPERATION_NAMES, ConfigReader

if TYPE_CHECKING:
    from ...auth import JwtClaimFormat

__all__ = ["builder_from_merchant_config"]

_KEYS_BY_SCHEME: Final = {
    "jwt_shared_secret": ("merchantid", "use_metakey", "portfolio_id", "merchant_keyid", "merchant_secretkey"),
    "http_signature": ("merchantid", "use_metakey", "portfolio_id", "merchant_keyid", "merchant_secretkey"),
    "jwt_p12": ("merchantid", "use_metakey", "portfolio_id", "keys_directory", "key_file_name", "key_password"),
    "bearer": ("access_token",),
}
_JWT_ONLY_KEYS: Final = ("jwt_key_type", "key_alias", "claim_format")


def builder_from_merchant_config(config: Mapping[str, Any], overridden: frozenset[str] = frozenset()) -> ClientBuilder:
    """Create a ``ClientBuilder`` from the official SDK's dictionary. Files are read when the client is built.

    Args:
        config: the dictionary.
        overridden: names of client arguments that the caller passes. The keys for these arguments are ignored.

    Raises:
        ConfigurationError: see ``FlexClient.from_merchant_config``.
    """
    reader = ConfigReader(config)
    reader.warn_all_ignored()
    scheme = None if "auth" in overridden else _scheme(reader)
    credentials = {} if scheme is None else _credentials(reader, scheme)
    options: dict[str, Any] = {"proxy_from_environment": False}
    if "environment" not in overridden:
        options["environment"] = _environment(reader)
    if "intermediate_host" not in overridden and (host := reader.get_str("IntermediateHost", "intermediate_host")):
        options["intermediate_host"] = host
    if "proxy" not in overridden and (proxy := _proxy(reader)):
        options["proxy"] = proxy
    return ClientBuilder(
        scheme=scheme,
        credentials=credentials,
        mle={} if "mle" in overridden else _mle_arguments(reader, scheme, credentials),
        tls={} if "tls" in overridden else _tls(reader),
        options=options,
        setting_names=reader.setting_names,
        warnings=tuple(reader.warnings),
    )


def _scheme(reader: ConfigReader) -> str:
    authentication = reader.require_str("authentication_type", "it selects how requests are signed").lower()
    if authentication == "mutual_auth":
        raise ConfigurationError(
            "authentication_type MUTUAL_AUTH is refused: it sends no credentials with a request, and CyberSource "
            "documents it for the OAuth token endpoint only; use JWT, with enable_client_cert for a client certificate"
        )
    schemes = {"http_signature": "http_signature", "jwt": "jwt", "oauth": "bearer"}
    if authentication not in schemes:
        raise ConfigurationError("authentication_type must be HTTP_Signature, JWT or OAUTH")
    if schemes[authentication] != "jwt":
        return schemes[authentication]
    key_type = (reader.get_str("jwt_key_type") or "P12").lower()
    if key_type not in ("p12", "shared_secret"):
        raise ConfigurationError("jwt_key_type must be P12 or SHARED_SECRET")
    return "jwt_p12" if key_type == "p12" else "jwt_shared_secret"


def _credentials(reader: ConfigReader, scheme: str) -> dict[str, Any]:
    all_keys = {key for keys in _KEYS_BY_SCHEME.values() for key in keys}
    unused = sorted(all_keys - set(_KEYS_BY_SCHEME[scheme]))
    if not scheme.startswith("jwt"):
        unused += _JWT_ONLY_KEYS
    authentication = reader.get_str("authentication_type")
    if scheme.startswith("jwt"):
        authentication = f"{authentication} with {'P12' if scheme == 'jwt_p12' else 'SHARED_SECRET'}"
    reader.warn_unused(unused, f"authentication_type is {authentication}")
    if scheme == "bearer":
        reader.setting_names["the access token"] = "access_token"
        return {"token": reader.require_str("access_token", "authentication_type is OAUTH", "token")}
    merchant = _merchant(reader)
    out: dict[str, Any] = {"merchant_id": merchant}
    owner = merchant
    if reader.get_bool("use_metakey"):
        owner = reader.require_str("portfolio_id", "use_metakey is on", "portfolio_id")
        out["portfolio_id"] = owner
    else:
        reader.warn_unused(["portfolio_id"], "use_metakey is not on")
    alias = reader.get_str("key_alias")
    if scheme.startswith("jwt") and alias is not None and alias.lower() != owner.lower():
        reader.warn_ignored("key_alias")
    if scheme.startswith("jwt") and "claim_format" in reader:
        out["claim_format"] = _claim_format(reader.get("claim_format"))
    if scheme == "jwt_p12":
        folder = reader.get_path("keys_directory") or "resources"
        name = reader.get_path("key_file_name", "p12") or merchant
        out["p12"] = os.path.join(folder, check_path("key_file_name", name) + ".p12")
        out["password"] = reader.get_str("key_password", "password") or merchant
    else:
        out["key_id"] = reader.require_str("merchant_keyid", f"authentication_type is {authentication}", "key_id")
        out["secret_key"] = reader.require_str(
            "merchant_secretkey", f"authentication_type is {authentication}", "secret_key"
        )
    return out


def _claim_format(value: Any) -> JwtClaimFormat:
    from ...auth.claim_format import check_claim_format, parse_claim_format

    if isinstance(value, Mapping):
        return parse_claim_format("claim_format", value)
    return check_claim_format(value)


def _merchant(reader: ConfigReader) -> str:
    merchant, misnamed = reader.get_str("merchantid", "merchant_id"), reader.get_str("merchant_id")
    if merchant is None:
        hint = "; the key is not called merchant_id" if misnamed else ""
        raise ConfigurationError(f"merchantid is missing: it names the merchant{hint}")
    if misnamed is not None and misnamed != merchant:
        raise ConfigurationError("merchantid and merchant_id are both set and differ; remove merchant_id")
    return merchant


def _environment(reader: ConfigReader) -> str:
    host = reader.require_str("run_environment", "it names the host", "environment")
    reader.setting_names["host"] = "run_environment"
    environment = environment_alias(host)
    if environment is not None and host not in ENVIRONMENTS:
        # Constants such as CyberSource.Environment.SANDBOX are from early SDKs; later SDKs do not accept them either.
        expected = ENVIRONMENTS[environment].removeprefix("https://")
        raise ConfigurationError(f"run_environment {host!r} is not a host; did you mean {expected!r}?")
    return host


def _proxy(reader: ConfigReader) -> str | None:
    keys = ("proxy_address", "proxy_port", "proxy_username", "proxy_password")
    if not reader.get_bool("use_proxy"):
        reader.warn_unused(keys, "use_proxy is not on")
        return None
    from urllib.parse import quote

    address = reader.require_str("proxy_address", "use_proxy is on", "proxy")
    port, user, password = (reader.get_str(key, number=key == "proxy_port") for key in keys[1:])
    scheme, separator, rest = address.partition("://")
    if scheme.lower() not in ("http", "https") or not separator:
        raise ConfigurationError("proxy_address must begin with http:// or https://")
    if password is not None and user is None:
        raise ConfigurationError("proxy_password is set without proxy_username; set both")
    if user is not None:
        if any("\ud800" <= char <= "\udfff" for char in f"{user}{password or ''}"):
            raise ConfigurationError(
                "proxy_username or proxy_password contains a lone surrogate, which is not a character"
            )
        if "@" in rest:
            raise ConfigurationError("proxy_address contains a user name, but proxy_username is set too; set only one")
        rest = f"{quote(user, safe='')}:{quote(password or '', safe='')}@{rest}"
    if port is not None:
        if not port.isdecimal():
            raise ConfigurationError("proxy_port must be a number")
        if ":" in rest.rpartition("@")[2].rpartition("]")[2]:
            raise ConfigurationError("proxy_address contains a port, but proxy_port is set too; set only one")
        rest = f"{rest.rstrip('/')}:{port}"
    return f"{scheme}://{rest}"


def _tls(reader: ConfigReader) -> dict[str, Any]:
    if not reader.get_bool("ssl_verify", default=True):
        raise ConfigurationError(
            "ssl_verify False is refused: an attacker on the network could read and change all traffic; if a proxy "
            "replaces certificates, pass its CA as tls=Tls(ca_file=...); for a test host on a private network, pass "
            "tls=Tls(insecure_skip_verification=True)"
        )
    keys = ("client_cert_dir", "ssl_client_cert", "private_key", "ssl_key_password")
    if not reader.get_bool("enable_client_cert"):
        reader.warn_unused(keys, "enable_client_cert is not on")
        return {}
    folder, certificate, key = (reader.require_str(name, "enable_client_cert is on") for name in keys[:3])
    reader.setting_names.update(client_certificate="ssl_client_cert", client_key="private_key")
    return {
        "client_certificate": os.path.join(check_path("client_cert_dir", folder), check_path(keys[1], certificate)),
        "client_key": os.path.join(folder, check_path("private_key", key)),
        "client_key_password": reader.get_str("ssl_key_password", "client_key_password"),
    }


_REQUEST_MLE_KEYS: Final = ("mleForRequestPublicCertPath", "requestMleKeyAlias", "mleKeyAlias")
_RESPONSE_MLE_KEYS: Final = (
    "responseMleKID",
    "responseMlePrivateKeyFilePath",
    "responseMlePrivateKeyFilePassword",
    "responseMlePrivateKey",
)
# An unknown name that is at least this similar to a known one counts as misspelled.
_MIN_SIMILARITY: Final = 0.9


def _mle_arguments(reader: ConfigReader, scheme: str | None, credentials: Mapping[str, Any]) -> dict[str, Any]:
    """Read the arguments of ``MessageLevelEncryption``. Empty if the dictionary does not configure it.

    Args:
        reader: the dictionary.
        scheme: the authentication scheme, None if the caller passes the signer.
        credentials: arguments of the signer.

    Raises:
        ConfigurationError: a value is wrong, missing or ambiguous.
    """
    _check_global_mle_keys(reader, scheme)
    default = reader.get_bool("enableResponseMleGlobally")
    encrypted_requests: set[str] = set()
    encrypted_responses = dict.fromkeys(signed_operations(), default)
    for name, (request, response) in _mle_per_operation(reader).items():
        if request:
            encrypted_requests.add(name)
        if response is not None:
            encrypted_responses[name] = response
    if (encrypted_requests or any(encrypted_responses.values())) and scheme in ("http_signature", "bearer"):
        raise ConfigurationError("message-level encryption needs authentication_type JWT")
    out: dict[str, Any] = {}
    if encrypted_requests:
        out["encrypt_requests"] = sorted(encrypted_requests)
        out.update(_request_encryption(reader, credentials))
    else:
        reader.warn_unused(_REQUEST_MLE_KEYS, "mapToControlMLEonAPI names no request to encrypt")
    if any(encrypted_responses.values()):
        out["unencrypted_responses"] = sorted(name for name, encrypt in encrypted_responses.items() if not encrypt)
        out.update(_response_encryption(reader, credentials))
    else:
        reader.warn_unused(_RESPONSE_MLE_KEYS, "no encrypted responses are requested")
    return out


def _check_global_mle_keys(reader: ConfigReader, scheme: str | None) -> None:
    """Check the keys that switch request encryption for all operations. Valid values have no effect."""
    new, old = "enableRequestMLEForOptionalApisGlobally", "useMLEGlobally"
    values = [reader.get_bool(name) for name in (new, old) if name in reader]
    if len(set(values)) > 1:
        raise ConfigurationError(f"{new} and {old} are both set and differ; remove {old}")
    if any(values) and scheme in ("http_signature", "bearer"):
        name = new if new in reader else old
        raise ConfigurationError(f"{name} needs authentication_type JWT")
    reader.get_bool("disableRequestMLEForMandatoryApisGlobally")


def _mle_per_operation(reader: ConfigReader) -> dict[str, tuple[bool | None, bool | None]]:
    """Read ``mapToControlMLEonAPI``: whether request and response of each operation are encrypted."""
    key = "mapToControlMLEonAPI"
    control = reader.get(key)
    if control is None:
        return {}
    if not isinstance(control, Mapping):
        raise ConfigurationError(f"{key} must be a dictionary, not {type(control).__name__}")
    out = {}
    other_apis = []
    for name, value in control.items():
        if not isinstance(name, str):
            raise ConfigurationError(f"{key} has a key of type {type(name).__name__}; keys are names of methods")
        flags = _parse_request_response_flags(f"{key}[{name!r}]", value)
        operation = OPERATION_NAMES.get(name)
        if operation is not None:
            out[operation] = flags
            continue
        close = [] if name in OPERATION_NAMES else difflib.get_close_matches(name, OPERATION_NAMES, 1, _MIN_SIMILARITY)
        if close:
            raise ConfigurationError(f"{key} names {name!r}; did you mean {close[0]!r}?")
        other_apis.append(name)
    if other_apis:
        reader.warnings.append(
            f"ignored in {key}, since these operations belong to other APIs: {', '.join(other_apis)}; to encrypt "
            "them in calls of request, pass mle with encrypt_requests=['POST /a/path']"
        )
    return out


def _parse_request_response_flags(setting: str, value: Any) -> tuple[bool | None, bool | None]:
    """Parse ``True`` or ``"request::response"``, such as ``"true::false"`` or ``"::true"``. None for a missing part."""
    if isinstance(value, bool):
        return value, None
    if isinstance(value, str):
        words = {"true": True, "false": False}
        request, separator, response = (part.strip().lower() for part in value.partition("::"))
        allowed = (*words, "") if separator else tuple(words)
        if request in allowed and response in (*words, ""):
            return words.get(request), words.get(response)
    raise ConfigurationError(f"{setting} must be True, False or a string such as 'true::false'")


def _request_encryption(reader: ConfigReader, credentials: Mapping[str, Any]) -> dict[str, Any]:
    """Read the certificate that requests are encrypted to."""
    out: dict[str, Any] = {}
    new, old = (reader.get_str(key, "request_certificate_name") for key in ("requestMleKeyAlias", "mleKeyAlias"))
    if new is not None and old is not None and new != old:
        raise ConfigurationError("requestMleKeyAlias and mleKeyAlias are both set and differ; remove mleKeyAlias")
    if new is not None or old is not None:
        out["request_certificate_name"] = new or old
    path = reader.get_path("mleForRequestPublicCertPath", "request_certificate")
    if path is not None:
        return {**out, "request_certificate": path}
    if "p12" not in credentials:
        raise ConfigurationError(
            "mleForRequestPublicCertPath is missing: mapToControlMLEonAPI names a request to encrypt, and no P12 with "
            "the certificate is configured"
        )
    reader.setting_names["request_certificate"] = "key_file_name"
    return {
        **out,
        "request_certificate": credentials["p12"],
        "request_certificate_password": credentials["password"],
    }


def _response_encryption(reader: ConfigReader, credentials: Mapping[str, Any]) -> dict[str, Any]:
    """Read the private key that decrypts responses."""
    path = reader.get_path("responseMlePrivateKeyFilePath", "response_key")
    key = reader.get("responseMlePrivateKey")
    if path is not None and key is not None:
        raise ConfigurationError("responseMlePrivateKeyFilePath and responseMlePrivateKey are both set; set only one")
    if path is None and key is None:
        raise ConfigurationError("responseMlePrivateKeyFilePath is missing: encrypted responses are requested")
    out: dict[str, Any] = {"response_kid": reader.get_str("responseMleKID", "response_kid")}
    password = reader.get_str("responseMlePrivateKeyFilePassword", "response_key_password")
    if key is not None:
        reader.setting_names["response_key"] = "responseMlePrivateKey"
        out["response_key"] = _private_key(key)
        if password is not None:
            reader.warn_unused(["responseMlePrivateKeyFilePassword"], "responseMlePrivateKey is set")
        return out
    out["response_key"], out["response_key_password"] = path, password
    if out["response_kid"] is None:
        # The merchant id selects the certificate in the file that contains the kid. Not needed if the kid is set.
        out["merchant_id"] = credentials.get("portfolio_id") or credentials.get("merchant_id")
    return out


def _private_key(key: Any) -> Any:
    """Return an RSA private key unchanged, or a JWK of ``jwcrypto`` as PEM. Does not import ``jwcrypto``."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if isinstance(key, RSAPrivateKey):
        return key
    pem = None
    if callable(getattr(key, "export_to_pem", None)):
        with suppress(*_jwcrypto_errors()):
            pem = key.export_to_pem(private_key=True, password=None)
    if not isinstance(pem, bytes):
        raise ConfigurationError("responseMlePrivateKey must be an RSAPrivateKey or a private RSA JWK of jwcrypto")
    return pem


def _jwcrypto_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that jwcrypto raises for a public key.

    Does not import jwcrypto. A caller who passes a JWK of jwcrypto has already imported it.
    """
    common = sys.modules.get("jwcrypto.common")
    return (ValueError,) if common is None else (ValueError, common.JWException)
