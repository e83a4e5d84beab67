"""Tokens, keys, secrets and card numbers are detected in the place of an id, and genuine ids are accepted."""

from __future__ import annotations

import base64
import json
import string
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cybersource_flex._credential_detection import (
    PublicId,
    describe_non_id,
    describe_non_path_id,
    find_credential,
    is_card_number,
    is_encoded_secret,
    mask_credentials,
)
from cybersource_flex.cards import TEST_CARDS
from support.encoding import base64url

UPPER = string.ascii_uppercase + string.digits
BASE64URL = string.ascii_letters + string.digits + "-_"


JWS = ".".join((base64url(b'{"kid":"3g","alg":"RS256"}'), base64url(b'{"iss":"Flex API"}'), base64url(b"signature")))
JWE = ".".join(
    (
        base64url(b'{"alg":"RSA-OAEP","enc":"A256GCM"}'),
        base64url(b"k" * 256),
        *map(base64url, (b"iv", b"ciphertext", b"tag")),
    )
)
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"
SECRET = base64.b64encode(bytes(range(32))).decode("ascii")

# Secrets of 32, 48 and 64 bytes, and a truncated one.
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


@pytest.mark.parametrize("value", IDS)
def test_ids_are_accepted(value: str) -> None:
    assert describe_non_id(value) is None


@pytest.mark.parametrize(
    ("value", "description"),
    [
        (JWS, "a JWT"),
        (f" {JWS}\n", "a JWT"),
        (f"Bearer {JWS}", "a JWT"),
        (f'"{JWS}"', "a JWT"),
        (f"token={JWS}&x=1", "a JWT"),
        (base64url(b'{ "alg" : "none" }') + "." + base64url(b"{}") + ".", "a JWT"),
        (base64url(b'{\n  "alg": "RS256"}') + ".e30.c2ln", "a JWT"),
        (base64url('{"é":"RS256","alg":"x"}'.encode()) + ".e30.c2ln", "a JWT"),
        (JWE, "a JWE"),
        (JWS.rpartition(".")[0], "a part of a JWT or JWE"),
        (JWS.partition(".")[0], "a part of a JWT or JWE"),
        (JWS.split(".")[1], "a part of a JWT or JWE"),
        (JWE.rpartition(".")[0], "a part of a JWT or JWE"),
        (PEM, "a key or certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----", "a key or certificate in PEM"),
    ],
)
def test_credentials_are_detected(value: str, description: str) -> None:
    assert find_credential(value) == description
    assert describe_non_id(value) == description


@pytest.mark.parametrize(
    ("value", "description"),
    [
        (SECRET, "a shared secret (base64 of 32 bytes)"),
        (f"{SECRET}\n", "a shared secret (base64 of 32 bytes)"),
        ('{"kty":"RSA","d":"AQAB"}', "a JSON object"),
        (' {"card": {"securityCode": "123"}} ', "a JSON object"),
        *((secret, SECRETS[secret]) for secret in SECRETS),
    ],
)
def test_secrets_and_json_are_rejected_as_ids_but_accepted_as_values(value: str, description: str) -> None:
    assert describe_non_id(value) == description
    assert find_credential(value) is None


@pytest.mark.parametrize("name", TEST_CARDS)
def test_card_numbers_are_detected(name: str) -> None:
    number = TEST_CARDS[name]
    spaced = " ".join(number[position : position + 4] for position in range(0, len(number), 4))
    for value in (number, spaced, spaced.replace(" ", "-"), f" {number}\n"):
        assert is_card_number(value)
        assert describe_non_id(value) == find_credential(value) == "a card number"
        assert describe_non_id(value, card_numbers=False) is None
    assert not is_card_number(f"{number}a")


NUMBER = "4111111111111111"


@pytest.mark.parametrize(
    "value",
    [
        *(
            f"{NUMBER}.0",
            f"{NUMBER}|12|2031|123",
            f"{NUMBER} 12/31",
            f"{NUMBER},123",
            f"number={NUMBER}&cvv=123",
            f"b'{NUMBER}'",
            f'"{NUMBER}"',
        ),
        *(
            f"{{'number': '{NUMBER}'}}",
            f'[{{"number":"{NUMBER}"}}]',
            f"PAN{NUMBER}",
            f"card_{NUMBER}",
            f"{NUMBER}-12-31",
            f"id:{NUMBER}x",
        ),
        *(f";{NUMBER}=25121011000?", f"%B{NUMBER}^DOE/J^2512?", "4111 1111 1111 1111 12/31", "no. 3714-496353-98431!"),
        *(
            mark.join(["4111"] * 1 + ["1111"] * 3)
            for mark in (".", "/", "_", "\u00a0", "\u2011", "  ", " - ", ",", "', '")
        ),
        "".join(chr(0xFF10 + int(digit)) for digit in NUMBER),
        "".join(chr(0x0660 + int(digit)) for digit in NUMBER),
        "6304000000000000000, 6304 0000 0000 0000 000",
    ],
)
def test_card_numbers_are_detected_in_other_formats(value: str) -> None:
    assert find_credential(value) == "a card number"
    assert describe_non_id(value) == "a card number"


