"""Whatever comes in: a documented error or a verified token, and no long thought about either."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

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

hypothesis = pytest.importorskip("hypothesis", reason="NOT TESTED with generated tokens: no package hypothesis")
from hypothesis import example, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

KEYS = Path(__file__).resolve().parents[1] / "vectors" / "keys"
NOW = 1_800_000_000
SECONDS_A_KILOBYTE = 0.05

# The same examples in each run: what fails here fails everywhere. The fuzzer looks further.
bounded = settings(max_examples=300, derandomize=True, deadline=None, database=None)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


@cache
def private(name: str) -> rsa.RSAPrivateKey:
    loaded = serialization.load_pem_private_key((KEYS / f"{name}.key.pem").read_bytes(), None)
    assert isinstance(loaded, rsa.RSAPrivateKey)
    return loaded


def jwk(name: str, kid: str) -> dict[str, Any]:
    return {**json.loads((KEYS / f"{name}.jwk.json").read_text("utf-8")), "kid": kid}


@cache
def keys() -> PinnedKeys:
    return PinnedKeys([jwk("flex_longterm", "zz")])


def signed(name: str, header: Any, payload: str | bytes) -> str:
    data = payload if isinstance(payload, bytes) else payload.encode("utf-8", "surrogatepass")
    text = f"{b64(json.dumps(header).encode())}.{b64(data)}"
    return f"{text}.{b64(private(name).sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def context_claims() -> dict[str, Any]:
    return {
        "flx": {"path": "/flex/v2/tokens", "jwk": jwk("flex_onetime", "one")},
        "ctx": [{"data": {"requiredFields": ["a.b"], "optionalFields": ["c"]}, "type": "api-0.1.0"}],
        "iss": "Flex API",
        "exp": NOW + 900,
        "iat": NOW,
        "jti": "abcdefghijklmnop",
    }


def token_claims() -> dict[str, Any]:
    content = {"a": {"b": {"value": "x"}}}
    found = {"iss": "Flex/08", "exp": NOW + 900, "type": "api-0.1.0", "iat": NOW, "jti": "A" * 64}
    return {**found, "content": content}


LONG, ONE = {"kid": "zz", "alg": "RS256"}, {"kid": "one", "alg": "RS256"}


@cache
def context_jwt() -> str:
    return signed("flex_longterm", LONG, json.dumps(context_claims()))


@cache
def token_jwt() -> str:
    return signed("flex_onetime", ONE, json.dumps(token_claims()))


@cache
def context() -> CaptureContext:
    return verify_capture_context(context_jwt(), keys(), now=NOW)


@cache
def token() -> TransientToken:
    return verify_transient_token(token_jwt(), context(), now=NOW)


def told(check: Callable[[], Any], given: Any) -> Any:
    """What came of it: something verified, or None where a documented error was raised, soon enough."""
    size = max(1.0, len(given) / 1024 if isinstance(given, str) else 1.0)
    for _ in range(3):
        started = time.thread_time()
        try:
            found = check()
        except errors.TokenError:
            found = None
        # Not at once where something else, loading or collecting, fell into that time.
        if time.thread_time() - started < SECONDS_A_KILOBYTE * size:
            return found
    raise AssertionError(f"more than {SECONDS_A_KILOBYTE} s a kilobyte, three times")


def context_told(text: str) -> Any:
    return told(lambda: verify_capture_context(text, keys(), now=NOW), text)


def token_told(text: str) -> Any:
    return told(lambda: verify_transient_token(text, context(), now=NOW), text)


letters = st.text('ABCabc019-_=+/. \n\0é\u0661{}[]":\\', max_size=200)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@bounded
@given(st.text(max_size=400) | letters)
@example("..")
@example("." * 70_000)
def test_no_text_is_a_token(text: str) -> None:
    assert context_told(text) is None
    assert token_told(text) is None
    assert told(lambda: restore_capture_context(text, keys(), now=NOW), text) is None
    opener = private("response_mle")
    assert told(lambda: open_payment_credentials(text, opener, keys(), now=NOW), text) is None


@bounded
@given(anything)
def test_what_is_no_text_is_no_token(value: Any) -> None:
    if not isinstance(value, str):
        assert context_told(value) is None
        assert token_told(value) is None


@bounded
@given(st.data())
def test_no_change_of_a_token_is_accepted(data: Any) -> None:
    make, check, held = data.draw(
        st.sampled_from([(context_jwt, context_told, context), (token_jwt, token_told, token)])
    )
    genuine = make()
    start = data.draw(st.integers(0, len(genuine)))
    end = data.draw(st.integers(start, min(len(genuine), start + 40)))
    changed = genuine[:start] + data.draw(letters) + genuine[end:]
    found = check(changed)
    # White space around a token is nobody's.
    assert found is None or (changed.strip(" \t\r\n") == genuine and found == held())


header_values = st.sampled_from(["RS256", "none", "HS256", "zz", "one", "../", "", "RS256 ", "JWT", "exp"]) | anything


@bounded
@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "jku", "b64", "x5c"]) | st.text(), header_values
    )
)
def test_no_header_but_the_right_one_is_accepted(header: dict[str, Any]) -> None:
    found = context_told(signed("flex_longterm", header, json.dumps(context_claims())))
    assert found is None or (header["alg"] == "RS256" and header["kid"] == "zz")


names = st.sampled_from(["iss", "exp", "iat", "jti", "type", "ctx", "flx", "content", "data", "metadata"])


@bounded
@given(st.dictionaries(names | st.text(max_size=5), anything | st.integers(NOW - 2000, NOW + 2000), max_size=5))
def test_claims_of_any_kind_are_refused_or_can_be_read(changes: dict[str, Any]) -> None:
    found = context_told(signed("flex_longterm", LONG, json.dumps({**context_claims(), **changes})))
    if found is not None:
        views(found, CaptureContext)
        assert found.expires_at > found.issued_at
        again = restore_capture_context(store_capture_context(found), keys(), now=NOW)
        assert again == found
    found = token_told(signed("flex_onetime", ONE, json.dumps({**token_claims(), **changes})))
    if found is not None:
        views(found, TransientToken)


def views(found: Any, kind: type[Any]) -> None:
    """Every property can be read, whatever the claims are, and the object stays what it is."""
    assert type(found) is kind
    for name in dir(kind):
        if not name.startswith("_"):
            value = getattr(found, name)
            if name.endswith(("fields", "origins", "networks", "types")):
                assert all(isinstance(entry, str) for entry in value)
            elif name in ("bin", "masked_number", "client_library", "client_library_integrity"):
                assert value is None or isinstance(value, str)
    assert repr(found)
    assert {found} == {found}


@bounded
@given(
    st.dictionaries(st.sampled_from(["requiredFields", "targetOrigins", "clientLibrary"]), anything) | anything,
    anything,
)
def test_a_context_may_say_anything_about_the_capture(data: Any, kind: Any) -> None:
    claims = {**context_claims(), "ctx": [{"data": data, "type": kind if isinstance(kind, str) else "mf-2.1.0"}]}
    found = context_told(signed("flex_longterm", LONG, json.dumps(claims)))
    if found is not None:
        views(found, CaptureContext)


@bounded
@given(st.binary(max_size=300) | st.text(max_size=300) | letters)
def test_a_payload_of_any_bytes_is_no_token(payload: bytes | str) -> None:
    assert context_told(signed("flex_longterm", LONG, payload)) is None
    assert token_told(signed("flex_onetime", ONE, payload)) is None


@bounded
@given(st.dictionaries(st.sampled_from(["kty", "n", "e", "kid", "d", "alg", "use"]), anything | letters), anything)
def test_a_key_is_sound_or_refused(changes: dict[str, Any], other: Any) -> None:
    for value in ({**jwk("flex_onetime", "one"), **changes}, other):
        found = told(lambda value=value: PublicKey(value), "")
        if found is not None:
            assert found.modulus.bit_length() >= 2048
            assert PublicKey(found.to_jwk()) == found
            assert found.encrypt(b"x")


@cache
def fresh() -> CaptureContext:
    """Not expired by the machine's own clock, which encryption goes by."""
    now = int(time.time())
    claims = {**context_claims(), "iat": now, "exp": now + 3600}
    return verify_capture_context(signed("flex_longterm", LONG, json.dumps(claims)), keys())


