"""Microform's files as a browser requests them: media types, policies, integrity, versions, records."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import pytest

from cybersource_flex.emulator import Emulator
from support.emulator_client import MICROFORM, NOW, Response, create_context, microform_request, one_time_key, send
from support.tokens import decode_jwt

BUNDLE = "/microform/bundle/v2.5.1/"
SCRIPT = BUNDLE + "flex-microform.min.js"
FRAME = BUNDLE + "iframe.html"
ORIGIN = {"origin": "http://localhost:3000"}


@pytest.fixture
def jwt(emulator: Emulator) -> str:
    """A capture context for pages of two origins."""
    origins = ["http://localhost:3000", "https://shop.example"]
    return create_context(emulator, microform_request(targetOrigins=origins), MICROFORM)


def frame_page(emulator: Emulator, jwt: str) -> Response:
    return send(emulator, "GET", f"{FRAME}?keyId={one_time_key(jwt)['kid']}", {})


def test_the_context_names_the_script_and_its_hash(emulator: Emulator, jwt: str) -> None:
    data = decode_jwt(jwt)[1]["ctx"][0]["data"]
    assert data["clientLibrary"] == emulator.url + SCRIPT
    response = send(emulator, "GET", SCRIPT, ORIGIN)
    digest = base64.b64encode(hashlib.sha256(response.body).digest()).decode("ascii")
    assert data["clientLibraryIntegrity"] == f"sha256-{digest}"


def test_the_script_may_be_loaded_by_pages_of_any_origin(emulator: Emulator) -> None:
    response = send(emulator, "GET", SCRIPT, ORIGIN)
    assert response.status == 200
    assert response.header("content-type") == "text/javascript; charset=utf-8"
    assert response.header("access-control-allow-origin") == "*"
    assert response.header("x-content-type-options") == "nosniff"
    assert response.header("cross-origin-resource-policy") == "cross-origin"
    assert response.header("cache-control") == "no-cache"
    assert response.header("content-encoding") is None


def test_only_the_target_origins_may_show_the_frame(emulator: Emulator, jwt: str) -> None:
    response = frame_page(emulator, jwt)
    assert response.status == 200
    assert response.header("content-type") == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in (response.header("content-security-policy") or "").split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "http://localhost:3000 https://shop.example",
    }
    # Frames of other origins may not read it.
    assert response.header("access-control-allow-origin") is None
    assert response.header("referrer-policy") == "no-referrer"


def test_the_frame_has_the_keys_that_verify_contexts(emulator: Emulator, jwt: str) -> None:
    first = decode_jwt(jwt)[0]["kid"]
    second = emulator.rotate_key()
    match = re.search(r'id="settings">(.*?)</script>', frame_page(emulator, jwt).content)
    assert match is not None
    settings: dict[str, Any] = json.loads(match[1])
    assert {key["kid"] for key in settings["keys"]} >= {first, second}
    assert all(set(key) == {"kty", "use", "kid", "n", "e"} for key in settings["keys"])
    assert len(settings["brands"]) == 19


def test_the_scripts_of_the_frame(emulator: Emulator, jwt: str) -> None:
    page = frame_page(emulator, jwt).content
    pending = re.findall(r'(?:src|href)="([^"]+)"', page)
    loaded: dict[str, str] = {}
    while pending:
        name = pending.pop().removeprefix("./")
        if name not in loaded:
            response = send(emulator, "GET", BUNDLE + name, {})
            assert response.status == 200, name
            loaded[name] = response.header("content-type") or ""
            pending += re.findall(r'from "([^"]+)"', response.content)
    assert loaded == {
        "field.css": "text/css; charset=utf-8",
        **dict.fromkeys(
            ("field.js", "formats.js", "jose.js", "styles.js", "tokenization.js"), "text/javascript; charset=utf-8"
        ),
    }


@pytest.mark.parametrize("query", ["", "?keyId=", "?keyId=unknown", "?other=1"])
def test_frames_of_unknown_contexts_are_refused(emulator: Emulator, query: str) -> None:
    response = send(emulator, "GET", FRAME + query, {})
    assert (response.status, response.json["responseStatus"]["reason"]) == (404, "NOT_FOUND")
    assert response.header("content-security-policy") == "default-src 'none'; frame-ancestors 'none'"
    assert emulator.requests[-1].rejection_reason is not None


def test_frames_of_flex_api_contexts_are_refused(emulator: Emulator) -> None:
    assert frame_page(emulator, create_context(emulator)).status == 404


@pytest.mark.parametrize(
    ("version", "status"), [("v2", 200), ("v2.0", 200), ("v2.9.0", 200), ("v1.0.0", 404), ("v2.5.1.1", 404), ("x", 404)]
)
def test_versions_in_the_path(emulator: Emulator, version: str, status: int) -> None:
    assert send(emulator, "GET", SCRIPT.replace("v2.5.1", version), {}).status == status


def test_paths_may_be_percent_encoded(emulator: Emulator) -> None:
    assert send(emulator, "GET", BUNDLE + "field%2Ejs", {}).body == send(emulator, "GET", BUNDLE + "field.js", {}).body


@pytest.mark.parametrize("name", ["", "iframe.html/", "..%2f..%2f__init__.py", "formats.py", "../microform.py"])
def test_no_other_file_can_be_read(emulator: Emulator, name: str) -> None:
    assert send(emulator, "GET", BUNDLE + name, {}).status == 404


def test_only_get_is_allowed(emulator: Emulator) -> None:
    response = send(emulator, "POST", SCRIPT, {"content-length": "0"})
    assert (response.status, response.header("allow")) == (405, "GET")


def test_files_are_recorded_only_with_a_scenario_or_an_error(emulator: Emulator) -> None:
    send(emulator, "GET", SCRIPT, {})
    assert emulator.requests == []
    send(emulator, "GET", SCRIPT.replace("v2", "v1"), {})
    emulator.queue_scenarios(["changed-script"], path="/microform/bundle/*")
    changed = send(emulator, "GET", SCRIPT, {})
    assert changed.body != send(emulator, "GET", SCRIPT, {}).body
    assert [(record.status, record.scenario) for record in emulator.requests] == [(404, None), (200, "changed-script")]


def test_files_get_a_scenario_only_by_their_path() -> None:
    with Emulator(scenario="status-503", key_pool=1, clock=lambda: NOW) as emulator:
        emulator.inject_random_faults(1.0, scenarios=["status-500"])
        emulator.queue_scenarios(["html-502"])
        assert send(emulator, "GET", SCRIPT, {}).status == 200
        assert send(emulator, "GET", SCRIPT, {"v-c-emulator-scenario": "status-429"}).status == 429
        emulator.queue_scenarios(["empty-500"], path=SCRIPT)
        assert send(emulator, "GET", SCRIPT, {}).status == 500
        assert send(emulator, "GET", "/flex/v2/public-keys/aa", {}).status == 502
