"""Generated tokens, keys and data: each is verified or rejected with a documented error, in limited time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from cybersource_flex import errors
from cybersource_flex.jose import (
    CaptureContext,
    PinnedKeys,
    PublicKey,
    TransientToken,
    encrypt,
    open_payment_credentials,
    restore_capture_context,
    store_capture_context,
    verify_capture_context,
    verify_transient_token,
)
from support.keys import LONG_TERM, ONE_TIME, RESPONSE_MLE, jwk, private_key
from support.requirements import require_module
from support.tokens import (
    CONTEXT_HEADER,
    TOKEN_HEADER,
    capture_context_claims,
    encode_part,
    sign_jwt,
    transient_token_claims,
)

hypothesis = require_module("hypothesis", package="hypothesis", not_tested="random tokens")
from hypothesis import example, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

NOW = 1_800_000_000
SECONDS_PER_KILOBYTE = 0.05

# The same examples in each run, so that failures can be reproduced. The fuzzer tries others.
bounded = settings(max_examples=300, derandomize=True, deadline=None, database=None)


@cache
def keys() -> PinnedKeys:
    return PinnedKeys([jwk(LONG_TERM, "zz")])


@cache
def context_jwt() -> str:
    return sign_context(json.dumps(capture_context_claims(NOW)))


@cache
def token_jwt() -> str:
    return sign_token(json.dumps(transient_token_claims(NOW)))


@cache
def context() -> CaptureContext:
    return verify_capture_context(context_jwt(), keys(), now=NOW)


@cache
def token() -> TransientToken:
    return verify_transient_token(token_jwt(), context(), now=NOW)


def sign_context(claims: str | bytes) -> str:
    return sign_jwt(LONG_TERM, CONTEXT_HEADER, claims)


def sign_token(claims: str | bytes) -> str:
    return sign_jwt(ONE_TIME, TOKEN_HEADER, claims)


def verified_in_time(check: Callable[[], Any], content: Any) -> Any:
    """Return what was verified, or None if a documented error was raised. Fails if that took too long."""
    size = max(1.0, len(content) / 1024 if isinstance(content, str) else 1.0)
    for _ in range(3):
        started = time.thread_time()
        try:
            result = check()
        except errors.TokenError:
            result = None
        # Loading a module or collecting garbage may take up some of the time. The next round shows whether it was that.
        if time.thread_time() - started < SECONDS_PER_KILOBYTE * size:
            return result
    raise AssertionError(f"more than {SECONDS_PER_KILOBYTE} s a kilobyte, three times")


def verified_context(jwt: str) -> Any:
    return verified_in_time(lambda: verify_capture_context(jwt, keys(), now=NOW), jwt)


def verified_token(jwt: str) -> Any:
    return verified_in_time(lambda: verify_transient_token(jwt, context(), now=NOW), jwt)


token_characters = st.text('ABCabc019-_=+/. \n\0é\u0661{}[]":\\', max_size=200)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@bounded
@given(st.text(max_size=400) | token_characters)
@example("..")
@example("." * 70_000)
def test_no_string_is_accepted_as_a_token(token: str) -> None:
    assert verified_context(token) is None
    assert verified_token(token) is None
    assert verified_in_time(lambda: restore_capture_context(token, keys(), now=NOW), token) is None
    opener = private_key(RESPONSE_MLE)
    assert verified_in_time(lambda: open_payment_credentials(token, opener, keys(), now=NOW), token) is None


@bounded
@given(json_values)
def test_other_types_than_strings_are_rejected(value: Any) -> None:
    if not isinstance(value, str):
        assert verified_context(value) is None
        assert verified_token(value) is None


@bounded
@given(st.data())
def test_no_change_of_a_token_is_accepted(data: Any) -> None:
    make_jwt, check, expected = data.draw(
        st.sampled_from([(context_jwt, verified_context, context), (token_jwt, verified_token, token)])
    )
    genuine = make_jwt()
    start = data.draw(st.integers(0, len(genuine)))
    end = data.draw(st.integers(start, min(len(genuine), start + 40)))
    changed = genuine[:start] + data.draw(token_characters) + genuine[end:]
    result = check(changed)
    assert result is None or (changed == genuine and result == expected())


header_values = (
    st.sampled_from(["RS256", "none", "HS256", "zz", "one", "../", "", "RS256 ", "JWT", "exp"]) | json_values
)


@bounded
@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "jku", "b64", "x5c"]) | st.text(), header_values
    )
)
def test_other_headers_are_rejected(header: dict[str, Any]) -> None:
    context = verified_context(sign_jwt(LONG_TERM, header, json.dumps(capture_context_claims(NOW))))
    assert context is None or (header["alg"] == "RS256" and header["kid"] == "zz")


claim_names = st.sampled_from(["iss", "exp", "iat", "jti", "type", "ctx", "flx", "content", "data", "metadata"])


@bounded
@given(
    st.dictionaries(claim_names | st.text(max_size=5), json_values | st.integers(NOW - 2000, NOW + 2000), max_size=5)
)
def test_claims_of_any_type_are_rejected_or_can_be_read(changes: dict[str, Any]) -> None:
    verified = verified_context(sign_context(json.dumps({**capture_context_claims(NOW), **changes})))
    if verified is not None:
        check_properties(verified, CaptureContext)
        assert verified.expires_at > verified.issued_at
        restored = restore_capture_context(store_capture_context(verified), keys(), now=NOW)
        assert restored == verified
    verified = verified_token(sign_token(json.dumps({**transient_token_claims(NOW), **changes})))
    if verified is not None:
        check_properties(verified, TransientToken)


def check_properties(verified: Any, kind: type[Any]) -> None:
    """Check that every property can be read, with any claims."""
    assert type(verified) is kind
    for name in dir(kind):
        if not name.startswith("_"):
            value = getattr(verified, name)
            if name.endswith(("fields", "origins", "networks", "types")):
                assert all(isinstance(entry, str) for entry in value)
            elif name in ("bin", "masked_number", "client_library", "client_library_integrity"):
                assert value is None or isinstance(value, str)
    assert repr(verified)
    assert {verified} == {verified}


@bounded
@given(
    st.dictionaries(st.sampled_from(["requiredFields", "targetOrigins", "clientLibrary"]), json_values) | json_values,
    json_values,
)
def test_the_properties_of_a_context_with_any_capture_data_can_be_read(data: Any, kind: Any) -> None:
    claims = {
        **capture_context_claims(NOW),
        "ctx": [{"data": data, "type": kind if isinstance(kind, str) else "mf-2.1.0"}],
    }
    context = verified_context(sign_context(json.dumps(claims)))
    if context is not None:
        check_properties(context, CaptureContext)


@bounded
@given(st.binary(max_size=300) | st.text(max_size=300) | token_characters)
def test_a_payload_of_random_bytes_is_rejected(payload: bytes | str) -> None:
    assert verified_context(sign_context(payload)) is None
    assert verified_token(sign_token(payload)) is None


@bounded
@given(
    st.dictionaries(st.sampled_from(["kty", "n", "e", "kid", "d", "alg", "use"]), json_values | token_characters),
    json_values,
)
def test_a_key_is_valid_or_rejected(changes: dict[str, Any], other: Any) -> None:
    for value in ({**jwk(ONE_TIME, "one"), **changes}, other):
        key = verified_in_time(lambda value=value: PublicKey(value), "")
        if key is not None:
            assert key.modulus.bit_length() >= 2048
            assert PublicKey(key.to_jwk()) == key
            assert key.encrypt(b"x")


@cache
def current_context() -> CaptureContext:
    """A context that is valid now: encryption uses the clock of this machine."""
    now = int(time.time())
    claims = {**capture_context_claims(NOW), "iat": now, "exp": now + 3600}
    return verify_capture_context(sign_context(json.dumps(claims)), keys())


@bounded
@given(
    json_values
    | st.dictionaries(st.sampled_from(["a", "a.b", "c", "b"]), json_values | st.dictionaries(st.just("b"), st.text()))
)
@example({"a": {"b": "\ud800"}})
def test_data_is_encrypted_or_rejected(data: Any) -> None:
    try:
        token = encrypt(current_context(), data)
    except errors.InvalidDataError:
        return
    assert token.count(".") == 4


def test_data_that_contains_itself_is_rejected() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(errors.InvalidDataError, match="nested deeper"):
        encrypt(current_context(), endless)


def test_errors_of_lone_surrogates_do_not_show_the_card_number() -> None:
    number = "4111111111111111"
    with pytest.raises(errors.InvalidDataError, match=r"a\.b contains a lone surrogate") as caught:
        encrypt(current_context(), {"a": {"b": f"{number}\ud800"}})
    error: BaseException | None = caught.value
    while error is not None:
        assert number not in f"{error!r}{getattr(error, 'object', '')!r}"
        error = error.__cause__ or error.__context__


@bounded
@given(st.data())
def test_no_change_of_an_authenticated_context_is_accepted(data: Any) -> None:
    key = b"sixteen or more bytes"
    stored = store_capture_context(context(), key, session_id="session")
    start = data.draw(st.integers(0, len(stored)))
    changed = stored[:start] + data.draw(token_characters) + stored[data.draw(st.integers(start, len(stored))) :]
    restored = verified_in_time(
        lambda: restore_capture_context(changed, keys(), key, session_id="session", now=NOW), changed
    )
    assert (restored is None) is (changed != stored)


@pytest.mark.parametrize("size", [1, 8, 32, 47])
@pytest.mark.parametrize(
    "unit", ['"', '\\"', '"\\', "[", '{"a":', '"a":1,', "1", "[]", '"[",', "\\", "\\u0041", "a", "-", "9.", "e1", " "]
)
def test_parsing_takes_linear_time(unit: str, size: int) -> None:
    # Before the signature is checked, everything may come from an attacker.
    for before, after in (("", ""), ('{"a":', "}"), ("[", "[" * 40), ('"', "[" * 40)):
        body = before + unit * (size * 1024 // len(unit)) + after
        assert verified_context(f"{encode_part(body)}.AAAA.AAAA") is None
        assert verified_context(f"{encode_part(CONTEXT_HEADER)}.{encode_part(body)}.AAAA") is None
