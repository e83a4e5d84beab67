"""All credentials of the emulator, message-level encryption and TLS, used by this file's own code."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import os
import ssl
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from cybersource_flex.emulator import Emulator, Merchant, RecordedRequest
from cybersource_flex.emulator.auth.auth_context import AuthContext, AuthenticationError
from cybersource_flex.emulator.auth.authentication import authenticate
from cybersource_flex.emulator.auth.certificates import CertificateIssuer
from cybersource_flex.emulator.auth.credentials import CredentialStore
from cybersource_flex.emulator.auth.message_encryption import decrypt_request
from cybersource_flex.emulator.server.error_responses import ApiError
from cybersource_flex.emulator.server.http_server import ServerTls
from cybersource_flex.emulator.server.messages import ReceivedRequest

KEYS = Path(__file__).parents[1] / "vectors" / "keys"
SESSIONS, TOKENS, DETAILS = "/flex/v2/sessions", "/flex/v2/tokens", "/flex/v2/payment-details/"
NOW = 1795348800
GOOD = b'{"fields":{"paymentInformation":{"card":{"number":{}}}}}'
ACME, OTHER, PORTFOLIO = "acme_flex_test_001", "other_merchant", "acme_flex_portfolio"
KEY_ID, SECRET = "5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f", "19PAsNkIkN3B3XqCZmUh8nl0VVxPJLNFi1AORapEuWs="
META_KEY_ID, META_SECRET = "a0b1c2d3-e4f5-4607-8819-2a3b4c5d6e7f", "HRiPtFcDMBS+reMIV93dPVQZ0JC1Zan+KPIOx2J6A9U="
KID, META_KID, MLE_KID = "1795262400123456789012", "1795262400555555555555", "1795262400777777777777"
SJC_KID = "1795262400987654321098"
# Seconds; this only ends a hang.
PATIENCE = 20


def pem(name: str) -> bytes:
    return (KEYS / name).read_bytes()


def private_key(name: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem(f"{name}.key.pem"), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


MERCHANT_KEY, PORTFOLIO_KEY, MLE_KEY, SJC_KEY = map(private_key, ("merchant", "portfolio", "response_mle", "sjc"))
MERCHANTS = [
    Merchant(
        ACME,
        KEY_ID,
        SECRET,
        certificates=[pem("merchant.crt.pem")],
        access_tokens=["fake-access-token"],
        response_mle_certificates=[pem("response_mle.crt.pem"), ("bare-key", public_pem(MLE_KEY))],
    ),
    Merchant(ACME, META_KEY_ID, META_SECRET, PORTFOLIO, certificates=[pem("portfolio.crt.pem")]),
    Merchant(OTHER, META_KEY_ID, META_SECRET, PORTFOLIO, [pem("portfolio.crt.pem")], ["other-access-token"]),
]


# --- a small client -------------------------------------------------------------------------------------


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64url(encoded: str) -> bytes:
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))


def sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")


Sign = Callable[[str, bytes], bytes]
HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


def with_key(key: rsa.RSAPrivateKey) -> Sign:
    def sign(algorithm: str, signed: bytes) -> bytes:
        used = HASHES[algorithm[2:]]
        scheme = padding.PSS(padding.MGF1(used), used.digest_size) if algorithm[:2] == "PS" else padding.PKCS1v15()
        return key.sign(signed, scheme, used)

    return sign


def with_secret(secret: bytes) -> Sign:
    return lambda algorithm, signed: hmac.new(secret, signed, "sha" + algorithm[2:]).digest()


def token(
    method: str = "POST",
    path: str = SESSIONS,
    body: bytes | None = GOOD,
    *,
    kid: str | None = KID,
    sign: Sign | None = None,
    alg: str = "RS256",
    owner: str = ACME,
    merchant: str = ACME,
    now: int = NOW,
    **claims: Any,
) -> dict[str, str]:
    """Authorization with a JWT; "_" in names of claims stands for "-"."""
    members: dict[str, Any] = {
        "iat": now,
        "exp": now + 120,
        "request-method": method,
        "request-host": "apitest.cybersource.com",
        "request-resource-path": path,
        "iss": owner,
        "jti": str(uuid.uuid4()),
        "v-c-jwt-version": "2",
        "v-c-merchant-id": merchant,
    }
    if body is not None:
        members |= {"digest": sha256(body), "digestAlgorithm": "SHA-256"}
    members |= {name.replace("_", "-"): value for name, value in claims.items()}
    header = {"alg": alg, "kid": kid, "typ": "JWT"}
    signed = ".".join(b64url(json.dumps(part).encode()) for part in (header, members))
    mac = (sign or with_key(MERCHANT_KEY))(alg, signed.encode())
    return {"Authorization": f"Bearer {signed}.{b64url(mac)}", "Content-Type": "application/json;charset=utf-8"}


def shared_secret(*args: Any, **kwargs: Any) -> dict[str, str]:
    return token(*args, kid=KEY_ID, sign=with_secret(base64.b64decode(SECRET)), alg="HS256", **kwargs)


def meta(*args: Any, **kwargs: Any) -> dict[str, str]:
    return token(*args, **{"kid": META_KID, "sign": with_key(PORTFOLIO_KEY), "owner": PORTFOLIO, **kwargs})


def http_signature(
    method: str = "POST", path: str = SESSIONS, body: bytes | None = GOOD, *, host: str, kid: str = KEY_ID
) -> dict[str, str]:
    headers = {"Host": host, "Date": formatdate(NOW, usegmt=True), "v-c-merchant-id": ACME}
    names = "host date request-target v-c-merchant-id"
    if body is not None:
        headers["Digest"] = f"SHA-256={sha256(body)}"
        names = names.replace("v-c", "digest v-c")
    lines = {name.lower(): value for name, value in headers.items()} | {"request-target": f"{method.lower()} {path}"}
    signed = "\n".join(f"{name}: {lines[name]}" for name in names.split())
    mac = base64.b64encode(hmac.new(base64.b64decode(SECRET), signed.encode(), "sha256").digest()).decode()
    headers["Signature"] = f'keyid="{kid}", algorithm="HmacSHA256", headers="{names}", signature="{mac}"'
    return {**headers, "Content-Type": "application/json"}


def send(
    e: Emulator,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes | None = None,
    **trust: Any,
) -> urllib3.BaseHTTPResponse:
    with urllib3.PoolManager(timeout=PATIENCE, retries=False, **trust) as pool:
        return pool.request(method, e.url + path, headers=headers, body=body, redirect=False)


def session(e: Emulator, headers: dict[str, str], body: bytes = GOOD) -> urllib3.BaseHTTPResponse:
    return send(e, "POST", SESSIONS, headers, body)


OAEP_256 = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
OAEP_SHA1 = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303


def seal(
    key: rsa.RSAPublicKey, plain: bytes, header: dict[str, Any], oaep: padding.OAEP = OAEP_256, key_size: int = 32
) -> str:
    first = b64url(json.dumps(header).encode())
    secret, iv = os.urandom(key_size), os.urandom(12)
    sealed = AESGCM(secret).encrypt(iv, plain, first.encode())
    return ".".join((first, *map(b64url, (key.encrypt(secret, oaep), iv, sealed[:-16], sealed[-16:]))))


def unseal(key: rsa.RSAPrivateKey, jwe: str) -> tuple[dict[str, Any], bytes]:
    first, wrapped, iv, sealed, tag = jwe.split(".")
    secret = key.decrypt(unb64url(wrapped), OAEP_256)
    plain = AESGCM(secret).decrypt(unb64url(iv), unb64url(sealed) + unb64url(tag), first.encode())
    return json.loads(unb64url(first)), plain


def encrypted(plain: bytes = GOOD, oaep: padding.OAEP = OAEP_256, key_size: int = 32, **header: Any) -> bytes:
    top = {"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": SJC_KID, "iat": NOW, **header}
    jwe = seal(SJC_KEY.public_key(), plain, top, oaep, key_size)
    return json.dumps({"encryptedRequest": jwe}).encode()


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def shared(clock: Clock) -> Iterator[Emulator]:
    sjc = pem("sjc.key.pem"), pem("sjc.crt.pem")
    with Emulator(merchants=MERCHANTS, clock=clock, request_mle=sjc, key_pool=1) as running:
        yield running


@pytest.fixture
def e(shared: Emulator, clock: Clock) -> Iterator[Emulator]:
    clock.now = NOW
    shared.clear()
    yield shared
    clock.now = NOW


def last(e: Emulator) -> RecordedRequest:
    return e.requests[-1]


# --- certificates and meta keys -------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_a_certificate_signs_with(e: Emulator, alg: str) -> None:
    assert session(e, token(alg=alg)).status == 201, last(e).rejection_reason
    assert (last(e).scheme, last(e).merchant_id) == ("jwt", ACME)


@pytest.mark.parametrize("merchant", [ACME, OTHER])
def test_a_meta_key_serves_all_merchants_of_the_portfolio(e: Emulator, merchant: str) -> None:
    assert session(e, meta(merchant=merchant)).status == 201, last(e).rejection_reason
    secret = with_secret(base64.b64decode(META_SECRET))
    assert session(e, meta(merchant=merchant, kid=META_KEY_ID, sign=secret, alg="HS256")).status == 201
    assert last(e).merchant_id == merchant


def test_a_merchant_with_several_keys(e: Emulator) -> None:
    for headers in (token(), shared_secret(), meta(), {"Authorization": "Bearer fake-access-token"}):
        assert session(e, {"Content-Type": "application/json", **headers}).status == 201, last(e).rejection_reason


def serial(name: str) -> int:
    return x509.load_pem_x509_certificate(pem(f"{name}.crt.pem")).serial_number


REJECTED: list[tuple[str, dict[str, Any], str]] = [
    ("another key", {"sign": with_key(PORTFOLIO_KEY)}, "not the private key"),
    ("X.509 serial", {"kid": str(serial("merchant"))}, "serialNumber attribute"),
    ("X.509 serial, hexadecimal", {"kid": f"{serial('merchant'):X}"}, "serialNumber attribute"),
    ("unknown kid", {"kid": "1" * 22}, "unknown here"),
    ("PS256 named RS256", {"sign": lambda _, signed: with_key(MERCHANT_KEY)("PS256", signed)}, "does not match"),
    ("RS256 named PS256", {"alg": "PS256", "sign": lambda _, s: with_key(MERCHANT_KEY)("RS256", s)}, "does not match"),
    ("the public key as secret", {"alg": "HS256", "sign": with_secret(public_pem(MERCHANT_KEY))}, "kid names a certi"),
    ("RS256 for a shared secret", {"kid": KEY_ID}, "kid names a shared secret"),
    ("none", {"alg": "none", "sign": lambda *_: b"x"}, "not accepted"),
    ("ES256", {"alg": "ES256", "sign": lambda *_: b"x" * 64}, "not accepted"),
    ("issuer", {"owner": PORTFOLIO}, "iss must be"),
    ("issuer in another case", {"owner": ACME.upper()}, "iss must be"),
    ("other merchant", {"merchant": OTHER}, "does not belong"),
    ("no such merchant", {"merchant": "unknown_merchant"}, "does not belong"),
    ("meta key, merchant as issuer", {"kid": META_KID, "sign": with_key(PORTFOLIO_KEY)}, "the portfolio"),
    (
        "meta key, ids swapped",
        {"kid": META_KID, "sign": with_key(PORTFOLIO_KEY), "merchant": PORTFOLIO},
        "does not belong",
    ),
    ("unknown response key", {"v_c_response_mle_kid": "1" * 22}, "names no response key"),
    ("response key as number", {"v_c_response_mle_kid": 5}, "must be a string"),
]


@pytest.mark.parametrize(("changes", "cause"), [c[1:] for c in REJECTED], ids=[c[0] for c in REJECTED])
def test_rejected(e: Emulator, changes: dict[str, Any], cause: str) -> None:
    reply = session(e, token(**changes))
    assert (reply.status, reply.json()) == (401, {"response": {"rmsg": "Authentication Failed"}})
    assert cause in (last(e).rejection_reason or "")
    assert (last(e).scheme, last(e).merchant_id) == (None, None)


def test_the_response_key_of_a_meta_key_is_the_portfolios(e: Emulator) -> None:
    assert session(e, meta(v_c_response_mle_kid=MLE_KID)).status == 401
    assert f"certificate of '{PORTFOLIO}'" in (last(e).rejection_reason or "")
    # A bare public key has no owner.
    assert session(e, meta(v_c_response_mle_kid="bare-key")).status == 201


def test_the_validity_of_a_certificate_is_that_of_the_emulators_clock(e: Emulator, clock: Clock) -> None:
    # 2026-01-01 to 2036-01-01.
    for moment, cause in ((1767225600 - 1, "not valid before"), (2082758400 + 1, "expired on")):
        clock.now = moment
        assert session(e, token(now=moment)).status == 401
        assert cause in (last(e).rejection_reason or "")
        assert session(e, shared_secret(now=moment)).status == 201
    for moment in (1767225600, 2082758400):
        clock.now = moment
        assert session(e, token(now=moment)).status == 201


def test_a_jti_is_used_once_per_key(e: Emulator) -> None:
    jti = str(uuid.uuid4())
    assert [session(e, token(jti=jti)).status for _ in range(2)] == [201, 401]
    assert session(e, shared_secret(jti=jti)).status == 201


def test_an_http_signature_is_not_made_with_a_certificate(e: Emulator) -> None:
    assert session(e, http_signature(host="apitest.cybersource.com", kid=KID)).status == 401
    assert "shared secret" in (last(e).rejection_reason or "")


def test_behind_an_intermediate_host_both_forms_of_the_host_header_pass(e: Emulator) -> None:
    own = e.url.removeprefix("http://")
    for host in (own, "apitest.cybersource.com", "api.cybersource.com"):
        assert session(e, http_signature(host=host)).status == 201, last(e).rejection_reason
        assert session(e, {**token(request_host=host), "Host": own}).status == 201, last(e).rejection_reason
        assert session(e, {**token(request_host=own), "Host": host}).status == 201, last(e).rejection_reason


def test_merchants_do_not_see_each_others_tokens(e: Emulator) -> None:
    context = session(e, token()).data.decode()
    jwk = json.loads(unb64url(context.split(".")[1]))["flx"]["jwk"]
    n, exponent = (int.from_bytes(unb64url(jwk[name]), "big") for name in ("n", "e"))
    data = {"paymentInformation": {"card": {"number": "4111111111111111"}}}
    plain = json.dumps({"data": data, "context": context, "index": 0}).encode()
    header = {"alg": "RSA-OAEP", "enc": "A256GCM", "kid": jwk["kid"]}
    jwe = seal(rsa.RSAPublicNumbers(exponent, n).public_key(), plain, header, OAEP_SHA1)
    created = send(e, "POST", TOKENS, {"Content-Type": "application/jwt"}, jwe.encode())
    assert created.status == 201, created.data
    path = DETAILS + json.loads(unb64url(created.data.decode().split(".")[1]))["jti"]

    def details(headers: dict[str, str]) -> int:
        return send(e, "GET", path, headers).status

    assert details(token("GET", path, None)) == 200
    assert details(shared_secret("GET", path, None)) == 200
    assert details(meta("GET", path, None)) == 200
    assert details(http_signature("GET", path, None, host="apitest.cybersource.com")) == 200
    assert details({"Authorization": "Bearer fake-access-token"}) == 200
    assert details(meta("GET", path, None, merchant=OTHER)) == 404
    assert details({"Authorization": "Bearer other-access-token"}) == 404


# --- access tokens --------------------------------------------------------------------------------------


def test_access_tokens(e: Emulator) -> None:
    def status(access_token: str, **headers: str) -> int:
        sent = {"Authorization": f"Bearer {access_token}", "Content-Type": "application/json", **headers}
        return session(e, sent).status

    assert status("fake-access-token") == 201
    assert (last(e).scheme, last(e).merchant_id) == ("access-token", ACME)
    assert status("unknown") == 401
    assert "known access token" in (last(e).rejection_reason or "")
    assert status("fake-access-token", **{"v-c-merchant-id": ACME}) == 201
    assert status("fake-access-token", **{"v-c-merchant-id": OTHER}) == 401
    first, second = e.issue_access_token(), e.issue_access_token(OTHER)
    assert (status(first), status(second)) == (201, 201)
    assert last(e).merchant_id == OTHER
    e.revoke_access_token(first)
    assert status(first) == 401
    assert last(e).rejection_reason == "the access token was revoked"
    assert status(e.issue_access_token()) == 201
    for wrong in (first, "never-issued"):
        with pytest.raises(ValueError, match="no such access token") as caught:
            e.revoke_access_token(wrong)
        assert wrong not in str(caught.value)
    with pytest.raises(ValueError, match="unknown_merchant"):
        e.issue_access_token("unknown_merchant")


# --- message-level encryption ---------------------------------------------------------------------------


def decrypted_response(reply: urllib3.BaseHTTPResponse, kid: str = MLE_KID) -> bytes:
    """Check the form of an encrypted response and return its plaintext."""
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["digest"] == f"SHA-256={sha256(reply.data)}"
    body = reply.json()
    assert list(body) == ["encryptedResponse"]
    header, plain = unseal(MLE_KEY, body["encryptedResponse"])
    assert header == {"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": kid, "iat": NOW}
    return plain


def test_responses_are_encrypted_on_request(e: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for sign in (token, shared_secret):
        reply = session(e, {**sign(v_c_response_mle_kid=MLE_KID), "Accept": "application/jwt"})
        assert reply.status == 201
        assert len(decrypted_response(reply).decode().split(".")) == 3
    assert decrypted_response(session(e, token(v_c_response_mle_kid="bare-key")), "bare-key").count(b".") == 2

    missing = send(e, "GET", DETAILS + "0", token("GET", DETAILS + "0", None, v_c_response_mle_kid=MLE_KID))
    assert (missing.status, json.loads(decrypted_response(missing))["responseStatus"]["status"]) == (404, 404)
    wrong = session(e, token(body=b"{}", v_c_response_mle_kid=MLE_KID), b"{}")
    assert (wrong.status, "fields" in decrypted_response(wrong).decode()) == (400, True)
    assert "fields" in (last(e).rejection_reason or "")

    # Before the caller is authenticated, nothing is encrypted.
    for reply in (
        session(e, token(v_c_response_mle_kid=MLE_KID), b"{}"),
        send(e, "PUT", SESSIONS, token("PUT", v_c_response_mle_kid=MLE_KID), GOOD),
        send(e, "GET", "/elsewhere", token("GET", "/elsewhere", None, v_c_response_mle_kid=MLE_KID)),
    ):
        assert reply.status in (401, 404, 405)
        assert "encryptedResponse" not in reply.json()

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("cybersource_flex.emulator.jose.sign_rs256", fail)
    broken = session(e, token(v_c_response_mle_kid=MLE_KID))
    assert (broken.status, b"Internal error" in decrypted_response(broken)) == (500, True)


def test_encrypted_requests_are_decrypted(e: Emulator) -> None:
    certificate = x509.load_pem_x509_certificate(e.request_mle_certificate_pem)
    assert certificate == x509.load_pem_x509_certificate(pem("sjc.crt.pem"))
    body = encrypted()
    for sign in (token, shared_secret, meta):
        assert session(e, sign(body=body), body).status == 201, last(e).rejection_reason
    assert (last(e).body, last(e).decrypted_body) == (body, GOOD)
    assert decrypted_response(session(e, token(body=body, v_c_response_mle_kid=MLE_KID), body)).count(b".") == 2
    # Variants of the official SDKs in other languages and of the guide.
    for header in ({"cty": "JWT"}, {"iat": str(NOW)}):
        body = encrypted(**header)
        assert session(e, token(body=body), body).status == 201
    # The digest covers what is sent, not what is inside.
    assert session(e, token(body=GOOD), encrypted()).status == 401
    body = encrypted(b"{}")
    inside = session(e, token(body=body), body)
    assert (inside.status, b"UNIFIEDPAYMENTS_VALIDATION_FIELDS" in inside.data) == (400, True)


JWE = json.loads(encrypted())["encryptedRequest"]
WRONG_REQUESTS: list[tuple[str, bytes, str]] = [
    ("another certificate's kid", encrypted(kid=MLE_KID), "serialNumber attribute"),
    ("X.509 serial", encrypted(kid=str(serial("sjc"))), "serialNumber attribute"),
    ("kid as number", encrypted(kid=int(SJC_KID)), "kid of the JWE"),
    ("RSA-OAEP", encrypted(oaep=OAEP_SHA1, alg="RSA-OAEP"), "alg of the JWE"),
    ("RSA1_5", encrypted(alg="RSA1_5"), "alg of the JWE"),
    ("dir", encrypted(alg="dir"), "alg of the JWE"),
    ("OAEP with SHA-1, named 256", encrypted(oaep=OAEP_SHA1), "cannot be decrypted"),
    ("A128GCM", encrypted(enc="A128GCM", key_size=16), "enc of the JWE"),
    ("short content key", encrypted(key_size=16), "256 bits"),
    ("zip", encrypted(zip="DEF"), "zip and crit"),
    ("crit", encrypted(crit=["exp"]), "zip and crit"),
    ("changed", json.dumps({"encryptedRequest": JWE[:-4] + "AAAA"}).encode(), "tag does not match"),
    ("two members", json.dumps({"encryptedRequest": JWE, "fields": {}}).encode(), "one member"),
    ("not a string", b'{"encryptedRequest":{}}', "one member"),
    ("no JWE", b'{"encryptedRequest":"a.b.c"}', "five parts"),
]


@pytest.mark.parametrize(("body", "cause"), [c[1:] for c in WRONG_REQUESTS], ids=[c[0] for c in WRONG_REQUESTS])
def test_wrong_encrypted_requests(e: Emulator, body: bytes, cause: str) -> None:
    reply = session(e, token(body=body), body)
    assert (reply.status, reply.json()["reason"]) == (400, "INVALID_ENCRYPTED_REQUEST")
    (detail,) = reply.json()["details"]
    assert detail["location"] == "encryptedRequest"
    assert cause in detail["message"]
    assert cause in (last(e).rejection_reason or "")
    assert last(e).decrypted_body is None
    assert decrypted_response(session(e, token(body=body, v_c_response_mle_kid=MLE_KID), body))


def test_encrypted_requests_need_a_jwt(e: Emulator) -> None:
    body = encrypted()
    access = {"Authorization": "Bearer fake-access-token", "Content-Type": "application/json"}
    for headers in (http_signature(body=body, host="apitest.cybersource.com"), access):
        assert session(e, headers, body).status == 401
        assert "needs authentication with a JWT" in (last(e).rejection_reason or "")
    # Not an authenticated operation: the body is what it is.
    assert send(e, "POST", TOKENS, {"Content-Type": "application/json"}, body).status == 400
    assert last(e).decrypted_body is None


def test_what_only_looks_encrypted_is_for_the_operation_to_judge(e: Emulator) -> None:
    for body in (b'"encryptedRequest"', b'{"encryptedRequest"', b'{"fields":{"encryptedRequest":{}}}'):
        reply = session(e, token(body=body), body)
        assert (reply.status, reply.json()["reason"] != "INVALID_ENCRYPTED_REQUEST") == (400, True)


def test_rsa_oaep_by_choice() -> None:
    sjc = pem("sjc.key.pem"), pem("sjc.crt.pem")
    with Emulator(merchants=MERCHANTS, clock=lambda: NOW, request_mle=sjc, accept_rsa_oaep=True, key_pool=1) as running:
        for body in (encrypted(), encrypted(oaep=OAEP_SHA1, alg="RSA-OAEP", cty="JWT")):
            assert session(running, token(body=body), body).status == 201, last(running).rejection_reason


# --- what the official SDK sends ------------------------------------------------------------------------


def auth_context(merchants: list[Merchant]) -> AuthContext:
    return AuthContext(CredentialStore(merchants), hosts=(), clock=lambda: NOW, clock_tolerance=0, jwt_leeway=0)


@pytest.mark.parametrize(
    ("name", "count"), [("http_signature.json", 12), ("jwt_shared_secret.json", 10), ("jwt_p12.json", 8)]
)
def test_vectors_of_the_official_sdk_are_accepted(vectors: Callable[[str], Any], name: str, count: int) -> None:
    content = vectors(name)
    assert len(content["vectors"]) == count
    metas = 0
    for vector in content["vectors"]:
        inputs = vector["inputs"]
        config = inputs["config"]
        is_meta = bool(config.get("use_metakey"))
        metas += is_meta
        merchant = Merchant(
            config["merchantid"],
            config.get("merchant_keyid"),
            config.get("merchant_secretkey"),
            portfolio_id=config["portfolio_id"] if is_meta else None,
            certificates=[pem("portfolio.crt.pem" if is_meta else "merchant.crt.pem")],
            response_mle_certificates=[] if is_meta else [pem("response_mle.crt.pem")],
        )
        headers = tuple(vector["outputs"]["headers"].items())
        body = (inputs.get("body") or "").encode("utf-8")
        request = ReceivedRequest.of(inputs["method"], inputs["request_target_path"], headers, body)
        context = auth_context([merchant])
        caller = authenticate(context, request)
        assert caller.merchant == merchant, vector["name"]
        expected_key_id = vector["outputs"].get("payload", {}).get("v-c-response-mle-kid")
        assert (caller.response_key.key_id if caller.response_key else None) == expected_key_id
        changed = ReceivedRequest.of(inputs["method"], inputs["request_target_path"] + "x", headers, body)
        with pytest.raises(AuthenticationError):
            authenticate(context, changed)
    assert metas >= 2


def test_requests_that_the_official_sdk_encrypted(vectors: Callable[[str], Any]) -> None:
    content = vectors("mle_request.json")
    assert len(content["vectors"]) == 3
    certificates = CertificateIssuer(lambda: NOW, (pem("sjc.key.pem"), pem("sjc.crt.pem")))
    for vector in content["vectors"]:
        inputs, outputs = vector["inputs"], vector["outputs"]
        body = outputs["body_on_the_wire"].encode()
        headers = (("Authorization", f"Bearer {outputs['token']}"),)
        request = ReceivedRequest.of(inputs["method"], inputs["request_target_path"], headers, body)
        caller = authenticate(auth_context(MERCHANTS), request)
        assert decrypt_request(certificates, caller, body, ("RSA-OAEP-256",)) == inputs["plaintext_body"].encode(), (
            vector["name"]
        )
        with pytest.raises(ApiError):
            decrypt_request(CertificateIssuer(lambda: NOW), caller, body, ("RSA-OAEP-256",))


def test_wire_captures_of_the_official_sdk(vectors: Callable[[str], Any]) -> None:
    captures = vectors("wire_captures.json")["captures"]
    assert len(captures) == 19
    certificates = CertificateIssuer(lambda: NOW, (pem("sjc.key.pem"), pem("sjc.crt.pem")))
    counts: dict[str, int] = {}
    for capture in captures:
        sent, config = capture["request"], capture["config"]
        # The vectors omit the name of the test server.
        headers = tuple((name, "127.0.0.1" if value.startswith("<") else value) for name, value in sent["headers"])
        body = (sent.get("body") or "").encode()
        request = ReceivedRequest.of(sent["method"], sent["path"], headers, body)
        if config["authentication_type"] == "MUTUAL_AUTH":
            with pytest.raises(AuthenticationError, match="no credential"):
                authenticate(auth_context(MERCHANTS), request)
            continue
        caller = authenticate(auth_context(MERCHANTS), request)
        assert caller.merchant.merchant_id == ACME, capture["name"]
        counts[caller.scheme] = counts.get(caller.scheme, 0) + 1
        assert (caller.merchant.portfolio_id is not None) == bool(config.get("use_metakey")), capture["name"]
        expected_key_id = config.get("responseMleKID")
        assert (caller.response_key.key_id if caller.response_key else None) == expected_key_id, capture["name"]
        plain = decrypt_request(certificates, caller, body, ("RSA-OAEP-256",))
        assert (plain is not None) == ("mapToControlMLEonAPI" in config), capture["name"]
        assert plain is None or "fields" in json.loads(plain)
    assert counts == {"http-signature": 3, "jwt": 13, "access-token": 1}


def test_encrypted_responses_match_the_vectors(e: Emulator, vectors: Callable[[str], Any]) -> None:
    reply = session(e, token(v_c_response_mle_kid=MLE_KID)).json()
    for vector in vectors("mle_response.json")["vectors"]:
        theirs = json.loads(vector["inputs"]["body_on_the_wire"])
        assert set(theirs) == set(reply)
        header, plain = unseal(MLE_KEY, theirs["encryptedResponse"])
        assert plain.decode() == vector["outputs"]["official_sdk_decrypts_to"]
        ours, _ = unseal(MLE_KEY, reply["encryptedResponse"])
        assert {name: ours[name] for name in ("alg", "enc", "kid")} == {
            name: header[name] for name in ("alg", "enc", "kid")
        }


# --- files of the Business Center -----------------------------------------------------------------------


def unpack(content: bytes, password: str = "open sesame") -> tuple[rsa.RSAPrivateKey, str, str, list[str]]:
    """Key, CN and serialNumber of a P12, and the names of the other certificates."""
    loaded = pkcs12.load_pkcs12(content, password.encode())
    assert isinstance(loaded.key, rsa.RSAPrivateKey)
    assert loaded.cert is not None

    def attribute(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
        return str(certificate.subject.get_attributes_for_oid(oid)[0].value)

    own = loaded.cert.certificate
    assert not list(own.extensions)
    name, kid = attribute(own, NameOID.COMMON_NAME), attribute(own, NameOID.SERIAL_NUMBER)
    assert loaded.cert.friendly_name == f"serialNumber={kid},CN={name}".encode()
    assert own.serial_number == int.from_bytes(kid[:19].encode(), "big")
    others = [attribute(other.certificate, NameOID.COMMON_NAME) for other in loaded.additional_certs]
    return loaded.key, name, kid, others


def test_p12_files(clock: Clock) -> None:
    clock.now = NOW
    merchants = [
        Merchant.generate("first"),
        Merchant.generate("second", PORTFOLIO),
        Merchant("third", portfolio_id=PORTFOLIO),
    ]
    running = Emulator(merchants=merchants, clock=clock, key_pool=1)
    before = running.make_p12("open sesame")
    with running as e:
        assert running.request_mle_certificate_pem == e.request_mle_certificate_pem
        key, name, kid, others = unpack(before)
        assert (name, others) == ("first", ["CyberSource_SJC_US", "CyberSourceCertAuth"])
        assert (len(kid), kid.isdecimal()) == (22, True)
        assert session(e, token(kid=kid, sign=with_key(key), owner="first", merchant="first")).status == 201

        key, name, kid, _ = unpack(e.make_p12("open sesame", "second", portfolio=True))
        assert name == PORTFOLIO
        for merchant, status in (("second", 201), ("third", 201), ("first", 401)):
            sent = token(kid=kid, sign=with_key(key), owner=PORTFOLIO, merchant=merchant)
            assert session(e, sent).status == status, last(e).rejection_reason

        expired, _, kid, _ = unpack(e.make_p12("open sesame", "third", days=-1))
        assert session(e, token(kid=kid, sign=with_key(expired), owner="third", merchant="third")).status == 401
        assert "expired on Sat, 21 Nov 2026 12:00:00 GMT" in (last(e).rejection_reason or "")

        response_key, name, response_kid, others = unpack(e.make_response_mle_p12("open sesame"))
        assert (name, others[0]) == ("first", "CyberSource_SJC_US")
        key, _, kid, _ = unpack(before)
        sent = token(kid=kid, sign=with_key(key), owner="first", merchant="first", v_c_response_mle_kid=response_kid)
        header, plain = unseal(response_key, session(e, sent).json()["encryptedResponse"])
        assert (header["kid"], plain.count(b".")) == (response_kid, 2)
        # It decrypts responses and is no signing key.
        sent = token(kid=response_kid, sign=with_key(response_key), owner="first", merchant="first")
        assert session(e, sent).status == 401

        with pytest.raises(ValueError, match="password"):
            unpack(before, "wrong")
        with pytest.raises(ValueError, match="needs a password"):
            e.make_p12("")
        with pytest.raises(ValueError, match="unknown_merchant"):
            e.make_p12("x", "unknown_merchant")
        with pytest.raises(ValueError, match="no portfolio_id"):
            e.make_p12("x", portfolio=True)
        with pytest.raises(ValueError, match="1 to 64 characters"):
            Emulator(merchants=[Merchant("m" * 65)]).make_p12("x")


def test_a_merchant_without_a_shared_secret_has_no_auth() -> None:
    e = Emulator(merchants=[Merchant("only_p12")])
    with pytest.raises(RuntimeError, match="make_p12"):
        _ = e.auth


# --- TLS ------------------------------------------------------------------------------------------------


def trusting(ca: bytes, certificate: tuple[bytes, bytes] | None = None, folder: Path | None = None) -> dict[str, Any]:
    context = ssl.create_default_context(cadata=ca.decode())
    if certificate is not None:
        assert folder is not None
        for name, content in zip(("cert.pem", "key.pem"), certificate, strict=True):
            (folder / name).write_bytes(content)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return {"ssl_context": context}


def test_https(tmp_path: Path) -> None:
    with Emulator(tls=True, merchants=MERCHANTS, clock=lambda: NOW, signed_hosts=["Flex.Test:8443"]) as e:
        assert e.url.startswith("https://127.0.0.1:")
        assert e.environ["CYBERSOURCE_ENVIRONMENT"] == e.url
        assert "https://" in repr(e)
        e.write_ca(tmp_path / "ca.pem")
        assert (tmp_path / "ca.pem").read_bytes() == e.ca_pem
        trust = trusting(e.ca_pem)
        reply = send(e, "POST", SESSIONS, token(), GOOD, **trust)
        assert reply.status == 201
        assert json.loads(unb64url(reply.data.decode().split(".")[1]))["flx"]["origin"] == e.url
        assert last(e).client_certificate is None
        own = e.url.removeprefix("https://")
        assert send(e, "POST", SESSIONS, http_signature(host=own), GOOD, **trust).status == 201
        port = int(own.rpartition(":")[2])
        for name in ("localhost", "::1", "flex.test"):
            with urllib3.HTTPSConnectionPool(
                "127.0.0.1", port, assert_hostname=name, server_hostname=name, retries=False, **trust
            ) as pool:
                assert pool.request("GET", "/").status == 404
        for untrusted in ({}, {**trust, "assert_hostname": "apitest.cybersource.com"}):
            with pytest.raises(urllib3.exceptions.SSLError):
                send(e, "GET", "/", {}, **untrusted)
        with pytest.raises(urllib3.exceptions.HTTPError), urllib3.PoolManager(retries=False) as pool:
            pool.request("GET", f"http://{own}/", timeout=PATIENCE)
        e.stop()
        e.start()
        assert send(e, "POST", SESSIONS, token(), GOOD, **trust).status == 201


def test_tls_is_at_least_1_2() -> None:
    assert ServerTls(["localhost"], None).context().minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("kind", ["optional", "required"])
def test_client_certificates(kind: Any, tmp_path: Path) -> None:
    with Emulator(tls=True, client_certificates=kind, merchants=MERCHANTS, clock=lambda: NOW, key_pool=1) as e:
        with_certificate = trusting(e.ca_pem, e.issue_client_certificate("till 7"), tmp_path)
        assert send(e, "POST", SESSIONS, token(), GOOD, **with_certificate).status == 201
        assert last(e).client_certificate == "till 7"
        # The connection is authenticated, the merchant is not.
        assert send(e, "POST", SESSIONS, {}, GOOD, **with_certificate).status == 401
        assert "no credential" in (last(e).rejection_reason or "")
        count = len(e.requests)
        stranger = Emulator(tls=True).issue_client_certificate("stranger")
        with pytest.raises(urllib3.exceptions.HTTPError):
            send(e, "POST", SESSIONS, token(), GOOD, **trusting(e.ca_pem, stranger, tmp_path))
        if kind == "required":
            with pytest.raises(urllib3.exceptions.HTTPError):
                send(e, "POST", SESSIONS, token(), GOOD, **trusting(e.ca_pem))
            assert len(e.requests) == count
        else:
            assert send(e, "POST", SESSIONS, token(), GOOD, **trusting(e.ca_pem)).status == 201
            assert last(e).client_certificate is None


def test_without_trustme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(ImportError, match="extra 'emulator'"):
        Emulator(tls=True)
    Emulator()


# --- wrong arguments ------------------------------------------------------------------------------------


def make_certificate(key: Any, **attributes: str) -> bytes:
    """A certificate (DER) with these subject attributes."""
    oids = {"cn": NameOID.COMMON_NAME, "serial": NameOID.SERIAL_NUMBER}
    subject = x509.Name([x509.NameAttribute(oids[key], value) for key, value in attributes.items()])
    now = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


CERTIFICATE = pem("merchant.crt.pem")
ELLIPTIC: Any = ec.generate_private_key(ec.SECP256R1())


def test_certificates_are_read_from_der_and_in_any_case_of_the_name() -> None:
    der = make_certificate(MERCHANT_KEY, cn=ACME.upper(), serial="77")
    pem_string = pem("merchant.crt.pem").decode()
    with Emulator(merchants=[Merchant(ACME, certificates=[der, pem_string])], clock=lambda: NOW, key_pool=1) as e:
        assert session(e, token(kid="77")).status == 201, last(e).rejection_reason
        assert session(e, token()).status == 201, last(e).rejection_reason


WRONG_MERCHANTS: list[tuple[str, dict[str, Any], str]] = [
    ("one certificate", {"certificates": CERTIFICATE}, "list"),
    ("one token", {"access_tokens": "token"}, "list"),
    ("no certificate", {"certificates": [b"hello"]}, "neither PEM nor DER"),
    ("broken PEM", {"certificates": ["-----BEGIN CERTIFICATE-----"]}, "neither PEM nor DER"),
    ("two in one PEM", {"certificates": [CERTIFICATE * 2]}, "2 certificates"),
    ("the portfolio's", {"certificates": [pem("portfolio.crt.pem")]}, "expected 'acme_flex_test_001'"),
    ("the response key", {"response_mle_certificates": [pem("portfolio.crt.pem")]}, "expected"),
    ("no public key", {"response_mle_certificates": [("kid", b"x")]}, "neither PEM nor DER"),
    ("no serialNumber", {"certificates": [make_certificate(MERCHANT_KEY, cn=ACME)]}, "serialNumber"),
    ("no CN", {"certificates": [make_certificate(MERCHANT_KEY, serial="1")]}, "CN"),
    ("no RSA", {"certificates": [make_certificate(ELLIPTIC, cn=ACME, serial="1")]}, "not RSA"),
    ("no RSA public key", {"response_mle_certificates": [("kid", public_pem(ELLIPTIC))]}, "not RSA"),
    ("empty token", {"access_tokens": [""]}, "access_tokens"),
    ("token with a space", {"access_tokens": ["a b"]}, "access_tokens"),
    ("id without secret", {"key_id": "k"}, "secret_key"),
    ("secret without id", {"secret_key": SECRET}, "key_id"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), [c[1:] for c in WRONG_MERCHANTS], ids=[c[0] for c in WRONG_MERCHANTS]
)
def test_wrong_merchants(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Merchant(ACME, **arguments)
    assert SECRET not in str(caught.value)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("certificate twice", {"merchants": [Merchant(ACME, certificates=[CERTIFICATE] * 2)]}, "twice"),
    ("key of two owners", {"merchants": [Merchant("a", KEY_ID, SECRET), Merchant("b", KEY_ID, SECRET)]}, "shared"),
    ("token twice", {"merchants": [Merchant(n, access_tokens=["secret-token"]) for n in "ab"]}, "access token"),
    ("no TLS", {"client_certificates": "required"}, "tls=True"),
    ("kind of client certificates", {"tls": True, "client_certificates": "yes"}, "optional"),
    ("name for TLS", {"tls": True, "signed_hosts": ["a_b..c"]}, "is not valid in a certificate"),
    ("another key", {"request_mle": (pem("merchant.key.pem"), pem("sjc.crt.pem"))}, "belong together"),
    ("no key", {"request_mle": (pem("sjc.crt.pem"), pem("sjc.crt.pem"))}, "not a private key"),
    ("locked key", {"request_mle": (pem("response_mle.key.encrypted.pem"), pem("sjc.crt.pem"))}, "not a private key"),
]


@pytest.mark.parametrize(("arguments", "message"), [c[1:] for c in WRONG], ids=[c[0] for c in WRONG])
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Emulator(**arguments)
    assert "secret-token" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_repr_contains_no_secret() -> None:
    merchant = Merchant(ACME, KEY_ID, SECRET, certificates=[CERTIFICATE], access_tokens=["secret-token"])
    e = Emulator(merchants=[merchant])
    store = CredentialStore([merchant])
    representation = repr([merchant, e, store.key(KEY_ID), store.key(KID), CertificateIssuer(lambda: NOW)])
    for secret in (SECRET, "secret-token", repr(base64.b64decode(SECRET))[2:-1]):
        assert secret not in representation


def test_without_tls_there_is_no_ca() -> None:
    e = Emulator()
    for use in (lambda: e.ca_pem, lambda: e.issue_client_certificate("x"), lambda: e.write_ca("x")):
        with pytest.raises(RuntimeError, match="tls=True"):
            use()
