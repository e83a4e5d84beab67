"""Complete requests compared with those of the official SDK: the same configuration, frozen time and token ids."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from cybersource_flex import ApiException, ConfigurationError, FlexClient
from cybersource_flex.api import flex_api_api, microform_integration_api
from cybersource_flex.transport import Operation
from support.paths import VECTORS
from support.servers import HttpServer
from support.tokens import decode_part

CAPTURES = json.loads((VECTORS / "wire_captures.json").read_text("utf-8"))["captures"]
OPERATIONS = {
    ("POST", "/flex/v2/sessions"): flex_api_api.GENERATE_FLEX_API_CAPTURE_CONTEXT,
    ("POST", "/microform/v2/sessions"): microform_integration_api.GENERATE_CAPTURE_CONTEXT,
    ("GET", "/flex/v2/payment-details"): flex_api_api.GET_PAYMENT_DETAILS,
    ("GET", "/flex/v2/payment-credentials"): flex_api_api.GET_PAYMENT_CREDENTIALS,
}
# Mutual TLS is not an authentication scheme of the Flex API, so that configuration is rejected. The first version of
# payment-details is not an operation of this package.
REJECTED = {"flex_sessions_mutual_auth", "flex_v2_payment_details_mutual_auth"}
OTHERS = {"up_v1_payment_details_jwt_shared_secret"}
# Headers that identify the official SDK or its HTTP library. None of them is signed.
SDK_HEADERS = {
    "v-c-client-id",
    "v-c-sdk-telemetry-merchant-id",
    "v-c-sdk-telemetry-mcp",
    "user-agent",
    "accept-encoding",
}


def serve(capture: dict[str, Any]) -> HttpServer:
    """A server that sends the response of the capture."""
    reply = capture["reply_given"]
    return HttpServer(reply["status"], body=reply["body"].encode("utf-8"), content_type=reply["type"])


def merchant_config(config: dict[str, Any], url: str) -> dict[str, Any]:
    """The configuration of the capture with the paths of this machine and the URL of the server."""
    out = {**config, "IntermediateHost": url}
    # Additional headers are not supported. None of them is signed.
    out.pop("default_headers", None)
    for name in ("keys_directory", "mleForRequestPublicCertPath", "responseMlePrivateKeyFilePath"):
        if name in out:
            out[name] = str(VECTORS / out[name])
    return out


def client_for(config: dict[str, Any], url: str) -> FlexClient:
    with warnings.catch_warnings():
        # Other tests cover the warnings about unused keys.
        warnings.simplefilter("ignore")
        return FlexClient.from_merchant_config(merchant_config(config, url))


def operation_for(request: dict[str, Any]) -> tuple[Operation, dict[str, str]]:
    folder, _, last = request["path"].rpartition("/")
    if request["method"] == "POST":
        return OPERATIONS["POST", request["path"]], {}
    operation = OPERATIONS["GET", folder]
    name = operation.path.rpartition("{")[2].rstrip("}")
    return operation, {name: last}


def jwt_parts(authorization: str) -> list[Any]:
    """Header and claims of a token."""
    return [decode_part(part) for part in authorization.removeprefix("Bearer ").split(".")[:2]]


@pytest.mark.parametrize(
    "capture",
    [pytest.param(each, id=each["name"]) for each in CAPTURES if each["name"] not in REJECTED | OTHERS],
)
def test_the_same_request_is_sent(capture: dict[str, Any], frozen_time: int) -> None:
    theirs = capture["request"]
    encrypted = "encryptedRequest" in (theirs["body"] or "")
    plaintext = CAPTURES[0]["request"]["body"] if encrypted else theirs["body"]
    operation, path = operation_for(theirs)
    with serve(capture) as server, client_for(capture["config"], server.url) as client:
        body = plaintext.encode("utf-8") if plaintext else None
        status = capture["reply_given"]["status"]
        if status < 300:
            assert client.api_client.call(operation, path=path, body=body).status_code == status
        else:
            with pytest.raises(ApiException) as caught:
                client.api_client.call(operation, path=path, body=body)
            assert caught.value.status == status
    (ours,) = server.received
    headers, their_headers = ours.headers, {name.lower(): value for name, value in theirs["headers"]}
    assert ours.line == f"{theirs['method']} {theirs['path']} HTTP/1.1"
    assert headers["host"] in (their_headers["host"], "apitest.cybersource.com")
    if not encrypted:
        assert ours.body == (theirs["body"] or "").encode("utf-8")
    for name in ("date", "digest", "signature", "v-c-merchant-id", "accept"):
        assert headers.get(name) == their_headers.get(name), name
    if theirs["method"] == "POST":
        assert headers["content-type"] == their_headers["content-type"]
    assert ("authorization" in headers) == ("authorization" in their_headers)
    if their_headers.get("authorization", "").count(".") == 2:
        our_jwt, their_jwt = jwt_parts(headers["authorization"]), jwt_parts(their_headers["authorization"])
        if encrypted:
            # Two encryptions of the same plaintext differ, and so do their digests.
            assert our_jwt[1].pop("digest") != their_jwt[1].pop("digest")
        assert our_jwt == their_jwt
    elif "authorization" in their_headers:
        assert headers["authorization"] == their_headers["authorization"]
    additional = set(headers) - set(their_headers) - SDK_HEADERS
    assert additional <= {"accept-encoding"}, "no header that the official SDK does not send"


@pytest.mark.parametrize(
    "capture", [pytest.param(each, id=each["name"]) for each in CAPTURES if each["name"] in REJECTED]
)
def test_mutual_tls_alone_is_rejected(capture: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="MUTUAL_AUTH"):
        client_for(capture["config"], "http://127.0.0.1:9")


def test_encrypted_responses_are_decrypted(frozen_time: int, vectors: Callable[[str], Any]) -> None:
    capture = next(each for each in CAPTURES if each["name"] == "flex_v2_payment_details_response_mle")
    operation, path = operation_for(capture["request"])
    with serve(capture) as server, client_for(capture["config"], server.url) as client:
        response = client.api_client.call(operation, path=path)
    assert isinstance(response.data, dict)
    assert "encryptedResponse" not in response.data
    assert vectors("mle_response.json")["vectors"]


def test_the_number_of_captures() -> None:
    assert len(CAPTURES) == 19
