"""``script_tag`` and ``csp_sources`` of a capture context: escaped HTML, and sources without injection."""

from __future__ import annotations

import copy
import pickle
from html.parser import HTMLParser
from typing import Any

import pytest

from cybersource_flex import InvalidArgumentError, InvalidClaimError, fields
from cybersource_flex.jose.microform_page import csp_sources, script_tag
from cybersource_flex.testing import TokenFactory

HASH = "sha256-" + "A" * 42 + "+="
DATA = {
    "clientLibrary": "https://flex.cybersource.com/microform/bundle/v2.9.0/flex-microform.min.js",
    "clientLibraryIntegrity": HASH,
    "mfOrigin": "https://flex.cybersource.com",
}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def parse(tag: str) -> dict[str, str | None]:
    parser = Tags()
    parser.feed(tag)
    ((name, attributes),) = parser.tags
    assert (name, tag.endswith("></script>")) == ("script", True)
    return attributes


def test_the_script_tag() -> None:
    assert script_tag(DATA, None) == (
        '<script src="https://flex.cybersource.com/microform/bundle/v2.9.0/flex-microform.min.js" '
        f'integrity="{HASH}" crossorigin="anonymous"></script>'
    )


def test_a_nonce_is_added() -> None:
    assert parse(script_tag(DATA, "r4nd0mN0nce=="))["nonce"] == "r4nd0mN0nce=="


def test_the_url_is_escaped() -> None:
    url = "https://flex.example/x.js?a=1&b='2'"
    tag = script_tag({**DATA, "clientLibrary": url}, None)
    assert "&amp;b=&#x27;2&#x27;" in tag
    assert parse(tag)["src"] == url


def test_templates_do_not_escape_the_tag_again() -> None:
    tag: Any = script_tag(DATA, None)
    assert tag.__html__() == tag
    assert type(tag.__html__()) is str
    for other in (copy.copy(tag), pickle.loads(pickle.dumps(tag))):  # noqa: S301
        assert other == tag
    assert not hasattr(tag + "<b>", "__html__")


@pytest.mark.parametrize(
    "url",
    [
        'https://flex.example/"onload="x',
        "https://flex.example/<b>",
        "https://flex.example/a b",
        "https://flex.example/a\nb",
        "https://user:password@flex.example/a",
        "https://flex.example;script-src *",
        "https://flex.example",
        "http://flex.example/x.js",
        "//flex.example/x.js",
        "javascript:alert(1)",
        "data:text/javascript,x",
        "/x.js",
        "https://flex.example/\u00e9.js",
        "https://flex.example/x.js#a",
    ],
)
def test_other_urls_are_rejected(url: str) -> None:
    data = {**DATA, "clientLibrary": url}
    for call in (lambda: script_tag(data, None), lambda: csp_sources(data)):
        with pytest.raises(InvalidClaimError, match="clientLibrary of the capture context is not an https") as caught:
            call()
        assert caught.value.claim == "ctx"


@pytest.mark.parametrize("url", ["http://localhost:8080/x.js", "http://127.0.0.1:1/x.js", "http://[::1]:8080/x.js"])
def test_http_is_accepted_on_this_machine(url: str) -> None:
    assert parse(script_tag({**DATA, "clientLibrary": url}, None))["src"] == url


@pytest.mark.parametrize("value", [None, "", 7, []])
def test_a_context_without_a_script(value: Any) -> None:
    for name, message in (("clientLibrary", "no clientLibrary;"), ("clientLibraryIntegrity", "no clientLibraryIntegr")):
        with pytest.raises(InvalidClaimError, match=message) as caught:
            script_tag({**DATA, name: value}, None)
        assert caught.value.claim == "ctx"


@pytest.mark.parametrize("value", ["md5-AAAA", "sha256-", 'sha256-"', f"{HASH};", f"{HASH}\n", "sha256-AAAA"])
def test_a_wrong_integrity(value: str) -> None:
    with pytest.raises(InvalidClaimError, match="is not a hash in base64") as caught:
        script_tag({**DATA, "clientLibraryIntegrity": value}, None)
    assert caught.value.claim == "ctx"


def test_several_hashes() -> None:
    hashes = f"{HASH} sha384-{'B' * 64}"
    assert parse(script_tag({**DATA, "clientLibraryIntegrity": hashes}, None))["integrity"] == hashes


@pytest.mark.parametrize("nonce", ["", "short", 'x" onload="y', "a b c d e f", "x" * 300, 7, b"abcdefgh"])
def test_a_wrong_nonce(nonce: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        script_tag(DATA, nonce)
    assert caught.value.argument == "nonce"


def test_the_sources() -> None:
    origin = ["https://flex.cybersource.com"]
    assert csp_sources(DATA) == {"script-src": origin, "frame-src": origin, "child-src": origin}
    without = {name: value for name, value in DATA.items() if name != "mfOrigin"}
    assert csp_sources(without) == csp_sources(DATA)


def test_frames_may_have_another_origin() -> None:
    sources = csp_sources({**DATA, "mfOrigin": "https://Frames.example:8443"})
    both = ["https://flex.cybersource.com", "https://frames.example:8443"]
    assert sources == {"script-src": both[:1], "frame-src": both, "child-src": both}
    sources["frame-src"].append("x")
    assert sources["child-src"] == both


@pytest.mark.parametrize("value", ["*", "https://a.example; script-src *", "https://a.example/", "", 7])
def test_a_wrong_origin_of_frames(value: Any) -> None:
    with pytest.raises(InvalidClaimError, match="mfOrigin") as caught:
        csp_sources({**DATA, "mfOrigin": value})
    assert caught.value.claim == "ctx"


def test_a_context_of_the_flex_api_has_no_script() -> None:
    context = TokenFactory().capture_context(fields(card=["number"]))
    for call in (context.script_tag, context.csp_sources):
        with pytest.raises(InvalidClaimError, match="expected a context from create_microform_context"):
            call()
