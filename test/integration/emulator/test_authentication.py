"""The emulator's checks of JWTs and HTTP Signatures with a shared secret."""

from __future__ import annotations

import base64
import json
import socket
import uuid
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from cybersource_flex.emulator import Emulator, Merchant
from cybersource_flex.emulator.auth.auth_context import AuthContext, quoted
from cybersource_flex.emulator.auth.credentials import CredentialStore
from support.emulator_client import (
    JSON_TYPE,
    NOW,
    OTHER_MERCHANT,
    SESSIONS,
    TIMEOUT,
    VALID_BODY,
    Clock,
    host_of,
    jwt_headers,
    post,
    requested_fields,
    send,
    sha256_base64,
    signature_headers,
)
from support.encoding import base64url

MakeHeaders = Callable[[Emulator], dict[str, str]]


def with_jwt(**changes: Any) -> MakeHeaders:
    return lambda emulator: jwt_headers(emulator, "POST", SESSIONS, VALID_BODY, **changes)


def with_signature(**changes: Any) -> MakeHeaders:
    return lambda emulator: signature_headers(emulator, "POST", SESSIONS, VALID_BODY, **changes)


def bearer(header: Any, claims: Any) -> str:
    """A token with an invalid signature."""
    return f"Bearer {base64url(json.dumps(header).encode())}.{base64url(json.dumps(claims).encode())}.c2ln"


def with_json(old: str, new: str) -> MakeHeaders:
    """A JWT whose header and claims are changed as JSON; its signature is then wrong, but it is checked later."""

    def headers(emulator: Emulator) -> dict[str, str]:
        sent = jwt_headers(emulator, "POST", SESSIONS, VALID_BODY)
        *parts, signature = sent["Authorization"].removeprefix("Bearer ").split(".")
        decoded = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode() for part in parts)
        changed = (base64url(part.replace(old, new, 1).encode()) for part in decoded)
        return {**sent, "Authorization": f"Bearer {'.'.join(changed)}.{signature}"}

    return headers


NOW_INT = int(NOW)
ACCEPTED: list[tuple[str, MakeHeaders]] = [
    ("jwt", with_jwt()),
    ("jwt HS384", with_jwt(algorithm="sha384", header={"alg": "HS384"})),
    ("jwt HS512", with_jwt(algorithm="sha512", header={"alg": "HS512"})),
    ("jwt for the real host", with_jwt(request_host="apitest.cybersource.com")),
    ("jwt for a regional host", with_jwt(request_host="api.in.cybersource.com")),
    ("jwt for the host without port", with_jwt(request_host="127.0.0.1")),
    ("jwt with lower-case method", with_jwt(request_method="post")),
    ("jwt with digest-algorithm", with_jwt(digestAlgorithm=None, digest_algorithm="SHA-256")),
    ("jwt with another claim", with_jwt(x_claim="123")),
    ("jwt a little ahead", with_jwt(iat=NOW_INT + 50, exp=NOW_INT + 170)),
    ("signature", with_signature()),
    (
        "signature for the real host",
        with_signature(signed={"host": "api.cybersource.com"}, sent={"Host": "api.cybersource.com"}),
    ),
    (
        "signature with a date four minutes old",
        with_signature(
            signed={"date": formatdate(NOW - 240, usegmt=True)},
            sent={"Date": formatdate(NOW - 240, usegmt=True)},
        ),
    ),
]


