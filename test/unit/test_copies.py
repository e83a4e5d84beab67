"""Copying, pickling and comparing settings and results. Objects that hold secrets say why they refuse."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import ssl
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cybersource_flex import Configuration, EventHooks, FlexClient, RetryPolicy, Tls, errors
from cybersource_flex.auth import BearerToken, JwtClaimFormat, JwtExternalKey, JwtSharedSecret
from cybersource_flex.client import TokenizeFailure, TokenizeResult, TokenizeSuccess
from cybersource_flex.jose import ContextExpectations, PinnedKeys, PublicKey, TokenLimits
from cybersource_flex.transport.proxy import Proxy
from support.keys import LONG_TERM, ONE_TIME, jwk

SECRET = "c2VjcmV0IG9mIHRoaXMgdGVzdCwgMzIgYnl0ZXMgbG9uZw=="


def on_attempt(event: object) -> None:
    """A function that ``pickle`` finds by its name."""


def on_call_end(event: object) -> None:
    pass


# Pairs of functions: each creates an object, and the second an object with another value.
PLAIN: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "RetryPolicy()": (RetryPolicy, lambda: RetryPolicy(attempts=2)),
    "RetryPolicy": (
        lambda: RetryPolicy(attempts=2, statuses=[503, 429], deadline=None, retry_unsafe=True),
        lambda: RetryPolicy(attempts=2, statuses=[503], deadline=None, retry_unsafe=True),
    ),
    "EventHooks()": (EventHooks, lambda: EventHooks(on_attempt=on_attempt)),
    "EventHooks": (
        lambda: EventHooks(on_attempt=on_attempt, on_call_end=on_call_end),
        lambda: EventHooks(on_call_end=on_call_end),
    ),
    "Tls()": (Tls, lambda: Tls(insecure_skip_verification=True)),
    "Proxy": (lambda: Proxy("http://proxy.example:3128"), lambda: Proxy("http://proxy.example:3129")),
    "Configuration()": (Configuration, lambda: Configuration(read_timeout=5)),
    "Configuration": (
        lambda: Configuration(
            host="http://localhost:8080",
            proxy="http://proxy.example:3128",
            user_agent_suffix="shop/1.2",
            tls=Tls(),
            retry=RetryPolicy(attempts=2),
            pool_size=7,
        ),
        lambda: Configuration(host="http://localhost:8080", proxy="http://proxy.example:3128", pool_size=7),
    ),
    "TokenizeFailure": (
        lambda: TokenizeFailure(3, ERROR),
        lambda: TokenizeFailure(4, ERROR),
    ),
    "JwtClaimFormat": (JwtClaimFormat, lambda: JwtClaimFormat(method_case="lower")),
    "TokenLimits": (TokenLimits, lambda: TokenLimits(max_depth=3)),
    "ContextExpectations": (ContextExpectations, lambda: ContextExpectations(target_origins=("https://a.example",))),
    "PublicKey": (lambda: used(PublicKey(jwk(LONG_TERM, "a"))), lambda: PublicKey(jwk(ONE_TIME, "a"))),
}
ERROR = errors.InvalidDataError("card.number must be a string", field="card.number")


def used(key: PublicKey) -> PublicKey:
    """A key that was used, and holds an object of ``cryptography`` since then."""
    assert key.encrypt(b"data")
    return key


@pytest.mark.parametrize("name", PLAIN)
def test_plain_data_can_be_compared_and_copied(name: str) -> None:
    create, create_other = PLAIN[name]
    one, equal, other = create(), create(), create_other()
    assert one == equal
    assert hash(one) == hash(equal)
    assert one != other
    assert one != name
    for duplicate in (copy.copy(one), copy.deepcopy(one), copy.deepcopy([one])[0]):
        assert duplicate == one
    assert len({one, equal, other}) == 2


@pytest.mark.parametrize("name", PLAIN)
def test_plain_data_can_be_pickled(name: str) -> None:
    one = PLAIN[name][0]()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        loaded = pickle.loads(pickle.dumps(one, protocol))  # noqa: S301
        assert type(loaded) is type(one)
        assert repr(loaded) == repr(one)
        if name != "TokenizeFailure":
            assert loaded == one
            assert hash(loaded) == hash(one)


def test_a_dataclass_of_a_shop_can_hold_settings() -> None:
    @dataclasses.dataclass(frozen=True)
    class Shop:
        retry: RetryPolicy
        hooks: EventHooks
        tls: Tls

    shop = Shop(RetryPolicy(attempts=2), EventHooks(), Tls())
    assert dataclasses.asdict(shop) == {"retry": shop.retry, "hooks": EventHooks(), "tls": Tls()}
    assert dataclasses.replace(shop) == Shop(RetryPolicy(attempts=2), EventHooks(), Tls())


def test_settings_of_different_kinds_are_unequal() -> None:
    assert EventHooks() != RetryPolicy()

    class MyPolicy(RetryPolicy):
        pass

    assert MyPolicy() != RetryPolicy()
    assert MyPolicy() == MyPolicy()


def custom_context() -> ssl.SSLContext:
    return ssl.create_default_context()


SECRETS: dict[str, tuple[Callable[[], Any], str]] = {
    "proxy": (lambda: Proxy("http://user:canary@proxy.example:3128"), "the user name and password of the proxy"),
    "configuration": (lambda: Configuration(auth=shared_secret()), "the credentials of auth"),
    "configuration with a proxy": (
        lambda: Configuration(proxy="http://user:canary@proxy.example:3128"),
        "the user name and password of the proxy",
    ),
    "configuration with a context": (
        lambda: Configuration(tls=Tls(ssl_context=custom_context())),
        "its ssl_context cannot be",
    ),
    "context": (lambda: Tls(ssl_context=custom_context()), "its ssl_context cannot be"),
    "client": (lambda: FlexClient(shared_secret()), "connections and credentials"),
    "client without credentials": (lambda: FlexClient(None), "connections"),
    "shared secret": (lambda: shared_secret(), "a secret"),
    "external key": (lambda: JwtExternalKey("merchant", "key", bytes), "a function that signs"),
    "bearer token": (lambda: BearerToken("canary"), "an access token"),
    "bearer tokens": (lambda: BearerToken(lambda: "canary"), "a function that returns access tokens"),
}


def shared_secret() -> JwtSharedSecret:
    return JwtSharedSecret("merchant", "08c94330-f618-42a3-b09d-e1e43be5efda", SECRET)


@pytest.mark.parametrize("name", SECRETS)
def test_objects_that_cannot_be_copied_say_why(name: str) -> None:
    create, reason = SECRETS[name]
    value = create()
    for use in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=rf"cannot be pickled or copied: .*{reason}") as caught:
            use(value)
        output = "".join(traceback.format_exception(caught.value))
        assert "canary" not in output.replace("canary@", "").split("Error")[-1]
        assert SECRET not in output


def test_custom_contexts_are_compared_by_identity() -> None:
    one = custom_context()
    assert Tls(ssl_context=one) == Tls(ssl_context=one)
    assert Tls(ssl_context=one) != Tls(ssl_context=custom_context())
    assert Tls(ssl_context=one) != Tls()


def test_configurations_with_one_signer_are_equal() -> None:
    auth = shared_secret()
    assert Configuration(auth=auth) == Configuration(auth=auth)
    assert Configuration(auth=auth) != Configuration(auth=shared_secret())


def test_a_ca_file_is_read_again_by_the_process_that_unpickles(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    certificates = ssl.create_default_context().get_ca_certs(binary_form=True)
    ca_file.write_text("".join(ssl.DER_cert_to_PEM_cert(der) for der in certificates[:3]))
    pickled = pickle.dumps(Tls(ca_file=ca_file))
    assert pickle.loads(pickled) == Tls(ca_file=ca_file)  # noqa: S301
    ca_file.unlink()
    with pytest.raises(errors.ConfigurationError, match="ca_file"):
        pickle.loads(pickled)  # noqa: S301


def test_a_failure_is_pickled_only_with_an_error_that_holds_no_card() -> None:
    failure = TokenizeFailure(0, LookupError("4622943127013705"))
    with pytest.raises(TypeError, match="may contain the data of the item"):
        pickle.dumps(failure)
    assert copy.deepcopy(failure) is failure
    assert "4622943127013705" not in repr(failure)


def test_pinned_keys_can_be_pickled() -> None:
    keys = PinnedKeys([jwk(LONG_TERM, "a")])
    used(keys.get("a"))
    assert pickle.loads(pickle.dumps(keys)).get("a") == keys.get("a")  # noqa: S301


def test_results_are_compared_by_their_content() -> None:
    token: Any = object()
    context: Any = object()
    assert TokenizeSuccess(0, token, context) == TokenizeSuccess(0, token, context)
    assert TokenizeSuccess(0, token, context) != TokenizeSuccess(1, token, context)
    assert copy.copy(TokenizeSuccess(0, token, context)) == TokenizeSuccess(0, token, context)
    assert isinstance(TokenizeSuccess(0, token, context), TokenizeResult)
    assert isinstance(TokenizeFailure(0, ERROR), TokenizeResult)
