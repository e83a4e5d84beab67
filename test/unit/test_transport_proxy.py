"""Proxies as settings: URLs, the environment's variables, and what each wrong one is told."""

from __future__ import annotations

import base64
import os

import pytest

from cybersource_flex import Configuration, ConfigurationError

CANARY = "hunter2"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name == "REQUEST_METHOD":
            monkeypatch.delenv(name)


def used(**settings: object) -> str | None:
    proxy = Configuration(**settings).proxy  # type: ignore[arg-type]
    return None if proxy is None else proxy.url


@pytest.mark.parametrize(
    ("given", "url", "pair"),
    [
        ("http://proxy.example.com:3128", "http://proxy.example.com:3128", None),
        ("HTTP://Proxy.Example.com", "http://proxy.example.com", None),
        ("https://proxy.example.com:443/", "https://proxy.example.com", None),
        ("http://[::1]:8080", "http://[::1]:8080", None),
        ("http://@proxy.example.com", "http://proxy.example.com", None),
        ("http://user:pass@proxy.example.com", "http://proxy.example.com", "user:pass"),
        ("http://user@proxy.example.com", "http://proxy.example.com", "user:"),
        ("http://us%40er:p%3Aa%2Fs%25s@proxy.example.com:1", "http://proxy.example.com:1", "us@er:p:a/s%s"),
        ("http://zo%C3%AB:%E2%82%AC@proxy.example.com", "http://proxy.example.com", "zoë:€"),
    ],
)
def test_a_proxy(given: str, url: str, pair: str | None) -> None:
    proxy = Configuration(proxy=given).proxy
    assert proxy is not None
    assert proxy.url == url
    expected = {}
    if pair is not None:
        expected = {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    assert proxy.headers() == expected
    assert repr(proxy) == f"Proxy({url!r}{'' if pair is None else ', with credentials'})"


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ("", "empty or not a text"),
        (8080, "empty or not a text"),
        ("proxy.example.com:3128", "does not begin with http:// or https://"),
        (f"user:{CANARY}@proxy.example.com", "does not begin with"),
        (f"{CANARY}://proxy.example.com", "does not begin with"),
        (f"socks5://user:{CANARY}@proxy.example.com", "SOCKS"),
        (f"http://user:{CANARY}@", "no host"),
        (f"http://user:{CANARY}@proxy.example.com/path", "has a path, query or fragment"),
        (f"http://user:a/{CANARY}@proxy.example.com", "not a URL|percent-encoded"),
        (f"http://user:#{CANARY}@proxy.example.com", "percent-encoded"),
        (f"http://user:?{CANARY}@proxy.example.com", "percent-encoded"),
        (f"http://user:{CANARY}@proxy.example.com:port", "not a URL"),
        (f"http://user:{CANARY}@proxy.example.com:99999", "not a URL"),
        (f"http://user:{CANARY}@[::1", "not a URL"),
        (f"http://user:{CANARY} @proxy.example.com", "white space"),
        (f"http://user:{CANARY}\r\nX-Y: z@proxy.example.com", "control character"),
        (f"http://user:{CANARY}é@proxy.example.com", "outside ASCII"),
        (f"http://us%3Aer:{CANARY}@proxy.example.com", "colon in its user name"),
        (f"http://user:{CANARY}%0A@proxy.example.com", "control character"),
    ],
)
def test_what_is_wrong_with_a_proxy_is_said(given: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=rule) as caught:
        Configuration(proxy=given)
    assert str(caught.value).startswith("proxy ")
    # Neither the message, nor an exception that hides behind it.
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__


def test_a_variable_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", f"socks5://user:{CANARY}@proxy.example.com")
    with pytest.raises(ConfigurationError, match="the environment variable ALL_PROXY is a SOCKS proxy") as caught:
        Configuration()
    assert CANARY not in str(caught.value)
    assert Configuration(proxy_from_environment=False).proxy is None


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://one:1"}, "http://one:1"),
        ({"https_proxy": "http://two:2", "HTTPS_PROXY": "http://one:1"}, "http://two:2"),
        ({"HTTPS_PROXY": "one:1"}, "http://one:1"),
        ({"HTTPS_PROXY": "https://one:1"}, "https://one:1"),
        ({"ALL_PROXY": "http://three:3"}, "http://three:3"),
        ({"ALL_PROXY": "http://three:3", "HTTPS_PROXY": "http://one:1"}, "http://one:1"),
        ({"HTTP_PROXY": "http://four:4"}, None),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTPS_PROXY": "http://one:1", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://one:1", "NO_PROXY": "example.com, apitest.cybersource.com"}, None),
        ({"HTTPS_PROXY": "http://one:1", "no_proxy": "CyberSource.com"}, None),
        ({"HTTPS_PROXY": "http://one:1", "no_proxy": ".cybersource.com"}, None),
        ({"HTTPS_PROXY": "http://one:1", "no_proxy": "*.cybersource.com"}, None),
        ({"HTTPS_PROXY": "http://one:1", "no_proxy": "apitest.cybersource.com:443"}, None),
        ({"HTTPS_PROXY": "http://one:1", "no_proxy": "apitest.cybersource.com:8443"}, "http://one:1"),
        ({"HTTPS_PROXY": "http://one:1", "no_proxy": "source.com, , localhost"}, "http://one:1"),
    ],
)
def test_the_environment(variables: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert used() == expected
    assert used(proxy_from_environment=False) is None
    assert used(proxy="http://given:1") == "http://given:1"


@pytest.mark.parametrize(
    "host", ["http://localhost:1", "https://127.0.0.1:1", "https://[::1]:1", "http://flex.localhost"]
)
def test_loopback_hosts_use_no_proxy_of_the_environment(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://one:1")
    assert used(host=host) is None
    # What counts is where the connection leads to.
    assert used(intermediate_host=host) is None
    assert used(host=host, intermediate_host="https://gateway.example.com") == "http://one:1"
    assert used(host=host, proxy="http://given:1") == "http://given:1"


def test_the_environment_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://one:1")
    configuration = Configuration()
    monkeypatch.setenv("HTTPS_PROXY", "http://two:2")
    assert configuration.proxy is not None
    assert configuration.proxy.url == "http://one:1"
