"""``cybersource-flex inspect``: what a token says of itself, without believing any of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from ..cards import CARD_TYPES
from ..errors import TokenError
from ..jose import compact
from .console import NARROW, Console, abbreviate, format_relative, format_utc, mask_for_display
from .token_input import ParsedToken, TokenInput, as_timestamp, parse_leniently, read_token

__all__ = ["KINDS", "classify", "run"]

_CONTEXT, _TOKEN = "capture_context", "transient_token"

#: What a token can be, and that in words. The names do not change between versions.
KINDS: Final = {
    _CONTEXT: "a capture context",
    _TOKEN: "a transient token",
    "request": "the JWT that signs one request to the API",
    "old_request": "the JWT of a request, of the older scheme that CyberSource ends",
    "payment_credentials": "what is inside of payment credentials: it holds a card number, masked here",
    "encrypted_payment_credentials": "payment credentials, encrypted to a key of the merchant's",
    "encrypted_card": "card data, encrypted to the one-time key of a capture context",
    "encrypted_message": "an encrypted request or answer (message-level encryption)",
    "stored_context": "a capture context as store_capture_context keeps it",
    "jws": "a signed token, but none that Flex is known to have",
    "jwe": "an encrypted token, but none that Flex is known to have",
    "unknown": "not a token",
}
_FAMILIES: Final = {
    "api": "of the Flex API",
    "mf": "of Microform",
    "gda": "of Unified Checkout",
    "uc": "of Unified Checkout",
}


def classify(text: str, anatomy: ParsedToken) -> str:
    """What a token seems to be: one of ``KINDS``."""
    header, claims = anatomy.header, anatomy.claims
    if text.startswith("fc1."):
        return "stored_context"
    if anatomy.form == "jwe":
        if header.get("alg") == "RSA-OAEP" and "iat" not in header:
            return "encrypted_card"
        if header.get("alg") == "RSA-OAEP-256" and header.get("cty") == "JWT" and "exp" in header:
            return "encrypted_payment_credentials"
        return "encrypted_message" if "iat" in header else "jwe"
    issuer, kind = claims.get("iss"), claims.get("type")
    if issuer == "Flex API" or ("flx" in claims and "ctx" in claims):
        return _CONTEXT
    if isinstance(issuer, str) and re.fullmatch(r"Flex/[0-9]+", issuer):
        return _TOKEN
    if isinstance(kind, str) and kind.partition("-")[0] in _FAMILIES:
        return _TOKEN
    if issuer == "https://flex.visa.com" or header.get("cty") == "json+pc":
        return "payment_credentials"
    if "v-c-jwt-version" in claims or "request-host" in claims:
        return "request"
    if "v-c-merchant-id" in header:
        return "old_request"
    return anatomy.form or "unknown"


def run(token: str | None, file: Path | None, *, as_json: bool, full: bool) -> bool:
    """Show what a token says.

    Args:
        token: the token, the path of a file with it, ``-`` for standard input, or None.
        file: a file with it.
        as_json: show JSON.
        full: show long texts whole.

    Returns:
        Whether it is well formed.
    """
    given = read_token(token, file)
    anatomy = parse_leniently(given.text)
    kind = classify(given.text, anatomy)
    now = time.time()
    if as_json:
        click.echo(json.dumps(_report(given, anatomy, kind, now), indent=2))
    else:
        _show(given, anatomy, kind, now, full)
    return not anatomy.faults


def _show(given: TokenInput, anatomy: ParsedToken, kind: str, now: float, full: bool) -> None:
    console = Console()
    console.verdict(False, "NOT VERIFIED", "this is what the token says of itself, and anybody can write that")
    console.row("it is" if kind == "unknown" else "it looks like", _explain(kind, anatomy))
    if given.source != "argument":
        console.row("read from", given.source)
    for what in given.removed:
        console.row("taken away", what)
    for fault in anatomy.faults:
        console.row("malformed", f"{fault.error}: {fault.message}", "bold red")
    for note in _notes(given, anatomy, kind):
        console.row("refused", note, "yellow")
    console.rows({label: str(mask_for_display(text)) for label, text in _facts(anatomy, kind, now).items()})
    for name, tree in (("header", anatomy.header), ("payload", anatomy.claims)):
        if tree:
            console.json(name, mask_for_display(tree) if full else abbreviate(mask_for_display(tree)), NARROW)
    if kind in (_CONTEXT, _TOKEN) and not anatomy.faults:
        more = " --context CONTEXT" if kind == _TOKEN else ""
        console.row("to verify it", f"cybersource-flex verify{more}", "bold")


def _report(given: TokenInput, anatomy: ParsedToken, kind: str, now: float) -> dict[str, Any]:
    issued, expires = (as_timestamp(_times(anatomy).get(name)) for name in ("iat", "exp"))
    return {
        "verified": False,
        "well_formed": not anatomy.faults,
        "kind": kind,
        "type": mask_for_display(_type(anatomy, kind)),
        "description": _explain(kind, anatomy),
        "source": given.source,
        "removed": list(given.removed),
        "problems": [fault._asdict() for fault in anatomy.faults],
        "notes": _notes(given, anatomy, kind),
        "issued_at": issued,
        "expires_at": expires,
        "expired": None if expires is None else now >= expires,
        "facts": {label: mask_for_display(text) for label, text in _facts(anatomy, kind, now).items()},
        "header": mask_for_display(anatomy.header) or None,
        "payload": mask_for_display(anatomy.claims) or None,
        "sizes": dict(anatomy.sizes),
    }


def _explain(kind: str, anatomy: ParsedToken) -> str:
    found = _type(anatomy, kind)
    if found is None:
        return KINDS[kind]
    family = _FAMILIES.get(found.partition("-")[0], "of a family that is not known here")
    return str(mask_for_display(f"{KINDS[kind]} {family}, {found[:40]}"))


def _type(anatomy: ParsedToken, kind: str) -> str | None:
    tree = _at(anatomy.claims, "ctx", 0) if kind == _CONTEXT else anatomy.claims if kind == _TOKEN else None
    return _text(tree, "type")


def _notes(given: TokenInput, anatomy: ParsedToken, kind: str) -> list[str]:
    """Why verification would not even look at the signature, form aside."""
    if anatomy.faults or kind not in (_CONTEXT, _TOKEN):
        return []
    try:
        compact.parse_jws(given.text, KINDS[kind].removeprefix("a "))
    except TokenError as cause:
        return [f"{type(cause).__name__}: {cause}"]
    return []


def _times(anatomy: ParsedToken) -> Mapping[str, Any]:
    return anatomy.header if anatomy.form == "jwe" else anatomy.claims


def _facts(anatomy: ParsedToken, kind: str, now: float) -> dict[str, str]:
    """What a reader looks for first. Nothing of it is believed."""
    if not anatomy.header and not anatomy.claims:
        return {}
    facts: dict[str, str] = {}
    if anatomy.header:
        facts["algorithm"] = _algorithm(anatomy)
    for name, label, past in (("iat", "issued", "issued"), ("exp", "expires", "expired")):
        value = _times(anatomy).get(name)
        seconds = as_timestamp(value)
        if seconds is not None:
            gone = past if name == "exp" and seconds <= now else label
            facts[gone] = f"{format_relative(seconds, now)}, {format_utc(seconds)}"
        elif value is not None:
            facts[label] = f"{name} is not a time in whole seconds"
    reader: Callable[[Mapping[str, Any]], dict[str, str]] | None = _READERS.get(kind)
    return facts if reader is None else {**facts, **reader(anatomy.claims)}


def _algorithm(anatomy: ParsedToken) -> str:
    header, sizes = anatomy.header, anatomy.sizes
    words = [str(header.get("alg", "no alg")), *([str(header["enc"])] if "enc" in header else [])]
    words.append(f"key {header['kid']!r}" if isinstance(header.get("kid"), str) else "no kid")
    if "signature" in sizes:
        rsa = words[0][:2] in ("RS", "PS")
        words.append(f"signature of {sizes['signature']} bytes{_bits(sizes['signature']) if rsa else ''}")
    if "encrypted key" in sizes:
        words.append(f"content key of {sizes['encrypted key']} bytes{_bits(sizes['encrypted key'])}")
    if "ciphertext" in sizes:
        words.append(f"{sizes['ciphertext']} bytes of content")
    return ", ".join(words)


def _bits(size: int) -> str:
    return f" (RSA of {size * 8} bits)"


def _context_facts(claims: Mapping[str, Any]) -> dict[str, str]:
    jwk, data = _at(claims, "flx", "jwk"), _at(claims, "ctx", 0, "data")
    modulus = _text(jwk, "n") or ""
    facts = {
        "one-time key": f"RSA of {len(modulus) * 6 // 32 * 32} bits, kid {_text(jwk, 'kid')!r}" if modulus else "none"
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
            facts[label] = ", ".join(each if isinstance(each, str) else json.dumps(each) for each in entries)
    for label, text in (("library", _text(data, "clientLibrary")), ("origin", _text(claims.get("flx"), "origin"))):
        if text:
            facts[label] = text
    return facts


def _token_facts(claims: Mapping[str, Any]) -> dict[str, str]:
    information = _at(claims, "content", "paymentInformation")
    card = _at(information, "card") or _at(information, "tokenizedCard")
    number = _at(card, "number")
    words = [
        _text(number, "maskedValue") or _text(claims.get("data"), "number") or "number not shown",
        *(f"BIN {found}" for found in (_text(number, "bin"),) if found),
    ]
    codes = _text(_at(card, "type"), "value") or _text(claims.get("data"), "type") or _at(number, "detectedCardTypes")
    for code in [codes] if isinstance(codes, str) else codes if isinstance(codes, list) else []:
        known = CARD_TYPES.get(code) if isinstance(code, str) else None
        words.append(f"type {code}{'' if known is None else f' ({known.name})'}")
    return {"card": ", ".join(words)}


def _request_facts(claims: Mapping[str, Any]) -> dict[str, str]:
    merchant, issuer = _text(claims, "v-c-merchant-id"), _text(claims, "iss")
    words = (_text(claims, name) or "?" for name in ("request-method", "request-host", "request-resource-path"))
    facts = {"for": "{} https://{}{}".format(*words), "merchant": merchant or "not said"}
    if issuer != merchant:
        facts["in the name of"] = f"{issuer or 'nobody'}, with its meta key"
    return facts


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, str]]]] = {
    _CONTEXT: _context_facts,
    _TOKEN: _token_facts,
    "request": _request_facts,
}


def _at(tree: Any, *path: str | int) -> Any:
    for step in path:
        if isinstance(step, int):
            tree = tree[step] if isinstance(tree, list) and len(tree) > step else None
        else:
            tree = tree.get(step) if isinstance(tree, dict) else None
    return tree


def _text(tree: Any, name: str) -> str | None:
    found = _at(tree, name)
    return found if isinstance(found, str) and found else None
