"""Tokens that were copied or encoded once too often: the message names the wrong character and what to do about it."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import quote

import pytest

from cybersource_flex import errors
from cybersource_flex.jose import (
    CaptureContext,
    PinnedKeys,
    open_payment_credentials,
    restore_capture_context,
    store_capture_context,
    verify_capture_context,
    verify_transient_token,
)
from support.keys import LONG_TERM, MERCHANT, ONE_TIME, jwk, private_key
from support.tokens import (
    CONTEXT_HEADER,
    TOKEN_HEADER,
    capture_context_claims,
    encrypt_jwe,
    sign_jwt,
    transient_token_claims,
)

NOW = 1_800_000_000


@cache
def keys() -> PinnedKeys:
    return PinnedKeys([jwk(LONG_TERM, "zz")])


@cache
def context_jwt() -> str:
    return sign_jwt(LONG_TERM, CONTEXT_HEADER, capture_context_claims(NOW))


@cache
def context() -> CaptureContext:
    return verify_capture_context(context_jwt(), keys(), now=NOW)


@cache
def token_jwt() -> str:
    return sign_jwt(ONE_TIME, TOKEN_HEADER, transient_token_claims(NOW))


@cache
def credentials_jwe() -> str:
    claims = {"iss": "https://flex.visa.com", "iat": NOW, "exp": NOW + 900, "jti": "x"}
    inner = sign_jwt(LONG_TERM, CONTEXT_HEADER, claims)
    return encrypt_jwe(private_key(MERCHANT), inner.encode(), {"alg": "RSA-OAEP-256", "enc": "A256GCM"})


KINDS: dict[str, tuple[Callable[[], str], Callable[[str], Any]]] = {
    "capture context": (context_jwt, lambda jwt: verify_capture_context(jwt, keys(), now=NOW)),
    "transient token": (token_jwt, lambda jwt: verify_transient_token(jwt, context(), now=NOW)),
    "payment credentials": (
        credentials_jwe,
        lambda jwe: open_payment_credentials(jwe, private_key(MERCHANT), keys(), now=NOW),
    ),
}

Base64, Form = errors.Base64UrlError, errors.CompactFormError
COPIES: dict[str, tuple[Callable[[str], str], type[errors.MalformedTokenError], str]] = {
    "JSON.stringify": (json.dumps, Base64, "a quotation mark at position 0.*json.loads"),
    "JSON.stringify twice": (lambda t: json.dumps(json.dumps(t)), Base64, "a quotation mark at position 0"),
    "JSON in JSON": (lambda t: json.dumps(json.dumps(t))[1:-1], Base64, "a backslash at position 0.*json.loads"),
    "apostrophes": (lambda t: f"'{t}'", Base64, "a quotation mark"),
    "typographic quotation marks": (lambda t: f"\u201c{t}\u201d", Base64, "a quotation mark"),
    "only at the end": (lambda t: t + '"', Base64, "has a quotation mark at position"),
    "bytes of Python": (lambda t: repr(t.encode()), Base64, "a quotation mark at position 1"),
    "a line end": (lambda t: t + "\n", Base64, r"white space at position.*str\.strip"),
    "CRLF": (lambda t: t + "\r\n", Base64, "white space"),
    "spaces before": (lambda t: "  " + t, Base64, r"white space at position 0.*str\.strip"),
    "a tab": (lambda t: "\t" + t, Base64, "white space"),
    "a no-break space": (lambda t: "\u00a0" + t, Base64, "white space"),
    "a byte order mark": (lambda t: "\ufeff" + t, Base64, "an invisible character at position 0"),
    "a zero width space": (lambda t: t[:50] + "\u200b" + t[50:], Base64, "an invisible character at position"),
    "lines": (lambda t: t[:64] + "\n" + t[64:], Base64, "white space at position"),
    "Bearer": (lambda t: f"Bearer {t}", Base64, "a space at position 6.*without the word 'bearer' before it"),
    "bearer": (lambda t: f"bearer {t}", Base64, "without the word 'bearer' before it"),
    "a header": (lambda t: f"Authorization: Bearer {t}", Base64, "a colon at position 13.*without a name before it"),
    "HTML": (lambda t: html.escape(json.dumps(t)), Base64, r"an ampersand \(&\) at position 0.*html\.unescape"),
    "HTML, decimal": (lambda t: f"&#34;{t}&#34;", Base64, r"html\.unescape"),
    "percent-encoded": (lambda t: quote(json.dumps(t)), Base64, r"a percent sign \(%\) at position 0.*urllib"),
    "percent-encoded dots": (lambda t: t.replace(".", "%2E"), Form, "percent-encoded.*unquote"),
    "a form field": (lambda t: f"token={t}", Base64, r"an equals sign \(=\) at position 5.*the name before"),
    "padding": (lambda t: t.replace(".", "=.", 1), Base64, r"an equals sign \(=\).*remove the padding"),
    "a comma": (lambda t: t + ",", Base64, "a comma"),
    "a semicolon": (lambda t: t + ";", Base64, "a semicolon"),
    "markup": (lambda t: f"<code>{t}</code>", Base64, "an angle bracket.*without markup"),
    "a JSON object": (lambda t: json.dumps({"token": t}), Base64, r"a brace \({\) at position 0.*the string member"),
    "a list": (lambda t: json.dumps([t]), Base64, "a bracket"),
    "base64 instead of base64url, plus": (lambda t: t[:20] + "+" + t[21:], Base64, "a plus sign.*base64url uses -"),
    "base64 instead of base64url, slash": (lambda t: t[:20] + "/" + t[21:], Base64, "a slash.*base64url uses _"),
    "nothing": (lambda t: "", Form, "it is empty"),
    "a line end alone": (lambda t: "\n", Form, "it is empty"),
    "undefined": (lambda t: "undefined", Form, "it is the word 'undefined'"),
    "null": (lambda t: "null", Form, "it is the word 'null'"),
    "None": (lambda t: "None", Form, "it is the word 'None'"),
    "an object of the page": (lambda t: "[object Object]", Form, r"it is the word '\[object Object\]'"),
    "a JSON object without a token": (lambda t: '{"error":"x"}', Form, "it is a JSON object"),
    "a stored context": (lambda t: store_capture_context(context()), Form, "pass it to restore_capture_context"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COPIES)
def test_the_message_names_the_wrong_character_and_what_to_do(name: str, kind: str) -> None:
    make, verify = KINDS[kind]
    change, error, message = COPIES[name]
    assert verify(make())
    changed = change(make())
    with pytest.raises(error, match=message) as caught:
        verify(changed)
    assert type(caught.value) is error
    assert f"the {kind}" in str(caught.value)
    for part in make().split("."):
        assert part[:12] not in str(caught.value)


@pytest.mark.parametrize(
    "character", ["é", "\uff14", "٣", "\u0430", "\x07", "#", "$", "*", "@", "~", "\ud800", "\U0001f600"]
)
def test_other_characters_are_not_named(character: str) -> None:
    """They could be content: a digit of another script, for example."""
    jwt = token_jwt()
    with pytest.raises(errors.Base64UrlError, match=r"has a character at position 9 that is not base64url$") as caught:
        verify_transient_token(jwt[:9] + character + jwt[9:], context(), now=NOW)
    assert character not in str(caught.value)
    assert caught.value.position == 9


def test_the_kind_of_a_wrong_token_is_named() -> None:
    with pytest.raises(errors.CompactFormError, match=r"it has five parts, so it is an encrypted token \(JWE\)"):
        verify_transient_token(credentials_jwe(), context(), now=NOW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (json.dumps, "white space or a quotation mark"),
        (lambda stored: f" {stored}", "white space or a quotation mark"),
        (lambda stored: context_jwt(), "it is a JWT or JWE; pass a JWT to verify_capture_context"),
        (lambda stored: "", "it is empty"),
        (lambda stored: stored + "\n", "damaged"),
        (lambda stored: None, "must be a string, not NoneType"),
    ],
)
def test_messages_for_copied_stored_contexts(change: Callable[[str], Any], message: str) -> None:
    stored = store_capture_context(context())
    with pytest.raises(errors.MalformedTokenError, match=message) as caught:
        restore_capture_context(change(stored), keys(), now=NOW)
    assert stored[4:20] not in str(caught.value)
