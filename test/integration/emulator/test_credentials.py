"""The emulator's credentials, message-level encryption and TLS, used without the SDK."""

from __future__ import annotations

import base64
import datetime
import hmac
import json
import os
import ssl
import sys
import uuid
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from cybersource_flex import MissingDependencyError
from cybersource_flex.emulator import Emulator, Merchant, RecordedRequest
from cybersource_flex.emulator.auth.auth_context import AuthContext, AuthenticationError
from cybersource_flex.emulator.auth.authentication import authenticate
from cybersource_flex.emulator.auth.certificates import Certificate, CertificateIssuer, issue_certificate
from cybersource_flex.emulator.auth.credentials import CredentialStore
from cybersource_flex.emulator.auth.message_encryption import decrypt_request
from cybersource_flex.emulator.server.error_responses import ApiError
from cybersource_flex.emulator.server.messages import ReceivedRequest
from cybersource_flex.emulator.server.tls import ServerTls
from support.emulator_client import (
    DETAILS,
    NOW,
    SESSIONS,
    TIMEOUT,
    TOKENS,
    VALID_BODY,
    Clock,
    card_data,
    encrypt_data,
    host_of,
    sha256_base64,
)
from support.encoding import base64url
from support.keys import KEYS, private_key
from support.tokens import decode_jwt, decrypt_jwe, encrypt_jwe, oaep, signing_input

ACME, OTHER_MERCHANT, PORTFOLIO = "acme_flex_test_001", "other_merchant", "acme_flex_portfolio"
KEY_ID, SECRET = "5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f", "19PAsNkIkN3B3XqCZmUh8nl0VVxPJLNFi1AORapEuWs="
META_KEY_ID, META_SECRET = "a0b1c2d3-e4f5-4607-8819-2a3b4c5d6e7f", "HRiPtFcDMBS+reMIV93dPVQZ0JC1Zan+KPIOx2J6A9U="
KID, META_KID, MLE_KID = "1795262400123456789012", "1795262400555555555555", "1795262400777777777777"
SJC_KID = "1795262400987654321098"


def pem(name: str) -> bytes:
    return (KEYS / name).read_bytes()


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
    Merchant(OTHER_MERCHANT, META_KEY_ID, META_SECRET, PORTFOLIO, [pem("portfolio.crt.pem")], ["other-access-token"]),
]


# --- requests ------------------------------------------------------------------------------------------


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


def jwt_headers(
    method: str = "POST",
    path: str = SESSIONS,
    body: bytes | None = VALID_BODY,
    *,
    kid: str | None = KID,
    sign: Sign | None = None,
    alg: str = "RS256",
    owner: str = ACME,
    merchant: str = ACME,
    now: int = NOW,
    **claims: Any,
) -> dict[str, str]:
    """Authorization header with a JWT. "_" in the names of claims becomes "-"."""
    all_claims: dict[str, Any] = {
        "iat": int(now),
        "exp": int(now) + 120,
        "request-method": method,
        "request-host": "apitest.cybersource.com",
        "request-resource-path": path,
        "iss": owner,
        "jti": str(uuid.uuid4()),
        "v-c-jwt-version": "2",
        "v-c-merchant-id": merchant,
    }
    if body is not None:
        all_claims |= {"digest": sha256_base64(body), "digestAlgorithm": "SHA-256"}
    all_claims |= {name.replace("_", "-"): value for name, value in claims.items()}
    header = {"alg": alg, "kid": kid, "typ": "JWT"}
    signed = signing_input(header, all_claims)
    mac = (sign or with_key(MERCHANT_KEY))(alg, signed.encode())
    return {"Authorization": f"Bearer {signed}.{base64url(mac)}", "Content-Type": "application/json;charset=utf-8"}


def shared_secret_headers(*args: Any, **kwargs: Any) -> dict[str, str]:
    return jwt_headers(*args, kid=KEY_ID, sign=with_secret(base64.b64decode(SECRET)), alg="HS256", **kwargs)


def meta_key_headers(*args: Any, **kwargs: Any) -> dict[str, str]:
    return jwt_headers(*args, **{"kid": META_KID, "sign": with_key(PORTFOLIO_KEY), "owner": PORTFOLIO, **kwargs})


