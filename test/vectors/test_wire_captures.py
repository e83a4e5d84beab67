"""Our requests on the wire against the official SDK's: the same dictionary, clock and token id standing still."""

from __future__ import annotations

import base64
import json
import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from cybersource_flex import ApiException, ConfigurationError, FlexClient
from cybersource_flex.api import flex_api_api, microform_integration_api
from cybersource_flex.transport import Operation

HERE = Path(__file__).parent
CAPTURES = json.loads((HERE / "wire_captures.json").read_text("utf-8"))["captures"]
OPERATIONS = {
    ("POST", "/flex/v2/sessions"): flex_api_api.GENERATE_FLEX_API_CAPTURE_CONTEXT,
    ("POST", "/microform/v2/sessions"): microform_integration_api.GENERATE_CAPTURE_CONTEXT,
    ("GET", "/flex/v2/payment-details"): flex_api_api.GET_PAYMENT_DETAILS,
    ("GET", "/flex/v2/payment-credentials"): flex_api_api.GET_PAYMENT_CREDENTIALS,
}
# Mutual TLS alone authenticates nothing in the Flex API: the dictionary is refused. The first version of
# payment-details is no operation of ours.
REFUSED = {"flex_sessions_mutual_auth", "flex_v2_payment_details_mutual_auth"}
OTHERS = {"up_v1_payment_details_jwt_shared_secret"}
# Headers that identify the official SDK or its HTTP library; none is signed.
THEIR_OWN = {"v-c-client-id", "v-c-sdk-telemetry-merchant-id", "v-c-sdk-telemetry-mcp", "user-agent", "accept-encoding"}


class Recorder:
    """A host on loopback that keeps one request and answers as the capture says."""

    def __init__(self) -> None:
        self.reply: dict[str, Any] = {}
        self.request: dict[str, Any] = {}
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                recorder.request = {
                    "method": self.command,
                    "path": self.path,
                    "headers": {name.lower(): value for name, value in self.headers.items()},
                    "body": body,
                }
                content = recorder.reply["body"].encode("utf-8")
                self.send_response(recorder.reply["status"])
                self.send_header("Content-Type", recorder.reply["type"])
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    yield made
    made.close()


def dictionary(config: dict[str, Any], url: str) -> dict[str, Any]:
    """The capture's dictionary with this machine's paths and the recorder in it."""
    out = {**config, "IntermediateHost": url}
    # Headers of the caller's choosing are refused: see the table of keys. None of them is signed.
    out.pop("default_headers", None)
    for name in ("keys_directory", "mleForRequestPublicCertPath", "responseMlePrivateKeyFilePath"):
        if name in out:
            out[name] = str(HERE / out[name])
    return out


def client_for(config: dict[str, Any], url: str) -> FlexClient:
    with warnings.catch_warnings():
        # Keys of the dictionary that have no meaning here are said so; which ones is another test's matter.
        warnings.simplefilter("ignore")
        return FlexClient.from_merchant_config(dictionary(config, url))


def operation_for(request: dict[str, Any]) -> tuple[Operation, dict[str, str]]:
    folder, _, last = request["path"].rpartition("/")
    if request["method"] == "POST":
        return OPERATIONS["POST", request["path"]], {}
    operation = OPERATIONS["GET", folder]
    name = operation.path.rpartition("{")[2].rstrip("}")
    return operation, {name: last}


def decoded(authorization: str) -> list[Any]:
    parts = authorization.removeprefix("Bearer ").split(".")[:2]
    return [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts]


@pytest.mark.parametrize(
    "capture",
    [pytest.param(each, id=each["name"]) for each in CAPTURES if each["name"] not in REFUSED | OTHERS],
)
def test_the_same_is_sent(capture: dict[str, Any], recorder: Recorder, frozen: int) -> None:
    recorder.reply = capture["reply_given"]
    theirs = capture["request"]
    encrypted = "encryptedRequest" in (theirs["body"] or "")
    plaintext = CAPTURES[0]["request"]["body"] if encrypted else theirs["body"]
    operation, path = operation_for(theirs)
    with client_for(capture["config"], recorder.url) as client:
        body = plaintext.encode("utf-8") if plaintext else None
        status = capture["reply_given"]["status"]
        if status < 300:
            assert client.api_client.call(operation, path=path, body=body).status_code == status
        else:
            with pytest.raises(ApiException) as caught:
                client.api_client.call(operation, path=path, body=body)
            assert caught.value.status == status
    ours = recorder.request
    their_headers = {name.lower(): value for name, value in theirs["headers"]}
    assert (ours["method"], ours["path"]) == (theirs["method"], theirs["path"])
    assert ours["headers"]["host"] in (their_headers["host"], "apitest.cybersource.com")
    if not encrypted:
        assert ours["body"] == (theirs["body"] or "").encode("utf-8")
    for name in ("date", "digest", "signature", "v-c-merchant-id", "accept"):
        assert ours["headers"].get(name) == their_headers.get(name), name
    if theirs["method"] == "POST":
        assert ours["headers"]["content-type"] == their_headers["content-type"]
    assert ("authorization" in ours["headers"]) == ("authorization" in their_headers)
    if their_headers.get("authorization", "").count(".") == 2:
        mine, other = decoded(ours["headers"]["authorization"]), decoded(their_headers["authorization"])
        if encrypted:
            # Two encryptions of the same differ, and their digests with them.
            assert mine[1].pop("digest") != other[1].pop("digest")
        assert mine == other
    elif "authorization" in their_headers:
        assert ours["headers"]["authorization"] == their_headers["authorization"]
    sent_more = set(ours["headers"]) - set(their_headers) - THEIR_OWN
    assert sent_more <= {"accept-encoding"}, "no header that they do not send"


@pytest.mark.parametrize(
    "capture", [pytest.param(each, id=each["name"]) for each in CAPTURES if each["name"] in REFUSED]
)
def test_mutual_tls_alone_is_refused(capture: dict[str, Any], recorder: Recorder) -> None:
    with pytest.raises(ConfigurationError, match="MUTUAL_AUTH"):
        client_for(capture["config"], recorder.url)


def test_encrypted_answers_are_opened(recorder: Recorder, frozen: int, vectors: Callable[[str], Any]) -> None:
    opened = {case["name"]: case["outputs"] for case in vectors("mle_response.json")["vectors"]}
    capture = next(each for each in CAPTURES if each["name"] == "flex_v2_payment_details_response_mle")
    recorder.reply = capture["reply_given"]
    operation, path = operation_for(capture["request"])
    with client_for(capture["config"], recorder.url) as client:
        answer = client.api_client.call(operation, path=path)
    assert isinstance(answer.data, dict)
    assert "encryptedResponse" not in answer.data
    assert opened


def test_no_capture_is_left_out() -> None:
    assert len(CAPTURES) == 19
