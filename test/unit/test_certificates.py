"""Keys and certificates from files: every container of the Business Center loads, and what is wrong is named."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import time
import traceback
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from cybersource_flex.auth import (
    BearerToken,
    JwtClaimFormat,
    JwtExternalKey,
    JwtP12,
    JwtSharedSecret,
    MessageLevelEncryption,
)
from cybersource_flex.errors import ApiException, ConfigurationError, NotFoundError, ResponseDecodingError
from cybersource_flex.transport import Operation, Request, Response

KEYS = Path(__file__).resolve().parents[1] / "vectors" / "keys"
PASSWORD = "Fake-P12-passw0rd"
MERCHANT = "acme_flex_test_001"
KID = "1795262400123456789012"
CANARY = "c4n4ry-password"


def request(body: bytes | None = b"{}", name: str = "call") -> Request:
    operation = Operation(name=name, method="POST", path="/x", signed=True, responses={}, models="")
    return Request(operation, method="POST", url="https://h/x", host="h", target="/x", headers={}, body=body)


def parts(headers: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    token = headers["Authorization"].removeprefix("Bearer ")
    signing_input, _, signature = token.rpartition(".")
    header, claims = (
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in signing_input.split(".")
    )
    return header, claims, signing_input.encode(), base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def certificate(
    key: Any,
    *,
    cn: str = MERCHANT,
    serial: str | None = KID,
    begins: timedelta = timedelta(days=-1),
    ends: timedelta = timedelta(days=400),
) -> x509.Certificate:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, cn)]
    if serial is not None:
        attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
    subject = x509.Name(attributes)
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(4711)
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .sign(key, hashes.SHA256())
    )


def p12(key: Any, cert: x509.Certificate | None, *others: x509.Certificate, password: str = PASSWORD) -> bytes:
    return pkcs12.serialize_key_and_certificates(
        b"name", key, cert, list(others), BestAvailableEncryption(password.encode())
    )


@pytest.mark.parametrize("name", ["merchant", "merchant_sjc_last", "merchant_legacy_3des", "merchant_portal_like"])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_every_container_loads_without_a_warning(name: str, as_bytes: bool) -> None:
    file = KEYS / f"{name}.p12"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        signer = JwtP12(MERCHANT, file.read_bytes() if as_bytes else file, PASSWORD)
    assert signer.key_id == KID
    assert signer.expires_at == datetime(2036, 1, 1, tzinfo=UTC)


def test_the_warning_is_silenced_for_that_load_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "PKCS#12 bundle could not be parsed as DER"

    def load(data: bytes, password: bytes | None) -> pkcs12.PKCS12KeyAndCertificates:
        # Before its version 45, cryptography itself does not warn.
        warnings.warn(text, UserWarning, stacklevel=2)
        return pkcs12.load_pkcs12(data, password)

    monkeypatch.setattr("cybersource_flex.auth.certificates.load_pkcs12", load)
    JwtP12(MERCHANT, KEYS / "merchant_portal_like.p12", PASSWORD)
    with pytest.warns(UserWarning, match=text):
        warnings.warn(text, UserWarning, stacklevel=2)


def test_the_common_name_is_compared_without_case() -> None:
    assert JwtP12(MERCHANT.upper(), KEYS / "merchant.p12", PASSWORD).key_id == KID


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_every_algorithm_signs_what_its_name_says(algorithm: str) -> None:
    signer = JwtP12(MERCHANT, KEYS / "merchant.p12", PASSWORD, algorithm=algorithm)
    header, claims, signing_input, signature = parts(signer.sign(request(), time.time()))
    assert header == {"alg": algorithm, "kid": KID, "typ": "JWT"}
    assert claims["digestAlgorithm"] == "SHA-256"
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[algorithm[2:]]
    scheme: Any = padding.PKCS1v15()
    if algorithm.startswith("PS"):
        scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
    private = load_pem_private_key((KEYS / "merchant.key.pem").read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    private.public_key().verify(signature, signing_input, scheme, digest)


def test_a_meta_key_names_the_portfolio_as_issuer() -> None:
    signer = JwtP12(MERCHANT, KEYS / "portfolio.p12", PASSWORD, portfolio_id="acme_flex_portfolio")
    header, claims, _, _ = parts(signer.sign(request(), time.time()))
    assert header["kid"] == "1795262400555555555555"
    assert (claims["iss"], claims["v-c-merchant-id"]) == ("acme_flex_portfolio", MERCHANT)


Wrong = Callable[[rsa.RSAPrivateKey], dict[str, Any]]


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (lambda key: {"password": CANARY}, "p12: the password is wrong, or the file is damaged"),
        (lambda key: {"password": None}, "p12: the password is wrong"),
        (lambda key: {"p12": "/no/such/file.p12"}, "p12: cannot read '/no/such/file.p12': No such file"),
        (lambda key: {"p12": KEYS}, "p12: cannot read .*Is a directory"),
        (lambda key: {"p12": "a\0b"}, "null character"),
        (lambda key: {"p12": b""}, "p12 is empty"),
        (lambda key: {"p12": b"x" * 2_000_000}, "p12 is larger than"),
        (lambda key: {"p12": b"nonsense"}, "p12 is not a PKCS #12"),
        (lambda key: {"p12": KEYS / "merchant.crt.pem"}, "p12 is not a PKCS #12"),
        (lambda key: {"p12": None}, "p12 must be a path or the file's bytes, not NoneType"),
        (lambda key: {"merchant_id": "other"}, "no certificate with CN 'other' in it; there is 'acme_flex_test_001'"),
        (lambda key: {"portfolio_id": "acme_flex_portfolio"}, "no certificate with CN 'acme_flex_portfolio'"),
        (lambda key: {"portfolio_id": ""}, "portfolio_id is empty"),
        (lambda key: {"algorithm": "HS256"}, "algorithm must be one of RS256"),
        (lambda key: {"algorithm": "none"}, "algorithm must be one of RS256"),
        (
            lambda key: {"p12": p12(key, certificate(key, begins=timedelta(-9), ends=timedelta(-2)))},
            "the certificate 'acme_flex_test_001' expired on",
        ),
        (lambda key: {"p12": p12(key, certificate(key, begins=timedelta(2)))}, "is not valid before"),
        (lambda key: {"p12": p12(key, certificate(key, serial=None))}, "has no serialNumber attribute"),
        (lambda key: {"p12": p12(None, None, certificate(key))}, "p12 has no private key in it"),
        (
            lambda key: {"p12": p12(key, certificate(key, cn="x"), certificate(rsa.generate_private_key(65537, 2048)))},
            "does not belong to the key in it",
        ),
    ],
)
def test_what_is_wrong_with_a_p12_is_named(wrong: Wrong, rule: str, key: rsa.RSAPrivateKey) -> None:
    arguments = {"merchant_id": MERCHANT, "p12": KEYS / "merchant.p12", "password": PASSWORD, **wrong(key)}
    with pytest.raises(ConfigurationError, match=rule) as caught:
        JwtP12(**arguments)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_weak_and_other_keys_are_refused() -> None:
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505
    with pytest.raises(ConfigurationError, match="1024 bits; at least 2048"):
        JwtP12(MERCHANT, p12(small, certificate(small)), PASSWORD)
    curve = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(ConfigurationError, match="not an RSA key"):
        JwtP12(MERCHANT, p12(curve, certificate(curve)), PASSWORD)


def test_keys_are_never_shown_changed_or_pickled() -> None:
    for signer in (
        JwtP12(MERCHANT, KEYS / "merchant.p12", PASSWORD),
        BearerToken(CANARY),
        BearerToken(lambda: CANARY),
        JwtExternalKey(MERCHANT, KID, lambda data: b""),
        MessageLevelEncryption(response_key=KEYS / "response_mle.key.pem", response_kid="1"),
    ):
        assert CANARY not in repr(signer)
        assert PASSWORD not in repr(signer)
        assert not hasattr(signer, "__dict__")
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(signer)
        with pytest.raises(TypeError):
            copy.deepcopy(signer)
    with pytest.raises(AttributeError, match="cannot be changed"):
        JwtSharedSecret(MERCHANT, "id", "A" * 43 + "=").key_id = "x"


def test_a_key_that_lives_elsewhere() -> None:
    seen: list[bytes] = []

    def sign(data: bytes) -> bytes:
        seen.append(data)
        return b"signature"

    header, claims, signing_input, signature = parts(
        JwtExternalKey(MERCHANT, KID, sign, algorithm="PS384").sign(request(), 1_800_000_000)
    )
    assert seen == [signing_input]
    assert signature == b"signature"
    assert header == {"alg": "PS384", "kid": KID, "typ": "JWT"}
    assert claims["exp"] == 1_800_000_120
    with pytest.raises(ConfigurationError, match="function from bytes to bytes"):
        JwtExternalKey(MERCHANT, KID, b"key")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="returned str"):
        JwtExternalKey(MERCHANT, KID, lambda data: "text").sign(request(), 0)  # type: ignore[arg-type,return-value]


def test_the_format_of_disputed_claims_is_an_option() -> None:
    claim_format = JwtClaimFormat(method="lower", digest_algorithm="digest-algorithm")
    _, claims, _, _ = parts(
        JwtSharedSecret(MERCHANT, "id", "A" * 43 + "=", claim_format=claim_format).sign(request(), 0)
    )
    assert claims["request-method"] == "post"
    assert claims["digest-algorithm"] == "SHA-256"
    assert "digestAlgorithm" not in claims


@pytest.mark.parametrize(("algorithm", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_hmac_algorithms(algorithm: str, size: int) -> None:
    header, _, _, signature = parts(
        JwtSharedSecret(MERCHANT, "id", "A" * 43 + "=", algorithm=algorithm).sign(request(), 0)
    )
    assert header["alg"] == algorithm
    assert len(signature) == size
    with pytest.raises(ConfigurationError, match="algorithm must be one of HS256"):
        JwtSharedSecret(MERCHANT, "id", "A" * 43 + "=", algorithm="RS256")


def test_bearer_tokens() -> None:
    fixed = BearerToken(" abc.def ")
    assert fixed.sign(request(), 0) == {"Authorization": "Bearer abc.def"}
    assert fixed.renew() is False
    tokens = iter(["one", "two"])
    asked = BearerToken(lambda: next(tokens))
    assert asked.sign(request(), 0) == asked.sign(request(), 0) == {"Authorization": "Bearer one"}
    assert asked.renew() is True
    assert asked.sign(request(), 0) == {"Authorization": "Bearer two"}
    for wrong in ("", "s3cr et", "a\r\nX: y", None, b"x"):
        with pytest.raises(ConfigurationError, match="access token") as caught:
            BearerToken(wrong)  # type: ignore[arg-type]
        assert "s3cr" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="access token"):
        BearerToken(lambda: "").sign(request(), 0)


# Message-level encryption.


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({}, "nothing to do"),
        ({"encrypt_requests": ["x"], "response_key": KEYS / "response_mle.key.pem"}, "needs a request_certificate"),
        ({"encrypt_requests": "x", "request_certificate": KEYS / "sjc.crt.pem"}, "list of names"),
        ({"response_kid": "1", "request_certificate": KEYS / "sjc.crt.pem"}, "without a response_key"),
        ({"response_key": KEYS / "response_mle.key.pem"}, "response_kid is missing"),
        ({"response_key": KEYS / "response_mle.p12", "response_key_password": PASSWORD}, "response_kid is missing"),
        (
            {"response_key": KEYS / "response_mle.p12", "response_key_password": PASSWORD, "merchant_id": "other"},
            "no certificate with CN 'other'",
        ),
        ({"response_key": KEYS / "response_mle.p12", "response_key_password": CANARY}, "password is wrong"),
        ({"response_key": KEYS / "response_mle.key.encrypted.pem", "response_kid": "1"}, "needs a password"),
        (
            {"response_key": KEYS / "response_mle.key.encrypted.pem", "response_key_password": CANARY},
            "or the password is wrong",
        ),
        ({"response_key": KEYS / "response_mle.key.pem", "response_key_password": CANARY}, "not encrypted"),
        ({"response_key": KEYS / "sjc.crt.pem", "response_kid": "1"}, "no private key"),
        ({"request_certificate": KEYS / "merchant.crt.pem"}, "no certificate with CN 'CyberSource_SJC_US'"),
        ({"request_certificate": KEYS / "merchant.key.pem"}, "no PEM certificate"),
        ({"request_certificate": KEYS / "merchant.p12", "request_certificate_password": CANARY}, "password is wrong"),
        ({"request_certificate": "/no/such.pem"}, "request_certificate: cannot read"),
    ],
)
def test_what_is_wrong_with_mle_is_named(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule) as caught:
        MessageLevelEncryption(**arguments)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_an_expired_certificate_is_refused(key: rsa.RSAPrivateKey) -> None:
    old = certificate(key, cn="CyberSource_SJC_US", begins=timedelta(-9), ends=timedelta(-2))
    with pytest.raises(ConfigurationError, match="expired on"):
        MessageLevelEncryption(request_certificate=old.public_bytes(Encoding.PEM))
    renewed = certificate(key, cn="CyberSource_SJC_US", serial="2")
    both = old.public_bytes(Encoding.PEM) + renewed.public_bytes(Encoding.PEM)
    assert "'2'" in repr(MessageLevelEncryption(request_certificate=both))


ENDED = {"begins": timedelta(-9), "ends": timedelta(-2)}
LATER = {"begins": timedelta(2), "ends": timedelta(9)}


def pem(key: rsa.RSAPrivateKey, *certificates: x509.Certificate) -> bytes:
    locked = BestAvailableEncryption(PASSWORD.encode())
    parts = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)]
    return b"".join([*parts, *(each.public_bytes(Encoding.PEM) for each in certificates)])


@pytest.mark.parametrize("pack", [p12, pem])
@pytest.mark.parametrize("kid", [KID, "7"])
@pytest.mark.parametrize(("times", "rule"), [(ENDED, "expired on"), (LATER, "is not valid before")])
def test_the_certificate_of_a_response_key_is_looked_at_however_its_id_was_given(
    times: dict[str, timedelta], rule: str, kid: str, pack: Callable[..., bytes], key: rsa.RSAPrivateKey
) -> None:
    for name in (MERCHANT, "somebody_else"):
        file = pack(key, certificate(key, cn=name, **times))
        with pytest.raises(ConfigurationError, match=f"response_key: the certificate '{name}' {rule}"):
            MessageLevelEncryption(response_key=file, response_key_password=PASSWORD, response_kid=kid)
    with pytest.raises(ConfigurationError, match=rule):
        MessageLevelEncryption(
            response_key=p12(key, certificate(key, **times)), response_key_password=PASSWORD, merchant_id=MERCHANT
        )


@pytest.mark.parametrize("pack", [p12, pem])
def test_of_several_certificates_that_of_the_response_key_is_meant(
    pack: Callable[..., bytes], key: rsa.RSAPrivateKey
) -> None:
    other = rsa.generate_private_key(65537, 2048)
    foreign = certificate(other, cn="CyberSource_SJC_US", **ENDED)
    good = certificate(key, ends=timedelta(days=50))

    def made(*found: x509.Certificate, kid: str = KID) -> MessageLevelEncryption:
        file = pack(key, *found)
        return MessageLevelEncryption(response_key=file, response_key_password=PASSWORD, response_kid=kid)

    # Those of other keys do not count; of several of the key, the one that the id names, else the one that ends last.
    assert made(good, foreign).response_certificate_expires_at == good.not_valid_after_utc
    predecessor = certificate(key, serial="1", **ENDED)
    for order in ((predecessor, good), (good, predecessor)):
        assert made(*order).response_certificate_expires_at == good.not_valid_after_utc
        assert made(*order, kid="9").response_certificate_expires_at == good.not_valid_after_utc
        with pytest.raises(ConfigurationError, match="expired on"):
            made(*order, kid="1")
    if pack is pem:
        # No P12 can be made of a key and the certificate of another.
        assert made(foreign).response_certificate_expires_at is None


def test_a_renewed_certificate_is_used_beside_its_predecessor_or_successor(key: rsa.RSAPrivateKey) -> None:
    good, old, coming = (
        certificate(key, serial="2"),
        certificate(key, serial="1", **ENDED),
        certificate(key, serial="3", begins=timedelta(2), ends=timedelta(900)),
    )
    for order in ((old, good, coming), (coming, old, good)):
        assert JwtP12(MERCHANT, p12(key, *order), PASSWORD).key_id == "2"
        made = MessageLevelEncryption(
            response_key=p12(key, *order), response_key_password=PASSWORD, merchant_id=MERCHANT
        )
        assert made.response_kid == "2"
    with pytest.raises(ConfigurationError, match="is not valid before"):
        JwtP12(MERCHANT, p12(key, old, coming), PASSWORD)
    both = [
        certificate(key, cn="CyberSource_SJC_US", serial=serial, **times).public_bytes(Encoding.PEM)
        for serial, times in (("3", {"begins": timedelta(2), "ends": timedelta(900)}), ("2", {}))
    ]
    assert "'2'" in repr(MessageLevelEncryption(request_certificate=b"".join(both)))


def test_a_damaged_certificate_beside_a_response_key(key: rsa.RSAPrivateKey) -> None:
    damaged = pem(key) + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    with pytest.raises(ConfigurationError, match="response_key has no PEM certificate in it that can be read"):
        MessageLevelEncryption(response_key=damaged, response_key_password=PASSWORD, response_kid="7")


def test_a_key_object_will_do(key: rsa.RSAPrivateKey) -> None:
    assert MessageLevelEncryption(response_key=key, response_kid="7").response_kid == "7"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert MessageLevelEncryption(response_key=pem, response_kid="7").response_kid == "7"


def test_only_named_operations_are_encrypted() -> None:
    mle = MessageLevelEncryption(
        request_certificate=KEYS / "sjc.crt.pem",
        encrypt_requests=["one"],
        response_key=KEYS / "response_mle.key.pem",
        response_kid="7",
        unencrypted_responses=["two"],
    )
    one, two = mle.outgoing(request(b"{}", "one"), 0), mle.outgoing(request(b"{}", "two"), 0)
    assert one.body is not None
    assert one.body.startswith(b'{"encryptedRequest":"')
    assert one.response_mle_kid == "7"
    assert (two.body, two.response_mle_kid) == (b"{}", None)
    assert mle.outgoing(request(None, "one"), 0).body is None
    assert mle.operations == {"one", "two"}


@pytest.mark.parametrize(
    ("status", "expected"), [(200, ResponseDecodingError), (404, NotFoundError), (409, ApiException)]
)
def test_an_answer_for_another_key(status: int, expected: type[ApiException], key: rsa.RSAPrivateKey) -> None:
    sealed = json.loads((KEYS.parent / "mle_response.json").read_text("utf-8"))["vectors"][0]["inputs"]
    came = Response(status, "", {"v-c-correlation-id": "c"}, sealed["body_on_the_wire"].encode())
    for mle, why in (
        (MessageLevelEncryption(response_key=key, response_kid="7"), "its kid is not response_kid"),
        (MessageLevelEncryption(response_key=key, response_kid="1795262400777777777777"), "does not fit"),
        (MessageLevelEncryption(request_certificate=KEYS / "sjc.crt.pem"), "there is no response_key"),
    ):
        with pytest.raises(expected, match=f"cannot be decrypted: .*{why}") as caught:
            mle.incoming(request(), came)
        assert type(caught.value) is expected
        assert ("the call was accepted" in str(caught.value)) == (status == 200)
        assert caught.value.correlation_id == "c"


@pytest.mark.parametrize(
    "body",
    [b"", b"a.b.c", b'{"encryptedResponse":3}', b'{"encryptedResponse":"x","more":1}', b'["encryptedResponse"]', b"{"],
)
def test_plain_answers_are_taken_as_they_are(body: bytes, key: rsa.RSAPrivateKey) -> None:
    came = Response(200, "", {}, body)
    assert MessageLevelEncryption(response_key=key, response_kid="7").incoming(request(), came) is came


@pytest.mark.parametrize("token", ["", "a.b.c.d.e", "....", "a.b", "é.b.c.d.e", "e30.AA.AA.AA.AA"])
def test_nonsense_in_an_envelope(token: str, key: rsa.RSAPrivateKey) -> None:
    came = Response(200, "", {}, json.dumps({"encryptedResponse": token}).encode())
    with pytest.raises(ResponseDecodingError, match="cannot be decrypted"):
        MessageLevelEncryption(response_key=key, response_kid="7").incoming(request(), came)
