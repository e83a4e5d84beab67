"""The signers against what the official SDK made of the same inputs, member by member."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cybersource_flex.auth import HttpSignature, JwtP12, JwtSharedSecret, MessageLevelEncryption
from cybersource_flex.auth.http_signature import string_to_sign
from cybersource_flex.transport import Operation, Request

HERE = Path(__file__).parent


def cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in json.loads((HERE / name).read_text("utf-8"))["vectors"]]


def request(inputs: dict[str, Any]) -> Request:
    method, target, body = inputs["method"], inputs["request_target_path"], inputs["body"]
    host = inputs["config"]["run_environment"]
    operation = Operation(name="call", method=method, path=target, signed=True, responses={}, models="")
    return Request(
        operation,
        method=method,
        url=f"https://{host}{target}",
        host=host,
        target=target,
        headers={},
        body=None if body is None else body.encode("utf-8"),
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
    made = signer.sign(request(case["inputs"]), vector_time)
    expected = dict(case["outputs"]["headers"])
    assert expected.pop("Host") == request(case["inputs"]).host
    assert made == expected
    _, text = string_to_sign(
        request(case["inputs"]), made["Date"], made.get("Digest"), signer.portfolio_id or signer.merchant_id
    )
    assert text == case["outputs"]["string_to_sign"]


@pytest.mark.parametrize("case", cases("jwt_shared_secret.json"))
def test_jwt_shared_secret(case: dict[str, Any], frozen: int) -> None:
    config = case["inputs"]["config"]
    sent = request(case["inputs"])
    if case["inputs"]["response_mle_for_this_call"]:
        sent = response_mle(config).outgoing(sent, frozen)
    made = JwtSharedSecret(**credentials(config)).sign(sent, frozen)
    header, claims, signature = made["Authorization"].removeprefix("Bearer ").split(".")
    assert decode(header) == case["outputs"]["header"]
    assert decode(claims) == case["outputs"]["payload"]
    mac = hmac.new(base64.b64decode(config["merchant_secretkey"]), f"{header}.{claims}".encode(), hashlib.sha256)
    assert base64.urlsafe_b64encode(mac.digest()).rstrip(b"=").decode() == signature
    # The official SDK sorts the members; sorted ours are the same text.
    ours = [json.dumps(decode(part), sort_keys=True, separators=(",", ":")) for part in (header, claims)]
    theirs = case["outputs"]["token"].split(".")[:2]
    assert ours == [json.dumps(decode(part), sort_keys=True, separators=(",", ":")) for part in theirs]


@pytest.mark.parametrize("case", cases("jwt_p12.json"))
def test_jwt_p12(case: dict[str, Any], frozen: int) -> None:
    config = case["inputs"]["config"]
    sent = request(case["inputs"])
    if case["inputs"]["response_mle_for_this_call"]:
        sent = response_mle(config).outgoing(sent, frozen)
    made = p12_signer(config).sign(sent, frozen)
    header, claims, signature = made["Authorization"].removeprefix("Bearer ").split(".")
    assert decode(header) == case["outputs"]["header"]
    assert decode(claims) == case["outputs"]["payload"]
    key = load_pem_private_key((HERE / "keys" / f"{owner(config)}.key.pem").read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    raw = base64.urlsafe_b64decode(signature + "==")
    key.public_key().verify(raw, f"{header}.{claims}".encode(), PKCS1v15(), SHA256())
    # RS256 is deterministic: over the official SDK's own signing input it gives the official SDK's signature.
    theirs = case["outputs"]["token"]
    assert p12_signer(config)._signature(theirs.rpartition(".")[0].encode()) == base64.urlsafe_b64decode(
        theirs.rpartition(".")[2] + "=="
    )


def owner(config: dict[str, Any]) -> str:
    return "portfolio" if config.get("use_metakey") else "merchant"


def p12_signer(config: dict[str, Any]) -> JwtP12:
    return JwtP12(
        config["merchantid"],
        HERE / config["keys_directory"] / f"{config['key_file_name']}.p12",
        config["key_password"],
        portfolio_id=config.get("portfolio_id") if config.get("use_metakey") else None,
    )


def response_mle(config: dict[str, Any]) -> MessageLevelEncryption:
    return MessageLevelEncryption(
        response_key=HERE / config["responseMlePrivateKeyFilePath"],
        response_key_password=config.get("responseMlePrivateKeyFilePassword"),
        response_kid=config.get("responseMleKID"),
        merchant_id=config["merchantid"],
    )


def decode(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_there_are_as_many_as_were_made(vectors: Callable[[str], Any]) -> None:
    assert len(vectors("http_signature.json")["vectors"]) == 12
    assert len(vectors("jwt_shared_secret.json")["vectors"]) == 10
    assert len(vectors("jwt_p12.json")["vectors"]) == 8
