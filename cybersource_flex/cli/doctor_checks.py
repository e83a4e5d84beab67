"""The checks of ``doctor``: credentials, certificates, TLS, host, clock and a signed request. Each yields findings."""

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
from ..errors import (
    ApiException,
    ConfigurationError,
    ConnectionBrokenError,
    ExpiredTokenError,
    FlexError,
    PermissionDeniedError,
    ResponseDecodingError,
    ServerError,
    TokenError,
    TokenNotYetValidError,
    TransportError,
)
from ..transport.configuration import Configuration
from ..transport.tls import certificates_in

if TYPE_CHECKING:
    from cryptography import x509

    from ..auth import JwtP12, MessageLevelEncryption
    from ..client.config.client_options import ClientBuilder
    from ..transport import Signer, Tls

__all__ = ["Finding", "run_checks"]

# A certificate that expires within this number of days gives a warning.
_EXPIRY_WARNING_DAYS: Final = 30
# A file with more certificates than this is taken for a CA bundle of the public web.
_MAX_CERTIFICATES: Final = 10
_RENEW_CHAIN: Final = "ask the CA of the client certificate for a new intermediate certificate"

# CyberSource's release notes of 2026-10-23 name only the month, so days are counted to the first day of the month.
_END_OF_HTTP_SIGNATURE: Final = date(2027, 3, 1)

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
_SECRET_BYTES: Final = 32


# Clock differences in seconds. The service's tolerance is not published. The JWT of a request is valid for 120 s, and
# more than a minute is a known cause of rejected requests.
_CLOCK_OK: Final = 5
_CLOCK_WARNING: Final = 60

# Effects of a wrong clock on tokens. Tokens in a response of the host are accepted even if the local clock is behind.
_CLOCK_BEHIND: Final = (
    "tokens from browsers are rejected as not yet valid if the clock is behind by more than the leeway"
)
_CLOCK_AHEAD: Final = "if the clock is ahead, capture contexts and tokens expire too early"

# The id of a key that does not exist. The check needs only a response, of any status.
_UNKNOWN_KEY_ID: Final = "00"

_NOT_THE_HOST: Final = (
    "does something else respond instead of the host: a proxy, a firewall, or the login page of a network? Is the host "
    "correct?"
)

_NO_ENCRYPTED_RESPONSE: Final = (
    "if this happens every time, leave out the request for an encrypted response: with unencrypted_responses, with "
    "CYBERSOURCE_MLE_UNENCRYPTED_RESPONSES, or with '::false' in mapToControlMLEonAPI"
)

_CAUSES_OF_401: Final = {
    "jwt_shared_secret": (
        "a key of the other environment, test or production; a secret that belongs to another key id or merchant; "
        "a key that has expired or was deactivated in the Business Center; a meta key without its portfolio id"
    ),
    "jwt_p12": (
        "a file of the other environment, test or production; a certificate that was deactivated in the Business "
        "Center; a merchant id that does not match the certificate; a meta key without its portfolio id"
    ),
    "http_signature": (
        "a key of the other environment, test or production; a secret that belongs to another key id or merchant; "
        "a key that has expired or was deactivated in the Business Center; a meta key without its portfolio id; "
        "or the end of HTTP Signature support: try jwt_shared_secret"
    ),
    "bearer": "a token that has expired or was revoked; a token of the other environment, test or production",
}

