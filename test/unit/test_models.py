"""The generated models and classes as their users see them."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cybersource_flex
from cybersource_flex import ApiClient, ConfigurationError, FlexAPIApi, MicroformIntegrationApi, errors, models
from cybersource_flex._model import Field, Model
from cybersource_flex.configuration import Configuration
from cybersource_flex.models import (
    AmountDetailsFields,
    BillToFields,
    CaptureField,
    CaptureFields,
    CardFields,
    GenerateCaptureContextRequest,
    GenerateFlexAPICaptureContextRequest,
    JsonWebKey,
    OrderInformationFields,
    PaymentInformationFields,
    ResponseStatusError,
    ServiceError,
    ShipToFields,
    TransientTokenResponseOptions,
)
from cybersource_flex.transport import Operation, Request, Response, Settings, Transport

CLASSES = [found for name in models.__all__ if isinstance(found := getattr(models, name), type)]


def card_request() -> GenerateFlexAPICaptureContextRequest:
    card = CardFields(number=CaptureField(), security_code=CaptureField(required=False))
    return GenerateFlexAPICaptureContextRequest(
        fields=CaptureFields(payment_information=PaymentInformationFields(card=card))
    )


def test_absent_present_and_false_are_three_things_on_the_wire() -> None:
    assert CardFields().to_dict() == {}
    assert CardFields(number=CaptureField()).to_dict() == {"number": {}}
    assert CardFields(number=CaptureField(required=False)).to_dict() == {"number": {"required": False}}
    assert CardFields(number=CaptureField(required=True)).to_dict() == {"number": {"required": True}}
    assert card_request().to_json() == (
        '{"fields":{"paymentInformation":{"card":{"number":{},"securityCode":{"required":false}}}}}'
    )


@pytest.mark.parametrize(
    "text", ["{}", '{"number":{}}', '{"number":{"required":false}}', '{"number":{"required":true}}']
)
def test_the_three_things_survive_the_way_back(text: str) -> None:
    assert CardFields.from_json(text).to_json() == text


@pytest.mark.parametrize("model", CLASSES)
def test_an_unknown_argument_is_a_type_error(model: type[Model]) -> None:
    with pytest.raises(TypeError, match="no_such_field"):
        model(no_such_field=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        model({})  # type: ignore[call-arg]


@pytest.mark.parametrize("model", CLASSES)
def test_every_field_of_every_model_refuses_another_type(model: type[Model]) -> None:
    class Strange:
        pass

    for name, field in model._fields.items():
        if field.type != "object":
            with pytest.raises(TypeError, match=rf"{model.__name__}\.{name} must be"):
                model(**{name: Strange()})


def test_the_name_in_json_is_no_argument() -> None:
    with pytest.raises(TypeError, match="securityCode"):
        CardFields(securityCode=CaptureField())  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: CaptureField(required="yes"), "CaptureField.required must be bool, not str"),
        (lambda: CaptureField(required=1), "CaptureField.required must be bool, not int"),
        (lambda: CardFields(number={}), "CardFields.number must be CaptureField, not dict"),
        (lambda: CardFields(number=CardFields()), "CardFields.number must be CaptureField, not CardFields"),
        (lambda: GenerateCaptureContextRequest(target_origins="https://a"), "target_origins must be list, not str"),
        (lambda: GenerateCaptureContextRequest(target_origins=[1]), r"target_origins\[0\] must be str, not int"),
        (lambda: GenerateCaptureContextRequest(client_version=2), "client_version must be str, not int"),
    ],
)
def test_a_wrong_type_is_a_type_error_that_names_the_field(make: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        make()


def test_assignment_is_checked_too_and_none_takes_a_field_away() -> None:
    card = CardFields(number=CaptureField())
    with pytest.raises(TypeError, match=r"CardFields\.number must be CaptureField"):
        card.number = True  # type: ignore[assignment]
    with pytest.raises(AttributeError, match="CardFields has no field 'numbr'"):
        card.numbr = CaptureField()  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="CardFields has no field 'numbr'"):
        _ = card.numbr  # type: ignore[attr-defined]
    card.type = CaptureField()
    assert "type" in card
    card.number = None
    assert "number" not in card
    assert card.number is None
    assert card.to_dict() == {"type": {}}


def test_null_and_absent_differ_where_the_specification_allows_null() -> None:
    assert ServiceError().to_dict() == {}
    assert ServiceError(information_link=None).to_dict() == {"informationLink": None}
    assert ServiceError(message=None).to_dict() == {}
    read = ServiceError.from_json('{"informationLink":null,"message":null}')
    assert "information_link" in read
    assert "message" not in read
    assert read.information_link is None
    assert ServiceError(information_link=None) != ServiceError()


def test_unknown_members_are_kept_at_every_level() -> None:
    text = '{"fields":{"paymentInformation":{"card":{"number":{"mask":true},"nickname":{}}},"new":[1,null]},"more":0}'
    request = GenerateFlexAPICaptureContextRequest.from_json(text)
    assert json.loads(request.to_json()) == json.loads(text)
    assert request.additional_properties == {"more": 0}
    request.additional_properties["own"] = "x"
    assert request.to_dict()["own"] == "x"


@pytest.mark.parametrize("details", [[{"location": "a", "message": "b"}], {"location": "", "message": ""}, [], "text"])
def test_error_details_take_any_shape(details: Any) -> None:
    assert ServiceError.from_dict({"details": details}).details == details
    status = ResponseStatusError.from_dict({"responseStatus": {"details": details, "status": 400}}).response_status
    assert status is not None
    assert status.details == details


def test_values_that_are_not_listed_are_accepted() -> None:
    request = GenerateCaptureContextRequest(allowed_card_networks=["VISA", "NETWORK_OF_TOMORROW"])
    assert request.to_dict() == {"allowedCardNetworks": ["VISA", "NETWORK_OF_TOMORROW"]}
    assert GenerateCaptureContextRequest.from_dict(request.to_dict()) == request


def test_equality_is_by_class_and_content() -> None:
    assert card_request() == card_request()
    assert card_request() != GenerateFlexAPICaptureContextRequest()
    assert CaptureField() != TransientTokenResponseOptions()
    assert CaptureField() != {}
    assert CardFields.from_json('{"type":{},"number":{}}') == CardFields(number=CaptureField(), type=CaptureField())
    with pytest.raises(TypeError, match="unhashable"):
        hash(CaptureField())


def test_the_repr_reads_like_the_constructor() -> None:
    card = CardFields(security_code=CaptureField(required=False))
    assert repr(card) == "CardFields(security_code=CaptureField(required=False))"
    assert eval(repr(card_request()), vars(models)) == card_request()  # noqa: S307
    assert repr(CaptureField.from_dict({"x": 1})) == "CaptureField(additional_properties={'x': 1})"


def test_copies_and_pickles_are_equal_and_apart() -> None:
    request = GenerateFlexAPICaptureContextRequest.from_dict({**card_request().to_dict(), "more": {"a": 1}})
    for twin in (copy.copy(request), copy.deepcopy(request), pickle.loads(pickle.dumps(request))):  # noqa: S301
        assert twin == request
        assert twin is not request
    deep = copy.deepcopy(request)
    deep.additional_properties["more"]["a"] = 2
    assert request.additional_properties == {"more": {"a": 1}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "GenerateFlexAPICaptureContextRequest must be an object, not list"),
        ('{"fields":[]}', r"GenerateFlexAPICaptureContextRequest\.fields must be an object, not list"),
        (
            '{"fields":{"paymentInformation":{"card":1}}}',
            r"\.fields\.paymentInformation\.card must be an object, not int",
        ),
    ],
)
def test_reading_names_the_path_to_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        GenerateFlexAPICaptureContextRequest.from_json(text)


def test_what_is_not_json_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        JsonWebKey.from_json("not json")


@pytest.mark.parametrize("model", CLASSES)
def test_models_have_slots_and_nothing_else(model: type[Model]) -> None:
    made = model()
    assert not hasattr(made, "__dict__")
    assert set(model.__slots__) == set(model._fields) == set(inspect.signature(model).parameters)
    assert all(getattr(made, name) is None for name in model._fields)
    assert all(f"{name}: " in (model.__doc__ or "") for name in model._fields)
    # Nothing that a model can do is hidden by a field's name.
    assert not set(model._fields) & {name for name in dir(Model) if not name.startswith("__")}


ADDRESS = {
    *("address1", "address2", "buildingNumber", "district", "locality", "administrativeArea", "postalCode", "country"),
    *("firstName", "lastName", "company", "email", "phoneNumber"),
}


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (CardFields, {"number", "securityCode", "expirationMonth", "expirationYear", "type"}),
        (AmountDetailsFields, {"totalAmount", "currency"}),
        (BillToFields, ADDRESS),
        (ShipToFields, ADDRESS),
        (OrderInformationFields, {"amountDetails", "billTo", "shipTo"}),
    ],
)
def test_every_capture_field_has_its_property(model: type[Model], names: set[str]) -> None:
    assert {field.wire for field in model._fields.values()} == names


REQUESTS = {
    "flex-sessions-": GenerateFlexAPICaptureContextRequest,
    "microform-sessions-": GenerateCaptureContextRequest,
}


def samples(reference: Path) -> Iterator[tuple[type[Model], str]]:
    for prefix, model in REQUESTS.items():
        for file in sorted((reference / "samples" / "requests").glob(f"{prefix}*.json")):
            text = file.read_text("utf-8")
            if "without-fields-wrapper" in file.name:
                # Two published examples lack the wrapper that everything else has: the models are for what is inside.
                text = json.dumps({"fields": json.loads(text)})
            yield model, text


def unknown(value: Any) -> list[dict[str, Any]]:
    """Members, at any level, that no model names."""
    if isinstance(value, Model):
        found = [value.additional_properties] if value.additional_properties else []
        return found + [more for name in value._fields for more in unknown(getattr(value, name))]
    return [more for entry in value for more in unknown(entry)] if isinstance(value, list) else []


def test_every_published_request_goes_through_unchanged(reference: Path) -> None:
    found = list(samples(reference))
    assert len(found) == 9
    for model, text in found:
        read = model.from_json(text)
        assert json.loads(read.to_json()) == json.loads(text)
        assert unknown(read) == []


class Signer:
    def sign(self, request: Request, now: float) -> dict[str, str]:
        return {}


class Stub(Transport):
    def __init__(self, status: int, body: bytes, media_type: str = "application/jwt") -> None:
        self.answer = Response(status, "", {"Content-Type": media_type}, body)
        self.asked: list[tuple[Request, float | None]] = []
        self.closed = False

    def send(self, request: Request, *, timeout: float | None = None, retry: object = None) -> Response:
        self.asked.append((request, timeout))
        return self.answer

    def close(self) -> None:
        self.closed = True


def client(stub: Stub, *, signed: bool = True) -> ApiClient:
    return ApiClient(Configuration(auth=Signer() if signed else None), transport=stub)


def test_a_call_carries_the_model_and_brings_the_answer() -> None:
    stub = Stub(201, b' "a.b.c"\n')
    with client(stub) as made:
        full = FlexAPIApi(made).generate_flex_api_capture_context_with_http_info(card_request(), timeout=2)
        assert FlexAPIApi(made).generate_flex_api_capture_context(card_request()) == "a.b.c"
    assert stub.closed
    assert (full.status_code, full.data, full.raw_data) == (201, "a.b.c", b' "a.b.c"\n')
    (request, timeout), (_, default) = stub.asked
    assert (timeout, default) == (2, None)
    assert (request.method, request.target) == ("POST", "/flex/v2/sessions")
    assert request.headers["Accept"] == "application/jwt"
    assert request.headers["Content-Type"] == "application/json;charset=utf-8"
    assert request.body == card_request().to_json().encode()


def test_each_operation_asks_for_what_the_wire_says() -> None:
    stub = Stub(200, b'{"kid":"3g","kty":"RSA","new":1}', "application/json")
    key = FlexAPIApi(client(stub, signed=False)).get_public_key("3g")
    assert (key.kid, key.additional_properties) == ("3g", {"new": 1})
    details = FlexAPIApi(client(stub)).get_payment_details(jti="A-B")
    assert details["kty"] == "RSA"
    assert [asked.target for asked, _ in stub.asked] == ["/flex/v2/public-keys/3g", "/flex/v2/payment-details/A-B"]
    assert {asked.headers["Accept"] for asked, _ in stub.asked} == {"application/json"}

    stub = Stub(201, b"x.y.z")
    assert FlexAPIApi(client(stub, signed=False)).create_transient_token("a.b.c.d.e") == "x.y.z"
    assert FlexAPIApi(client(stub)).get_payment_credentials("E-1_x") == "x.y.z"
    assert MicroformIntegrationApi(client(stub)).generate_capture_context(GenerateCaptureContextRequest()) == "x.y.z"
    token, credentials, microform = (asked for asked, _ in stub.asked)
    assert (token.body, token.headers["Content-Type"]) == (b"a.b.c.d.e", "application/jwt")
    assert token.headers["Accept"] == "application/jwt, application/json"
    assert credentials.target == "/flex/v2/payment-credentials/E-1_x"
    assert (microform.target, microform.body) == ("/microform/v2/sessions", b"{}")


@pytest.mark.parametrize("body", [b"x.y.z", b'"x.y.z"', b" x.y.z\r\n"])
@pytest.mark.parametrize("media_type", ["application/jwt", "application/json", "text/plain", ""])
def test_a_token_is_read_whatever_its_media_type_says(body: bytes, media_type: str) -> None:
    assert FlexAPIApi(client(Stub(201, body, media_type))).create_transient_token("a.b.c.d.e") == "x.y.z"


def test_an_operation_that_must_be_signed_is_not_sent_without_a_signer() -> None:
    stub = Stub(201, b"x.y.z")
    flex, microform = FlexAPIApi(client(stub, signed=False)), MicroformIntegrationApi(client(stub, signed=False))
    for call in (
        lambda: flex.generate_flex_api_capture_context(card_request()),
        lambda: flex.get_payment_details("A"),
        lambda: flex.get_payment_credentials("A"),
        lambda: microform.generate_capture_context(GenerateCaptureContextRequest()),
    ):
        with pytest.raises(ConfigurationError, match="must be signed"):
            call()
    assert stub.asked == []


def test_errors_bring_their_models() -> None:
    answer = json.dumps({"responseStatus": {"status": 400, "reason": "R", "details": {"location": "a"}}}).encode()
    with pytest.raises(errors.BadRequestError) as caught:
        FlexAPIApi(client(Stub(400, answer, "application/json"))).create_transient_token("a.b.c.d.e")
    assert isinstance(caught.value.data, ResponseStatusError)
    with pytest.raises(errors.AuthenticationError) as refused:
        FlexAPIApi(client(Stub(401, b'{"response":{"rmsg":"no"}}', "application/json"))).get_payment_details("a")
    assert isinstance(refused.value.data, models.GatewayError)
    with pytest.raises(errors.ServerError) as failed:
        FlexAPIApi(client(Stub(502, b"<html>", "text/html"))).get_payment_details("a")
    assert failed.value.data is None


def test_the_configuration_takes_what_the_settings_take() -> None:
    ours, theirs = (dict(inspect.signature(cls).parameters) for cls in (Configuration, Settings))
    assert ours.pop("host").default == "https://apitest.cybersource.com"
    theirs.pop("host")
    assert ours == theirs
    assert Configuration().host == Configuration.ENVIRONMENTS["test"]
    assert all(Configuration(host=host).host == host for host in Configuration.ENVIRONMENTS.values())
    with pytest.raises(TypeError):
        Configuration.ENVIRONMENTS["test"] = "https://elsewhere.example"  # type: ignore[index]


@pytest.mark.parametrize("module", [cybersource_flex, models, cybersource_flex.api])
def test_public_names_are_sorted_resolve_and_are_listed(module: Any) -> None:
    # As ruff sorts `__all__`: constants, classes, the rest.
    assert len(module.__all__) == len(set(module.__all__))
    assert all(getattr(module, name) is not None for name in module.__all__)
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


def test_the_package_offers_every_exception() -> None:
    assert set(errors.__all__) <= set(cybersource_flex.__all__)


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import cybersource_flex", {"urllib3", "cryptography", "dateutil", "typing", "json", "re"}),
        ("from cybersource_flex import FlexAPIApi, ApiClient, Configuration", {"urllib3", "cryptography"}),
        ("from cybersource_flex.models import CardFields; CardFields()", {"urllib3", "cryptography", "dateutil"}),
        ("from cybersource_flex.api import FlexAPIApi; FlexAPIApi()", {"urllib3", "cybersource_flex.models"}),
    ],
)
def test_importing_loads_nothing_that_is_not_used(program: str, absent: set[str]) -> None:
    # Compared with an interpreter that only starts: an environment may load some of these on its own.
    code = f"import sys; before = set(sys.modules); {program}; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert not absent & set(done.stdout.split())


class Account(Model):
    """What a specification with `readOnly` and `writeOnly` gives."""

    __slots__ = ("id", "name", "password")
    _fields = {  # noqa: RUF012
        "id": Field("id", "str", required=True, read_only=True),
        "name": Field("name", "str"),
        "password": Field("password", "str", required=True, write_only=True),
    }

    def __init__(self, *, password: str, name: str | None = None) -> None:
        self._init(password=password, name=name)


def test_what_is_read_only_is_read_and_kept_and_not_sent() -> None:
    account = Account.from_dict({"id": "1", "name": "a"})
    assert (account.id, account.password) == ("1", None)
    with pytest.raises(AttributeError, match=r"Account\.id is read-only"):
        account.id = "2"
    for twin in (copy.copy(account), copy.deepcopy(account), pickle.loads(pickle.dumps(account))):  # noqa: S301
        assert twin == account
    sent = Operation(
        name="call", method="PUT", path="/x", signed=False, content_type="application/json", responses={}, models=""
    ).request(Configuration(), body=[account])
    assert sent.body == b'[{"name":"a"}]'
    with pytest.raises(TypeError, match="unexpected keyword argument 'id'"):
        Account(id="1", password="p")  # type: ignore[call-arg]


def test_what_is_write_only_is_asked_for_sent_and_not_shown() -> None:
    with pytest.raises(TypeError, match="password"):
        Account()  # type: ignore[call-arg]
    account = Account(password="p4ssw0rd")
    assert account.to_dict() == {"password": "p4ssw0rd"}
    assert "p4ssw0rd" not in repr(account)
