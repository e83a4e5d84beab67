"""``cybersource-flex verify``: verify a token, and explain why it is invalid and what to do."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from ..._paths import without_bom
from ...api.flex_api_api import FlexAPIApi
from ...errors import (
    CallError,
    ExpiredTokenError,
    InvalidClaimError,
    InvalidSignatureError,
    MalformedTokenError,
    NotFoundError,
    TokenError,
    TokenNotYetValidError,
    UnknownKeyError,
    UnsupportedAlgorithmError,
)
from ...jose import CaptureContext, KeyCache, PublicKey, restore_capture_context, verify_transient_token
from ...jose.capture_context import UnverifiedContext
from ...jose.keys import verify_with_key_source
from ...jose.storage import TOKEN_LIFETIME
from ..shared.clients import client_from_options
from ..shared.console import Console, format_duration, format_relative, format_utc, mask_for_display
from ..shared.errors import ConfigurationExit, describe
from ..shared.exit_codes import ExitCode
from ..shared.progress import waiting
from .inspect import KINDS, classify
from .token_input import TokenInput, as_timestamp, parse_leniently, read_token

if TYPE_CHECKING:
    from ...jose import KeySource, TransientToken

__all__ = ["Options", "run"]

_CONTEXT, _TOKEN = "capture_context", "transient_token"
_NAMES: Final = {_CONTEXT: "capture context", _TOKEN: "transient token"}


class Options(NamedTuple):
    """The options of the command."""

    token: str | None
    file: Path | None
    context: str | None
    host: str | None
    environment: str | None
    jwk: tuple[Path, ...]
    at: str | None
    leeway: float
    context_expired_ok: bool
    as_json: bool


class VerificationResult(NamedTuple):
    """The result of a verification.

    Attributes:
        kind: what was verified: ``capture_context`` or ``transient_token``.
        failed_kind: what ``error`` is about: the context or the token. The context is verified first, because its key
            verifies the token.
        now: the time for which expiry was checked.
        key_source: where the long-term key came from.
        token: the capture context or transient token. None if it is not verified.
        context: the capture context of a transient token. None if it is not verified.
        error: why the verification failed. None if the token is verified.
        claims: the unverified claims. Trust them only if the signature is valid.
    """

    kind: str
    failed_kind: str
    now: float
    key_source: str
    token: CaptureContext | TransientToken | None
    context: CaptureContext | None
    error: TokenError | CallError | None
    claims: Mapping[str, Any]

    @property
    def exit_code(self) -> ExitCode:
        if self.error is None:
            return ExitCode.SUCCESS
        return describe(self.error).exit_code if isinstance(self.error, CallError) else ExitCode.NEGATIVE

    @property
    def is_signature_valid(self) -> bool:
        """Whether the signature is valid. Times and claims are checked after the signature."""
        return self.error is None or isinstance(
            self.error, (ExpiredTokenError, TokenNotYetValidError, InvalidClaimError)
        )


def run(options: Options) -> ExitCode:
    """Verify a token and print the result.

    Returns:
        The exit code.

    Raises:
        click.ClickException: the options or a file are invalid.
        ConfigurationError: the configuration is invalid.
    """
    token_input = read_token(options.token, options.file)
    if options.context == "-" and token_input.source == "standard input":
        raise click.UsageError("token and context cannot both come from standard input")
    now = time.time() if options.at is None else _parse_time(options.at)
    parsed = parse_leniently(token_input.token)
    kind = classify(token_input.token, parsed)
    if kind == _TOKEN and options.context is None:
        raise click.UsageError(
            "this looks like a transient token, but its capture context is missing; pass the context with --context"
        )
    if kind == _CONTEXT and options.context is not None:
        raise click.UsageError("--context is for a transient token, but this looks like a capture context")
    context = None if options.context is None else _read_context(options.context)
    result = _verify(token_input, context, options, now, parsed.claims)
    if options.as_json:
        click.echo(json.dumps(_report(result, token_input, kind, options), indent=2))
    else:
        _print(result, token_input, kind, options)
    return result.exit_code


def _verify(
    token_input: TokenInput,
    context_input: TokenInput | None,
    options: Options,
    now: float,
    claims: Mapping[str, Any],
) -> VerificationResult:
    kind = _CONTEXT if context_input is None else _TOKEN
    grace = TOKEN_LIFETIME if context_input is not None and options.context_expired_ok else 0.0
    context: CaptureContext | None = None
    with _keys(options) as (keys, source), waiting(f"waiting for {source}"):
        try:
            context = _verify_context(context_input or token_input, keys, now, options.leeway, grace)
            if context_input is None:
                return VerificationResult(kind, kind, now, source, context, None, None, claims)
            token = verify_transient_token(token_input.token, context, now=now, leeway=options.leeway)
            return VerificationResult(kind, kind, now, source, token, context, None, claims)
        except (TokenError, CallError) as cause:
            failed_kind = _CONTEXT if context is None else kind
            return VerificationResult(kind, failed_kind, now, source, None, context, cause, claims)


def _verify_context(
    token_input: TokenInput, keys: KeySource, now: float, leeway: float, grace: float
) -> CaptureContext:
    jwt = token_input.token
    if jwt.startswith("fc1."):
        if not jwt.endswith("."):
            # The command takes no MAC key, because secrets do not belong on a command line.
            raise ConfigurationExit("the stored context has a MAC; only a program that has the MAC key can restore it")
        jwt = restore_capture_context(jwt, keys, now=now, leeway=leeway).jwt
    unverified = UnverifiedContext(jwt)
    return verify_with_key_source(
        keys, unverified.kid, lambda key: unverified.verify(key, now=now, leeway=leeway, grace=grace)
    )


def _read_context(argument: str) -> TokenInput:
    context_input = read_token(argument, None)
    if context_input.source == "argument" and not re.match(r"ey|fc1\.", context_input.token):
        raise click.UsageError("--context must be a capture context, or the path of a file that contains one")
    return context_input


def _parse_time(value: str) -> float:
    from dateutil.parser import isoparse

    try:
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            seconds = float(value)
        else:
            date = isoparse(value)
            seconds = (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise click.UsageError("--at must be seconds since 1970, or a time like 2026-11-22T12:00:00Z") from None
    if not 0 <= seconds < 7_258_118_400:
        raise click.UsageError("--at is not between 1970 and 2200; expected seconds since 1970, not milliseconds")
    return seconds


@contextlib.contextmanager
def _keys(options: Options) -> Iterator[tuple[KeySource, str]]:
    """Yield the source of the long-term key, and a description of that source."""
    if options.jwk:
        if options.host is not None or options.environment is not None:
            raise click.UsageError("give either --jwk or a host, not both")
        yield FileKeys(options.jwk), ", ".join(str(path) for path in options.jwk)
        return
    with client_from_options(options.environment, options.host, auth=None, mle=None) as client:
        host, api = client.api_client.configuration.host, FlexAPIApi(client.api_client)

        def fetch(kid: str) -> Mapping[str, Any]:
            try:
                return api.get_public_key(kid).to_dict()
            except NotFoundError:
                raise UnknownKeyError(f"{host} has no key {kid!r}") from None

        yield KeyCache(fetch), host


def _explain(result: VerificationResult, options: Options, kind: str) -> tuple[str, str]:
    """Return a short description of the error, and what to do about it."""
    error, name = result.error, _NAMES[result.failed_kind]
    is_context = result.failed_kind == _CONTEXT
    if isinstance(error, CallError):
        return "the key could not be fetched", (
            "is the host correct (--host, --environment, CYBERSOURCE_ENVIRONMENT)? Does a firewall require a proxy "
            "(CYBERSOURCE_PROXY)? Without access to the host, pass the key with --jwk"
        )
    if isinstance(error, ExpiredTokenError) and result.failed_kind != result.kind:
        return str(error).removeprefix(f"the {name} "), (
            "the context is genuine, but all its tokens have expired: the card has to be entered again"
            if options.context_expired_ok
            else "the context is genuine; --context-expired-ok accepts it for 15 minutes after its expiry"
        )
    if isinstance(error, ExpiredTokenError):
        return str(error).removeprefix(f"the {name} "), (
            f"the {name} is genuine, but was valid for only 15 minutes: "
            + ("create a new one" if is_context else "the card has to be entered again")
            + ("" if options.at else ". Use --at to verify as of an earlier time")
        )
    if isinstance(error, TokenNotYetValidError):
        return (
            "not valid yet",
            f"the {name} is genuine; is this machine's clock correct? `cybersource-flex doctor` compares the clock "
            "with the host's",
        )
    if isinstance(error, InvalidSignatureError):
        return "changed since it was signed, or signed with another key", (
            f"was the {name} copied completely? If so, it was not signed "
            + (
                "with this key: it is from the other environment, or forged"
                if is_context
                else "by Flex: do not accept it"
            )
        )
    if isinstance(error, UnknownKeyError):
        if not is_context:
            return "created for another capture context", (
                "pass the context that your server created and stored for this capture; a context that the browser "
                "sent together with the token proves nothing"
            )
        return "wrong key", (
            "pass the file that contains the key with this kid"
            if options.jwk
            else "is the context from the other environment, test or production? Select it with --environment"
        )
    if isinstance(error, UnsupportedAlgorithmError):
        return "signed with an algorithm that is not accepted", "Flex signs only with RS256: do not accept it"
    if isinstance(error, InvalidClaimError):
        return "signed, but with invalid claims", (
            f"the claim {error.claim} is invalid; `cybersource-flex inspect` shows it. Is this token a {name}?"
        )
    if isinstance(error, MalformedTokenError):
        if is_context and result.kind == _CONTEXT and kind not in ("unknown", "jws", _CONTEXT):
            return f"not a {name}", f"this looks like {KINDS[kind]}"
        return f"not a complete {name}", f"`cybersource-flex inspect` shows which rule the {name} breaks, and where"
    return "not accepted", f"`cybersource-flex inspect` shows the contents of the {name}"


def _print(result: VerificationResult, token_input: TokenInput, kind: str, options: Options) -> None:
    console, token, error, now = Console(), result.token, result.error, result.now
    if token is not None:
        card = f", {getattr(token, 'masked_number', None) or 'number not shown'}" if result.kind == _TOKEN else ""
        summary = f"{_NAMES[result.kind]} {mask_for_display(token.type)}{card}, {_time_left(result, options)}"
        console.verdict(True, "verified", summary)
    elif error is not None:
        headline, advice = _explain(result, options, kind)
        prefix = "its capture context: " if result.failed_kind != result.kind else ""
        console.verdict(False, "not verified", f"{prefix}{headline}")
        console.row("cause", f"{type(error).__name__}: {error}")
        console.row("what to do", advice, "bold")
    claims = _trusted_claims(result)
    for name, label in (("iat", "issued"), ("exp", "expires")):
        seconds = as_timestamp(claims.get(name))
        if seconds is not None:
            has_expired = name == "exp" and seconds <= now
            row_label = "expired" if has_expired else label
            console.row(row_label, f"{format_relative(seconds, now)}, {format_utc(seconds)}")
    if result.context is not None:
        ends = result.context.expires_at.timestamp()
        state = (
            f"expired {format_relative(ends, now)}, which is allowed for {TOKEN_LIFETIME // 60} minutes "
            "(--context-expired-ok)"
            if ends <= now
            else "valid"
        )
        console.row("context", f"{mask_for_display(result.context.type)}, verified, {state}")
    for warning in () if token is None else token.warnings:
        console.row("unusual", f"{warning}; the token is genuine, but differs from all published tokens", "yellow")
    console.row("key from", result.key_source)
    if options.at is not None:
        console.row("as of", f"{format_utc(now)} (--at), not the current time")
    for description in token_input.removed:
        console.row("removed", description)


def _trusted_claims(result: VerificationResult) -> Mapping[str, Any]:
    """Return the claims of the token if its signature is valid, otherwise an empty dictionary."""
    return result.claims if result.is_signature_valid and result.failed_kind == result.kind else {}


def _time_left(result: VerificationResult, options: Options) -> str:
    seconds = result.claims["exp"] - result.now
    if seconds > 0:
        return f"valid for {format_duration(seconds)}"
    return f"expired {format_duration(seconds)} ago, which the leeway of {options.leeway:g} s allows"


def _report(result: VerificationResult, token_input: TokenInput, kind: str, options: Options) -> dict[str, Any]:
    error, token, context = result.error, result.token, result.context
    claims = _trusted_claims(result)
    expires = as_timestamp(claims.get("exp"))
    return {
        "verified": token is not None,
        "kind": result.kind,
        "type": None if token is None else token.type,
        "reason": None if error is None else type(error).__name__,
        "about": None if error is None else result.failed_kind,
        "message": None if error is None else str(error),
        "what_to_do": None if error is None else _explain(result, options, kind)[1],
        "issued_at": as_timestamp(claims.get("iat")),
        "expires_at": expires,
        "expires_in": None if expires is None else round(expires - result.now),
        "as_of": result.now,
        "as_of_now": options.at is None,
        "leeway": options.leeway,
        "keys": result.key_source,
        "masked_number": getattr(token, "masked_number", None),
        "warnings": [] if token is None else list(token.warnings),
        "context": None
        if context is None
        else {"type": context.type, "expires_at": round(context.expires_at.timestamp())},
        "source": token_input.source,
        "removed": list(token_input.removed),
    }


class FileKeys:
    """A key source that reads JWK, JWKS and PEM files. A key without a ``kid``, as in PEM, is used for any ``kid``."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._keys: dict[str | None, PublicKey] = {}
        for path in paths:
            for jwk in _read_jwks(path):
                try:
                    key = PublicKey(jwk, "key")
                except UnsupportedAlgorithmError as cause:
                    raise ConfigurationExit(f"{path}: {cause}") from None
                if self._keys.setdefault(key.kid, key) != key:
                    name = "without a kid" if key.kid is None else f"with the kid {key.kid!r}"
                    raise ConfigurationExit(f"{path}: two different keys {name} were given; expected only one")

    def get(self, kid: str) -> PublicKey:
        key = self._keys.get(kid) or self._keys.get(None)
        if key is None:
            names = ", ".join(repr(name) for name in self._keys)
            raise UnknownKeyError(f"the token names the key {kid!r}, but the files contain {mask_for_display(names)}")
        return key

    def refresh(self, kid: str) -> PublicKey | None:
        return None


