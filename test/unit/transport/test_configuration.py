"""Configuration: accepted values, the errors of invalid ones, and that no secret is shown."""

from __future__ import annotations

import copy
import inspect
import logging
import pickle
import re
from typing import Any

import pytest

from cybersource_flex import AsyncFlexClient, Configuration, ConfigurationError, FlexClient
from cybersource_flex.client import base_client
from cybersource_flex.client.base_client import resolve_host
from cybersource_flex.client.config.env_variables import VARIABLES
from cybersource_flex.transport import Request, Response, RetryPolicy, Tls
from cybersource_flex.transport.configuration import ConnectionOptions
from cybersource_flex.transport.hosts import ENVIRONMENTS, is_test_host
from support.transports import StubSigner

CANARY = "hunter2"


@pytest.mark.parametrize(
    ("host", "base", "signed"),
    [
        ("https://apitest.cybersource.com", "https://apitest.cybersource.com", "apitest.cybersource.com"),
        ("apitest.cybersource.com", "https://apitest.cybersource.com", "apitest.cybersource.com"),
        ("HTTPS://APITEST.CyberSource.com/", "https://apitest.cybersource.com", "apitest.cybersource.com"),
        ("https://api.cybersource.com:443", "https://api.cybersource.com", "api.cybersource.com"),
        ("https://proxy.example.com:8443", "https://proxy.example.com:8443", "proxy.example.com:8443"),
        ("http://localhost:8080", "http://localhost:8080", "localhost:8080"),
        ("http://127.0.0.1:80", "http://127.0.0.1", "127.0.0.1"),
        ("http://127.8.9.1:1", "http://127.8.9.1:1", "127.8.9.1:1"),
        ("http://[::1]:9", "http://[::1]:9", "[::1]:9"),
    ],
)
def test_hosts_are_normalized(host: str, base: str, signed: str) -> None:
    configuration = Configuration(host=host)
    assert (configuration.host, configuration.signed_host) == (base, signed)
    assert configuration.base_url == base
    with_intermediate_host = Configuration(host="https://apitest.cybersource.com", intermediate_host=host)
    assert (with_intermediate_host.base_url, with_intermediate_host.intermediate_host) == (base, base)
    assert (with_intermediate_host.host, with_intermediate_host.signed_host) == (
        "https://apitest.cybersource.com",
        "apitest.cybersource.com",
    )


