"""Signers and message-level encryption with keys and certificates from files, and the errors of invalid files."""

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
from typing import Any, get_args, get_type_hints

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from cybersource_flex.auth import (
    BearerToken,
    JwtClaimFormat,
    JwtExternalKey,
    JwtP12,
    JwtSharedSecret,
    MessageLevelEncryption,
)
from cybersource_flex.auth.certificates import newest
from cybersource_flex.auth.claim_format import CLAIM_VARIANTS
from cybersource_flex.errors import (
    ApiException,
    ConfigurationError,
    InvalidArgumentTypeError,
    NotFoundError,
    ResponseDecodingError,
)
from cybersource_flex.transport import Response
from support.certificates import certificate_pem, key_pem, pkcs12_file, self_signed_certificate
from support.encoding import base64url_decode
from support.keys import (
    MERCHANT_ID,
    MERCHANT_KEY_ID,
    P12_PASSWORD,
    PORTFOLIO_ID,
    PORTFOLIO_KEY_ID,
    RESPONSE_MLE_KEY_ID,
    private_key,
)
from support.paths import KEYS, VECTORS
from support.tokens import decode_jwt
from support.transports import make_request

CANARY = "c4n4ry-password"


def parts(headers: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Header, claims, signing input and signature of the token in an ``Authorization`` header."""
    token = headers["Authorization"].removeprefix("Bearer ")
    signing_input, _, signature = token.rpartition(".")
    return *decode_jwt(token), signing_input.encode(), base64url_decode(signature)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def certificate(
    key: Any, *, cn: str = MERCHANT_ID, serial: str | None = MERCHANT_KEY_ID, **validity: timedelta
) -> x509.Certificate:
    return self_signed_certificate(key, cn, serial_number=serial, **validity)


def p12(key: Any, certificate: x509.Certificate | None, *others: x509.Certificate) -> bytes:
    return pkcs12_file(key, certificate, *others, password=P12_PASSWORD)


def pem(key: Any, *certificates: x509.Certificate) -> bytes:
    return key_pem(key, P12_PASSWORD) + certificate_pem(*certificates)


SMALL = rsa.generate_private_key(65537, 1024)  # noqa: S505


@pytest.mark.parametrize("name", ["merchant", "merchant_sjc_last", "merchant_legacy_3des", "merchant_portal_like"])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_every_p12_format_loads_without_a_warning(name: str, as_bytes: bool) -> None:
    file = KEYS / f"{name}.p12"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        signer = JwtP12(MERCHANT_ID, file.read_bytes() if as_bytes else file, P12_PASSWORD)
    assert signer.key_id == MERCHANT_KEY_ID
    assert signer.expires_at == datetime(2036, 1, 1, tzinfo=UTC)


def test_other_warnings_are_not_suppressed(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "PKCS#12 bundle could not be parsed as DER"

    def load(data: bytes, password: bytes | None) -> pkcs12.PKCS12KeyAndCertificates:
        # Versions of cryptography before 45 do not warn.
        warnings.warn(message, UserWarning, stacklevel=2)
        return pkcs12.load_pkcs12(data, password)

    monkeypatch.setattr("cybersource_flex.auth.certificates.load_pkcs12", load)
    JwtP12(MERCHANT_ID, KEYS / "merchant_portal_like.p12", P12_PASSWORD)
    with pytest.warns(UserWarning, match=message):
        warnings.warn(message, UserWarning, stacklevel=2)


def test_the_common_name_is_compared_without_case() -> None:
    assert JwtP12(MERCHANT_ID.upper(), KEYS / "merchant.p12", P12_PASSWORD).key_id == MERCHANT_KEY_ID


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_signing_algorithms(algorithm: str) -> None:
    signer = JwtP12(MERCHANT_ID, KEYS / "merchant.p12", P12_PASSWORD, algorithm=algorithm)
    header, claims, signing_input, signature = parts(signer.sign(make_request(), time.time()))
    assert header == {"alg": algorithm, "kid": MERCHANT_KEY_ID, "typ": "JWT"}
    assert claims["digestAlgorithm"] == "SHA-256"
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[algorithm[2:]]
    scheme: Any = padding.PKCS1v15()
    if algorithm.startswith("PS"):
        scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
    private_key("merchant").public_key().verify(signature, signing_input, scheme, digest)


def test_the_issuer_of_a_meta_key_is_the_portfolio() -> None:
    signer = JwtP12(MERCHANT_ID, KEYS / "portfolio.p12", P12_PASSWORD, portfolio_id=PORTFOLIO_ID)
    header, claims, _, _ = parts(signer.sign(make_request(), time.time()))
    assert header["kid"] == PORTFOLIO_KEY_ID
    assert (claims["iss"], claims["v-c-merchant-id"]) == (PORTFOLIO_ID, MERCHANT_ID)


Change = Callable[[rsa.RSAPrivateKey], dict[str, Any]]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda key: {"password": CANARY}, "p12: the password is wrong, or the file is damaged"),
        (lambda key: {"password": None}, "p12: the password is wrong"),
        (lambda key: {"p12": "/no/such/file.p12"}, "p12: cannot read '/no/such/file.p12': No such file"),
        (lambda key: {"p12": KEYS}, "p12: cannot read .*Is a directory"),
        (lambda key: {"p12": "a\0b"}, "null character"),
        (lambda key: {"p12": b""}, "p12 is empty"),
        (lambda key: {"p12": b"x" * 2_000_000}, "p12 is larger than"),
        (lambda key: {"p12": b"nonsense"}, "p12 is not a PKCS #12"),
        (lambda key: {"p12": KEYS / "merchant.crt.pem"}, "p12 is not a PKCS #12 .*file: it is a PEM file$"),
        (
            lambda key: {"p12": base64.encodebytes((KEYS / "merchant.p12").read_bytes())},
            "p12 is not a PKCS #12 .*file: it is base64 of such a file; decode it",
        ),
        (lambda key: {"p12": base64.b64encode(b"0\x82" + bytes(125))}, r"p12 is not a PKCS #12 \(.p12, .pfx\) file$"),
        (lambda key: {"p12": base64.b64encode(b"1\x82" + bytes(999))}, r"p12 is not a PKCS #12 \(.p12, .pfx\) file$"),
        (lambda key: {"p12": base64.b64encode(b"0\x7f" + bytes(999))}, r"p12 is not a PKCS #12 \(.p12, .pfx\) file$"),
        (lambda key: {"p12": None}, "p12 must be a path or the file's bytes, not NoneType"),
        (
            lambda key: {"merchant_id": "other"},
            "no certificate with CN 'other'; the file contains 'acme_flex_test_001'",
        ),
        (lambda key: {"portfolio_id": PORTFOLIO_ID}, "no certificate with CN 'acme_flex_portfolio'"),
        (lambda key: {"portfolio_id": ""}, "portfolio_id is empty"),
        (lambda key: {"algorithm": "HS256"}, "algorithm must be one of RS256"),
        (lambda key: {"algorithm": "none"}, "algorithm must be one of RS256"),
        (
            lambda key: {"p12": p12(key, certificate(key, begins=timedelta(-9), ends=timedelta(-2)))},
            "the certificate 'acme_flex_test_001' expired on",
        ),
        (lambda key: {"p12": p12(key, certificate(key, begins=timedelta(2)))}, "is not valid before"),
        (lambda key: {"p12": p12(key, certificate(key, serial=None))}, "expected exactly one serialNumber attribute"),
        (lambda key: {"p12": p12(None, None, certificate(key))}, "p12 contains no private key"),
        (
            lambda key: {"p12": p12(key, certificate(key, cn="x"), certificate(rsa.generate_private_key(65537, 2048)))},
            "does not belong to the private key in the file",
        ),
    ],
)
def test_errors_of_p12_files(change: Change, rule: str, key: rsa.RSAPrivateKey) -> None:
    arguments = {"merchant_id": MERCHANT_ID, "p12": KEYS / "merchant.p12", "password": P12_PASSWORD, **change(key)}
    with pytest.raises(ConfigurationError, match=rule) as caught:
        JwtP12(**arguments)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_weak_keys_and_keys_of_other_types_are_rejected() -> None:
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505
    with pytest.raises(ConfigurationError, match="1024 bits; expected at least 2048"):
        JwtP12(MERCHANT_ID, p12(small, certificate(small)), P12_PASSWORD)
    curve = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(ConfigurationError, match="must be an RSA key"):
        JwtP12(MERCHANT_ID, p12(curve, certificate(curve)), P12_PASSWORD)


def test_signers_are_immutable_and_neither_shown_nor_pickled() -> None:
    for signer in (
        JwtP12(MERCHANT_ID, KEYS / "merchant.p12", P12_PASSWORD),
        BearerToken(CANARY),
        BearerToken(lambda: CANARY),
        JwtExternalKey(MERCHANT_ID, MERCHANT_KEY_ID, lambda data: b""),
        MessageLevelEncryption(response_key=KEYS / "response_mle.key.pem", response_kid="1"),
    ):
        assert CANARY not in repr(signer)
        assert P12_PASSWORD not in repr(signer)
        assert not hasattr(signer, "__dict__")
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(signer)
        with pytest.raises(TypeError):
            copy.deepcopy(signer)
    with pytest.raises(AttributeError, match="cannot be changed"):
        JwtSharedSecret(MERCHANT_ID, "id", "A" * 43 + "=").key_id = "x"


def test_an_external_key_signs_by_a_function() -> None:
    messages: list[bytes] = []

    def sign(data: bytes) -> bytes:
        messages.append(data)
        return b"signature"

    header, claims, signing_input, signature = parts(
        JwtExternalKey(MERCHANT_ID, MERCHANT_KEY_ID, sign, algorithm="PS384").sign(make_request(), 1_800_000_000)
    )
    assert messages == [signing_input]
    assert signature == b"signature"
    assert header == {"alg": "PS384", "kid": MERCHANT_KEY_ID, "typ": "JWT"}
    assert claims["exp"] == 1_800_000_120
    with pytest.raises(ConfigurationError, match="function that takes and returns bytes"):
        JwtExternalKey(MERCHANT_ID, MERCHANT_KEY_ID, b"key")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentTypeError, match="returned str"):
        JwtExternalKey(MERCHANT_ID, MERCHANT_KEY_ID, lambda data: "text").sign(make_request(), 0)  # type: ignore[arg-type,return-value]


def test_the_claim_format_can_be_chosen() -> None:
    claim_format = JwtClaimFormat(method_case="lower", digest_algorithm_claim="digest-algorithm")
    _, claims, _, _ = parts(
        JwtSharedSecret(MERCHANT_ID, "id", "A" * 43 + "=", claim_format=claim_format).sign(make_request(), 0)
    )
    assert claims["request-method"] == "post"
    assert claims["digest-algorithm"] == "SHA-256"
    assert "digestAlgorithm" not in claims


def test_every_variant_of_the_claim_format() -> None:
    assert {name: (default, variant) for name, (default, variant) in CLAIM_VARIANTS.items()} == {
        name: get_args(hint) for name, hint in get_type_hints(JwtClaimFormat).items()
    }
    assert JwtClaimFormat()._asdict() == {name: variants[0] for name, variants in CLAIM_VARIANTS.items()}
    variant = JwtClaimFormat(**{name: variants[1] for name, variants in CLAIM_VARIANTS.items()})  # type: ignore[arg-type]
    request = make_request(target="/a?b=c").replace(response_mle_kid="kid")
    claims = {}
    for claim_format in (JwtClaimFormat(), variant):
        signer = JwtSharedSecret(MERCHANT_ID, "id", "A" * 43 + "=", claim_format=claim_format)
        claims[claim_format] = parts(signer.sign(request, 0))[1]
    common = {"digest", "exp", "iat", "iss", "jti", "request-host", "v-c-jwt-version", "v-c-merchant-id"}
    assert {name: value for name, value in claims[JwtClaimFormat()].items() if name not in common} == {
        "digestAlgorithm": "SHA-256",
        "request-method": "POST",
        "request-resource-path": "/a?b=c",
        "v-c-response-mle-kid": "kid",
    }
    assert {name: value for name, value in claims[variant].items() if name not in common} == {
        "digest-algorithm": "sha-256",
        "request-method": "post",
        "request-resource-path": "/a",
        "v-c-api-response-mle-kid": "kid",
    }


@pytest.mark.parametrize(
    ("claim_format", "message"),
    [
        (None, "claim_format must be a JwtClaimFormat, not NoneType"),
        (("lower", "digest-algorithm"), "claim_format must be a JwtClaimFormat, not tuple"),
        (JwtClaimFormat(method_case="Lower"), "method_case of claim_format must be 'upper' or 'lower'"),  # type: ignore[arg-type]
        (JwtClaimFormat(resource_path=True), "resource_path of claim_format must be 'path-and-query' or 'path'"),  # type: ignore[arg-type]
    ],
)
def test_invalid_claim_formats(claim_format: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{message}$"):
        JwtSharedSecret(MERCHANT_ID, "id", "A" * 43 + "=", claim_format=claim_format)


@pytest.mark.parametrize(("algorithm", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_hmac_algorithms(algorithm: str, size: int) -> None:
    header, _, _, signature = parts(
        JwtSharedSecret(MERCHANT_ID, "id", "A" * 43 + "=", algorithm=algorithm).sign(make_request(), 0)
    )
    assert header["alg"] == algorithm
    assert len(signature) == size
    with pytest.raises(ConfigurationError, match="algorithm must be one of HS256"):
        JwtSharedSecret(MERCHANT_ID, "id", "A" * 43 + "=", algorithm="RS256")


def test_bearer_tokens() -> None:
    fixed = BearerToken(" abc.def ")
    assert fixed.sign(make_request(), 0) == {"Authorization": "Bearer abc.def"}
    assert fixed.refresh(fixed.sign(make_request(), 0)) is False
    tokens = iter(["one", "two"])
    from_function = BearerToken(lambda: next(tokens))
    assert (
        from_function.sign(make_request(), 0)
        == from_function.sign(make_request(), 0)
        == {"Authorization": "Bearer one"}
    )
    rejected = {"Authorization": "Bearer one"}
    assert from_function.refresh(rejected) is True
    assert from_function.sign(make_request(), 0) == {"Authorization": "Bearer two"}
    # Another request with the first token is rejected later. The second token is kept.
    assert from_function.refresh(rejected) is True
    assert from_function.sign(make_request(), 0) == {"Authorization": "Bearer two"}
    for wrong in ("", "s3cr et", "a\r\nX: y", None, b"x"):
        with pytest.raises(ConfigurationError, match="access token") as caught:
            BearerToken(wrong)  # type: ignore[arg-type]
        assert "s3cr" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="access token"):
        BearerToken(lambda: "").sign(make_request(), 0)


# Message-level encryption.


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({}, "was given no key"),
        ({"encrypt_requests": ["x"], "response_key": KEYS / "response_mle.key.pem"}, "without the request_certificate"),
        ({"encrypt_requests": "x", "request_certificate": KEYS / "sjc.crt.pem"}, "list of operation names"),
        ({"response_kid": "1", "request_certificate": KEYS / "sjc.crt.pem"}, "without the response_key"),
        ({"response_key": KEYS / "response_mle.key.pem"}, "response_kid is missing"),
        ({"response_key": KEYS / "response_mle.p12", "response_key_password": P12_PASSWORD}, "response_kid is missing"),
        (
            {"response_key": KEYS / "response_mle.p12", "response_key_password": P12_PASSWORD, "merchant_id": "other"},
            "no certificate with CN 'other'",
        ),
        ({"response_key": KEYS / "response_mle.p12", "response_key_password": CANARY}, "password is wrong"),
        ({"response_key": KEYS / "response_mle.key.encrypted.pem", "response_kid": "1"}, "needs a password"),
        (
            {"response_key": KEYS / "response_mle.key.encrypted.pem", "response_key_password": CANARY},
            "or the password is wrong",
        ),
        ({"response_key": KEYS / "response_mle.key.pem", "response_key_password": CANARY}, "not encrypted"),
        ({"response_key": KEYS / "sjc.crt.pem", "response_kid": "1"}, "no valid private key"),
        ({"request_certificate": KEYS / "merchant.crt.pem"}, "no certificate with CN 'CyberSource_SJC_US'"),
        ({"request_certificate": KEYS / "merchant.key.pem"}, "contains no valid PEM certificate"),
        ({"request_certificate": KEYS / "merchant.p12", "request_certificate_password": CANARY}, "password is wrong"),
        ({"request_certificate": "/no/such.pem"}, "request_certificate: cannot read"),
        ({"response_key": b"", "response_kid": "1"}, "^response_key is empty"),
        (
            {"response_key": key_pem(SMALL), "response_kid": "1"},
            "^response_key: the RSA key has 1024 bits; expected at least 2048",
        ),
        ({"response_key": SMALL, "response_kid": "1"}, "^response_key: the RSA key has 1024 bits"),
        (
            {
                "response_key": p12(None, None, certificate(SMALL)),
                "response_key_password": P12_PASSWORD,
                "response_kid": "1",
            },
            "^response_key contains no private key",
        ),
    ],
)
def test_errors_of_message_level_encryption(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule) as caught:
        MessageLevelEncryption(**arguments)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_an_expired_request_certificate_is_rejected(key: rsa.RSAPrivateKey) -> None:
    old = certificate(key, cn="CyberSource_SJC_US", begins=timedelta(-9), ends=timedelta(-2))
    with pytest.raises(ConfigurationError, match="expired on"):
        MessageLevelEncryption(request_certificate=old.public_bytes(Encoding.PEM))
    renewed = certificate(key, cn="CyberSource_SJC_US", serial="2")
    both = old.public_bytes(Encoding.PEM) + renewed.public_bytes(Encoding.PEM)
    assert "'2'" in repr(MessageLevelEncryption(request_certificate=both))


EXPIRED = {"begins": timedelta(-9), "ends": timedelta(-2)}
NOT_YET_VALID = {"begins": timedelta(2), "ends": timedelta(9)}


@pytest.mark.parametrize("pack", [p12, pem])
@pytest.mark.parametrize("kid", [MERCHANT_KEY_ID, "7"])
@pytest.mark.parametrize(("times", "rule"), [(EXPIRED, "expired on"), (NOT_YET_VALID, "is not valid before")])
def test_an_expired_certificate_of_a_response_key_is_rejected(
    times: dict[str, timedelta], rule: str, kid: str, pack: Callable[..., bytes], key: rsa.RSAPrivateKey
) -> None:
    for name in (MERCHANT_ID, "another_merchant"):
        file = pack(key, certificate(key, cn=name, **times))
        with pytest.raises(ConfigurationError, match=f"response_key: the certificate '{name}' {rule}"):
            MessageLevelEncryption(response_key=file, response_key_password=P12_PASSWORD, response_kid=kid)
    with pytest.raises(ConfigurationError, match=rule):
        MessageLevelEncryption(
            response_key=p12(key, certificate(key, **times)),
            response_key_password=P12_PASSWORD,
            merchant_id=MERCHANT_ID,
        )


@pytest.mark.parametrize("pack", [p12, pem])
def test_the_certificate_of_the_response_key_is_chosen_from_several(
    pack: Callable[..., bytes], key: rsa.RSAPrivateKey
) -> None:
    other = rsa.generate_private_key(65537, 2048)
    foreign = certificate(other, cn="CyberSource_SJC_US", **EXPIRED)
    good = certificate(key, ends=timedelta(days=50))

    def encryption(*certificates: x509.Certificate, kid: str = MERCHANT_KEY_ID) -> MessageLevelEncryption:
        file = pack(key, *certificates)
        return MessageLevelEncryption(response_key=file, response_key_password=P12_PASSWORD, response_kid=kid)

    # Certificates of other keys are ignored. Of several certificates of the key, the one with this key id is used, or
    # else the one that ends last.
    assert encryption(good, foreign).response_certificate_expires_at == good.not_valid_after_utc
    predecessor = certificate(key, serial="1", **EXPIRED)
    for order in ((predecessor, good), (good, predecessor)):
        assert encryption(*order).response_certificate_expires_at == good.not_valid_after_utc
        assert encryption(*order, kid="9").response_certificate_expires_at == good.not_valid_after_utc
        with pytest.raises(ConfigurationError, match="expired on"):
            encryption(*order, kid="1")
    if pack is pem:
        # A P12 file cannot contain a key together with the certificate of another key.
        assert encryption(foreign).response_certificate_expires_at is None


def test_the_valid_certificate_is_chosen_from_several(key: rsa.RSAPrivateKey) -> None:
    good, old, future = (
        certificate(key, serial="2"),
        certificate(key, serial="1", **EXPIRED),
        certificate(key, serial="3", begins=timedelta(2), ends=timedelta(900)),
    )
    for order in ((old, good, future), (future, old, good)):
        assert JwtP12(MERCHANT_ID, p12(key, *order), P12_PASSWORD).key_id == "2"
        encryption = MessageLevelEncryption(
            response_key=p12(key, *order), response_key_password=P12_PASSWORD, merchant_id=MERCHANT_ID
        )
        assert encryption.response_kid == "2"
    with pytest.raises(ConfigurationError, match="is not valid before"):
        JwtP12(MERCHANT_ID, p12(key, old, future), P12_PASSWORD)
    both = [
        certificate(key, cn="CyberSource_SJC_US", serial=serial, **times).public_bytes(Encoding.PEM)
        for serial, times in (("3", {"begins": timedelta(2), "ends": timedelta(900)}), ("2", {}))
    ]
    assert "'2'" in repr(MessageLevelEncryption(request_certificate=b"".join(both)))


def test_a_certificate_is_valid_from_its_first_to_before_its_last_second(
    key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = certificate(key, serial="1", begins=timedelta(-9), ends=timedelta(0))
    late = certificate(key, serial="2", begins=timedelta(0), ends=timedelta(1))
    later = certificate(key, serial="3", begins=timedelta(5), ends=timedelta(9))
    for time_, expected in (
        (late.not_valid_before_utc, late),
        (late.not_valid_before_utc - timedelta(seconds=1), early),
        (late.not_valid_after_utc - timedelta(seconds=1), late),
        # None is valid: the one that ends last.
        (late.not_valid_after_utc, later),
    ):
        now = time_.timestamp()
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert newest([early, late, later]) == newest([later, late, early]) == expected


def test_a_certificate_whose_key_is_not_supported_is_skipped(key: rsa.RSAPrivateKey) -> None:
    good = certificate(key, ends=timedelta(50))
    curve = certificate(ec.generate_private_key(ec.SECP256R1())).public_bytes(Encoding.DER)
    # Ends in another arc of the object identifier of the curve: secp256r1 becomes an unknown curve.
    unknown = curve.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030177"))
    assert unknown != curve
    body = base64.encodebytes(unknown).decode()
    file = (
        key_pem(key)
        + f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n".encode()
        + certificate_pem(good)
    )
    encryption = MessageLevelEncryption(response_key=file, response_kid="9")
    assert encryption.response_certificate_expires_at == good.not_valid_after_utc


@pytest.mark.parametrize("as_file", [False, True])
def test_a_file_has_at_most_one_mebibyte(as_file: bool, tmp_path: Path) -> None:
    for size, rule in (
        (1024 * 1024, "p12 is not a PKCS #12"),
        (1024 * 1024 + 1, "p12 is larger than 1048576 bytes; is it the right file"),
    ):
        content: Any = b"x" * size
        if as_file:
            (tmp_path / "file.p12").write_bytes(content)
            content = tmp_path / "file.p12"
        with pytest.raises(ConfigurationError, match=f"^{rule}"):
            JwtP12(MERCHANT_ID, content, P12_PASSWORD)


def test_without_a_key_for_requests_or_responses_nothing_expires(key: rsa.RSAPrivateKey) -> None:
    requests = MessageLevelEncryption(request_certificate=KEYS / "sjc.crt.pem")
    assert (requests.response_kid, requests.response_certificate_expires_at) == (None, None)
    responses = MessageLevelEncryption(response_key=key, response_kid="7")
    assert (responses.request_certificate_expires_at, responses.response_certificate_expires_at) == (None, None)
    assert repr(responses) == "MessageLevelEncryption(request_kid=None, response_kid='7')"


def test_a_decrypted_response_keeps_status_headers_and_attempts() -> None:
    case = json.loads((VECTORS / "mle_response.json").read_text("utf-8"))["vectors"][0]
    mle = MessageLevelEncryption(response_key=KEYS / "response_mle.key.pem", response_kid=RESPONSE_MLE_KEY_ID)
    encrypted = Response(202, "Accepted", {"v-c-correlation-id": "c"}, case["inputs"]["body_on_the_wire"].encode(), 3)
    decrypted = mle.decrypt_response(make_request(), encrypted)
    assert (decrypted.status, decrypted.reason, decrypted.attempts) == (202, "Accepted", 3)
    assert decrypted.headers == encrypted.headers
    assert decrypted.body.decode() == case["outputs"]["official_sdk_decrypts_to"]


def test_a_certificate_without_a_common_name_is_not_chosen(key: rsa.RSAPrivateKey) -> None:
    empty = x509.Name([])
    now = datetime.now(UTC)
    nameless = (
        x509.CertificateBuilder(empty, empty, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(1))
        .not_valid_after(now + timedelta(1))
        .sign(key, hashes.SHA256())
    )
    with pytest.raises(ConfigurationError, match=f"no certificate with CN '{MERCHANT_ID}'; the file contains ''"):
        JwtP12(MERCHANT_ID, p12(key, nameless), P12_PASSWORD)
    assert JwtP12(MERCHANT_ID, p12(key, certificate(key), nameless), P12_PASSWORD).key_id == MERCHANT_KEY_ID


def test_a_damaged_certificate_of_a_response_key_is_rejected(key: rsa.RSAPrivateKey) -> None:
    damaged = pem(key) + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    with pytest.raises(ConfigurationError, match="response_key contains no valid PEM certificate"):
        MessageLevelEncryption(response_key=damaged, response_key_password=P12_PASSWORD, response_kid="7")


def test_a_response_key_may_be_a_key_object(key: rsa.RSAPrivateKey) -> None:
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
    one, two = (
        mle.encrypt_request(make_request(b"{}", name="one"), 0),
        mle.encrypt_request(make_request(b"{}", name="two"), 0),
    )
    assert one.body is not None
    assert one.body.startswith(b'{"encryptedRequest":"')
    assert one.response_mle_kid == "7"
    assert (two.body, two.response_mle_kid) == (b"{}", None)
    assert mle.encrypt_request(make_request(None, name="one"), 0).body is None
    assert mle.operations == {"one", "two"}


@pytest.mark.parametrize(
    ("status", "expected"), [(200, ResponseDecodingError), (404, NotFoundError), (409, ApiException)]
)
def test_a_response_for_another_key_cannot_be_decrypted(
    status: int, expected: type[ApiException], key: rsa.RSAPrivateKey
) -> None:
    inputs = json.loads((VECTORS / "mle_response.json").read_text("utf-8"))["vectors"][0]["inputs"]
    response = Response(status, "", {"v-c-correlation-id": "c"}, inputs["body_on_the_wire"].encode())
    for mle, reason in (
        (MessageLevelEncryption(response_key=key, response_kid="7"), "the kid of the response is not response_kid"),
        (MessageLevelEncryption(response_key=key, response_kid=RESPONSE_MLE_KEY_ID), "response_key is wrong"),
        (MessageLevelEncryption(request_certificate=KEYS / "sjc.crt.pem"), "no response_key is configured"),
    ):
        with pytest.raises(expected, match=f"cannot be decrypted: .*{reason}") as caught:
            mle.decrypt_response(make_request(), response)
        assert type(caught.value) is expected
        assert ("the call was accepted" in str(caught.value)) == (status == 200)
        assert caught.value.correlation_id == "c"


@pytest.mark.parametrize(
    "body",
    [b"", b"a.b.c", b'{"encryptedResponse":3}', b'{"encryptedResponse":"x","more":1}', b'["encryptedResponse"]', b"{"],
)
def test_unencrypted_responses_are_returned_unchanged(body: bytes, key: rsa.RSAPrivateKey) -> None:
    response = Response(200, "", {}, body)
    assert (
        MessageLevelEncryption(response_key=key, response_kid="7").decrypt_response(make_request(), response)
        is response
    )


@pytest.mark.parametrize("token", ["", "a.b.c.d.e", "....", "a.b", "é.b.c.d.e", "e30.AA.AA.AA.AA"])
def test_malformed_tokens_in_an_encrypted_response_are_rejected(token: str, key: rsa.RSAPrivateKey) -> None:
    response = Response(200, "", {}, json.dumps({"encryptedResponse": token}).encode())
    with pytest.raises(ResponseDecodingError, match=r"cannot be decrypted: .*the .*encrypted response"):
        MessageLevelEncryption(response_key=key, response_kid="7").decrypt_response(make_request(), response)
