"""The emulator over raw HTTP: operations, authentication, validation. Signs and encrypts without the SDK."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cybersource_flex import emulator
from cybersource_flex.emulator import Emulator, Merchant
from cybersource_flex.emulator.auth.auth_context import AuthContext
from cybersource_flex.emulator.auth.credentials import CredentialStore

SESSIONS, MICROFORM, TOKENS = "/flex/v2/sessions", "/microform/v2/sessions", "/flex/v2/tokens"
NOW = 1795348800.0
JSON_TYPE = "application/json;charset=utf-8"
CARD = {
    "number": "4111111111111111",
    "expirationMonth": "12",
    "expirationYear": "2031",
    "securityCode": "123",
}
OTHER = Merchant.generate("another_merchant")
# Seconds; this only ends a hang.
PATIENCE = 20


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name]
        assert len(values) <= 1, f"{name} occurs {len(values)} times in the response"
        return values[0] if values else None

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def send(e: Emulator, method: str, target: str, headers: dict[str, str], body: bytes | None = None) -> Reply:
    connection = http.client.HTTPConnection(e.url.removeprefix("http://"), timeout=PATIENCE)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": e.url.removeprefix("http://"), **headers}.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        return Reply(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64url(encoded: str) -> bytes:
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))


def sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")


def own_host(e: Emulator) -> str:
    return e.url.removeprefix("http://")


def merchant_of(e: Emulator) -> Merchant:
    return Merchant(**e.auth)


def bearer(
    e: Emulator,
    method: str,
    target: str,
    body: bytes | None,
    *,
    merchant: Merchant | None = None,
    secret: bytes | None = None,
    algorithm: str = "sha256",
    header: dict[str, Any] | None = None,
    **claims: Any,
) -> dict[str, str]:
    """Authorization header with a JWT. Claims that are None are omitted; "_" in their names becomes "-"."""
    merchant = merchant or merchant_of(e)
    members: dict[str, Any] = {
        "iat": int(NOW),
        "exp": int(NOW) + 120,
        "request-method": method,
        "request-host": own_host(e),
        "request-resource-path": target,
        "iss": merchant.merchant_id,
        "jti": str(uuid.uuid4()),
        "v-c-jwt-version": "2",
        "v-c-merchant-id": merchant.merchant_id,
    }
    if body is not None:
        members |= {"digest": sha256(body), "digestAlgorithm": "SHA-256"}
    members |= {name.replace("_", "-"): value for name, value in claims.items()}
    top = {"alg": "HS256", "kid": merchant.key_id, "typ": "JWT", **(header or {})}
    parts = ({k: v for k, v in part.items() if v is not None} for part in (top, members))
    signed = ".".join(b64url(json.dumps(part).encode()) for part in parts)
    mac = hmac.new(secret or base64.b64decode(merchant.secret_key), signed.encode(), algorithm).digest()
    return {"Authorization": f"Bearer {signed}.{b64url(mac)}", "Content-Type": JSON_TYPE}


def signature(
    e: Emulator,
    method: str,
    target: str,
    body: bytes | None,
    *,
    merchant: Merchant | None = None,
    secret: bytes | None = None,
    names: str | None = None,
    algorithm: str = "HmacSHA256",
    signed: dict[str, str] | None = None,
    sent: dict[str, str | None] | None = None,
) -> dict[str, str]:
    """HTTP Signature headers; `signed` replaces lines that are signed, `sent` headers that are sent."""
    merchant = merchant or merchant_of(e)
    headers = {
        "Host": own_host(e),
        "Date": formatdate(NOW, usegmt=True),
        "v-c-merchant-id": merchant.merchant_id,
        "Content-Type": JSON_TYPE,
    }
    names = names or "host date request-target v-c-merchant-id"
    if body is not None:
        headers["Digest"] = f"SHA-256={sha256(body)}"
        names = names.replace("request-target v-c", "request-target digest v-c")
    lines = {name.lower(): value for name, value in headers.items()}
    lines |= {
        "request-target": f"{method.lower()} {target}",
        "(request-target)": f"{method.lower()} {target}",
    }
    lines |= signed or {}
    signed_string = "\n".join(f"{name}: {lines[name]}" for name in names.split())
    key = secret or base64.b64decode(merchant.secret_key)
    mac = base64.b64encode(hmac.new(key, signed_string.encode(), hashlib.sha256).digest()).decode()
    headers["Signature"] = f'keyid="{merchant.key_id}", algorithm="{algorithm}", headers="{names}", signature="{mac}"'
    merged: dict[str, str | None] = {**headers, **(sent or {})}
    return {name: value for name, value in merged.items() if value is not None}


def fields(*card: str, **order: tuple[str, ...]) -> dict[str, Any]:
    """`fields(card..., billTo=(...))`; a name with "?" is optional."""

    def leaves(names: tuple[str, ...]) -> dict[str, Any]:
        return {name.rstrip("?"): {"required": False} if name.endswith("?") else {} for name in names}

    tree: dict[str, Any] = {"paymentInformation": {"card": leaves(card)}}
    if order:
        tree["orderInformation"] = {party: leaves(names) for party, names in order.items()}
    return {"fields": tree}


def microform(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "clientVersion": "v2",
        "targetOrigins": ["https://shop.example.com"],
        "allowedCardNetworks": ["VISA", "MASTERCARD", "AMEX"],
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


def post(e: Emulator, path: str, value: Any, **changes: Any) -> Reply:
    body = json.dumps(value).encode()
    headers = {**bearer(e, "POST", path, body, **changes), "Accept": "application/jwt"}
    return send(e, "POST", path, headers, body)


def get(e: Emulator, path: str, merchant: Merchant | None = None) -> Reply:
    return send(e, "GET", path, bearer(e, "GET", path, None, merchant=merchant))


ALL_CARD = ("number", "expirationMonth?", "expirationYear?", "securityCode?", "type?")


def context(e: Emulator, request: dict[str, Any] | None = None, path: str = SESSIONS) -> str:
    reply = post(e, path, request or fields(*ALL_CARD))
    assert reply.status == 201, reply.text
    return reply.text


def decoded(jwt: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, payload, _ = jwt.split(".")
    return json.loads(unb64url(header)), json.loads(unb64url(payload))


def public_key(jwk: dict[str, str]) -> rsa.RSAPublicKey:
    n, e = (int.from_bytes(unb64url(jwk[name]), "big") for name in ("n", "e"))
    return rsa.RSAPublicNumbers(e, n).public_key()


def verify(jwt: str, jwk: dict[str, str]) -> dict[str, Any]:
    """The payload, once the RS256 signature is found right."""
    signed, _, mac = jwt.rpartition(".")
    public_key(jwk).verify(unb64url(mac), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return decoded(jwt)[1]


def one_time_key(jwt: str) -> dict[str, str]:
    jwk: dict[str, str] = decoded(jwt)[1]["flx"]["jwk"]
    return jwk


OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303
OAEP_256 = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


def seal(
    jwt: str,
    data: Any,
    *,
    header: dict[str, Any] | None = None,
    iv: bytes = b"\x07" * 12,
    oaep: padding.OAEP = OAEP,
    key_size: int = 32,
    aad: bytes | None = None,
    raw: bytes | None = None,
    **content: Any,
) -> str:
    jwk = one_time_key(jwt)
    top = {"alg": "RSA-OAEP", "enc": "A256GCM", "kid": jwk["kid"], **(header or {})}
    first = b64url(json.dumps({k: v for k, v in top.items() if v is not None}).encode())
    members = {"data": data, "context": jwt, "index": 0, **content}
    plain = raw if raw is not None else json.dumps({k: v for k, v in members.items() if v is not None}).encode()
    secret = os.urandom(key_size)
    sealed = AESGCM(secret).encrypt(iv, plain, first.encode() if aad is None else aad)
    wrapped = public_key(jwk).encrypt(secret, oaep)
    return ".".join((first, *map(b64url, (wrapped, iv, sealed[:-16], sealed[-16:]))))


def tokenize(e: Emulator, jwe: str, content_type: str = "application/jwt") -> Reply:
    return send(e, "POST", TOKENS, {"Content-Type": content_type}, jwe.encode())


def nested(card: dict[str, Any], **order: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"paymentInformation": {"card": card}}
    return {**data, "orderInformation": order} if order else data


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def shared(clock: Clock) -> Iterator[Emulator]:
    """One emulator for the file: starting one costs a third of a second, and no test leans on another."""
    with Emulator(merchants=[Merchant.generate(), OTHER], clock=clock) as running:
        yield running


@pytest.fixture
def e(shared: Emulator, clock: Clock) -> Iterator[Emulator]:
    clock.now = NOW
    shared.clear()
    yield shared
    clock.now = NOW


# --- all operations -------------------------------------------------------------------------------------


def test_all_five_operations(e: Emulator) -> None:
    request = fields(*ALL_CARD, billTo=("firstName?", "lastName?"))
    reply = post(e, SESSIONS, request)
    assert (reply.status, reply.header("content-type")) == (201, "application/jwt")
    jwt = reply.text
    header, claims = decoded(jwt)
    assert list(header) == ["kid", "alg"]
    assert header["alg"] == "RS256"
    assert len(header["kid"]) == 2
    assert list(claims) == ["flx", "ctx", "iss", "exp", "iat", "jti"]
    assert (claims["iss"], claims["iat"], claims["exp"]) == ("Flex API", int(NOW), int(NOW) + 900)
    assert len(claims["jti"]) == 16
    flx = claims["flx"]
    assert (flx["path"], flx["origin"]) == (TOKENS, e.url)
    assert len(base64.b64decode(flx["data"], validate=True)) == 83
    assert (flx["jwk"]["use"], flx["jwk"]["e"], len(flx["jwk"]["kid"])) == ("enc", "AQAB", 32)
    card, bill_to = "paymentInformation.card.", "orderInformation.billTo."
    optional = [card + name.rstrip("?") for name in ALL_CARD[1:]] + [
        bill_to + "firstName",
        bill_to + "lastName",
    ]
    assert claims["ctx"] == [
        {"data": {"requiredFields": [card + "number"], "optionalFields": optional}, "type": "api-0.1.0"}
    ]

    key = send(e, "GET", f"/flex/v2/public-keys/{header['kid']}", {"Accept": "application/json"})
    assert (key.status, list(key.json)) == (200, ["kty", "use", "kid", "n", "e"])
    assert key.json["kid"] == header["kid"]
    assert key.json["use"] == "enc"
    verify(jwt, key.json)

    created = tokenize(e, seal(jwt, nested({**CARD, "type": "001"}, billTo={"firstName": "Zoë", "lastName": ""})))
    assert (created.status, created.header("content-type")) == (201, "application/jwt"), created.text
    token_header, token = decoded(created.text)
    assert token_header == {"kid": flx["jwk"]["kid"], "alg": "RS256"}
    verify(created.text, flx["jwk"])
    assert (token["iss"], token["type"]) == ("Flex/00", "api-0.1.0")
    assert token["exp"] - token["iat"] == 900
    assert re.fullmatch("[0-9A-Z]{64}", token["jti"])
    assert token["jti"][52:60] == f"{token['exp']:08X}"
    assert token["content"] == {
        "paymentInformation": {
            "card": {
                "number": {"maskedValue": "XXXXXXXXXXXX1111", "bin": "411111", "detectedCardTypes": ["001"]},
                "expirationMonth": {"value": "12"},
                "expirationYear": {"value": "2031"},
                "securityCode": {},
                "type": {"value": "001"},
            }
        },
        "orderInformation": {"billTo": {"firstName": {}}},
    }

    details = get(e, f"/flex/v2/payment-details/{token['jti']}")
    assert (details.status, details.header("content-type")) == (200, "application/json")
    assert details.json == {
        "paymentInformation": {
            "card": {
                "number": "XXXXXXXXXXXX1111",
                "expirationMonth": "12",
                "expirationYear": "2031",
                "type": "001",
            }
        },
        "orderInformation": {"billTo": {"firstName": "Zoë"}},
    }
    # Without payment credentials, neither responses nor stored data contain the number or the code.
    assert get(e, "/flex/v2/payment-credentials/E-firqlLk7GiziQwXxAsq").status == 404


def test_every_response_has_the_documented_headers(e: Emulator, clock: Clock) -> None:
    clock.now = NOW + 5
    correlation_ids = set()
    for reply in (
        post(e, SESSIONS, fields("number")),
        post(e, SESSIONS, {}),
        send(e, "POST", SESSIONS, {}, b"{}"),
        send(e, "GET", "/flex/v2/public-keys/nope", {}),
        send(e, "GET", "/elsewhere", {}),
        send(e, "PUT", TOKENS, {}, b""),
    ):
        assert reply.header("date") == "Sun, 22 Nov 2026 12:00:05 GMT"
        assert reply.header("server") is None
        correlation_ids.add(reply.header("v-c-correlation-id"))
        if reply.status not in (401, 405):
            assert reply.header("digest") == f"SHA-256={sha256(reply.body)}"
    assert len(correlation_ids) == 6
    assert None not in correlation_ids
    assert [item.correlation_id for item in e.requests]
    assert correlation_ids == {item.correlation_id for item in e.requests}


def test_tokens_of_one_context_do_not_verify_with_the_key_of_the_next(e: Emulator) -> None:
    first, second = context(e), context(e)
    assert one_time_key(first)["n"] != one_time_key(second)["n"]
    assert one_time_key(first)["kid"] != one_time_key(second)["kid"]


def test_payment_details_belong_to_the_merchant_and_expire(e: Emulator, clock: Clock) -> None:
    jti = decoded(tokenize(e, seal(context(e), nested(CARD))).text)[1]["jti"]
    path = f"/flex/v2/payment-details/{jti}"
    assert get(e, path, OTHER).status == 404
    assert get(e, "/flex/v2/payment-details/" + "0" * 64).status == 404
    assert send(e, "GET", path, {}).status == 401
    assert get(e, path).status == 200
    clock.now = NOW + 901
    late = bearer(e, "GET", path, None, iat=int(clock.now), exp=int(clock.now) + 60)
    assert send(e, "GET", path, late).status == 404


def test_payment_credentials() -> None:
    with Emulator(payment_credentials=True, key_pool=1, clock=lambda: NOW) as e:
        claims = decoded(tokenize(e, seal(context(e), nested(CARD))).text)[1]
        (reference,) = claims["paymentCredentialsReference"].values()
        assert list(claims["paymentCredentialsReference"]) == [e.auth["merchant_id"]]
        assert re.fullmatch("[A-Za-z0-9_-]{21}", reference)
        reply = get(e, f"/flex/v2/payment-credentials/{reference}")
        assert (reply.status, reply.header("content-type")) == (200, "application/jwt")
        first, wrapped, iv, sealed, tag = reply.text.split(".")
        header = json.loads(unb64url(first))
        assert (header["alg"], header["enc"], header["cty"]) == ("RSA-OAEP-256", "A256GCM", "JWT")
        assert str(uuid.UUID(header["kid"])) == header["kid"]
        key = serialization.load_pem_private_key(e.credentials_key_pem, None)
        assert isinstance(key, rsa.RSAPrivateKey)
        content_key = key.decrypt(unb64url(wrapped), OAEP_256)
        inner = AESGCM(content_key).decrypt(unb64url(iv), unb64url(sealed) + unb64url(tag), first.encode())
        inner_header, _ = decoded(inner.decode())
        long_term = send(e, "GET", f"/flex/v2/public-keys/{inner_header['kid']}", {}).json
        payload = verify(inner.decode(), long_term)
        assert inner_header["cty"] == "json+pc"
        assert (payload["iss"], payload["sub"]) == ("https://flex.visa.com", e.auth["merchant_id"])
        expected = {name: value for name, value in CARD.items() if name != "securityCode"}
        assert payload["paymentInformation"] == {"card": expected}


# --- authentication -------------------------------------------------------------------------------------

GOOD = json.dumps(fields("number")).encode()
Change = Callable[[Emulator], dict[str, str]]


def jwt(**changes: Any) -> Change:
    return lambda e: bearer(e, "POST", SESSIONS, GOOD, **changes)


def sig(**changes: Any) -> Change:
    return lambda e: signature(e, "POST", SESSIONS, GOOD, **changes)


NOW_INT = int(NOW)
ACCEPTED: list[tuple[str, Change]] = [
    ("jwt", jwt()),
    ("jwt HS384", jwt(algorithm="sha384", header={"alg": "HS384"})),
    ("jwt HS512", jwt(algorithm="sha512", header={"alg": "HS512"})),
    ("jwt for the real host", jwt(request_host="apitest.cybersource.com")),
    ("jwt for a regional host", jwt(request_host="api.in.cybersource.com")),
    ("jwt for the host without port", jwt(request_host="127.0.0.1")),
    ("jwt with lower-case method", jwt(request_method="post")),
    ("jwt with digest-algorithm", jwt(digestAlgorithm=None, digest_algorithm="SHA-256")),
    ("jwt with fractions", jwt(iat=NOW - 0.5, exp=NOW + 100.5)),
    ("jwt with another claim", jwt(x_claim="123")),
    ("jwt a little ahead", jwt(iat=NOW_INT + 50, exp=NOW_INT + 170)),
    ("signature", sig()),
    (
        "signature for the real host",
        sig(signed={"host": "api.cybersource.com"}, sent={"Host": "api.cybersource.com"}),
    ),
    (
        "signature with a date four minutes old",
        sig(
            signed={"date": formatdate(NOW - 240, usegmt=True)},
            sent={"Date": formatdate(NOW - 240, usegmt=True)},
        ),
    ),
]


@pytest.mark.parametrize("headers", [case[1] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_accepted(e: Emulator, headers: Change) -> None:
    reply = send(e, "POST", SESSIONS, headers(e), GOOD)
    assert reply.status == 201, e.requests[-1].rejection_reason


def dated(date: str) -> Change:
    return sig(signed={"date": date}, sent={"Date": date})


REJECTED: list[tuple[str, Change, str]] = [
    ("nothing", lambda e: {"Content-Type": JSON_TYPE}, "no credential"),
    ("both", lambda e: {**jwt()(e), **sig()(e)}, "both"),
    ("basic", lambda e: {"Authorization": "Basic abc"}, "Bearer"),
    ("no jwt", lambda e: {"Authorization": "Bearer abc"}, "three parts"),
    ("padded jwt", lambda e: {"Authorization": jwt()(e)["Authorization"] + "="}, "cannot be parsed"),
    ("alg none", jwt(header={"alg": "none"}), "alg"),
    ("alg RS256", jwt(header={"alg": "RS256"}), "alg"),
    ("no alg", jwt(header={"alg": None}), "alg is missing"),
    ("typ", jwt(header={"typ": None}), "typ"),
    ("crit", jwt(header={"crit": ["b64"]}), "crit"),
    ("no kid", jwt(header={"kid": None}), "kid is missing"),
    ("unknown kid", jwt(header={"kid": str(uuid.uuid4())}), "unknown here"),
    ("jwt wrong secret", jwt(secret=b"x" * 32), "another secret"),
    ("jwt secret not decoded", lambda e: jwt(secret=e.auth["secret_key"].encode())(e), "base64-decoded"),
    ("jwt digest of another body", jwt(digest=sha256(b"{}")), "not that of the body"),
    ("jwt digest with prefix", jwt(digest="SHA-256=" + sha256(GOOD)), "must not begin with SHA-256="),
    ("jwt digest missing", jwt(digest=None), "digest is missing"),
    ("jwt digest algorithm missing", jwt(digestAlgorithm=None), "digestAlgorithm is missing"),
    ("jwt digest algorithm", jwt(digestAlgorithm="SHA-512"), "SHA-256"),
    ("jwt other host", jwt(request_host="evil.example.com"), "request-host"),
    ("jwt host with scheme", jwt(request_host="https://apitest.cybersource.com"), "request-host"),
    ("jwt other path", jwt(request_resource_path=SESSIONS + "/"), "request-resource-path"),
    ("jwt other method", jwt(request_method="PUT"), "request-method"),
    ("jwt mixed-case method", jwt(request_method="Post"), "request-method"),
    ("jwt other issuer", jwt(iss="someone"), "iss"),
    ("jwt other merchant", jwt(v_c_merchant_id=OTHER.merchant_id), "does not belong"),
    ("jwt version as number", jwt(v_c_jwt_version=2), "v-c-jwt-version"),
    ("jwt life too long", jwt(exp=NOW_INT + 121), "121 s after iat"),
    ("jwt exp before iat", jwt(exp=NOW_INT), "not after iat"),
    ("jwt expired", jwt(iat=NOW_INT - 300, exp=NOW_INT - 180), "expired 180 s ago"),
    ("jwt from the future", jwt(iat=NOW_INT + 61, exp=NOW_INT + 100), "ahead"),
    ("jwt times as strings", jwt(iat=str(NOW_INT)), "iat must be a number"),
    ("jwt times as Boolean", jwt(iat=True), "iat must be a number"),
    ("jwt endless exp", jwt(exp=10**400), "exp must be a number"),
    ("jwt empty jti", jwt(jti=""), "jti"),
    *(
        (f"jwt without {name}", jwt(**{name: None}), "is missing")
        for name in ("iat", "exp", "jti", "iss", "request-method", "request-host", "v-c-merchant-id")
    ),
    ("jwt without path", jwt(request_resource_path=None), "is missing"),
    ("jwt without version", jwt(v_c_jwt_version=None), "v-c-jwt-version"),
    ("signature wrong secret", sig(secret=b"x" * 32), "another secret"),
    (
        "signature secret not decoded",
        lambda e: sig(secret=e.auth["secret_key"].encode())(e),
        "base64-decoded",
    ),
    (
        "signature other host signed",
        sig(signed={"host": "apitest.cybersource.com"}),
        "the signed host is apitest",
    ),
    (
        "signature for a foreign host",
        sig(signed={"host": "evil.example.com"}, sent={"Host": "evil.example.com"}),
        "neither this host",
    ),
    ("signature other target", sig(signed={"request-target": "post /flex/v2/tokens"}), "does not match"),
    ("signature upper-case verb", sig(signed={"request-target": f"POST {SESSIONS}"}), "does not match"),
    (
        "signature digest of another body",
        sig(sent={"Digest": "SHA-256=" + sha256(b"{}")}),
        "not that of the body",
    ),
    ("signature digest without prefix", sig(sent={"Digest": sha256(GOOD)}), "SHA-256="),
    ("signature digest missing", sig(sent={"Digest": None}), "digest is missing"),
    ("signature date missing", sig(sent={"Date": None}), "date is missing"),
    ("signature merchant missing", sig(sent={"v-c-merchant-id": None}), "v-c-merchant-id is missing"),
    ("signature other merchant", sig(sent={"v-c-merchant-id": OTHER.merchant_id}), "does not belong"),
    ("signature unknown key", sig(merchant=Merchant.generate()), "unknown here"),
    ("signature algorithm", sig(algorithm="hmac-sha256"), "HmacSHA256"),
    ("signature old", dated(formatdate(NOW - 301, usegmt=True)), "301 s behind"),
    ("signature ahead", dated(formatdate(NOW + 301, usegmt=True)), "301 s ahead"),
    ("signature date form", dated("2026-11-22T12:00:00Z"), "HTTP date"),
    ("signature date zone", dated("Sun, 22 Nov 2026 12:00:00 +0000"), "must have the form"),
    ("signature date weekday", dated("Mon, 22 Nov 2026 12:00:00 GMT"), "must have the form"),
    ("signature parentheses", sig(names="host date (request-target) digest v-c-merchant-id"), "parentheses"),
    ("signature line order", sig(names="date host request-target digest v-c-merchant-id"), "in this order"),
    (
        "signature without digest line",
        sig(names="host date  request-target v-c-merchant-id"),
        "in this order",
    ),
    ("signature fewer lines", sig(names="host date request-target"), "in this order"),
    ("signature unreadable", sig(sent={"Signature": "keyid=abc"}), "pairs"),
    ("signature incomplete", sig(sent={"Signature": 'keyid="a"'}), "must have keyid"),
]


@pytest.mark.parametrize(("headers", "cause"), [c[1:] for c in REJECTED], ids=[c[0] for c in REJECTED])
def test_rejected(e: Emulator, headers: Change, cause: str) -> None:
    reply = send(e, "POST", SESSIONS, headers(e), GOOD)
    assert (reply.status, reply.header("content-type")) == (401, "application/json")
    assert reply.json == {"response": {"rmsg": "Authentication Failed"}}
    record = e.requests[-1]
    assert cause in (record.rejection_reason or "")
    assert reply.header("v-c-emulator-rejection") == record.rejection_reason
    assert reply.header("digest") is None
    for secret in (e.auth["secret_key"], OTHER.secret_key):
        assert secret not in repr(reply) + repr(record)


@pytest.mark.parametrize("sign", [bearer, signature])
def test_a_changed_body_is_rejected(e: Emulator, sign: Callable[..., dict[str, str]]) -> None:
    headers = sign(e, "POST", SESSIONS, GOOD)
    assert send(e, "POST", SESSIONS, headers, GOOD + b" ").status == 401
    assert "body" in (e.requests[-1].rejection_reason or "")


def test_a_jti_is_valid_once_and_a_rejection_does_not_use_it_up(e: Emulator) -> None:
    headers = bearer(e, "POST", SESSIONS, GOOD)
    assert send(e, "POST", SESSIONS, headers, b"{}").status == 401
    assert send(e, "POST", SESSIONS, headers, GOOD).status == 201
    assert send(e, "POST", SESSIONS, headers, GOOD).status == 401
    assert e.requests[-1].rejection_reason == "jti was used before"


def test_used_jtis_are_removed_after_their_lifetime(clock: Clock) -> None:
    merchant = Merchant.generate()
    auth_context = AuthContext(CredentialStore([merchant]), hosts=(), clock=clock, clock_tolerance=300, jwt_leeway=60)
    for turn in range(50):
        now = NOW + 60 * turn
        clock.now = now
        assert auth_context.used_token_ids.add(merchant.key_id, str(turn), now=now, ttl=240)
        assert not auth_context.used_token_ids.add(merchant.key_id, str(turn), now=now, ttl=240)
    assert len(auth_context.used_token_ids) <= 6


def test_the_query_is_signed_as_it_is_sent(e: Emulator) -> None:
    path = "/flex/v2/payment-details/A?b=c%20d&e=%C3%A9"
    for sign in (bearer, signature):
        assert send(e, "GET", path, sign(e, "GET", path, None)).status == 404
        for other in ("/flex/v2/payment-details/A", "/flex/v2/payment-details/A?b=c d&e=é"):
            assert send(e, "GET", path, sign(e, "GET", other, None)).status == 401
    encoded = "/flex/v2/payment-details/%41"
    assert send(e, "GET", encoded, bearer(e, "GET", encoded, None)).status == 404
    assert send(e, "GET", encoded, bearer(e, "GET", "/flex/v2/payment-details/A", None)).status == 401


def test_a_get_has_no_digest(e: Emulator) -> None:
    path = "/flex/v2/payment-details/A"
    assert send(e, "GET", path, bearer(e, "GET", path, None, digest=sha256(b""))).status == 401
    headers = signature(
        e, "GET", path, None, names="host date request-target digest v-c-merchant-id", signed={"digest": ""}
    )
    assert send(e, "GET", path, headers).status == 401


def test_repeated_headers_are_rejected(e: Emulator) -> None:
    good = bearer(e, "POST", SESSIONS, GOOD)
    request = f"POST {SESSIONS} HTTP/1.1\r\nHost: {own_host(e)}\r\nContent-Type: application/json\r\n"
    request += f"Authorization: {good['Authorization']}\r\n" * 2 + f"Content-Length: {len(GOOD)}\r\n\r\n"
    host, port = own_host(e).split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(request.encode() + GOOD)
        assert connection.recv(65536).startswith(b"HTTP/1.1 401")
    assert e.requests[-1].rejection_reason == "header authorization was sent twice"


def test_meta_key() -> None:
    key = Merchant.generate("sub_1")
    merchants = [
        Merchant("sub_1", key.key_id, key.secret_key, portfolio_id="portfolio"),
        Merchant("sub_2", key.key_id, key.secret_key, portfolio_id="portfolio"),
    ]
    with Emulator(merchants=merchants, key_pool=1, clock=lambda: NOW) as e:
        for merchant in merchants:
            good = bearer(e, "POST", SESSIONS, GOOD, merchant=merchant, iss="portfolio")
            assert send(e, "POST", SESSIONS, good, GOOD).status == 201
            good = signature(e, "POST", SESSIONS, GOOD, merchant=merchant, signed={"v-c-merchant-id": "portfolio"})
            assert send(e, "POST", SESSIONS, good, GOOD).status == 201
            assert (
                send(e, "POST", SESSIONS, signature(e, "POST", SESSIONS, GOOD, merchant=merchant), GOOD).status == 401
            )
            assert "portfolio" in (e.requests[-1].rejection_reason or "")
            assert post(e, SESSIONS, fields("number"), merchant=merchant).status == 401
        assert e.environ["CYBERSOURCE_PORTFOLIO_ID"] == "portfolio"


# --- sessions -------------------------------------------------------------------------------------------


def tree(**card: Any) -> dict[str, Any]:
    return {"fields": {"paymentInformation": {"card": card}}}


WRONG_SESSIONS: list[tuple[Any, str]] = [
    ({}, "fields"),
    ({"fields": {}}, "fields"),
    ({"fields": None}, "fields"),
    ({"fields": []}, "fields"),
    ({"fields": {"paymentInformation": {"card": {}}}}, "fields"),
    ({**fields("number"), "targetOrigins": []}, "targetOrigins"),
    (tree(number=True), "fields.paymentInformation.card.number"),
    (tree(number={"required": "true"}), "fields.paymentInformation.card.number"),
    (tree(number={"required": None}), "fields.paymentInformation.card.number"),
    (tree(number={"needed": True}), "fields.paymentInformation.card.number"),
    (tree(cvv={}), "fields.paymentInformation.card.cvv"),
    ({"fields": {"paymentInformation": {"card": []}}}, "fields.paymentInformation.card"),
    ({"fields": {"number": {}}}, "fields.number"),
    ({"paymentInformation": {"card": {"number": {}, "x": {}}}}, "paymentInformation.card.x"),
]


@pytest.mark.parametrize(("body", "location"), WRONG_SESSIONS, ids=range(len(WRONG_SESSIONS)))
def test_wrong_sessions(e: Emulator, body: Any, location: str) -> None:
    reply = post(e, SESSIONS, body)
    assert reply.status == 400
    assert set(reply.json) == {"correlationId", "details", "informationLink", "message", "reason"}
    assert reply.json["correlationId"] == reply.header("v-c-correlation-id")
    assert location in [detail["location"] for detail in reply.json["details"]]
    assert location in (e.requests[-1].rejection_reason or "")


BROKEN = [
    b"",
    b"{",
    b"[]",
    b'"x"',
    b"\xff\xfe",
    b'{"fields":NaN}',
    b"[" * 200_000,
    b'{"a":' * 100_000,
    b"9" * 9_000,
]


@pytest.mark.parametrize("path", [SESSIONS, MICROFORM])
@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
def test_broken_json(e: Emulator, path: str, body: bytes) -> None:
    assert send(e, "POST", path, bearer(e, "POST", path, body), body).status == 400


def test_media_types_and_verbs(e: Emulator) -> None:
    def sessions(path: str = SESSIONS, **headers: str) -> int:
        return send(e, "POST", path, {**bearer(e, "POST", path, GOOD), **headers}, GOOD).status

    assert sessions(Accept="text/html, application/json") == 406
    assert sessions(Accept="application/jwt;q=0") == 406
    assert sessions(Accept="text/html, application/jwt;q=0.5") == 201
    assert sessions(Accept="application/*") == 201
    assert sessions(Accept="*/*") == 201
    assert sessions(**{"Content-Type": "text/plain"}) == 415
    assert sessions(**{"Content-Type": "Application/JSON; charset=UTF-8"}) == 201
    assert sessions(SESSIONS + "/") == 404
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW"):
        reply = send(e, method, SESSIONS, {})
        assert (reply.status, reply.header("allow")) == (405, "POST")
    assert send(e, "POST", "/flex/v2/public-keys/ab", {}, b"").header("allow") == "GET"
    assert send(e, "GET", "/flex/v2/public-keys/", {}).status == 404
    assert send(e, "GET", "/flex/v2/public-keys/a%2Fb", {}).status == 404
    assert send(e, "GET", "/", {}).status == 404


def test_large_bodies(e: Emulator) -> None:
    body = b" " * (1 << 20) + b"{}"
    reply = send(e, "POST", SESSIONS, bearer(e, "POST", SESSIONS, body), body)
    assert reply.status == 413
    assert e.requests[-1].body == b""
    assert post(e, SESSIONS, fields("number")).status == 201


def test_the_extra_ship_to_fields_are_accepted(e: Emulator) -> None:
    jwt_text = context(e, fields("number", shipTo=("email", "phoneNumber?")))
    assert decoded(jwt_text)[1]["ctx"][0]["data"] == {
        "requiredFields": ["paymentInformation.card.number", "orderInformation.shipTo.email"],
        "optionalFields": ["orderInformation.shipTo.phoneNumber"],
    }


def test_extra_fields() -> None:
    with Emulator(extra_fields=["paymentInformation.card.newField"], key_pool=1, clock=lambda: NOW) as e:
        jwt_text = context(e, tree(number={}, newField={}))
        created = tokenize(e, seal(jwt_text, nested({"number": CARD["number"], "newField": "x"})))
        assert decoded(created.text)[1]["content"]["paymentInformation"]["card"]["newField"] == {}


WRONG_MICROFORM: list[tuple[dict[str, Any], str]] = [
    ({"clientVersion": None}, "clientVersion"),
    ({"clientVersion": "v1"}, "clientVersion"),
    ({"clientVersion": 2}, "clientVersion"),
    ({"unknown": 1}, "unknown"),
    ({"targetOrigins": None}, "targetOrigins"),
    ({"targetOrigins": "https://a.example"}, "targetOrigins"),
    ({"targetOrigins": []}, "targetOrigins"),
    ({"targetOrigins": [1]}, "targetOrigins"),
    *(
        ({"targetOrigins": [origin]}, "targetOrigins")
        for origin in (
            "http://shop.example.com",
            "http://127.0.0.1:3000",
            "https://*.example.com",
            "https://shop.example.com/",
            "https://shop.example.com/path",
            "https://shop.example.com?x",
            "https://user@shop.example.com",
            "https://shop.example.com:0",
            "https://shop.example.com:70000",
            "https://",
            "shop.example.com",
            "http://localhost.example.com",
            "https://shop.example.com\n",
        )
    ),
    ({"targetOrigins": [f"https://s{n}.example.com" for n in range(10)]}, "targetOrigins"),
    ({"allowedCardNetworks": None}, "allowedCardNetworks"),
    ({"allowedCardNetworks": []}, "allowedCardNetworks"),
    ({"allowedCardNetworks": ["KSCP"]}, "allowedCardNetworks"),
    ({"allowedCardNetworks": ["visa"]}, "allowedCardNetworks"),
    ({"allowedCardNetworks": [["VISA"]]}, "allowedCardNetworks"),
    ({"allowedPaymentTypes": []}, "allowedPaymentTypes"),
    ({"allowedPaymentTypes": ["CASH"]}, "allowedPaymentTypes"),
    ({"allowedCardNetworks": None, "allowedPaymentTypes": ["CARD", "CHECK"]}, "allowedCardNetworks"),
    ({"transientTokenResponseOptions": []}, "transientTokenResponseOptions"),
    ({"transientTokenResponseOptions": {"x": 1}}, "transientTokenResponseOptions"),
    (
        {"transientTokenResponseOptions": {"includeCardPrefix": "no"}},
        "transientTokenResponseOptions.includeCardPrefix",
    ),
]


@pytest.mark.parametrize(("changes", "location"), WRONG_MICROFORM, ids=range(len(WRONG_MICROFORM)))
def test_wrong_microform_sessions(e: Emulator, changes: dict[str, Any], location: str) -> None:
    reply = post(e, MICROFORM, microform(**changes))
    assert reply.status == 400
    status = reply.json["responseStatus"]
    assert set(status) == {"status", "reason", "message", "correlationId", "details"}
    assert status["status"] == 400
    assert status["correlationId"] == reply.header("v-c-correlation-id")
    assert [detail["location"] for detail in status["details"]] == [location]
    assert reply.json["_links"]["self"] == {"href": e.url + MICROFORM, "method": "POST"}


def test_microform_context(e: Emulator) -> None:
    origins = ["https://shop.example.com:8443", "http://localhost:3000", "http://localhost"]
    claims = decoded(context(e, microform(targetOrigins=origins), MICROFORM))[1]
    assert claims["ctx"] == [
        {
            "data": {
                "clientLibraryIntegrity": "",
                "clientLibrary": e.url + "/microform/bundle/v2.5.1/flex-microform.min.js",
                "targetOrigins": origins,
                "mfOrigin": e.url,
                "allowedCardNetworks": ["VISA", "MASTERCARD", "AMEX"],
                "allowedPaymentTypes": ["CARD"],
            },
            "type": "mf-2.1.0",
        }
    ]
    check = decoded(context(e, microform(allowedCardNetworks=None, allowedPaymentTypes=["CHECK"]), MICROFORM))[1]
    assert "allowedCardNetworks" not in check["ctx"][0]["data"]


def test_published_requests_are_accepted(e: Emulator, reference: Path) -> None:
    files = sorted((reference / "samples" / "requests").glob("*-sessions-*.json"))
    assert len(files) >= 9
    for file in files:
        path = MICROFORM if file.name.startswith("microform") else SESSIONS
        body = file.read_bytes()
        reply = send(e, "POST", path, bearer(e, "POST", path, body), body)
        assert reply.status == 201, (file.name, reply.text)


def test_the_published_plaintext_is_accepted(e: Emulator, reference: Path) -> None:
    samples = reference / "samples" / "requests"
    jwt_text = context(e, json.loads((samples / "flex-sessions-maximum.guide-without-fields-wrapper.json").read_text()))
    plaintext = json.loads((samples / "tokens-jwe-plaintext.guide.json").read_text())
    header = json.loads((samples / "tokens-jwe-protected-header.guide.json").read_text())
    assert set(header) == {"alg", "enc", "kid"}
    created = tokenize(e, seal(jwt_text, plaintext["data"]))
    assert created.status == 201, created.text
    card = decoded(created.text)[1]["content"]["paymentInformation"]["card"]
    assert set(card) == {"number", "expirationMonth", "expirationYear"}


# --- tokens ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        nested(CARD),
        {f"paymentInformation.card.{name}": value for name, value in CARD.items()},
        {"paymentInformation": {"card.number": CARD["number"]}},
    ],
    ids=["nested", "dotted", "mixed"],
)
def test_forms_of_captured_data(e: Emulator, data: dict[str, Any]) -> None:
    assert tokenize(e, seal(context(e), data)).status == 201


def test_envelopes(e: Emulator) -> None:
    jwt_text = context(e)
    jwe = seal(jwt_text, nested(CARD), iat=1, jti="a" * 32)
    assert tokenize(e, jwe, "application/jwt; charset=UTF-8").status == 201
    assert tokenize(e, json.dumps({"keyId": jwe}), "application/json; charset=utf-8").status == 201
    assert tokenize(e, json.dumps({"keyId": 5}), "application/json").status == 400
    assert tokenize(e, "[]", "application/json").status == 400
    assert tokenize(e, jwe, "text/plain").status == 415
    assert send(e, "POST", TOKENS, {}, jwe.encode()).status == 415
    assert send(e, "POST", TOKENS, {"Content-Type": "application/jwt"}, b"\xff\xff").status == 400


def status_of(reply: Reply) -> dict[str, Any]:
    assert set(reply.json) == {"responseStatus", "_links"}
    status: dict[str, Any] = reply.json["responseStatus"]
    assert status["status"] == reply.status
    return status


WRONG_JWE: list[tuple[str, dict[str, Any], str]] = [
    ("alg", {"header": {"alg": "RSA-OAEP-256"}, "oaep": OAEP_256}, "API_JWE_PARSING_ERROR"),
    ("enc", {"header": {"enc": "A128GCM"}}, "API_JWE_PARSING_ERROR"),
    ("zip", {"header": {"zip": "DEF"}}, "API_JWE_PARSING_ERROR"),
    ("crit", {"header": {"crit": ["x"]}}, "API_JWE_PARSING_ERROR"),
    ("no kid", {"header": {"kid": None}}, "API_JWE_PARSING_ERROR"),
    ("long iv", {"iv": b"1" * 16}, "API_JWE_PARSING_ERROR"),
    ("other kid", {"header": {"kid": "0" * 32}}, "CREATE_TOKEN_CAPTURE_CONTEXT_NOT_FOUND"),
    ("OAEP with SHA-256", {"oaep": OAEP_256}, "CREATE_TOKEN_DECRYPTION"),
    ("short key", {"key_size": 16}, "CREATE_TOKEN_DECRYPTION"),
    ("no associated data", {"aad": b""}, "CREATE_TOKEN_DECRYPTION"),
    ("no JSON", {"raw": b"hello"}, "API_JSON_PARSER_ERROR"),
    ("no object", {"raw": b"[]"}, "API_JSON_PARSER_ERROR"),
    ("no context", {"context": None}, "CAPTURE_CONTEXT_INVALID"),
    ("index", {"index": 1}, "API_JSON_PARSER_ERROR"),
    ("index Boolean", {"index": False}, "API_JSON_PARSER_ERROR"),
    ("no index", {"index": None}, "API_JSON_PARSER_ERROR"),
    ("unknown member", {"more": 1}, "API_JSON_PARSER_ERROR"),
]


@pytest.mark.parametrize(("changes", "reason"), [c[1:] for c in WRONG_JWE], ids=[c[0] for c in WRONG_JWE])
def test_wrong_jwe(e: Emulator, changes: dict[str, Any], reason: str) -> None:
    reply = tokenize(e, seal(context(e), nested(CARD), **changes))
    assert (reply.status, status_of(reply)["reason"]) == (400, reason)


def test_damaged_jwe(e: Emulator) -> None:
    jwe = seal(context(e), nested(CARD))
    parts = jwe.split(".")
    for wrong in (
        "",
        "abc",
        ".".join(parts[:4]),
        jwe + ".",
        jwe + "=",
        ".".join((parts[0], "", *parts[2:])),
        ".".join((*parts[:4], parts[4][:-4])),
    ):
        assert status_of(tokenize(e, wrong))["reason"] == "API_JWE_PARSING_ERROR"
    for position in (1, 3, 4):
        changed = list(parts)
        changed[position] = ("B" if changed[position][0] == "A" else "A") + changed[position][1:]
        assert status_of(tokenize(e, ".".join(changed)))["reason"] == "CREATE_TOKEN_DECRYPTION"


def test_the_context_must_be_the_one_of_the_key(e: Emulator, clock: Clock) -> None:
    first, second = context(e), context(e)
    for wrong in (second, first + " ", first[:-1], ""):
        assert status_of(tokenize(e, seal(first, nested(CARD), context=wrong)))["reason"] == "CAPTURE_CONTEXT_INVALID"
    jwe = seal(first, nested(CARD))
    clock.now = NOW + 899
    assert tokenize(e, jwe).status == 201
    clock.now = NOW + 900
    assert status_of(tokenize(e, jwe))["reason"] == "CAPTURE_CONTEXT_EXPIRED"
    # Making another context later than that makes the host forget the old one.
    clock.now = NOW + 1900
    body = json.dumps(fields("number")).encode()
    headers = bearer(e, "POST", SESSIONS, body, iat=int(clock.now), exp=int(clock.now) + 9)
    assert send(e, "POST", SESSIONS, headers, body).status == 201
    assert status_of(tokenize(e, jwe))["reason"] == "CREATE_TOKEN_CAPTURE_CONTEXT_NOT_FOUND"


def test_uses_of_a_context_are_counted() -> None:
    with Emulator(context_uses=2, key_pool=1, clock=lambda: NOW) as e:
        jwt_text = context(e)
        assert tokenize(e, seal(jwt_text, nested({**CARD, "number": "4111111111111112"}))).status == 400
        assert [tokenize(e, seal(jwt_text, nested(CARD))).status for _ in range(3)] == [201, 201, 400]
        reply = tokenize(e, seal(jwt_text, nested(CARD)))
        assert status_of(reply)["reason"] == "CREATE_TOKEN_CAPTURE_CONTEXT_USED_TOO_MANY_TIMES"


WRONG_CARDS: list[tuple[dict[str, Any], str, str]] = [
    ({"number": None}, "captureData.number", "missing"),
    ({"number": ""}, "captureData.number", "missing"),
    ({"number": 4111111111111111}, "captureData.number", "string"),
    ({"number": ["4111111111111111"]}, "captureData.number", "string"),
    ({"number": "4111 1111 1111 1111"}, "captureData.number", "format"),
    ({"number": "41111111111"}, "captureData.number", "format"),
    ({"number": "4" * 20}, "captureData.number", "format"),
    ({"number": "٤١١١١١١١١١١١١١١١"}, "captureData.number", "format"),
    ({"number": "4111111111111112"}, "captureData.number", "Invalid card number"),
    ({"expirationMonth": "13"}, "captureData.expirationMonth", "format"),
    ({"expirationMonth": "00"}, "captureData.expirationMonth", "format"),
    ({"expirationMonth": "1"}, "captureData.expirationMonth", "format"),
    ({"expirationYear": "31"}, "captureData.expirationYear", "format"),
    ({"expirationYear": "2025"}, "captureData.expirationYear", "expired"),
    ({"expirationYear": "2026", "expirationMonth": "10"}, "captureData.expirationMonth", "expired"),
    ({"securityCode": "12"}, "captureData.securityCode", "Invalid security code format"),
    ({"securityCode": "1234"}, "captureData.securityCode", "Invalid security code format"),
    ({"securityCode": "12a"}, "captureData.securityCode", "Invalid security code format"),
    ({"number": "378282246310005"}, "captureData.securityCode", "Invalid security code format"),
    ({"type": "visa"}, "captureData.type", "Unknown"),
    ({"type": "022"}, "captureData.type", "Unknown"),
    ({"type": "002"}, "captureData.type", "does not match"),
    ({"cardholder": "x"}, "captureData.cardholder", "does not list"),
    ({"number": {"value": "4111111111111111"}}, "captureData.number.value", "does not list"),
]


@pytest.mark.parametrize(("changes", "location", "message"), WRONG_CARDS, ids=range(len(WRONG_CARDS)))
def test_wrong_cards(e: Emulator, changes: dict[str, Any], location: str, message: str) -> None:
    card = {name: value for name, value in {**CARD, **changes}.items() if value is not None}
    reply = tokenize(e, seal(context(e), nested(card)))
    status = status_of(reply)
    assert (reply.status, status["reason"]) == (400, "CREATE_TOKEN_VALIDATION_SERVERSIDE")
    (detail,) = [detail for detail in status["details"] if detail["location"] == location]
    assert message in detail["message"]
    assert CARD["number"] not in reply.text + repr(e.requests[-1]) + (e.requests[-1].rejection_reason or "")


def test_every_error_is_listed(e: Emulator) -> None:
    reply = tokenize(e, seal(context(e, fields("number", "securityCode", billTo=("email",))), nested({"x": "1"})))
    locations = {detail["location"] for detail in status_of(reply)["details"]}
    expected = {"number", "securityCode", "x", "orderInformation.billTo.email"}
    assert locations == {f"captureData.{name}" for name in expected}


def test_no_data_at_all(e: Emulator) -> None:
    for data in ({}, nested({}), nested({"number": ""})):
        assert status_of(tokenize(e, seal(context(e), data)))["reason"] == "CREATE_TOKEN_NO_DATA_SUBMITTED"


GOOD_CARDS: list[dict[str, str]] = [
    {"number": "378282246310005", "securityCode": "1234", "type": "003"},
    {"number": "5555555555554444", "securityCode": "123", "type": "002"},
    {"number": "2222420000001113"},
    {"number": "6011111111111117", "type": "004"},
    {"number": "3566111111111113", "type": "007"},
    {"number": "50339619890917", "type": "042"},
    {"number": "586824160825533338"},
    {"number": "5641821111166669", "type": "024"},
    {"number": "135412345678911", "type": "040"},
    {"number": "4360000001000005", "type": "036"},
    {"number": "4464040000000007", "type": "060"},
    {"number": "4111111111111111", "expirationMonth": "11", "expirationYear": "2026"},
]


@pytest.mark.parametrize("card", GOOD_CARDS, ids=lambda card: card["number"])
def test_good_cards(e: Emulator, card: dict[str, str]) -> None:
    reply = tokenize(e, seal(context(e), nested(card)))
    assert reply.status == 201, reply.text


def test_luhn_and_expiry_checks_can_be_disabled() -> None:
    with Emulator(check_luhn=False, check_expiry=False, key_pool=1, clock=lambda: NOW) as e:
        card = {**CARD, "number": "4111111111111112", "expirationYear": "1998"}
        assert tokenize(e, seal(context(e), nested(card))).status == 201


@pytest.mark.parametrize(
    "data",
    [CARD, {"CARD": CARD}, nested(CARD)],
    ids=["bare names", "below CARD", "nested"],
)
def test_microform_data(e: Emulator, data: dict[str, Any]) -> None:
    jwt_text = context(e, microform(), MICROFORM)
    reply = tokenize(e, seal(jwt_text, data))
    assert reply.status == 201, reply.text
    claims = verify(reply.text, one_time_key(jwt_text))
    assert claims["type"] == "mf-2.1.0"
    assert claims["content"]["paymentInformation"]["card"]["number"] == {
        "maskedValue": "XXXXXXXXXXXX1111",
        "bin": "411111",
        "detectedCardTypes": ["001"],
    }


def test_microform_networks(e: Emulator) -> None:
    def reason(card: dict[str, str], *networks: str) -> str | None:
        reply = tokenize(e, seal(context(e, microform(allowedCardNetworks=list(networks)), MICROFORM), card))
        return None if reply.status == 201 else str(status_of(reply)["reason"])

    mastercard = {"number": "5555555555554444"}
    assert reason(mastercard, "VISA", "AMEX") == "CREATE_TOKEN_CARD_TYPE_NOT_ALLOWED"
    assert reason(mastercard, "VISA", "MASTERCARD") is None
    # mada publishes no ranges: a card belongs to it if its type code says so.
    visa = {"number": "4111111111111111"}
    assert reason(visa, "MADA") == "CREATE_TOKEN_CARD_TYPE_NOT_ALLOWED"
    assert reason({**visa, "type": "060"}, "MADA") is None
    both = seal(
        context(e, microform(allowedCardNetworks=["CARTESBANCAIRES", "VISA"]), MICROFORM),
        {"number": "4360000001000005"},
    )
    claims = decoded(tokenize(e, both).text)[1]
    assert claims["content"]["paymentInformation"]["card"]["number"]["detectedCardTypes"] == ["036", "001"]


@pytest.mark.parametrize(
    ("include", "number", "expected"),
    [
        (None, "4111111111111111", "411111"),
        (True, "4111111111111111", "41111111"),
        (True, "378282246310005", "378282"),
        (False, "4111111111111111", None),
    ],
)
def test_card_prefix(e: Emulator, include: bool | None, number: str, expected: str | None) -> None:
    options = None if include is None else {"includeCardPrefix": include}
    jwt_text = context(e, microform(transientTokenResponseOptions=options), MICROFORM)
    claims = decoded(tokenize(e, seal(jwt_text, {"number": number})).text)[1]
    assert claims["content"]["paymentInformation"]["card"]["number"].get("bin") == expected


def test_echeck(e: Emulator) -> None:
    jwt_text = context(e, microform(allowedCardNetworks=None, allowedPaymentTypes=["CHECK"]), MICROFORM)
    account = {"number": "4100123", "numberConfirm": "4100123", "type": "C"}
    good = {"CHECK": {"routingNumber": "121042882", "account": account}}
    assert decoded(tokenize(e, seal(jwt_text, good)).text)[1]["content"]["paymentInformation"] == {
        "bank": {"routingNumber": {}, "account": {"number": {}, "type": {}}},
        "paymentType": {"name": {"value": "CHECK"}},
    }
    wrong = {"CHECK": {"routingNumber": "1", "account": {**account, "numberConfirm": "4100124", "type": "?"}}}
    assert len(status_of(tokenize(e, seal(jwt_text, wrong)))["details"]) == 3
    assert tokenize(e, seal(jwt_text, CARD)).status == 400


BANK = {"routingNumber": "121042882", "account": {"number": "4100123"}}


@pytest.mark.parametrize(
    ("types", "data", "message"),
    [
        (["CHECK"], {"number": "4111111111111111"}, "does not allow the payment type CARD"),
        (["CHECK"], {"CARD": {"number": "4111111111111111"}}, "does not allow the payment type CARD"),
        (["CARD"], {"CHECK": BANK}, "does not allow the payment type CHECK"),
        (None, {"paymentInformation": {"bank": BANK}}, "does not allow the payment type CHECK"),
        (["CARD", "CHECK"], {"CARD": {"number": "4111111111111111"}, "CHECK": BANK}, "of two payment types"),
        (["CARD", "CHECK"], {"CARD": {"number": "4111111111111111"}}, None),
        (["CARD", "CHECK"], {"CHECK": BANK}, None),
        (["CHECK"], {"paymentInformation": {"bank": BANK}}, None),
        (["CHECK"], {"CHECK.routingNumber": "121042882", "CHECK.account.number": "4100123"}, None),
        (
            ["CHECK"],
            {"paymentInformation.bank.routingNumber": "121042882", "paymentInformation.bank.account.number": "4100123"},
            None,
        ),
    ],
)
def test_payment_types(e: Emulator, types: list[str] | None, data: Any, message: str | None) -> None:
    networks = None if types == ["CHECK"] else ["VISA"]
    jwt_text = context(e, microform(allowedCardNetworks=networks, allowedPaymentTypes=types), MICROFORM)
    reply = tokenize(e, seal(jwt_text, data))
    if message is None:
        assert reply.status == 201
    else:
        assert reply.status == 400
        assert message in status_of(reply)["details"][0]["message"]


# --- the Emulator class ----------------------------------------------------------------------------------


def test_public_names() -> None:
    assert emulator.__all__ == ["Emulator", "Merchant", "RecordedRequest", "SCENARIOS", "Scenario", "ScenarioKind"]


def test_auth_and_environ(e: Emulator) -> None:
    assert set(e.auth) == {"merchant_id", "key_id", "secret_key"}
    assert str(uuid.UUID(e.auth["key_id"])) == e.auth["key_id"]
    assert e.environ == {
        "CYBERSOURCE_AUTH": "jwt_shared_secret",
        "CYBERSOURCE_ENVIRONMENT": e.url,
        "CYBERSOURCE_MERCHANT_ID": e.auth["merchant_id"],
        "CYBERSOURCE_KEY_ID": e.auth["key_id"],
        "CYBERSOURCE_SECRET_KEY": e.auth["secret_key"],
    }
    assert e.auth["secret_key"] not in repr(e) + repr(merchant_of(e))


def test_recorded_requests(e: Emulator) -> None:
    reply = post(e, SESSIONS + "?a=b", fields("number"))
    (record,) = e.requests
    assert (record.method, record.target, record.status) == ("POST", SESSIONS + "?a=b", 201)
    assert record.headers["content-type"] == JSON_TYPE
    assert ("accept", "application/jwt") in record.raw_headers
    assert (record.correlation_id, record.rejection_reason) == (reply.header("v-c-correlation-id"), None)
    assert record.received_at == NOW
    assert json.loads(record.body) == fields("number")
    assert "Bearer" not in repr(record)
    assert "paymentInformation" not in repr(record)
    e.clear()
    assert e.requests == []


def test_the_log_has_one_line_per_request_and_no_secrets(e: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "cybersource_flex.emulator"):
        created = tokenize(e, seal(context(e), nested(CARD)))
        refused = send(e, "POST", SESSIONS + "?secret=query", sig(secret=b"x" * 32)(e), GOOD)
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.INFO and r.name.startswith("cyber")]
    assert len(lines) == 3
    assert lines[1] == f"POST {TOKENS} 201 {created.header('v-c-correlation-id')}"
    assert lines[2] == f"POST {SESSIONS} 401 {refused.header('v-c-correlation-id')}"
    for secret in (CARD["number"], e.auth["secret_key"], "keyid", "eyJ", "query"):
        assert secret not in caplog.text


def test_an_internal_error_is_a_500_in_the_documented_shape(
    e: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("4111111111111111")

    monkeypatch.setattr("cybersource_flex.emulator.jose.sign_rs256", fail)
    with caplog.at_level(logging.DEBUG, "cybersource_flex.emulator"):
        sessions, microforms = post(e, SESSIONS, fields("number")), post(e, MICROFORM, microform())
    assert (sessions.status, microforms.status) == (500, 500)
    assert set(sessions.json) == {"correlationId", "details", "informationLink", "message", "reason"}
    assert status_of(microforms)["message"] == "Internal error"
    assert "RuntimeError" in caplog.text
    assert "4111" not in caplog.text + sessions.text + microforms.text


def test_rejection_header_can_be_disabled_and_the_log_is_limited() -> None:
    with Emulator(include_rejection_header=False, record_limit=2, key_pool=1) as e:
        replies = [send(e, "POST", SESSIONS, {}, GOOD) for _ in range(3)]
        assert replies[0].status == 401
        assert replies[0].header("v-c-emulator-rejection") is None
        assert [record.rejection_reason for record in e.requests] == [
            "no credential was sent: neither Authorization nor Signature"
        ] * 2


def test_wrong_arguments() -> None:
    wrong: list[dict[str, Any]] = [
        {"host": "0.0.0.0"},
        {"host": "example.com"},
        {"port": 70000},
        {"port": -1},
        {"key_pool": 0},
        {"context_uses": 0},
        {"record_limit": -1},
        {"clock_tolerance": -1},
        {"jwt_leeway": -1},
        {"signed_hosts": "example.com"},
        {"extra_fields": "x.y"},
        {"merchants": []},
        {"merchants": [OTHER, OTHER]},
        {"merchants": [OTHER, Merchant("third", OTHER.key_id, OTHER.secret_key)]},
    ]
    for arguments in wrong:
        with pytest.raises(ValueError, match=r".+") as caught:
            Emulator(**arguments)
        assert OTHER.secret_key not in str(caught.value)
    for secret in ("not base64!", "", "c2VjcmV0 "):
        with pytest.raises(ValueError, match="secret_key") as caught:
            Merchant("m", "k", secret)
        assert not secret or secret not in str(caught.value)


def test_before_the_start() -> None:
    e = Emulator()
    for read in (lambda: e.url, lambda: e.environ, lambda: e.credentials_key_pem):
        with pytest.raises(RuntimeError):
            read()
    assert e.requests == []
    assert e.auth["merchant_id"]
    e.stop()


def test_start_stop_and_start_again() -> None:
    def threads() -> int:
        return sum(thread.name == "flex-emulator" for thread in threading.enumerate())

    before = threads()
    e = Emulator(key_pool=1, clock=lambda: NOW).start()
    try:
        address, jwt_text = e.url, context(e)
        with pytest.raises(RuntimeError, match="already running"):
            e.start()
        with pytest.raises(RuntimeError, match="cannot listen on"):
            Emulator(port=int(address.rpartition(":")[2])).start()
        with pytest.raises(RuntimeError, match="payment_credentials=True"):
            _ = e.credentials_key_pem
        # A client that holds its connection open, in the middle of a request, cannot keep the host alive.
        host, port = own_host(e).split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            connection.sendall(b"POST /flex/v2/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
            e.stop()
        assert threads() == before
        with pytest.raises(ConnectionRefusedError):
            post(e, SESSIONS, fields("number"))
        e.stop()
        e.start()
        assert e.url == address
        assert tokenize(e, seal(jwt_text, nested(CARD))).status == 201
    finally:
        e.stop()
    assert threads() == before


def test_serve_in_the_foreground() -> None:
    e = Emulator(key_pool=1)
    ready = threading.Event()
    thread = threading.Thread(target=e.serve, args=(lambda _: ready.set(),))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        # The socket listens already: a request waits for the server at most.
        assert send(e, "GET", "/", {}).status == 404
    finally:
        e.stop()
        thread.join(PATIENCE)
    assert not thread.is_alive()


def test_other_host_names() -> None:
    with Emulator(signed_hosts=["Flex.Test"], host="localhost", key_pool=1, clock=lambda: NOW) as e:
        assert e.url.startswith("http://localhost:")
        headers = signature(e, "POST", SESSIONS, GOOD, signed={"host": "flex.test"}, sent={"Host": "flex.test"})
        assert send(e, "POST", SESSIONS, headers, GOOD).status == 201
        assert post(e, SESSIONS, fields("number")).status == 201


def test_many_clients_at_once(e: Emulator) -> None:
    statuses: list[int] = []

    def work() -> None:
        for _ in range(10):
            statuses.append(tokenize(e, seal(context(e), nested(CARD))).status)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert statuses == [201] * 80
    assert len(e.requests) == 160
    assert {record.status for record in e.requests} == {201}


def test_the_emulator_imports_nothing_else_of_the_package() -> None:
    rest = {"_model", "aio", "api", "api_client", "auth", "client", "errors", "jose", "models", "transport"}
    code = (
        "import sys, cybersource_flex.emulator\n"
        f"rest = {{'cybersource_flex.' + name for name in {rest!r}}} | {{'urllib3'}}\n"
        "assert not rest & set(sys.modules), rest & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