@pytest.mark.parametrize(
    ("host", "rule"),
    [
        ("https://apitest.cybersource.com/flex", "has a path"),
        ("https://apitest.cybersource.com?x=1", "has a path, query"),
        ("https://apitest.cybersource.com#x", "has a path, query or fragment"),
        ("https://user:hunter2@apitest.cybersource.com", "user name or password"),
        ("http://apitest.cybersource.com", "must use https://"),
        ("http://127.0.0.1.example.com", "must use https://"),
        ("http://localhost.example.com", "must use https://"),
        ("ftp://apitest.cybersource.com", "scheme 'ftp'"),
        ("https://", "no host name"),
        ("https://apitest.cybersource.com:port", "not a valid URL"),
        ("https://apitest.cybersource.com:99999", "not a valid URL"),
        ("https://api test.cybersource.com", "white space"),
        ("https://apitest.cybersource.com\r\nx: y", "white space"),
        ("https://apitest.cybersource.com\\@example.com", "backslash"),
        ("https://apitést.cybersource.com", "outside ASCII"),
        ("", "empty"),
        (None, "not a string"),
    ],
)
def test_errors_of_hosts(host: str, rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule) as caught:
        Configuration(host=host)
    assert "hunter2" not in str(caught.value)
    assert "https://apitest.cybersource.com" in str(caught.value) or "loopback" in str(caught.value)
    assert str(caught.value).startswith("host ")
    if host is not None:
        with pytest.raises(ConfigurationError, match=rule) as caught:
            Configuration(host="https://apitest.cybersource.com", intermediate_host=host)
        assert str(caught.value).startswith("intermediate_host ")
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), "5", None, True])
@pytest.mark.parametrize("name", ["connect_timeout", "read_timeout"])
def test_timeouts_are_positive_and_finite(name: str, seconds: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be a positive number of seconds"):
        Configuration(**{name: seconds})


def test_default_values() -> None:
    configuration = Configuration()
    assert configuration.host == "https://apitest.cybersource.com"
    assert (configuration.connect_timeout, configuration.read_timeout) == (5.0, 30.0)
    assert configuration.auth is None


def test_configurations_are_immutable() -> None:
    configuration = Configuration()
    with pytest.raises(AttributeError, match="cannot be changed"):
        configuration.host = "https://example.com"
    with pytest.raises(AttributeError, match="cannot be changed"):
        del configuration.host


@pytest.mark.parametrize("auth", ["secret", object(), {"key": "value"}])
def test_auth_must_be_a_signer(auth: object) -> None:
    with pytest.raises(ConfigurationError, match="must be a signer") as caught:
        Configuration(auth=auth)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


class Signing(StubSigner):
    supports_mle = True


class WithoutEncryption(Signing):
    supports_mle = False


class Encrypting:
    def encrypt_request(self, request: Request, now: float) -> Request:
        return request

    def decrypt_response(self, request: Request, response: Response) -> Response:
        return response


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"mle": "yes"}, "mle must be MessageLevelEncryption"),
        ({"mle": Encrypting}, "mle was given without auth"),
        ({"mle": Encrypting()}, "mle was given without auth; .*JwtSharedSecret or JwtP12"),
        (
            {"mle": Encrypting(), "auth": WithoutEncryption()},
            "cannot be used with WithoutEncryption; .*JwtSharedSecret or JwtP12",
        ),
        ({"mle": Encrypting(), "auth": StubSigner()}, "cannot be used with StubSigner"),
        ({"tls": True}, "tls must be Tls"),
        ({"tls": {"ca_file": CANARY}}, "tls must be Tls"),
        ({"proxy_from_environment": 1}, "proxy_from_environment must be True or False"),
        ({"max_response_bytes": 1023}, "max_response_bytes must be a whole number of at least 1024"),
        ({"max_response_bytes": "4096"}, "max_response_bytes must be a whole number"),
        ({"user_agent_suffix": ""}, "user_agent_suffix must be words of printable ASCII"),
        ({"user_agent_suffix": " shop"}, "user_agent_suffix must be"),
        ({"user_agent_suffix": "shop  1"}, "user_agent_suffix must be"),
        ({"user_agent_suffix": "shop\r\nX-Y: z"}, "user_agent_suffix must be"),
        ({"user_agent_suffix": "shop\n"}, "user_agent_suffix must be"),
        ({"user_agent_suffix": "Zoë"}, "user_agent_suffix must be"),
        ({"user_agent_suffix": "x" * 201}, "at most 200 characters"),
        ({"user_agent_suffix": b"shop"}, "user_agent_suffix must be"),
    ],
)
def test_errors_of_other_settings(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule) as caught:
        Configuration(**settings)
    assert CANARY not in str(caught.value)


def test_valid_settings_are_accepted() -> None:
    auth, mle = Signing(), Encrypting()
    configuration = Configuration(auth=auth, mle=mle, user_agent_suffix="shop/1.2 (Linux)")
    assert configuration.mle is mle
    assert configuration.user_agent.startswith("cybersource-flex/")
    assert configuration.user_agent.endswith(" shop/1.2 (Linux)")
    assert Configuration().user_agent.count(" ") == 0
    assert Configuration(user_agent_suffix="x" * 200).user_agent.endswith(" " + "x" * 200)


def test_the_defaults() -> None:
    configuration = Configuration()
    assert (configuration.connect_timeout, configuration.read_timeout, configuration.idle_timeout) == (5, 30, 15)
    assert (configuration.pool_size, configuration.max_response_bytes) == (100, 4_194_304)
    assert (configuration.correct_clock, configuration.intermediate_host, configuration.proxy) == (True, None, None)
    assert repr(configuration.retry) == repr(
        RetryPolicy(
            attempts=3,
            initial_delay=0.25,
            max_delay=8,
            statuses={429, 502, 503, 504},
            deadline=60,
            retry_unsafe=False,
        )
    )


def test_a_copy_with_other_options_does_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = Configuration()
    monkeypatch.setenv("HTTPS_PROXY", "ftp://proxy.example.com")
    with pytest.raises(ConfigurationError):
        Configuration()
    assert configuration.with_options(read_timeout=7).proxy is None
    assert configuration.with_options(read_timeout=7).read_timeout == 7


