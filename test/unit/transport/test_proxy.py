"""Proxies: URLs, environment variables, and the errors of invalid ones."""

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


def proxy_of(**settings: object) -> str | None:
    proxy = Configuration(**settings).proxy  # type: ignore[arg-type]
    return None if proxy is None else proxy.url


@pytest.mark.parametrize(
    ("proxy_url", "url", "credentials"),
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
def test_valid_proxies(proxy_url: str, url: str, credentials: str | None) -> None:
    proxy = Configuration(proxy=proxy_url).proxy
    assert proxy is not None
    assert proxy.url == url
    expected = {}
    if credentials is not None:
        expected = {"Proxy-Authorization": "Basic " + base64.b64encode(credentials.encode()).decode()}
    assert proxy.headers() == expected
    assert repr(proxy) == f"Proxy({url!r}{'' if credentials is None else ', with credentials'})"


@pytest.mark.parametrize(
    ("proxy_url", "rule"),
    [
        ("", "empty or not a string"),
        (8080, "empty or not a string"),
        ("proxy.example.com:3128", "does not begin with http:// or https://"),
        (f"user:{CANARY}@proxy.example.com", "does not begin with"),
        (f"{CANARY}://proxy.example.com", "does not begin with"),
        (f"socks5://user:{CANARY}@proxy.example.com", "SOCKS"),
        (f"http://user:{CANARY}@", "no host"),
        (f"http://user:{CANARY}@proxy.example.com/path", "has a path, query or fragment"),
        (f"http://user:a/{CANARY}@proxy.example.com", "not a valid URL|percent-encoded"),
        (f"http://user:#{CANARY}@proxy.example.com", "percent-encoded"),
        (f"http://user:?{CANARY}@proxy.example.com", "percent-encoded"),
        (f"http://user:{CANARY}@proxy.example.com:port", "not a valid URL"),
        (f"http://user:{CANARY}@proxy.example.com:99999", "not a valid URL"),
        (f"http://user:{CANARY}@[::1", "not a valid URL"),
        (f"http://user:{CANARY} @proxy.example.com", "white space"),
        (f"http://user:{CANARY}\r\nX-Y: z@proxy.example.com", "control character"),
        (f"http://user:{CANARY}é@proxy.example.com", "outside ASCII"),
        (f"http://us%3Aer:{CANARY}@proxy.example.com", "colon in its user name"),
        (f"http://user:{CANARY}%0A@proxy.example.com", "control character"),
    ],
)
def test_errors_of_proxies(proxy_url: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=rule) as caught:
        Configuration(proxy=proxy_url)
    assert str(caught.value).startswith("proxy ")
    # Neither the error nor one of its causes shows the password.
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__


def test_the_error_names_the_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_environment_variables(
    variables: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_of() == expected
    assert proxy_of(proxy_from_environment=False) is None
    assert proxy_of(proxy="http://given:1") == "http://given:1"


@pytest.mark.parametrize(
    ("host", "no_proxy", "exempt"),
    [
        ("https://10.1.2.3", "10.0.0.0/8", True),
        ("https://10.1.2.3", "10.9.9.9/8", True),
        ("https://10.1.2.3", "192.168.0.0/16, 10.0.0.0/8", True),
        ("https://10.1.2.3", "192.168.0.0/16 10.0.0.0/8", True),
        ("https://11.1.2.3", "10.0.0.0/8", False),
        ("https://10.1.2.3", "0.0.0.0/0", True),
        ("https://10.1.2.3", "10.1.2.3/32", True),
        ("https://10.1.2.3", "10.1.2.3", True),
        ("https://10.1.2.3", "10.1.2.3:443", True),
        ("https://10.1.2.3:8443", "10.1.2.3:443", False),
        ("https://10.1.2.3:8443", "10.0.0.0/8:8443", True),
        # Addresses have no parent domains.
        ("https://10.1.2.3", "2.3", False),
        ("https://10.1.2.3", ".1.2.3", False),
        ("https://[fd00::5]", "fd00::/8", True),
        ("https://[fd00::5]", "[fd00::]/8", True),
        ("https://[fd00::5]", "FD00:0:0::5", True),
        ("https://[fd00::5]", "[fd00::5]", True),
        ("https://[fd00::5]:8443", "[fd00::5]:8443", True),
        ("https://[fd00::5]", "[fd00::5]:8443", False),
        ("https://[2001:db8::5]", "fd00::/8", False),
        ("https://[2001:db8::5]", "2001:db8::/129, 2001:db8::/32", True),
        ("https://[fd00::5]", "10.0.0.0/8", False),
        ("https://10.1.2.3", "fd00::/8", False),
        # What cannot be parsed is skipped.
        ("https://10.1.2.3", "10.0.0.0/33", False),
        ("https://10.1.2.3", "10.0.0.0/", False),
        ("https://10.1.2.3", "10.0.0/8, 10.0.0.0/x, [10.0.0.0/8, ], /8, 10.1.2.3:x, :443, ::/", False),
        ("https://10.1.2.3", "nonsense/8,10.0.0.0/8", True),
        # Names are not resolved.
        ("https://gateway.example.com", "10.0.0.0/8, 0.0.0.0/0, ::/0", False),
        ("https://gateway.example.com.", "example.com", True),
        ("https://gateway.example.com", "example.com.", True),
    ],
)
def test_networks_and_addresses_in_no_proxy(
    host: str, no_proxy: str, exempt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://one:1")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    expected = None if exempt else "http://one:1"
    assert proxy_of(host=host) == expected
    # The host that is connected to decides.
    assert proxy_of(intermediate_host=host) == expected
    assert proxy_of(host=host, intermediate_host="https://elsewhere.example.org") == "http://one:1"


@pytest.mark.parametrize(
    "host", ["http://localhost:1", "https://127.0.0.1:1", "https://[::1]:1", "http://flex.localhost"]
)
def test_loopback_hosts_do_not_use_environment_proxies(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://one:1")
    assert proxy_of(host=host) is None
    # The host that is connected to decides.
    assert proxy_of(intermediate_host=host) is None
    assert proxy_of(host=host, intermediate_host="https://gateway.example.com") == "http://one:1"
    assert proxy_of(host=host, proxy="http://given:1") == "http://given:1"


def test_the_environment_is_read_when_the_configuration_is_created(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://one:1")
    configuration = Configuration()
    monkeypatch.setenv("HTTPS_PROXY", "http://two:2")
    assert configuration.proxy is not None
    assert configuration.proxy.url == "http://one:1"