Level = Literal["ok", "warning", "problem"]


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        check: name of the check. It does not change between versions.
        level: severity.
        message: the result, for people.
        hint: what to do about the problem, or empty.
        facts: the result, for programs.
    """

    check: str
    level: Level
    message: str
    hint: str = ""
    facts: Mapping[str, Any] = {}


def run_checks(builder: ClientBuilder, *, offline: bool, send_token: bool) -> Iterator[Finding]:
    """Run all checks of a configuration and yield their findings.

    Args:
        builder: the configuration.
        offline: skip the checks that send requests to the host.
        send_token: whether an access token, which is itself a secret, may be sent to the host.
    """
    for note in builder.warnings:
        yield Finding("configuration", "warning", note)
    signer = mle = tls = None
    error = ""
    try:
        with warnings.catch_warnings():
            # The deprecation is reported as a finding instead.
            warnings.simplefilter("ignore", DeprecationWarning)
            signer = builder.signer()
    except ConfigurationError as cause:
        error = str(cause)
    yield from _scheme(builder, signer)
    if error:
        yield Finding("credentials", "problem", error)
    if signer is not None:
        yield from _credentials(builder, signer)
    try:
        mle = builder.encryption()
        if mle is not None:
            yield from _encryption(mle)
    except ConfigurationError as cause:
        error = str(cause)
        yield Finding("mle", "problem", error)
    try:
        tls = builder.tls()
        if tls is not None:
            yield from _tls(tls)
    except ConfigurationError as cause:
        yield Finding("tls", "problem", str(cause))
        return
    try:
        unsigned = builder.build(FlexClient, {"auth": None, "mle": None, "tls": tls})
        client = unsigned if error else builder.build(FlexClient, {"auth": signer, "mle": mle, "tls": tls})
    except ConfigurationError as cause:
        yield Finding("client", "problem", str(cause))
        return
    yield from _host(unsigned)
    if offline:
        return
    with unsigned, client:
        yield from _check_host(unsigned, None if error else client, str(builder.scheme), send_token=send_token)


def _scheme(builder: ClientBuilder, signer: Signer | None) -> Iterator[Finding]:
    facts: dict[str, Any] = {"scheme": builder.scheme}
    ids = ""
    for name in ("merchant_id", "portfolio_id"):
        facts[name] = getattr(signer, name, None)
        if facts[name] is not None:
            ids += f", {name.removesuffix('_id')} {facts[name]!r}"
    if builder.scheme != "http_signature":
        yield Finding("scheme", "ok", f"{builder.scheme}{ids}", facts=facts)
        return
    days = (_END_OF_HTTP_SIGNATURE - datetime.now(UTC).date()).days
    distance = f"{days} days from now" if days > 0 else f"{-days} days ago"
    yield Finding(
        "scheme",
        "warning",
        f"{builder.scheme}{ids}; CyberSource retires HTTP Signature in March 2027, {distance}",
        "use jwt_shared_secret with the same key id and secret; in a merchant configuration, authentication_type JWT "
        "with jwt_key_type SHARED_SECRET",
        {**facts, "ends": _END_OF_HTTP_SIGNATURE.strftime("%Y-%m"), "days": days},
    )


def _credentials(builder: ClientBuilder, signer: Signer) -> Iterator[Finding]:
    key_id = getattr(signer, "key_id", None)
    if builder.scheme == "jwt_p12":
        yield from _certificate(signer)  # type: ignore[arg-type]
    elif key_id is not None:
        # A value that is not a UUID is not shown, because it may be the secret.
        if _UUID.fullmatch(key_id):
            yield Finding("key_id", "ok", f"{key_id}, a UUID", facts={"shape": "uuid", "key_id": key_id})
        else:
            yield Finding(
                "key_id",
                "warning",
                f"not a UUID, but a string of {len(key_id)} characters",
                "the Business Center shows key id and shared secret side by side; were they swapped?",
                {"shape": "other", "key_id": None},
            )
    length = builder.secret_bytes()
    if length is not None:
        ok = length == _SECRET_BYTES
        yield Finding(
            "secret",
            "ok" if ok else "warning",
            f"base64 of {length} bytes",
            "" if ok else f"secrets of the Business Center have {_SECRET_BYTES} bytes; was this one copied completely?",
            {"bytes": length},
        )


def _certificate(signer: JwtP12) -> Iterator[Finding]:
    ok = re.fullmatch(r"[0-9]{22}", signer.key_id) is not None
    yield Finding(
        "key_id",
        "ok" if ok else "warning",
        f"{signer.key_id}, {'22 digits' if ok else 'not 22 digits'}",
        "" if ok else "is the P12 file from the Business Center?",
        {"shape": "22 digits" if ok else "other", "key_id": signer.key_id},
    )
    subject = _subject(signer.certificate)
    yield _expiry("certificate", f"subject {subject}", signer.expires_at, {"subject": subject})


def _encryption(mle: MessageLevelEncryption) -> Iterator[Finding]:
    renew = "download the certificate again from the Business Center"
    if mle.request_certificate_expires_at is not None:
        yield _expiry(
            "mle_request", "certificate for encrypted requests", mle.request_certificate_expires_at, {}, renew
        )
    if mle.response_kid is None:
        return
    subject, facts = f"responses encrypted with the key {mle.response_kid}", {"kid": mle.response_kid}
    if mle.response_certificate_expires_at is not None:
        yield _expiry("mle_response", subject, mle.response_certificate_expires_at, facts, renew)
    else:
        yield Finding("mle_response", "ok", f"{subject}; the Business Center shows when the key expires", facts=facts)


def _tls(tls: Tls) -> Iterator[Finding]:
    if tls.insecure_skip_verification:
        yield Finding("tls", "warning", "certificates are not verified")
    if tls.ca_file is not None:
        yield _authorities(certificates_in(tls.ca_file))
    if tls.client_certificate is None:
        return
    chain = certificates_in(tls.client_certificate)
    if not chain:
        message = "the expiry date cannot be read: the certificate is in a format that only OpenSSL supports"
        yield Finding("client_certificate", "warning", message)
        return
    subject = _subject(chain[0])
    yield _expiry("client_certificate", f"subject {subject}", chain[0].not_valid_after_utc, {"subject": subject})
    for certificate in chain[1:]:
        subject = _subject(certificate)
        ends = certificate.not_valid_after_utc
        finding = _expiry("client_certificate_chain", f"subject {subject}", ends, {"subject": subject}, _RENEW_CHAIN)
        # An expired intermediate certificate is only a warning, because the host may know a different chain to the CA.
        yield finding._replace(level="warning") if finding.level == "problem" else finding


def _authorities(certificates: list[x509.Certificate]) -> Finding:
    """Return the finding about ``ca_file``. Files without any valid certificate were rejected earlier."""
    if not certificates:
        message = "the expiry dates cannot be read: the certificates are in a format that only OpenSSL supports"
        return Finding("ca_file", "warning", message)
    by_expiry = sorted(certificates, key=lambda certificate: certificate.not_valid_after_utc)
    limit = datetime.now(UTC) + timedelta(days=_EXPIRY_WARNING_DAYS)
    expiring = [certificate for certificate in by_expiry if certificate.not_valid_after_utc < limit]
    facts = {
        "certificates": len(certificates),
        "ending": len(expiring),
        "expires_at": by_expiry[0].not_valid_after_utc.isoformat(),
    }
    count = f"{len(certificates)} certificate{'' if len(certificates) == 1 else 's'}"
    # A CA bundle of the public web always contains expiring certificates.
    if expiring and len(certificates) <= _MAX_CERTIFICATES:
        first, ends = expiring[0], expiring[0].not_valid_after_utc
        finding = _expiry("ca_file", f"{count}; subject {_subject(first)}", ends, facts)
        return finding._replace(level="warning", hint="ask the issuer of the certificate for a new one")
    message = f"{count}, {len(expiring)} expired or expiring within {_EXPIRY_WARNING_DAYS} days"
    return Finding("ca_file", "ok", message, facts=facts)


def _subject(certificate: x509.Certificate) -> str:
    from cryptography.x509.oid import NameOID

    # RFC 4514 defines no name for the attribute that contains the key id.
    return certificate.subject.rfc4514_string({NameOID.SERIAL_NUMBER: "serialNumber"})


def _expiry(
    check: str, subject: str, ends: datetime, facts: Mapping[str, Any], hint: str = "create a new one before it expires"
) -> Finding:
    days = int((ends - datetime.now(UTC)).total_seconds() // 86400)
    expiry = f"expires on {ends:%Y-%m-%d}, in {days} days" if days >= 0 else f"expired on {ends:%Y-%m-%d}"
    level: Level = "problem" if days < 0 else "warning" if days < _EXPIRY_WARNING_DAYS else "ok"
    return Finding(
        check,
        level,
        f"{subject}; {expiry}",
        "" if level == "ok" else hint,
        {**facts, "expires_at": ends.isoformat(), "days": days},
    )


def _host(client: FlexClient) -> Iterator[Finding]:
    settings = client.api_client.configuration
    name = next((name for name, host in Configuration.ENVIRONMENTS.items() if host == settings.host), None)
    message = settings.host if name is None else f"{settings.host}, {name}"
    if settings.intermediate_host is not None:
        message += f", through the intermediate host {settings.intermediate_host}"
    proxy = None if settings.proxy is None else settings.proxy.url
    if proxy is not None:
        message += f", through the proxy {proxy}"
    facts = {
        "host": settings.host,
        "environment": name,
        "intermediate_host": settings.intermediate_host,
        "proxy": proxy,
    }
    yield Finding("host", "ok", message, facts=facts)


def _check_host(unsigned: FlexClient, client: FlexClient | None, scheme: str, *, send_token: bool) -> Iterator[Finding]:
    """Check whether the host responds, compare clocks, and check whether the host accepts a signed request.

    Args:
        unsigned: a client without credentials.
        client: a client with credentials, or None if they are invalid.
        scheme: name of the authentication scheme.
        send_token: whether an access token may be sent.
    """
    before = time.time()
    try:
        headers: Mapping[str, str] = (
            FlexAPIApi(unsigned.api_client).get_public_key_with_http_info(_UNKNOWN_KEY_ID).headers
        )
        status = 200
    except ResponseDecodingError as response:
        facts = {"status": response.status, "error": type(response).__name__}
        yield Finding("reachable", "problem", str(response), _NOT_THE_HOST, facts)
        return
    except ApiException as response:
        headers, status = response.headers, response.status
    except TransportError as cause:
        yield Finding(
            "reachable",
            "problem",
            str(cause),
            _unreachable_hint(str(cause), unsigned.api_client.configuration),
            {"error": type(cause).__name__},
        )
        return
    after = time.time()
    facts = {"status": status, "milliseconds": round((after - before) * 1000)}
    message = f"the host responds, {facts['milliseconds']} ms"
    if status in (404, 200):
        yield Finding("reachable", "ok", message, facts=facts)
    else:
        hint = "a request for a public key that does not exist should give 404; is the host correct?"
        yield Finding("reachable", "warning", f"{message}, but with status {status}", hint, facts)
    yield _clock(headers.get("Date"), (before + after) / 2)
    if client is None:
        return
    if scheme == "bearer" and not send_token:
        yield Finding(
            "signed_request",
            "ok",
            "not tried: an access token is a secret, and no secret is sent by default",
            "use --send-token to send it to the host above",
            {"tried": False},
        )
        return
    yield _signed(client, scheme)


def _unreachable_hint(message: str, settings: Configuration) -> str:
    """Return what to check if the host cannot be reached. Settings that are already set are not suggested."""
    if "VERIFY_X509_STRICT" in message:
        return (
            "until the certificates are renewed, pass an SSL context without the flag: "
            "context = ssl.create_default_context(cafile=...); context.verify_flags &= ~ssl.VERIFY_X509_STRICT; "
            "FlexClient.from_env(tls=Tls(ssl_context=context))"
        )
    if "certificate is not valid for" in message:
        return "is the host correct? The emulator's certificate is for the hosts of --public-url and --signed-host"
    if "certificate is not accepted" in message:
        if settings.tls is not None and settings.tls.ca_file is not None:
            return "does the file of CYBERSOURCE_CA_FILE contain the CA that issued this certificate?"
        return "is the host an emulator, or does a proxy replace certificates? Then set CYBERSOURCE_CA_FILE to its CA"
    if settings.proxy is not None:
        return "is the host correct? Can the proxy reach the host, or should NO_PROXY list the host?"
    return (
        "is the host correct? Does a firewall require a proxy (CYBERSOURCE_PROXY)? If a proxy replaces certificates, "
        "set CYBERSOURCE_CA_FILE to the CA of the proxy"
    )


def _clock(date: str | None, now: float) -> Finding:
    try:
        # The header has whole seconds, rounded down.
        offset = round(now - parsedate_to_datetime(date or "").timestamp() - 0.5)
    except (ValueError, OverflowError):
        return Finding(
            "clock", "warning", "the response of the host has no valid Date header", facts={"offset_seconds": None}
        )
    facts = {"offset_seconds": offset}
    if abs(offset) <= _CLOCK_OK:
        return Finding("clock", "ok", "this machine's clock agrees with the host's", facts=facts)
    difference = f"{abs(offset)} s {'ahead of' if offset > 0 else 'behind'}"
    return Finding(
        "clock",
        "problem" if abs(offset) > _CLOCK_WARNING else "warning",
        f"this machine's clock is {difference} the host's",
        f"synchronize the clock by NTP; {_CLOCK_AHEAD if offset > 0 else _CLOCK_BEHIND}; the host may also reject "
        "requests, because they contain the time",
        facts,
    )


def _signed(client: FlexClient, scheme: str) -> Finding:
    """Check whether the host accepts a signed request: the creation of a capture context for one field.

    A capture context contains no data, expires after 15 minutes and costs nothing. Only a 201 response with a verified
    JWT counts as success. A request for details of an unknown payment would be smaller, but its expected response, 404,
    could also come from an intermediary.
    """
    try:
        context = client.create_capture_context(fields(card=["number"]))
    except ApiException as cause:
        facts = {
            "tried": True,
            "accepted": isinstance(cause, ResponseDecodingError),
            "status": cause.status,
            "reason": cause.reason,
            "correlation_id": cause.correlation_id,
        }
        return Finding("signed_request", "problem", str(cause), _hint(cause, scheme), facts)
    except TokenError as cause:
        message = f"accepted, but the returned capture context is not valid: {cause}"
        is_clock = isinstance(cause, (ExpiredTokenError, TokenNotYetValidError))
        hint = "is the clock correct?" if is_clock else _NOT_THE_HOST
        return Finding("signed_request", "problem", message, hint, {"tried": True, "accepted": True})
    except FlexError as cause:
        facts = {"tried": True, "accepted": None}
        asked = client.api_client.configuration.mle is not None and isinstance(cause, ConnectionBrokenError)
        return Finding("signed_request", "problem", str(cause), _NO_ENCRYPTED_RESPONSE if asked else "", facts)
    # A clock that is behind would show too much remaining time.
    remaining = min(context.expires_in(), context.expires_at - context.issued_at)
    message = f"accepted; the capture context is verified, and valid for {max(0, int(remaining.total_seconds()))} s"
    return Finding("signed_request", "ok", message, facts={"tried": True, "accepted": True, "status": 201})


def _hint(cause: ApiException, scheme: str) -> str:
    emulator_reason = cause.headers.get("v-c-emulator-rejection")
    if emulator_reason:
        return f"the emulator's reason: {emulator_reason}"
    if cause.status == 401:
        return f"usual causes: {_CAUSES_OF_401.get(scheme, 'the credentials')}; or the clock"
    if isinstance(cause, PermissionDeniedError):
        return "the signature is valid, but this merchant or key has no permission for Flex; ask CyberSource for it"
    if isinstance(cause, ServerError):
        return "the service or a gateway failed; try again, and report the correlation id to CyberSource"
    return _NOT_THE_HOST if isinstance(cause, ResponseDecodingError) else "is the host correct?"
