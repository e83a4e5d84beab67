"""CyberSource's official Python SDK as a client of the emulator: its signatures are accepted, its tokens verify.

Run with `tox run -e official`. The SDK has a separate environment, since it replaces urllib3; see conftest.py.

It is connected to a local host without changing its code:

- Over https, with `run_environment` set to `localhost:<port>`. The SDK adds `https://`, both for API calls and for the
  key fetch of its capture-context verifier, and signs `localhost:<port>` as the host. It trusts only `certifi.where()`
  and has no setting for that. The client script replaces this function of certifi (not of the SDK) by one that returns
  certifi's bundle with the emulator's CA added.
- Over plain http, with the emulator as the merchant's proxy: `IntermediateHost` is the emulator, and `run_environment`,
  which is the signed host, stays that of the real service. The verifier does not support `IntermediateHost`, so the key
  is passed to the function with which the verifier checks the signature.
"""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cybersource_flex import FlexAPIApi, FlexClient, InvalidSignatureError
from cybersource_flex.emulator import Emulator, Merchant
from support.encoding import base64url, base64url_decode
from support.paths import ROOT
from support.tokens import decode_part

if "CYBERSOURCE_FLEX_OFFICIAL_SDK" not in os.environ:
    pytest.skip("NOT TESTED with the official SDK as a client: tox run -e official", allow_module_level=True)

MERCHANT, PORTFOLIO, PASSWORD = "acme_official", "acme_official_portfolio", "open sesame"
FIELDS = {"fields": {"paymentInformation": {"card": {"number": {}, "securityCode": {"required": False}}}}}
MICROFORM = {
    "clientVersion": "v2",
    "targetOrigins": ["https://shop.example.com"],
    "allowedCardNetworks": ["VISA", "MASTERCARD"],
}
BODIES = {"flex": json.dumps(FIELDS), "microform": json.dumps(MICROFORM)}
TYPES = {"flex": "api-0.1.0", "microform": "mf-2.1.0"}
SCHEMES = ["HTTP_Signature", "JWT shared secret", "JWT P12"]
CONFIGURATIONS = [
    pytest.param(scheme, meta, mle, id="-".join([scheme, *["meta key"] * meta, *["response MLE"] * mle]))
    for scheme in SCHEMES
    for meta in (False, True)
    for mle in (False, True)
    if not (mle and scheme == "HTTP_Signature")
]
# One key each. The second belongs to the portfolio.
MERCHANTS = [Merchant.generate(MERCHANT), Merchant.generate(MERCHANT, PORTFOLIO)]


@dataclass
class Setting:
    """An emulator, and the files of a merchant that calls it."""

    emulator: Emulator
    folder: Path
    sdk: Any
    # The settings of the SDK's configuration that select the host.
    host: dict[str, str]

    def config(self, scheme: str, meta: bool = False, mle: bool = False, **more: Any) -> dict[str, Any]:
        """The SDK's configuration dictionary."""
        config: dict[str, Any] = {"merchantid": MERCHANT, **self.host}
        name = "portfolio" if meta else "own"
        if meta:
            config |= {"use_metakey": True, "portfolio_id": PORTFOLIO}
        config["authentication_type"] = scheme.split(" ")[0]
        if scheme == "JWT P12":
            config |= {"keys_directory": str(self.folder), "key_file_name": name, "key_password": PASSWORD}
        else:
            key = MERCHANTS[1] if meta else MERCHANTS[0]
            config |= {"merchant_keyid": key.key_id, "merchant_secretkey": key.secret_key}
        if scheme == "JWT shared secret":
            config["jwt_key_type"] = "SHARED_SECRET"
        if mle:
            config |= {
                "enableResponseMleGlobally": True,
                "responseMlePrivateKeyFilePath": str(self.folder / f"{name}_response.p12"),
                "responseMlePrivateKeyFilePassword": PASSWORD,
            }
        return {**config, **more}

    def claims(self) -> dict[str, Any]:
        """The claims of the JWT in the last authenticated request."""
        sent = [request for request in self.emulator.requests if "authorization" in request.headers][-1]
        part = sent.headers["authorization"].split(".")[1]
        claims: dict[str, Any] = decode_part(part)
        return claims


def write_files(e: Emulator, folder: Path) -> None:
    # The SDK caches P12 files by name, so each needs a different name.
    (folder / "own.p12").write_bytes(e.make_p12(PASSWORD))
    (folder / "portfolio.p12").write_bytes(e.make_p12(PASSWORD, portfolio=True))
    (folder / "own_response.p12").write_bytes(e.make_response_mle_p12(PASSWORD))
    (folder / "portfolio_response.p12").write_bytes(e.make_response_mle_p12(PASSWORD, portfolio=True))
    (folder / "stranger_response.p12").write_bytes(Emulator(merchants=MERCHANTS).make_response_mle_p12(PASSWORD))
    (folder / "sjc.pem").write_bytes(e.request_mle_certificate_pem)
    for name, content in zip(("client.pem", "client.key"), e.issue_client_certificate("till 7"), strict=True):
        (folder / name).write_bytes(content)


