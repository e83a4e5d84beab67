"""The generated models and API classes."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import subprocess
import sys
import traceback
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import cybersource_flex
from cybersource_flex import ApiClient, ConfigurationError, FlexAPIApi, MicroformIntegrationApi, errors, models
from cybersource_flex._model import UNSET, Field, Model, Unset
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
from cybersource_flex.transport import Configuration, Operation
from support.transports import StubSigner, StubTransport

CLASSES = [value for name in models.__all__ if isinstance(value := getattr(models, name), type)]


def card_request() -> GenerateFlexAPICaptureContextRequest:
    card = CardFields(number=CaptureField(), security_code=CaptureField(required=False))
    return GenerateFlexAPICaptureContextRequest(
        fields=CaptureFields(payment_information=PaymentInformationFields(card=card))
    )


def test_absent_empty_and_false_are_serialized_differently() -> None:
    assert CardFields().to_dict() == {}
    assert CardFields(number=CaptureField()).to_dict() == {"number": {}}
    assert CardFields(number=CaptureField(required=False)).to_dict() == {"number": {"required": False}}
    assert CardFields(number=CaptureField(required=True)).to_dict() == {"number": {"required": True}}
    assert card_request().to_json() == (
        '{"fields":{"paymentInformation":{"card":{"number":{},"securityCode":{"required":false}}}}}'
    )


@pytest.mark.parametrize(
    "content", ["{}", '{"number":{}}', '{"number":{"required":false}}', '{"number":{"required":true}}']
)
def test_absent_empty_and_false_are_parsed_differently(content: str) -> None:
    assert CardFields.from_json(content).to_json() == content


@pytest.mark.parametrize("model", CLASSES)
def test_unknown_arguments_raise_type_error(model: type[Model]) -> None:
    with pytest.raises(TypeError, match="no_such_field"):
        model(no_such_field=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        model({})  # type: ignore[call-arg]


@pytest.mark.parametrize("model", CLASSES)
def test_every_field_rejects_values_of_another_type(model: type[Model]) -> None:
    class Strange:
        pass

    for name, field in model._fields.items():
        if field.type != "object":
            with pytest.raises(TypeError, match=rf"{model.__name__}\.{name} must be"):
                model(**{name: Strange()})


def test_json_names_are_not_arguments() -> None:
    with pytest.raises(TypeError, match="securityCode"):
        CardFields(securityCode=CaptureField())  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("make", "message"),
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
def test_type_errors_name_the_field(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def test_assigned_values_are_checked_and_none_removes_a_field() -> None:
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


def test_null_differs_from_absent_if_the_specification_allows_null() -> None:
    assert ServiceError().to_dict() == {}
    assert ServiceError(information_link=None).to_dict() == {"informationLink": None}
    assert ServiceError(message=None).to_dict() == {}
    error = ServiceError.from_json('{"informationLink":null,"message":null}')
    assert "information_link" in error
    assert "message" not in error
    assert error.information_link is None
    assert ServiceError(information_link=None) != ServiceError()


def test_unknown_members_are_kept_at_every_level() -> None:
    content = (
        '{"fields":{"paymentInformation":{"card":{"number":{"mask":true},"nickname":{}}},"new":[1,null]},"more":0}'
    )
    request = GenerateFlexAPICaptureContextRequest.from_json(content)
    assert json.loads(request.to_json()) == json.loads(content)
    assert request.additional_properties == {"more": 0}
    request.additional_properties["own"] = "x"
    assert request.to_dict()["own"] == "x"


@pytest.mark.parametrize("details", [[{"location": "a", "message": "b"}], {"location": "", "message": ""}, [], "text"])
def test_error_details_may_have_any_type(details: Any) -> None:
    assert ServiceError.from_dict({"details": details}).details == details
    status = ResponseStatusError.from_dict({"responseStatus": {"details": details, "status": 400}}).response_status
    assert status is not None
    assert status.details == details


def test_unknown_enum_values_are_accepted() -> None:
    request = GenerateCaptureContextRequest(allowed_card_networks=["VISA", "NETWORK_OF_TOMORROW"])
    assert request.to_dict() == {"allowedCardNetworks": ["VISA", "NETWORK_OF_TOMORROW"]}
    assert GenerateCaptureContextRequest.from_dict(request.to_dict()) == request


def test_a_rejected_value_is_not_in_the_variables_of_the_traceback() -> None:
    canary = ["4111111111111111"]
    with pytest.raises(TypeError) as caught:
        CardFields(number=canary)  # type: ignore[arg-type]
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)][1:]
    assert frames
    assert not [frame for frame in frames if any(value is canary for value in frame.f_locals.values())]


@pytest.mark.skipif(find_spec("pydantic") is not None, reason="pydantic is installed")
def test_without_pydantic_there_is_no_serializer() -> None:
    with pytest.raises(AttributeError, match=r"^__pydantic_serializer__$"):
        CardFields.__pydantic_serializer__  # noqa: B018
    assert not hasattr(CardFields(), "__pydantic_serializer__")


def test_unset_is_one_object_that_is_false() -> None:
    for other in (Unset(), copy.deepcopy(UNSET), pickle.loads(pickle.dumps(UNSET))):  # noqa: S301
        assert other is UNSET
    assert not UNSET
    assert repr(UNSET) == "UNSET"


def test_models_are_compared_by_class_and_content() -> None:
    assert card_request() == card_request()
    assert card_request() != GenerateFlexAPICaptureContextRequest()
    assert CaptureField() != TransientTokenResponseOptions()
    assert CaptureField() != {}
    assert CardFields.from_json('{"type":{},"number":{}}') == CardFields(number=CaptureField(), type=CaptureField())
    with pytest.raises(TypeError, match="unhashable"):
        hash(CaptureField())


def test_the_repr_is_a_constructor_call() -> None:
    card = CardFields(security_code=CaptureField(required=False))
    assert repr(card) == "CardFields(security_code=CaptureField(required=False))"
    assert eval(repr(card_request()), vars(models)) == card_request()  # noqa: S307
    assert repr(CaptureField.from_dict({"x": 1})) == "CaptureField(additional_properties={'x': 1})"


def test_copies_and_pickles_are_equal_and_independent() -> None:
    request = GenerateFlexAPICaptureContextRequest.from_dict({**card_request().to_dict(), "more": {"a": 1}})
    for duplicate in (copy.copy(request), copy.deepcopy(request), pickle.loads(pickle.dumps(request))):  # noqa: S301
        assert duplicate == request
        assert duplicate is not request
    deep = copy.deepcopy(request)
    deep.additional_properties["more"]["a"] = 2
    assert request.additional_properties == {"more": {"a": 1}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "GenerateFlexAPICaptureContextRequest must be an object, not list"),
        ('{"fields":[]}', r"GenerateFlexAPICaptureContextRequest\.fields must be an object, not list"),
        (
            '{"fields":{"paymentInformation":{"card":1}}}',
            r"\.fields\.paymentInformation\.card must be an object, not int",
        ),
    ],
)
def test_parse_errors_name_the_path(content: str, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        GenerateFlexAPICaptureContextRequest.from_json(content)


def test_invalid_json_raises_value_error() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        JsonWebKey.from_json("not json")


@pytest.mark.parametrize("model", CLASSES)
def test_models_only_have_their_slots(model: type[Model]) -> None:
    instance = model()
    assert not hasattr(instance, "__dict__")
    assert set(model.__slots__) == set(model._fields) == set(inspect.signature(model).parameters)
    assert all(getattr(instance, name) is None for name in model._fields)
    assert all(f"{name}: " in (model.__doc__ or "") for name in model._fields)
    # No field hides a method of the models.
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
def test_every_capture_field_has_a_property(model: type[Model], names: set[str]) -> None:
    assert {field.json_name for field in model._fields.values()} == names


REQUESTS = {
    "flex-sessions-": GenerateFlexAPICaptureContextRequest,
    "microform-sessions-": GenerateCaptureContextRequest,
}


def samples(reference: Path) -> Iterator[tuple[type[Model], str]]:
    for prefix, model in REQUESTS.items():
        for file in sorted((reference / "samples" / "requests").glob(f"{prefix}*.json")):
            content = file.read_text("utf-8")
            if "without-fields-wrapper" in file.name:
                # Two published examples lack the wrapper that the API requires.
                content = json.dumps({"fields": json.loads(content)})
            yield model, content


def unknown_members(value: Any) -> list[dict[str, Any]]:
    """The members, at any level, that no model has a property for."""
    if isinstance(value, Model):
        additional = [value.additional_properties] if value.additional_properties else []
        return additional + [more for name in value._fields for more in unknown_members(getattr(value, name))]
    return [more for entry in value for more in unknown_members(entry)] if isinstance(value, list) else []


def test_published_requests_are_parsed_and_serialized_unchanged(reference: Path) -> None:
    published = list(samples(reference))
    assert len(published) == 9
    for model, content in published:
        request = model.from_json(content)
        assert json.loads(request.to_json()) == json.loads(content)
        assert unknown_members(request) == []


def client(stub: StubTransport, *, signed: bool = True) -> ApiClient:
    return ApiClient(Configuration(auth=StubSigner() if signed else None), transport=stub)


def test_a_call_sends_the_model_and_returns_the_response() -> None:
    stub = StubTransport(201, b' "a.b.c"\n')
    with client(stub) as api_client:
        response = FlexAPIApi(api_client).generate_flex_api_capture_context_with_http_info(card_request(), timeout=2)
        assert FlexAPIApi(api_client).generate_flex_api_capture_context(card_request()) == "a.b.c"
    assert stub.close_count == 1
    assert (response.status_code, response.data, response.raw_data) == (201, "a.b.c", b' "a.b.c"\n')
    (request, timeout, _), (_, default, _) = stub.sent
    assert (timeout, default) == (2, None)
    assert (request.method, request.target) == ("POST", "/flex/v2/sessions")
    assert request.headers["Accept"] == "application/jwt"
    assert request.headers["Content-Type"] == "application/json;charset=utf-8"
    assert request.body == card_request().to_json().encode()


def test_the_request_of_each_operation() -> None:
    stub = StubTransport(200, b'{"kid":"3g","kty":"RSA","new":1}', "application/json")
    key = FlexAPIApi(client(stub, signed=False)).get_public_key("3g")
    assert (key.kid, key.additional_properties) == ("3g", {"new": 1})
    details = FlexAPIApi(client(stub)).get_payment_details(jti="A-B")
    assert details["kty"] == "RSA"
    assert [request.target for request, *_ in stub.sent] == ["/flex/v2/public-keys/3g", "/flex/v2/payment-details/A-B"]
    assert {request.headers["Accept"] for request, *_ in stub.sent} == {"application/json"}

    stub = StubTransport(201, b"x.y.z")
    assert FlexAPIApi(client(stub, signed=False)).create_transient_token("a.b.c.d.e") == "x.y.z"
    assert FlexAPIApi(client(stub)).get_payment_credentials("E-1_x") == "x.y.z"
    assert MicroformIntegrationApi(client(stub)).generate_capture_context(GenerateCaptureContextRequest()) == "x.y.z"
    token, credentials, microform = (request for request, *_ in stub.sent)
    assert (token.body, token.headers["Content-Type"]) == (b"a.b.c.d.e", "application/jwt")
    assert token.headers["Accept"] == "application/jwt, application/json"
    assert credentials.target == "/flex/v2/payment-credentials/E-1_x"
    assert (microform.target, microform.body) == ("/microform/v2/sessions", b"{}")


@pytest.mark.parametrize("body", [b"x.y.z", b'"x.y.z"', b" x.y.z\r\n"])
@pytest.mark.parametrize("media_type", ["application/jwt", "application/json", "text/plain", ""])
def test_tokens_are_read_with_any_media_type(body: bytes, media_type: str) -> None:
    assert FlexAPIApi(client(StubTransport(201, body, media_type))).create_transient_token("a.b.c.d.e") == "x.y.z"


def test_authenticated_operations_are_not_sent_without_a_signer() -> None:
    stub = StubTransport(201, b"x.y.z")
    flex, microform = FlexAPIApi(client(stub, signed=False)), MicroformIntegrationApi(client(stub, signed=False))
    for call in (
        lambda: flex.generate_flex_api_capture_context(card_request()),
        lambda: flex.get_payment_details("A"),
        lambda: flex.get_payment_credentials("A"),
        lambda: microform.generate_capture_context(GenerateCaptureContextRequest()),
    ):
        with pytest.raises(ConfigurationError, match="must be signed"):
            call()
    assert stub.sent == []


def test_exceptions_contain_the_error_models() -> None:
    body = json.dumps({"responseStatus": {"status": 400, "reason": "R", "details": {"location": "a"}}}).encode()
    with pytest.raises(errors.BadRequestError) as caught:
        FlexAPIApi(client(StubTransport(400, body, "application/json"))).create_transient_token("a.b.c.d.e")
    assert isinstance(caught.value.data, ResponseStatusError)
    with pytest.raises(errors.AuthenticationError) as unauthorized:
        FlexAPIApi(client(StubTransport(401, b'{"response":{"rmsg":"no"}}', "application/json"))).get_payment_details(
            "a"
        )
    assert isinstance(unauthorized.value.data, models.GatewayError)
    with pytest.raises(errors.ServerError) as failed:
        FlexAPIApi(client(StubTransport(502, b"<html>", "text/html"))).get_payment_details("a")
    assert failed.value.data is None


def test_hosts_of_the_environments() -> None:
    assert Configuration().host == Configuration.ENVIRONMENTS["test"]
    assert all(Configuration(host=host).host == host for host in Configuration.ENVIRONMENTS.values())
    with pytest.raises(TypeError):
        Configuration.ENVIRONMENTS["test"] = "https://elsewhere.example"  # type: ignore[index]


@pytest.mark.parametrize("module", [cybersource_flex, models, cybersource_flex.api])
def test_public_names_exist_and_are_listed_by_dir(module: Any) -> None:
    assert len(module.__all__) == len(set(module.__all__))
    assert all(getattr(module, name) is not None for name in module.__all__)
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


def test_the_package_exports_every_exception() -> None:
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
def test_imports_do_not_load_unused_modules(program: str, absent: set[str]) -> None:
    # Compared with an interpreter that has only started: the environment may load some modules at startup.
    code = f"import sys; before = set(sys.modules); {program}; print(*(set(sys.modules) - before))"
    process = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert not absent & set(process.stdout.split())


class Account(Model):
    """A model as it is generated for properties with `readOnly` and `writeOnly`."""

    __slots__ = ("id", "name", "password")
    _fields = {  # noqa: RUF012
        "id": Field("id", "str", required=True, read_only=True),
        "name": Field("name", "str"),
        "password": Field("password", "str", required=True, write_only=True),
    }

    def __init__(self, *, password: str, name: str | None = None) -> None:
        self._init(password=password, name=name)


def test_read_only_fields_are_parsed_but_not_sent() -> None:
    account = Account.from_dict({"id": "1", "name": "a"})
    assert (account.id, account.password) == ("1", None)
    with pytest.raises(AttributeError, match=r"Account\.id is read-only"):
        account.id = "2"
    for duplicate in (copy.copy(account), copy.deepcopy(account), pickle.loads(pickle.dumps(account))):  # noqa: S301
        assert duplicate == account
    request = Operation(
        name="call",
        method="PUT",
        path="/x",
        requires_auth=False,
        content_type="application/json",
        responses={},
        models="",
    ).build_request(Configuration(), body=[account])
    assert request.body == b'[{"name":"a"}]'
    with pytest.raises(TypeError, match="unexpected keyword argument 'id'"):
        Account(id="1", password="p")  # type: ignore[call-arg]


def test_write_only_fields_are_required_and_sent_but_not_shown() -> None:
    with pytest.raises(TypeError, match="password"):
        Account()  # type: ignore[call-arg]
    account = Account(password="p4ssw0rd")
    assert account.to_dict() == {"password": "p4ssw0rd"}
    assert "p4ssw0rd" not in repr(account)
