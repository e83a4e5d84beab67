"""Hosts and timeouts: what is accepted, and what each wrong one is told."""

from __future__ import annotations

import pytest

from cybersource_flex import Configuration, ConfigurationError
from cybersource_flex.transport import Settings


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