def signature_headers(
    method: str = "POST", path: str = SESSIONS, body: bytes | None = VALID_BODY, *, host: str, kid: str = KEY_ID
) -> dict[str, str]:
    headers = {"Host": host, "Date": formatdate(NOW, usegmt=True), "v-c-merchant-id": ACME}
    names = "host date request-target v-c-merchant-id"
    if body is not None:
        headers["Digest"] = f"SHA-256={sha256_base64(body)}"
        names = names.replace("v-c", "digest v-c")
    lines = {name.lower(): value for name, value in headers.items()} | {"request-target": f"{method.lower()} {path}"}
    signed = "\n".join(f"{name}: {lines[name]}" for name in names.split())
    mac = base64.b64encode(hmac.new(base64.b64decode(SECRET), signed.encode(), "sha256").digest()).decode()
    headers["Signature"] = f'keyid="{kid}", algorithm="HmacSHA256", headers="{names}", signature="{mac}"'
    return {**headers, "Content-Type": "application/json"}


def send(
    emulator: Emulator,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes | None = None,
    **options: Any,
) -> urllib3.BaseHTTPResponse:
    with urllib3.PoolManager(timeout=TIMEOUT, retries=False, **options) as pool:
        return pool.request(method, emulator.url + path, headers=headers, body=body, redirect=False)


def create_session(emulator: Emulator, headers: dict[str, str], body: bytes = VALID_BODY) -> urllib3.BaseHTTPResponse:
    return send(emulator, "POST", SESSIONS, headers, body)


OAEP_SHA1 = oaep(hashes.SHA1())  # noqa: S303


def encrypted_request(
    plaintext: bytes = VALID_BODY, wrap: padding.OAEP | None = None, key_size: int = 32, **header: Any
) -> bytes:
    all_headers = {"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": SJC_KID, "iat": NOW, **header}
    content_key, iv = os.urandom(key_size), os.urandom(12)
    jwe = encrypt_jwe(SJC_KEY, plaintext, all_headers, wrap=wrap, content_key=content_key, iv=iv)
    return json.dumps({"encryptedRequest": jwe}).encode()


@pytest.fixture(scope="module")
def shared_emulator(clock: Clock) -> Iterator[Emulator]:
    sjc = pem("sjc.key.pem"), pem("sjc.crt.pem")
    with Emulator(merchants=MERCHANTS, clock=clock, request_mle=sjc, key_pool=1) as running:
        yield running


def last_request(emulator: Emulator) -> RecordedRequest:
    return emulator.requests[-1]


def assert_accepted(emulator: Emulator, headers: dict[str, str], body: bytes = VALID_BODY) -> None:
    """Request a capture context, which must succeed."""
    assert create_session(emulator, headers, body).status == 201, last_request(emulator).rejection_reason


# --- certificates and meta keys -------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_algorithms_of_certificates(emulator: Emulator, alg: str) -> None:
    assert_accepted(emulator, jwt_headers(alg=alg))
    assert (last_request(emulator).scheme, last_request(emulator).merchant_id) == ("jwt", ACME)


@pytest.mark.parametrize("merchant", [ACME, OTHER_MERCHANT])
def test_a_meta_key_signs_for_all_merchants_of_the_portfolio(emulator: Emulator, merchant: str) -> None:
    assert_accepted(emulator, meta_key_headers(merchant=merchant))
    secret = with_secret(base64.b64decode(META_SECRET))
    assert_accepted(emulator, meta_key_headers(merchant=merchant, kid=META_KEY_ID, sign=secret, alg="HS256"))
    assert last_request(emulator).merchant_id == merchant


def test_a_merchant_with_several_keys(emulator: Emulator) -> None:
    for headers in (
        jwt_headers(),
        shared_secret_headers(),
        meta_key_headers(),
        {"Authorization": "Bearer fake-access-token"},
    ):
        assert_accepted(emulator, {"Content-Type": "application/json", **headers})


def serial(name: str) -> int:
    return x509.load_pem_x509_certificate(pem(f"{name}.crt.pem")).serial_number


REJECTED: list[tuple[str, dict[str, Any], str]] = [
    ("another key", {"sign": with_key(PORTFOLIO_KEY)}, "not made with the private key"),
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
    ("other merchant", {"merchant": OTHER_MERCHANT}, "may not use the key"),
    ("no such merchant", {"merchant": "unknown_merchant"}, "may not use the key"),
    ("meta key, merchant as issuer", {"kid": META_KID, "sign": with_key(PORTFOLIO_KEY)}, "the portfolio"),
    (
        "meta key, ids swapped",
        {"kid": META_KID, "sign": with_key(PORTFOLIO_KEY), "merchant": PORTFOLIO},
        "may not use the key",
    ),
    ("unknown response key", {"v_c_response_mle_kid": "1" * 22}, "names no response key"),
    ("response key as number", {"v_c_response_mle_kid": 5}, "must be a non-empty string"),
]


