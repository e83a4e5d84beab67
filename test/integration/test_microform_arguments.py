"""Arguments of ``create_microform_context``: what is rejected before sending, and what is sent."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from cybersource_flex import FlexClient
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.cards import CARD_TYPES
from cybersource_flex.emulator import Emulator
from cybersource_flex.errors import BadRequestError, InvalidArgumentError
from cybersource_flex.models import CardNetwork


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(loopback_origins=True) as running:
        yield running


@pytest.fixture
def client(emulator: Emulator, client_class: type[FlexClient]) -> Iterator[FlexClient]:
    emulator.clear()
    with client_class(JwtSharedSecret(**emulator.auth), environment=emulator.url) as client:
        yield client


def create(client: FlexClient, *origins: str, **arguments: Any) -> Any:
    return client.create_microform_context(
        **{"target_origins": origins, "allowed_card_networks": ["VISA"], **arguments}  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("origin", "problem", "suggestion"),
    [
        ("https://shop.example.com/", "ends with a slash", "https://shop.example.com"),
        ("http://localhost:3000/", "ends with a slash", "http://localhost:3000"),
        ("https://shop.example.com/checkout", "has a path", "https://shop.example.com"),
        ("https://shop.example.com:8443/a/b?session=x#y", "has a path", "https://shop.example.com:8443"),
        ("https://shop.example.com?x", "has a path, query or fragment", "https://shop.example.com"),
        ("https://shop.example.com#", "is not an origin", "https://shop.example.com"),
        ("localhost:3000", "has no scheme", "http://localhost:3000"),
        ("localhost", "has no scheme", "http://localhost"),
        ("127.0.0.1:3000", "has no scheme", "http://127.0.0.1:3000"),
        ("shop.example.com", "has no scheme", "https://shop.example.com"),
        ("//shop.example.com/checkout", "has no scheme", "https://shop.example.com"),
        ("http://shop.example.com", "uses http", "https://shop.example.com"),
        ("http://shop.example.com/checkout", "has a path", "https://shop.example.com"),
        ("http://192.168.0.7:3000", "uses http", "https://192.168.0.7:3000"),
        ("http://localhost.example.com", "uses http", "https://localhost.example.com"),
        (" https://shop.example.com\n", "is not an origin", "https://shop.example.com"),
        ("https://shop.example.com:", "is not an origin", "https://shop.example.com"),
        ("HTTP://Shop.Example.com", "uses http", "https://shop.example.com"),
    ],
)
def test_the_error_for_an_origin_suggests_a_correction(
    origin: str, problem: str, suggestion: str, client: FlexClient, emulator: Emulator
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        create(client, "https://first.example.com", origin)
    assert str(caught.value).startswith(f"target_origins[1] {problem}")
    assert str(caught.value).endswith(f"; did you mean '{suggestion}'?")
    assert caught.value.argument == "target_origins"
    assert emulator.requests == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert create(client, suggestion).target_origins == (suggestion,)


@pytest.mark.parametrize(
    ("origin", "problem"),
    [
        ("https://*.example.com", "contains a wildcard"),
        ("*", "contains a wildcard"),
        ("https://user:hunter2@shop.example.com", "contains a user name or password"),
        ("user:hunter2@shop.example.com/", "contains a user name or password"),
        ("", "is not a valid URL"),
        ("  ", "is not a valid URL"),
        ("null", "has no scheme"),
        ("https://", "is not a valid URL"),
        ("https://shop.example.com:0", "is not a valid URL"),
        ("https://shop.example.com:99999", "is not a valid URL"),
        ("https://shop. example.com", "is not a valid URL"),
        # URL parsers leave out tabs and line ends, or read a backslash as a slash.
        ("https://shop.exam\tple.com", "is not a valid URL"),
        ("https://shop.exam\nple.com", "is not a valid URL"),
        ("https://shop.example.com\\", "is not a valid URL"),
        ("https://shop.example.com\x7f", "is not a valid URL"),
        ("https://shop,example.com", "is not an origin"),
        ("https://sh\u00f6p.example.com", "contains characters outside ASCII; use the 'xn--' form"),
        ("file:///index.html", "is not a valid URL"),
        ("capacitor://localhost", "has the scheme 'capacitor'"),
        ("\ud800", "contains characters outside ASCII"),
    ],
)
def test_other_invalid_origins(origin: str, problem: str, client: FlexClient, emulator: Emulator) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        create(client, origin)
    assert str(caught.value).startswith(f"target_origins[0] {problem}")
    assert "did you mean" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert emulator.requests == []


def test_the_number_of_origins(client: FlexClient, emulator: Emulator) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"^target_origins is empty; expected .* 'https://shop\.example\.com'$"
    ):
        create(client)
    with pytest.raises(InvalidArgumentError, match=r"^target_origins has 10 entries; at most 9 are allowed$"):
        create(client, *(f"https://s{number}.example.com" for number in range(10)))
    assert emulator.requests == []
    assert len(create(client, *(f"https://s{number}.example.com" for number in range(9))).target_origins) == 9


@pytest.mark.parametrize("origin", ["http://127.0.0.1:3000", "http://[::1]:3000", "http://shop.localhost:3000"])
def test_http_with_a_loopback_address_is_sent_with_a_warning(origin: str, client: FlexClient) -> None:
    with pytest.warns(
        UserWarning, match=r"developers report that other hosts do not work.*'http://localhost:3000'$"
    ) as caught:
        assert create(client, origin).target_origins == (origin,)
    if isinstance(client, FlexClient):
        assert Path(caught[0].filename).name == Path(__file__).name


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:3000", "http://localhost", "https://127.0.0.1", "https://localhost:8443", "https://a.b:1"],
)
def test_valid_origins_are_sent_unchanged_and_without_a_warning(
    origin: str, client: FlexClient, recwarn: pytest.WarningsRecorder
) -> None:
    assert create(client, origin).target_origins == (origin,)
    assert [str(warning.message) for warning in recwarn if issubclass(warning.category, UserWarning)] == []


@pytest.mark.parametrize(
    ("argument", "values", "rejected", "suggestion"),
    [
        ("allowed_card_networks", ["VISA", "visa"], "visa", "VISA"),
        ("allowed_card_networks", ["MasterCard"], "MasterCard", "MASTERCARD"),
        ("allowed_card_networks", ["Diners Club"], "Diners Club", "DINERSCLUB"),
        ("allowed_card_networks", ["CARTES_BANCAIRES"], "CARTES_BANCAIRES", "CARTESBANCAIRES"),
        ("allowed_payment_types", ["card"], "card", "CARD"),
        ("allowed_payment_types", ["CARD", "Check"], "Check", "CHECK"),
        ("client_version", "V2", "V2", "v2"),
    ],
)
def test_the_error_for_a_misspelt_name_suggests_a_correction(
    argument: str, values: Any, rejected: str, suggestion: str, client: FlexClient, emulator: Emulator
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        create(client, "https://shop.example.com", **{argument: values})
    assert str(caught.value) == f"{argument} contains '{rejected}'; did you mean '{suggestion}'?"
    assert caught.value.argument == argument
    assert emulator.requests == []


@pytest.mark.parametrize(
    ("argument", "values", "name"),
    [
        ("allowed_card_networks", ["VISA", "XX"], "allowedCardNetworks"),
        ("allowed_payment_types", ["CARD", "NEWTYPE"], "allowedPaymentTypes"),
        ("client_version", "v3", "clientVersion"),
    ],
)
def test_unknown_names_are_sent(argument: str, values: Any, name: str, client: FlexClient, emulator: Emulator) -> None:
    with pytest.raises(BadRequestError) as caught:
        create(client, "https://shop.example.com", **{argument: values})
    assert json.loads(emulator.requests[-1].body)[name] == values
    if argument != "client_version":
        assert f'"{values[-1]}"' in str(caught.value), "the emulator names the value that it rejects"


def test_cards_need_a_network(client: FlexClient, emulator: Emulator) -> None:
    for types in ([], ["CARD"], ["CARD", "CHECK"]):
        with pytest.raises(InvalidArgumentError, match=r"^allowed_card_networks is empty; .* 'VISA', unless"):
            create(client, "https://shop.example.com", allowed_card_networks=[], allowed_payment_types=types)
    assert emulator.requests == []
    context = create(client, "https://shop.example.com", allowed_card_networks=[], allowed_payment_types=["CHECK"])
    assert context.allowed_payment_types == ("CHECK",)


def test_the_spelling_of_every_network_of_the_specification_is_known(client: FlexClient) -> None:
    names = [name for part in get_args(CardNetwork) for name in get_args(part)]
    assert set(names) <= {card_type.network for card_type in CARD_TYPES.values()}
    assert create(client, "https://shop.example.com", allowed_card_networks=names).allowed_card_networks == tuple(names)
