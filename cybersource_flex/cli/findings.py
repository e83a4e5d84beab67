"""What ``doctor`` looks at, one finding after the other. Each looks by itself: what fails is a finding, too."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

from ..client import FlexClient
from ..configuration import Configuration
from ..errors import ConfigurationError
from ..transport.tls import certificates_in
from . import network
from .finding import Finding, Level

if TYPE_CHECKING:
    from cryptography import x509

    from ..auth import JwtP12, MessageLevelEncryption
    from ..client.plan import Plan
    from ..transport import Signer, Tls

__all__ = ["examine"]

#: Days before the end of a certificate from which on there is a warning.
SOON: Final = 30
# More certificates than that are a bundle of authorities.
_BUNDLE: Final = 10
_CHAIN: Final = "ask the authority of the client certificate for the one that replaces it"

# The month that CyberSource's release notes of 2026-10-23 name. It is counted to its first day.
_END_OF_HTTP_SIGNATURE: Final = date(2027, 3, 1)

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
_SECRET_BYTES: Final = 32


def examine(plan: Plan, *, offline: bool, send_token: bool) -> Iterator[Finding]:
    """All findings about a configuration.

    Args:
        plan: the configuration.
        offline: leave out what needs the host.
        send_token: let an access token, which is a secret as it stands, go to the host.
    """
    for note in plan.notes:
        yield Finding("configuration", "warning", note)
    signer = mle = tls = None
    broken = ""
    try:
        with warnings.catch_warnings():
            # It is a finding here.
            warnings.simplefilter("ignore", DeprecationWarning)
            signer = plan.signer()
    except ConfigurationError as cause:
        broken = str(cause)
    yield from _scheme(plan, signer)
    if broken:
        yield Finding("credentials", "problem", broken)
    if signer is not None:
        yield from _credentials(plan, signer)
    try:
        mle = plan.encryption()
        if mle is not None:
            yield from _encryption(mle)
    except ConfigurationError as cause:
        broken = str(cause)
        yield Finding("mle", "problem", broken)
    try:
        tls = plan.tls()
        if tls is not None:
            yield from _tls(tls)
    except ConfigurationError as cause:
        yield Finding("tls", "problem", str(cause))
        return
    try:
        unsigned = plan.make(FlexClient, {"auth": None, "mle": None, "tls": tls})
        client = unsigned if broken else plan.make(FlexClient, {"auth": signer, "mle": mle, "tls": tls})
    except ConfigurationError as cause:
        yield Finding("client", "problem", str(cause))
        return
    yield from _host(unsigned)
    if offline:
        return
    with unsigned, client:
        yield from network.examine(unsigned, None if broken else client, str(plan.scheme), send_token=send_token)


def _scheme(plan: Plan, signer: Signer | None) -> Iterator[Finding]:
    facts: dict[str, Any] = {"scheme": plan.scheme}
    whose = ""
    for name in ("merchant_id", "portfolio_id"):
        facts[name] = getattr(signer, name, None)
        if facts[name] is not None:
            whose += f", {name.removesuffix('_id')} {facts[name]!r}"
    if plan.scheme != "http_signature":
        yield Finding("scheme", "ok", f"{plan.scheme}{whose}", facts=facts)
        return
    days = (_END_OF_HTTP_SIGNATURE - datetime.now(timezone.utc).date()).days
    when = f"{days} days from now" if days > 0 else f"{-days} days ago"
    yield Finding(
        "scheme",
        "warning",
        f"{plan.scheme}{whose}; CyberSource retires HTTP Signature in March 2027, {when}",
        "jwt_shared_secret takes the same key id and secret; in a merchant configuration that is authentication_type "
        "JWT with jwt_key_type SHARED_SECRET",
        {**facts, "ends": _END_OF_HTTP_SIGNATURE.strftime("%Y-%m"), "days": days},
    )


def _credentials(plan: Plan, signer: Signer) -> Iterator[Finding]:
    key_id = getattr(signer, "key_id", None)
    if plan.scheme == "jwt_p12":
        yield from _certificate(signer)  # type: ignore[arg-type]
    elif key_id is not None:
        # One that is none is not shown: it may be the secret, in the wrong place.
        if _UUID.fullmatch(key_id):
            yield Finding("key_id", "ok", f"{key_id}, a UUID", facts={"shape": "uuid", "key_id": key_id})
        else:
            yield Finding(
                "key_id",
                "warning",
                f"not a UUID, but a text of {len(key_id)} characters",
                "the Business Center shows key id and shared secret side by side; were they exchanged?",
                {"shape": "other", "key_id": None},
            )
    length = plan.secret_bytes()
    if length is not None:
        right = length == _SECRET_BYTES
        yield Finding(
            "secret",
            "ok" if right else "warning",
            f"base64 of {length} bytes",
            "" if right else f"secrets of the Business Center have {_SECRET_BYTES}; was it copied as a whole?",
            {"bytes": length},
        )


def _certificate(signer: JwtP12) -> Iterator[Finding]:
    right = re.fullmatch(r"[0-9]{22}", signer.key_id) is not None
    yield Finding(
        "key_id",
        "ok" if right else "warning",
        f"{signer.key_id}, {'22 digits' if right else 'not 22 digits'}",
        "" if right else "is it a file from the Business Center?",
        {"shape": "22 digits" if right else "other", "key_id": signer.key_id},
    )
    subject = _subject(signer.certificate)
    yield _expiry("certificate", f"subject {subject}", signer.expires_at, {"subject": subject})


def _encryption(mle: MessageLevelEncryption) -> Iterator[Finding]:
    renew = "download the certificate anew from the Business Center"
    if mle.request_certificate_expires_at is not None:
        yield _expiry("mle_request", "certificate to encrypt to", mle.request_certificate_expires_at, {}, renew)
    if mle.response_kid is None:
        return
    what, facts = f"answers encrypted to the key {mle.response_kid}", {"kid": mle.response_kid}
    if mle.response_certificate_expires_at is not None:
        yield _expiry("mle_response", what, mle.response_certificate_expires_at, facts, renew)
    else:
        yield Finding("mle_response", "ok", f"{what}; when that ends says the Business Center alone", facts=facts)


def _tls(tls: Tls) -> Iterator[Finding]:
    if tls.insecure_skip_verification:
        yield Finding("tls", "warning", "certificates are not verified")
    if tls.ca_file is not None:
        yield _authorities(certificates_in(tls.ca_file))
    if tls.client_certificate is None:
        return
    found = certificates_in(tls.client_certificate)
    if not found:
        text = "its end cannot be read: it is in a form that only OpenSSL knows"
        yield Finding("client_certificate", "warning", text)
        return
    subject = _subject(found[0])
    yield _expiry("client_certificate", f"subject {subject}", found[0].not_valid_after_utc, {"subject": subject})
    for each in found[1:]:
        subject = _subject(each)
        ends = each.not_valid_after_utc
        finding = _expiry("client_certificate_chain", f"subject {subject}", ends, {"subject": subject}, _CHAIN)
        # No problem for certain: a host may know another way from the client certificate to its authority.
        yield finding._replace(level="warning") if finding.level == "problem" else finding


def _authorities(found: list[x509.Certificate]) -> Finding:
    """The certificates in ``ca_file``. One of which none is valid has been refused."""
    if not found:
        text = "its certificates are in a form that only OpenSSL knows; when they end cannot be read"
        return Finding("ca_file", "warning", text)
    by_end = sorted(found, key=lambda each: each.not_valid_after_utc)
    soon = datetime.now(timezone.utc) + timedelta(days=SOON)
    ending = [each for each in by_end if each.not_valid_after_utc < soon]
    facts = {
        "certificates": len(found),
        "ending": len(ending),
        "expires_at": by_end[0].not_valid_after_utc.isoformat(),
    }
    amount = f"{len(found)} certificate{'' if len(found) == 1 else 's'}"
    # A bundle for the whole web always has some.
    if ending and len(found) <= _BUNDLE:
        first = _expiry("ca_file", f"{amount}; subject {_subject(ending[0])}", ending[0].not_valid_after_utc, facts)
        return first._replace(level="warning", hint="ask whoever issued it for the one that replaces it")
    return Finding("ca_file", "ok", f"{amount}, {len(ending)} of which ended or end within {SOON} days", facts=facts)


def _subject(certificate: x509.Certificate) -> str:
    from cryptography.x509.oid import NameOID

    # RFC 4514 has no name for the attribute that is the key id.
    return certificate.subject.rfc4514_string({NameOID.SERIAL_NUMBER: "serialNumber"})


def _expiry(
    check: str, what: str, ends: datetime, facts: Mapping[str, Any], hint: str = "make a new one in time"
) -> Finding:
    days = int((ends - datetime.now(timezone.utc)).total_seconds() // 86400)
    when = f"ends on {ends:%Y-%m-%d}, in {days} days" if days >= 0 else f"ended on {ends:%Y-%m-%d}"
    level: Level = "problem" if days < 0 else "warning" if days < SOON else "ok"
    return Finding(
        check,
        level,
        f"{what}; {when}",
        "" if level == "ok" else hint,
        {**facts, "expires_at": ends.isoformat(), "days": days},
    )


def _host(client: FlexClient) -> Iterator[Finding]:
    settings = client.api_client.configuration
    name = next((name for name, host in Configuration.ENVIRONMENTS.items() if host == settings.host), None)
    text = settings.host if name is None else f"{settings.host}, {name}"
    if settings.intermediate_host is not None:
        text += f", connected to by way of {settings.intermediate_host}"
    proxy = None if settings.proxy is None else settings.proxy.url
    if proxy is not None:
        text += f", through the proxy {proxy}"
    facts = {
        "host": settings.host,
        "environment": name,
        "intermediate_host": settings.intermediate_host,
        "proxy": proxy,
    }
    yield Finding("host", "ok", text, facts=facts)