@pytest.mark.parametrize(("changes", "cause"), [c[1:] for c in REJECTED], ids=[c[0] for c in REJECTED])
def test_invalid_jwts(emulator: Emulator, changes: dict[str, Any], cause: str) -> None:
    response = create_session(emulator, jwt_headers(**changes))
    assert (response.status, response.json()) == (401, {"response": {"rmsg": "Authentication Failed"}})
    assert cause in (last_request(emulator).rejection_reason or "")
    assert (last_request(emulator).scheme, last_request(emulator).merchant_id) == (None, None)


def test_a_meta_key_needs_a_response_key_of_the_portfolio(emulator: Emulator) -> None:
    assert create_session(emulator, meta_key_headers(v_c_response_mle_kid=MLE_KID)).status == 401
    assert f"certificate of '{PORTFOLIO}'" in (last_request(emulator).rejection_reason or "")
    # A public key without a certificate belongs to no merchant.
    assert_accepted(emulator, meta_key_headers(v_c_response_mle_kid="bare-key"))


def test_certificates_expire_by_the_emulators_clock(emulator: Emulator, clock: Clock) -> None:
    # 2026-01-01 to 2036-01-01.
    for time, cause in ((1767225600 - 1, "not valid before"), (2082758400 + 1, "expired on")):
        clock.now = time
        assert create_session(emulator, jwt_headers(now=time)).status == 401
        assert cause in (last_request(emulator).rejection_reason or "")
        assert_accepted(emulator, shared_secret_headers(now=time))
    for time in (1767225600, 2082758400):
        clock.now = time
        assert_accepted(emulator, jwt_headers(now=time))


def test_a_jti_is_used_once_per_key(emulator: Emulator) -> None:
    jti = str(uuid.uuid4())
    assert [create_session(emulator, jwt_headers(jti=jti)).status for _ in range(2)] == [201, 401]
    assert_accepted(emulator, shared_secret_headers(jti=jti))


def test_http_signatures_with_a_certificate_are_rejected(emulator: Emulator) -> None:
    assert create_session(emulator, signature_headers(host="apitest.cybersource.com", kid=KID)).status == 401
    assert "shared secret" in (last_request(emulator).rejection_reason or "")


def test_the_host_header_behind_an_intermediate_host(emulator: Emulator) -> None:
    emulator_host = host_of(emulator)
    for host in (emulator_host, "apitest.cybersource.com", "api.cybersource.com"):
        assert_accepted(emulator, signature_headers(host=host))
        assert_accepted(emulator, {**jwt_headers(request_host=host), "Host": emulator_host})
        assert_accepted(emulator, {**jwt_headers(request_host=emulator_host), "Host": host})


def test_payment_details_are_available_to_their_merchant_only(emulator: Emulator) -> None:
    context = create_session(emulator, jwt_headers()).data.decode()
    jwe = encrypt_data(context, card_data({"number": "4111111111111111"}))
    created = send(emulator, "POST", TOKENS, {"Content-Type": "application/jwt"}, jwe.encode())
    assert created.status == 201, created.data
    path = DETAILS + decode_jwt(created.data.decode())[1]["jti"]

    def details(headers: dict[str, str]) -> int:
        return send(emulator, "GET", path, headers).status

    assert details(jwt_headers("GET", path, None)) == 200
    assert details(shared_secret_headers("GET", path, None)) == 200
    assert details(meta_key_headers("GET", path, None)) == 200
    assert details(signature_headers("GET", path, None, host="apitest.cybersource.com")) == 200
    assert details({"Authorization": "Bearer fake-access-token"}) == 200
    assert details(meta_key_headers("GET", path, None, merchant=OTHER_MERCHANT)) == 404
    assert details({"Authorization": "Bearer other-access-token"}) == 404


# --- access tokens --------------------------------------------------------------------------------------


def test_access_tokens(emulator: Emulator) -> None:
    def status(access_token: str, **headers: str) -> int:
        authorization = {"Authorization": f"Bearer {access_token}", "Content-Type": "application/json"}
        return create_session(emulator, {**authorization, **headers}).status

    assert status("fake-access-token") == 201
    assert (last_request(emulator).scheme, last_request(emulator).merchant_id) == ("access-token", ACME)
    assert status("unknown") == 401
    assert "known access token" in (last_request(emulator).rejection_reason or "")
    assert status("fake-access-token", **{"v-c-merchant-id": ACME}) == 201
    assert status("fake-access-token", **{"v-c-merchant-id": OTHER_MERCHANT}) == 401
    first, second = emulator.issue_access_token(), emulator.issue_access_token(OTHER_MERCHANT)
    assert (status(first), status(second)) == (201, 201)
    assert last_request(emulator).merchant_id == OTHER_MERCHANT
    emulator.revoke_access_token(first)
    assert status(first) == 401
    assert last_request(emulator).rejection_reason == "the access token was revoked"
    assert status(emulator.issue_access_token()) == 201
    for unknown in (first, "never-issued"):
        with pytest.raises(ValueError, match="no such access token") as caught:
            emulator.revoke_access_token(unknown)
        assert unknown not in str(caught.value)
    with pytest.raises(ValueError, match="unknown_merchant"):
        emulator.issue_access_token("unknown_merchant")


