"""Generated models as fields of pydantic models, and as bodies and responses in FastAPI."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import types
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx
import pydantic
import pytest
from fastapi import Body, FastAPI

from cybersource_flex import ResponseInfo, models
from cybersource_flex._converters import Discriminator
from cybersource_flex._model import Field, Model
from cybersource_flex.models import (
    CaptureField,
    CaptureFields,
    CardFields,
    GenerateFlexAPICaptureContextRequest,
    JsonWebKey,
    PaymentInformationFields,
)

MODELS = [value for name in models.__all__ if isinstance(value := getattr(models, name), type)]
CARD = CardFields(number=CaptureField(), security_code=CaptureField(required=False))
CARD_JSON = {"number": {}, "securityCode": {"required": False}}


class Shop(pydantic.BaseModel):
    card: CardFields
    more: list[CaptureField] = []
    by_name: dict[str, JsonWebKey] = {}
    maybe: PaymentInformationFields | None = None
    response: ResponseInfo | None = None


def test_a_model_or_its_json_is_accepted_and_serialised() -> None:
    from_objects = Shop(card=CARD, more=[CaptureField()], by_name={"a": JsonWebKey(kty="RSA")})
    data = {"card": CARD_JSON, "more": [{}], "by_name": {"a": {"kty": "RSA"}}, "maybe": None, "response": None}
    assert from_objects.model_dump() == from_objects.model_dump(mode="json") == data
    assert json.loads(from_objects.model_dump_json()) == data
    for other in (Shop.model_validate(data), Shop.model_validate_json(json.dumps(data)), Shop(**data)):
        assert other == from_objects
        assert isinstance(other.card, CardFields)
        assert other.card.security_code == CaptureField(required=False)
    assert from_objects.card is CARD
    assert from_objects.model_copy(deep=True) == from_objects


def test_a_value_of_any_type_is_serialised() -> None:
    for value in (CARD, [CARD], {"card": CARD}):
        adapter = pydantic.TypeAdapter(Any)
        assert json.loads(adapter.dump_json(value)) == json.loads(json.dumps(value, default=dict))
        assert adapter.dump_python(value, mode="json") == json.loads(json.dumps(value, default=dict))


def test_unknown_members_and_null_are_kept() -> None:
    data = {"card": {"number": {}, "new": {"a": [1]}}}
    shop = Shop.model_validate(data)
    assert shop.card.additional_properties == {"new": {"a": [1]}}
    assert shop.model_dump(exclude_unset=True) == data


@pytest.mark.parametrize(
    ("card", "problem"),
    [
        ({"number": 3}, "CardFields.number must be an object, not int"),
        ({"number": {"required": "yes"}}, "CardFields.number.required must be bool, not str"),
        (3, "CardFields must be an object, not int"),
        (None, "CardFields must be an object, not null"),
        (CaptureField(), "CardFields must be an object, not CaptureField"),
    ],
)
def test_wrong_values_are_errors_of_pydantic(card: Any, problem: str) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        Shop.model_validate({"card": card})
    (error,) = caught.value.errors()
    assert (error["loc"], error["type"]) == (("card",), "value_error")
    assert problem in error["msg"]
    assert "4111111111111111" not in error["msg"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_every_model_has_a_json_schema(model: Any, mode: Any) -> None:
    schema = pydantic.TypeAdapter(model).json_schema(mode=mode)
    assert schema["type"] == "object"
    assert schema["title"] == model.__name__
    assert set(schema["properties"]) == {field.json_name for field in model._fields.values()}
    assert schema.get("required", []) == [field.json_name for field in model._fields.values() if field.required]
    assert schema == json.loads(json.dumps(schema))


def test_the_json_schema_of_a_field_refers_to_the_model() -> None:
    schema = Shop.model_json_schema()
    assert schema["properties"]["card"] == {"$ref": "#/$defs/CardFields"}
    assert schema["$defs"]["CardFields"]["properties"]["securityCode"]["properties"] == {
        "required": {"type": "boolean"}
    }


# Types that a specification can use, and the current one does not, in a package as the generator writes it.
PACKAGE = types.ModuleType("flex_test_models")


def union() -> Any:
    return PACKAGE.Cat | PACKAGE.Dog  # type: ignore[attr-defined]


def define(name: str, **fields: Field) -> Any:
    space: dict[str, Any] = {
        "__slots__": tuple(fields),
        "_fields": fields,
        "__init__": lambda self, **values: self._init(**values),
        "__module__": f"flex_test_models.{name.lower()}",
        "__doc__": f"A {name}.\n\nMore.",
    }
    value = type(name, (Model,), space)
    setattr(PACKAGE, name, value)
    return value


@pytest.fixture
def thing(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "flex_test_models", PACKAGE)
    kind = Field("kind", "str", required=True)
    cat, dog = define("Cat", kind=kind), define("Dog", kind=kind)
    PACKAGE.Pet = union()  # type: ignore[attr-defined]
    PACKAGE._MODULES = {"Pet": "pet"}  # type: ignore[attr-defined]
    pet = types.ModuleType("flex_test_models.pet")
    pet.DISCRIMINATOR = Discriminator("kind", {"cat": cat, "dog": dog})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flex_test_models.pet", pet)
    return define(
        "Thing",
        id=Field("id", "str", required=True, read_only=True),
        when=Field("when", "datetime", nullable=True, deprecated=True),
        secret=Field("secret", "str", write_only=True),
        self_=Field("self", "Thing"),
        grid=Field("grid", "List[List[int]]"),
        names=Field("names", "Dict[str, Optional[float]]"),
        anything=Field("any", "object", nullable=True),
        pet=Field("pet", "Pet"),
    )


def test_the_json_schema_of_every_type(thing: Any) -> None:
    schema = pydantic.TypeAdapter(thing).json_schema()
    pets = [{"type": "object", "title": name, "description": f"A {name}."} for name in ("Cat", "Dog")]
    kind = {"properties": {"kind": {"type": "string"}}, "required": ["kind"]}
    assert schema["description"] == "A Thing."
    assert schema["properties"] == {
        "id": {"type": "string", "readOnly": True},
        "when": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}], "deprecated": True},
        "secret": {"type": "string", "writeOnly": True},
        "self": {"type": "object", "title": "Thing"},
        "grid": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        "names": {"type": "object", "additionalProperties": {"anyOf": [{"type": "number"}, {"type": "null"}]}},
        "any": {},
        "pet": {"anyOf": [{**pet, **kind} for pet in pets]},
    }
    assert "required" not in schema


def test_a_recursive_model_is_validated_and_serialised(thing: Any) -> None:
    adapter = pydantic.TypeAdapter(list[thing])
    data = [{"self": {"self": {"when": "2026-01-01T00:00:00Z"}, "pet": {"kind": "dog"}}, "any": None}]
    (value,) = adapter.validate_python(data)
    assert value.self_.self_.when == datetime(2026, 1, 1, tzinfo=UTC)
    assert adapter.dump_python([value]) == data
    with pytest.raises(pydantic.ValidationError, match="has no time zone"):
        adapter.validate_python([{"when": "2026-01-01T00:00:00"}])


app = FastAPI()


@app.post("/annotated")
def annotated(request: Annotated[GenerateFlexAPICaptureContextRequest, Body()]) -> CaptureFields:
    assert request.fields is not None
    return request.fields


@app.post("/two")
def two(card: Annotated[CardFields, Body()], field: Annotated[CaptureField | None, Body()] = None) -> list[Any]:
    return [card, field]


@app.post("/in-a-model")
def in_a_model(shop: Shop) -> Shop:
    return shop


@app.get("/plain")
def plain():  # type: ignore[no-untyped-def]
    return {"card": CARD, "list": [CARD], "same": CARD.to_dict()}


@app.get("/itself")
async def itself():  # type: ignore[no-untyped-def]
    return CARD


def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app.example") as client:
            return await client.request(method, path, json=body)

    response = asyncio.run(send())
    return response.status_code, response.json()


def test_fastapi_bodies_and_responses() -> None:
    captured = {"paymentInformation": {"card": CARD_JSON}}
    assert call("POST", "/annotated", {"fields": captured}) == (200, captured)
    assert call("POST", "/two", {"card": CARD_JSON, "field": {}}) == (200, [CARD_JSON, {}])
    assert call("POST", "/two", {"card": CARD_JSON}) == (200, [CARD_JSON, None])
    shop = {"card": CARD_JSON, "more": [], "by_name": {}, "maybe": None, "response": None}
    assert call("POST", "/in-a-model", {"card": CARD_JSON}) == (200, shop)
    assert call("GET", "/plain") == (200, {"card": CARD_JSON, "list": [CARD_JSON], "same": CARD_JSON})
    assert call("GET", "/itself") == (200, CARD_JSON)


def test_fastapi_refuses_wrong_bodies() -> None:
    status, content = call("POST", "/annotated", {"fields": {"paymentInformation": {"card": {"number": 1}}}})
    assert status == 422
    (error,) = content["detail"]
    assert "fields.paymentInformation.card.number must be an object" in error["msg"]


def test_fastapi_documents_the_models() -> None:
    status, specification = call("GET", "/openapi.json")
    assert status == 200
    operation = specification["paths"]["/annotated"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body["$ref"] == "#/components/schemas/GenerateFlexAPICaptureContextRequest"
    response = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert response["$ref"] == "#/components/schemas/CaptureFields"
    assert "CardFields" in specification["components"]["schemas"]


def test_the_package_imports_no_pydantic() -> None:
    code = (
        "import sys; from cybersource_flex import models; models.CardFields(number=models.CaptureField()).to_json(); "
        "dict(models.CardFields()); sys.exit(any(name.startswith('pydantic') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_model_is_a_mapping_of_its_members_for_dict() -> None:
    assert dict(CARD) == CARD.to_dict()
    assert [name for name, _ in CARD] == ["number", "securityCode"]
