"""``Tls``: files, passwords, SSL contexts, and the errors of invalid ones."""

from __future__ import annotations

import copy
import gc
import pickle
import ssl
import threading
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from cybersource_flex import ConfigurationError, Tls
from support.certificates import certificate_pem, key_pem, self_signed_certificate
from support.requirements import require_module

trustme = require_module("trustme", package="trustme", not_tested="settings of TLS")

CANARY = "hunter2"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA, a client certificate, and its key in several formats."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    client = authority.issue_cert(common_name="merchant")
    certificate, key = client.cert_chain_pems[0].bytes(), client.private_key_pem.bytes()
    loaded = load_pem_private_key(key, None)

    def locked(format_: PrivateFormat, password: bytes) -> bytes:
        return loaded.private_bytes(Encoding.PEM, format_, BestAvailableEncryption(password))  # type: ignore[union-attr]

    # Keys that belong to no certificate. One of them has the type of the client's key.
    other_ec, other_rsa = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    contents = {
        "ca.pem": authority.cert_pem.bytes(),
        "certificate.pem": certificate,
        "key.pem": key,
        "both.pem": key + certificate,
        "locked.pem": locked(PrivateFormat.PKCS8, CANARY.encode()),
        "old-locked.pem": locked(PrivateFormat.TraditionalOpenSSL, CANARY.encode()),
        "locked-both.pem": locked(PrivateFormat.PKCS8, CANARY.encode()) + certificate,
        "other-ec.pem": key_pem(other_ec),
        "other-rsa.pem": key_pem(other_rsa),
        "other-ec-locked.pem": key_pem(other_ec, CANARY),
        "other-rsa-locked.pem": key_pem(other_rsa, CANARY),
        "empty.pem": b"",
        "other.pem": b"not a certificate\n",
        "store.p12": b"\x30\x82\x01\x00" + bytes(100),
        "broken.pem": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "broken-key.pem": certificate + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


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
def test_valid_arguments_are_accepted(arguments: dict[str, Any], files: Path) -> None:
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
        ({"ca_file": "empty.pem"}, "ca_file .* contains no certificate in PEM form"),
        ({"ca_file": "other.pem"}, "ca_file .* contains no certificate in PEM form"),
        ({"ca_file": "key.pem"}, "ca_file .* contains no certificate in PEM form"),
        ({"ca_file": "store.p12"}, "ca_file .* contains no certificate in PEM form"),
        ({"ca_file": "broken.pem"}, "ca_file .* contains a certificate that cannot be read"),
        ({"ca_file": 7}, "ca_file must be the path of a PEM file, not int"),
        ({"ca_file": b"bytes"}, "ca_file must be the path of a PEM file, not bytes"),
        ({"client_certificate": "missing.pem"}, "client_certificate .* cannot be read: No such file"),
        ({"client_certificate": "other.pem"}, "client_certificate .* contains no certificate in PEM form"),
        ({"client_certificate": "certificate.pem"}, "client_certificate .* contains no private key in PEM form"),
        ({"client_certificate": "key.pem"}, "client_certificate .* contains no certificate in PEM form"),
        ({"client_certificate": "broken-key.pem"}, "client_certificate .* or its key cannot be used"),
        ({"client_certificate": "certificate.pem", "client_key": "missing.pem"}, "client_key .* cannot be read"),
        ({"client_certificate": "certificate.pem", "client_key": "ca.pem"}, "client_key .* contains no private key"),
        *(
            (
                {"client_certificate": "certificate.pem", "client_key": name, "client_key_password": CANARY},
                "client_key .* has a key that does not belong to the client certificate",
            )
            for name in ("other-ec.pem", "other-rsa.pem", "other-ec-locked.pem", "other-rsa-locked.pem")
        ),
        (
            {"client_certificate": "certificate.pem", "client_key": "locked.pem"},
            "encrypted key; set client_key_password",
        ),
        ({"client_certificate": "certificate.pem", "client_key": "old-locked.pem"}, "encrypted key; set client_key"),
        ({"client_certificate": "locked-both.pem"}, "client_certificate .* contains an encrypted key; set client_key"),
        (
            {"client_certificate": "certificate.pem", "client_key": "locked.pem", "client_key_password": CANARY + "x"},
            "client_key_password is wrong for the key in client_key",
        ),
        (
            {"client_certificate": "locked-both.pem", "client_key_password": ""},
            "client_key_password must be a non-empty",
        ),
        (
            {"client_certificate": "locked-both.pem", "client_key_password": 7},
            "client_key_password must be a non-empty string or bytes",
        ),
        (
            {"client_certificate": "locked-both.pem", "client_key_password": CANARY * 147},
            "client_key_password is longer than 1023 bytes",
        ),
        (
            {"client_certificate": "locked-both.pem", "client_key_password": CANARY + "\ud800"},
            "client_key_password contains a lone surrogate: its source is not UTF-8",
        ),
        ({"client_key": "key.pem"}, "need a client_certificate"),
        ({"client_key_password": CANARY}, "need a client_certificate"),
        ({"insecure_skip_verification": "yes"}, "insecure_skip_verification must be True or False"),
        ({"insecure_skip_verification": True, "ca_file": "ca.pem"}, "cannot be combined; pass only one"),
    ],
)
def test_errors_of_invalid_arguments(
    arguments: dict[str, Any], rule: str, files: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigurationError, match=rule) as caught:
        Tls(**with_paths(arguments, files))
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__
    assert capfd.readouterr() == ("", ""), "the user is not asked for a password"


