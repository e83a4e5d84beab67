"""Functions of ``jose``, and keys for encrypted messages, with values of every type: only documented exceptions.

A string that may be an attacker's is rejected with a ``TokenError``, any other argument with a ``ConfigurationError``
or an ``InvalidArgumentError``.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import pytest

from cybersource_flex import errors
from cybersource_flex.auth import JwtClaimFormat, JwtSharedSecret, MessageLevelEncryption
from cybersource_flex.jose import (
    AsyncKeyCache,
    ContextExpectations,
    KeyCache,
    PinnedKeys,
    PublicKey,
    TokenLimits,
    encrypt,
    open_payment_credentials,
    restore_capture_context,
    store_capture_context,
    verify_capture_context,
    verify_transient_token,
)
from support.keys import LONG_TERM, MERCHANT, MERCHANT_ID, ONE_TIME, P12_PASSWORD, PEM_PASSWORD, jwk, private_key
from support.paths import KEYS
from support.tokens import (
    CONTEXT_HEADER,
    TOKEN_HEADER,
    capture_context_claims,
    encrypt_jwe,
    sign_jwt,
    transient_token_claims,
)

NOW = 1_800_000_000
MAC_KEY = "sixteen or more bytes"
# Stands for a capture context that is valid now.
CURRENT = "a valid capture context"
SECRET = "A" * 43 + "="
# Part of every wrong string. No exception may contain it.
CANARY = "CANARY4111111111"

VALUES: list[Any] = [
    None,
    *(0, 1, -1, 10**400, -(10**400), True, 1.5, -0.5, float("nan"), float("inf")),
    *(
        b"",
        b"\xff\xfe",
        b"x" * 1_000_000,
        "",
        " ",
        "\ud800",
        f"{CANARY}\ud800{CANARY}",
        "\0",
        "\U0010ffff",
        "x" * 1_000_000,
    ),
    *("fc1.AA.AA", "fc1.AA.", "a.b.c", "a.b.c.d.e", CANARY, f'"{CANARY}"'),
    *([], {}, (), set(), [None], ["\ud800"], {"a": "\ud800"}, {CANARY: CANARY}, [[CANARY]], [{"kty": CANARY}]),
    *(object(), type, ..., lambda *_: None, datetime(2027, 1, 1, tzinfo=UTC)),
]


class Call(NamedTuple):
    """A function with valid arguments. ``tokens`` are the arguments that may come from an attacker."""

    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    tokens: tuple[str, ...] = ()


# Other valid values of these arguments, such as another time or key, make the token invalid.
MATCHED = ("now", "key", "session_id")
# Ids are no secrets, and messages may show them.
IDS = ("merchant_id", "portfolio_id", "request_certificate_name", "kid")


def jose_calls() -> Iterator[tuple[str, Call]]:
    keys = PinnedKeys([jwk(LONG_TERM, "zz")])
    context_jwt = sign_jwt(LONG_TERM, CONTEXT_HEADER, capture_context_claims(NOW))
    context = verify_capture_context(context_jwt, keys, now=NOW)
    token = sign_jwt(ONE_TIME, TOKEN_HEADER, transient_token_claims(NOW))
    claims = {"iss": "https://flex.visa.com", "iat": NOW, "exp": NOW + 900, "jti": "x"}
    credentials = encrypt_jwe(
        private_key(MERCHANT),
        sign_jwt(LONG_TERM, CONTEXT_HEADER, claims).encode(),
        {"alg": "RSA-OAEP-256", "enc": "A256GCM"},
    )
    times = {"now": NOW, "leeway": 30.0, "limits": TokenLimits(max_length=100_000), "host_time": None}
    flags = {**times, "strict": False}
    fetched = KeyCache(lambda kid: jwk(ONE_TIME, kid))
    one_time = PublicKey(jwk(ONE_TIME, "one"))
    yield (
        "verify_capture_context",
        Call(verify_capture_context, {"token": context_jwt, "keys": keys, "expected": None, **flags}, ("token",)),
    )
    yield (
        "verify_transient_token",
        Call(verify_transient_token, {"token": token, "context": context, **flags}, ("token",)),
    )
    yield (
        "open_payment_credentials",
        Call(
            open_payment_credentials,
            {"token": credentials, "private_key": private_key(MERCHANT), "keys": keys, **flags},
            ("token",),
        ),
    )
    yield "store", Call(store_capture_context, {"context": context, "key": MAC_KEY, "session_id": "session"})
    stored = {"stored": store_capture_context(context), "keys": keys, "key": None, "session_id": "", **times}
    yield "restore without a key", Call(restore_capture_context, stored, ("stored",))
    mac = {"stored": store_capture_context(context, MAC_KEY, session_id="s"), "key": MAC_KEY, "session_id": "s"}
    yield "restore with a key", Call(restore_capture_context, {**stored, **mac}, ("stored",))
    data = {"a": {"b": "x"}}
    yield "encrypt", Call(encrypt_for, {"context": CURRENT, "data": data, "host_time": None})
    yield "PublicKey", Call(PublicKey, {"jwk": jwk(ONE_TIME, "one"), "name": "key"}, ("jwk",))
    for member in ("kty", "n", "e", "kid", "alg", "d", "use"):
        make = lambda value, member=member: PublicKey({**jwk(ONE_TIME, "one"), member: value})  # noqa: E731
        valid = {"alg": "RS256", "d": None, **jwk(ONE_TIME, "one")}[member]
        yield f"PublicKey, {member}", Call(make, {"value": valid}, ("value",))
    yield "PublicKey.encrypt", Call(one_time.encrypt, {"plaintext": b"x"})
    yield "PublicKey.verify", Call(one_time.verify, {"jws": None, "token_name": "token"})
    yield "PinnedKeys", Call(PinnedKeys, {"jwks": [jwk(ONE_TIME, "one")], "fallback": None})
    yield "PinnedKeys.get", Call(keys.get, {"kid": "zz"}, ("kid",))
    yield "PinnedKeys.refresh", Call(keys.refresh, {"kid": "zz"}, ("kid",))
    yield "KeyCache", Call(KeyCache, {"fetch": lambda kid: jwk(ONE_TIME, kid)})
    yield "KeyCache.get", Call(fetched.get, {"kid": "one"}, ("kid",))
    yield "KeyCache.refresh", Call(fetched.refresh, {"kid": "one"}, ("kid",))
    yield "AsyncKeyCache.get", Call(awaited("get"), {"kid": "one"}, ("kid",))
    yield "AsyncKeyCache.refresh", Call(awaited("refresh"), {"kid": "one"}, ("kid",))
    for name in ContextExpectations._fields:

        def expect(value: Any, name: str = name) -> Any:
            return verify_capture_context(context_jwt, keys, now=NOW, expected=ContextExpectations(**{name: value}))

        yield f"ContextExpectations, {name}", Call(expect, {"value": None}, ("value",))
    for name in TokenLimits._fields:

        def limit(value: Any, name: str = name) -> Any:
            return verify_capture_context(context_jwt, keys, now=NOW, limits=TokenLimits(**{name: value}))

        yield f"TokenLimits, {name}", Call(limit, {"value": 65536}, ("value",))


def encrypt_for(context: Any, **arguments: Any) -> Any:
    """Encrypt for a context, or for a new one if it is ``CURRENT``: a slow run takes longer than a context is valid."""
    if context is CURRENT:
        claims = capture_context_claims(int(datetime.now(UTC).timestamp()))
        context = verify_capture_context(
            sign_jwt(LONG_TERM, CONTEXT_HEADER, claims), PinnedKeys([jwk(LONG_TERM, "zz")])
        )
    return encrypt(context, **arguments)


def awaited(name: str) -> Callable[..., Any]:
    async def fetch(kid: str) -> dict[str, str]:
        return jwk(ONE_TIME, kid)

    return lambda kid: asyncio.run(getattr(AsyncKeyCache(fetch), name)(kid))


def auth_calls() -> Iterator[tuple[str, Call]]:
    for name in JwtClaimFormat._fields:

        def claim_format(value: Any, name: str = name) -> Any:
            return JwtSharedSecret("merchant", "key", SECRET, claim_format=JwtClaimFormat(**{name: value}))

        yield f"JwtClaimFormat, {name}", Call(claim_format, {"value": getattr(JwtClaimFormat(), name)})
    plain = {
        "request_certificate": (KEYS / "sjc.crt.pem").read_bytes(),
        "request_certificate_name": "CyberSource_SJC_US",
        "encrypt_requests": ["get_public_key"],
        "response_key": private_key(MERCHANT),
        "response_kid": "1234",
        "unencrypted_responses": [],
    }
    yield "MessageLevelEncryption", Call(MessageLevelEncryption, plain)
    # Decrypting a file takes 25 ms, so there are separate calls for each file.
    p12 = (KEYS / "merchant.p12").read_bytes()
    request = {
        "request_certificate": p12,
        "request_certificate_password": P12_PASSWORD,
        "request_certificate_name": "CyberSource_SJC_US",
    }
    yield "MessageLevelEncryption, request", Call(MessageLevelEncryption, request)
    response = {"response_key": p12, "response_key_password": P12_PASSWORD, "merchant_id": MERCHANT_ID}
    yield "MessageLevelEncryption, P12", Call(MessageLevelEncryption, response)
    pem = {
        "response_key": (KEYS / "response_mle.key.encrypted.pem").read_bytes(),
        "response_key_password": PEM_PASSWORD,
    }
    yield "MessageLevelEncryption, PEM", Call(partial(MessageLevelEncryption, response_kid="1234"), pem)


CALLS = {**dict(jose_calls()), **dict(auth_calls())}


def call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return function(**arguments)


@pytest.mark.parametrize("name", [name for name in CALLS if name != "PublicKey.verify"])
def test_the_valid_arguments_are_accepted(name: str) -> None:
    function, arguments, _ = CALLS[name]
    if name != "PublicKey, d":
        call(function, arguments)


@pytest.mark.parametrize(
    ("name", "argument"), [(name, argument) for name, entry in CALLS.items() for argument in entry.arguments]
)
def test_every_argument_with_every_value(name: str, argument: str) -> None:
    function, arguments, tokens = CALLS[name]
    for value in VALUES:
        error = error_of(function, {**arguments, argument: value})
        if error is None:
            continue
        report = f"{error} {error!r} {error.__cause__!r} {error.__context__!r}"
        assert argument in IDS or CANARY not in report, f"{value!r:.40} is shown"
        if argument not in tokens and (argument not in MATCHED or name == "store"):
            assert not isinstance(error, errors.TokenError), f"{value!r:.40}"
        elif argument in ("token", "stored", "kid"):
            assert isinstance(error, errors.TokenError), f"{value!r:.40}"


def error_of(function: Callable[..., Any], arguments: Mapping[str, Any]) -> errors.FlexError | None:
    """The documented exception of a call, or None. Any other exception fails the test."""
    try:
        call(function, arguments)
    except (
        errors.ConfigurationError,
        errors.InvalidArgumentError,
        errors.InvalidDataError,
        errors.TokenError,
    ) as error:
        return error
    return None


@pytest.mark.parametrize("forged", ["fc1.AA.AA", "fc1..", "", None, 3, b"fc1.AA.AA", "\ud800", "x" * 10**6])
@pytest.mark.parametrize("key", [None, MAC_KEY])
def test_a_wrong_string_is_not_reported_as_a_wrong_configuration(forged: Any, key: str | None) -> None:
    with pytest.raises(errors.TokenError):
        restore_capture_context(forged, PinnedKeys([]), key)


@pytest.mark.parametrize("forged", ["fc1.AA.AA", "", None, "\ud800"])
@pytest.mark.parametrize(
    "wrong",
    [{"key": b"short"}, {"key": 3}, {"session_id": None}, {"session_id": "s"}, {"leeway": -1}, {"limits": None}],
)
def test_a_wrong_argument_is_reported_whatever_the_string_is(forged: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigurationError):
        restore_capture_context(forged, PinnedKeys([]), **wrong)
    if "key" not in wrong and "session_id" not in wrong:
        with pytest.raises(errors.ConfigurationError):
            verify_capture_context(forged, PinnedKeys([]), **wrong)


@pytest.mark.parametrize("now", [datetime(2027, 1, 1, tzinfo=UTC), "1800000000"])
def test_now_must_be_a_number(now: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match=f"seconds since the epoch, not {type(now).__name__}"):
        verify_capture_context("a.b.c", PinnedKeys([]), now=now)