@pytest.mark.parametrize(
    "value",
    [
        *(NUMBER[:-1] + "2", f"x{NUMBER}1111", f"1{NUMBER}1111", f"0.{NUMBER}", f"4.{NUMBER[1:]}", "48.85837009999999"),
        *("2026-11-26T12:00:00.123456Z", "2026-11-26 12:00:00", "+44 20 7946 0958", "4111,1111", "4111 1111 1111"),
        *(
            "00000000-4111-1111-1111-111111111111",
            f"{NUMBER}A{NUMBER}",
            "https://shop.example/4111",
            "1795348800123456",
        ),
    ],
)
def test_other_numbers_are_not_card_numbers(value: str) -> None:
    assert find_credential(value) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        *(
            (value, "characters that ids do not have")
            for value in ("A/B", "a b?c", "é", "<Card XXXX1111>", "A=", "A\n", "+")
        ),
        ("A" * 129, "too long"),
        (NUMBER, "a card number"),
        (f"Bearer {SECRET}", "characters that ids do not have"),
    ],
)
def test_values_that_cannot_be_in_a_path_are_rejected(value: str, reason: str) -> None:
    result = describe_non_path_id(value)
    assert result is not None
    assert reason in result


@pytest.mark.parametrize("value", [JWS.partition(".")[0], NUMBER, "A/B", "A" * 129, PEM])
def test_public_ids_must_have_the_characters_of_ids_too(value: str) -> None:
    assert describe_non_path_id(PublicId(value)) is not None


@pytest.mark.parametrize("length", [24, 32, 48, 64])
def test_random_secrets_are_detected(length: int) -> None:
    import random

    random_source = random.Random(length)
    for _ in range(300):
        secret = base64.b64encode(random_source.randbytes(length)).decode()
        for value in (secret, secret.rstrip("="), secret[:-4]):
            assert is_encoded_secret(value, min_length=22), value


@pytest.mark.parametrize(
    "value",
    [
        *("acme_flex_test_001", "AcmeStoresProductionEurope2024", "ACME_STORES_PRODUCTION_EUROPE_2024", "testrest"),
        *("12345678-abcd-4123-8123-12345678abcd", "0123456789abcdef0123456789abcdef", "6461731521426399003473"),
    ],
)
def test_names_of_merchants_and_keys_are_not_taken_for_secrets(value: str) -> None:
    assert not is_encoded_secret(value, min_length=22)


def test_random_ids_are_accepted() -> None:
    # Many random ids in the formats of published ones. A rule that matches one by chance would reject a genuine call.
    import random

    random_source = random.Random(11)
    for alphabet, length in ((UPPER, 64), (BASE64URL, 21), (BASE64URL, 32), ("0123456789abcdef", 64), (UPPER, 16)):
        for _ in range(20_000):
            value = "".join(random_source.choices(alphabet, k=length))
            assert describe_non_id(value) is None, value
            assert describe_non_path_id(value) is None, value
    for _ in range(5_000):
        assert describe_non_id(str(uuid.UUID(int=random_source.getrandbits(128)))) is None


@given(
    header=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "enc", "x"]), st.text(max_size=20), min_size=1),
    parts=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4),
    around=st.tuples(st.sampled_from(["", " ", "Bearer ", "jwt=", '"']), st.sampled_from(["", " ", "&a=b", '"', "\n"])),
)
def test_random_tokens_are_detected(header: dict[str, str], parts: list[bytes], around: tuple[str, str]) -> None:
    value = ".".join(map(base64url, (json.dumps(header).encode(), *parts)))
    assert find_credential(f"{around[0]}{value}{around[1]}") is not None


@pytest.mark.parametrize(
    ("string", "masked"),
    [
        (f"No such command '{JWS}'.", "No such command '[masked]'."),
        (f"No such option '--{JWS}'.", "No such option '[masked]'."),
        (f"Got unexpected extra argument ({SECRET})", "Got unexpected extra argument ([masked])"),
        (f"a secret with a slash: {'/+' + SECRET[2:]}", "a secret with a slash: [masked]"),
        (f"the key {PEM}\nand more", "the key [masked]"),
        ("arguments (4111 1111 1111 1111)", "arguments ([masked])"),
        ("GET /flex/v2/tokens/4111%201111%201111%201111 404", "GET /flex/v2/tokens/[masked] 404"),
        ("GET /flex/v2/tokens/4111-1111-1111-1111 404", "GET /flex/v2/tokens/[masked] 404"),
        (f"GET /flex/v2/tokens/{JWS} 404", "GET /flex/v2/tokens/[masked] 404"),
        ("/Users/Jane/Documents/Shop/Keys/Flex/Cards/File", None),
        ("'cards.jsonl' 5-5, 2026-11-22 12:00:00,123 --no-such-option", None),
        *((f"the key {each!r}", None) for each in IDS),
    ],
)
def test_only_credentials_are_masked(string: str, masked: str | None) -> None:
    assert mask_credentials(string) == (string if masked is None else masked)
