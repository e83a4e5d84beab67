"""Run every Python example on every page, unchanged, against the emulator instead of CyberSource's hosts."""

from __future__ import annotations

import datetime
import inspect
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

import cybersource_flex
from cybersource_flex import Configuration, FlexClient, api, errors, fields
from cybersource_flex.auth import JwtSharedSecret
from cybersource_flex.cards import Card
from cybersource_flex.emulator import Emulator
from cybersource_flex.jose import KeyCache, encrypt
from support.pages import MODEL_PAGES, PAGES, Block, python_blocks
from support.paths import ROOT

NUMBER = "4111111111111111"
YEAR = str(datetime.datetime.now(datetime.UTC).year + 3)
DATA = {"paymentInformation": {"card": {"number": NUMBER, "expirationMonth": "12", "expirationYear": YEAR}}}


def run(block: Block, names: dict[str, Any]) -> None:
    exec(compile(block.code, block.place, "exec"), names)  # noqa: S102


API_PAGES = {name: f"docs/{name}.md" for name in api.__all__}
HAND_WRITTEN = [page for page in PAGES if page not in (*MODEL_PAGES, *API_PAGES.values()) and python_blocks(page)]
OPERATIONS = [
    (name, method)
    for name in api.__all__
    for method, _ in inspect.getmembers(getattr(api, name), inspect.isfunction)
    if not method.startswith("_") and not method.endswith("_with_http_info")
]


@pytest.fixture(scope="module")
def host() -> Iterator[Emulator]:
    with Emulator(payment_credentials=True) as running:
        yield running


