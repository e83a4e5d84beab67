"""The server's side of a page with Microform: script tag, sources, and one call for the token that the page posts."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from cybersource_flex import CaptureContext, FlexClient, errors
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.emulator import Emulator
from cybersource_flex.errors import ConfigurationError, TokenError

KEY = b"0123456789abcdef"


@pytest.fixture
def client(emulator: Emulator, client_class: type[FlexClient]) -> Iterator[FlexClient]:
    emulator.clear()
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        yield client


@pytest.fixture
def context(client: FlexClient) -> CaptureContext:
    return client.create_microform_context(target_origins=["http://localhost"], allowed_card_networks=["VISA"])


def test_the_page_loads_the_emulators_script(context: CaptureContext, emulator: Emulator) -> None:
    tag = context.script_tag()
    assert f'src="{emulator.url}/microform/bundle/' in tag
    assert f'integrity="{context.client_library_integrity}" crossorigin="anonymous"' in tag
    assert context.csp_sources() == {name: [emulator.url] for name in ("script-src", "frame-src", "child-src")}


def test_the_posted_token_is_verified_in_one_call(client: FlexClient, context: CaptureContext) -> None:
    token = client.tokenize(context, {"card": {"number": "4111111111111111"}})
    stored = client.store_capture_context(context, KEY, session_id="session-1")
    for posted in (token.jwt, json.dumps(token.jwt)):
        verified = client.verify_posted_token(posted, stored, KEY, session_id="session-1")
        assert verified == token
        assert verified.jwt == token.jwt
    assert client.verify_posted_token(token.jwt, client.store_capture_context(context), strict=True) == token


def test_a_genuine_token_with_warnings_is_rejected_by_strict_only(client: FlexClient, emulator: Emulator) -> None:
    context = client.create_microform_context(target_origins=["http://localhost"], allowed_card_networks=["VISA"])
    emulator.queue_scenarios(["unusual-claims;claim=jti"], path="/flex/v2/tokens")
    token = client.tokenize(context, {"card": {"number": "4111111111111111"}})
    stored = client.store_capture_context(context, KEY)
    verified = client.verify_posted_token(token.jwt, stored, KEY)
    assert (verified, verified.warnings) == (token, token.warnings)
    with pytest.raises(errors.InvalidClaimError, match="strict"):
        client.verify_posted_token(token.jwt, stored, KEY, strict=True)


def test_other_values_are_rejected(client: FlexClient, context: CaptureContext) -> None:
    token = client.tokenize(context, {"card": {"number": "4111111111111111"}})
    stored = client.store_capture_context(context, KEY, session_id="session-1")
    for posted in ("", '"', '""', f" {token.jwt}", f'"{token.jwt}', f'""{token.jwt}""', json.dumps([token.jwt]), "{}"):
        with pytest.raises(errors.MalformedTokenError):
            client.verify_posted_token(posted, stored, KEY, session_id="session-1")
    with pytest.raises(errors.InvalidSignatureError, match="MAC"):
        client.verify_posted_token(token.jwt, stored, KEY, session_id="session-2")
    other = client.create_microform_context(target_origins=["http://localhost"], allowed_card_networks=["VISA"])
    with pytest.raises(errors.UnknownKeyError):
        client.verify_posted_token(token.jwt, client.store_capture_context(other, KEY), KEY)
    with pytest.raises(TokenError):
        client.verify_posted_token(context.jwt, stored, KEY, session_id="session-1")
    with pytest.raises(ConfigurationError):
        client.verify_posted_token(token.jwt, stored, b"short")