@pytest.mark.parametrize("headers", [case[1] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_valid_credentials(emulator: Emulator, headers: MakeHeaders) -> None:
    response = send(emulator, "POST", SESSIONS, headers(emulator), VALID_BODY)
    assert response.status == 201, emulator.requests[-1].rejection_reason


def test_a_value_in_a_reason_is_shortened_to_80_characters() -> None:
    assert quoted("x" * 78) == f"'{'x' * 78}'"
    assert quoted("x" * 79) == f"'{'x' * 76}..."
    assert len(quoted("x" * 1000)) == len(quoted("\u20ac" * 1000)) == 80
    assert quoted("a\n\u20ac") == r"'a\n\u20ac'"


def with_signed_date(date: str) -> MakeHeaders:
    return with_signature(signed={"date": date}, sent={"Date": date})


REJECTED: list[tuple[str, MakeHeaders, str]] = [
    ("nothing", lambda emulator: {"Content-Type": JSON_TYPE}, "no credential"),
    ("both", lambda emulator: {**with_jwt()(emulator), **with_signature()(emulator)}, "both"),
    ("basic", lambda emulator: {"Authorization": "Basic abc"}, "Bearer"),
    ("no jwt", lambda emulator: {"Authorization": "Bearer abc"}, "three parts"),
    ("padded jwt", lambda emulator: {"Authorization": with_jwt()(emulator)["Authorization"] + "="}, "cannot be parsed"),
    ("alg none", with_jwt(header={"alg": "none"}), "alg"),
    ("alg RS256", with_jwt(header={"alg": "RS256"}), "alg"),
    ("no alg", with_jwt(header={"alg": None}), "alg is missing"),
    ("typ", with_jwt(header={"typ": None}), "typ"),
    ("crit", with_jwt(header={"crit": ["b64"]}), "crit"),
    ("no kid", with_jwt(header={"kid": None}), "kid is missing"),
    ("unknown kid", with_jwt(header={"kid": str(uuid.uuid4())}), "unknown here"),
    ("jwt wrong secret", with_jwt(secret=b"x" * 32), "another secret"),
    (
        "jwt secret not decoded",
        lambda emulator: with_jwt(secret=emulator.auth["secret_key"].encode())(emulator),
        "base64-decoded",
    ),
    ("jwt digest of another body", with_jwt(digest=sha256_base64(b"{}")), "does not match the received body"),
    ("jwt digest with prefix", with_jwt(digest="SHA-256=" + sha256_base64(VALID_BODY)), "must not begin with SHA-256="),
    ("jwt digest missing", with_jwt(digest=None), "digest is missing"),
    ("jwt digest algorithm missing", with_jwt(digestAlgorithm=None), "digestAlgorithm is missing"),
    ("jwt digest algorithm", with_jwt(digestAlgorithm="SHA-512"), "SHA-256"),
    ("jwt other host", with_jwt(request_host="evil.example.com"), "request-host"),
    ("jwt host with scheme", with_jwt(request_host="https://apitest.cybersource.com"), "request-host"),
    ("jwt other path", with_jwt(request_resource_path=SESSIONS + "/"), "request-resource-path"),
    ("jwt other method", with_jwt(request_method="PUT"), "request-method"),
    ("jwt mixed-case method", with_jwt(request_method="Post"), "request-method"),
    ("jwt other issuer", with_jwt(iss="someone"), "iss"),
    ("jwt other merchant", with_jwt(v_c_merchant_id=OTHER_MERCHANT.merchant_id), "may not use the key"),
    ("jwt version as number", with_jwt(v_c_jwt_version=2), "v-c-jwt-version"),
    ("jwt life too long", with_jwt(exp=NOW_INT + 121), "121 s after iat"),
    ("jwt exp before iat", with_jwt(exp=NOW_INT), "not after iat"),
    ("jwt expired", with_jwt(iat=NOW_INT - 300, exp=NOW_INT - 180), "expired 180 s ago"),
    ("jwt from the future", with_jwt(iat=NOW_INT + 61, exp=NOW_INT + 100), "ahead"),
    ("jwt times as strings", with_jwt(iat=str(NOW_INT)), "iat must be a whole number"),
    ("jwt times as Boolean", with_jwt(iat=True), "iat must be a whole number"),
    ("jwt endless exp", with_jwt(exp=10**400), "exp must be a whole number"),
    ("jwt fractional iat", with_jwt(iat=NOW - 0.5), "iat must be a whole number"),
    ("jwt fractional exp", with_jwt(exp=NOW + 100.5), "exp must be a whole number"),
    ("jwt times with a fraction of zero", with_jwt(exp=NOW + 100.0), "exp must be a whole number"),
    ("jwt with a claim twice", with_json('"iss"', '"jti": "x", "iss"'), "the member 'jti' occurs twice"),
    ("jwt with a header member twice", with_json('"typ"', '"kid": "x", "typ"'), "the member 'kid' occurs twice"),
    ("jwt with a nested member twice", with_json('"iss"', '"x": [{"a": 1, "a": 2}], "iss"'), "'a' occurs twice"),
    (
        "the retired jwt",
        lambda emulator: {
            "Authorization": bearer(
                {"v-c-merchant-id": "m1", "x5c": ["MIIB"], "alg": "RS256"},
                {
                    "digest": sha256_base64(VALID_BODY),
                    "digestAlgorithm": "SHA-256",
                    "iat": formatdate(NOW, usegmt=True),
                },
            ),
            "Content-Type": JSON_TYPE,
        },
        "retired JWT scheme",
    ),
    ("jwt with kid and x5c of the retired one", with_jwt(header={"x5c": ["MIIB"]}, v_c_jwt_version=None), "retired"),
    ("jwt empty jti", with_jwt(jti=""), "jti"),
    *(
        (f"jwt without {name}", with_jwt(**{name: None}), "is missing")
        for name in ("iat", "exp", "jti", "iss", "request-method", "request-host", "v-c-merchant-id")
    ),
    ("jwt without path", with_jwt(request_resource_path=None), "is missing"),
    ("jwt without version", with_jwt(v_c_jwt_version=None), "v-c-jwt-version"),
    ("signature wrong secret", with_signature(secret=b"x" * 32), "another secret"),
    (
        "signature secret not decoded",
        lambda emulator: with_signature(secret=emulator.auth["secret_key"].encode())(emulator),
        "base64-decoded",
    ),
    (
        "signature other host signed",
        with_signature(signed={"host": "apitest.cybersource.com"}),
        "the signed host is apitest",
    ),
    (
        "signature for a foreign host",
        with_signature(signed={"host": "evil.example.com"}, sent={"Host": "evil.example.com"}),
        "neither this host",
    ),
    ("signature other target", with_signature(signed={"request-target": "post /flex/v2/tokens"}), "does not match"),
    ("signature upper-case verb", with_signature(signed={"request-target": f"POST {SESSIONS}"}), "does not match"),
    (
        "signature digest of another body",
        with_signature(sent={"Digest": "SHA-256=" + sha256_base64(b"{}")}),
        "does not match the received body",
    ),
    ("signature digest without prefix", with_signature(sent={"Digest": sha256_base64(VALID_BODY)}), "SHA-256="),
    ("signature digest missing", with_signature(sent={"Digest": None}), "digest is missing"),
    ("signature date missing", with_signature(sent={"Date": None}), "date is missing"),
    ("signature merchant missing", with_signature(sent={"v-c-merchant-id": None}), "v-c-merchant-id is missing"),
    (
        "signature other merchant",
        with_signature(sent={"v-c-merchant-id": OTHER_MERCHANT.merchant_id}),
        "may not use the key",
    ),
    ("signature unknown key", with_signature(merchant=Merchant.generate()), "unknown here"),
    ("signature algorithm", with_signature(algorithm="hmac-sha256"), "HmacSHA256"),
    ("signature old", with_signed_date(formatdate(NOW - 301, usegmt=True)), "301 s behind"),
    ("signature ahead", with_signed_date(formatdate(NOW + 301, usegmt=True)), "301 s ahead"),
    ("signature date form", with_signed_date("2026-11-22T12:00:00Z"), "HTTP date"),
    ("signature date zone", with_signed_date("Sun, 22 Nov 2026 12:00:00 +0000"), "must have the form"),
    ("signature date weekday", with_signed_date("Mon, 22 Nov 2026 12:00:00 GMT"), "must have the form"),
    ("signature parentheses", with_signature(names="host date (request-target) digest v-c-merchant-id"), "parentheses"),
    ("signature line order", with_signature(names="date host request-target digest v-c-merchant-id"), "in this order"),
    (
        "signature without digest line",
        with_signature(names="host date  request-target v-c-merchant-id"),
        "in this order",
    ),
    ("signature fewer lines", with_signature(names="host date request-target"), "in this order"),
    ("signature unreadable", with_signature(sent={"Signature": "keyid=abc"}), "pairs"),
    ("signature incomplete", with_signature(sent={"Signature": 'keyid="a"'}), "must have keyid"),
]


@pytest.mark.parametrize(("headers", "cause"), [c[1:] for c in REJECTED], ids=[c[0] for c in REJECTED])
def test_invalid_credentials(emulator: Emulator, headers: MakeHeaders, cause: str) -> None:
    response = send(emulator, "POST", SESSIONS, headers(emulator), VALID_BODY)
    assert (response.status, response.header("content-type")) == (401, "application/json")
    assert response.json == {"response": {"rmsg": "Authentication Failed"}}
    record = emulator.requests[-1]
    assert cause in (record.rejection_reason or "")
    assert response.header("v-c-emulator-rejection") == record.rejection_reason
    assert response.header("digest") is None
    for secret in (emulator.auth["secret_key"], OTHER_MERCHANT.secret_key):
        assert secret not in repr(response) + repr(record)


@pytest.mark.parametrize("sign", [jwt_headers, signature_headers])
def test_a_changed_body_is_rejected(emulator: Emulator, sign: Callable[..., dict[str, str]]) -> None:
    headers = sign(emulator, "POST", SESSIONS, VALID_BODY)
    assert send(emulator, "POST", SESSIONS, headers, VALID_BODY + b" ").status == 401
    assert "body" in (emulator.requests[-1].rejection_reason or "")


def test_a_jti_is_accepted_once_and_not_used_up_by_a_rejected_request(emulator: Emulator) -> None:
    headers = jwt_headers(emulator, "POST", SESSIONS, VALID_BODY)
    assert send(emulator, "POST", SESSIONS, headers, b"{}").status == 401
    assert send(emulator, "POST", SESSIONS, headers, VALID_BODY).status == 201
    assert send(emulator, "POST", SESSIONS, headers, VALID_BODY).status == 401
    assert emulator.requests[-1].rejection_reason == "jti was used before"


def test_used_jtis_are_removed_after_their_lifetime(clock: Clock) -> None:
    merchant = Merchant.generate()
    auth_context = AuthContext(CredentialStore([merchant]), hosts=(), clock=clock, clock_tolerance=300, jwt_leeway=60)
    for number in range(50):
        now = NOW + 60 * number
        clock.now = now
        assert auth_context.used_token_ids.add(merchant.key_id, str(number), now=now, ttl=240)
        assert not auth_context.used_token_ids.add(merchant.key_id, str(number), now=now, ttl=240)
    assert len(auth_context.used_token_ids) <= 6


def test_the_query_is_verified_as_sent(emulator: Emulator) -> None:
    path = "/flex/v2/payment-details/A?b=c%20d&e=%C3%A9"
    without_query = "/flex/v2/payment-details/A"
    for sign in (jwt_headers, signature_headers):
        assert send(emulator, "GET", path, sign(emulator, "GET", path, None)).status == 404
        for other in (f"{without_query}?", f"{without_query}?b=c d&e=é"):
            assert send(emulator, "GET", path, sign(emulator, "GET", other, None)).status == 401
    assert send(emulator, "GET", path, signature_headers(emulator, "GET", without_query, None)).status == 401
    # Sources disagree about the query in a JWT.
    assert send(emulator, "GET", path, jwt_headers(emulator, "GET", without_query, None)).status == 404
    encoded = "/flex/v2/payment-details/%41"
    assert send(emulator, "GET", encoded, jwt_headers(emulator, "GET", encoded, None)).status == 404
    assert (
        send(emulator, "GET", encoded, jwt_headers(emulator, "GET", "/flex/v2/payment-details/A", None)).status == 401
    )


def test_a_get_has_no_digest(emulator: Emulator) -> None:
    path = "/flex/v2/payment-details/A"
    assert (
        send(emulator, "GET", path, jwt_headers(emulator, "GET", path, None, digest=sha256_base64(b""))).status == 401
    )
    headers = signature_headers(
        emulator, "GET", path, None, names="host date request-target digest v-c-merchant-id", signed={"digest": ""}
    )
    assert send(emulator, "GET", path, headers).status == 401


def test_repeated_headers_are_rejected(emulator: Emulator) -> None:
    headers = jwt_headers(emulator, "POST", SESSIONS, VALID_BODY)
    request = f"POST {SESSIONS} HTTP/1.1\r\nHost: {host_of(emulator)}\r\nContent-Type: application/json\r\n"
    request += f"Authorization: {headers['Authorization']}\r\n" * 2 + f"Content-Length: {len(VALID_BODY)}\r\n\r\n"
    host, port = host_of(emulator).split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
        connection.sendall(request.encode() + VALID_BODY)
        assert connection.recv(65536).startswith(b"HTTP/1.1 401")
    assert emulator.requests[-1].rejection_reason == "header authorization was sent twice"


def test_a_meta_key_signs_for_each_merchant_of_the_portfolio() -> None:
    key = Merchant.generate("sub_1")
    merchants = [
        Merchant("sub_1", key.key_id, key.secret_key, portfolio_id="portfolio"),
        Merchant("sub_2", key.key_id, key.secret_key, portfolio_id="portfolio"),
    ]
    with Emulator(merchants=merchants, key_pool=1, clock=lambda: NOW) as emulator:
        for merchant in merchants:
            headers = jwt_headers(emulator, "POST", SESSIONS, VALID_BODY, merchant=merchant, iss="portfolio")
            assert send(emulator, "POST", SESSIONS, headers, VALID_BODY).status == 201
            headers = signature_headers(
                emulator, "POST", SESSIONS, VALID_BODY, merchant=merchant, signed={"v-c-merchant-id": "portfolio"}
            )
            assert send(emulator, "POST", SESSIONS, headers, VALID_BODY).status == 201
            assert (
                send(
                    emulator,
                    "POST",
                    SESSIONS,
                    signature_headers(emulator, "POST", SESSIONS, VALID_BODY, merchant=merchant),
                    VALID_BODY,
                ).status
                == 401
            )
            assert "portfolio" in (emulator.requests[-1].rejection_reason or "")
            assert post(emulator, SESSIONS, requested_fields("number"), merchant=merchant).status == 401
        assert emulator.environ["CYBERSOURCE_PORTFOLIO_ID"] == "portfolio"
