"""``FlexClient.from_merchant_config``: from the official SDK's dictionary to a plan."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from .._paths import check_path
from ..errors import ConfigurationError
from . import merchant_mle
from .merchant_reader import Reader
from .plan import Plan

__all__ = ["read"]

# Constants of early SDKs, which are no hosts and which later ones do not know any more.
_OLD_ENVIRONMENTS: Final = "CyberSource."

_OF_SCHEME: Final = {
    "jwt_shared_secret": ("merchantid", "use_metakey", "portfolio_id", "merchant_keyid", "merchant_secretkey"),
    "http_signature": ("merchantid", "use_metakey", "portfolio_id", "merchant_keyid", "merchant_secretkey"),
    "jwt_p12": ("merchantid", "use_metakey", "portfolio_id", "keys_directory", "key_file_name", "key_password"),
    "bearer": ("access_token",),
}
_JWT_ALONE: Final = ("jwt_key_type", "key_alias")


def read(config: Mapping[str, Any], overridden: frozenset[str] = frozenset()) -> Plan:
    """What the dictionary says. No file is read here.

    Args:
        config: the dictionary.
        overridden: arguments of the client that come from elsewhere. What the dictionary says of them is not looked at.

    Raises:
        ConfigurationError: see ``FlexClient.from_merchant_config``.
    """
    reader = Reader(config)
    reader.note_ignored()
    scheme = None if "auth" in overridden else _scheme(reader)
    credentials = {} if scheme is None else _credentials(reader, scheme)
    options: dict[str, Any] = {"proxy_from_environment": False}
    if "environment" not in overridden:
        options["environment"] = _environment(reader)
    if "intermediate_host" not in overridden and (host := reader.text("IntermediateHost", "intermediate_host")):
        options["intermediate_host"] = host
    if "proxy" not in overridden and (proxy := _proxy(reader)):
        options["proxy"] = proxy
    return Plan(
        scheme=scheme,
        credentials=credentials,
        mle={} if "mle" in overridden else merchant_mle.read(reader, scheme, credentials),
        tls={} if "tls" in overridden else _tls(reader),
        options=options,
        names=reader.names,
        notes=tuple(reader.notes),
    )


def _scheme(reader: Reader) -> str:
    wanted = reader.needed("authentication_type", "it says how requests are signed").lower()
    if wanted == "mutual_auth":
        raise ConfigurationError(
            "authentication_type MUTUAL_AUTH is refused: it sends no credentials with a request, and CyberSource "
            "documents it for the OAuth token endpoint alone; use JWT, with enable_client_cert for a client certificate"
        )
    kinds = {"http_signature": "http_signature", "jwt": "jwt", "oauth": "bearer"}
    if wanted not in kinds:
        raise ConfigurationError("authentication_type must be HTTP_Signature, JWT or OAUTH")
    if kinds[wanted] != "jwt":
        return kinds[wanted]
    kind = (reader.text("jwt_key_type") or "P12").lower()
    if kind not in ("p12", "shared_secret"):
        raise ConfigurationError("jwt_key_type must be P12 or SHARED_SECRET")
    return "jwt_p12" if kind == "p12" else "jwt_shared_secret"


def _credentials(reader: Reader, scheme: str) -> dict[str, Any]:
    everyones = {key for keys in _OF_SCHEME.values() for key in keys}
    foreign = sorted(everyones - set(_OF_SCHEME[scheme]))
    if not scheme.startswith("jwt"):
        foreign += _JWT_ALONE
    kind = reader.text("authentication_type")
    if scheme.startswith("jwt"):
        kind = f"{kind} with {'P12' if scheme == 'jwt_p12' else 'SHARED_SECRET'}"
    reader.note_unused(foreign, f"authentication_type is {kind}")
    if scheme == "bearer":
        reader.names["the access token"] = "access_token"
        return {"token": reader.needed("access_token", "authentication_type is OAUTH", "token")}
    merchant = _merchant(reader)
    out: dict[str, Any] = {"merchant_id": merchant}
    owner = merchant
    if reader.flag("use_metakey"):
        owner = reader.needed("portfolio_id", "use_metakey is on", "portfolio_id")
        out["portfolio_id"] = owner
    else:
        reader.note_unused(["portfolio_id"], "use_metakey is not on")
    alias = reader.text("key_alias")
    if scheme.startswith("jwt") and alias is not None and alias.lower() != owner.lower():
        reader.note("key_alias")
    if scheme == "jwt_p12":
        folder = reader.path("keys_directory") or "resources"
        name = reader.path("key_file_name", "p12") or merchant
        out["p12"] = os.path.join(folder, check_path("key_file_name", name) + ".p12")
        out["password"] = reader.text("key_password", "password") or merchant
    else:
        out["key_id"] = reader.needed("merchant_keyid", f"authentication_type is {kind}", "key_id")
        out["secret_key"] = reader.needed("merchant_secretkey", f"authentication_type is {kind}", "secret_key")
    return out


def _merchant(reader: Reader) -> str:
    right, wrong = reader.text("merchantid", "merchant_id"), reader.text("merchant_id")
    if right is None:
        hint = "; merchant_id is not its name" if wrong else ""
        raise ConfigurationError(f"merchantid is missing: it names the merchant{hint}")
    if wrong is not None and wrong != right:
        raise ConfigurationError("merchantid and merchant_id are both given and differ; leave merchant_id out")
    return right


def _environment(reader: Reader) -> str:
    host = reader.needed("run_environment", "it names the host", "environment")
    reader.names["host"] = "run_environment"
    if host.startswith(_OLD_ENVIRONMENTS):
        raise ConfigurationError(
            f"run_environment {host!r} is a constant of early SDKs and no host; "
            "write apitest.cybersource.com or api.cybersource.com"
        )
    return host


def _proxy(reader: Reader) -> str | None:
    keys = ("proxy_address", "proxy_port", "proxy_username", "proxy_password")
    if not reader.flag("use_proxy"):
        reader.note_unused(keys, "use_proxy is not on")
        return None
    from urllib.parse import quote

    address = reader.needed("proxy_address", "use_proxy is on", "proxy")
    port, user, password = (reader.text(key, number=key == "proxy_port") for key in keys[1:])
    scheme, separator, rest = address.partition("://")
    if scheme.lower() not in ("http", "https") or not separator:
        raise ConfigurationError("proxy_address must begin with http:// or https://")
    if password is not None and user is None:
        raise ConfigurationError("proxy_password without a proxy_username")
    if user is not None:
        if "@" in rest:
            raise ConfigurationError("proxy_address has a user name in it, and proxy_username is given as well")
        rest = f"{quote(user, safe='')}:{quote(password or '', safe='')}@{rest}"
    if port is not None:
        if not port.isdecimal():
            raise ConfigurationError("proxy_port must be a number")
        if ":" in rest.rpartition("@")[2].rpartition("]")[2]:
            raise ConfigurationError("proxy_address has a port in it, and proxy_port is given as well")
        rest = f"{rest.rstrip('/')}:{port}"
    return f"{scheme}://{rest}"


def _tls(reader: Reader) -> dict[str, Any]:
    if not reader.flag("ssl_verify", absent=True):
        raise ConfigurationError(
            "ssl_verify False is refused: whoever is on the way could read and change everything; where something "
            "replaces certificates, pass tls=Tls(ca_file=...) with its authority, and for a test host on a network of "
            "your own tls=Tls(insecure_skip_verification=True)"
        )
    keys = ("client_cert_dir", "ssl_client_cert", "private_key", "ssl_key_password")
    if not reader.flag("enable_client_cert"):
        reader.note_unused(keys, "enable_client_cert is not on")
        return {}
    folder, certificate, key = (reader.needed(name, "enable_client_cert is on") for name in keys[:3])
    reader.names.update(client_certificate="ssl_client_cert", client_key="private_key")
    return {
        "client_certificate": os.path.join(check_path("client_cert_dir", folder), check_path(keys[1], certificate)),
        "client_key": os.path.join(folder, check_path("private_key", key)),
        "client_key_password": reader.text("ssl_key_password", "client_key_password"),
    }