@pytest.fixture
def emulator(host: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """The emulator as the host of every environment, with its environment variables set, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Configuration, "ENVIRONMENTS", dict.fromkeys(Configuration.ENVIRONMENTS, host.url))
    for name, value in host.environ.items():
        monkeypatch.setenv(name, value)
    host.clear()
    level = logging.getLogger("cybersource_flex").level
    yield host
    logging.getLogger("cybersource_flex").setLevel(level)
    host.reset_faults()


@pytest.fixture
def client(emulator: Emulator) -> Iterator[FlexClient]:
    with FlexClient(JwtSharedSecret(**emulator.auth)) as client:
        yield client


@pytest.fixture
def arguments(client: FlexClient) -> dict[str, str]:
    """Values for the arguments in the examples of the API pages."""
    context = client.create_capture_context(fields(card=["number", "expirationMonth", "expirationYear"]))
    token = client.tokenize(context, DATA)
    (reference,) = token.payment_credentials_references.values()
    return {
        "body": encrypt(context, DATA),
        "jti": token.jti,
        "kid": kid_of(context.jwt),
        "payment_credentials_reference": reference,
    }


def kid_of(jwt: str) -> str:
    from cybersource_flex.jose.capture_context import UnverifiedContext

    return UnverifiedContext(jwt).kid


@pytest.mark.parametrize(("name", "method"), OPERATIONS)
def test_every_operation_has_an_example_that_works(
    name: str, method: str, emulator: Emulator, arguments: dict[str, str]
) -> None:
    setting, *examples = python_blocks(API_PAGES[name])
    mine = [example for example in examples if f"{name}(client).{method}(" in example.code]
    assert mine, f"{API_PAGES[name]} has no example of {method}"
    for example in mine:
        names: dict[str, Any] = {
            word: value for word, value in arguments.items() if re.search(rf"\b{word}\b", example.code)
        }
        run(setting, names)
        emulator.clear()
        run(example, names)
        (request,) = emulator.requests
        assert request.status in (200, 201)
        declared = inspect.signature(getattr(getattr(api, name), method)).return_annotation
        assert declared.partition("[")[0] == type(names["result"]).__name__


@pytest.mark.parametrize("page", API_PAGES.values())
def test_the_api_pages_have_no_other_examples(page: str) -> None:
    assert len(python_blocks(page)) == 1 + sum(API_PAGES[name] == page for name, _ in OPERATIONS)


@pytest.mark.parametrize("page", API_PAGES.values())
def test_the_api_pages_name_the_usual_client_first(page: str) -> None:
    introduction = (ROOT / page).read_text(encoding="utf-8").partition("\n| ")[0]
    assert "[`FlexClient`](quickstart.md)" in introduction


@pytest.mark.parametrize("page", API_PAGES.values())
def test_the_api_pages_say_which_class_a_status_raises(page: str) -> None:
    content = (ROOT / page).read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| ([\w ,]+) \| `(\w+)` \|", content, re.MULTILINE))
    assert documented.pop("200 to 299 with a body that cannot be parsed") == "ResponseDecodingError"
    assert documented.pop("other statuses except 200 to 299") == errors.error_class(418).__name__
    assert set(documented) == {"300 to 399", "400", "401", "403", "404", "429", "500 to 599"}
    for status, raised in documented.items():
        assert raised == errors.error_class(int(status[:3])).__name__


@pytest.mark.parametrize("page", MODEL_PAGES)
def test_the_imports_of_the_model_pages(page: str) -> None:
    for block in python_blocks(page):
        run(block, {})


# Blocks with one of these lines are also run with faults: the emulator's scenarios, and the exception that each raises.
FAULTS: dict[str, list[tuple[str, type[Exception] | None]]] = {
    "except AuthenticationError": [("refuse", errors.AuthenticationError)],
    "except CallError": [("status-503", None), ("reset-after-request", None), ("html-200", None)],
}


@pytest.mark.parametrize("page", HAND_WRITTEN)
def test_every_other_example(
    page: str,
    emulator: Emulator,
    client: FlexClient,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Run the blocks of a page in order, in one namespace with the objects that the page assumes."""
    names = assumed_names(emulator, client)
    write_files(emulator, names["requested_fields"], client)
    for block in python_blocks(page):
        if "jwt_from_the_page" in block.code or "jwt_from_the_browser" in block.code:
            names["jwt_from_the_page"] = names["jwt_from_the_browser"] = client.tokenize(names["context"], DATA).jwt
        block_with_values = block._replace(code=adapted(block.code, emulator, names))
        names_before = dict(names)
        run(block_with_values, names)
        for marker, scenarios in FAULTS.items():
            for scenario, raised in scenarios if marker in block.code else ():
                emulator.queue_scenarios([scenario])
                if raised is None:
                    run(block_with_values, dict(names_before))
                else:
                    with pytest.raises(raised):
                        run(block_with_values, dict(names_before))
                emulator.reset_faults()
        close_new_clients(names, names_before)
    for test in [names[name] for name in names if name.startswith("test_")]:
        # Written for pytest, with fixtures of this package's plugin.
        test(**{fixture: request.getfixturevalue(fixture) for fixture in inspect.signature(test).parameters})
    if page == "README.md":
        assert names["token"].masked_number == "XXXXXXXXXXXX1111"
        assert "XXXXXXXXXXXX1111" in capsys.readouterr().out
    if page == "docs/quickstart.md":
        assert len(re.findall(r"^verified: X{12}1111 for 8\d\d s$", capsys.readouterr().out, re.MULTILINE)) == 2
    if page == "docs/encryption.md":
        payment = emulator.requests[-1]
        assert b"encryptedRequest" in payment.body
        assert b"transientTokenJwt" in (payment.decrypted_body or b"")
    if page == "docs/payments.md":
        assert names["calls"] == ["again_later", "look_into", "look_into"]
    if page == "docs/errors.md":
        assert names["calls"] == ["alert", "again_later", "look_into", "look_into"]
        assert json.loads(Path("report.json").read_text("utf-8"))["status"] == 401


def adapted(code: str, emulator: Emulator, names: dict[str, Any]) -> str:
    """The code with the emulator's address, key and credentials instead of CyberSource's and of dots."""
    auth = emulator.auth
    replacements = {
        '"https://apitest.cybersource.com"': repr(emulator.url),
        '"your_merchant_id"': repr(auth["merchant_id"]),
        '"other_merchant_id"': repr(auth["merchant_id"]),
        'key_id="..."': f"key_id={auth['key_id']!r}",
        'secret_key="..."': f"secret_key={auth['secret_key']!r}",
        '"merchant_keyid": "..."': f'"merchant_keyid": {auth["key_id"]!r}',
        '"merchant_secretkey": "..."': f'"merchant_secretkey": {auth["secret_key"]!r}',
        'password="..."': f"password={PASSWORD!r}",
        '"3g"': repr(names["kid"]),
    }
    for placeholder, value in replacements.items():
        code = code.replace(placeholder, value)
    return code


PASSWORD = "p4ssw0rd-of-the-pages"


def assumed_names(emulator: Emulator, client: FlexClient) -> dict[str, Any]:
    """Objects that the pages use and do not create: a client, a context, and functions of a shop."""
    requested_fields = fields(card=["number", "expirationMonth", "expirationYear", "securityCode?"])
    context = client.create_capture_context(requested_fields)
    microform = client.create_microform_context(
        target_origins=["https://shop.example.com"], allowed_card_networks=["VISA"]
    )
    calls: list[str] = []

    def recorder(name: str) -> Callable[..., None]:
        return lambda *_: calls.append(name)

    return {
        "auth": JwtSharedSecret(**emulator.auth),
        "card": Card(NUMBER, expiration_month=12, expiration_year=YEAR),
        "client": client,
        "context": context,
        "jwt": microform.jwt,
        "keys": KeyCache(lambda kid: api.FlexAPIApi(client.api_client).get_public_key(kid).to_dict()),
        "kid": kid_of(context.jwt),
        "storage_key": b"sixteen bytes or more",
        "session": {},
        "session_id": "0f3a",
        "calls": calls,
        "requested_fields": requested_fields,
        **{name: recorder(name) for name in ("alert", "again_later", "look_into")},
    }


def write_files(emulator: Emulator, requested_fields: Any, client: FlexClient) -> None:
    """Write the files that the pages read."""
    kid = kid_of(client.create_capture_context(requested_fields).jwt)
    Path("3g.jwk.json").write_text(api.FlexAPIApi(client.api_client).get_public_key(kid).to_json(), encoding="utf-8")
    Path("response.p12").write_bytes(emulator.make_response_mle_p12(PASSWORD))
    Path("merchant.p12").write_bytes(emulator.make_p12(PASSWORD))
    p12 = load_pkcs12(Path("merchant.p12").read_bytes(), PASSWORD.encode())
    assert p12.key is not None
    assert p12.cert is not None
    Path("company.pem").write_bytes(p12.cert.certificate.public_bytes(Encoding.PEM))
    Path("client.pem").write_bytes(p12.cert.certificate.public_bytes(Encoding.PEM))
    Path("client.key").write_bytes(p12.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def close_new_clients(names: dict[str, Any], before: dict[str, Any]) -> None:
    """Close the clients that an example leaves open, and restore the page's own for the next example."""
    for name, value in names.items():
        if isinstance(value, FlexClient) and value is not before.get(name):
            value.close()
    names["client"] = before["client"]


def test_the_first_example_is_ten_lines() -> None:
    assert len(python_blocks("README.md")[0].code.rstrip().splitlines()) <= 10


def test_the_package_is_the_one_beside_the_pages() -> None:
    assert Path(cybersource_flex.__file__).is_relative_to(ROOT)