# --- message-level encryption ---------------------------------------------------------------------------


def decrypt_response(response: urllib3.BaseHTTPResponse, kid: str = MLE_KID) -> bytes:
    """Check the form of an encrypted response and return the plaintext."""
    assert response.headers["content-type"] == "application/json"
    assert response.headers["digest"] == f"SHA-256={sha256_base64(response.data)}"
    body = response.json()
    assert list(body) == ["encryptedResponse"]
    header, plain = decrypt_jwe(body["encryptedResponse"], MLE_KEY)
    assert header == {"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": kid, "iat": NOW}
    return plain


def test_responses_are_encrypted_on_request(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for sign in (jwt_headers, shared_secret_headers):
        response = create_session(emulator, {**sign(v_c_response_mle_kid=MLE_KID), "Accept": "application/jwt"})
        assert response.status == 201
        assert len(decrypt_response(response).decode().split(".")) == 3
    assert (
        decrypt_response(create_session(emulator, jwt_headers(v_c_response_mle_kid="bare-key")), "bare-key").count(b".")
        == 2
    )

    missing = send(
        emulator, "GET", DETAILS + "0", jwt_headers("GET", DETAILS + "0", None, v_c_response_mle_kid=MLE_KID)
    )
    assert (missing.status, json.loads(decrypt_response(missing))["responseStatus"]["status"]) == (404, 404)
    invalid = create_session(emulator, jwt_headers(body=b"{}", v_c_response_mle_kid=MLE_KID), b"{}")
    assert (invalid.status, "fields" in decrypt_response(invalid).decode()) == (400, True)
    assert "fields" in (last_request(emulator).rejection_reason or "")

    # Responses to requests that are not authenticated are not encrypted.
    for response in (
        create_session(emulator, jwt_headers(v_c_response_mle_kid=MLE_KID), b"{}"),
        send(emulator, "PUT", SESSIONS, jwt_headers("PUT", v_c_response_mle_kid=MLE_KID), VALID_BODY),
        send(emulator, "GET", "/elsewhere", jwt_headers("GET", "/elsewhere", None, v_c_response_mle_kid=MLE_KID)),
    ):
        assert response.status in (401, 404, 405)
        assert "encryptedResponse" not in response.json()

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("cybersource_flex.emulator.jose.sign_rs256", fail)
    failed = create_session(emulator, jwt_headers(v_c_response_mle_kid=MLE_KID))
    assert (failed.status, b"Internal error" in decrypt_response(failed)) == (500, True)


def test_encrypted_requests_are_decrypted(emulator: Emulator) -> None:
    certificate = x509.load_pem_x509_certificate(emulator.request_mle_certificate_pem)
    assert certificate == x509.load_pem_x509_certificate(pem("sjc.crt.pem"))
    body = encrypted_request()
    for sign in (jwt_headers, shared_secret_headers, meta_key_headers):
        assert_accepted(emulator, sign(body=body), body)
    assert (last_request(emulator).body, last_request(emulator).decrypted_body) == (body, VALID_BODY)
    assert (
        decrypt_response(create_session(emulator, jwt_headers(body=body, v_c_response_mle_kid=MLE_KID), body)).count(
            b"."
        )
        == 2
    )
    # Variants of the official SDKs in other languages and of the guide.
    for header in ({"cty": "JWT"}, {"iat": str(NOW)}):
        body = encrypted_request(**header)
        assert_accepted(emulator, jwt_headers(body=body), body)
    # The digest must be that of the encrypted body.
    assert create_session(emulator, jwt_headers(body=VALID_BODY), encrypted_request()).status == 401
    body = encrypted_request(b"{}")
    invalid = create_session(emulator, jwt_headers(body=body), body)
    assert (invalid.status, b"UNIFIEDPAYMENTS_VALIDATION_FIELDS" in invalid.data) == (400, True)


JWE = json.loads(encrypted_request())["encryptedRequest"]
INVALID_REQUESTS: list[tuple[str, bytes, str]] = [
    ("another certificate's kid", encrypted_request(kid=MLE_KID), "serialNumber attribute"),
    ("X.509 serial", encrypted_request(kid=str(serial("sjc"))), "serialNumber attribute"),
    ("kid as number", encrypted_request(kid=int(SJC_KID)), "kid of the JWE"),
    ("RSA-OAEP", encrypted_request(wrap=OAEP_SHA1, alg="RSA-OAEP"), "alg of the JWE"),
    ("RSA1_5", encrypted_request(alg="RSA1_5"), "alg of the JWE"),
    ("dir", encrypted_request(alg="dir"), "alg of the JWE"),
    ("OAEP with SHA-1, named 256", encrypted_request(wrap=OAEP_SHA1), "cannot be decrypted"),
    ("A128GCM", encrypted_request(enc="A128GCM", key_size=16), "enc of the JWE"),
    ("short content key", encrypted_request(key_size=16), "256 bits"),
    ("zip", encrypted_request(zip="DEF"), "zip and crit"),
    ("crit", encrypted_request(crit=["exp"]), "zip and crit"),
    ("changed", json.dumps({"encryptedRequest": JWE[:-4] + "AAAA"}).encode(), "tag does not match"),
    ("two members", json.dumps({"encryptedRequest": JWE, "fields": {}}).encode(), "only the member"),
    ("not a string", b'{"encryptedRequest":{}}', "only the member"),
    ("no JWE", b'{"encryptedRequest":"a.b.c"}', "five parts"),
]


@pytest.mark.parametrize(("body", "cause"), [c[1:] for c in INVALID_REQUESTS], ids=[c[0] for c in INVALID_REQUESTS])
def test_invalid_encrypted_requests(emulator: Emulator, body: bytes, cause: str) -> None:
    response = create_session(emulator, jwt_headers(body=body), body)
    assert (response.status, response.json()["reason"]) == (400, "INVALID_ENCRYPTED_REQUEST")
    (detail,) = response.json()["details"]
    assert detail["location"] == "encryptedRequest"
    assert cause in detail["message"]
    assert cause in (last_request(emulator).rejection_reason or "")
    assert last_request(emulator).decrypted_body is None
    assert decrypt_response(create_session(emulator, jwt_headers(body=body, v_c_response_mle_kid=MLE_KID), body))


def test_encrypted_requests_need_a_jwt(emulator: Emulator) -> None:
    body = encrypted_request()
    access = {"Authorization": "Bearer fake-access-token", "Content-Type": "application/json"}
    for headers in (signature_headers(body=body, host="apitest.cybersource.com"), access):
        assert create_session(emulator, headers, body).status == 401
        assert "needs authentication with a JWT" in (last_request(emulator).rejection_reason or "")
    # The operation is not authenticated, so its body is not decrypted.
    assert send(emulator, "POST", TOKENS, {"Content-Type": "application/json"}, body).status == 400
    assert last_request(emulator).decrypted_body is None


def test_other_bodies_that_contain_the_name_of_the_encrypted_member(emulator: Emulator) -> None:
    for body in (b'"encryptedRequest"', b'{"encryptedRequest"', b'{"fields":{"encryptedRequest":{}}}'):
        response = create_session(emulator, jwt_headers(body=body), body)
        assert (response.status, response.json()["reason"] != "INVALID_ENCRYPTED_REQUEST") == (400, True)


def test_rsa_oaep_can_be_allowed() -> None:
    sjc = pem("sjc.key.pem"), pem("sjc.crt.pem")
    with Emulator(
        merchants=MERCHANTS, clock=lambda: NOW, request_mle=sjc, accept_rsa_oaep=True, key_pool=1
    ) as emulator:
        for body in (encrypted_request(), encrypted_request(wrap=OAEP_SHA1, alg="RSA-OAEP", cty="JWT")):
            assert_accepted(emulator, jwt_headers(body=body), body)


# --- what the official SDK sends ------------------------------------------------------------------------


def auth_context(merchants: list[Merchant]) -> AuthContext:
    return AuthContext(CredentialStore(merchants), hosts=(), clock=lambda: NOW, clock_tolerance=0, jwt_leeway=0)


@pytest.mark.parametrize(
    ("name", "count"), [("http_signature.json", 12), ("jwt_shared_secret.json", 10), ("jwt_p12.json", 8)]
)
def test_vectors_of_the_official_sdk_are_accepted(vectors: Callable[[str], Any], name: str, count: int) -> None:
    content = vectors(name)
    assert len(content["vectors"]) == count
    meta_keys = 0
    for vector in content["vectors"]:
        inputs = vector["inputs"]
        config = inputs["config"]
        is_meta = bool(config.get("use_metakey"))
        meta_keys += is_meta
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
    assert meta_keys >= 2


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


def test_encrypted_responses_match_the_vectors(emulator: Emulator, vectors: Callable[[str], Any]) -> None:
    response = create_session(emulator, jwt_headers(v_c_response_mle_kid=MLE_KID)).json()
    for vector in vectors("mle_response.json")["vectors"]:
        sdk_body = json.loads(vector["inputs"]["body_on_the_wire"])
        assert set(sdk_body) == set(response)
        header, plain = decrypt_jwe(sdk_body["encryptedResponse"], MLE_KEY)
        assert plain.decode() == vector["outputs"]["official_sdk_decrypts_to"]
        own_header, _ = decrypt_jwe(response["encryptedResponse"], MLE_KEY)
        assert {name: own_header[name] for name in ("alg", "enc", "kid")} == {
            name: header[name] for name in ("alg", "enc", "kid")
        }


# --- files of the Business Center -----------------------------------------------------------------------


def parse_p12(content: bytes, password: str = "open sesame") -> tuple[rsa.RSAPrivateKey, str, str, list[str]]:
    """The key, CN and serialNumber of a P12 file, and the names of the other certificates."""
    loaded = pkcs12.load_pkcs12(content, password.encode())
    assert isinstance(loaded.key, rsa.RSAPrivateKey)
    assert loaded.cert is not None

    def attribute(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
        return str(certificate.subject.get_attributes_for_oid(oid)[0].value)

    certificate = loaded.cert.certificate
    assert not list(certificate.extensions)
    name, kid = attribute(certificate, NameOID.COMMON_NAME), attribute(certificate, NameOID.SERIAL_NUMBER)
    assert loaded.cert.friendly_name == f"serialNumber={kid},CN={name}".encode()
    assert certificate.serial_number == int.from_bytes(kid[:19].encode(), "big")
    others = [attribute(other.certificate, NameOID.COMMON_NAME) for other in loaded.additional_certs]
    return loaded.key, name, kid, others


def test_p12_files(clock: Clock) -> None:
    clock.now = NOW
    merchants = [
        Merchant.generate("first"),
        Merchant.generate("second", PORTFOLIO),
        Merchant("third", portfolio_id=PORTFOLIO),
    ]
    emulator = Emulator(merchants=merchants, clock=clock, key_pool=1)
    p12_before, certificate_before = emulator.make_p12("open sesame"), emulator.request_mle_certificate_pem
    with emulator:
        assert emulator.request_mle_certificate_pem == certificate_before
        key, name, kid, others = parse_p12(p12_before)
        assert (name, others) == ("first", ["CyberSource_SJC_US", "CyberSourceCertAuth"])
        assert (len(kid), kid.isdecimal()) == (22, True)
        assert_accepted(emulator, jwt_headers(kid=kid, sign=with_key(key), owner="first", merchant="first"))

        key, name, kid, _ = parse_p12(emulator.make_p12("open sesame", "second", portfolio=True))
        assert name == PORTFOLIO
        for merchant, status in (("second", 201), ("third", 201), ("first", 401)):
            headers = jwt_headers(kid=kid, sign=with_key(key), owner=PORTFOLIO, merchant=merchant)
            assert create_session(emulator, headers).status == status, last_request(emulator).rejection_reason

        p12_certificate = pkcs12.load_pkcs12(emulator.make_p12("open sesame", "third", days=3), b"open sesame").cert
        assert p12_certificate is not None
        # From a day earlier, because clocks differ.
        assert p12_certificate.certificate.not_valid_before_utc.timestamp() == int(NOW) - 86_400
        assert p12_certificate.certificate.not_valid_after_utc.timestamp() == int(NOW) + 3 * 86_400

        expired, _, kid, _ = parse_p12(emulator.make_p12("open sesame", "third", days=-1))
        assert (
            create_session(
                emulator, jwt_headers(kid=kid, sign=with_key(expired), owner="third", merchant="third")
            ).status
            == 401
        )
        assert "expired on Sat, 21 Nov 2026 12:00:00 GMT" in (last_request(emulator).rejection_reason or "")

        response_key, name, response_kid, others = parse_p12(emulator.make_response_mle_p12("open sesame"))
        assert (name, others[0]) == ("first", "CyberSource_SJC_US")
        key, _, kid, _ = parse_p12(p12_before)
        headers = jwt_headers(
            kid=kid, sign=with_key(key), owner="first", merchant="first", v_c_response_mle_kid=response_kid
        )
        header, plain = decrypt_jwe(create_session(emulator, headers).json()["encryptedResponse"], response_key)
        assert (header["kid"], plain.count(b".")) == (response_kid, 2)
        # The response key is not accepted as a signing key.
        headers = jwt_headers(kid=response_kid, sign=with_key(response_key), owner="first", merchant="first")
        assert create_session(emulator, headers).status == 401

        with pytest.raises(ValueError, match="password"):
            parse_p12(p12_before, "wrong")
        with pytest.raises(ValueError, match="needs a password"):
            emulator.make_p12("")
        with pytest.raises(ValueError, match="unknown_merchant"):
            emulator.make_p12("x", "unknown_merchant")
        with pytest.raises(ValueError, match="no portfolio_id"):
            emulator.make_p12("x", portfolio=True)
        with pytest.raises(ValueError, match="1 to 64 characters"):
            Emulator(merchants=[Merchant("m" * 65)]).make_p12("x")


def test_a_certificate_of_a_portfolio_is_registered_for_each_of_its_merchants() -> None:
    store = CredentialStore(
        [Merchant("first"), Merchant("second", portfolio_id="p"), Merchant("third", portfolio_id="p")]
    )
    key = rsa.generate_private_key(65537, 2048)
    certificate = Certificate.of(issue_certificate("p", key.public_key(), NOW, days=9))
    store.add_certificate(certificate, response_mle=True)
    assert store.response_key("first", certificate.key_id) is None
    for merchant in ("second", "third"):
        registered = store.response_key(merchant, certificate.key_id)
        assert registered is not None
        assert (registered.key_id, registered.owner) == (certificate.key_id, "p")
    # It does not sign requests.
    assert store.key(certificate.key_id) is None
    store.add_certificate(certificate, response_mle=False)
    signing = store.key(certificate.key_id)
    assert signing is not None
    assert set(signing.merchants) == {"second", "third"}


@pytest.mark.parametrize("days", ["1", None, True, 10**9, -(10**9), float("nan")])
def test_the_validity_of_a_p12_file_is_a_number_of_days(days: Any) -> None:
    with Emulator(key_pool=1) as emulator, pytest.raises(ValueError, match=r"^days must be"):
        emulator.make_p12("open sesame", days=days)


def test_a_merchant_without_a_shared_secret_has_no_auth() -> None:
    emulator = Emulator(merchants=[Merchant("only_p12")])
    with pytest.raises(RuntimeError, match="make_p12"):
        _ = emulator.auth


# --- TLS ------------------------------------------------------------------------------------------------


def tls_options(
    ca: bytes, certificate: tuple[bytes, bytes] | None = None, folder: Path | None = None
) -> dict[str, Any]:
    context = ssl.create_default_context(cadata=ca.decode())
    if certificate is not None:
        assert folder is not None
        for name, content in zip(("cert.pem", "key.pem"), certificate, strict=True):
            (folder / name).write_bytes(content)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return {"ssl_context": context}


def test_https(tmp_path: Path) -> None:
    with Emulator(tls=True, merchants=MERCHANTS, clock=lambda: NOW, signed_hosts=["Flex.Test:8443"]) as emulator:
        assert emulator.url.startswith("https://127.0.0.1:")
        assert emulator.environ["CYBERSOURCE_ENVIRONMENT"] == emulator.url
        assert "https://" in repr(emulator)
        emulator.write_ca(tmp_path / "ca.pem")
        assert (tmp_path / "ca.pem").read_bytes() == emulator.ca_pem
        options = tls_options(emulator.ca_pem)
        response = send(emulator, "POST", SESSIONS, jwt_headers(), VALID_BODY, **options)
        assert response.status == 201
        assert decode_jwt(response.data.decode())[1]["flx"]["origin"] == emulator.url
        assert last_request(emulator).client_certificate is None
        host = host_of(emulator)
        assert send(emulator, "POST", SESSIONS, signature_headers(host=host), VALID_BODY, **options).status == 201
        port = int(host.rpartition(":")[2])
        for name in ("localhost", "::1", "flex.test"):
            with urllib3.HTTPSConnectionPool(
                "127.0.0.1", port, assert_hostname=name, server_hostname=name, retries=False, **options
            ) as pool:
                assert pool.request("GET", "/flex").status == 404
        for wrong_options in ({}, {**options, "assert_hostname": "apitest.cybersource.com"}):
            with pytest.raises(urllib3.exceptions.SSLError):
                send(emulator, "GET", "/", {}, **wrong_options)
        with pytest.raises(urllib3.exceptions.HTTPError), urllib3.PoolManager(retries=False) as pool:
            pool.request("GET", f"http://{host}/", timeout=TIMEOUT)
        emulator.stop()
        emulator.start()
        assert send(emulator, "POST", SESSIONS, jwt_headers(), VALID_BODY, **options).status == 201


def test_tls_is_at_least_1_2() -> None:
    assert ServerTls(["localhost"], None).context().minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("kind", ["optional", "required"])
def test_client_certificates(kind: Any, tmp_path: Path) -> None:
    with Emulator(tls=True, client_certificates=kind, merchants=MERCHANTS, clock=lambda: NOW, key_pool=1) as emulator:
        with_certificate = tls_options(emulator.ca_pem, emulator.issue_client_certificate("till 7"), tmp_path)
        assert send(emulator, "POST", SESSIONS, jwt_headers(), VALID_BODY, **with_certificate).status == 201
        assert last_request(emulator).client_certificate == "till 7"
        # A client certificate does not authenticate the merchant.
        assert send(emulator, "POST", SESSIONS, {}, VALID_BODY, **with_certificate).status == 401
        assert "no credential" in (last_request(emulator).rejection_reason or "")
        count = len(emulator.requests)
        stranger = Emulator(tls=True).issue_client_certificate("stranger")
        with pytest.raises(urllib3.exceptions.HTTPError):
            send(
                emulator,
                "POST",
                SESSIONS,
                jwt_headers(),
                VALID_BODY,
                **tls_options(emulator.ca_pem, stranger, tmp_path),
            )
        if kind == "required":
            with pytest.raises(urllib3.exceptions.HTTPError):
                send(emulator, "POST", SESSIONS, jwt_headers(), VALID_BODY, **tls_options(emulator.ca_pem))
            assert len(emulator.requests) == count
        else:
            assert (
                send(emulator, "POST", SESSIONS, jwt_headers(), VALID_BODY, **tls_options(emulator.ca_pem)).status
                == 201
            )
            assert last_request(emulator).client_certificate is None


def test_without_trustme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(MissingDependencyError, match=r"needs 'trustme': pip install 'cybersource-flex\[emulator\]'"):
        Emulator(tls=True)
    Emulator()


# --- invalid arguments ----------------------------------------------------------------------------------


def make_certificate(key: Any, **attributes: str) -> bytes:
    """A certificate in DER with these subject attributes."""
    oids = {"cn": NameOID.COMMON_NAME, "serial": NameOID.SERIAL_NUMBER}
    subject = x509.Name([x509.NameAttribute(oids[key], value) for key, value in attributes.items()])
    now = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


CERTIFICATE = pem("merchant.crt.pem")
ELLIPTIC: Any = ec.generate_private_key(ec.SECP256R1())


def test_der_certificates_and_merchant_ids_in_other_case() -> None:
    der = make_certificate(MERCHANT_KEY, cn=ACME.upper(), serial="77")
    pem_string = pem("merchant.crt.pem").decode()
    with Emulator(
        merchants=[Merchant(ACME, certificates=[der, pem_string])], clock=lambda: NOW, key_pool=1
    ) as emulator:
        assert_accepted(emulator, jwt_headers(kid="77"))
        assert_accepted(emulator, jwt_headers())


INVALID_MERCHANTS: list[tuple[str, dict[str, Any], str]] = [
    ("one certificate", {"certificates": CERTIFICATE}, "list"),
    ("one token", {"access_tokens": "token"}, "list"),
    ("no certificate", {"certificates": [b"hello"]}, "neither PEM nor DER"),
    ("malformed PEM", {"certificates": ["-----BEGIN CERTIFICATE-----"]}, "neither PEM nor DER"),
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
    ("arguments", "message"), [c[1:] for c in INVALID_MERCHANTS], ids=[c[0] for c in INVALID_MERCHANTS]
)
def test_invalid_merchants(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Merchant(ACME, **arguments)
    assert SECRET not in str(caught.value)


INVALID_ARGUMENTS: list[tuple[str, dict[str, Any], str]] = [
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


@pytest.mark.parametrize(
    ("arguments", "message"), [c[1:] for c in INVALID_ARGUMENTS], ids=[c[0] for c in INVALID_ARGUMENTS]
)
def test_invalid_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Emulator(**arguments)
    assert "secret-token" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_repr_contains_no_secret() -> None:
    merchant = Merchant(ACME, KEY_ID, SECRET, certificates=[CERTIFICATE], access_tokens=["secret-token"])
    emulator = Emulator(merchants=[merchant])
    store = CredentialStore([merchant])
    representation = repr([merchant, emulator, store.key(KEY_ID), store.key(KID), CertificateIssuer(lambda: NOW)])
    for secret in (SECRET, "secret-token", repr(base64.b64decode(SECRET))[2:-1]):
        assert secret not in representation


def test_without_tls_there_is_no_ca() -> None:
    emulator = Emulator()
    for use in (
        lambda: emulator.ca_pem,
        lambda: emulator.issue_client_certificate("x"),
        lambda: emulator.write_ca("x"),
    ):
        with pytest.raises(RuntimeError, match="tls=True"):
            use()