def test_the_repr_contains_what_differs_from_a_plain_configuration() -> None:
    configuration = Configuration(tls=Tls(insecure_skip_verification=True), proxy="http://proxy.example.com:3128")
    assert repr(configuration) == (
        "Configuration(host='https://apitest.cybersource.com', auth=<none>, "
        f"proxy=Proxy('http://proxy.example.com:3128'), tls={configuration.tls!r})"
    )


@pytest.mark.parametrize(("name", "url"), ENVIRONMENTS.items())
def test_test_hosts_are_those_of_the_test_environments_and_this_machine(name: str, url: str) -> None:
    assert is_test_host(url) == (name.partition("-")[0] == "test")
    assert is_test_host("http://localhost:8080")
    assert not is_test_host("https://example.com")


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        *(("apitest", "test"), ("sandbox", "test"), ("testing", "test"), ("Test", "test")),
        *(("api", "production"), ("live", "production"), ("PROD", "production"), ("india", "production-india")),
    ],
)
def test_other_names_of_environments_are_rejected_with_the_name_that_was_meant(alias: str, name: str) -> None:
    assert resolve_host(name) == ENVIRONMENTS[name]
    with pytest.raises(ConfigurationError, match=rf"did you mean '{name}'\?$"):
        resolve_host(alias)


def test_the_smallest_limit_of_a_response_is_accepted() -> None:
    assert Configuration(max_response_bytes=1024).max_response_bytes == 1024


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("a", True),
        ("a.b.c", True),
        ("a.b.c.", True),
        ("a.b.c..", False),
        ("a" * 63 + ".example", True),
        ("a" * 64 + ".example", False),
        ("a..example", False),
        (".example", False),
        (".".join(["a" * 49] * 5) + ".abc", True),
        (".".join(["a" * 49] * 5) + ".abcd", False),
    ],
)
def test_host_names_have_labels_of_1_to_63_characters_and_253_in_total(name: str, valid: bool) -> None:
    if valid:
        assert Configuration(host=f"https://{name}").signed_host == name
    else:
        with pytest.raises(ConfigurationError, match="host"):
            Configuration(host=f"https://{name}")


def test_secrets_are_neither_shown_nor_pickled() -> None:
    configuration = Configuration(
        auth=Signing(),
        mle=Encrypting(),
        proxy=f"http://user:{CANARY}@proxy.example.com:3128",
        intermediate_host="http://127.0.0.1:9",
    )
    output = repr(configuration)
    assert output == (
        "Configuration(host='https://apitest.cybersource.com', auth=<Signing>, mle=<Encrypting>, "
        "intermediate_host='http://127.0.0.1:9', proxy=Proxy('http://proxy.example.com:3128', with credentials))"
    )
    for each in (configuration, configuration.proxy):
        with pytest.raises(TypeError, match="__dict__"):
            vars(each)
        for use in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(
                TypeError,
                match=r"cannot be pickled or copied: it holds the (credentials of auth or mle|user name and password)",
            ):
                use(each)
        with pytest.raises(AttributeError, match="cannot be changed"):
            each.url = "http://example.com"  # type: ignore[union-attr]


def test_skipping_verification_is_logged_as_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Configuration()
        Configuration(tls=Tls())
        assert caplog.records == []
        Configuration(tls=Tls(insecure_skip_verification=True))
    record = caplog.records[0]
    assert (record.name, record.levelname) == ("cybersource_flex.transport", "WARNING")
    assert "NOT verified for https://apitest.cybersource.com" in record.getMessage()
    assert len(caplog.records) == 1


@pytest.mark.parametrize("host", [*Configuration.ENVIRONMENTS.values(), "api.cybersource.com:8443"])
def test_skipping_verification_is_rejected_for_production(host: str) -> None:
    tls = Tls(insecure_skip_verification=True)
    if "test" in host:
        assert Configuration(host=host, tls=tls).tls is tls
        return
    for intermediate in (None, "https://gateway.example.com"):
        with pytest.raises(
            ConfigurationError, match=r"not allowed for the production host 'api.* pass the CA of the proxy as ca_file"
        ):
            Configuration(host=host, tls=tls, intermediate_host=intermediate)