def self_signed(name: str, begins: int, ends: int) -> tuple[bytes, bytes]:
    """A certificate and its key. The times are in days from now."""
    key = rsa.generate_private_key(65537, 2048)
    validity = {"begins": timedelta(days=begins), "ends": timedelta(days=ends)}
    return certificate_pem(self_signed_certificate(key, name, **validity)), key_pem(key)


@pytest.mark.parametrize(("begins", "ends", "rule"), [(-9, -2, "expired on"), (2, 9, "is not valid before")])
def test_a_client_certificate_that_is_not_valid_now_is_rejected(
    begins: int, ends: int, rule: str, tmp_path: Path
) -> None:
    certificate, key = self_signed("shop", begins, ends)
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


def test_the_end_of_a_client_certificate(files: Path, tmp_path: Path) -> None:
    certificate, key = self_signed("shop", -1, 3)
    old, _ = self_signed("an authority", -9, -2)
    # The first certificate is the client's. A host may not need the others.
    (tmp_path / "chain.pem").write_bytes(key + certificate + old)
    ends = Tls(client_certificate=tmp_path / "chain.pem").client_certificate_expires_at
    assert ends is not None
    assert ends - datetime.now(UTC) < timedelta(days=3)
    assert Tls().client_certificate_expires_at is None
    # A format that only OpenSSL reads.
    body = (files / "certificate.pem").read_text().replace(" CERTIFICATE-", " TRUSTED CERTIFICATE-")
    (tmp_path / "trusted.pem").write_text(body)
    tls = Tls(client_certificate=tmp_path / "trusted.pem", client_key=files / "key.pem")
    assert tls.client_certificate_expires_at is None


def test_a_ca_file_needs_a_valid_certificate(files: Path, tmp_path: Path) -> None:
    old, _ = self_signed("an authority", -9, -2)
    (tmp_path / "old.pem").write_bytes(old)
    with pytest.raises(ConfigurationError, match=r"^ca_file .*old\.pem': the certificate 'an authority' expired on"):
        Tls(ca_file=tmp_path / "old.pem")
    (tmp_path / "both.pem").write_bytes(old + (files / "ca.pem").read_bytes())
    assert Tls(ca_file=tmp_path / "both.pem").ca_file


def test_the_content_of_a_file_instead_of_its_path_is_rejected(files: Path) -> None:
    key = (files / "key.pem").read_text()
    with pytest.raises(ConfigurationError, match="client_key must be the path of a file, not its content") as caught:
        Tls(client_certificate=files / "certificate.pem", client_key=key)
    assert "BEGIN" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="ca_file: the path contains a null character"):
        Tls(ca_file="\0")


def ssl_context(**changes: Any) -> ssl.SSLContext:
    context = ssl.create_default_context()
    with warnings.catch_warnings():
        # Versions below TLS 1.2 are deprecated in Python.
        warnings.simplefilter("ignore", DeprecationWarning)
        for name, value in changes.items():
            setattr(context, name, value)
    return context


def test_a_custom_ssl_context() -> None:
    context = ssl_context()
    tls = Tls(ssl_context=context)
    assert tls.ssl_context is context
    assert tls.for_proxy() is context
    highest = ssl_context(minimum_version=ssl.TLSVersion.MAXIMUM_SUPPORTED)
    assert Tls(ssl_context=highest).ssl_context is highest
    blind = ssl_context(check_hostname=False)
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
def test_insecure_ssl_contexts_are_rejected(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule):
        Tls(ssl_context=ssl_context(**changes))


