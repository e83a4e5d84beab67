"""``Tls`` as a setting: files, passwords, contexts, and what each wrong one is told."""

from __future__ import annotations

import copy
import pickle
import ssl
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from cybersource_flex import ConfigurationError, Tls

trustme = pytest.importorskip("trustme", reason="NOT TESTED: settings of TLS, because trustme is not installed")

CANARY = "hunter2"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA, a client certificate, and its key in several forms."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    client = authority.issue_cert(common_name="merchant")
    certificate, key = client.cert_chain_pems[0].bytes(), client.private_key_pem.bytes()
    loaded = load_pem_private_key(key, None)

    def locked(format_: PrivateFormat, password: bytes) -> bytes:
        return loaded.private_bytes(Encoding.PEM, format_, BestAvailableEncryption(password))  # type: ignore[union-attr]

    contents = {
        "ca.pem": authority.cert_pem.bytes(),
        "certificate.pem": certificate,
        "key.pem": key,
        "both.pem": key + certificate,
        "locked.pem": locked(PrivateFormat.PKCS8, CANARY.encode()),
        "old-locked.pem": locked(PrivateFormat.TraditionalOpenSSL, CANARY.encode()),
        "locked-both.pem": locked(PrivateFormat.PKCS8, CANARY.encode()) + certificate,
        "other-ec.pem": new_key("ec"),
        "other-rsa.pem": new_key("rsa"),
        "other-ec-locked.pem": new_key("ec", CANARY.encode()),
        "other-rsa-locked.pem": new_key("rsa", CANARY.encode()),
        "empty.pem": b"",
        "text.pem": b"not a certificate\n",
        "store.p12": b"\x30\x82\x01\x00" + bytes(100),
        "broken.pem": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "broken-key.pem": certificate + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def new_key(kind: str, password: bytes | None = None) -> bytes:
    """A key that is no certificate's. One kind is that of the client certificate, whichever that is."""
    made: Any = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
    lock = NoEncryption() if password is None else BestAvailableEncryption(password)
    return bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"ca_file": "ca.pem"},
        {"client_certificate": "both.pem"},
        {"client_certificate": "certificate.pem", "client_key": "key.pem"},
        {"client_certificate": "certificate.pem", "client_key": "key.pem", "client_key_password": "not needed"},
        {"client_certificate": "certificate.pem", "client_key": "locked.pem", "client_key_password": CANARY},
        {
            "client_certificate": "certificate.pem",
            "client_key": "old-locked.pem",
            "client_key_password": CANARY.encode(),
        },
        {"client_certificate": "locked-both.pem", "client_key_password": CANARY, "ca_file": "ca.pem"},
        {"client_certificate": "both.pem", "insecure_skip_verification": True},
    ],
)
def test_what_is_accepted(arguments: dict[str, Any], files: Path) -> None:
    tls = Tls(**with_paths(arguments, files))
    secure = not arguments.get("insecure_skip_verification")
    for context in (tls.ssl_context, tls.for_proxy()):
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
        assert context.check_hostname is secure
        assert context.verify_mode == (ssl.CERT_REQUIRED if secure else ssl.CERT_NONE)
    assert (tls.for_proxy() is tls.ssl_context) is ("client_certificate" not in arguments)
    if "client_certificate" in arguments:
        assert tls.ssl_context.post_handshake_auth
    if "ca_file" in arguments:
        assert len(tls.ssl_context.get_ca_certs()) == 1, "it replaces the system's"
    assert CANARY not in repr(tls)
    assert repr(tls).count("=") == len(set(arguments) - {"client_key_password"})


