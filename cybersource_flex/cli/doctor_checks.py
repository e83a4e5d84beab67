"""What ``doctor`` looks at, one finding after the other. Each looks by itself: what fails is a finding, too."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from ..api.flex_api_api import FlexAPIApi
from ..client import FlexClient, fields
from ..configuration import Configuration
from ..errors import (
    ApiException,
    ConfigurationError,
    ExpiredTokenError,
    FlexError,
    PermissionDeniedError,
    ServerError,
    TokenError,
    TokenNotYetValidError,
    TransportError,
)
from ..transport.tls import certificates_in

if TYPE_CHECKING:
    from cryptography import x509

    from ..auth import JwtP12, MessageLevelEncryption
    from ..client.plan import Plan
    from ..transport import Signer, Tls

__all__ = ["Finding", "examine"]

#: Days before the end of a certificate from which on there is a warning.
SOON: Final = 30
# More certificates than that are a bundle of authorities.
_BUNDLE: Final = 10
_CHAIN: Final = "ask the authority of the client certificate for the one that replaces it"

# The month that CyberSource's release notes of 2026-10-23 name. It is counted to its first day.
_END_OF_HTTP_SIGNATURE: Final = date(2027, 3, 1)

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
_SECRET_BYTES: Final = 32


# Seconds. The service's tolerance is unpublished; a request's JWT lives for 120, and more than a minute is a known
# cause of refusals.
_CLOSE: Final = 5
_FAR: Final = 60

# What a clock that is off means for tokens. Those in a response of the host are accepted by a clock that is behind.
_BEHIND: Final = "tokens from browsers are refused as not yet valid where it is behind by more than the leeway"
_AHEAD: Final = "capture contexts and tokens expire so much earlier here"

# An id that no key has: the answer does not matter, only that there is one.
_NO_KEY: Final = "00"

_WHY_REFUSED: Final = {
    "jwt_shared_secret": (
        "a key of the other environment, test or production; a secret that belongs to another key id or merchant; "
        "a key that has expired or was deactivated in the Business Center; with a meta key a missing portfolio id"
    ),
    "jwt_p12": (
        "a file of the other environment, test or production; a certificate that was deactivated in the Business "
        "Center; a merchant id that is not the certificate's; with a meta key a missing portfolio id"
    ),
    "http_signature": (
        "a key of the other environment, test or production; a secret that belongs to another key id or merchant; "
        "a key that has expired or was deactivated in the Business Center; with a meta key a missing portfolio id; "
        "or the end of HTTP Signature: try jwt_shared_secret"
    ),
    "bearer": "a token that has expired or was revoked, or one of the other environment, test or production",
}

Level = Literal["ok", "warning", "problem"]


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        check: its name, which does not change between versions.
        level: how it is.
        text: what was found, for a person.
        hint: what to do about it, or empty.
        facts: the same for a program.
    """

    check: str
    level: Level
    text: str
    hint: str = ""
    facts: Mapping[str, Any] = {}


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
        yield from _examine_host(unsigned, None if broken else client, str(plan.scheme), send_token=send_token)


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
    days = (_END_OF_HTTP_SIGNATURE - datetime.now(UTC).date()).days
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
    soon = datetime.now(UTC) + timedelta(days=SOON)
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
    days = int((ends - datetime.now(UTC)).total_seconds() // 86400)
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


def _examine_host(
    unsigned: FlexClient, client: FlexClient | None, scheme: str, *, send_token: bool
) -> Iterator[Finding]:
    """Whether the host answers, what its clock says, and whether it accepts a signed request.

    Args:
        unsigned: a client without credentials.
        client: the client with them, or None where it could not be made.
        scheme: name of the scheme.
        send_token: whether an access token may be sent.
    """
    before = time.time()
    try:
        headers: Mapping[str, str] = FlexAPIApi(unsigned.api_client).get_public_key_with_http_info(_NO_KEY).headers
        status = 200
    except ApiException as answer:
        headers, status = answer.headers, answer.status
    except TransportError as cause:
        yield Finding(
            "reachable",
            "problem",
            str(cause),
            "is the host right? Does a firewall want a proxy (CYBERSOURCE_PROXY), or something that replaces "
            "certificates an authority of its own (CYBERSOURCE_CA_FILE)?",
            {"error": type(cause).__name__},
        )
        return
    after = time.time()
    facts = {"status": status, "milliseconds": round((after - before) * 1000)}
    text = f"the host answers, {facts['milliseconds']} ms"
    if status in (404, 200):
        yield Finding("reachable", "ok", text, facts=facts)
    else:
        hint = "it was asked for a public key that does not exist, which gives 404; is it the right host?"
        yield Finding("reachable", "warning", f"{text}, but with {status}", hint, facts)
    yield _clock(headers.get("Date"), (before + after) / 2)
    if client is None:
        return
    if scheme == "bearer" and not send_token:
        yield Finding(
            "signed_request",
            "ok",
            "not tried: an access token is a secret as it stands, and nothing secret is sent",
            "--send-token sends it to the host above",
            {"tried": False},
        )
        return
    yield _signed(client, scheme)


def _clock(text: str | None, now: float) -> Finding:
    try:
        # The header is cut to the second.
        offset = round(now - parsedate_to_datetime(text or "").timestamp() - 0.5)
    except (ValueError, OverflowError):
        return Finding("clock", "warning", "the host does not say what time it is", facts={"offset_seconds": None})
    facts = {"offset_seconds": offset}
    if abs(offset) <= _CLOSE:
        return Finding("clock", "ok", "this machine's clock agrees with the host's", facts=facts)
    where = f"{abs(offset)} s {'ahead of' if offset > 0 else 'behind'}"
    return Finding(
        "clock",
        "problem" if abs(offset) > _FAR else "warning",
        f"this machine's clock is {where} the host's",
        f"set it by NTP: {_AHEAD if offset > 0 else _BEHIND}; and requests carry its time, with which they can be "
        "rejected",
        facts,
    )


def _signed(client: FlexClient, scheme: str) -> Finding:
    """A capture context for one field.

    It holds no data, ends by itself after 15 minutes, costs nothing and can be asked for as often as one likes; and
    only 201 with a JWT that verifies means success. Asking for details of a payment that does not exist would be
    smaller, but the 404 that it gives could come from anything on the way as well.
    """
    try:
        context = client.create_capture_context(fields(card=["number"]))
    except ApiException as cause:
        facts = {
            "tried": True,
            "accepted": False,
            "status": cause.status,
            "reason": cause.reason,
            "correlation_id": cause.correlation_id,
        }
        return Finding("signed_request", "problem", str(cause), _hint(cause, scheme), facts)
    except TokenError as cause:
        text = f"accepted, but the capture context that came back is not to be trusted: {cause}"
        clock = isinstance(cause, (ExpiredTokenError, TokenNotYetValidError))
        hint = "is the clock right?" if clock else "does something on the way answer in the host's name?"
        return Finding("signed_request", "problem", text, hint, {"tried": True, "accepted": True})
    except FlexError as cause:
        return Finding("signed_request", "problem", str(cause), facts={"tried": True, "accepted": None})
    # A clock that is behind sees more time left than there is.
    left = min(context.expires_in(), context.expires_at - context.issued_at)
    text = f"accepted; the capture context verifies and is valid for {max(0, int(left.total_seconds()))} s"
    return Finding("signed_request", "ok", text, facts={"tried": True, "accepted": True, "status": 201})


def _hint(cause: ApiException, scheme: str) -> str:
    told = cause.headers.get("v-c-emulator-refusal")
    if told:
        return f"the emulator says why: {told}"
    if cause.status == 401:
        return f"usual causes: {_WHY_REFUSED.get(scheme, 'the credentials')}; or the clock"
    if isinstance(cause, PermissionDeniedError):
        return "the signature is good, but this merchant or key may not use Flex; ask CyberSource to enable it"
    if isinstance(cause, ServerError):
        return "the service, or a gateway before it, failed; try again, and give CyberSource the correlation id"
    return "is it the right host?"
