"""``cybersource-flex verify``: whether a token is genuine and valid, and if not, why, and what to do about it."""

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

from ..api.flex_api_api import FlexAPIApi
from ..client import FlexClient
from ..errors import (
    CallError,
    ConfigurationError,
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
from ..jose import CachedKeys, CaptureContext, PublicKey, restore_capture_context, verify_transient_token
from ..jose.capture_context import UnverifiedContext
from ..jose.keys import with_key
from ..jose.storage import TOKEN_LIFETIME
from .console import Console, format_duration, format_relative, format_utc, mask_for_display
from .errors import ConfigurationExit
from .inspect import KINDS, classify
from .token_input import TokenInput, as_timestamp, parse_leniently, read_token

if TYPE_CHECKING:
    from ..client.config.client_options import FlexClientOptions
    from ..jose import KeySource, TransientToken

__all__ = ["Options", "run"]

_CONTEXT, _TOKEN = "capture_context", "transient_token"
_NAMES: Final = {_CONTEXT: "capture context", _TOKEN: "transient token"}

#: Exit codes beside 0 for verified.
NOT_VERIFIED, NO_KEY = 1, 3


class Options(NamedTuple):
    """What was asked for on the command line."""

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
    """What came of it.

    Attributes:
        kind: what was verified: ``capture_context`` or ``transient_token``.
        about: which of the two the error is about; the context comes first, and without it there is no telling.
        now: the moment it was verified for.
        keys: where the long-term key came from.
        found: the token, once verified.
        context: its context, once verified.
        error: why not, or None.
        claims: what it says of itself; to be believed only after a good signature.
    """

    kind: str
    about: str
    now: float
    keys: str
    found: CaptureContext | TransientToken | None
    context: CaptureContext | None
    error: TokenError | CallError | None
    claims: Mapping[str, Any]

    @property
    def exit_code(self) -> int:
        if self.error is None:
            return 0
        return NO_KEY if isinstance(self.error, CallError) else NOT_VERIFIED

    @property
    def signature_good(self) -> bool:
        """Whether the signature was looked at, and is good. All else is looked at after it."""
        return self.error is None or isinstance(
            self.error, (ExpiredTokenError, TokenNotYetValidError, InvalidClaimError)
        )


def run(options: Options) -> int:
    """Verify a token, and say what came of it.

    Returns:
        The exit code.

    Raises:
        click.ClickException: the options are wrong, or a file that they name; its exit code is 2.
    """
    given = read_token(options.token, options.file)
    if options.context == "-" and given.source == "standard input":
        raise click.UsageError("token and context cannot both come from standard input")
    now = time.time() if options.at is None else _moment(options.at)
    anatomy = parse_leniently(given.text)
    kind = classify(given.text, anatomy)
    if kind == _TOKEN and options.context is None:
        raise click.UsageError(
            "this looks like a transient token, which only its capture context can verify: give that with --context"
        )
    if kind == _CONTEXT and options.context is not None:
        raise click.UsageError("--context goes with a transient token, and this looks like a capture context")
    context = None if options.context is None else _read_context(options.context)
    try:
        verdict = _verify(given, context, options, now, anatomy.claims)
    except ConfigurationError as cause:
        raise ConfigurationExit(str(cause)) from None
    if options.as_json:
        click.echo(json.dumps(_report(verdict, given, kind, options), indent=2))
    else:
        _show(verdict, given, kind, options)
    return verdict.exit_code


def _verify(
    given: TokenInput, context: TokenInput | None, options: Options, now: float, claims: Mapping[str, Any]
) -> VerificationResult:
    kind = _CONTEXT if context is None else _TOKEN
    grace = TOKEN_LIFETIME if context is not None and options.context_expired_ok else 0.0
    held: CaptureContext | None = None
    with _keys(options) as (keys, source):
        try:
            held = _verified_context(context or given, keys, now, options.leeway, grace)
            if context is None:
                return VerificationResult(kind, kind, now, source, held, None, None, claims)
            found = verify_transient_token(given.text, held, now=now, leeway=options.leeway)
            return VerificationResult(kind, kind, now, source, found, held, None, claims)
        except (TokenError, CallError) as cause:
            return VerificationResult(kind, _CONTEXT if held is None else kind, now, source, None, held, cause, claims)


def _verified_context(given: TokenInput, keys: KeySource, now: float, leeway: float, grace: float) -> CaptureContext:
    text = given.text
    if text.startswith("fc1."):
        # Sealed, it takes a key, which has no place on a command line: that is said.
        text = restore_capture_context(text, keys, now=now, leeway=leeway).jwt
    unverified = UnverifiedContext(text)
    return with_key(keys, unverified.kid, lambda key: unverified.verify(key, now=now, leeway=leeway, grace=grace))


def _read_context(text: str) -> TokenInput:
    given = read_token(text, None)
    if given.source == "argument" and not re.match(r"ey|fc1\.", given.text):
        raise click.UsageError("--context is neither the path of a file nor a capture context")
    return given


def _moment(text: str) -> float:
    from dateutil.parser import isoparse

    try:
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            seconds = float(text)
        else:
            date = isoparse(text)
            seconds = (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise click.UsageError("--at is neither seconds since 1970 nor like 2026-11-22T12:00:00Z") from None
    if not 0 <= seconds < 7_258_118_400:
        raise click.UsageError("--at is not between 1970 and 2200; seconds since 1970 are meant, not milliseconds")
    return seconds


@contextlib.contextmanager
def _keys(options: Options) -> Iterator[tuple[KeySource, str]]:
    """Where the long-term key comes from, and that in words."""
    if options.jwk:
        if options.host is not None or options.environment is not None:
            raise click.UsageError("give either --jwk or a host")
        yield FileKeys(options.jwk), ", ".join(str(path) for path in options.jwk)
        return
    if options.host is not None and options.environment is not None:
        raise click.UsageError("give either --host or --environment")
    overrides: FlexClientOptions = {"auth": None, "mle": None}
    chosen = options.host or options.environment
    if chosen is not None:
        overrides["environment"] = chosen
    with FlexClient.from_env(**overrides) as client:
        host, api = client.api_client.configuration.host, FlexAPIApi(client.api_client)

        def fetch(kid: str) -> Mapping[str, Any]:
            try:
                return api.get_public_key(kid).to_dict()
            except NotFoundError:
                raise UnknownKeyError(f"{host} has no key {kid!r}") from None

        yield CachedKeys(fetch), host


def _explain(verdict: VerificationResult, options: Options, kind: str) -> tuple[str, str]:
    """What is wrong, in a few words, and what to do about it."""
    error, name = verdict.error, _NAMES[verdict.about]
    context = verdict.about == _CONTEXT
    if isinstance(error, CallError):
        return "the key could not be fetched", (
            "is the host right (--host, --environment, CYBERSOURCE_ENVIRONMENT)? Does a firewall want a proxy "
            "(CYBERSOURCE_PROXY)? Without a way to the host, give the key with --jwk"
        )
    if isinstance(error, ExpiredTokenError) and verdict.about != verdict.kind:
        return str(error).removeprefix(f"the {name} "), (
            "it is genuine, but no token of it can be valid any more: the card has to be entered again"
            if options.context_expired_ok
            else "it is genuine, and --context-expired-ok takes it for 15 minutes more"
        )
    if isinstance(error, ExpiredTokenError):
        return str(error).removeprefix(f"the {name} "), (
            "it is genuine, but its 15 minutes are over: "
            + ("ask for a new one" if context else "the card has to be entered again")
            + ("" if options.at else "; --at says whether it was good at another time")
        )
    if isinstance(error, TokenNotYetValidError):
        return "not valid yet", "it is genuine; is this machine's clock right? `cybersource-flex doctor` compares it"
    if isinstance(error, InvalidSignatureError):
        return "changed since it was signed, or signed with another key", (
            "was it copied as a whole, from where it came first? If so, it was not made by "
            + ("whoever has this key: of the other environment, or forged" if context else "Flex: do not accept it")
        )
    if isinstance(error, UnknownKeyError):
        if not context:
            return "made for another capture context", (
                "give the context that your server asked for and kept for this very capture; one that comes from the "
                "browser together with the token proves nothing"
            )
        return "wrong key", (
            "give the file with the key of that name"
            if options.jwk
            else "is it of the other environment, test or production? --environment says which"
        )
    if isinstance(error, UnsupportedAlgorithmError):
        return "signed in a way that is not accepted", "Flex signs with RS256 and nothing else: do not accept it"
    if isinstance(error, InvalidClaimError):
        return "signed, but not what it has to be", (
            f"its {error.claim} is at fault; `cybersource-flex inspect` shows it. Is it {name} at all?"
        )
    if isinstance(error, MalformedTokenError):
        if context and verdict.kind == _CONTEXT and kind not in ("unknown", "jws", _CONTEXT):
            return f"not a {name}", f"this looks like {KINDS[kind]}"
        return f"not a {name}, or not the whole of it", "`cybersource-flex inspect` says where it breaks which rule"
    return "not acceptable", "`cybersource-flex inspect` shows what is in it"


def _show(verdict: VerificationResult, given: TokenInput, kind: str, options: Options) -> None:
    console, found, error, now = Console(), verdict.found, verdict.error, verdict.now
    if found is not None:
        card = f", {getattr(found, 'masked_number', None) or 'number not shown'}" if verdict.kind == _TOKEN else ""
        console.verdict(
            True,
            "verified",
            f"{_NAMES[verdict.kind]} {mask_for_display(found.type)}{card}, {_time_left(verdict, options)}",
        )
    elif error is not None:
        headline, advice = _explain(verdict, options, kind)
        whose = "its capture context: " if verdict.about != verdict.kind else ""
        console.verdict(False, "not verified", f"{whose}{headline}")
        console.row("cause", f"{type(error).__name__}: {error}")
        console.row("what to do", advice, "bold")
    for name, label in (("iat", "issued"), ("exp", "expires")):
        seconds = (
            as_timestamp(verdict.claims.get(name)) if verdict.signature_good and verdict.about == verdict.kind else None
        )
        if seconds is not None:
            gone = "expired" if name == "exp" and seconds <= now else label
            console.row(gone, f"{format_relative(seconds, now)}, {format_utc(seconds)}")
    if verdict.context is not None:
        ends = verdict.context.expires_at.timestamp()
        state = (
            f"expired {format_relative(ends, now)}, which is no fault in the {TOKEN_LIFETIME // 60} minutes after"
            if ends <= now
            else "good"
        )
        console.row("context", f"{mask_for_display(verdict.context.type)}, verified, {state}")
    console.row("key from", verdict.keys)
    if options.at is not None:
        console.row("as of", f"{format_utc(now)}, as --at says, and not now")
    for what in given.removed:
        console.row("taken away", what)


def _time_left(verdict: VerificationResult, options: Options) -> str:
    left = verdict.claims["exp"] - verdict.now
    if left > 0:
        return f"good for {format_duration(left)}"
    return f"expired {format_duration(left)} ago, which the leeway of {options.leeway:g} s allows"


def _report(verdict: VerificationResult, given: TokenInput, kind: str, options: Options) -> dict[str, Any]:
    error, found, context = verdict.error, verdict.found, verdict.context
    believed = verdict.claims if verdict.signature_good and verdict.about == verdict.kind else {}
    expires = as_timestamp(believed.get("exp"))
    return {
        "verified": found is not None,
        "kind": verdict.kind,
        "type": None if found is None else found.type,
        "reason": None if error is None else type(error).__name__,
        "about": None if error is None else verdict.about,
        "message": None if error is None else str(error),
        "what_to_do": None if error is None else _explain(verdict, options, kind)[1],
        "issued_at": as_timestamp(believed.get("iat")),
        "expires_at": expires,
        "expires_in": None if expires is None else round(expires - verdict.now),
        "as_of": verdict.now,
        "as_of_now": options.at is None,
        "leeway": options.leeway,
        "keys": verdict.keys,
        "masked_number": getattr(found, "masked_number", None),
        "context": None
        if context is None
        else {"type": context.type, "expires_at": round(context.expires_at.timestamp())},
        "source": given.source,
        "removed": list(given.removed),
    }


class FileKeys:
    """Keys out of files: JWK, JWKS or PEM. One without a name, as in PEM, goes for any name."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._keys: dict[str | None, PublicKey] = {}
        for path in paths:
            for jwk in _jwks(path):
                try:
                    key = PublicKey(jwk, "key")
                except UnsupportedAlgorithmError as cause:
                    raise ConfigurationError(f"{path}: {cause}") from None
                if self._keys.setdefault(key.kid, key) != key:
                    name = "without a kid" if key.kid is None else f"with the kid {key.kid!r}"
                    raise ConfigurationError(f"{path}: there is another key {name}")

    def get(self, kid: str) -> PublicKey:
        found = self._keys.get(kid) or self._keys.get(None)
        if found is None:
            names = ", ".join(repr(name) for name in self._keys)
            raise UnknownKeyError(f"the token names the key {kid!r}, the files have {mask_for_display(names)}")
        return found

    def refresh(self, kid: str) -> PublicKey | None:
        return None


def _jwks(path: Path) -> Sequence[Mapping[str, Any]]:
    try:
        data = path.read_bytes()
    except OSError as cause:
        raise ConfigurationError(f"{path}: {cause.strerror or type(cause).__name__}") from None
    if b"-----BEGIN" in data:
        return [_from_pem(path, data)]
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        # Outside of the handler: the exception holds the content.
        found = None
    if isinstance(found, dict):
        found = found.get("keys", found.get("key", found))
    entries: list[Any] = found if isinstance(found, list) else [found]
    if not entries or not all(isinstance(entry, dict) and "kty" in entry for entry in entries):
        raise ConfigurationError(f"{path}: neither a JWK, nor a set of them, nor PEM")
    return entries


def _from_pem(path: Path, data: bytes) -> Mapping[str, Any]:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY-----" in data:
        raise ConfigurationError(f"{path}: a private key; verifying takes the public one")
    try:
        certificate = b"-----BEGIN CERTIFICATE" in data
        key = x509.load_pem_x509_certificate(data).public_key() if certificate else load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey):
        raise ConfigurationError(f"{path}: no RSA public key in PEM")
    numbers = key.public_numbers()
    parts = {"n": numbers.n, "e": numbers.e}
    return {"kty": "RSA", **{name: _base64url(number) for name, number in parts.items()}}


def _base64url(number: int) -> str:
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