@bounded
@given(
    anything
    | st.dictionaries(st.sampled_from(["a", "a.b", "c", "b"]), anything | st.dictionaries(st.just("b"), st.text()))
)
@example({"a": {"b": "\ud800"}})
def test_data_is_encrypted_or_refused(data: Any) -> None:
    try:
        sealed = encrypt(fresh(), data)
    except errors.InvalidDataError:
        return
    assert sealed.count(".") == 4


def test_data_without_end_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(errors.InvalidDataError, match="nested deeper"):
        encrypt(fresh(), endless)


def test_half_a_character_gives_no_card_away() -> None:
    number = "4111111111111111"
    with pytest.raises(errors.InvalidDataError, match=r"a\.b has half") as caught:
        encrypt(fresh(), {"a": {"b": f"{number}\ud800"}})
    error: BaseException | None = caught.value
    while error is not None:
        assert number not in f"{error!r}{getattr(error, 'object', '')!r}"
        error = error.__cause__ or error.__context__


@bounded
@given(st.data())
def test_no_change_of_a_sealed_context_is_accepted(data: Any) -> None:
    key = b"sixteen or more bytes"
    stored = store_capture_context(context(), key, bind="session")
    start = data.draw(st.integers(0, len(stored)))
    changed = stored[:start] + data.draw(letters) + stored[data.draw(st.integers(start, len(stored))) :]
    found = told(lambda: restore_capture_context(changed, keys(), key, bind="session", now=NOW), changed)
    assert (found is None) is (changed != stored)


@pytest.mark.parametrize("size", [1, 8, 32, 47])
@pytest.mark.parametrize(
    "unit", ['"', '\\"', '"\\', "[", '{"a":', '"a":1,', "1", "[]", '"[",', "\\", "\\u0041", "a", "-", "9.", "e1", " "]
)
def test_reading_takes_as_long_as_the_text_is(unit: str, size: int) -> None:
    # Before any signature: the text is the attacker's alone.
    for before, after in (("", ""), ('{"a":', "}"), ("[", "[" * 40), ('"', "[" * 40)):
        body = before + unit * (size * 1024 // len(unit)) + after
        assert context_told(f"{b64(body.encode())}.AAAA.AAAA") is None
        assert context_told(f"{b64(json.dumps(LONG).encode())}.{b64(body.encode())}.AAAA") is None