def _read_jwks(path: Path) -> Sequence[Mapping[str, Any]]:
    try:
        data = without_bom(path.read_bytes())
    except OSError as cause:
        raise ConfigurationExit(f"{path}: {cause.strerror or type(cause).__name__}") from None
    if b"-----BEGIN" in data:
        return [_from_pem(path, data)]
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        # The error is raised outside of this handler, because the exception contains the content.
        content = None
    if isinstance(content, dict):
        content = content.get("keys", content.get("key", content))
    entries: list[Any] = content if isinstance(content, list) else [content]
    if not entries or not all(isinstance(entry, dict) and "kty" in entry for entry in entries):
        raise ConfigurationExit(f"{path}: not a JWK, JWKS or PEM file")
    return entries


def _from_pem(path: Path, data: bytes) -> Mapping[str, Any]:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY-----" in data:
        raise ConfigurationExit(f"{path}: this is a private key; pass the public key")
    try:
        is_certificate = b"-----BEGIN CERTIFICATE" in data
        key = x509.load_pem_x509_certificate(data).public_key() if is_certificate else load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey):
        raise ConfigurationExit(f"{path}: the PEM file contains no RSA public key")
    numbers = key.public_numbers()
    parts = {"n": numbers.n, "e": numbers.e}
    return {"kty": "RSA", **{name: _base64url(number) for name, number in parts.items()}}


def _base64url(number: int) -> str:
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