def test_an_ssl_context_excludes_other_arguments(files: Path) -> None:
    for arguments in ({"ca_file": files / "ca.pem"}, {"client_certificate": files / "both.pem"}):
        with pytest.raises(ConfigurationError, match="ssl_context cannot be combined with ca_file"):
            Tls(ssl_context=ssl_context(), **arguments)
    with pytest.raises(ConfigurationError, match="insecure_skip_verification is True; set only one"):
        Tls(ssl_context=ssl_context(), insecure_skip_verification=True)
    with pytest.raises(ConfigurationError, match=r"must be an ssl\.SSLContext, not str"):
        Tls(ssl_context=CANARY)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="a context for servers"):
        Tls(ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def test_tls_is_immutable_and_not_pickled(files: Path) -> None:
    tls = Tls(client_certificate=files / "locked-both.pem", client_key_password=CANARY)
    with pytest.raises(AttributeError, match="cannot be changed"):
        tls.ca_file = None
    with pytest.raises(TypeError, match="__dict__"):
        vars(tls)
    for use in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled or copied: it holds the key of the client certificate"):
            use(tls)
    assert not any(CANARY in str(getattr(tls, name)) for name in Tls.__slots__)


# Sharing one context between clients: reading the trusted CAs is slow and large.


def test_equal_settings_share_one_context(files: Path, tmp_path: Path) -> None:
    assert Tls().ssl_context is Tls().ssl_context
    copied = tmp_path / "the same CAs.pem"
    copied.write_bytes((files / "ca.pem").read_bytes())
    first = Tls(ca_file=files / "ca.pem")
    assert first.ssl_context is Tls(ca_file=copied).ssl_context
    insecure = Tls(insecure_skip_verification=True)
    assert insecure.ssl_context is Tls(insecure_skip_verification=True).ssl_context
    contexts = (Tls().ssl_context, first.ssl_context, insecure.ssl_context)
    assert len({id(each) for each in contexts}) == 3


def test_contexts_with_a_client_certificate_are_not_shared(files: Path) -> None:
    arguments = {"ca_file": files / "ca.pem", "client_certificate": files / "both.pem"}
    without, one, two = Tls(ca_file=files / "ca.pem"), Tls(**arguments), Tls(**arguments)
    assert len({id(each.ssl_context) for each in (without, one, two)}) == 3
    # A proxy never gets the client certificate.
    assert one.for_proxy() is without.ssl_context


def test_a_changed_ca_file_is_read_again(files: Path, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes((files / "ca.pem").read_bytes())
    before = Tls(ca_file=path)
    path.write_bytes(trustme.CA().cert_pem.bytes())
    after = Tls(ca_file=path)
    assert before.ssl_context.get_ca_certs() != after.ssl_context.get_ca_certs()


def test_the_environment_and_the_file_that_it_names_select_the_system_s_cas(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Tls()
    path = tmp_path / "system.pem"
    path.write_bytes((files / "ca.pem").read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    selected = Tls()
    assert len(selected.ssl_context.get_ca_certs()) == 1
    path.write_bytes((files / "ca.pem").read_bytes() + trustme.CA().cert_pem.bytes())
    assert len(Tls().ssl_context.get_ca_certs()) == 2
    monkeypatch.undo()
    assert Tls().ssl_context is usual.ssl_context


def test_a_context_that_the_program_changed_is_not_shared_any_more() -> None:
    changed = Tls()
    changed.ssl_context.check_hostname = False
    assert Tls().ssl_context is not changed.ssl_context
    assert Tls().ssl_context.check_hostname


def test_an_unused_context_is_freed(files: Path) -> None:
    reference = weakref.ref(Tls(ca_file=files / "ca.pem").ssl_context)
    gc.collect()
    assert reference() is None


def test_threads_that_start_together_share_one_context(files: Path) -> None:
    barrier = threading.Barrier(16)

    def create() -> ssl.SSLContext:
        barrier.wait(10)
        return Tls(ca_file=files / "ca.pem").ssl_context

    with ThreadPoolExecutor(16) as pool:
        contexts = [each.result() for each in [pool.submit(create) for _ in range(16)]]
    assert len({id(each) for each in contexts}) == 1