def with_paths(arguments: dict[str, Any], files: Path) -> dict[str, Any]:
    names = {"ca_file", "client_certificate", "client_key"}
    return {
        name: files / value if name in names and isinstance(value, str) else value for name, value in arguments.items()
    }


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"ca_file": "missing.pem"}, "ca_file .*missing.pem' cannot be read: No such file"),
        ({"ca_file": "."}, "ca_file .* cannot be read: Is a directory"),
        ({"ca_file": "empty.pem"}, "ca_file .* has no certificate in PEM form"),
        ({"ca_file": "text.pem"}, "ca_file .* has no certificate in PEM form"),
        ({"ca_file": "key.pem"}, "ca_file .* has no certificate in PEM form"),
        ({"ca_file": "store.p12"}, "ca_file .* has no certificate in PEM form"),
        ({"ca_file": "broken.pem"}, "ca_file .* has a certificate that cannot be read"),
        ({"ca_file": 7}, "ca_file must be the path of a PEM file, not int"),
        ({"ca_file": b"bytes"}, "ca_file must be the path of a PEM file, not bytes"),
        ({"client_certificate": "missing.pem"}, "client_certificate .* cannot be read: No such file"),
        ({"client_certificate": "text.pem"}, "client_certificate .* has no certificate in PEM form"),
        ({"client_certificate": "certificate.pem"}, "client_certificate .* has no private key in PEM form"),
        ({"client_certificate": "key.pem"}, "client_certificate .* has no certificate in PEM form"),
        ({"client_certificate": "broken-key.pem"}, "client_certificate .* or its key cannot be used"),
        ({"client_certificate": "certificate.pem", "client_key": "missing.pem"}, "client_key .* cannot be read"),
        ({"client_certificate": "certificate.pem", "client_key": "ca.pem"}, "client_key .* has no private key"),
        *(
            (
                {"client_certificate": "certificate.pem", "client_key": name, "client_key_password": CANARY},
                "client_key .* has a key that is not that of the client certificate",
            )
            for name in ("other-ec.pem", "other-rsa.pem", "other-ec-locked.pem", "other-rsa-locked.pem")
        ),
        (
            {"client_certificate": "certificate.pem", "client_key": "locked.pem"},
            "encrypted key; give its client_key_password",
        ),
        ({"client_certificate": "certificate.pem", "client_key": "old-locked.pem"}, "encrypted key; give its"),
        ({"client_certificate": "locked-both.pem"}, "client_certificate .* has an encrypted key; give its"),
        (
            {"client_certificate": "certificate.pem", "client_key": "locked.pem", "client_key_password": CANARY + "x"},
            "client_key_password does not open the key in client_key",
        ),
        ({"client_certificate": "locked-both.pem", "client_key_password": ""}, "client_key_password is empty"),
        (
            {"client_certificate": "locked-both.pem", "client_key_password": 7},
            "client_key_password is empty, or neither",
        ),
        (
            {"client_certificate": "locked-both.pem", "client_key_password": CANARY * 147},
            "client_key_password is longer than 1023 bytes",
        ),
        ({"client_key": "key.pem"}, "need a client_certificate"),
        ({"client_key_password": CANARY}, "need a client_certificate"),
        ({"insecure_skip_verification": "yes"}, "insecure_skip_verification must be True or False"),
        ({"insecure_skip_verification": True, "ca_file": "ca.pem"}, "exclude each other"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: dict[str, Any], rule: str, files: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigurationError, match=rule) as caught:
        Tls(**with_paths(arguments, files))
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__
    assert capfd.readouterr() == ("", ""), "nobody was asked for a password"


