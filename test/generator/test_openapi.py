"""openapi.yaml is valid, complete, and agrees with the service's documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.requirements import require_module

OPERATIONS = {
    "createTransientToken": ("post", "/flex/v2/tokens", "Flex API", False),
    "generateCaptureContext": ("post", "/microform/v2/sessions", "Microform Integration", True),
    "generateFlexAPICaptureContext": ("post", "/flex/v2/sessions", "Flex API", True),
    "getPaymentCredentials": ("get", "/flex/v2/payment-credentials/{paymentCredentialsReference}", "Flex API", True),
    "getPaymentDetails": ("get", "/flex/v2/payment-details/{jti}", "Flex API", True),
    "getPublicKey": ("get", "/flex/v2/public-keys/{kid}", "Flex API", False),
}
MEDIA_TYPES = {
    # operation: of the request, of the success
    "createTransientToken": ("application/jwt", ["application/jwt", "application/json"]),
    "generateCaptureContext": ("application/json;charset=utf-8", ["application/jwt"]),
    "generateFlexAPICaptureContext": ("application/json;charset=utf-8", ["application/jwt"]),
    "getPaymentCredentials": (None, ["application/jwt"]),
    "getPaymentDetails": (None, ["application/json"]),
    "getPublicKey": (None, ["application/json"]),
}
ADDRESS = "address1 address2 buildingNumber district locality administrativeArea postalCode country"
PERSON = "firstName lastName company email phoneNumber"
LEAVES = {
    "CardFields": "number securityCode expirationMonth expirationYear type",
    "AmountDetailsFields": "totalAmount currency",
    "BillToFields": f"{ADDRESS} {PERSON}",
    "ShipToFields": f"{ADDRESS} {PERSON}",
}


def operations(document: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def resolved(document: Any, node: Any) -> Any:
    while "$ref" in node:
        reference, node = node["$ref"], document
        for part in reference[2:].split("/"):
            node = node[part]
    return node


def test_the_specification_is_valid(document: Any) -> None:
    validator = require_module("openapi_spec_validator", package="openapi-spec-validator", not_tested="openapi.yaml")
    validator.validate(document)
    assert document["openapi"] == "3.0.3"


def test_the_operations_are_complete(document: Any) -> None:
    listed = {
        operation["operationId"]: (method, path, *operation["tags"], bool(operation["security"]))
        for method, path, operation in operations(document)
    }
    assert listed == OPERATIONS


def test_media_types_are_those_of_the_service(document: Any) -> None:
    for _, _, operation in operations(document):
        success = next(response for status, response in operation["responses"].items() if status.startswith("2"))
        accepted = list(resolved(document, success)["content"])
        sent = next(iter(operation.get("requestBody", {}).get("content", {})), None)
        assert (sent, accepted) == MEDIA_TYPES[operation["operationId"]]


def test_every_operation_has_descriptions_and_examples(document: Any) -> None:
    for _, path, operation in operations(document):
        assert operation["summary"], path
        assert operation["description"], path
        for parameter in operation.get("parameters", []):
            assert parameter["description"], path
            assert "example" in parameter, path
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        bodies += [resolved(document, response) for response in operation["responses"].values()]
        for body in bodies:
            assert body["description"], path
            assert all(media["examples"] for media in body["content"].values()), path


def test_every_operation_has_an_error_schema_and_signed_ones_also_the_gateways(document: Any) -> None:
    for _, path, operation in operations(document):
        responses = operation["responses"]
        content = resolved(document, responses["default"])["content"]
        assert content["application/json"]["schema"]["$ref"].startswith("#/components/schemas/"), path
        assert ("401" in responses) == bool(operation["security"]), path


def test_every_schema_and_property_is_described(document: Any) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert schema["description"], name
        for member, inner in schema.get("properties", {}).items():
            assert inner["description"], (name, member)


def test_every_capture_field_is_listed(document: Any) -> None:
    schemas = document["components"]["schemas"]
    for name, leaves in LEAVES.items():
        assert sorted(schemas[name]["properties"]) == sorted(leaves.split())
        for member in schemas[name]["properties"].values():
            assert member["allOf"] == [{"$ref": "#/components/schemas/CaptureField"}]
    assert schemas["CaptureField"]["properties"]["required"]["type"] == "boolean"
    assert "required" not in schemas["CaptureField"]


def test_error_models_have_no_required_members(document: Any) -> None:
    schemas = document["components"]["schemas"]
    names = ["ServiceError", "ResponseStatusError", "ResponseStatus", "ErrorLinks", "ErrorLink", "GatewayError"]
    assert all("required" not in schemas[name] for name in [*names, "GatewayErrorResponse"])
    for name in ("ServiceError", "ResponseStatus"):
        assert set(schemas[name]["properties"]["details"]) == {"description"}, "an array or one object"


def test_the_test_host_is_first(document: Any) -> None:
    hosts = {server["x-environment"]: server["url"] for server in document["servers"]}
    assert list(hosts)[:2] == ["test", "production"]
    assert hosts["test"] == "https://apitest.cybersource.com"
    assert hosts["production"] == "https://api.cybersource.com"


def test_examples_are_valid_for_their_models(document: Any) -> None:
    from cybersource_flex import models

    def check(content: Any) -> None:
        for media in content.values():
            name = media["schema"].get("$ref", "").rpartition("/")[2]
            for example in media["examples"].values():
                if name:
                    model = getattr(models, name).from_dict(example["value"])
                    assert model.to_dict() == example["value"]
                    assert model.additional_properties == {}
                else:
                    assert isinstance(example["value"], str if media["schema"]["type"] == "string" else dict)

    for _, _, operation in operations(document):
        check(operation.get("requestBody", {}).get("content", {}))
        for response in operation["responses"].values():
            check(resolved(document, response)["content"])


def test_published_errors_are_valid_for_the_models(reference: Path) -> None:
    from cybersource_flex.models import ResponseStatusError, ServiceError

    for file in sorted((reference / "samples" / "errors").glob("flex-sessions-*.json")):
        body = json.loads(file.read_text("utf-8"))
        model = ServiceError.from_dict(body)
        assert model.to_dict() == body
        assert model.reason == body["reason"]
    names = json.loads((reference / "samples" / "errors" / "microform-sessions-default.schema.json").read_text("utf-8"))
    inner = {**names["responseStatus"], "status": 400}
    empty = ResponseStatusError.from_dict({"responseStatus": inner, "_links": names["_links"]})
    assert empty.additional_properties == {}
    assert empty.response_status is not None
    assert empty.links is not None
    assert empty.response_status.additional_properties == {}
    assert empty.links.additional_properties == {}
