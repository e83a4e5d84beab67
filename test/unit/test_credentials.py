"""Tokens, keys, secrets and card numbers are recognised where an id belongs, and genuine ids are let through."""

from __future__ import annotations

import base64
import json
import string
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cybersource_flex._credentials import (
    credential_in,
    is_card_number,
    is_encoded_secret,
    not_a_path_id,
    not_an_id,
)
from cybersource_flex.cards import TEST_CARDS

UPPER = string.ascii_uppercase + string.digits
BASE64URL = string.ascii_letters + string.digits + "-_"


def part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


JWS = ".".join((part(b'{"kid":"3g","alg":"RS256"}'), part(b'{"iss":"Flex API"}'), part(b"signature")))
JWE = ".".join((part(b'{"alg":"RSA-OAEP","enc":"A256GCM"}'), part(b"k" * 256), *map(part, (b"iv", b"text", b"tag"))))
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"
SECRET = base64.b64encode(bytes(range(32))).decode("ascii")

# Of 32, 48 and 64 bytes, and cut short.
SECRETS = dict.fromkeys(
    (
        "C8p9qdZ1rIv5jKmAqXh0N2f7ULxw4tBzGkYe3oTs6Hc",
        "C8p9qdZ1rIv5jKmAqXh0N2f7ULxw4tBzGkYe3oT",
        "C8p9qdZ1+Iv5jKmAqXh0N2f7/Lxw4tBzGkYe3oTs6HcC8p9qdZ1rIv5jKmAqXh0",
        "C8p9qdZ1-Iv5jKmAqXh0N2f7_Lxw4tBzGkYe3oTs6HcC8p9qdZ1rIv5jKmAqXh0N2f7ULxw4tBzGkYe3oTs6Q==",
    ),
    "a secret or signature in base64",
)

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
        (' {"card": {"securityCode": "123"}} ', "a JSON object"),
        *((secret, SECRETS[secret]) for secret in SECRETS),
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


N = "4111111111111111"


@pytest.mark.parametrize(
    "text",
    [
        *(f"{N}.0", f"{N}|12|2031|123", f"{N} 12/31", f"{N},123", f"number={N}&cvv=123", f"b'{N}'", f'"{N}"'),
        *(f"{{'number': '{N}'}}", f'[{{"number":"{N}"}}]', f"PAN{N}", f"card_{N}", f"{N}-12-31", f"id:{N}x"),
        *(f";{N}=25121011000?", f"%B{N}^DOE/J^2512?", "4111 1111 1111 1111 12/31", "no. 3714-496353-98431!"),
        *(
            mark.join(["4111"] * 1 + ["1111"] * 3)
            for mark in (".", "/", "_", "\u00a0", "\u2011", "  ", " - ", ",", "', '")
        ),
        "".join(chr(0xFF10 + int(digit)) for digit in N),
        "".join(chr(0x0660 + int(digit)) for digit in N),
        "6304000000000000000, 6304 0000 0000 0000 000",
    ],
)
def test_card_numbers_are_recognised_in_other_forms(text: str) -> None:
    assert credential_in(text) == "a card number"
    assert not_an_id(text) == "a card number"


@pytest.mark.parametrize(
    "text",
    [
        *(N[:-1] + "2", f"x{N}1111", f"1{N}1111", f"0.{N}", f"4.{N[1:]}", "48.85837009999999"),
        *("2026-11-26T12:00:00.123456Z", "2026-11-26 12:00:00", "+44 20 7946 0958", "4111,1111", "4111 1111 1111"),
        *("00000000-4111-1111-1111-111111111111", f"{N}A{N}", "https://shop.example/4111", "1795348800123456"),
    ],
)
def test_other_numbers_are_not_card_numbers(text: str) -> None:
    assert credential_in(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *(
            (text, "characters that ids do not have")
            for text in ("A/B", "a b?c", "é", "<Card XXXX1111>", "A=", "A\n", "+")
        ),
        ("A" * 129, "too long"),
        (N, "a card number"),
        (f"Bearer {SECRET}", "characters that ids do not have"),
    ],
)
def test_what_is_no_id_in_a_path(text: str, words: str) -> None:
    found = not_a_path_id(text)
    assert found is not None
    assert words in found


@pytest.mark.parametrize("length", [24, 32, 48, 64])
def test_random_secrets_are_recognised(length: int) -> None:
    import random

    chance = random.Random(length)
    for _ in range(300):
        secret = base64.b64encode(chance.randbytes(length)).decode()
        for text in (secret, secret.rstrip("="), secret[:-4]):
            assert is_encoded_secret(text, at_least=22), text


@pytest.mark.parametrize(
    "text",
    [
        *("acme_flex_test_001", "AcmeStoresProductionEurope2024", "ACME_STORES_PRODUCTION_EUROPE_2024", "testrest"),
        *("12345678-abcd-4123-8123-12345678abcd", "0123456789abcdef0123456789abcdef", "6461731521426399003473"),
    ],
)
def test_names_of_merchants_and_keys_are_no_secrets(text: str) -> None:
    assert not is_encoded_secret(text, at_least=22)


def test_random_ids_pass() -> None:
    # The forms of published ids, many of them: a rule that hits one by chance refuses a genuine call.
    import random

    chance = random.Random(11)
    for alphabet, length in ((UPPER, 64), (BASE64URL, 21), (BASE64URL, 32), ("0123456789abcdef", 64), (UPPER, 16)):
        for _ in range(20_000):
            text = "".join(chance.choices(alphabet, k=length))
            assert not_an_id(text) is None, text
            assert not_a_path_id(text) is None, text
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
