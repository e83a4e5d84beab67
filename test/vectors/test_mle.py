"""Message-level encryption compared with requests and responses of the official SDK."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cybersource_flex.auth import MessageLevelEncryption
from cybersource_flex.transport import Response
from support.keys import RESPONSE_MLE_KEY_ID, private_key
from support.paths import VECTORS
from support.tokens import decrypt_jwe
from support.transports import make_request


def cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in json.loads((VECTORS / name).read_text("utf-8"))["vectors"]]


def decrypt(body: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and plaintext of an encrypted request."""
    envelope = json.loads(body)
    assert list(envelope) == ["encryptedRequest"]
    return decrypt_jwe(envelope["encryptedRequest"], private_key("sjc"))


def request_encryption(config: dict[str, Any]) -> MessageLevelEncryption:
    if "mleForRequestPublicCertPath" in config:
        return MessageLevelEncryption(
            request_certificate=VECTORS / config["mleForRequestPublicCertPath"], encrypt_requests=["call"]
        )
    return MessageLevelEncryption(
        request_certificate=VECTORS / config["keys_directory"] / f"{config['key_file_name']}.p12",
        request_certificate_password=config["key_password"],
        encrypt_requests=["call"],
    )


@pytest.mark.parametrize("case", cases("mle_request.json"))
def test_requests_are_encrypted_as_the_official_sdk_does(case: dict[str, Any], frozen_time: int) -> None:
    plaintext = case["inputs"]["plaintext_body"].encode("utf-8")
    theirs = decrypt(case["outputs"]["body_on_the_wire"].encode("utf-8"))
    encrypted = request_encryption(case["inputs"]["config"]).encrypt_request(make_request(plaintext), frozen_time)
    assert encrypted.body is not None
    ours = decrypt(encrypted.body)
    assert ours == theirs
    assert ours[1] == plaintext


@pytest.mark.parametrize("case", cases("mle_response.json"))
def test_responses_are_decrypted(case: dict[str, Any]) -> None:
    config = case["inputs"]["config"]
    mle = MessageLevelEncryption(
        response_key=VECTORS / config["responseMlePrivateKeyFilePath"],
        response_key_password=config.get("responseMlePrivateKeyFilePassword"),
        response_kid=config.get("responseMleKID"),
        merchant_id=config["merchantid"],
    )
    assert mle.response_kid == RESPONSE_MLE_KEY_ID
    response = Response(200, "OK", {}, case["inputs"]["body_on_the_wire"].encode("utf-8"))
    assert (
        mle.decrypt_response(make_request(), response).body.decode("utf-8")
        == case["outputs"]["official_sdk_decrypts_to"]
    )


def test_detection_of_encrypted_responses(vectors: Callable[[str], Any]) -> None:
    from cybersource_flex.auth.mle import _extract_jwe

    detection = vectors("mle_response.json")["detection"]
    assert detection
    for case in detection:
        assert (_extract_jwe(case["body"].encode("utf-8")) is not None) == case["is_mle"], case["body"]