MERCHANT_CONFIG = {
    "authentication_type": "JWT",
    "jwt_key_type": "SHARED_SECRET",
    "merchantid": "acme",
    "run_environment": "apitest.cybersource.com",
    "merchant_keyid": "5f1c2d3e-4a5b-4c7d-8e9f-0a1b2c3d4e5f",
    "merchant_secretkey": "c2VjcmV0LW9mLTMyLWJ5dGVzLWZvci10aGlzLXRlc3Q=",
}


class ExtendedConfiguration(Configuration):
    """A configuration with one more setting, which no other module knows."""

    __slots__ = ("new_setting",)
    new_setting: int

    def __init__(self, *, new_setting: int = 7, **others: Any) -> None:
        super().__init__(**others)
        self._set(new_setting=new_setting)


class ExtendedOptions(ConnectionOptions, total=False):
    new_setting: int


@pytest.mark.parametrize("kind", [FlexClient, AsyncFlexClient])
def test_a_setting_added_to_the_configuration_reaches_the_clients(
    kind: type[FlexClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_client, "Configuration", ExtendedConfiguration)
    monkeypatch.setattr(base_client, "ConnectionOptions", ExtendedOptions)
    clients = [
        kind(None, new_setting=9),  # type: ignore[call-arg]
        kind.from_env({}, auth=None, new_setting=9),  # type: ignore[call-arg]
        kind.from_merchant_config(MERCHANT_CONFIG, new_setting=9),  # type: ignore[call-arg]
    ]
    for client in clients:
        configuration: Any = client.api_client.configuration
        assert configuration.new_setting == 9
    default: Any = kind(None).api_client.configuration
    assert default.new_setting == 7
    assert inspect.signature(kind).parameters["new_setting"].default == 7


def test_the_options_are_the_parameters_of_the_configuration() -> None:
    parameters = dict(inspect.signature(Configuration).parameters)
    arguments = inspect.cleandoc(Configuration.__doc__ or "").partition("Attributes:")[0]
    documented = re.findall(r"^ {4}(\w+): ", arguments, re.MULTILINE)
    assert documented == list(parameters)
    del parameters["host"], parameters["auth"]
    types = {name: type_.__forward_arg__ for name, type_ in ConnectionOptions.__annotations__.items()}
    assert types == {name: each.annotation for name, each in parameters.items()}


@pytest.mark.parametrize("kind", [FlexClient, AsyncFlexClient])
def test_the_signature_of_a_client_has_all_settings(kind: type[FlexClient]) -> None:
    parameters = dict(inspect.signature(kind).parameters)
    assert parameters.pop("auth").kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert {name: parameters.pop(name).default for name in ("environment", "leeway", "keys")} == {
        "environment": "test",
        "leeway": 30.0,
        "keys": None,
    }
    settings = inspect.signature(Configuration).parameters
    assert parameters == {name: settings[name] for name in ConnectionOptions.__annotations__}


def test_a_subclass_with_its_own_constructor_has_its_own_signature() -> None:
    class ShopClient(FlexClient):
        __slots__ = ()

        def __init__(self, shop: str) -> None:
            super().__init__(None, user_agent_suffix=shop)

    assert list(inspect.signature(ShopClient).parameters) == ["shop"]


@pytest.mark.parametrize("kind", [FlexClient, AsyncFlexClient])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("read_timout", r"; did you mean 'read_timeout'\?"),
        ("leway", r"; did you mean 'leeway'\?"),
        ("host", r"; did you mean 'environment'\?"),
        ("completely_different", ""),
    ],
)
def test_an_unknown_argument_of_a_client(kind: type[FlexClient], name: str, hint: str) -> None:
    message = rf"^{kind.__name__}\(\) got an unexpected keyword argument '{name}'{hint}$"
    with pytest.raises(TypeError, match=message):
        kind(None, **{name: "x"})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=message):
        kind.from_env({}, auth=None, **{name: "x"})  # type: ignore[arg-type]


def test_the_documented_defaults_of_environment_variables() -> None:
    parameters = inspect.signature(FlexClient).parameters
    documented = {
        each.argument: float(default[1])
        for each in VARIABLES
        if (default := re.search(r"; ([0-9.]+) by default", each.description))
    }
    assert documented == {name: parameters[name].default for name in documented}
    assert set(documented) == {"connect_timeout", "read_timeout", "idle_timeout", "leeway"}
