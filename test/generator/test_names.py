"""Names in Python: which name each thing gets, and that generated code with difficult names works."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SPECS = Path(__file__).resolve().parent / "specs"


@pytest.fixture
def names(generated: Callable[[str], Path]) -> Path:
    return generated("names")


def test_operations_models_fields_and_parameters_with_difficult_names_work(names: Path, run_python: Any) -> None:
    result = run_python(names, str(SPECS / "use_names.py"))
    assert result.returncode == 0, result.stderr
    assert result.stdout == "names: ok\n"


def test_difficult_names_pass_the_self_check(names: Path, self_check: Any) -> None:
    assert self_check(names).problems == []


def document_of(paths: Any = None, schemas: Any = None) -> Any:
    return {"openapi": "3.0.3", "paths": paths or {}, "components": {"schemas": schemas or {}}}


def model(*properties: str, **members: Any) -> Any:
    return {"type": "object", "properties": {name: {"type": "string"} for name in properties}, **members}


def reference(title: str) -> Any:
    return {"$ref": f"#/components/schemas/{title}"}


@pytest.mark.parametrize(
    ("name", "python"),
    [
        ("cardNumber", "card_number"),
        ("HTTPStatus", "http_status"),
        ("v-c-id", "v_c_id"),
        ("thing.id", "thing_id"),
        ("filter[day]", "filter_day"),
        ("@type", "type"),
        ("$ref", "ref"),
        ("_links", "links"),
        ("URL", "url"),
        ("address1", "address1"),
        ("__init__", "init__"),
    ],
)
def test_names_in_snake_case(supported_openapi: Any, name: str, python: str) -> None:
    from generation.python_names import snake

    assert snake(name) == python


@pytest.mark.parametrize(
    ("names", "reserved", "expected"),
    [
        (["_id", "id"], set(), {"_id": "id_", "id": "id"}),
        (["id", "_id", "__id"], set(), {"id": "id", "_id": "id_", "__id": "id__"}),
        (["Int", "int_"], {"int"}, {"Int": "int__", "int_": "int_"}),
        (["None", "1st", "+", "日本"], {"none"}, {"None": "none_", "1st": "var_1st", "+": "value", "日本": "value_"}),
    ],
)
def test_every_name_is_assigned_once(supported_openapi: Any, names: Any, reserved: Any, expected: Any) -> None:
    from generation.python_names import assign

    assert assign(names, reserved) == expected


def test_a_name_that_needs_no_conversion_never_changes(supported_openapi: Any) -> None:
    from generation.python_names import python_names

    before = python_names(document_of(schemas={"Card": model("id"), "Error": model("a")}))
    after = python_names(
        document_of(schemas={"card": model("id"), "Card": model("_id", "Id", "id"), "Error": model("a")})
    )
    assert before.classes.items() <= after.classes.items()
    assert before.fields["Card"].items() <= after.fields["Card"].items()


@pytest.mark.parametrize(
    ("tags", "stems"),
    [
        (["void", "Void"], ["Void", "Void"]),
        (["Flex API", "flex api", "flex-api"], ["FlexAPI", "FlexAPI", "FlexAPI"]),
        (["Flex API", "Flex APIs"], ["FlexAPI", "FlexAPIs"]),
    ],
)
def test_tags_that_become_one_class_share_it_with_all_operations(
    supported_openapi: Any, tags: list[str], stems: list[str]
) -> None:
    from generation.python_names import python_names

    paths = {f"/{number}": {"get": {"operationId": "same", "tags": [tag]}} for number, tag in enumerate(tags)}
    names = python_names(document_of(paths=paths))
    assert names.tags == dict(zip(tags, stems, strict=True))
    methods = [(names.tags[tag], names.operations[f"/{number}", "get"]) for number, tag in enumerate(tags)]
    assert len(set(methods)) == len(tags)


def test_models_that_share_fields_name_them_alike(supported_openapi: Any) -> None:
    from generation.python_names import python_names

    whole = {"allOf": [reference("Base"), model("_id")]}
    fields = python_names(document_of(schemas={"Whole": whole, "Base": model("id"), "Other": model("_id")})).fields
    assert fields["Whole"] == fields["Base"] == {"_id": "id_", "id": "id"}
    assert fields["Other"] == {"_id": "id"}


def test_no_model_has_the_name_of_a_class_that_the_package_exports(supported_openapi: Any) -> None:
    from generation.python_names import exported_classes, python_names

    reserved = exported_classes(SPECS.parents[2] / "cybersource_flex")
    assert {"FlexAPIApi", "ApiException", "CaptureContext", "Tls"} <= reserved
    titles = ["ApiException", "FlexAPIApi", "Card"]
    classes = python_names(document_of(schemas={title: model("a") for title in titles}), reserved).classes
    assert classes == {"ApiException": "ApiExceptionModel", "FlexAPIApi": "FlexAPIApiModel", "Card": "Card"}


def test_a_wrong_default_is_reported_before_the_generator_runs(supported_openapi: Any, document: Any) -> None:
    changed = json.loads(json.dumps(document))
    changed["components"]["schemas"]["CardNetwork"]["default"] = ["VISA"]
    (problem,) = supported_openapi.problems(json.dumps(changed))
    assert problem.startswith("#/components/schemas/CardNetwork/default: must be of the type string")


def test_the_messages_of_the_generators_own_validation_are_shown(supported_openapi: Any) -> None:
    import generate

    output = [
        'Exception in thread "main" org.openapitools.codegen.SpecValidationException: There were issues.',
        " | Error count: 1, Warning count: 2",
        "Errors: ",
        "\t-attribute components.schemas.CardNetwork.default is not of type `string`",
        "Warnings: ",
        "\t-attribute components.schemas.CardNetwork.default is not of type `string`",
        "\t-Unused model",
    ]
    assert generate.validation_errors(output) == [
        "attribute components.schemas.CardNetwork.default is not of type `string`"
    ]
    assert generate.validation_errors(output[1:]) == []
