"""Tokens, keys, secrets and card numbers are recognised where an id belongs, and genuine ids are let through."""

from __future__ import annotations

import base64
import json
import string
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cybersource_flex._credentials import credential_in, is_card_number, not_an_id
from cybersource_flex.cards import TEST_CARDS

UPPER = string.ascii_uppercase + string.digits
BASE64URL = string.ascii_letters + string.digits + "-_"


def part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


JWS = ".".join((part(b'{"kid":"3g","alg":"RS256"}'), part(b'{"iss":"Flex API"}'), part(b"signature")))
JWE = ".".join((part(b'{"alg":"RSA-OAEP","enc":"A256GCM"}'), part(b"k" * 256), *map(part, (b"iv", b"text", b"tag"))))
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"
SECRET = base64.b64encode(bytes(range(32))).decode("ascii")

IDS = [
    "1D0V31P1KLE3W7SVJBYTM8UG1XM2KIOEHIVWAIDOJHK62IHT1QQ5603FC760609C",
    "A" * 64,
    "0123456789abcdef" * 4,
    "0123456789ABCDEF" * 8,
    "E-firqlLk7GiziQwXxAsq",
    *("3g", "zu", "ln", "wf", "j4", "sn", "00SvIaGIfyaw897rDeG9eFdODKaCKc1q", "08OneTimeKey"),
    *("A", "A/B", "a b?c", "...", "2020-01-02T03:04:05Z", "1795348800", "1795348800123", "6461731521426399003473"),
    *("eyJ", "ey", "e30", "e30.e30", "ex.ample", "eyes.only", "example.com", "v1.2.3", "a.b.c", "a.b.c.d.e"),
    "12345678-1234-4123-8123-123456789012",
    # As many digits as a card number, but not one: a wrong check digit, and a range that no network has.
    *("4111111111111112", "9111111111111118"),
]


@pytest.mark.parametrize("text", IDS)
def test_ids_pass(text: str) -> None:
    assert not_an_id(text) is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (JWS, "a JWT"),
        (f" {JWS}\n", "a JWT"),
        (f"Bearer {JWS}", "a JWT"),
        (f'"{JWS}"', "a JWT"),
        (f"token={JWS}&x=1", "a JWT"),
        (part(b'{ "alg" : "none" }') + "." + part(b"{}") + ".", "a JWT"),
        (part(b'{\n  "alg": "RS256"}') + ".e30.c2ln", "a JWT"),
        (part('{"é":"RS256","alg":"x"}'.encode()) + ".e30.c2ln", "a JWT"),
        (JWE, "a JWE"),
        (JWS.rpartition(".")[0], "a part of a JWT or JWE"),
        (JWS.partition(".")[0], "a part of a JWT or JWE"),
        (JWS.split(".")[1], "a part of a JWT or JWE"),
        (JWE.rpartition(".")[0], "a part of a JWT or JWE"),
        (PEM, "a key or certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----", "a key or certificate in PEM"),
    ],
)
def test_credentials_are_recognised(text: str, what: str) -> None:
    assert credential_in(text) == what
    assert not_an_id(text) == what


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (SECRET, "a shared secret (base64 of 32 bytes)"),
        (f"{SECRET}\n", "a shared secret (base64 of 32 bytes)"),
        ('{"kty":"RSA","d":"AQAB"}', "a JSON object"),
        (' {"card": {"number": "4111111111111111"}} ', "a JSON object"),
    ],
)
def test_what_is_no_id_but_may_be_a_value(text: str, what: str) -> None:
    assert not_an_id(text) == what
    assert credential_in(text) is None


@pytest.mark.parametrize("name", TEST_CARDS)
def test_card_numbers_are_recognised(name: str) -> None:
    number = TEST_CARDS[name]
    spaced = " ".join(number[at : at + 4] for at in range(0, len(number), 4))
    for text in (number, spaced, spaced.replace(" ", "-"), f" {number}\n"):
        assert is_card_number(text)
        assert not_an_id(text) == credential_in(text) == "a card number"
        assert not_an_id(text, card_numbers=False) is None
    assert not is_card_number(f"{number}a")


def test_random_ids_pass() -> None:
    # The forms of published ids, many of them: a rule that hits one by chance refuses a genuine call.
    import random

    chance = random.Random(11)
    for alphabet, length in ((UPPER, 64), (BASE64URL, 21), (BASE64URL, 32), ("0123456789abcdef", 64), (UPPER, 16)):
        for _ in range(20_000):
            text = "".join(chance.choices(alphabet, k=length))
            assert not_an_id(text) is None, text
    for _ in range(5_000):
        assert not_an_id(str(uuid.UUID(int=chance.getrandbits(128)))) is None


@given(
    header=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "enc", "x"]), st.text(max_size=20), min_size=1),
    parts=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4),
    around=st.tuples(st.sampled_from(["", " ", "Bearer ", "jwt=", '"']), st.sampled_from(["", " ", "&a=b", '"', "\n"])),
)
def test_every_token_is_recognised(header: dict[str, str], parts: list[bytes], around: tuple[str, str]) -> None:
    text = ".".join(map(part, (json.dumps(header).encode(), *parts)))
    assert credential_in(f"{around[0]}{text}{around[1]}") is not None