@pytest.fixture(scope="module")
def https(start_sdk: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    folder = tmp_path_factory.mktemp("keys")
    with Emulator(tls=True, client_certificates="optional", merchants=MERCHANTS, payment_credentials=True) as e:
        write_files(e, folder)
        host = e.url.replace("https://127.0.0.1", "localhost")
        yield Setting(e, folder, start_sdk(e.ca_pem), {"run_environment": host})


@pytest.fixture(scope="module")
def http(https: Setting) -> Iterator[Setting]:
    with Emulator(merchants=MERCHANTS) as e:
        (https.folder / "behind_proxy.p12").write_bytes(e.make_p12(PASSWORD))
        host = {"run_environment": "apitest.cybersource.com", "IntermediateHost": e.url}
        yield Setting(e, https.folder, https.sdk, host)


def raw(e: Emulator, method: str, path: str, body: bytes | None = None) -> str:
    trust = ssl.create_default_context(cadata=e.ca_pem.decode()) if e.url.startswith("https") else None
    with urllib3.PoolManager(ssl_context=trust, retries=False) as pool:
        reply = pool.request(method, e.url + path, headers={"Content-Type": "application/jwt"}, body=body)
    assert reply.status < 300, reply.data
    return reply.data.decode()


def part(jwt: str, number: int) -> dict[str, Any]:
    decoded: dict[str, Any] = decode_part(jwt.split(".")[number])
    return decoded


def transient_token(e: Emulator, context: str) -> dict[str, Any]:
    """The claims of a token that neither this SDK nor the official one creates."""
    jwk = part(context, 1)["flx"]["jwk"]
    n, exponent = (int.from_bytes(base64url_decode(jwk[name]), "big") for name in ("n", "e"))
    data = {"paymentInformation": {"card": {"number": "4111111111111111", "securityCode": "123"}}}
    plain = json.dumps({"data": data, "context": context, "index": 0}).encode()
    first = base64url(json.dumps({"alg": "RSA-OAEP", "enc": "A256GCM", "kid": jwk["kid"]}).encode())
    key, iv = os.urandom(32), os.urandom(12)
    sealed = AESGCM(key).encrypt(iv, plain, first.encode())
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303
    wrapped = rsa.RSAPublicNumbers(exponent, n).public_key().encrypt(key, oaep)
    jwe = ".".join((first, *map(base64url, (wrapped, iv, sealed[:-16], sealed[-16:]))))
    return part(raw(e, "POST", "/flex/v2/tokens", jwe.encode()), 1)


@pytest.mark.parametrize("kind", ["flex", "microform"])
@pytest.mark.parametrize(("scheme", "meta", "mle"), CONFIGURATIONS)
def test_the_sdk_creates_and_verifies_capture_contexts(
    https: Setting, kind: str, scheme: str, meta: bool, mle: bool
) -> None:
    result = https.sdk(kind, BODIES[kind], config=https.config(scheme, meta, mle))
    assert result["status"] == 201
    record = https.emulator.requests[-1]
    assert (record.method, record.target) == ("POST", f"/{kind}/v2/sessions")
    assert (record.merchant_id, record.scheme) == (MERCHANT, scheme.split(" ")[0].lower().replace("_", "-"))
    if scheme != "HTTP_Signature":
        claims = https.claims()
        assert claims["iss"] == (PORTFOLIO if meta else MERCHANT)
        assert ("v-c-response-mle-kid" in claims) == mle
    parsed = https.sdk("parse", result["data"], environment=https.host["run_environment"])
    assert parsed == part(result["data"], 1)
    assert parsed["ctx"][0]["type"] == TYPES[kind]
    assert parsed["flx"]["origin"] == https.emulator.url


def test_the_sdks_verifier_fetches_the_key_and_rejects_changed_contexts(https: Setting) -> None:
    context = https.sdk("flex", BODIES["flex"], config=https.config("JWT shared secret"))["data"]
    first, payload, mac = context.split(".")
    claims = {**part(context, 1), "jti": "changed"}
    forged = base64url(json.dumps(claims).encode())
    with pytest.raises(Exception, match="JWT validation failed") as caught:
        https.sdk("parse", f"{first}.{forged}.{mac}", environment=https.host["run_environment"])
    assert caught.value.name == "JwtSignatureValidationException"
    assert https.emulator.requests[-1].target == f"/flex/v2/public-keys/{part(context, 0)['kid']}"
    assert https.sdk("parse", context, environment=https.host["run_environment"]) == part(context, 1)
    unknown = base64url(b'{"kid":"nope","alg":"RS256"}')
    with pytest.raises(Exception, match="HTTP 404"):
        https.sdk("parse", f"{unknown}.{payload}.{mac}", environment=https.host["run_environment"])


def test_the_old_and_new_calls_of_the_migration_page_have_the_same_results(https: Setting) -> None:
    """The helpers for tokens. `docs/migration.md` names them, and `test/docs` runs its new calls."""
    config = https.config("JWT shared secret")
    context = https.sdk("flex", BODIES["flex"], config=config)["data"]
    with FlexClient.from_env(https.emulator.environ) as client:
        verified = client.verify_capture_context(context)
        jwk = FlexAPIApi(client.api_client).get_public_key(part(context, 0)["kid"]).to_dict()
        assert https.sdk("read", context) == verified.claims
        assert https.sdk("parse", context, environment=https.host["run_environment"]) == verified.claims
        assert https.sdk("verify", context, jwk=json.dumps(jwk)) is True
        changed = f"{context[:-4]}AAAA"
        with pytest.raises(Exception, match="JwtSignatureValidationException"):
            https.sdk("verify", changed, jwk=json.dumps(jwk))
        with pytest.raises(InvalidSignatureError):
            client.verify_capture_context(changed)


def test_the_sdks_helper_for_bare_signatures(https: Setting) -> None:
    """It has no counterpart: a transient token contains its signature, which this package verifies with the context."""
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signature = key.sign(b"data", padding.PKCS1v15(), hashes.SHA512())
    more = {"key": base64.b64encode(public).decode(), "signature": base64.b64encode(signature).decode()}
    assert https.sdk("verify data", "data", **more) is True
    assert https.sdk("verify data", "other data", **more) is False


def test_every_old_call_of_the_migration_page_is_run_here() -> None:
    page = (ROOT / "docs" / "migration.md").read_text("utf-8")
    rows = re.findall(r"^\| `(?:\w+\(config\)\.|\w+\.)?(\w+)\(", page, re.MULTILINE)
    assert len(rows) == 8
    source = (Path(__file__).parent / "sdk_client.py").read_text("utf-8")
    assert [name for name in rows if not re.search(rf"\b{name}\b", source)] == []


@pytest.mark.parametrize(("scheme", "meta", "mle"), CONFIGURATIONS)
def test_the_sdk_reads_payment_details(https: Setting, scheme: str, meta: bool, mle: bool) -> None:
    config = https.config(scheme, meta, mle)
    context = https.sdk("flex", BODIES["flex"], config=config)["data"]
    token = transient_token(https.emulator, context)
    details = https.sdk("details", token["jti"], config=config)
    assert details["status"] == 200
    assert json.loads(details["body"])["paymentInformation"]["card"]["number"] == "XXXXXXXXXXXX1111"
    (reference,) = token["paymentCredentialsReference"].values()
    credentials = https.sdk("credentials", reference, config=config)
    assert credentials["body"].count(".") == 4


@pytest.mark.parametrize(("scheme", "meta", "mle"), CONFIGURATIONS)
def test_the_sdk_pays_with_a_token(https: Setting, scheme: str, meta: bool, mle: bool) -> None:
    config = https.config(scheme, meta, mle)
    token = transient_token(https.emulator, https.sdk("flex", BODIES["flex"], config=config)["data"])

    def pay(amount: str, **token_information: str) -> Any:
        order = {"amountDetails": {"totalAmount": amount, "currency": "USD"}}
        body = {"tokenInformation": {"jti": token["jti"], **token_information}, "orderInformation": order}
        return https.sdk("pay", json.dumps(body), config=config)

    authorised, declined = pay("21.00"), pay("1002.00")
    assert (authorised["status"], declined["status"]) == (201, 201)
    # The SDK's model has the members that the specification of payments lists.
    assert authorised["data"]["status"] == "AUTHORIZED"
    assert authorised["data"]["order_information"]["amount_details"]["authorized_amount"] == "21.00"
    assert authorised["data"]["processor_information"]["approval_code"]
    assert declined["data"]["status"] == "DECLINED"
    assert declined["data"]["error_information"]["reason"] == "INSUFFICIENT_FUND"
    with pytest.raises(Exception, match="ApiException") as caught:
        pay("21.00", jti="0" * 64)
    assert caught.value.status == 400
    assert json.loads(caught.value.body)["details"] == [{"field": "tokenInformation.jti", "reason": "INVALID_DATA"}]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_sdk_uses_an_intermediate_host(http: Setting, scheme: str) -> None:
    changes = {"key_file_name": "behind_proxy"} if scheme == "JWT P12" else {}
    result = http.sdk("flex", BODIES["flex"], config=http.config(scheme, **changes))
    record = http.emulator.requests[-1]
    if scheme == "HTTP_Signature":
        assert record.headers["host"] == "apitest.cybersource.com"
    else:
        assert record.headers["host"] == http.emulator.url.removeprefix("http://")
        assert http.claims()["request-host"] == "apitest.cybersource.com"
    kid = part(result["data"], 0)["kid"]
    assert http.sdk("verify", result["data"], jwk=raw(http.emulator, "GET", f"/flex/v2/public-keys/{kid}"))


@pytest.mark.parametrize("kind", ["flex", "microform"])
@pytest.mark.parametrize("scheme", ["JWT shared secret", "JWT P12"])
def test_the_sdk_encrypts_requests(https: Setting, kind: str, scheme: str) -> None:
    method = "generate_flex_api_capture_context" if kind == "flex" else "generate_capture_context"
    more: dict[str, Any] = {"mapToControlMLEonAPI": {method: True}}
    if scheme == "JWT shared secret":
        more["mleForRequestPublicCertPath"] = str(https.folder / "sjc.pem")
    result = https.sdk(kind, BODIES[kind], config=https.config(scheme, mle=True, **more))
    assert result["status"] == 201
    record = https.emulator.requests[-1]
    assert list(json.loads(record.body)) == ["encryptedRequest"]
    assert record.decrypted_body is not None
    assert json.loads(record.decrypted_body) == json.loads(BODIES[kind])
    assert https.sdk("parse", result["data"], environment=https.host["run_environment"])


def test_responses_are_really_encrypted(https: Setting) -> None:
    https.sdk("flex", BODIES["flex"], config=https.config("JWT P12", mle=True))
    strange = {
        "responseMleKID": https.claims()["v-c-response-mle-kid"],
        "responseMlePrivateKeyFilePath": str(https.folder / "stranger_response.p12"),
    }
    with pytest.raises(Exception, match="decryption") as caught:
        https.sdk("flex", BODIES["flex"], config=https.config("JWT P12", mle=True, **strange))
    # This is not the ApiException of error responses, but another class of that name without status and body.
    assert (caught.value.name, caught.value.status) == ("ApiException", None)
    assert https.emulator.requests[-1].status == 201


@pytest.mark.parametrize("mle", [False, True])
def test_errors_reach_the_sdk(https: Setting, mle: bool) -> None:
    with pytest.raises(Exception, match="Not Found") as missing:
        https.sdk("details", "0" * 64, config=https.config("JWT P12", mle=mle))
    assert (missing.value.status, json.loads(missing.value.body)["responseStatus"]["status"]) == (404, 404)
    wrong = https.config("JWT shared secret", mle=mle, merchant_secretkey=Merchant.generate().secret_key)
    with pytest.raises(Exception, match="Unauthorized") as rejected:
        https.sdk("flex", BODIES["flex"], config=wrong)
    assert json.loads(rejected.value.body) == {"response": {"rmsg": "Authentication Failed"}}
    assert "another secret" in (https.emulator.requests[-1].rejection_reason or "")


def test_access_tokens(https: Setting) -> None:
    token = https.emulator.issue_access_token()
    # Without a value in ssl_client_cert the SDK reports a missing refresh token.
    more = {"authentication_type": "OAUTH", "refresh_token": "none", "ssl_client_cert": "none"}
    config = {"merchantid": MERCHANT, **https.host, **more, "access_token": token}
    assert https.sdk("flex", BODIES["flex"], config=config)["status"] == 201
    assert https.emulator.requests[-1].scheme == "access-token"
    https.emulator.revoke_access_token(token)
    with pytest.raises(Exception, match="Unauthorized"):
        https.sdk("flex", BODIES["flex"], config=config)


def test_client_certificates(https: Setting) -> None:
    files = {"client_cert_dir": str(https.folder), "ssl_client_cert": "client.pem", "private_key": "client.key"}
    config = https.config("JWT shared secret", enable_client_cert=True, **files)
    assert https.sdk("flex", BODIES["flex"], config=config)["status"] == 201
    assert https.emulator.requests[-1].client_certificate == "till 7"
    mutual = {"authentication_type": "MUTUAL_AUTH", "client_id": "none", "client_secret": "none"}
    with pytest.raises(Exception, match="Unauthorized"):
        https.sdk("flex", BODIES["flex"], config={**config, **mutual})
    assert https.emulator.requests[-1].client_certificate == "till 7"