def own_certificate(name: str, begins: int, ends: int) -> tuple[bytes, bytes]:
    """A certificate by itself and its key; days from now."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins))
        .not_valid_after(now + timedelta(days=ends))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM), private


@pytest.mark.parametrize(("begins", "ends", "rule"), [(-9, -2, "expired on"), (2, 9, "is not valid before")])
def test_a_client_certificate_whose_time_is_not_now(begins: int, ends: int, rule: str, tmp_path: Path) -> None:
    certificate, key = own_certificate("shop", begins, ends)
    (tmp_path / "both.pem").write_bytes(key + certificate)
    (tmp_path / "one.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(key)
    for arguments in (
        {"client_certificate": tmp_path / "both.pem"},
        {"client_certificate": tmp_path / "one.pem", "client_key": tmp_path / "key.pem"},
        {"client_certificate": tmp_path / "both.pem", "insecure_skip_verification": True},
    ):
        with pytest.raises(ConfigurationError, match=rf"^client_certificate .*\.pem': the certificate 'shop' {rule}"):
            Tls(**arguments)  # type: ignore[arg-type]


def test_when_a_client_certificate_ends(files: Path, tmp_path: Path) -> None:
    certificate, key = own_certificate("shop", -1, 3)
    old, _ = own_certificate("an authority", -9, -2)
    # The first one is shown. A host may do without the others.
    (tmp_path / "chain.pem").write_bytes(key + certificate + old)
    ends = Tls(client_certificate=tmp_path / "chain.pem").client_certificate_expires_at
    assert ends is not None
    assert ends - datetime.now(UTC) < timedelta(days=3)
    assert Tls().client_certificate_expires_at is None
    # Another form, which OpenSSL alone reads.
    body = (files / "certificate.pem").read_text().replace(" CERTIFICATE-", " TRUSTED CERTIFICATE-")
    (tmp_path / "trusted.pem").write_text(body)
    tls = Tls(client_certificate=tmp_path / "trusted.pem", client_key=files / "key.pem")
    assert tls.client_certificate_expires_at is None


def test_authorities_of_which_none_is_valid(files: Path, tmp_path: Path) -> None:
    old, _ = own_certificate("an authority", -9, -2)
    (tmp_path / "old.pem").write_bytes(old)
    with pytest.raises(ConfigurationError, match=r"^ca_file .*old\.pem': the certificate 'an authority' expired on"):
        Tls(ca_file=tmp_path / "old.pem")
    (tmp_path / "both.pem").write_bytes(old + (files / "ca.pem").read_bytes())
    assert Tls(ca_file=tmp_path / "both.pem").ca_file


def test_the_content_of_a_file_in_place_of_its_path(files: Path) -> None:
    key = (files / "key.pem").read_text()
    with pytest.raises(ConfigurationError, match="client_key must be the path of a file, not its content") as caught:
        Tls(client_certificate=files / "certificate.pem", client_key=key)
    assert "BEGIN" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="ca_file: the path has a null character in it"):
        Tls(ca_file="\0")


def own(**changes: Any) -> ssl.SSLContext:
    context = ssl.create_default_context()
    with warnings.catch_warnings():
        # Versions below TLS 1.2 are deprecated in Python, which is why they are refused.
        warnings.simplefilter("ignore", DeprecationWarning)
        for name, value in changes.items():
            setattr(context, name, value)
    return context


def test_a_context_of_ones_own() -> None:
    context = own()
    tls = Tls(ssl_context=context)
    assert tls.ssl_context is context
    assert tls.for_proxy() is context
    highest = own(minimum_version=ssl.TLSVersion.MAXIMUM_SUPPORTED)
    assert Tls(ssl_context=highest).ssl_context is highest
    blind = own(check_hostname=False)
    assert Tls(ssl_context=blind, insecure_skip_verification=True).ssl_context is blind


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"check_hostname": False}, "does not verify the host"),
        ({"check_hostname": False, "verify_mode": ssl.CERT_NONE}, "does not verify the host"),
        ({"minimum_version": ssl.TLSVersion.TLSv1_1}, "below TLS 1.2"),
        ({"minimum_version": ssl.TLSVersion.MINIMUM_SUPPORTED}, "below TLS 1.2"),
    ],
)
def test_what_is_wrong_with_a_context_is_said(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule):
        Tls(ssl_context=own(**changes))


def test_what_a_context_does_not_go_with(files: Path) -> None:
    for arguments in ({"ca_file": files / "ca.pem"}, {"client_certificate": files / "both.pem"}):
        with pytest.raises(ConfigurationError, match="ssl_context excludes ca_file and client_certificate"):
            Tls(ssl_context=own(), **arguments)
    with pytest.raises(ConfigurationError, match="insecure_skip_verification says not to; give one"):
        Tls(ssl_context=own(), insecure_skip_verification=True)
    with pytest.raises(ConfigurationError, match=r"must be an ssl\.SSLContext, not str"):
        Tls(ssl_context=CANARY)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="one for servers"):
        Tls(ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def test_it_does_not_change_and_is_not_pickled(files: Path) -> None:
    tls = Tls(client_certificate=files / "locked-both.pem", client_key_password=CANARY)
    with pytest.raises(AttributeError, match="cannot be changed"):
        tls.ca_file = None
    with pytest.raises(TypeError, match="__dict__"):
        vars(tls)
    for use in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="holds credentials"):
            use(tls)
    assert not any(CANARY in str(getattr(tls, name)) for name in Tls.__slots__)
