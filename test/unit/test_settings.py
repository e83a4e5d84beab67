"""Settings: what is accepted, what each wrong one is told, and that none shows a secret."""

from __future__ import annotations

import copy
import logging
import pickle
from typing import Any

import pytest

from cybersource_flex import Configuration, ConfigurationError
from cybersource_flex.transport import Request, Response, Settings, Tls

CANARY = "hunter2"


@pytest.mark.parametrize(
    ("given", "base", "signed"),
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
def test_a_host_is_brought_into_one_form(given: str, base: str, signed: str) -> None:
    settings = Settings(host=given)
    assert (settings.host, settings.signed_host) == (base, signed)
    assert settings.base_url == base
    behind = Settings(host="https://apitest.cybersource.com", intermediate_host=given)
    assert (behind.base_url, behind.intermediate_host) == (base, base)
    assert (behind.host, behind.signed_host) == ("https://apitest.cybersource.com", "apitest.cybersource.com")


@pytest.mark.parametrize(
    ("host", "rule"),
    [
        ("https://apitest.cybersource.com/flex", "has a path"),
        ("https://apitest.cybersource.com?x=1", "has a path, query"),
        ("https://apitest.cybersource.com#x", "has a path, query or fragment"),
        ("https://user:hunter2@apitest.cybersource.com", "user name or password"),
        ("http://apitest.cybersource.com", "https:// only"),
        ("http://127.0.0.1.example.com", "https:// only"),
        ("http://localhost.example.com", "https:// only"),
        ("ftp://apitest.cybersource.com", "scheme 'ftp'"),
        ("https://", "no name"),
        ("https://apitest.cybersource.com:port", "not a URL"),
        ("https://apitest.cybersource.com:99999", "not a URL"),
        ("https://api test.cybersource.com", "white space"),
        ("https://apitest.cybersource.com\r\nx: y", "white space"),
        ("https://apitest.cybersource.com\\@example.com", "backslash"),
        ("https://apitést.cybersource.com", "outside ASCII"),
        ("", "empty"),
        (None, "not a text"),
    ],
)
def test_what_is_wrong_with_a_host_is_said(host: str, rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule) as caught:
        Settings(host=host)
    assert "hunter2" not in str(caught.value)
    assert "https://apitest.cybersource.com" in str(caught.value) or "loopback" in str(caught.value)
    assert str(caught.value).startswith("host ")
    if host is not None:
        with pytest.raises(ConfigurationError, match=rule) as caught:
            Settings(host="https://apitest.cybersource.com", intermediate_host=host)
        assert str(caught.value).startswith("intermediate_host ")
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), "5", None, True])
@pytest.mark.parametrize("name", ["connect_timeout", "read_timeout"])
def test_timeouts_are_positive_and_finite(name: str, seconds: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be a positive number of seconds"):
        Configuration(**{name: seconds})


def test_defaults() -> None:
    configuration = Configuration()
    assert configuration.host == "https://apitest.cybersource.com"
    assert (configuration.connect_timeout, configuration.read_timeout) == (5.0, 30.0)
    assert configuration.auth is None


def test_settings_do_not_change() -> None:
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


class Signing:
    supports_mle = True

    def sign(self, request: Request, now: float) -> dict[str, str]:
        return {}


class WithoutEncryption(Signing):
    supports_mle = False


class Silent:
    def sign(self, request: Request, now: float) -> dict[str, str]:
        return {}


class Encrypting:
    def outgoing(self, request: Request, now: float) -> Request:
        return request

    def incoming(self, request: Request, response: Response) -> Response:
        return response


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"mle": "yes"}, "mle must be MessageLevelEncryption"),
        ({"mle": Encrypting}, "mle needs auth"),
        ({"mle": Encrypting()}, "mle needs auth: .*JwtSharedSecret or JwtP12"),
        (
            {"mle": Encrypting(), "auth": WithoutEncryption()},
            "does not go with WithoutEncryption: HTTP Signature .*JwtSharedSecret or JwtP12",
        ),
        ({"mle": Encrypting(), "auth": Silent()}, "does not go with Silent"),
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
def test_what_is_wrong_with_a_setting_is_said(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule) as caught:
        Configuration(**settings)
    assert CANARY not in str(caught.value)


def test_what_fits_together() -> None:
    auth, mle = Signing(), Encrypting()
    configuration = Configuration(auth=auth, mle=mle, user_agent_suffix="shop/1.2 (Linux)")
    assert configuration.mle is mle
    assert configuration.user_agent.startswith("cybersource-flex/")
    assert configuration.user_agent.endswith(" shop/1.2 (Linux)")
    assert Configuration().user_agent.count(" ") == 0
    assert Configuration(user_agent_suffix="x" * 200).user_agent.endswith(" " + "x" * 200)


def test_no_secret_is_shown_and_nothing_is_pickled() -> None:
    configuration = Configuration(
        auth=Signing(),
        mle=Encrypting(),
        proxy=f"http://user:{CANARY}@proxy.example.com:3128",
        intermediate_host="http://127.0.0.1:9",
    )
    shown = repr(configuration)
    assert shown == (
        "Configuration(host='https://apitest.cybersource.com', auth=<Signing>, mle=<Encrypting>, "
        "intermediate_host='http://127.0.0.1:9', proxy=Proxy('http://proxy.example.com:3128', with credentials))"
    )
    for each in (configuration, configuration.proxy):
        with pytest.raises(TypeError, match="__dict__"):
            vars(each)
        for use in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="holds credentials and cannot be pickled or copied"):
                use(each)
        with pytest.raises(AttributeError, match="cannot be changed"):
            each.url = "http://example.com"  # type: ignore[union-attr]


def test_skipping_verification_is_loud(caplog: pytest.LogCaptureFixture) -> None:
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
def test_skipping_verification_is_not_for_production(host: str) -> None:
    tls = Tls(insecure_skip_verification=True)
    if "test" in host:
        assert Configuration(host=host, tls=tls).tls is tls
        return
    for intermediate in (None, "https://gateway.example.com"):
        with pytest.raises(
            ConfigurationError, match=r"not for the production host 'api.* give its authority as ca_file"
        ):
            Configuration(host=host, tls=tls, intermediate_host=intermediate)
