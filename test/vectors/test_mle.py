"""Message-level encryption against what the official SDK made and opened."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cybersource_flex.auth import MessageLevelEncryption
from cybersource_flex.transport import Operation, Request, Response

HERE = Path(__file__).parent


def cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in json.loads((HERE / name).read_text("utf-8"))["vectors"]]


def request(body: bytes | None = b"{}", name: str = "call") -> Request:
    operation = Operation(name=name, method="POST", path="/pts/v2/payments", signed=True, responses={}, models="")
    return Request(
        operation,
        method="POST",
        url="https://apitest.cybersource.com/pts/v2/payments",
        host="apitest.cybersource.com",
        target="/pts/v2/payments",
        headers={},
        body=body,
    )


def key(name: str) -> RSAPrivateKey:
    found = load_pem_private_key((HERE / "keys" / name).read_bytes(), None)
    assert isinstance(found, RSAPrivateKey)
    return found


def opened(body: bytes, private: RSAPrivateKey) -> tuple[dict[str, Any], bytes]:
    """Header and plaintext of an encrypted request, opened without the code under test."""
    envelope = json.loads(body)
    assert list(envelope) == ["encryptedRequest"]
    parts = envelope["encryptedRequest"].split(".")
    header, wrapped, iv, ciphertext, tag = (base64.urlsafe_b64decode(part + "==") for part in parts)
    content_key = private.decrypt(wrapped, OAEP(mgf=MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None))
    return json.loads(header), AESGCM(content_key).decrypt(iv, ciphertext + tag, parts[0].encode())


def configured(config: dict[str, Any]) -> MessageLevelEncryption:
    if "mleForRequestPublicCertPath" in config:
        return MessageLevelEncryption(
            request_certificate=HERE / config["mleForRequestPublicCertPath"], encrypt_requests=["call"]
        )
    return MessageLevelEncryption(
        request_certificate=HERE / config["keys_directory"] / f"{config['key_file_name']}.p12",
        request_certificate_password=config["key_password"],
        encrypt_requests=["call"],
    )


@pytest.mark.parametrize("case", cases("mle_request.json"))
def test_requests_are_encrypted_as_the_official_sdk_does(case: dict[str, Any], frozen: int) -> None:
    plaintext = case["inputs"]["plaintext_body"].encode("utf-8")
    private = key("sjc.key.pem")
    theirs = opened(case["outputs"]["body_on_the_wire"].encode("utf-8"), private)
    sent = configured(case["inputs"]["config"]).outgoing(request(plaintext), frozen)
    assert sent.body is not None
    ours = opened(sent.body, private)
    assert ours == theirs
    assert ours[1] == plaintext


@pytest.mark.parametrize("case", cases("mle_response.json"))
def test_answers_are_opened(case: dict[str, Any]) -> None:
    config = case["inputs"]["config"]
    mle = MessageLevelEncryption(
        response_key=HERE / config["responseMlePrivateKeyFilePath"],
        response_key_password=config.get("responseMlePrivateKeyFilePassword"),
        response_kid=config.get("responseMleKID"),
        merchant_id=config["merchantid"],
    )
    assert mle.response_kid == "1795262400777777777777"
    came = Response(200, "OK", {}, case["inputs"]["body_on_the_wire"].encode("utf-8"))
    assert mle.incoming(request(), came).body.decode("utf-8") == case["outputs"]["official_sdk_decrypts_to"]


def test_what_counts_as_encrypted(vectors: Callable[[str], Any]) -> None:
    from cybersource_flex.auth.mle import _encrypted

    found = vectors("mle_response.json")["detection"]
    assert found
    for case in found:
        assert (_encrypted(case["body"].encode("utf-8")) is not None) == case["is_mle"], case["body"]
