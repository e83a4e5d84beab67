"""The signers compared with the official SDK: the same inputs give the same headers and claims."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from cybersource_flex.auth import HttpSignature, JwtP12, JwtSharedSecret, MessageLevelEncryption
from cybersource_flex.auth.http_signature import string_to_sign
from cybersource_flex.transport import Request
from support.encoding import base64url, base64url_decode
from support.keys import private_key
from support.paths import VECTORS
from support.tokens import decode_part
from support.transports import make_request


def cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in json.loads((VECTORS / name).read_text("utf-8"))["vectors"]]


def build_request(inputs: dict[str, Any]) -> Request:
    return make_request(
        None if inputs["body"] is None else inputs["body"].encode("utf-8"),
        method=inputs["method"],
        host=inputs["config"]["run_environment"],
        target=inputs["request_target_path"],
    )


def credentials(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "merchant_id": config["merchantid"],
        "key_id": config["merchant_keyid"],
        "secret_key": config["merchant_secretkey"],
        "portfolio_id": config.get("portfolio_id") if config.get("use_metakey") else None,
    }


@pytest.mark.filterwarnings("ignore:CyberSource retires HTTP Signature")
@pytest.mark.parametrize("case", cases("http_signature.json"))
def test_http_signature(case: dict[str, Any], vector_time: int) -> None:
    signer = HttpSignature(**credentials(case["inputs"]["config"]))
    headers = signer.sign(build_request(case["inputs"]), vector_time)
    expected = dict(case["outputs"]["headers"])
    assert expected.pop("Host") == build_request(case["inputs"]).host
    assert headers == expected
    _, signed_string = string_to_sign(
        build_request(case["inputs"]), headers["Date"], headers.get("Digest"), signer.portfolio_id or signer.merchant_id
    )
    assert signed_string == case["outputs"]["string_to_sign"]


@pytest.mark.parametrize("case", cases("jwt_shared_secret.json"))
def test_jwt_shared_secret(case: dict[str, Any], frozen_time: int) -> None:
    config = case["inputs"]["config"]
    request = build_request(case["inputs"])
    if case["inputs"]["response_mle_for_this_call"]:
        request = response_mle(config).encrypt_request(request, frozen_time)
    headers = JwtSharedSecret(**credentials(config)).sign(request, frozen_time)
    header, claims, signature = headers["Authorization"].removeprefix("Bearer ").split(".")
    assert decode_part(header) == case["outputs"]["header"]
    assert decode_part(claims) == case["outputs"]["payload"]
    mac = hmac.new(base64.b64decode(config["merchant_secretkey"]), f"{header}.{claims}".encode(), hashlib.sha256)
    assert base64url(mac.digest()) == signature
    # The official SDK sorts the members. Sorted, ours give the same JSON.
    ours = [json.dumps(decode_part(part), sort_keys=True, separators=(",", ":")) for part in (header, claims)]
    theirs = case["outputs"]["token"].split(".")[:2]
    assert ours == [json.dumps(decode_part(part), sort_keys=True, separators=(",", ":")) for part in theirs]


@pytest.mark.parametrize("case", cases("jwt_p12.json"))
def test_jwt_p12(case: dict[str, Any], frozen_time: int) -> None:
    config = case["inputs"]["config"]
    request = build_request(case["inputs"])
    if case["inputs"]["response_mle_for_this_call"]:
        request = response_mle(config).encrypt_request(request, frozen_time)
    headers = p12_signer(config).sign(request, frozen_time)
    header, claims, signature = headers["Authorization"].removeprefix("Bearer ").split(".")
    assert decode_part(header) == case["outputs"]["header"]
    assert decode_part(claims) == case["outputs"]["payload"]
    public_key = private_key(key_owner(config)).public_key()
    public_key.verify(base64url_decode(signature), f"{header}.{claims}".encode(), PKCS1v15(), SHA256())
    # RS256 is deterministic: for the official SDK's signing input it gives the official SDK's signature.
    signing_input, _, their_signature = case["outputs"]["token"].rpartition(".")
    assert p12_signer(config)._signature(signing_input.encode()) == base64url_decode(their_signature)


def key_owner(config: dict[str, Any]) -> str:
    return "portfolio" if config.get("use_metakey") else "merchant"


def p12_signer(config: dict[str, Any]) -> JwtP12:
    return JwtP12(
        config["merchantid"],
        VECTORS / config["keys_directory"] / f"{config['key_file_name']}.p12",
        config["key_password"],
        portfolio_id=config.get("portfolio_id") if config.get("use_metakey") else None,
    )


def response_mle(config: dict[str, Any]) -> MessageLevelEncryption:
    return MessageLevelEncryption(
        response_key=VECTORS / config["responseMlePrivateKeyFilePath"],
        response_key_password=config.get("responseMlePrivateKeyFilePassword"),
        response_kid=config.get("responseMleKID"),
        merchant_id=config["merchantid"],
    )


def test_the_number_of_vectors(vectors: Callable[[str], Any]) -> None:
    assert len(vectors("http_signature.json")["vectors"]) == 12
    assert len(vectors("jwt_shared_secret.json")["vectors"]) == 10
    assert len(vectors("jwt_p12.json")["vectors"]) == 8
