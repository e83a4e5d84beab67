"""``cybersource-flex inspect``: guess the kind of a token and show its contents, without verifying it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from ...cards import CARD_TYPES
from ...errors import TokenError
from ...jose import compact
from ..shared.console import NARROW, Console, abbreviate, format_relative, format_utc, mask_for_display
from ..shared.exit_codes import ExitCode
from .token_input import ParsedToken, TokenInput, as_timestamp, parse_leniently, read_token

__all__ = ["KINDS", "classify", "run"]

_CONTEXT, _TOKEN = "capture_context", "transient_token"

#: The kinds of tokens and their descriptions. The names do not change between versions.
KINDS: Final = {
    _CONTEXT: "a capture context",
    _TOKEN: "a transient token",
    "request": "the JWT that signs one request to the API",
    "old_request": "the JWT of a request, in the older format that CyberSource retires",
    "payment_credentials": "decrypted payment credentials; the card number is masked here",
    "encrypted_payment_credentials": "payment credentials, encrypted with a key of the merchant",
    "encrypted_card": "card data, encrypted with the one-time key of a capture context",
    "encrypted_message": "an encrypted request or response (message-level encryption)",
    "stored_context": "a capture context stored by store_capture_context",
    "jws": "a signed token of an unknown kind",
    "jwe": "an encrypted token of an unknown kind",
    "unknown": "not a token",
}
_FAMILIES: Final = {
    "api": "of the Flex API",
    "mf": "of Microform",
    "gda": "of Unified Checkout",
    "uc": "of Unified Checkout",
}


def classify(token: str, parsed: ParsedToken) -> str:
    """Guess the kind of a token and return its name, a key of ``KINDS``."""
    header, claims = parsed.header, parsed.claims
    if token.startswith("fc1."):
        return "stored_context"
    if parsed.format == "jwe":
        if header.get("alg") == "RSA-OAEP" and "iat" not in header:
            return "encrypted_card"
        if header.get("alg") == "RSA-OAEP-256" and header.get("cty") == "JWT" and "exp" in header:
            return "encrypted_payment_credentials"
        return "encrypted_message" if "iat" in header else "jwe"
    issuer, token_type = claims.get("iss"), claims.get("type")
    if "flx" in claims and "ctx" in claims:
        return _CONTEXT
    if isinstance(token_type, str) and token_type.partition("-")[0] in _FAMILIES:
        return _TOKEN
    if issuer == "Flex API":
        return _CONTEXT
    if isinstance(issuer, str) and re.fullmatch(r"Flex/[0-9]+", issuer):
        return _TOKEN
    if issuer == "https://flex.visa.com" or header.get("cty") == "json+pc":
        return "payment_credentials"
    if "v-c-jwt-version" in claims or "request-host" in claims:
        return "request"
    if "v-c-merchant-id" in header:
        return "old_request"
    return parsed.format or "unknown"


def run(token: str | None, file: Path | None, *, as_json: bool, full: bool) -> ExitCode:
    """Print the contents of a token.

    Args:
        token: the token, or the path of a file that contains the token. ``-`` or None reads standard input.
        file: path of a file that contains the token. None if the token is given by ``token`` or standard input.
        as_json: print JSON.
        full: do not abbreviate long strings.

    Returns:
        The exit code: 0 for a well-formed token, otherwise 1.
    """
    token_input = read_token(token, file)
    parsed = parse_leniently(token_input.token)
    kind = classify(token_input.token, parsed)
    now = time.time()
    if as_json:
        click.echo(json.dumps(_report(token_input, parsed, kind, now), indent=2))
    else:
        _print(token_input, parsed, kind, now, full)
    return ExitCode.NEGATIVE if parsed.errors else ExitCode.SUCCESS


def _print(token_input: TokenInput, parsed: ParsedToken, kind: str, now: float, full: bool) -> None:
    console = Console()
    console.verdict(False, "NOT VERIFIED", "anyone can forge these contents, because the signature was not checked")
    console.row("it is" if kind == "unknown" else "it looks like", _describe(kind, parsed))
    if token_input.source != "argument":
        console.row("read from", token_input.source)
    for description in token_input.removed:
        console.row("removed", description)
    for error in parsed.errors:
        console.row("malformed", f"{error.error}: {error.message}", "bold red")
    for note in _notes(token_input, parsed, kind):
        console.row("rejected", note, "yellow")
    console.rows({label: str(mask_for_display(value)) for label, value in _facts(parsed, kind, now).items()})
    for name, content in (("header", parsed.header), ("payload", parsed.claims)):
        if content:
            console.json(name, mask_for_display(content) if full else abbreviate(mask_for_display(content)), NARROW)
    if kind in (_CONTEXT, _TOKEN) and not parsed.errors:
        option = " --context CONTEXT" if kind == _TOKEN else ""
        console.row("to verify it", f"cybersource-flex verify{option}", "bold")


def _report(token_input: TokenInput, parsed: ParsedToken, kind: str, now: float) -> dict[str, Any]:
    issued, expires = (as_timestamp(_times(parsed).get(name)) for name in ("iat", "exp"))
    return {
        "verified": False,
        "well_formed": not parsed.errors,
        "kind": kind,
        "type": mask_for_display(_type(parsed, kind)),
        "description": _describe(kind, parsed),
        "source": token_input.source,
        "removed": list(token_input.removed),
        "problems": [error._asdict() for error in parsed.errors],
        "notes": _notes(token_input, parsed, kind),
        "issued_at": issued,
        "expires_at": expires,
        "expired": None if expires is None else now >= expires,
        "facts": {label: mask_for_display(value) for label, value in _facts(parsed, kind, now).items()},
        "header": mask_for_display(parsed.header) or None,
        "payload": mask_for_display(parsed.claims) or None,
        "sizes": dict(parsed.sizes),
    }


def _describe(kind: str, parsed: ParsedToken) -> str:
    token_type = _type(parsed, kind)
    if token_type is None:
        return KINDS[kind]
    family = _FAMILIES.get(token_type.partition("-")[0], "of an unknown family")
    return str(mask_for_display(f"{KINDS[kind]} {family}, {token_type[:40]}"))


def _type(parsed: ParsedToken, kind: str) -> str | None:
    content = _at(parsed.claims, "ctx", 0) if kind == _CONTEXT else parsed.claims if kind == _TOKEN else None
    return _string_at(content, "type")


def _notes(token_input: TokenInput, parsed: ParsedToken, kind: str) -> list[str]:
    """Return the reasons why verification would reject a well-formed token before checking its signature."""
    if parsed.errors or kind not in (_CONTEXT, _TOKEN):
        return []
    try:
        compact.parse_jws(token_input.token, KINDS[kind].removeprefix("a "))
    except TokenError as cause:
        return [f"{type(cause).__name__}: {cause}"]
    return []


def _times(parsed: ParsedToken) -> Mapping[str, Any]:
    return parsed.header if parsed.format == "jwe" else parsed.claims


def _facts(parsed: ParsedToken, kind: str, now: float) -> dict[str, str]:
    """Return the most important claims, by label. The claims are not verified."""
    if not parsed.header and not parsed.claims:
        return {}
    facts: dict[str, str] = {}
    if parsed.header:
        facts["algorithm"] = _algorithm(parsed)
    for name, label, past_label in (("iat", "issued", "issued"), ("exp", "expires", "expired")):
        value = _times(parsed).get(name)
        seconds = as_timestamp(value)
        if seconds is not None:
            facts[past_label if seconds <= now else label] = f"{format_relative(seconds, now)}, {format_utc(seconds)}"
        elif value is not None:
            facts[label] = f"{name} is not a timestamp in seconds"
    reader: Callable[[Mapping[str, Any]], dict[str, str]] | None = _READERS.get(kind)
    return facts if reader is None else {**facts, **reader(parsed.claims)}


def _algorithm(parsed: ParsedToken) -> str:
    header, sizes = parsed.header, parsed.sizes
    descriptions = [str(header.get("alg", "no alg")), *([str(header["enc"])] if "enc" in header else [])]
    descriptions.append(f"key {header['kid']!r}" if isinstance(header.get("kid"), str) else "no kid")
    if "signature" in sizes:
        is_rsa = descriptions[0][:2] in ("RS", "PS")
        descriptions.append(f"signature of {sizes['signature']} bytes{_bits(sizes['signature']) if is_rsa else ''}")
    if "encrypted key" in sizes:
        descriptions.append(f"content key of {sizes['encrypted key']} bytes{_bits(sizes['encrypted key'])}")
    if "ciphertext" in sizes:
        descriptions.append(f"{sizes['ciphertext']} bytes of content")
    return ", ".join(descriptions)


def _bits(size: int) -> str:
    return f" (RSA of {size * 8} bits)"


def _context_facts(claims: Mapping[str, Any]) -> dict[str, str]:
    jwk, data = _at(claims, "flx", "jwk"), _at(claims, "ctx", 0, "data")
    modulus = _string_at(jwk, "n") or ""
    facts = {
        "one-time key": f"RSA of {len(modulus) * 6 // 32 * 32} bits, kid {_string_at(jwk, 'kid')!r}"
        if modulus
        else "none"
    }
    for name, label in (
        ("requiredFields", "required"),
        ("optionalFields", "optional"),
        ("targetOrigins", "origins"),
        ("allowedCardNetworks", "networks"),
        ("allowedPaymentTypes", "payment types"),
    ):
        entries = _at(data, name)
        if isinstance(entries, list) and entries:
            facts[label] = ", ".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in entries)
    for label, value in (
        ("library", _string_at(data, "clientLibrary")),
        ("origin", _string_at(claims.get("flx"), "origin")),
    ):
        if value:
            facts[label] = value
    return facts


def _token_facts(claims: Mapping[str, Any]) -> dict[str, str]:
    information = _at(claims, "content", "paymentInformation")
    card = _at(information, "card") or _at(information, "tokenizedCard")
    number = _at(card, "number")
    descriptions = [
        _string_at(number, "maskedValue") or _string_at(claims.get("data"), "number") or "number not shown",
        *(f"BIN {prefix}" for prefix in (_string_at(number, "bin"),) if prefix),
    ]
    codes = (
        _string_at(_at(card, "type"), "value")
        or _string_at(claims.get("data"), "type")
        or _at(number, "detectedCardTypes")
    )
    for code in [codes] if isinstance(codes, str) else codes if isinstance(codes, list) else []:
        card_type = CARD_TYPES.get(code) if isinstance(code, str) else None
        descriptions.append(f"type {code}{'' if card_type is None else f' ({card_type.name})'}")
    return {"card": ", ".join(descriptions)}


def _request_facts(claims: Mapping[str, Any]) -> dict[str, str]:
    merchant, issuer = _string_at(claims, "v-c-merchant-id"), _string_at(claims, "iss")
    request = (_string_at(claims, name) or "?" for name in ("request-method", "request-host", "request-resource-path"))
    facts = {"for": "{} https://{}{}".format(*request), "merchant": merchant or "missing"}
    if issuer != merchant:
        facts["signed by"] = f"{issuer or 'no issuer'}, with its meta key"
    return facts


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, str]]]] = {
    _CONTEXT: _context_facts,
    _TOKEN: _token_facts,
    "request": _request_facts,
}


def _at(value: Any, *path: str | int) -> Any:
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and len(value) > step else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _string_at(parent: Any, name: str) -> str | None:
    value = _at(parent, name)
    return value if isinstance(value, str) and value else None
